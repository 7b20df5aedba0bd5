import copy

import pytest
import torch

from gantools import calibrate, data, recipes, train
from gantools.imageset import ImageSet


@pytest.fixture
def dim(start):
    """A posed generator with an average, beside the one that trains; and colour images darker than it draws."""
    run = start(recipes.get("rgan-pose", image_shape=(3, 8, 8), classes=2))
    images = torch.rand(30, 3, 8, 8) * torch.tensor([0.2, 0.6, 1.0])[:, None, None] - 0.9
    return run, ImageSet(images, torch.arange(30) % 2, ("a", "b"), "dim")


def test_drawn_images_become_as_bright_as_the_data_in_each_channel(dim):
    run, images = dim
    assert (run.sample(labels=images.labels).mean((0, 2, 3)) - images.images.mean((0, 2, 3))).abs().min() > 0.1
    calibrate.match_mean(run, images)
    drawn = run.sample(labels=images.labels)
    torch.testing.assert_close(drawn.mean((0, 2, 3)), images.images.mean((0, 2, 3)), atol=1e-5, rtol=0)


def test_nothing_changes_but_the_bias_of_the_last_layer_of_the_one_that_samples(dim):
    run, images = dim
    before = copy.deepcopy(run.networks())
    shift = calibrate.match_mean(run, images)
    last = "module.drawer.layers.6.bias"
    for old, network in zip(before, run.networks(), strict=True):
        for name, value in network.state_dict().items():
            change = (shift if network is run.average and name == last else torch.zeros(())).to(value.dtype)
            torch.testing.assert_close(value, old.state_dict()[name] + change)


def test_the_second_time_there_is_nothing_left_to_shift(dim):
    run, images = dim
    assert calibrate.match_mean(run, images).abs().min() > 0.1
    torch.testing.assert_close(calibrate.match_mean(run, images), torch.zeros(3).double(), atol=1e-5, rtol=0)


def test_of_one_grey_the_shift_is_known(start):
    run = start(recipes.get("rgan", ema=None, classes=2, image_shape=(1, 8, 8)))
    last = run.generator.layers[-2]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.constant_(last.bias, 0.3)
    grey = ImageSet(torch.full((4, 1, 8, 8), -0.5), torch.tensor([0, 1, 0, 1]), ("a", "b"), "grey")
    shift = calibrate.match_mean(run, grey)
    assert shift.item() == pytest.approx(-0.8493061443, abs=1e-6)  # atanh(-0.5) - 0.3
    assert last.bias.item() == pytest.approx(-0.5493061443, abs=1e-6)


@pytest.mark.parametrize("name", ["mlp-gan", "cgan-sn", "dcgan-mnist"])
def test_a_generator_without_a_bias_before_tanh_is_refused(start, name):
    """Dense layers, a sigmoid's range, and a last layer without a bias."""
    run = start(recipes.get(name))
    with pytest.raises(ValueError, match=f"recipe {name} has none"):
        calibrate.match_mean(run, data.load("mnist", limit=10))


def test_images_of_another_shape_are_refused(dim):
    with pytest.raises(ValueError, match=r"images of \[1, 28, 28\], but this run draws \[3, 8, 8\]"):
        calibrate.match_mean(dim[0], data.load("mnist", limit=10))


def test_the_shipped_one_draws_as_much_ink_as_its_training_digits_have():
    digits = data.load("mnist", limit=10_000)
    drawn = train.load("rgan-pose-mnist-10k").sample(labels=digits.labels)
    assert drawn.mean().item() == pytest.approx(digits.images.mean().item(), abs=5e-4)  # 16 bits a weight
