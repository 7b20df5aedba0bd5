import copy
import math

import pytest
import torch
from players import Mean, Namer, Watcher, moved, weights
from torch import nn
from torch.nn.functional import softplus

from gantools import losses, recipes, runtime, steps

Y = torch.zeros(8, dtype=torch.int64)
MLP = recipes.get("mlp-gan", batch=8, steps=12)
ACGAN = recipes.get("acgan", batch=8, g_batch=12, steps=7, precision="fp32")


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
    scores = steps.d_step(MLP, run.discriminator, run.d_optimizer, real, fake)
    assert scores["d_loss"].item() == pytest.approx(2 * math.log(2))
    assert (scores["d_real"], scores["d_fake"]) == (0.5, 0.5)


def test_d_step_moves_every_weight_of_d_and_leaves_g_alone(game):
    run, real, fake = game
    before_d, before_g = weights(run.discriminator), weights(run.player)
    steps.d_step(MLP, run.discriminator, run.d_optimizer, real, fake)
    assert all(moved(before_d, run.discriminator))
    assert not any(moved(before_g, run.player))
    assert all(parameter.grad is None for parameter in run.player.parameters())


def test_d_learns_to_tell_real_from_fake(game):
    run, real, fake = game
    scores = [steps.d_step(MLP, run.discriminator, run.d_optimizer, real, fake) for _ in range(30)]
    assert scores[-1]["d_loss"] < 0.3 < scores[0]["d_loss"]
    assert scores[-1]["d_real"] > 0.8 > 0.2 > scores[-1]["d_fake"]
    assert (scores[-1]["real_accuracy"], scores[-1]["fake_accuracy"]) == (1, 1)


def test_the_scores_are_what_d_says_of_either_half():
    d, levels = Mean(), torch.tensor([2.0, 1.0, -1.0, 3.0])
    real = levels.view(4, 1, 1, 1).expand(4, 1, 2, 2), Y[:4]
    fake = -real[0][:2] - 0.5, Y[:2]
    scores = steps.d_step(MLP, d, torch.optim.SGD(d.parameters(), lr=0.0), real, fake)
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
    scores = steps.d_step(MLP.change(loss=loss), d, optimizer, constant_images(*real), constant_images(*fake))
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
    scores = steps.d_step(MLP.change(loss=loss), d, torch.optim.SGD(d.parameters(), lr=0.0), real, fake)
    assert (scores["real_accuracy"], scores["fake_accuracy"]) == (real_accuracy, fake_accuracy)


def test_d_step_hands_both_targets_to_the_loss(game):
    run, real, fake = game
    seen = []
    spy = losses.Loss("spy", lambda *given: seen.append(given[2:]) or losses.bce_d(*given), losses.non_saturating_g)
    recipe = MLP.change(real_target=0.9, fake_target=0.1, loss=spy)
    steps.d_step(recipe, run.discriminator, run.d_optimizer, real, fake)
    assert seen == [(0.9, 0.1)]


def test_one_joint_batch_equals_two_where_d_has_neither_batch_norm_nor_dropout(game):
    run, real, fake = game
    runs = []
    for joint in (True, False):
        d = copy.deepcopy(run.discriminator).eval()
        optimizer = torch.optim.SGD(d.parameters(), lr=0.1)
        scores = steps.d_step(MLP.change(joint_d_batch=joint), d, optimizer, real, fake)
        runs.append((scores, [parameter.grad for parameter in d.parameters()]))
    (joint_scores, joint_gradients), (scores, gradients) = runs
    torch.testing.assert_close(joint_scores, scores)
    torch.testing.assert_close(joint_gradients, gradients)


def test_a_joint_batch_shows_d_real_and_fake_at_once(game):
    run, real, fake = game
    sizes = []
    run.discriminator.register_forward_pre_hook(lambda network, given: sizes.append(len(given[0])))
    for joint in (True, False):
        steps.d_step(MLP.change(joint_d_batch=joint), run.discriminator, run.d_optimizer, real, fake)
    assert sizes == [16, 8, 8]


@pytest.mark.parametrize(("r1", "r2", "every", "expected"), [(2, 0, 1, 1), (2, 0, 5, 5), (0, 6, 1, 3), (2, 6, 2, 8)])
def test_the_penalty_is_half_gamma_times_the_squared_gradient(r1, r2, every, expected):
    d = Mean(4.0)  # 16 pixels: each has the gradient 4/16, and the squares sum to 1
    real, fake = (torch.rand(3, 1, 4, 4), Y[:3]), (torch.rand(3, 1, 4, 4), Y[:3])
    recipe = MLP.change(r1=r1, r2=r2, penalty_every=every)
    optimizer = torch.optim.SGD(d.parameters(), lr=0.0)
    scores = steps.d_step(recipe, d, optimizer, real, fake, recipe.penalty_weight(0))
    assert scores["penalty"].item() == pytest.approx(expected)
    with_penalty = d.factor.grad.clone()
    assert steps.d_step(recipe, d, optimizer, real, fake)["penalty"] == 0
    # d penalty / d factor = 2 · penalty / factor
    assert (with_penalty - d.factor.grad).item() == pytest.approx(expected / 2, rel=1e-4)


# One step of G


def test_g_step_moves_g_and_leaves_d_as_it_was(game):
    run, real, fake = game
    before_d, before_g = weights(run.discriminator), weights(run.player)
    steps.g_step(MLP, run.discriminator, run.g_optimizer, real, fake)
    assert all(moved(before_g, run.player))
    assert not any(moved(before_d, run.discriminator))
    assert all(parameter.grad is None for parameter in run.discriminator.parameters())
    assert all(parameter.requires_grad for parameter in run.discriminator.parameters())


def test_g_step_keeps_the_gradients_that_d_had(game):
    run, real, fake = game
    steps.d_step(MLP, run.discriminator, run.d_optimizer, real, fake)
    before = [parameter.grad.clone() for parameter in run.discriminator.parameters()]
    steps.g_step(MLP, run.discriminator, run.g_optimizer, real, fake)
    after = [parameter.grad for parameter in run.discriminator.parameters()]
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


class Normed(nn.Module):
    """A D of batch norm and dropout, one logit an image; it keeps the modes in which it was asked."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784), nn.Dropout(0.5), nn.Linear(784, 1))
        self.asked = []

    def forward(self, x, y=None):
        self.asked.append([layer.training for layer in self.layers])
        return self.layers(x).squeeze(1)


@pytest.mark.parametrize("frozen", [True, False])
def test_in_gs_step_frozen_batch_norm_takes_its_running_statistics_and_keeps_them(game, frozen):
    run, real, fake = game
    d = Normed()
    before = d.layers[1].running_mean.clone()
    steps.g_step(MLP.change(frozen_norm=frozen), d, run.g_optimizer, real, fake)
    assert d.asked == [[True, not frozen, True, True]]  # dropout drops either way
    assert torch.equal(d.layers[1].running_mean, before) == frozen
    assert all(layer.training for layer in d.modules())


def test_frozen_batch_norm_learns_again_in_ds_step_and_stays_in_eval_mode_where_it_was(game):
    run, real, fake = game
    d = Normed()
    recipe = MLP.change(frozen_norm=True)
    steps.g_step(recipe, d, run.g_optimizer, real, (run.player(MLP.draw_z(8)), Y))
    steps.d_step(recipe, d, torch.optim.SGD(d.parameters(), lr=0.1), real, fake)
    assert d.asked[-1] == [True] * 4
    d.layers[1].eval()
    steps.g_step(recipe, d, run.g_optimizer, real, (run.player(MLP.draw_z(8)), Y))
    assert not d.layers[1].training


def test_frozen_batch_norm_shows_g_a_shift_that_all_its_images_share():
    """By the batch's own statistics, images that are all too bright look like images that are not."""
    d, bright = Normed(), torch.rand(8, 1, 28, 28)
    d.layers[2].p = 0.0
    scores = {}
    for frozen in (True, False):
        scores[frozen] = []
        for shown in (bright, bright + 0.5):
            x = shown.clone().requires_grad_()
            logged = steps.g_step(MLP.change(frozen_norm=frozen), d, resting([x]), (bright, Y), (x, Y))
            scores[frozen].append(logged["g_loss"].item())
    assert scores[False][0] == pytest.approx(scores[False][1], abs=1e-4)
    assert abs(scores[True][0] - scores[True][1]) > 0.01


def test_g_learns_to_please_d(game, start):
    run, real, _ = game
    z = MLP.draw_z(8)
    g_losses = [
        steps.g_step(MLP, run.discriminator, run.g_optimizer, real, (run.player(z), Y))["g_loss"] for _ in range(40)
    ]
    assert g_losses[-1] < 0.85 * g_losses[0]


def test_the_relativistic_generator_is_compared_with_real_images(game):
    run, *_ = game
    recipe = MLP.change(loss=losses.relativistic)
    d = Mean(factor=10.0)
    values = [
        steps.g_step(recipe, d, run.g_optimizer, (torch.full((8, 1, 28, 28), level), Y), (run.player(MLP.draw_z(8)), Y))
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
    scores = steps.d_step(recipe, d, resting(d.parameters()), real, fake)
    assert scores["d_loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close([parameter.grad for parameter in d.parameters()], list(gradients))
    assert not any(score.requires_grad for score in scores.values())


def test_a_d_that_is_not_to_name_fakes_learns_nothing_from_what_it_calls_them(naming):
    d, real, (x_fake, y_fake) = naming

    def lesson(labels, **changes):
        steps.d_step(ACGAN.change(**changes), d, resting(d.parameters()), real, (x_fake, labels))
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
    scores = steps.g_step(ACGAN.change(class_weight=0.7), d, resting([x_fake]), real, (x_fake, y_fake))
    assert scores["g_loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(x_fake.grad, gradient)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in d.parameters())


def test_what_stood_still_before_a_step_of_g_does_so_after_it_even_after_an_error(naming):
    d, real, (x_fake, y_fake) = naming
    d.real.bias.requires_grad_(False)
    learning = [parameter.requires_grad for parameter in d.parameters()]
    x_fake.requires_grad_()
    steps.g_step(ACGAN, d, resting([x_fake]), real, (x_fake, y_fake))
    assert [parameter.requires_grad for parameter in d.parameters()] == learning
    with pytest.raises(ValueError):
        steps.g_step(ACGAN, d, resting([x_fake]), real, (x_fake, y_fake[:1]))
    assert [parameter.requires_grad for parameter in d.parameters()] == learning
    assert not all(learning) and any(learning)


def test_g_is_asked_for_the_class_even_where_d_does_not_name_fakes(naming):
    d, real, (x_fake, y_fake) = naming
    fake = x_fake.requires_grad_(), y_fake
    losses_of_g = [
        steps.g_step(ACGAN.change(classify_fakes=named), d, resting([x_fake]), real, fake)["g_loss"]
        for named in (True, False)
    ]
    assert losses_of_g[0] == losses_of_g[1]


def test_without_a_class_term_a_d_that_names_classes_plays_the_plain_game(naming):
    d, real, fake = naming
    recipe = ACGAN.change(class_weight=0.0)
    (real_logits, _), (fake_logits, _) = d(real[0]), d(fake[0])
    scores = steps.d_step(recipe, d, resting(d.parameters()), real, fake)
    assert scores["d_loss"].item() == pytest.approx(losses.bce_d(real_logits, fake_logits, 0.95, 0.05).item())
    assert not any(name.endswith("named") for name in scores)
    assert d.real.weight.grad.any()
    assert d.label.weight.grad is None or not d.label.weight.grad.any()
    x_fake = fake[0].requires_grad_()
    scores = steps.g_step(recipe, d, resting([x_fake]), real, (x_fake, fake[1]))
    assert scores["g_loss"].item() == pytest.approx(softplus(-fake_logits).mean().item())


def test_the_scores_say_how_often_d_names_either_half_as_labelled():
    d = Namer((1, 1, 1), 3)
    for layer in (d.real, d.label):
        nn.init.zeros_(layer.bias)
    d.label.weight.data = torch.tensor([[-1.0], [0.0], [1.0]])  # dark is class 0, bright is class 2
    real = torch.tensor([-0.5, 0.5, 0.7, -0.1]).view(4, 1, 1, 1), torch.tensor([0, 2, 2, 2])
    fake = torch.tensor([-0.5, 0.5]).view(2, 1, 1, 1), torch.tensor([1, 2])
    for changes in ({}, {"classify_fakes": False}, {"joint_d_batch": False}):
        scores = steps.d_step(ACGAN.change(**changes), d, resting(d.parameters()), real, fake)
        assert (scores["real_named"], scores["fake_named"]) == (0.75, 0.5)
        sizes = [math.log(math.exp(-x) + 1 + math.exp(x)) for x in (-0.5, 0.5, 0.7, -0.1)]  # class logits: -x, 0, x
        assert scores["class_loss"].item() == pytest.approx((sum(sizes) - (0.5 + 0.5 + 0.7 - 0.1)) / 4)


def test_a_class_term_needs_a_d_that_names_classes():
    complaint = "^acgan: class_weight=0.5, but this discriminator names no class$"
    real, x_fake, d = constant_images(1.0, 2.0), torch.zeros(2, 1, 2, 2, requires_grad=True), Mean()
    recipe = ACGAN.change(class_weight=0.5)
    for joint in (True, False):
        with pytest.raises(ValueError, match=complaint):
            steps.d_step(recipe.change(joint_d_batch=joint), d, resting(d.parameters()), real, (x_fake, Y[:2]))
    with pytest.raises(ValueError, match=complaint):
        steps.g_step(recipe, d, resting([x_fake]), real, (x_fake, Y[:2]))


def test_a_penalty_is_on_what_d_takes_for_real_and_not_on_the_classes(naming):
    d, real, fake = naming
    steps.d_step(ACGAN, d, resting(d.parameters()), real, fake)
    before = [parameter.grad.clone() for parameter in d.parameters()]
    scores = steps.d_step(ACGAN.change(r1=3.0), d, resting(d.parameters()), real, fake, penalty_weight=2.0)
    # linear in the pixels: the gradient is the weight, whatever the image
    assert scores["penalty"].item() == pytest.approx(2 * 3 / 2 * d.real.weight.square().sum().item(), rel=1e-5)
    expected = [before[0] + 6 * d.real.weight.detach(), *before[1:]]
    torch.testing.assert_close([parameter.grad for parameter in d.parameters()], expected)


def test_class_logits_are_compared_in_fp32_where_d_runs_in_bf16(naming, monkeypatch):
    d, real, (x_fake, y_fake) = naming
    inside, outside = [], []
    d.label.register_forward_hook(lambda layer, given, out: inside.append(out.dtype))
    term = losses.class_loss
    monkeypatch.setattr(steps, "class_loss", lambda named, y: outside.append(named.dtype) or term(named, y))
    fake, autocast = (x_fake.requires_grad_(), y_fake), runtime.autocast_for("bf16", torch.device("cpu"))
    steps.d_step(ACGAN, d, resting(d.parameters()), real, fake, autocast=autocast)
    steps.g_step(ACGAN, d, resting([x_fake]), real, fake, autocast=autocast)
    assert inside == [torch.bfloat16] * 2
    assert outside == [torch.float32] * 3


# Augmentation


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
    player = d.parameters() if step is steps.d_step else [fakes]
    step(recipe.change(loss=loss), d, torch.optim.SGD(player, lr=0.0), (real, Y), (fakes, Y))
    return d.shown, real, fakes


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("joint", [False, True])
def test_d_is_trained_on_moved_images_real_and_fake(changes, joint):
    shown, real, fakes = play(steps.d_step, MLP.change(joint_d_batch=joint, **changes))
    halves = shown[0].split(8) if joint else shown
    for half, given in zip(halves, (real, fakes), strict=True):
        assert is_changed(half, given, changes).sum() >= 2
    assert fakes.grad is None


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_g_is_scored_on_moved_images_and_gets_the_gradient_through_them(changes):
    (fake_shown, real_shown), real, fakes = play(steps.g_step, MLP.change(**changes))
    for shown, given in ((fake_shown, fakes), (real_shown, real)):
        assert is_changed(shown, given.detach(), changes).sum() >= 2
    # D's slope at a pixel is twice its value: a pixel pushed out of sight gets none.
    visible = (fake_shown != -1).sum((1, 2, 3))
    assert torch.equal((fakes.grad != 0).sum((1, 2, 3)), visible)
    assert (visible < 36).any() == bool(changes.get("shift"))


@pytest.mark.parametrize("step", [steps.d_step, steps.g_step])
def test_without_augmentation_d_sees_the_images_as_they_are_and_nothing_is_drawn(step):
    shown, real, fakes = play(step, MLP.change(joint_d_batch=False))
    after = torch.get_rng_state()
    torch.manual_seed(0)  # as `play` began
    assert torch.equal(torch.get_rng_state(), after)
    first, second = (real, fakes) if step is steps.d_step else (fakes, real)
    assert torch.equal(shown[0], first)
    assert torch.equal(shown[1], second)


@pytest.mark.parametrize("gamma", ["r1", "r2"])
def test_the_penalty_is_paid_on_the_moved_images_that_d_was_shown(gamma):
    torch.manual_seed(0)
    d, recipe = Watcher(), MLP.change(shift=2, joint_d_batch=False, **{gamma: 1.0})
    real, fake = (pictures(0.25), Y), (pictures(0.5), Y)
    steps.d_step(recipe, d, torch.optim.SGD(d.parameters(), lr=0.0), real, fake, penalty_weight=1.0)
    real_shown, fake_shown, penalised = d.shown
    assert torch.equal(penalised, real_shown if gamma == "r1" else fake_shown)
    assert not torch.equal(penalised, (real if gamma == "r1" else fake)[0])


# Precision


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
    steps.d_step(recipe, run.discriminator, run.d_optimizer, real, fake, autocast=autocast)
    steps.g_step(recipe, run.discriminator, run.g_optimizer, real, fake, autocast=autocast)
    assert inside == [torch.bfloat16] * 2
    assert outside == [torch.float32] * 3
