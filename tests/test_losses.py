import math

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from gantools import losses

LN2 = math.log(2)
ALL = [losses.non_saturating, losses.saturating, losses.least_squares, losses.relativistic]
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
