import pytest
import torch

from gantools import arms, data
from gantools.arms import copied, training_set
from gantools.data import to_uint8


@pytest.fixture
def generated():
    return torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_every_arm_is_made_and_holds_what_it_says(tiny, generated):
    sizes = {}
    for arm in arms.ARMS:
        dosed = arm in arms.DOSED
        made = training_set(arm, tiny, 12 if dosed else 0, generated if arm in arms.GENERATED else None)
        assert made.images.dtype == torch.float32
        assert made.images.abs().max() <= (1 + 2 / 255 if arm == "published mistake" else 1)
        assert len(made.labels) == len(made)
        sizes[arm] = len(made)
    assert sizes == dict.fromkeys(arms.ARMS, 40) | dict.fromkeys(arms.DOSED, 52) | {"gan only": 12}


def test_the_real_images_come_first_and_unchanged(tiny, generated):
    for arm in ("real", "classical", "gan", "classical+gan", "gan60k", "noisy", "repeated"):
        made = training_set(arm, tiny, 12 if arm in arms.DOSED else 0, generated)
        assert torch.equal(made.images[:40], tiny.images) and torch.equal(made.labels[:40], tiny.labels)


def test_all_arms_of_a_dose_hold_the_same_labels(tiny, generated):
    expected = tiny.labels[copied(40, 12)]
    for arm in arms.DOSED:
        assert torch.equal(training_set(arm, tiny, 12, generated).labels[-12:], expected)


def test_generated_images_pass_through_uint8_and_the_first_are_taken(tiny, generated):
    expected = data.from_uint8(to_uint8(generated[:12]))
    assert torch.equal(training_set("gan", tiny, 12, generated).images[40:], expected)
    assert torch.equal(training_set("gan only", tiny, 12, generated).images, expected)
    assert not torch.equal(expected, generated[:12])


def test_repeated_images_are_real_ones_and_noisy_ones_near_them(tiny):
    originals = tiny.images[copied(40, 400)]
    assert torch.equal(training_set("repeated", tiny, 400).images[40:], originals)
    noisy = training_set("noisy", tiny, 400)
    inner = originals.abs() < 0.2  # no noise is clipped there
    off = (noisy.images[40:] - originals)[inner]
    assert float(off.std()) == pytest.approx(arms.NOISE, rel=0.02)
    assert torch.equal(noisy.images, data.from_uint8(to_uint8(noisy.images)))
    first, second = (copied(40, 400) == 7).nonzero().squeeze(1)[:2]
    assert not torch.equal(noisy.images[40 + first], noisy.images[40 + second]), "each copy has its own noise"


def test_real_images_come_through_a_generators_output_path_bit_for_bit():
    every = torch.arange(256, dtype=torch.uint8).repeat(4)[: 28 * 28].view(1, 1, 28, 28)
    real = data.ImageSet(data.from_uint8(every), torch.zeros(1, dtype=torch.int64), ("0",), "greys")
    assert torch.equal(training_set("through", real).images, real.images)


def test_the_published_mistake_leaves_all_but_black(tiny):
    made = training_set("published mistake", tiny).images
    seen = (made + 1) / 2  # what a network meant for [0, 1] gets
    torch.testing.assert_close(seen, tiny.images / 255, atol=1e-6, rtol=0)
    assert seen.abs().max() < 0.004


@pytest.mark.parametrize(
    ("arm", "count", "complaint"),
    [
        ("GAN", 0, "there is no arm 'GAN': known are real, classical, gan"),
        ("real", 5, "arm 'real' adds no images, but count=5"),
        ("repeated", -3, "count=-3 must not be negative"),
        ("gan", 21, "arm 'gan' needs 21 generated images, not 20"),
    ],
)
def test_what_cannot_be_made_is_refused(tiny, generated, arm, count, complaint):
    with pytest.raises(ValueError, match=complaint):
        training_set(arm, tiny, count, generated)
    with pytest.raises(ValueError, match="needs 3 generated images, not 0"):
        training_set("gan only", tiny, 3)


def test_copies_take_all_images_in_turn_and_smaller_counts_are_their_start():
    assert copied(7, 21).bincount().tolist() == [3] * 7
    assert sorted(copied(7, 10).bincount(minlength=7).tolist()) == [1] * 4 + [2] * 3
    assert torch.equal(copied(7, 10), copied(7, 21)[:10])
    assert not torch.equal(copied(100, 100), torch.arange(100))
    assert copied(7, 0).tolist() == []
    with pytest.raises(ValueError, match="size=0: there is no real image to copy"):
        copied(0, 3)


def test_the_order_of_added_images_is_that_of_the_shipped_rows():
    assert copied(7, 7).tolist() == [4, 0, 5, 3, 2, 6, 1]
