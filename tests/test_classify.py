from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from gantools import classify
from gantools.classify import accuracy, features, predictions, train_classifier
from gantools.data import ImageSet


def striped(count: int, seed: int = 0) -> ImageSet:
    """Noise with rows in class 0, columns in class 1."""
    labels = torch.arange(count) % 2
    images = 0.3 * torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(seed))
    images[labels == 0, :, ::4] += 1
    images[labels == 1, :, :, ::4] += 1
    return ImageSet(images.clamp(-1, 1), labels, ("rows", "columns"), "striped")


@pytest.fixture(scope="module")
def few():
    return striped(64)


@pytest.fixture(scope="module")
def trained(few):
    return train_classifier(few.images, few.labels, 2)


def same(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_what_is_easy_to_tell_apart_is_learnt():
    images = striped(256)
    network = train_classifier(images.images, images.labels, 3)
    assert accuracy(network, striped(100, seed=1)) == 1
    assert network(images.images[:5]).shape == (5, 3)


def test_the_classifier_comes_in_eval_mode(trained):
    assert not any(part.training for part in trained.modules())


def test_the_same_seed_trains_the_same_classifier(few, trained):
    torch.manual_seed(99)
    assert same(train_classifier(few.images, few.labels, 2), trained)
    assert not same(train_classifier(few.images, few.labels, 2, seed=1), trained)


def test_as_many_steps_as_the_epochs_have_are_the_same_training(few, trained):
    """64 images are one batch: twelve epochs are twelve steps."""
    assert same(train_classifier(few.images, few.labels, 2, steps=12), trained)


@pytest.mark.parametrize("count", [20, 150])
def test_a_set_of_any_size_takes_the_steps_that_were_asked(count, monkeypatch):
    images, taken = striped(count), []
    loss = classify.cross_entropy
    monkeypatch.setattr(classify, "cross_entropy", lambda *given: taken.append(len(given[1])) or loss(*given))
    train_classifier(images.images, images.labels, 2, steps=5)
    assert taken == [min(count, 64)] * 5


def test_named_and_features_are_what_the_network_says_over_several_batches(trained):
    images = striped(510, seed=2).images
    with torch.no_grad():
        seen = trained.features(images)
        assert torch.allclose(features(trained, images), seen, atol=1e-5)
        assert torch.equal(predictions(trained, images), trained.head(seen).argmax(1))


def test_torchs_random_state_stays(few):
    state = torch.get_rng_state()
    train_classifier(few.images[:8], few.labels[:8], 2)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_images_and_labels_stay(few, trained):
    assert torch.equal(few.images, striped(64).images)
    assert torch.equal(few.labels, striped(64).labels)


@pytest.mark.parametrize(("wrong", "expected"), [(0, 1), (600, 0.5), (1_200, 0)])
def test_accuracy_is_the_share_of_images_named_right(wrong, expected):
    """Over more images than one batch."""
    labels = torch.arange(1_200) % 3
    named = torch.where(torch.arange(1_200) < wrong, (labels + 1) % 3, labels)
    logits = torch.eye(3)[named][:, :, None, None]  # the images are their own logits
    assert accuracy(nn.Flatten(), ImageSet(logits, labels, ("a", "b", "c"), "made")) == expected


def test_the_class_named_for_each_image():
    logits = torch.eye(3)[torch.tensor([2, 0, 1]).repeat(400)][:, :, None, None]
    assert predictions(nn.Flatten(), logits).tolist() == [2, 0, 1] * 400


# What the study asks for


def dense(image_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, classes))


def test_so_many_steps_are_taken_whatever_the_number_of_images(few):
    seen = []
    train_classifier(few.images[:10], few.labels[:10], 2, network=dense, steps=7, augment=lambda x: seen.append(x) or x)
    assert [len(x) for x in seen] == [10] * 7


def test_an_epoch_shows_each_image_once_before_any_twice():
    marked = torch.arange(130.0).view(130, 1, 1, 1).expand(130, 1, 28, 28) / 130
    seen = []
    train_classifier(
        marked, torch.zeros(130, dtype=torch.int64), 2, network=dense, steps=4, augment=lambda x: seen.append(x) or x
    )
    shown = [(x[:, 0, 0, 0] * 130).round().int().tolist() for x in seen]
    assert [len(batch) for batch in shown] == [64] * 4
    for first, second in (shown[:2], shown[2:]):
        assert len({*first, *second}) == 128
    assert shown[:2] != shown[2:]


def test_another_network_and_an_augmentation_are_used_and_leave_the_images(few):
    before = few.images.clone()
    network = train_classifier(few.images, few.labels, 2, network=dense, steps=30, augment=lambda x: -x)
    assert accuracy(network, replace(few, images=-few.images)) == 1
    assert accuracy(network, few) < 1
    assert torch.equal(few.images, before)


@pytest.mark.parametrize(("one_cycle", "first"), [(False, 0.25), (True, 0.01)])
def test_the_rate_stays_or_rises_and_falls(few, monkeypatch, one_cycle, first):
    rates, step = [], torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda self, *args: rates.append(self.param_groups[0]["lr"]) or step(self, *args)
    )
    train_classifier(few.images, few.labels, 2, network=dense, steps=20, rate=0.25, one_cycle=one_cycle)
    assert rates[0] == pytest.approx(first) and len(rates) == 20
    assert max(rates) == pytest.approx(0.25, rel=0.01)
    assert rates[-1] == pytest.approx(0.25) if not one_cycle else rates[-1] < 1e-4


def test_no_steps_are_refused(few):
    with pytest.raises(ValueError, match="steps=0 must be at least 1"):
        train_classifier(few.images, few.labels, 2, steps=0)


def test_accuracy_is_counted_class_by_class_and_an_absent_class_has_none():
    right, labels = torch.tensor([True, False, True, True]), torch.tensor([0, 0, 2, 2])
    shares = classify.accuracy_per_class(right, labels, 3)
    assert shares.dtype == torch.float64
    assert shares[[0, 2]].tolist() == [0.5, 1.0] and shares[1].isnan()


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(0, 1, 28, 28), torch.zeros(0, dtype=torch.int64), "at least two images"),
        (torch.zeros(1, 1, 28, 28), torch.zeros(1, dtype=torch.int64), "at least two images"),
        (torch.full((4, 1, 28, 28), torch.nan), torch.zeros(4, dtype=torch.int64), "finite floats"),
        (torch.zeros(4, 1, 28, 28), torch.zeros(3, dtype=torch.int64), r"as many labels in 0 to 1, not \[3\]"),
        (torch.zeros(4, 1, 28, 28), torch.full((4,), 2), "labels in 0 to 1"),
    ],
)
def test_what_cannot_teach_a_classifier_is_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        train_classifier(images, labels, 2)


def test_an_accuracy_needs_images_and_labels_within_the_classes(trained, few):
    with pytest.raises(ValueError, match="at least one image"):
        accuracy(trained, few[:0])
    with pytest.raises(ValueError, match="0 to 2, and one is 5"):
        classify.accuracy_per_class(torch.tensor([True, True]), torch.tensor([0, 5]), 3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_images_of_any_float_and_labels_of_any_whole_number_teach(dtype):
    images = torch.zeros(4, 1, 28, 28, dtype=dtype)
    network = train_classifier(images, torch.tensor([0, 1, 0, 1], dtype=torch.int32), 2, steps=1)
    assert next(network.parameters()).dtype == torch.float32


@pytest.mark.parametrize("labels", [torch.tensor([True, False]), torch.tensor([0.0, 1.0])])
def test_labels_that_are_no_whole_numbers_are_refused(labels):
    with pytest.raises(ValueError, match="labels must be whole numbers, not torch"):
        train_classifier(torch.zeros(2, 1, 28, 28), labels, 2)


def test_images_that_are_no_floats_are_refused():
    with pytest.raises(ValueError, match=r"finite floats; these are torch\.uint8"):
        train_classifier(torch.zeros(2, 1, 28, 28, dtype=torch.uint8), torch.tensor([0, 1]), 2)


@pytest.mark.parametrize("labels", [[0, 2], [-1, 0]])
def test_labels_beyond_the_classes_are_refused(labels):
    with pytest.raises(ValueError, match="labels in 0 to 1, not"):
        train_classifier(torch.zeros(2, 1, 28, 28), torch.tensor(labels), 2)


@pytest.mark.parametrize("steps", [0, 2.5])
def test_steps_are_whole_and_above_0(steps):
    with pytest.raises(ValueError, match=f"steps={steps} must be at least 1, and a whole number"):
        train_classifier(torch.zeros(2, 1, 28, 28), torch.tensor([0, 1]), 2, steps=steps)


def test_steps_may_be_a_number_of_numpy_and_never_true():
    network = train_classifier(torch.zeros(4, 1, 28, 28), torch.tensor([0, 1, 0, 1]), 2, steps=np.int64(1))
    assert not network.training
    with pytest.raises(ValueError, match="steps=True"):
        train_classifier(torch.zeros(4, 1, 28, 28), torch.tensor([0, 1, 0, 1]), 2, steps=True)
