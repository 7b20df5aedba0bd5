from functools import partial

import pytest
import torch
from torch import nn

from gantools import losses, nets, recipes
from gantools.fields import RecipeError
from gantools.recipe import NOISES, Recipe

DIFFERENT = {
    "dataset": "fashion-mnist",
    "image_shape": (3, 32, 32),
    "classes": 7,
    "z_dim": 7,
    "noise": "normal",
    "batch": 7,
    "g_batch": 7,
    "epochs": 7,
    "steps": 7,
    "d_lr": 7e-3,
    "g_lr": 7e-3,
    "beta1": 0.7,
    "beta2": 0.7,
    "adam_eps": 7e-3,
    "lr_decay": 0.7,
    "penalty_half_life": 7,
    "decay_every": 7,
    "balanced": True,
    "class_weight": 0.7,
    "classify_fakes": False,
    "eval_fakes": True,
    "fresh_fakes": False,
    "joint_d_batch": False,
    "frozen_norm": True,
    "real_target": 0.7,
    "fake_target": 0.7,
    "r1": 0.7,
    "r2": 0.7,
    "penalty_every": 7,
    "affine": 0.6,
    "shift": 7,
    "flip": True,
    "ema": 0.7,
    "precision": "bf16",
    "seed": 7,
}


@pytest.mark.parametrize(
    ("field", "given", "value"),
    [
        ("d_lr", "1e-4", 1e-4),
        ("d_lr", 1, 1.0),
        ("ema", "0.99", 0.99),
        ("ema", "None", None),
        ("ema", None, None),
        ("steps", "None", None),
        ("steps", 5, 5),
        ("image_shape", [1, 32, 32], (1, 32, 32)),
        ("fresh_fakes", False, False),
    ],
)
def test_values_from_files_and_the_shell_get_the_type_of_their_field(field, given, value):
    changed = getattr(recipes.get("mlp-gan", **{field: given}), field)
    assert changed == value
    assert type(changed) is type(value)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("batch", 64.0, "expected int"),
        ("batch", "many", "expected int"),
        ("batch", None, "expected int"),
        ("batch", True, "expected int"),
        ("steps", "soon", "expected int or None"),
        ("d_lr", "fast", "expected float"),
        ("d_lr", None, "expected float"),
        ("ema", "half", "expected float or None"),
        ("fresh_fakes", 1, "expected bool"),
        ("flip", "yes", "expected bool"),
        ("balanced", 1, "expected bool"),
        ("class_weight", "heavy", "expected float"),
        ("classify_fakes", None, "expected bool"),
        ("eval_fakes", "no", "expected bool"),
        ("shift", 1.5, "expected int"),
        ("lr_decay", None, "expected float"),
        ("decay_every", 2.5, "expected int"),
        ("noise", 3, "expected str"),
        ("image_shape", 28, "expected tuple"),
    ],
)
def test_a_value_of_the_wrong_type_names_field_value_and_type(field, value, expected):
    with pytest.raises(RecipeError, match=expected) as refusal:
        recipes.get("mlp-gan", **{field: value})
    assert f"{field}={value!r}" in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"batch": 0}, "batch=0 must be above 0"),
        ({"z_dim": -1}, "z_dim=-1 must be above 0"),
        ({"epochs": 0}, "epochs=0 must be above 0"),
        ({"steps": 0}, "steps=0 must be above 0"),
        ({"g_batch": 0}, "g_batch=0 must be above 0"),
        ({"d_lr": 0}, "d_lr=0.0 must be above 0"),
        ({"g_lr": -1e-3}, "g_lr=-0.001 must be above 0"),
        ({"d_lr": "nan"}, "d_lr=nan"),
        ({"penalty_every": 0}, "penalty_every=0 must be above 0"),
        ({"adam_eps": 0}, "adam_eps=0.0 must be above 0"),
        ({"decay_every": 0}, "decay_every=0 must be above 0"),
        ({"decay_every": -3}, "decay_every=-3 must be above 0"),
        ({"lr_decay": 0}, r"lr_decay=0.0 must lie in \(0, 1\]"),
        ({"lr_decay": -0.5}, r"lr_decay=-0.5 must lie in \(0, 1\]"),
        ({"lr_decay": 1.01}, r"lr_decay=1.01 must lie in \(0, 1\]"),
        ({"lr_decay": "nan"}, r"lr_decay=nan must lie in \(0, 1\]"),
        ({"affine": -0.1}, "affine=-0.1 must not be negative"),
        ({"shift": -1}, "shift=-1 must not be negative"),
        ({"seed": -1}, "must not be negative"),
        ({"r1": -1.0}, "must not be negative"),
        ({"r2": -1.0}, "must not be negative"),
        ({"class_weight": -0.5, "classes": 10}, "class_weight=-0.5 must not be negative"),
        ({"class_weight": "nan", "classes": 10}, "class_weight=nan must not be negative"),
        ({"class_weight": 0.5}, "class_weight=0.5 needs classes to name"),
        ({"eval_fakes": True, "fresh_fakes": False}, "eval_fakes are D's alone, so the generator needs fresh_fakes"),
        ({"beta1": 1.0}, r"beta1=1.0 must lie in \[0, 1\)"),
        ({"beta2": -0.1}, r"beta2=-0.1 must lie in \[0, 1\)"),
        ({"ema": 1.0}, r"ema=1.0 must lie in \[0, 1\)"),
        ({"precision": "fp16"}, "precision='fp16'; choose auto or fp32 or bf16"),
        ({"noise": "pink"}, "noise='pink'; choose normal or uniform"),
        ({"g_batch": 32, "fresh_fakes": False}, "g_batch differs from batch"),
        ({"g_batch": 32, "loss": losses.relativistic}, "relativistic loss pairs images"),
        ({"fake_target": 0.1, "loss": losses.relativistic}, "one target, real_target; fake_target=0.1 must be 0"),
    ],
)
def test_a_value_out_of_range_is_refused(changes, complaint):
    with pytest.raises(ValueError, match=complaint) as refusal:
        recipes.get("mlp-gan", **changes)
    assert "recipe mlp-gan" in str(refusal.value)


def test_change_leaves_the_recipe_as_it_was():
    recipe = recipes.get("mlp-gan")
    assert recipe.change(batch=3).batch == 3
    assert recipe.batch == 64


def test_networks_and_loss_can_be_changed_to_others_of_their_kind():
    recipe = recipes.get("mlp-gan", loss=losses.least_squares)
    assert recipe.loss is losses.least_squares


@pytest.mark.parametrize("field", ["generator", "discriminator", "loss"])
@pytest.mark.parametrize("value", ["least-squares", 3])
def test_a_word_is_no_network_and_no_loss(field, value):
    with pytest.raises(RecipeError, match=field):
        recipes.get("mlp-gan", **{field: value})


@pytest.mark.parametrize("allowed", [{"fresh_fakes": True}, {"eval_fakes": False}])  # not both: see the refusals
def test_a_recipe_survives_its_yaml_file(tmp_path, allowed):
    recipe = recipes.get("mlp-gan", **DIFFERENT | allowed)
    written = recipe.to_yaml()
    assert all(name in written.splitlines()[0] for name in list(recipe.objects().values())[1:])
    assert ("epochs count only" in written) == (recipe.steps is not None)
    (tmp_path / "mine.yaml").write_text(written)
    assert recipes.read(tmp_path / "mine.yaml") == recipe


def test_the_digest_follows_every_field():
    recipe = recipes.get("mlp-gan", classes=10)
    assert recipe.digest() == recipes.get("mlp-gan", classes=10).digest()
    assert set(DIFFERENT) == set(recipe.scalars())
    digests = {recipe.digest()} | {recipe.change(**{name: value}).digest() for name, value in DIFFERENT.items()}
    assert len(digests) == 1 + len(DIFFERENT)
    objects = {"loss": losses.saturating, "generator": nn.Identity, "discriminator": nn.Identity, "name": "mine"}
    digests |= {recipe.change(**{name: value}).digest() for name, value in objects.items()}
    assert len(digests) == 5 + len(DIFFERENT)


def weights(recipe):
    return [parameter for network in recipe.build() for parameter in network.parameters()]


def test_networks_follow_the_seed():
    recipe = recipes.get("mlp-gan")
    assert all(torch.equal(a, b) for a, b in zip(weights(recipe), weights(recipe), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(weights(recipe), weights(recipe.change(seed=1)), strict=True))


def test_building_does_not_disturb_torchs_random_state():
    before = torch.get_rng_state()
    recipes.get("mlp-gan").build()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_shift_out_of_sight_is_refused():
    assert recipes.get("rgan", shift=27).suited_to((9, 1, 28, 28), "ab").shift == 27
    with pytest.raises(ValueError, match="recipe rgan: shift=28 moves an image of 28 pixels out of sight"):
        recipes.get("rgan", shift=28).suited_to((9, 1, 28, 28), "ab")
    with pytest.raises(ValueError, match="shift=28 moves an image of 28 pixels out of sight"):
        recipes.get("rgan", shift=28).suited_to((9, 1, 28, 64), "ab")


@pytest.mark.parametrize("name", ["steps", "batch", "penalty_half_life"])
def test_counts_that_no_tensor_can_have_are_refused(name):
    with pytest.raises(ValueError, match=rf"{name} must be below 2\*\*31"):
        recipes.get("rgan", **{name: 2**31})


def test_networks_are_built_for_the_data(conditional):
    fitted = recipes.get("mlp-gan", z_dim=5).suited_to((100, 3, 32, 40), ["a", "b"])
    generator, discriminator = fitted.build()
    assert discriminator(generator(torch.randn(2, 5))).shape == (2,)
    assert generator(torch.randn(2, 5)).shape == (2, 3, 32, 40)
    assert fitted.classes == 0
    assert conditional.suited_to((100, 1, 28, 28), ["a", "b"]).classes == 2


@pytest.mark.parametrize(
    ("changes", "images", "steps"),
    [({}, 60_000, 93_700), ({"batch": 10, "epochs": 3}, 39, 9), ({"steps": 7}, 64, 7), ({"epochs": 1}, 64, 1)],
)
def test_the_length_of_a_run(changes, images, steps):
    assert recipes.get("mlp-gan", **changes).total_steps(images) == steps


def test_a_batch_larger_than_the_set_is_refused():
    with pytest.raises(ValueError, match="a batch of 64 needs more than 63 images"):
        recipes.get("mlp-gan", steps=3).total_steps(63)


@pytest.mark.parametrize(
    ("changes", "factors"),
    [
        ({}, [1] * 30),
        ({"lr_decay": 0.8}, [1] * 10 + [0.8] * 10 + [0.64] * 10),
        ({"lr_decay": 0.5, "decay_every": 2}, [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125]),
        ({"lr_decay": 0.5, "decay_every": 1}, [1, 0.5, 0.25, 0.125]),
        ({"lr_decay": 1.0, "decay_every": 1}, [1] * 5),
    ],
)
def test_the_learning_rates_are_multiplied_after_each_so_many_epochs(changes, factors):
    recipe = recipes.get("mlp-gan", **changes)
    assert [recipe.rate_factor(epoch) for epoch in range(len(factors))] == pytest.approx(factors)


def test_the_borders_of_decay_and_shift_are_allowed():
    recipe = recipes.get("mlp-gan", lr_decay=1, decay_every=1, shift=0)
    assert (recipe.lr_decay, recipe.decay_every, recipe.shift) == (1, 1, 0)
    assert recipes.get("mlp-gan", lr_decay=1e-9).rate_factor(10) == 1e-9


def test_uniform_noise_fills_minus_one_to_one_and_normal_noise_is_standard():
    uniform, normal = (recipes.get("mlp-gan", noise=noise).draw_z(500) for noise in ("uniform", "normal"))
    assert uniform.shape == normal.shape == (500, 100)
    assert -1 <= uniform.min() < -0.99
    assert 0.99 < uniform.max() < 1
    assert uniform.var().item() == pytest.approx(1 / 3, abs=0.01)
    assert normal.mean().item() == pytest.approx(0, abs=0.02)
    assert normal.std().item() == pytest.approx(1, abs=0.02)
    assert normal.abs().max() > 3


@pytest.mark.parametrize("noise", NOISES)
def test_noise_follows_its_generator_and_leaves_the_global_one_alone(noise):
    recipe, before = recipes.get("mlp-gan", noise=noise), torch.get_rng_state()
    one, two, three = (recipe.draw_z(3, source=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, three)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_recipe_is_written_with_keywords_only():
    with pytest.raises(TypeError):
        Recipe("mine", nets.MLPGenerator, nets.MLPDiscriminator)


@pytest.mark.parametrize(
    "change", [{"seed": 2**63}, {"r1": float("nan")}, {"real_target": 5.0}, {"fake_target": -0.1}, {"r2": -1.0}]
)
def test_values_without_a_meaning_are_refused_by_name(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        recipes.get("mlp-gan", **change)


def test_a_lazy_penalty_weighs_for_the_steps_without_and_fades():
    lazy = recipes.get("mlp-gan", r1=1.0, penalty_every=3)
    assert [lazy.penalty_weight(step) for step in range(7)] == [3, 0, 0, 3, 0, 0, 3]
    fading = lazy.change(penalty_half_life=6)
    assert [fading.penalty_weight(step) for step in (0, 1, 6, 12)] == [3, 0, 1.5, 0.75]
    assert recipes.get("mlp-gan").penalty_weight(5) == 1


@pytest.mark.parametrize("value", [0, -5])
def test_a_half_life_without_length_is_refused(value):
    with pytest.raises(ValueError, match=f"penalty_half_life={value} must be above 0"):
        recipes.get("mlp-gan", penalty_half_life=value)


def test_a_field_that_does_nothing_leaves_the_digest_alone_and_one_that_does_changes_it():
    recipe = recipes.get("mlp-gan")
    # To the letter: a change here makes every stored hash of a recipe stale.
    assert recipe.digest() == "f880d03fe855908a7966f3d0e295f519878c268fd6fa0c619d8b28d40e28c50d"
    assert recipe.change(penalty_half_life=9).digest() != recipe.digest()


def test_a_partial_network_is_known_by_its_function_and_by_what_it_sets():
    narrow = recipes.get("cgan-sn", generator=partial(nets.CGANSNGenerator, width=32))
    assert narrow.objects()["generator"] == "CGANSNGenerator(width=32)"
    assert narrow.digest() != recipes.get("cgan-sn").digest()
    narrower = narrow.change(generator=partial(nets.CGANSNGenerator, width=16))
    assert narrower.digest() != narrow.digest()
    assert narrow.change(generator=partial(nets.CGANSNGenerator, 32)).objects()["generator"] == "CGANSNGenerator(32)"
    nested = narrow.change(generator=partial(narrow.generator, width=32))
    assert nested.digest() == narrow.digest(), "functools flattens a partial of a partial"
    generator, _ = narrow.build()
    assert sum(map(torch.numel, generator.parameters())) < sum(
        map(torch.numel, nets.CGANSNGenerator(classes=10).parameters())
    )


def test_a_function_that_a_partial_network_sets_is_known_by_its_name():
    """Its repr would hold an address in memory, which is another in the next process."""
    for setting, known in ((torch.relu, "relu"), (nets.MLPGenerator, "MLPGenerator")):
        named = recipes.get("mlp-gan", generator=partial(nets.MLPGenerator, activation=setting)).objects()["generator"]
        assert named.startswith("MLPGenerator(activation=") and known in named
        assert " at 0x" not in named


def test_a_network_without_a_name_is_refused():
    class Maker:
        def __call__(self, **options):
            return nets.MLPGenerator(**options)

    with pytest.raises(RecipeError, match="has no name to be known by"):
        recipes.get("mlp-gan", generator=Maker()).digest()


def test_networks_that_take_labels_need_classes():
    with pytest.raises(ValueError, match="recipe rgan: ProjectionGenerator takes labels, so classes=0 must be above 0"):
        recipes.get("rgan", classes=0).build()
    with pytest.raises(ValueError, match="classes=-3 must not be negative"):
        recipes.get("rgan", classes=-3)


def test_networks_that_know_no_labels_take_no_classes():
    with pytest.raises(ValueError, match="recipe mlp-gan: MLPGenerator knows no labels, so classes=10 must be 0"):
        recipes.get("mlp-gan", classes=10).build()


def test_a_batch_that_processes_cannot_share_equally_is_refused():
    recipe = recipes.get("mlp-gan", batch=64)
    recipe.check_shares(2)
    with pytest.raises(ValueError, match="batch=64 cannot be shared equally by 3 processes"):
        recipe.check_shares(3)
    with pytest.raises(ValueError, match="g_batch=65 cannot be shared equally by 2 processes"):
        recipe.change(g_batch=65).check_shares(2)


@pytest.mark.parametrize("shape", [(), (1, -2, 3), (0, 28, 28)])
def test_the_sides_of_an_image_are_above_0(shape):
    with pytest.raises(ValueError, match="must be sizes above 0"):
        recipes.get("mlp-gan", image_shape=shape)


def test_a_name_is_a_text():
    with pytest.raises(RecipeError, match="name must be a text, not None"):
        recipes.get("mlp-gan").change(name=None)
