from functools import partial

import pytest

from gantools import nets
from gantools.fields import RecipeError, name_of, typed, unknown


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (3, float, 3.0),  # as the shell writes whole numbers
        ("1e-4", float, 1e-4),  # as YAML reads it
        ("None", int | None, None),
        (None, float | None, None),
        ([1, 28, 28], tuple[int, ...], (1, 28, 28)),
        ("bf16", str, "bf16"),
    ],
)
def test_a_value_becomes_the_fields_type(value, annotation, expected):
    got = typed("field", value, annotation)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("value", "annotation", "complaint"),
    [
        (True, int, "field=True is of type bool; expected int"),
        (1.0, int, "field=1.0 is of type float; expected int"),
        ("fast", float | None, "field='fast' is of type str; expected float or None"),
        ("None", int, "field='None' is of type str; expected int"),
        ([1, 2.5], tuple[int, ...], r"field=\[1, 2.5\] must hold whole numbers"),
    ],
)
def test_a_value_of_another_type_is_refused(value, annotation, complaint):
    with pytest.raises(RecipeError, match=complaint):
        typed("field", value, annotation)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("betch", "no field 'betch': did you mean 'batch'?"),
        ("lr", "no field 'lr': did you mean 'd_lr' or 'g_lr'?"),
        ("x", "no field 'x': known are batch, d_lr, g_lr"),
        ("", "no field '': known are batch, d_lr, g_lr"),
    ],
)
def test_an_unknown_name_is_told_the_nearest(name, hint):
    with pytest.raises(RecipeError) as refusal:
        unknown("no field", name, ("batch", "d_lr", "g_lr"))
    assert str(refusal.value) == hint


def test_a_network_is_known_by_its_name_and_by_what_is_set():
    assert name_of(nets.MLPGenerator) == "MLPGenerator"
    assert name_of(partial(nets.MLPGenerator, z_dim=3)) == "MLPGenerator(z_dim=3)"
    with pytest.raises(RecipeError, match="has no name to be known by"):
        name_of(nets.MLPGenerator())


def test_what_a_partial_network_sets_is_named_without_addresses():
    """An address in memory is another one in the next process, which then could not go on."""
    slope = partial(nets.ClassEmbedding, embedding_dim=3)
    network = partial(nets.ACGANGenerator, act=slope, layers=[len, slope], at=(1, 2))
    assert name_of(network) == (
        "ACGANGenerator(act=ClassEmbedding(embedding_dim=3), at=(1, 2), layers=[len, ClassEmbedding(embedding_dim=3)])"
    )


def test_a_number_too_long_for_a_float_is_of_the_wrong_type():
    with pytest.raises(RecipeError, match="of type int; expected float"):
        typed("d_lr", 10**400, float)
