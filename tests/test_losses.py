import math

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from gantools import losses

LN2 = math.log(2)
ALL = [
    losses.non_saturating,
    losses.saturating,
    losses.least_squares,
    losses.squared_error,
    losses.relativistic,
]
REAL, FAKE = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([-3.0, 1.0, 0.0])


def near(value):
    return pytest.approx(value, rel=1e-5)


def test_a_discriminator_that_cannot_tell_loses_two_ln_two():
    zero = torch.zeros(4)
    assert losses.bce_d(zero, zero).item() == near(2 * LN2)
    assert losses.bce_d(zero, zero, real_target=0.9, fake_target=0.1).item() == near(2 * LN2)
    assert losses.relativistic_d(zero, zero).item() == near(LN2)


def test_a_generator_that_cannot_be_told_loses_ln_two():
    zero = torch.zeros(4)
    assert losses.non_saturating_g(zero).item() == near(LN2)
    assert losses.saturating_g(zero).item() == near(-LN2)
    assert losses.relativistic_g(zero, zero).item() == near(LN2)


# -log sigmoid(x) is softplus(-x), and -log(1 - sigmoid(x)) is softplus(x): the published formulas, term by term.


def test_bce_follows_the_formula_of_the_minimax_game():
    assert losses.bce_d(REAL, FAKE).item() == near((softplus(-REAL).mean() + softplus(FAKE).mean()).item())
    assert losses.non_saturating_g(FAKE).item() == near(softplus(-FAKE).mean().item())
    assert losses.saturating_g(FAKE).item() == near((1 - FAKE.sigmoid()).log().mean().item())


def test_smoothing_mixes_the_two_targets():
    smooth = losses.bce_d(REAL, FAKE, real_target=0.9, fake_target=0.2)
    real = 0.9 * softplus(-REAL) + 0.1 * softplus(REAL)
    fake = 0.2 * softplus(-FAKE) + 0.8 * softplus(FAKE)
    assert smooth.item() == near((real.mean() + fake.mean()).item())


def test_least_squares_measures_the_distance_from_the_targets():
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 2.0])
    assert losses.least_squares_d(real, fake).item() == near(2 + 2)
    assert losses.least_squares_d(real, fake, real_target=0.0, fake_target=1.0).item() == near(5 + 1)
    assert losses.least_squares_g(fake).item() == near(1)


def test_squared_error_is_a_quarter_for_players_that_cannot_tell():
    zero = torch.zeros(4)
    assert losses.squared_error_d(zero, zero).item() == near(1 / 4)
    assert losses.squared_error_g(zero).item() == near(1 / 4)


def test_squared_error_measures_the_distance_of_probabilities_from_the_targets():
    ln3 = torch.tensor([math.log(3)])  # the logit of 3/4
    assert losses.squared_error_d(ln3, -ln3).item() == near((1 / 16 + 1 / 16) / 2)
    assert losses.squared_error_d(-ln3, ln3).item() == near((9 / 16 + 9 / 16) / 2)
    assert losses.squared_error_d(ln3, ln3).item() == near((1 / 16 + 9 / 16) / 2)
    assert losses.squared_error_d(ln3, ln3, real_target=0.5, fake_target=0.75).item() == near((1 / 16 + 0) / 2)
    assert losses.squared_error_g(ln3).item() == near(1 / 16)
    assert losses.squared_error_g(torch.cat([ln3, -ln3])).item() == near((1 / 16 + 9 / 16) / 2)


def test_relativistic_compares_each_pair():
    assert losses.relativistic_d(REAL, FAKE).item() == near(softplus(FAKE - REAL).mean().item())
    assert losses.relativistic_g(FAKE, REAL).item() == near(softplus(REAL - FAKE).mean().item())
    assert losses.relativistic_d(REAL, REAL.flip(0)).item() != near(losses.relativistic_d(REAL, REAL).item())


def test_the_relativistic_generator_needs_real_images():
    with pytest.raises(ValueError, match="needs real_logits"):
        losses.relativistic_g(FAKE, None)


@pytest.mark.parametrize("loss", ALL, ids=lambda loss: loss.name)
def test_a_loss_says_truly_whether_its_generator_sees_real_images(loss):
    real = REAL.clone().requires_grad_()
    value = loss.g(FAKE.clone().requires_grad_(), real)
    (gradient,) = torch.autograd.grad(value, real, allow_unused=True)
    assert (gradient is not None) == loss.g_sees_real


@pytest.mark.parametrize("loss", ALL, ids=lambda loss: loss.name)
def test_every_loss_rewards_what_its_player_wants(loss):
    def slope(objective, logits):
        logits = logits.clone().requires_grad_()
        objective(logits).backward()
        return logits.grad

    assert (slope(lambda real: loss.d(real, FAKE, 1.0, 0.0), torch.zeros(3)) < 0).all()
    assert (slope(lambda fake: loss.d(REAL, fake, 1.0, 0.0), torch.full((3,), 0.5)) > 0).all()
    assert (slope(lambda fake: loss.g(fake, REAL), torch.zeros(3)) < 0).all()


def test_where_d_is_sure_only_the_non_saturating_gradient_is_left():
    def slope(objective):
        sure_fake = torch.tensor([-20.0], requires_grad=True)
        objective(sure_fake).backward()
        return sure_fake.grad.abs().item()

    assert slope(losses.saturating_g) < 1e-6
    assert slope(losses.squared_error_g) < 1e-6
    assert slope(losses.non_saturating_g) > 0.99


@pytest.mark.parametrize("loss", ALL, ids=lambda loss: loss.name)
@pytest.mark.parametrize(("real", "fake"), [(1000.0, -1000.0), (-1000.0, 1000.0)])
def test_extreme_logits_give_finite_losses_and_gradients(loss, real, fake):
    real, fake = torch.full((2,), real, requires_grad=True), torch.full((2,), fake, requires_grad=True)
    value = loss.d(real, fake, 1.0, 0.0) + loss.g(fake, real)
    value.backward()
    assert value.isfinite()
    assert real.grad.isfinite().all()
    assert fake.grad.isfinite().all()


# What D says


@pytest.mark.parametrize("loss", [losses.non_saturating, losses.saturating, losses.squared_error])
def test_behind_a_sigmoid_d_says_the_probability_of_either_half_by_itself(loss):
    real, fake = loss.belief(torch.tensor([0.0, math.log(3)]), torch.tensor([-math.log(4), 1000.0, -1000.0]))
    assert real.tolist() == near([0.5, 0.75])
    assert fake.tolist() == near([0.2, 1, 0])


def test_least_squares_has_no_sigmoid_and_d_says_its_output_between_0_and_1():
    real, fake = losses.least_squares.belief(torch.tensor([1.7, 0.3]), torch.tensor([-0.5, 0.6, 1.0]))
    assert real.tolist() == near([1, 0.3])
    assert fake.tolist() == near([0, 0.6, 1])


def test_a_relativistic_d_says_which_image_of_a_pair_is_real():
    real, fake = losses.relativistic.belief(torch.tensor([5.0, 5.0]), torch.tensor([5.0, 5 + math.log(3)]))
    assert real.tolist() == near([0.5, 0.25])
    assert fake.tolist() == near([0.5, 0.75])


def test_a_relativistic_belief_is_symmetric_and_sees_differences_only():
    real, fake = losses.relativistic.belief(REAL, FAKE)
    assert (real + fake).tolist() == near([1, 1, 1])
    swapped_real, swapped_fake = losses.relativistic.belief(FAKE, REAL)
    assert torch.equal(swapped_real, fake)
    assert torch.equal(swapped_fake, real)
    for before, after in zip((real, fake), losses.relativistic.belief(REAL + 7, FAKE + 7), strict=True):
        torch.testing.assert_close(after, before)


@pytest.mark.parametrize("loss", ALL, ids=lambda loss: loss.name)
def test_a_belief_is_a_probability_for_each_image_that_rises_with_its_logit(loss):
    logits = torch.linspace(-1000, 1000, 2001)
    for real, fake in (loss.belief(logits, torch.zeros(2001)), loss.belief(torch.zeros(2001), logits)[::-1]):
        assert real.shape == fake.shape == (2001,)
        assert 0 <= fake.min() <= fake.max() <= 1
        assert (real.diff() >= 0).all()
        assert (real[0], real[-1]) == (0, 1)


@pytest.mark.parametrize("loss", ALL, ids=lambda loss: loss.name)
def test_the_target_that_d_is_trained_towards_is_what_it_comes_to_say(loss):
    real, fake = torch.full((3,), 0.4), torch.full((3,), 0.6)
    for _ in range(300):
        real, fake = real.detach().requires_grad_(), fake.detach().requires_grad_()
        loss.d(real, fake, 1.0, 0.0).backward()
        real, fake = real - 0.5 * real.grad, fake - 0.5 * fake.grad
    real, fake = loss.belief(real, fake)
    assert real.min() > 0.85
    assert fake.max() < 0.15


# The class term


@pytest.mark.parametrize("classes", [2, 10, 62])
def test_a_d_that_cannot_tell_the_classes_apart_loses_ln_k(classes):
    y = torch.arange(2 * classes) % classes
    assert losses.class_loss(torch.zeros(len(y), classes), y).item() == near(math.log(classes))
    assert losses.class_loss(torch.full((len(y), classes), 7.0), y).item() == near(math.log(classes))


def test_the_class_term_is_the_mean_surprise_at_the_labels():
    odds = torch.tensor([[1.0, 2.0, 5.0], [6.0, 1.0, 1.0]])  # probabilities in eighths
    expected = (math.log(8 / 5) + math.log(8 / 1)) / 2
    assert losses.class_loss(odds.log(), torch.tensor([2, 1])).item() == near(expected)


def test_the_class_term_rewards_the_class_that_is_asked_for_and_no_other():
    logits = torch.zeros(2, 3, requires_grad=True)
    losses.class_loss(logits, torch.tensor([0, 2])).backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[-2.0, 1, 1], [1, 1, -2]]) / 6)


def test_behind_a_softmax_the_class_term_could_not_fall_below_1_461_for_ten_classes():
    y = torch.arange(10)
    right = 1000.0 * torch.eye(10)
    assert losses.class_loss(right, y).item() == near(0)
    floor = losses.class_loss(right.softmax(1), y).item()
    assert floor == near(math.log(1 + 9 / math.e)) == pytest.approx(1.461, abs=5e-4)
    torch.manual_seed(0)
    others = [scale * torch.randn(10, 10) + lean * torch.eye(10) for scale in (0.1, 1, 10, 100) for lean in (0, 5, 500)]
    assert all(losses.class_loss(logits.softmax(1), y).item() > floor - 1e-6 for logits in others)
    # What it learns from is gone as well: where D is surely wrong, its logits get no gradient.
    wrong = right.roll(1, 0).requires_grad_()
    losses.class_loss(wrong.softmax(1), y).backward()
    assert not wrong.grad.any()


@pytest.mark.parametrize(
    ("logits", "labels"),
    [((3,), (3,)), ((3, 4, 1), (3,)), ((3, 4), (2,)), ((3, 4), (3, 4)), ((3, 4), (3, 1)), ((3, 4), ())],
)
def test_class_logits_and_labels_that_do_not_fit_are_refused_with_their_shapes(logits, labels):
    with pytest.raises(ValueError, match="class logits") as refusal:
        losses.class_loss(torch.zeros(logits), torch.zeros(labels, dtype=torch.int64))
    assert f"not {list(logits)} and {list(labels)}" in str(refusal.value)


# Penalties


def test_the_gradient_penalty_of_a_linear_d_is_its_squared_weight():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 1), nn.Flatten(0))
    x = torch.randn(5, 3, 2, 2, requires_grad=True)
    penalty = losses.gradient_penalty(network(x), x)
    assert penalty.item() == near(network[1].weight.square().sum().item())


def test_the_gradient_penalty_is_a_mean_over_the_batch():
    x = torch.tensor([[1.0, 0.0], [2.0, 2.0]], requires_grad=True)
    penalty = losses.gradient_penalty(x.square().sum(1), x)  # the gradient is 2x
    assert penalty.item() == near((4 + 32) / 2)


def test_the_gradient_penalty_can_be_minimised():
    network = nn.Linear(3, 1)
    x = torch.randn(4, 3, requires_grad=True)
    losses.gradient_penalty(network(x).squeeze(1), x).backward()
    assert torch.allclose(network.weight.grad, 2 * network.weight)


@pytest.mark.parametrize("compare", [losses.relativistic_d, losses.relativistic_g])
def test_pairs_need_logits_of_one_shape(compare):
    """By broadcasting each real image would meet every fake."""
    with pytest.raises(ValueError, match=r"pairs need logits of one shape"):
        compare(torch.zeros(4), torch.zeros(4, 1))


def test_the_relativistic_target_smooths():
    """At the logit ln 3 D says 3/4: with that target what is left is the entropy of a coin of 3/4."""
    at_target = losses.relativistic_d(torch.tensor([math.log(3)]), torch.tensor([0.0]), real_target=0.75).item()
    assert at_target == near(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
