from itertools import product

import pytest
import torch

from gantools import augment, data
from gantools.augment import moved, random_affine, turned, warped


def drawn(*args, seed=0, **kwargs):
    """`moved` after a seed."""
    torch.manual_seed(seed)
    return moved(*args, **kwargs)


def random_images(*shape):
    """No two pixels alike, none of them black."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.8


def by_hand(image, down, right, mirrored=False):
    """An image [C, H, W] moved on a black ground; a mirrored one is mirrored as a whole, gaps and all."""
    _, height, width = image.shape
    result = torch.full_like(image, -1)
    for row, column in product(range(height), range(width)):
        if 0 <= row + down < height and 0 <= column + right < width:
            result[:, row + down, column + right] = image[:, row, column]
    return result.flip(2) if mirrored else result


def shift_of(image, after, shift, mirrors=(False,)):
    """How an image came to look so: down, right, mirrored; it fails unless there is one way."""
    reach = range(-shift, shift + 1)
    ways = [way for way in product(reach, reach, mirrors) if torch.equal(by_hand(image, *way), after)]
    assert len(ways) == 1
    return ways[0]


@pytest.mark.parametrize("shape", [(4, 1, 28, 28), (3, 3, 6, 9), (1, 2, 5, 4), (0, 1, 8, 8)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("change", [{"shift": 2}, {"flip": True}, {"shift": 1, "flip": True}])
def test_images_keep_shape_and_dtype_and_the_given_ones_stay_as_they_were(shape, dtype, change):
    x = random_images(*shape).to(dtype)
    before = x.clone()
    after = drawn(x, **change)
    assert (after.shape, after.dtype) == (x.shape, x.dtype)
    assert torch.equal(x, before)


@pytest.mark.parametrize("shape", [(4, 1, 8, 8), (5, 2)])
def test_with_nothing_to_do_the_same_tensor_comes_back_and_nothing_is_drawn(shape):
    x, before = torch.rand(shape), torch.get_rng_state()
    assert moved(x) is x
    assert moved(x, shift=0, flip=False) is x
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("shape", [(12, 1, 7, 7), (12, 3, 5, 8)])
def test_each_image_is_moved_by_a_shift_of_its_own_and_the_gaps_are_black(shape):
    x = random_images(*shape)
    after = drawn(x, shift=2)
    shifts = [shift_of(image, changed, 2) for image, changed in zip(x, after, strict=True)]
    assert len(set(shifts)) > 5


@pytest.mark.parametrize("shift", [1, 2])
def test_every_shift_up_to_the_given_one_is_reached_about_as_often(shift):
    x = random_images(1, 1, 6, 5).expand(2_000, -1, -1, -1)
    after = drawn(x, shift=shift)
    kinds, counts = torch.unique(after, dim=0, return_counts=True)
    reach = range(-shift, shift + 1)
    assert {shift_of(x[0], kind, shift)[:2] for kind in kinds} == set(product(reach, reach))
    fair = 2_000 / (2 * shift + 1) ** 2
    assert counts.min() > fair - 5 * fair**0.5
    assert counts.max() < fair + 5 * fair**0.5


def test_a_flip_mirrors_about_half_of_the_images_left_to_right():
    x = random_images(400, 2, 5, 6)
    after = drawn(x, flip=True)
    ways = [shift_of(image, changed, 0, (False, True)) for image, changed in zip(x, after, strict=True)]
    assert 160 < sum(mirrored for _, _, mirrored in ways) < 240


def test_shift_and_flip_go_together_and_each_image_draws_both():
    x = random_images(60, 1, 6, 7)
    after = drawn(x, shift=1, flip=True)
    ways = {shift_of(image, changed, 1, (False, True)) for image, changed in zip(x, after, strict=True)}
    assert len(ways) > 12  # of 18
    assert {mirrored for _, _, mirrored in ways} == {False, True}


def test_an_image_can_be_pushed_out_of_sight():
    after = drawn(random_images(200, 1, 3, 3), shift=4)
    dark = (after == -1).flatten(1).all(1)
    assert 0 < dark.sum() < 200


def test_the_gradient_goes_back_to_where_each_pixel_came_from():
    x = random_images(8, 2, 6, 5).requires_grad_()
    after = drawn(x, shift=2)
    weights = random_images(8, 2, 6, 5)
    (after * weights).sum().backward()
    for image, changed, weight, gradient in zip(x.detach(), after.detach(), weights, x.grad, strict=True):
        down, right, _ = shift_of(image, changed, 2)
        back = by_hand(weight, -down, -right)
        assert torch.equal(gradient, back.where(back != -1, 0))  # pixels pushed out of sight get none


def test_the_gradient_of_a_mirrored_image_is_mirrored():
    x = random_images(20, 1, 4, 4).requires_grad_()
    after = drawn(x, flip=True)
    weights = random_images(20, 1, 4, 4).flip(0)
    (after * weights).sum().backward()
    ways = [shift_of(image, changed, 0, (False, True)) for image, changed in zip(x.detach(), after, strict=True)]
    for (_, _, mirrored), weight, gradient in zip(ways, weights, x.grad, strict=True):
        assert torch.equal(gradient, weight.flip(2) if mirrored else weight)
    assert {mirrored for _, _, mirrored in ways} == {False, True}


def test_the_seed_decides():
    x = random_images(10, 1, 8, 8)
    one, two, three = (drawn(x, shift=3, flip=True, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, three)


def test_two_batches_in_a_row_are_moved_differently():
    x = random_images(10, 1, 8, 8)
    assert not torch.equal(drawn(x, shift=3), moved(x, shift=3))


@pytest.mark.parametrize("shape", [(5, 2), (28, 28), (1, 28, 28), (2, 3, 1, 8, 8)])
@pytest.mark.parametrize("change", [{"shift": 1}, {"flip": True}])
def test_what_is_no_batch_of_images_is_refused_with_its_shape(shape, change):
    with pytest.raises(ValueError, match=r"only images \[N, C, H, W\] can be moved, not \[") as refusal:
        moved(torch.zeros(shape), **change)
    assert str(list(shape)) in str(refusal.value)


# Turning and bending

either = pytest.mark.parametrize("changed", [warped, random_affine])


@either
def test_a_turned_image_is_moved_a_little_and_stays_what_it_is(changed):
    x = data.load("mnist", limit=200).images
    torch.manual_seed(0)
    moved = changed(x)
    assert moved.shape == x.shape and float(moved.min()) >= -1 and float(moved.max()) <= 1 + 1e-6
    assert not torch.equal(moved[0], changed(x)[0])
    ink, moved_ink = ((images + 1).sum((1, 2, 3)) for images in (x, moved))
    assert float((moved_ink / ink).mean()) == pytest.approx(1, abs=0.1)

    def middle(images):
        weight = (images + 1).sum(1)
        places = torch.arange(28.0)
        return torch.stack([(weight.sum(2) * places).sum(1), (weight.sum(1) * places).sum(1)]) / weight.sum((1, 2))

    shift = middle(moved) - middle(x)
    assert 0.5 < float(shift.std()) < 2.5, "by some pixels"
    assert shift.mean(1).abs().max() < 0.5, "in no direction more than in another"


@either
def test_turning_follows_torchs_random_state_and_keeps_the_ground_black(changed):
    x = torch.full((4, 1, 28, 28), -1.0)
    assert torch.equal(changed(x), x)
    digits = data.load("mnist", limit=4).images
    torch.manual_seed(5)
    first = changed(digits)
    torch.manual_seed(5)
    assert torch.equal(changed(digits), first)


@either
def test_turning_that_draws_nothing_changes_nothing(monkeypatch, changed):
    for name in ("TURN", "SHEAR", "STRETCH", "SHIFT", "BEND"):
        monkeypatch.setattr(augment, name, 0.0)
    x = torch.rand(3, 1, 28, 28) * 2 - 1
    torch.testing.assert_close(changed(x), x, atol=1e-4, rtol=0)


@either
def test_a_shift_alone_moves_by_whole_pixels_where_it_is_whole(monkeypatch, changed):
    for name in ("TURN", "SHEAR", "STRETCH", "BEND"):
        monkeypatch.setattr(augment, name, 0.0)
    x = torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
    monkeypatch.setattr(torch, "rand", lambda *shape, device: torch.ones(*shape))  # the largest draw: 2 pixels
    moved = changed(x)
    torch.testing.assert_close(moved[..., :-2, :-2], x[..., 2:, 2:], atol=1e-4, rtol=0)
    torch.testing.assert_close(moved[..., -2:, :], torch.full((1, 1, 2, 28), -1.0), atol=1e-4, rtol=0)


@either
def test_a_share_of_the_strength_moves_by_that_share_of_the_way(monkeypatch, changed):
    for name in ("TURN", "SHEAR", "STRETCH", "BEND"):
        monkeypatch.setattr(augment, name, 0.0)
    x = torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
    monkeypatch.setattr(torch, "rand", lambda *shape, device: torch.ones(*shape))  # the largest draw: 2 pixels
    moved = changed(x, 0.5)
    torch.testing.assert_close(moved[..., :-1, :-1], x[..., 1:, 1:], atol=1e-4, rtol=0)


def test_what_a_generator_learns_from_stays_sharp(monkeypatch):
    monkeypatch.setattr(augment, "BEND", 0.0)
    x = data.load("mnist", limit=100).images

    def contrast(images):
        return float(images.diff(dim=3).square().mean())

    shown = {}
    for changed in (warped, random_affine):
        torch.manual_seed(0)
        shown[changed] = changed(x, 0.4)
    torch.testing.assert_close(*shown.values(), atol=0.8, rtol=0)  # the same draws
    lost = {changed: contrast(x) - contrast(images) for changed, images in shown.items()}
    assert 0 < lost[random_affine] < lost[warped] / 2


@either
def test_without_strength_the_same_tensor_comes_back_and_nothing_is_drawn(changed):
    x, before = torch.zeros(2, 2), torch.random.get_rng_state()
    assert changed(x, 0) is x
    assert torch.equal(torch.random.get_rng_state(), before)


@either
@pytest.mark.parametrize(
    ("x", "strength", "complaint"),
    [
        (torch.zeros(1, 1, 28, 28), -0.5, "strength=-0.5 must not be negative"),
        (torch.zeros(28, 28), 0.5, r"only images \[N, C, H, W\] can be turned, not \[28, 28\]"),
    ],
)
def test_what_cannot_be_turned_is_refused(x, strength, complaint, changed):
    with pytest.raises(ValueError, match=complaint):
        changed(x, strength)


@pytest.mark.parametrize(
    ("turn", "shear", "across", "down", "expected"),
    [
        (0.0, 0.0, 1.0, 1.0, [[1, 0], [0, 1]]),
        (0.0, 0.5, 2.0, 3.0, [[2, 1.5], [0, 3]]),
        (torch.pi / 2, 0.0, 2.0, 3.0, [[0, -3], [2, 0]]),
        (torch.pi, 0.25, 1.0, 1.0, [[-1, 0.25], [0, -1]]),
    ],
)
def test_the_linear_map_of_a_turn_a_shear_and_two_lengths(turn, shear, across, down, expected):
    given = (torch.tensor([number, 0.0]) for number in (turn, shear, across, down))
    first, _ = turned(*given)
    torch.testing.assert_close(first, torch.tensor(expected, dtype=torch.float32), atol=1e-6, rtol=0)


@pytest.mark.parametrize("change", [warped, random_affine])
@pytest.mark.parametrize("strength", [-0.1, float("nan"), float("inf")])
def test_a_strength_is_finite_and_not_negative(change, strength):
    with pytest.raises(ValueError, match="must not be negative, nor infinite"):
        change(random_images(2, 1, 8, 8), strength)


@pytest.mark.parametrize("change", [warped, random_affine])
def test_of_no_images_nothing_is_changed(change):
    assert change(torch.zeros(0, 1, 28, 28)).shape == (0, 1, 28, 28)


@pytest.mark.parametrize("bend", [warped, random_affine])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_only_float32_images_can_be_turned(bend, dtype):
    with pytest.raises(ValueError, match=f"only float32 images can be turned, not {dtype}"):
        bend(torch.zeros(2, 1, 28, 28, dtype=dtype))


def test_a_negative_shift_is_refused():
    with pytest.raises(ValueError, match="shift=-1 must not be negative"):
        moved(torch.zeros(2, 1, 28, 28), -1)


@pytest.mark.parametrize(("mode", "padding"), [("bilinear", "zeros"), ("bicubic", "border")])
def test_a_device_that_cannot_sample_leaves_it_to_the_cpu(monkeypatch, mode, padding):
    x, grid = torch.rand(2, 1, 5, 5), torch.rand(2, 5, 5, 2) * 2 - 1

    class Elsewhere(torch.Tensor):
        """A tensor that says it lies on Apple's GPU."""

        device = property(lambda self: torch.device("mps"))

        def cpu(self):
            return self.as_subclass(torch.Tensor)

    seen = []
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device: seen.append(device) or self)
    found = augment.sampled(x.as_subclass(Elsewhere), grid.as_subclass(Elsewhere), mode, padding)
    assert seen == [torch.device("mps")]
    assert torch.equal(found, torch.nn.functional.grid_sample(x, grid, mode, padding, align_corners=False))
