import json
import math
import random
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from players import Mean, Namer, Watcher, moved, weights
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import interpolate
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


# Classes


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


def test_a_class_term_needs_a_d_that_names_classes(conditional, tiny):
    with pytest.raises(ValueError, match=r"^shades: class_weight=0\.5, but this discriminator names no class$"):
        train.fit(conditional.change(class_weight=0.5), tiny)


def test_where_d_names_classes_the_history_says_how_often_it_is_right(tiny, conditional):
    plain = train.fit(conditional, tiny).history[0]
    (row,) = train.fit(conditional.change(discriminator=Namer, class_weight=1.0), tiny).history
    assert row.keys() == plain.keys() | {"real_named", "fake_named", "class_loss"}
    assert 0 <= row["real_named"] <= 1
    assert 0 <= row["fake_named"] <= 1
    assert 0 < row["class_loss"] < 10


def test_a_batch_of_one_is_refused_before_the_training_where_there_is_batch_norm(tiny, conditional, capsys):
    with pytest.raises(ValueError, match="recipe cgan-mlp: batch norm has nothing to compare in a batch of one"):
        train.fit(recipes.get("cgan-mlp", batch=1, steps=1), tiny)
    assert "cgan-mlp:" not in capsys.readouterr().out, "no bar"
    assert train.fit(conditional.change(batch=1, steps=1), tiny).step == 1, "without batch norm it is a batch like any"


def test_on_epoch_is_called_after_each_epoch_and_at_the_end(tiny):
    steps = []
    train.fit(MLP, tiny, on_epoch=lambda run: steps.append((run.step, len(run.history))))
    assert steps == [(5, 1), (10, 2), (12, 3)]


def test_what_on_epoch_draws_does_not_change_the_run(tiny):
    def noisy(run):
        torch.rand(5)
        run.sample(3, seed=None)
        run.eval()

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


class LastGradient(nn.Module):
    """A generator of one grey, whose gradient is NaN although its images and the loss are not."""

    def __init__(self, z_dim, image_shape):
        super().__init__()
        self.grey = nn.Parameter(torch.zeros(1))
        self.image_shape = image_shape

    def forward(self, z, y=None):
        grey = self.grey.clone()
        if grey.requires_grad:
            grey.register_hook(lambda gradient: gradient * math.nan)
        return grey.view(-1, 1, 1, 1).expand(len(z), *self.image_shape)


@pytest.mark.parametrize("saved", [True, False])
def test_weights_that_are_lost_in_the_last_step_are_no_result(tiny, tmp_path, saved):
    out = tmp_path / "run" if saved else None
    with pytest.raises(train.Diverged, match="mlp-gan diverged at step 1: "):
        train.fit(MLP.change(generator=LastGradient, steps=1), tiny, out)
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_penalty_that_is_no_number_ends_the_training(tiny, monkeypatch):
    monkeypatch.setattr("gantools.steps.gradient_penalty", lambda logits, x: logits.sum() * math.nan)
    with pytest.raises(train.Diverged, match=r"diverged at step 1: .*penalty=nan"):
        train.fit(MLP.change(r1=1.0), tiny)


def test_an_average_of_spectrally_normed_layers_is_normed(tiny):
    """Singular vectors keep their length; averaged they would be shorter, and the layers would stretch."""
    changes = {"generator": partial(nets.CGANSNGenerator, width=8), "discriminator": partial(nets.CGANSNDiscriminator)}
    run = train.fit(recipes.get("cgan-sn", **changes, ema=0.9, batch=8, steps=12), tiny)
    vectors = [value for name, value in run.generator.named_buffers() if name.endswith(("._u", "._v"))]
    assert len(vectors) > 4
    assert [float(vector.norm()) for vector in vectors] == pytest.approx([1] * len(vectors), abs=1e-5)


@pytest.mark.parametrize(
    ("images", "labels", "complaint"),
    [
        (torch.zeros(40, 1, 28, 28).double(), None, "float32; these are torch.float64"),
        (torch.full((40, 1, 28, 28), math.nan), None, r"must be finite floats in \[-1, 1\], .* at most nan"),
        (torch.full((40, 1, 28, 28), 255.0), None, r"must be finite floats in \[-1, 1\], .* at most 255"),
        (None, torch.zeros(70, dtype=torch.int64), r"40 images need int64 labels \[40\], not \[70\]"),
        (None, torch.zeros(40), "need int64 labels"),
        (None, torch.full((40,), 10), "labels must lie in 0 to 9"),
    ],
)
def test_what_is_no_data_set_is_refused_before_anything_is_trained(tiny, tmp_path, images, labels, complaint):
    given = {"images": tiny.images if images is None else images, "labels": tiny.labels if labels is None else labels}
    broken = replace(tiny, **given)
    with pytest.raises(data.DataError, match=complaint):
        train.fit(MLP, broken, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_does_not_fit_the_data_leaves_no_folder(tmp_path, make_set):
    with pytest.raises(ValueError, match="28"):
        train.fit(recipes.get("cdcgan", batch=8), make_set(shape=(3, 32, 32)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


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
    # Batch norm's statistics and the average are of both processes.
    assert_same_tensors(*(load_file(tmp_path / f"rgan-{rank}.safetensors") for rank in range(2)))
    assert train.load(tmp_path / "mlp-gan").step == 12
    # In its first epoch each process saw its half of the images, and together they saw all of them once.
    halves = [load_file(tmp_path / f"seen-{rank}.safetensors")["images"][:320] for rank in range(2)]
    seen = sorted(image.numpy().tobytes() for image in torch.cat(halves))
    assert seen == sorted(image.numpy().tobytes() for image in data.load("mnist", limit=640).images)
    # Each drew its own z, and both tell the same of an epoch: the mean of what they saw.
    drawn = [load_file(tmp_path / f"seen-{rank}.safetensors")["fakes"] for rank in range(2)]
    assert drawn[0].shape == drawn[1].shape and not any(torch.equal(*pair) for pair in zip(*drawn, strict=True))
    for name in ("mlp-gan", "penalty", "acgan"):
        first, second = (json.loads((tmp_path / f"{name}-{rank}.json").read_text()) for rank in range(2))
        assert first == second and len(first) > 0, name
    # Half of a balanced batch is balanced too: ten images, real and then generated, of the ten classes.
    for rank in range(2):
        labels = load_file(tmp_path / f"seen-{rank}.safetensors")["labels"]
        assert labels.shape == (3, 20)
        assert all(sorted(half.tolist()) == list(range(10)) for half in labels.view(6, 10))


def test_a_training_keeps_the_memory_that_its_steps_free(recipe, tiny, monkeypatch):
    called = []
    monkeypatch.setattr(train, "keep_freed_memory", lambda: called.append(True))
    train.fit(recipe, tiny)
    assert called == [True]


def test_a_generators_batch_of_one_is_refused_too(tiny):
    recipe = recipes.get("cgan-sn", batch=2, steps=1, g_batch=1)
    with pytest.raises(ValueError, match="batch norm has nothing to compare in a batch of one; raise batch"):
        train.fit(recipe, tiny)


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


def test_names_are_no_recipes_and_no_data(recipe, tiny):
    with pytest.raises(ValueError, match=r"'mlp-gan' is none: see recipes.get"):
        train.fit("mlp-gan", tiny)
    with pytest.raises(ValueError, match=r"'mnist' is none: see data.load"):
        train.fit(recipe, "mnist")


@pytest.mark.parametrize(("labels", "told"), [([1, 2], "no image of 0;"), ([0, 1], ""), ([0, 3], "no image of 1, 2;")])
def test_classes_without_an_image_are_told_of(make_set, capsys, labels, told):
    few = make_set(8, classes=max(labels) + 1)
    few = replace(few, labels=torch.tensor(labels).repeat(4))
    train.fit(recipes.get("cgan-mlp", batch=4, steps=1), few)
    out = capsys.readouterr().out
    assert told in out and ("number the labels from 0 without gaps" in out) == bool(told)
