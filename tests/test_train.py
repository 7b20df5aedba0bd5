import copy
import math
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import interpolate, softplus
from torch.nn.utils.parametrizations import spectral_norm

from gantools import data, losses, nets, recipes, runtime, train
from gantools.nets.layers import ClassEmbedding
from gantools.recipe import Recipe

Y = torch.zeros(8, dtype=torch.int64)


class ConvGenerator(nn.Module):
    def __init__(self, z_dim, image_shape):
        super().__init__()
        self.start = nn.Linear(z_dim, 4 * 7 * 7)
        self.middle = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.end = nn.Conv2d(4, image_shape[0], 3, padding=1)

    def forward(self, z, y=None):
        x = self.middle(interpolate(self.start(z).view(-1, 4, 7, 7), scale_factor=2))
        return self.end(interpolate(x, scale_factor=2)).tanh()


class ConvDiscriminator(nn.Module):
    def __init__(self, image_shape):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(image_shape[0], 4, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(8 * 7 * 7, 1),
        )

    def forward(self, x, y=None):
        return self.layers(x).squeeze(1)


class SpectralGenerator(nn.Module):
    """Conditional, with spectral norm on every layer but the label's."""

    def __init__(self, z_dim, image_shape, classes):
        super().__init__()
        self.label = ClassEmbedding(classes, 4)
        self.layers = nn.Sequential(
            spectral_norm(nn.Linear(z_dim + 4, 4 * 7 * 7)),
            nn.Unflatten(1, (4, 7, 7)),
            nn.BatchNorm2d(4),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.ConvTranspose2d(4, image_shape[0], 4, stride=2, padding=1)),
            nn.Tanh(),
        )

    def forward(self, z, y):
        return self.layers(torch.cat([z, self.label(y)], 1))


class SpectralDiscriminator(nn.Module):
    def __init__(self, image_shape, classes):
        super().__init__()
        self.plane = nn.Sequential(ClassEmbedding(classes, 28 * 28), nn.Unflatten(1, (1, 28, 28)))
        self.layers = nn.Sequential(
            spectral_norm(nn.Conv2d(image_shape[0] + 1, 4, 3, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            nn.Dropout(0.3),
            spectral_norm(nn.Conv2d(4, 8, 3, stride=2, padding=1)),
            nn.BatchNorm2d(8),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            spectral_norm(nn.Linear(8 * 7 * 7, 1)),
        )

    def forward(self, x, y):
        return self.layers(torch.cat([x, self.plane(y)], 1)).squeeze(1)


class Namer(nn.Module):
    """A discriminator that names the class too; linear in the pixels."""

    def __init__(self, image_shape, classes):
        super().__init__()
        self.real = nn.Linear(math.prod(image_shape), 1)
        self.label = nn.Linear(math.prod(image_shape), classes)

    def forward(self, x, y=None):
        return self.real(x.flatten(1)).squeeze(1), self.label(x.flatten(1))


MLP = recipes.get("mlp-gan", batch=8, steps=12)
ACGAN = recipes.get("acgan", batch=8, g_batch=12, steps=7, precision="fp32")
CONV = Recipe(
    name="conv", generator=ConvGenerator, discriminator=ConvDiscriminator, z_dim=8, batch=8, steps=12, precision="fp32"
)
SPECTRAL = Recipe(
    name="spectral",
    generator=SpectralGenerator,
    discriminator=SpectralDiscriminator,
    classes=10,
    z_dim=8,
    batch=8,
    steps=12,
    precision="fp32",
)
VARIANTS = {
    "plain": MLP,
    "average": MLP.change(ema=0.9),
    "reused fakes": MLP.change(fresh_fakes=False, joint_d_batch=False),
    "relativistic": MLP.change(loss=losses.relativistic, noise="normal"),
    "conv, lazy R1 and R2, average": CONV.change(r1=1.0, r2=0.5, penalty_every=3, ema=0.9),
    "conv, joint batch, more fakes": CONV.change(joint_d_batch=True, g_batch=12),
    "decaying": MLP.change(lr_decay=0.5, decay_every=1),
    "conv, turned, moved and mirrored, decaying": CONV.change(
        affine=0.4, shift=3, flip=True, lr_decay=0.7, decay_every=2
    ),
    "conditional, spectral norm": SPECTRAL.change(lr_decay=0.5, decay_every=1, joint_d_batch=True, g_batch=12),
    "conditional, spectral norm, all else": SPECTRAL.change(
        loss=losses.relativistic, fresh_fakes=False, r1=1.0, r2=1.0, penalty_every=2, shift=2, ema=0.9
    ),
    "naming classes, balanced, fakes in eval mode": SPECTRAL.change(
        discriminator=Namer, class_weight=1.0, balanced=True, eval_fakes=True, joint_d_batch=True, g_batch=12
    ),
    "naming real ones only, all else": SPECTRAL.change(
        discriminator=Namer, class_weight=0.5, classify_fakes=False, fresh_fakes=False, r1=1.0, shift=2, ema=0.9
    ),
}


def assert_same(one, other):
    """Both runs stand at the same place, to the last bit."""
    assert one.step == other.step
    for left, right in ((one.player, other.player), (one.discriminator, other.discriminator)):
        assert_same_tensors(left.state_dict(), right.state_dict())
    assert_same_tensors(one.generator.state_dict(), other.generator.state_dict())
    for role in ("d_optimizer", "g_optimizer"):
        left, right = (getattr(run, role).state_dict()["state"] for run in (one, other))
        assert left.keys() == right.keys()
        for index in left:
            assert_same_tensors(left[index], right[index])
    for left, right in zip(one.history, other.history, strict=True):
        assert {**left, "seconds": 0} == {**right, "seconds": 0}


def assert_same_tensors(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


def weights(network):
    return [parameter.detach().clone() for parameter in network.parameters()]


def moved(before, network):
    """Whether each parameter has changed."""
    return [not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True)]


@pytest.fixture
def game(start):
    """An untrained run of mlp-gan, real images, and fakes with their graph."""
    torch.manual_seed(0)
    run = start(MLP)
    fakes = run.player(MLP.draw_z(8))
    return run, (torch.rand(8, 1, 28, 28) * 2 - 1, Y), (fakes, Y)


# One step of D


def test_d_loses_two_ln_two_while_it_cannot_tell(game):
    run, real, fake = game
    for parameter in run.discriminator.layers[-1].parameters():
        nn.init.zeros_(parameter)
    scores = train.d_step(MLP, run.discriminator, run.d_optimizer, real, fake)
    assert scores["d_loss"].item() == pytest.approx(2 * math.log(2))
    assert (scores["d_real"], scores["d_fake"]) == (0.5, 0.5)


def test_d_step_moves_every_weight_of_d_and_leaves_g_alone(game):
    run, real, fake = game
    before_d, before_g = weights(run.discriminator), weights(run.player)
    train.d_step(MLP, run.discriminator, run.d_optimizer, real, fake)
    assert all(moved(before_d, run.discriminator))
    assert not any(moved(before_g, run.player))
    assert all(parameter.grad is None for parameter in run.player.parameters())


def test_d_learns_to_tell_real_from_fake(game):
    run, real, fake = game
    scores = [train.d_step(MLP, run.discriminator, run.d_optimizer, real, fake) for _ in range(30)]
    assert scores[-1]["d_loss"] < 0.3 < scores[0]["d_loss"]
    assert scores[-1]["d_real"] > 0.8 > 0.2 > scores[-1]["d_fake"]
    assert (scores[-1]["real_accuracy"], scores[-1]["fake_accuracy"]) == (1, 1)


class Mean(nn.Module):
    """A discriminator whose logit is a multiple of the mean pixel."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x, y=None):
        return self.factor * x.flatten(1).mean(1)


def test_the_scores_are_what_d_says_of_either_half():
    d, levels = Mean(), torch.tensor([2.0, 1.0, -1.0, 3.0])
    real = levels.view(4, 1, 1, 1).expand(4, 1, 2, 2), Y[:4]
    fake = -real[0][:2] - 0.5, Y[:2]
    scores = train.d_step(MLP, d, torch.optim.SGD(d.parameters(), lr=0.0), real, fake)
    assert scores["real_accuracy"] == 0.75
    assert scores["fake_accuracy"] == 1
    assert scores["d_real"].item() == pytest.approx(levels.sigmoid().mean().item())
    assert scores["d_fake"].item() == pytest.approx((-levels[:2] - 0.5).sigmoid().mean().item())
    assert scores["penalty"] == 0


def constant_images(*levels):
    return torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, 1, 2, 2), Y[: len(levels)]


def logit(p):
    return math.log(p / (1 - p))


@pytest.mark.parametrize(
    ("loss", "real", "fake", "d_real", "d_fake"),
    [
        (losses.least_squares, [1.5, 0.75, 0.25], [-0.5, 0.5, 0.75], 2 / 3, 1.25 / 3),
        (losses.squared_error, [logit(0.9), logit(0.6)], [logit(0.25), logit(0.75)], 0.75, 0.5),
        (losses.relativistic, [2 + logit(0.9), 3 + logit(0.6)], [2.0, 3.0], 0.75, 0.25),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_scores_are_the_belief_of_the_loss(loss, real, fake, d_real, d_fake):
    d = Mean()
    optimizer = torch.optim.SGD(d.parameters(), lr=0.0)
    scores = train.d_step(MLP.change(loss=loss), d, optimizer, constant_images(*real), constant_images(*fake))
    assert scores["d_real"].item() == pytest.approx(d_real, rel=1e-5)
    assert scores["d_fake"].item() == pytest.approx(d_fake, rel=1e-5)
    assert not any(score.requires_grad for score in scores.values())


@pytest.mark.parametrize(
    ("loss", "real_accuracy", "fake_accuracy"),
    [(losses.non_saturating, 1, 0.25), (losses.least_squares, 0.5, 0.75), (losses.relativistic, 0.75, 0.75)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_accuracy_is_how_often_the_belief_is_on_the_right_side_of_a_half(loss, real_accuracy, fake_accuracy):
    real, fake, d = constant_images(0.6, 0.4, 0.1, 2.0), constant_images(-0.2, 0.2, 0.7, 0.3), Mean()
    scores = train.d_step(MLP.change(loss=loss), d, torch.optim.SGD(d.parameters(), lr=0.0), real, fake)
    assert (scores["real_accuracy"], scores["fake_accuracy"]) == (real_accuracy, fake_accuracy)


def test_d_step_hands_both_targets_to_the_loss(game):
    run, real, fake = game
    seen = []
    spy = losses.Loss("spy", lambda *given: seen.append(given[2:]) or losses.bce_d(*given), losses.non_saturating_g)
    recipe = MLP.change(real_target=0.9, fake_target=0.1, loss=spy)
    train.d_step(recipe, run.discriminator, run.d_optimizer, real, fake)
    assert seen == [(0.9, 0.1)]


def test_one_joint_batch_equals_two_where_d_has_neither_batch_norm_nor_dropout(game):
    run, real, fake = game
    runs = []
    for joint in (True, False):
        d = copy.deepcopy(run.discriminator).eval()
        optimizer = torch.optim.SGD(d.parameters(), lr=0.1)
        scores = train.d_step(MLP.change(joint_d_batch=joint), d, optimizer, real, fake)
        runs.append((scores, [parameter.grad for parameter in d.parameters()]))
    (joint_scores, joint_gradients), (scores, gradients) = runs
    torch.testing.assert_close(joint_scores, scores)
    torch.testing.assert_close(joint_gradients, gradients)


def test_a_joint_batch_shows_d_real_and_fake_at_once(game):
    run, real, fake = game
    sizes = []
    run.discriminator.register_forward_pre_hook(lambda network, given: sizes.append(len(given[0])))
    for joint in (True, False):
        train.d_step(MLP.change(joint_d_batch=joint), run.discriminator, run.d_optimizer, real, fake)
    assert sizes == [16, 8, 8]


@pytest.mark.parametrize(("r1", "r2", "every", "expected"), [(2, 0, 1, 1), (2, 0, 5, 5), (0, 6, 1, 3), (2, 6, 2, 8)])
def test_the_penalty_is_half_gamma_times_the_squared_gradient(r1, r2, every, expected):
    d = Mean(4.0)  # 16 pixels: each has the gradient 4/16, and the squares sum to 1
    real, fake = (torch.rand(3, 1, 4, 4), Y[:3]), (torch.rand(3, 1, 4, 4), Y[:3])
    recipe = MLP.change(r1=r1, r2=r2, penalty_every=every)
    optimizer = torch.optim.SGD(d.parameters(), lr=0.0)
    scores = train.d_step(recipe, d, optimizer, real, fake, recipe.penalty_weight(0))
    assert scores["penalty"].item() == pytest.approx(expected)
    with_penalty = d.factor.grad.clone()
    assert train.d_step(recipe, d, optimizer, real, fake)["penalty"] == 0
    # d penalty / d factor = 2 · penalty / factor
    assert (with_penalty - d.factor.grad).item() == pytest.approx(expected / 2, rel=1e-4)


# One step of G


def test_g_step_moves_g_and_leaves_d_as_it_was(game):
    run, real, fake = game
    before_d, before_g = weights(run.discriminator), weights(run.player)
    train.g_step(MLP, run.discriminator, run.g_optimizer, real, fake)
    assert all(moved(before_g, run.player))
    assert not any(moved(before_d, run.discriminator))
    assert all(parameter.grad is None for parameter in run.discriminator.parameters())
    assert all(parameter.requires_grad for parameter in run.discriminator.parameters())


def test_g_step_keeps_the_gradients_that_d_had(game):
    run, real, fake = game
    train.d_step(MLP, run.discriminator, run.d_optimizer, real, fake)
    before = [parameter.grad.clone() for parameter in run.discriminator.parameters()]
    train.g_step(MLP, run.discriminator, run.g_optimizer, real, fake)
    after = [parameter.grad for parameter in run.discriminator.parameters()]
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_g_learns_to_please_d(game, start):
    run, real, _ = game
    z = MLP.draw_z(8)
    steps = [
        train.g_step(MLP, run.discriminator, run.g_optimizer, real, (run.player(z), Y))["g_loss"] for _ in range(40)
    ]
    assert steps[-1] < 0.85 * steps[0]


def test_the_relativistic_generator_is_compared_with_real_images(game):
    run, *_ = game
    recipe = MLP.change(loss=losses.relativistic)
    d = Mean(factor=10.0)
    values = [
        train.g_step(recipe, d, run.g_optimizer, (torch.full((8, 1, 28, 28), level), Y), (run.player(MLP.draw_z(8)), Y))
        for level in (-1.0, 1.0)
    ]
    assert values[0]["g_loss"] < 1 < 9 < values[1]["g_loss"]


# The class term


@pytest.fixture
def naming():
    """A D that names one of five classes, three real and four generated images, and their labels."""
    torch.manual_seed(0)
    real, fake = (torch.rand(count, 1, 4, 4) * 2 - 1 for count in (3, 4))
    return Namer((1, 4, 4), 5), (real, torch.tensor([4, 0, 2])), (fake, torch.tensor([1, 1, 3, 0]))


def surprise(class_logits, y):
    """Mean -log of the probability of the labels."""
    return -class_logits.softmax(1)[range(len(y)), y].log().mean()


def resting(parameters):
    return torch.optim.SGD(parameters, lr=0.0)


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("classify_fakes", [True, False])
def test_the_loss_of_a_d_that_names_classes_is_the_one_computed_by_hand(naming, joint, classify_fakes):
    d, real, fake = naming
    (real_logits, real_named), (fake_logits, fake_named) = d(real[0]), d(fake[0])
    game = 0.95 * softplus(-real_logits).mean() + 0.05 * softplus(real_logits).mean()
    game = game + 0.05 * softplus(-fake_logits).mean() + 0.95 * softplus(fake_logits).mean()
    expected = game + 0.7 * surprise(real_named, real[1])
    if classify_fakes:
        expected = expected + 0.7 * surprise(fake_named, fake[1])
    gradients = torch.autograd.grad(expected, list(d.parameters()))
    recipe = ACGAN.change(class_weight=0.7, joint_d_batch=joint, classify_fakes=classify_fakes)
    scores = train.d_step(recipe, d, resting(d.parameters()), real, fake)
    assert scores["d_loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close([parameter.grad for parameter in d.parameters()], list(gradients))
    assert not any(score.requires_grad for score in scores.values())


def test_a_d_that_is_not_to_name_fakes_learns_nothing_from_what_it_calls_them(naming):
    d, real, (x_fake, y_fake) = naming

    def lesson(labels, **changes):
        train.d_step(ACGAN.change(**changes), d, resting(d.parameters()), real, (x_fake, labels))
        return d.label.weight.grad.clone(), d.real.weight.grad.clone()

    (named, told), (renamed, told_too) = (lesson(y, classify_fakes=False) for y in (y_fake, (y_fake + 1) % 5))
    assert torch.equal(named, renamed)
    assert torch.equal(told, told_too)
    assert not torch.equal(lesson(y_fake)[0], lesson((y_fake + 1) % 5)[0])


def test_the_loss_of_g_has_the_class_term_too_and_its_gradient(naming):
    d, real, (x_fake, y_fake) = naming
    x_fake.requires_grad_()
    logits, named = d(x_fake)
    expected = softplus(-logits).mean() + 0.7 * surprise(named, y_fake)
    (gradient,) = torch.autograd.grad(expected, x_fake)
    scores = train.g_step(ACGAN.change(class_weight=0.7), d, resting([x_fake]), real, (x_fake, y_fake))
    assert scores["g_loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(x_fake.grad, gradient)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in d.parameters())


def test_g_is_asked_for_the_class_even_where_d_does_not_name_fakes(naming):
    d, real, (x_fake, y_fake) = naming
    fake = x_fake.requires_grad_(), y_fake
    losses_of_g = [
        train.g_step(ACGAN.change(classify_fakes=named), d, resting([x_fake]), real, fake)["g_loss"]
        for named in (True, False)
    ]
    assert losses_of_g[0] == losses_of_g[1]


def test_without_a_class_term_a_d_that_names_classes_plays_the_plain_game(naming):
    d, real, fake = naming
    recipe = ACGAN.change(class_weight=0.0)
    (real_logits, _), (fake_logits, _) = d(real[0]), d(fake[0])
    scores = train.d_step(recipe, d, resting(d.parameters()), real, fake)
    assert scores["d_loss"].item() == pytest.approx(losses.bce_d(real_logits, fake_logits, 0.95, 0.05).item())
    assert not any(name.endswith("named") for name in scores)
    assert d.real.weight.grad.any()
    assert d.label.weight.grad is None or not d.label.weight.grad.any()
    x_fake = fake[0].requires_grad_()
    scores = train.g_step(recipe, d, resting([x_fake]), real, (x_fake, fake[1]))
    assert scores["g_loss"].item() == pytest.approx(softplus(-fake_logits).mean().item())


def test_the_scores_say_how_often_d_names_either_half_as_labelled():
    d = Namer((1, 1, 1), 3)
    for layer in (d.real, d.label):
        nn.init.zeros_(layer.bias)
    d.label.weight.data = torch.tensor([[-1.0], [0.0], [1.0]])  # dark is class 0, bright is class 2
    real = torch.tensor([-0.5, 0.5, 0.7, -0.1]).view(4, 1, 1, 1), torch.tensor([0, 2, 2, 2])
    fake = torch.tensor([-0.5, 0.5]).view(2, 1, 1, 1), torch.tensor([1, 2])
    for changes in ({}, {"classify_fakes": False}, {"joint_d_batch": False}):
        scores = train.d_step(ACGAN.change(**changes), d, resting(d.parameters()), real, fake)
        assert (scores["real_named"], scores["fake_named"]) == (0.75, 0.5)


def test_a_class_term_needs_a_d_that_names_classes(conditional, tiny):
    complaint = "^{}: class_weight=0.5, but this discriminator names no class$"
    real, x_fake, d = constant_images(1.0, 2.0), torch.zeros(2, 1, 2, 2, requires_grad=True), Mean()
    recipe = ACGAN.change(class_weight=0.5)
    for joint in (True, False):
        with pytest.raises(ValueError, match=complaint.format("acgan")):
            train.d_step(recipe.change(joint_d_batch=joint), d, resting(d.parameters()), real, (x_fake, Y[:2]))
    with pytest.raises(ValueError, match=complaint.format("acgan")):
        train.g_step(recipe, d, resting([x_fake]), real, (x_fake, Y[:2]))
    with pytest.raises(ValueError, match=complaint.format("shades")):
        train.fit(conditional.change(class_weight=0.5), tiny)


def test_a_penalty_is_on_what_d_takes_for_real_and_not_on_the_classes(naming):
    d, real, fake = naming
    train.d_step(ACGAN, d, resting(d.parameters()), real, fake)
    before = [parameter.grad.clone() for parameter in d.parameters()]
    scores = train.d_step(ACGAN.change(r1=3.0), d, resting(d.parameters()), real, fake, penalty_weight=2.0)
    # linear in the pixels: the gradient is the weight, whatever the image
    assert scores["penalty"].item() == pytest.approx(2 * 3 / 2 * d.real.weight.square().sum().item(), rel=1e-5)
    expected = [before[0] + 6 * d.real.weight.detach(), *before[1:]]
    torch.testing.assert_close([parameter.grad for parameter in d.parameters()], expected)


def test_class_logits_are_compared_in_fp32_where_d_runs_in_bf16(naming, monkeypatch):
    d, real, (x_fake, y_fake) = naming
    inside, outside = [], []
    d.label.register_forward_hook(lambda layer, given, out: inside.append(out.dtype))
    term = losses.class_loss
    monkeypatch.setattr(train, "class_loss", lambda named, y: outside.append(named.dtype) or term(named, y))
    fake, autocast = (x_fake.requires_grad_(), y_fake), runtime.autocast_for("bf16", torch.device("cpu"))
    train.d_step(ACGAN, d, resting(d.parameters()), real, fake, autocast=autocast)
    train.g_step(ACGAN, d, resting([x_fake]), real, fake, autocast=autocast)
    assert inside == [torch.bfloat16] * 2
    assert outside == [torch.float32] * 3


@pytest.mark.parametrize("classify_fakes", [False, True])
def test_a_d_that_names_real_images_only_sets_a_contrary_g_right_and_one_that_names_fakes_follows_it(
    conditional, classify_fakes
):
    class Contrary(conditional.generator):
        """Paints dark what is bright and bright what is dark, at first."""

        def __init__(self, **given):
            super().__init__(**given)
            self.greys.data.neg_()

    y = torch.arange(40) % 2
    images = (y - 0.5).view(40, 1, 1, 1).expand(40, 1, 28, 28).contiguous()
    recipe = conditional.change(
        generator=Contrary, discriminator=Namer, class_weight=1.0, classify_fakes=classify_fakes, steps=150, g_lr=0.02
    )
    run = train.fit(recipe, data.ImageSet(images, y, ("dark", "bright"), "greys"))
    dark, bright = run.sample(labels=[0, 1]).mean((1, 2, 3))
    if classify_fakes:  # its fakes are the larger lesson: D calls real images what they would be if G were right
        assert run.history[-1]["real_named"] == 0
        assert bright < 0 < dark
    else:
        assert run.history[-1]["real_named"] == 1
        assert dark < 0 < bright


# Augmentation


class Watcher(nn.Module):
    """A discriminator that keeps what it is shown."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.shown = []

    def forward(self, x, y=None):
        self.shown.append(x.detach())
        return self.weight * x.square().mean((1, 2, 3))


def pictures(grey):
    """White on the left, grey on the right: moved, they get a black edge; mirrored, white changes sides."""
    x = torch.full((8, 1, 6, 6), grey)
    x[..., :3] = 1
    return x


CHANGES = {"shift": {"shift": 2}, "flip": {"flip": True}, "both": {"shift": 2, "flip": True}}


def is_changed(shown, given, changes):
    """Of each image, whether it was changed as asked."""
    edge = torch.cat([shown[..., 0, :], shown[..., -1, :], shown[..., 0], shown[..., -1]], -1)
    moved = (edge == -1).flatten(1).any(1)
    mirrored = (shown[:, 0, 2:4, 5] == 1).any(1)
    assert changes.get("shift") or not moved.any()
    assert changes.get("flip") or not mirrored.any()
    assert ((shown == -1) | (shown == 1) | (shown == given[0, 0, 0, -1])).all()
    return moved | mirrored


def play(step, recipe, loss=losses.relativistic):
    """What D is shown in a step, with the real and the fake images, and the fakes' gradient."""
    torch.manual_seed(0)
    d, real = Watcher(), pictures(0.25)
    fakes = pictures(0.5).requires_grad_()
    player = d.parameters() if step is train.d_step else [fakes]
    step(recipe.change(loss=loss), d, torch.optim.SGD(player, lr=0.0), (real, Y), (fakes, Y))
    return d.shown, real, fakes


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("joint", [False, True])
def test_d_is_trained_on_moved_images_real_and_fake(changes, joint):
    shown, real, fakes = play(train.d_step, MLP.change(joint_d_batch=joint, **changes))
    halves = shown[0].split(8) if joint else shown
    for half, given in zip(halves, (real, fakes), strict=True):
        assert is_changed(half, given, changes).sum() >= 2
    assert fakes.grad is None


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_g_is_scored_on_moved_images_and_gets_the_gradient_through_them(changes):
    (fake_shown, real_shown), real, fakes = play(train.g_step, MLP.change(**changes))
    for shown, given in ((fake_shown, fakes), (real_shown, real)):
        assert is_changed(shown, given.detach(), changes).sum() >= 2
    # D's slope at a pixel is twice its value: a pixel pushed out of sight gets none.
    visible = (fake_shown != -1).sum((1, 2, 3))
    assert torch.equal((fakes.grad != 0).sum((1, 2, 3)), visible)
    assert (visible < 36).any() == bool(changes.get("shift"))


@pytest.mark.parametrize("step", [train.d_step, train.g_step])
def test_without_augmentation_d_sees_the_images_as_they_are_and_nothing_is_drawn(step):
    shown, real, fakes = play(step, MLP.change(joint_d_batch=False))
    after = torch.get_rng_state()
    torch.manual_seed(0)  # as `play` began
    assert torch.equal(torch.get_rng_state(), after)
    first, second = (real, fakes) if step is train.d_step else (fakes, real)
    assert torch.equal(shown[0], first)
    assert torch.equal(shown[1], second)


@pytest.mark.parametrize("gamma", ["r1", "r2"])
def test_the_penalty_is_paid_on_the_moved_images_that_d_was_shown(gamma):
    torch.manual_seed(0)
    d, recipe = Watcher(), MLP.change(shift=2, joint_d_batch=False, **{gamma: 1.0})
    real, fake = (pictures(0.25), Y), (pictures(0.5), Y)
    train.d_step(recipe, d, torch.optim.SGD(d.parameters(), lr=0.0), real, fake, penalty_weight=1.0)
    real_shown, fake_shown, penalised = d.shown
    assert torch.equal(penalised, real_shown if gamma == "r1" else fake_shown)
    assert not torch.equal(penalised, (real if gamma == "r1" else fake)[0])


def test_both_players_meet_the_real_images_turned(tiny, monkeypatch):
    met = []

    def meeting(step):
        def play_and_tell(*arguments):
            met.append(arguments[3][0])
            return step(*arguments)

        return play_and_tell

    monkeypatch.setattr(train, "random_affine", lambda x, strength: torch.full_like(x, strength))
    for name in ("d_step", "g_step"):
        monkeypatch.setattr(train, name, meeting(getattr(train, name)))
    train.fit(MLP.change(steps=2, affine=0.5), tiny)
    assert len(met) == 4
    assert all((x == 0.5).all() for x in met)


def test_points_cannot_be_turned():
    with pytest.raises(ValueError, match=r"only images \[N, C, H, W\] can be turned, not \[8, 2\]"):
        train.fit(recipes.get("ring", batch=8, steps=2, affine=0.5), data.ring(40))


def test_points_cannot_be_moved():
    with pytest.raises(ValueError, match=r"only images \[N, C, H, W\] can be moved, not \[8, 2\]"):
        train.fit(recipes.get("ring", batch=8, steps=2, shift=1), data.ring(40))


def test_an_augmented_run_is_another_one_but_follows_the_seed_too(tiny):
    recipe = MLP.change(shift=2)
    run = train.fit(recipe, tiny)
    assert_same(run, train.fit(recipe, tiny))
    assert any(moved(weights(run.player), train.fit(MLP, tiny).player))


# The loop


def test_a_run_trains_both_players_and_ends_in_eval_mode(tiny, start):
    fresh, run = start(MLP), train.fit(MLP, tiny)
    assert all(moved(weights(fresh.player), run.player))
    assert all(moved(weights(fresh.discriminator), run.discriminator))
    assert not run.player.training
    assert not run.discriminator.training


def test_the_history_has_a_row_an_epoch_and_one_for_the_rest(tiny):
    run = train.fit(MLP, tiny)
    assert [row["step"] for row in run.history] == [5, 10, 12]
    expected = {"step", "seconds", "d_loss", "g_loss", "d_real", "d_fake", "real_accuracy", "fake_accuracy", "penalty"}
    for row in run.history:
        assert row.keys() == expected
        assert all(math.isfinite(value) for value in row.values())
        assert all(0 <= row[key] <= 1 for key in ("d_real", "d_fake", "real_accuracy", "fake_accuracy"))
    assert run.history[0]["seconds"] <= run.history[1]["seconds"] <= run.history[2]["seconds"]


def test_where_d_names_classes_the_history_says_how_often_it_is_right(tiny, conditional):
    plain = train.fit(conditional, tiny).history[0]
    (row,) = train.fit(conditional.change(discriminator=Namer, class_weight=1.0), tiny).history
    assert row.keys() == plain.keys() | {"real_named", "fake_named"}
    assert 0 <= row["real_named"] <= 1
    assert 0 <= row["fake_named"] <= 1


def test_on_epoch_is_called_after_each_epoch_and_at_the_end(tiny):
    steps = []
    train.fit(MLP, tiny, on_epoch=lambda run: steps.append((run.step, len(run.history))))
    assert steps == [(5, 1), (10, 2), (12, 3)]


def test_what_on_epoch_draws_does_not_change_the_run(tiny):
    def noisy(run):
        torch.rand(5)
        run.sample(3, seed=None)

    assert_same(train.fit(MLP, tiny, on_epoch=noisy), train.fit(MLP, tiny))


def test_the_length_is_whole_epochs_unless_steps_are_given(make_set):
    recipe = MLP.change(steps=None, epochs=2)
    assert train.fit(recipe, make_set(39)).step == 2 * 4


def test_every_epoch_shows_each_image_once_in_another_order(make_set):
    shown = []
    pixels = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 1, 28, 28) / 8
    dataset = data.ImageSet(pixels.contiguous(), torch.zeros(8, dtype=torch.int64), ("0",), "levels")
    spy = losses.Loss("spy", lambda real, *rest: shown.append(real.detach()) or losses.bce_d(real, *rest), MLP.loss.g)
    recipe = MLP.change(loss=spy, batch=4, steps=4, joint_d_batch=False, d_lr=1e-12)
    train.fit(Recipe(**{**vars(recipe), "discriminator": lambda image_shape: Mean()}), dataset)
    epochs = [torch.cat(shown[:2]), torch.cat(shown[2:])]
    for epoch in epochs:
        torch.testing.assert_close(epoch.sort().values, torch.arange(8.0) / 8)
    assert not torch.equal(*epochs)


def test_the_same_recipe_twice_gives_the_same_run_and_another_seed_another(tiny):
    assert_same(train.fit(MLP, tiny), train.fit(MLP, tiny))
    assert all(moved(weights(train.fit(MLP, tiny).player), train.fit(MLP.change(seed=1), tiny).player))


def test_fit_leaves_torchs_random_state_as_it_was(tiny):
    before = torch.get_rng_state()
    train.fit(MLP, tiny)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_run_remembers_its_data(tiny, make_set, tmp_path):
    run, other = (train.fit(MLP, images, tmp_path / str(seed)) for seed, images in enumerate((tiny, make_set(seed=1))))
    assert run.data == {"name": "tiny", "count": 40, "classes": list("0123456789"), "digest": tiny.digest()}
    assert run.data["digest"] != other.data["digest"]


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 40)])
def test_the_networks_take_the_size_of_the_images(make_set, shape):
    assert train.fit(MLP.change(steps=2), make_set(16, shape)).sample(2).shape == (2, *shape)


def test_a_conditional_recipe_takes_its_classes_from_the_data(conditional, make_set):
    run = train.fit(conditional, make_set(40, classes=3))
    assert run.recipe.classes == 3
    assert len(run.sample(labels=[0, 1, 2])) == 3


class Counting(nets.MLPGenerator):
    batches: list[int] = []  # noqa: RUF012

    def forward(self, z, y=None):
        self.batches.append(len(z))
        return super().forward(z, y)


@pytest.mark.parametrize(
    ("changes", "a_step"),
    [({}, [8, 8]), ({"fresh_fakes": False}, [8]), ({"g_batch": 12}, [8, 12]), ({"g_batch": 8}, [8, 8])],
)
def test_fakes_are_drawn_once_or_twice_a_step_as_the_recipe_says(tiny, changes, a_step):
    Counting.batches.clear()
    train.fit(MLP.change(generator=Counting, steps=3, **changes), tiny)
    assert Counting.batches == a_step * 3


class Moody(nn.Module):
    """A generator of white images in train mode and of black ones in eval mode."""

    def __init__(self, z_dim, image_shape):
        super().__init__()
        self.white = nn.Parameter(torch.ones(image_shape))

    def forward(self, z, y=None):
        return (self.white if self.training else -self.white).expand(len(z), *self.white.shape)


@pytest.mark.parametrize(("eval_fakes", "shown_to_d"), [(True, "black"), (False, "white")])
@pytest.mark.parametrize("ema", [None, 0.9])
def test_d_sees_fakes_of_the_mode_that_the_recipe_says_and_g_trains_in_train_mode(tiny, eval_fakes, shown_to_d, ema):
    watcher, modes = Watcher(), []
    recipe = MLP.change(
        generator=Moody, discriminator=lambda image_shape: watcher, joint_d_batch=False, eval_fakes=eval_fakes, ema=ema
    )
    train.fit(recipe, tiny, on_epoch=lambda run: modes.append(run.player.training))
    assert len(watcher.shown) == 3 * recipe.steps
    for fakes, color in ((watcher.shown[1::3], shown_to_d), (watcher.shown[2::3], "white")):
        assert {"white" if image.mean() > 0 else "black" for image in fakes} == {color}
    assert modes == [True] * 3


def test_reused_fakes_train_both_players_to_another_place(tiny, start):
    fresh, reused = train.fit(MLP, tiny), train.fit(MLP.change(fresh_fakes=False), tiny)
    untrained = start(MLP)
    assert all(moved(weights(untrained.player), reused.player))
    assert all(moved(weights(untrained.discriminator), reused.discriminator))
    assert all(moved(weights(fresh.player), reused.player))


# The share of the newest weights is 1 - ema, but at first, after n steps, at least 9 / (10 + n).
@pytest.mark.parametrize(("ema", "second", "third"), [(0.1, 0.9, 0.9), (0.2, 9 / 11, 0.8), (0.999, 9 / 11, 9 / 12)])
def test_the_average_is_the_one_computed_by_hand(make_set, ema, second, third):
    snapshots = []
    recipe = MLP.change(ema=ema, steps=3)
    run = train.fit(recipe, make_set(8), on_epoch=lambda run: snapshots.append(weights(run.player)))
    for index, average in enumerate(run.generator.parameters()):
        by_hand, *later = (snapshot[index] for snapshot in snapshots)
        for share, newest in zip((second, third), later, strict=True):
            by_hand = (1 - share) * by_hand + share * newest
        torch.testing.assert_close(average.detach(), by_hand)


def test_the_average_holds_the_statistics_of_batch_norm_too(make_set):
    means = []
    run = train.fit(
        CONV.change(ema=0.1, steps=2),
        make_set(8),
        on_epoch=lambda run: means.append(run.player.middle[1].running_mean.clone()),
    )
    torch.testing.assert_close(run.generator.middle[1].running_mean, 0.1 * means[0] + 0.9 * means[1])


def test_a_lazy_penalty_is_paid_every_third_step_and_weighs_three_times(make_set):
    one_step_an_epoch = make_set(8)
    recipe = MLP.change(r1=1.0, penalty_every=3, steps=7)
    penalties = [row["penalty"] for row in train.fit(recipe, one_step_an_epoch).history]
    assert [penalty > 0 for penalty in penalties] == [True, False, False, True, False, False, True]
    eager = train.fit(recipe.change(penalty_every=1), one_step_an_epoch).history
    assert all(row["penalty"] > 0 for row in eager)
    assert penalties[0] == pytest.approx(3 * eager[0]["penalty"])


# Every class alike


@pytest.fixture
def labels_met(monkeypatch):
    """The labels of the real images, of D's fakes and of G's, in each step."""
    met = {"real": [], "fake": [], "asked": []}
    d_step, g_step = train.d_step, train.g_step

    def noting_d(recipe, discriminator, optimizer, real, fake, *rest):
        met["real"].append(real[1])
        met["fake"].append(fake[1])
        assert torch.equal(real[0][:, 0, 0, 0], real[1] / 10), "images and labels belong together"
        return d_step(recipe, discriminator, optimizer, real, fake, *rest)

    def noting_g(recipe, discriminator, optimizer, real, fake, *rest):
        met["asked"].append(fake[1])
        return g_step(recipe, discriminator, optimizer, real, fake, *rest)

    monkeypatch.setattr(train, "d_step", noting_d)
    monkeypatch.setattr(train, "g_step", noting_g)
    return met


@pytest.fixture
def long_tail():
    """Of six classes 25, 10, 4, none, none and 1 images, in a grey that tells the class."""
    y = torch.tensor([0] * 25 + [1] * 10 + [2] * 4 + [5])
    return data.ImageSet((y / 10).view(40, 1, 1, 1).expand(40, 1, 28, 28).contiguous(), y, tuple("abcdef"), "tail")


def test_balanced_d_meets_every_class_equally_often_and_g_is_asked_for_each(conditional, long_tail, labels_met):
    train.fit(conditional.change(balanced=True, g_batch=400), long_tail)
    for half in ("real", "fake"):
        assert [y.bincount(minlength=6).tolist() for y in labels_met[half]] == [[2, 2, 2, 0, 0, 2]] * 4
    asked = torch.cat(labels_met["asked"]).bincount(minlength=6)
    assert not asked[[3, 4]].any()
    assert (asked[[0, 1, 2, 5]] - 400).abs().max() < 5 * 400**0.5


def test_else_both_meet_the_classes_as_often_as_the_data_have_them(conditional, long_tail, labels_met):
    train.fit(conditional.change(g_batch=400, steps=5), long_tail)
    for half in ("real", "fake"):  # an epoch
        assert torch.cat(labels_met[half]).bincount(minlength=6).tolist() == [25, 10, 4, 0, 0, 1]
    asked = torch.cat(labels_met["asked"]).bincount(minlength=6)
    assert not asked[[3, 4]].any()
    assert (asked - torch.tensor([1250, 500, 200, 0, 0, 50])).abs().max() < 5 * 1250**0.5


def test_balanced_reused_fakes_are_of_the_classes_that_d_meets(conditional, long_tail, labels_met):
    train.fit(conditional.change(balanced=True, fresh_fakes=False), long_tail)
    assert [y.bincount(minlength=6).tolist() for y in labels_met["asked"]] == [[2, 2, 2, 0, 0, 2]] * 4


# The learning rate


def rates(recipe, dataset):
    """Both learning rates in each step, and how far each player's weights went in it."""
    rows, before = [], []

    def note(run):
        steps = [
            max((new - old).abs().max().item() for new, old in zip(weights(network), old_weights, strict=True))
            for network, old_weights in zip((run.discriminator, run.player), before, strict=True)
        ]
        before[:] = weights(run.discriminator), weights(run.player)
        given = [optimizer.param_groups[0]["lr"] for optimizer in (run.d_optimizer, run.g_optimizer)]
        rows.append((given, steps))

    before[:] = (weights(network) for network in reversed(recipe.build()))
    train.fit(recipe, dataset, on_epoch=note)
    return rows


def test_both_learning_rates_fall_after_each_so_many_epochs_and_the_weights_go_as_far(make_set):
    # Without its averages Adam moves each weight by the learning rate, up or down.
    bare = {"beta1": 0.0, "beta2": 0.0, "adam_eps": 1e-30}
    recipe = MLP.change(steps=7, d_lr=0.004, g_lr=0.001, lr_decay=0.5, decay_every=2, **bare)
    rows = rates(recipe, make_set(8))  # an epoch is a step
    factors = [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125]
    for (given, steps), factor in zip(rows, factors, strict=True):
        assert given == pytest.approx([0.004 * factor, 0.001 * factor])
        assert steps == pytest.approx([0.004 * factor, 0.001 * factor], rel=1e-3)


@pytest.mark.parametrize(("decay", "factors"), [(0.5, [1] * 5 + [0.5] * 5 + [0.25] * 2), (1.0, [1] * 12)])
def test_a_learning_rate_stays_the_same_within_an_epoch(tiny, monkeypatch, decay, factors):
    seen = {"d_step": [], "g_step": []}

    def noting(name):
        step = getattr(train, name)

        def noted(recipe, discriminator, optimizer, *rest):
            seen[name].append(optimizer.param_groups[0]["lr"])
            return step(recipe, discriminator, optimizer, *rest)

        monkeypatch.setattr(train, name, noted)

    for name in seen:
        noting(name)
    train.fit(MLP.change(d_lr=0.04, g_lr=0.01, lr_decay=decay, decay_every=1), tiny)
    assert seen == {"d_step": [0.04 * factor for factor in factors], "g_step": [0.01 * factor for factor in factors]}


def test_a_resumed_run_goes_on_with_the_learning_rate_of_its_epoch(tiny, tmp_path):
    recipe = MLP.change(lr_decay=0.5, decay_every=1)
    train.fit(recipe.change(steps=7), tiny, tmp_path / "run")
    seen = []
    train.fit(
        recipe.change(steps=12),
        tiny,
        tmp_path / "run",
        resume=True,
        on_epoch=lambda run: seen.append(run.g_optimizer.param_groups[0]["lr"] / recipe.g_lr),
    )
    assert seen == [0.5, 0.25]


# Spectral norm


def test_a_run_with_spectral_norm_samples_the_same_images_after_a_checkpoint(tiny, tmp_path):
    run = train.fit(SPECTRAL, tiny, tmp_path / "run")
    loaded = train.load(tmp_path / "run", SPECTRAL).to(torch.device("cpu")).eval()  # in the memory order of `run`
    assert_same(loaded, run)
    labels = list(range(10))
    assert torch.equal(loaded.sample(labels=labels), run.sample(labels=labels))
    y = torch.arange(8)
    assert torch.equal(loaded.discriminator(tiny.images[:8], y), run.discriminator(tiny.images[:8], y))


def test_sampling_does_not_change_a_run_with_spectral_norm(tiny):
    assert_same(train.fit(SPECTRAL, tiny, on_epoch=lambda run: run.sample(3)), train.fit(SPECTRAL, tiny))


def test_training_keeps_the_largest_singular_values_at_one(tiny):
    run = train.fit(SPECTRAL.change(steps=40, d_lr=2e-3, g_lr=2e-3), tiny)
    fresh = train.Run.start(run.recipe, run.data)
    for network, start in ((run.player, fresh.player), (run.discriminator, fresh.discriminator)):
        layers = [layer for layer in network.modules() if nn.utils.parametrize.is_parametrized(layer)]
        assert len(layers) == 3
        for layer in layers:
            weight = layer.weight.detach()
            weight = weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight
            assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)
        assert all(moved(weights(start), network))


def test_a_conditional_run_obeys_its_labels_and_their_mixtures(tiny):
    run = train.fit(SPECTRAL, tiny)
    z, shares = run.draw_z(1).expand(3, -1), torch.zeros(3, 10)
    shares[0, 0] = shares[1, 1] = 1
    shares[2, :2] = 0.5
    zero, one, half = run.sample(z=z, labels=shares)
    torch.testing.assert_close(torch.stack([zero, one, zero]), run.sample(z=z, labels=[0, 1, 0]))
    for image, other in ((zero, one), (half, zero), (half, one)):
        assert (image - other).abs().max() > 1e-3


# Precision


def test_bf16_trains_on_any_cpu_and_is_not_fp32(tiny):
    half, whole = train.fit(CONV.change(precision="bf16"), tiny), train.fit(CONV, tiny)
    assert all(parameter.isfinite().all() for parameter in half.player.parameters())
    assert all(parameter.dtype == torch.float32 for parameter in half.player.parameters())
    assert any(moved(weights(half.player), whole.player))
    assert half.sample(3).dtype == torch.float32


def test_both_steps_run_d_in_bf16_and_their_losses_in_fp32(game):
    run, real, fake = game
    inside, outside = [], []
    run.discriminator.layers[1].register_forward_hook(lambda layer, given, out: inside.append(out.dtype))
    spy = losses.Loss(
        "spy",
        lambda *given: outside.extend(logits.dtype for logits in given[:2]) or losses.bce_d(*given),
        lambda logits, _: outside.append(logits.dtype) or losses.non_saturating_g(logits),
    )
    recipe, autocast = MLP.change(loss=spy), runtime.autocast_for("bf16", torch.device("cpu"))
    train.d_step(recipe, run.discriminator, run.d_optimizer, real, fake, autocast=autocast)
    train.g_step(recipe, run.discriminator, run.g_optimizer, real, fake, autocast=autocast)
    assert inside == [torch.bfloat16] * 2
    assert outside == [torch.float32] * 3


@pytest.mark.parametrize(("has_bf16", "same_as"), [(False, "fp32"), (True, "bf16")])
def test_auto_is_the_precision_that_the_cpu_calls_for(tiny, monkeypatch, has_bf16, same_as):
    monkeypatch.setattr(runtime, "cpu_has_bf16", lambda: has_bf16)
    auto, named = (train.fit(CONV.change(precision=precision), tiny) for precision in ("auto", same_as))
    assert_same(auto, named)


# Stopping and going on


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("recipe", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_run_stopped_anywhere_and_resumed_equals_one_that_never_stopped(tiny, tmp_path, recipe, seed):
    stop = random.Random(f"{recipe.digest()}{seed}").randrange(1, recipe.steps)
    train.fit(recipe.change(steps=stop), tiny, tmp_path / "run")
    assert train.load(tmp_path / "run", recipe).step == stop
    resumed = train.fit(recipe, tiny, tmp_path / "run", resume=True)
    assert_same(resumed, train.fit(recipe, tiny))


@pytest.mark.parametrize("changes", [{}, {"balanced": True, "r1": 1.0}])
def test_acgan_stopped_and_resumed_equals_one_that_never_stopped(make_set, tmp_path, changes):
    recipe, small = ACGAN.change(**changes), make_set(40, (1, 8, 8))
    train.fit(recipe.change(steps=3), small, tmp_path / "run")
    assert_same(train.fit(recipe, small, tmp_path / "run", resume=True), train.fit(recipe, small))


def test_a_run_stopped_twice_equals_one_that_never_stopped(tiny, tmp_path):
    recipe = VARIANTS["average"]
    for steps in (2, 5, 12):
        run = train.fit(recipe.change(steps=steps), tiny, tmp_path / "run", resume=True)
    assert_same(run, train.fit(recipe, tiny))


def test_convolutions_run_channels_last_before_and_after_a_checkpoint(tiny, tmp_path):
    def layouts(run):
        kernel = run.discriminator.layers[2].weight
        tensors = (kernel, run.d_optimizer.state[kernel]["exp_avg"], run.generator.middle[0].weight)
        return [tensor.is_contiguous(memory_format=torch.channels_last) for tensor in tensors]

    assert layouts(train.fit(CONV.change(steps=2, ema=0.9), tiny, tmp_path / "run")) == [True] * 3
    resumed = train.fit(CONV.change(steps=3, ema=0.9), tiny, tmp_path / "run", resume=True)
    assert layouts(resumed) == [True] * 3


def test_ctrl_c_finishes_the_step_saves_and_the_resumed_run_is_the_same(tiny, tmp_path):
    calls = []

    def pressed_in_the_7th_step(*given):
        calls.append(1)
        if len(calls) == 7:
            signal.raise_signal(signal.SIGINT)
        return losses.bce_d(*given)

    stopping = MLP.change(loss=losses.Loss(MLP.loss.name, pressed_in_the_7th_step, losses.non_saturating_g))
    with pytest.raises(KeyboardInterrupt, match=r"stopped after step 7; saved in .*run"):
        train.fit(stopping, tiny, tmp_path / "run")
    assert train.load(tmp_path / "run").step == 7
    assert_same(train.fit(MLP, tiny, tmp_path / "run", resume=True), train.fit(MLP, tiny))


def test_ctrl_c_in_on_epoch_stops_there_and_the_handler_returns(tiny, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="stopped after step 5; saved in"):
        train.fit(MLP, tiny, tmp_path / "run", on_epoch=lambda run: signal.raise_signal(signal.SIGINT))
    assert signal.getsignal(signal.SIGINT) is before
    assert_same(train.fit(MLP, tiny, tmp_path / "run", resume=True), train.fit(MLP, tiny))


def test_ctrl_c_without_a_folder_stops_too(tiny):
    with pytest.raises(KeyboardInterrupt, match=r"stopped after step 5$"):
        train.fit(MLP, tiny, on_epoch=lambda run: signal.raise_signal(signal.SIGINT))


def test_a_finished_run_returns_at_once(tiny, tmp_path):
    run, epochs = train.fit(MLP, tiny, tmp_path / "run"), []
    again = train.fit(MLP, tiny, tmp_path / "run", resume=True, on_epoch=epochs.append)
    assert_same(run, again)
    assert epochs == []
    assert not again.player.training


def test_a_run_is_saved_while_it_trains(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "SAVE_EVERY", -1.0)
    saved = []
    train.fit(
        MLP, tiny, tmp_path / "run", on_epoch=lambda run: saved.append((run.step, train.load(tmp_path / "run").step))
    )
    assert saved == [(5, 4), (10, 9), (12, 11)]


def test_without_a_folder_nothing_is_written(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "SAVE_EVERY", -1.0)
    train.fit(MLP, tiny)
    assert list(tmp_path.iterdir()) == []


# Diverging


@pytest.mark.parametrize("player", ["d", "g"])
def test_a_loss_that_is_no_number_stops_the_run_and_the_last_good_checkpoint_stays(tiny, tmp_path, monkeypatch, player):
    calls = []

    def fails_in_the_7th_step(*given):
        calls.append(1)
        value = losses.bce_d(*given) if player == "d" else losses.non_saturating_g(*given)
        return value * math.nan if len(calls) == 7 else value

    parts = {"d": losses.bce_d, "g": losses.non_saturating_g, player: fails_in_the_7th_step}
    monkeypatch.setattr(train, "SAVE_EVERY", -1.0)
    with pytest.raises(train.Diverged, match="mlp-gan diverged at step 7: ") as stop:
        train.fit(MLP.change(loss=losses.Loss(MLP.loss.name, **parts)), tiny, tmp_path / "run")
    for part in (f"{player}_loss=nan", "d_real=", f"the last good checkpoint is in {tmp_path / 'run'}"):
        assert part in str(stop.value)
    kept = train.load(tmp_path / "run")
    assert kept.step == 6
    assert_same(kept, train.fit(MLP.change(steps=6), tiny))
    assert kept.sample(8).isfinite().all()


def test_an_absurd_learning_rate_diverges_in_words(tiny):
    with pytest.raises(train.Diverged, match=r"diverged at step \d+: .*A lower learning rate") as stop:
        train.fit(MLP.change(d_lr=1e38, g_lr=1e38), tiny)
    assert "checkpoint" not in str(stop.value)


# Learning


def test_mlp_gan_learns_where_the_ink_is():
    digits = data.load("mnist", limit=2_000)
    run = train.fit(recipes.get("mlp-gan", steps=250), digits)
    untrained = train.Run.start(run.recipe, run.data)
    ink = digits.images.mean(0)
    distance, before = ((game.sample(500).mean(0) - ink).abs().mean() for game in (run, untrained))
    assert distance < 0.6 * before  # 0.3 to 0.45, by the seed


# Several processes


def test_two_processes_train_one_pair_of_networks(tmp_path, environment):
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    script = Path(__file__).with_name("two_processes.py")
    done = subprocess.run([*launch, script, tmp_path], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for name in ("mlp-gan", "penalty", "acgan"):
        ranks = [load_file(tmp_path / f"{name}-{rank}.safetensors") for rank in range(2)]
        assert_same_tensors(*ranks)
        start = load_file(tmp_path / f"{name}-start.safetensors")
        assert start.keys() == ranks[0].keys()
        assert all(not torch.equal(start[key], ranks[0][key]) for key in start)
        assert len(list((tmp_path / name).iterdir())) == 3
    assert train.load(tmp_path / "mlp-gan").step == 12
    # In its first epoch each process saw its half of the images, and together they saw all of them once.
    halves = [load_file(tmp_path / f"seen-{rank}.safetensors")["images"][:320] for rank in range(2)]
    seen = sorted(image.numpy().tobytes() for image in torch.cat(halves))
    assert seen == sorted(image.numpy().tobytes() for image in data.load("mnist", limit=640).images)
    # Half of a balanced batch is balanced too: ten images, real and then generated, of the ten classes.
    for rank in range(2):
        labels = load_file(tmp_path / f"seen-{rank}.safetensors")["labels"]
        assert labels.shape == (3, 20)
        assert all(sorted(half.tolist()) == list(range(10)) for half in labels.view(6, 10))


def test_an_error_in_on_epoch_does_not_cost_the_training(recipe, tiny, tmp_path):
    def fail(run):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train.fit(recipe, tiny, tmp_path, on_epoch=fail)
    assert train.load(tmp_path).step == 5, "the end of the first epoch"


def test_the_precision_is_the_recipes_whatever_the_launcher_says(recipe, tiny, monkeypatch):
    plain = train.fit(recipe, tiny)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    AcceleratorState._reset_state(reset_partial_state=True)
    launched = train.fit(recipe, tiny)
    AcceleratorState._reset_state(reset_partial_state=True)
    assert torch.equal(plain.sample(4), launched.sample(4))
