import re

import pytest
import torch
from torch import nn

from gantools import recipes, run


@pytest.fixture
def mlp(recipe, start):
    return start(recipe)


def test_samples_are_images_on_the_cpu(mlp):
    images = mlp.sample(5)
    assert images.shape == (5, 1, 28, 28)
    assert images.dtype == torch.float32
    assert not images.requires_grad
    assert images.abs().max() <= 1


def test_samples_follow_the_seed(mlp):
    assert torch.equal(mlp.sample(3), mlp.sample(3, seed=0))
    assert not torch.equal(mlp.sample(3), mlp.sample(3, seed=1))


def test_without_a_seed_each_sample_is_new(mlp):
    assert not torch.equal(mlp.sample(3, seed=None), mlp.sample(3, seed=None))
    assert not torch.equal(mlp.draw_z(3, seed=None), mlp.draw_z(3, seed=None))


def test_z_comes_from_the_recipes_distribution(mlp, recipe, start):
    assert mlp.draw_z(200).abs().max() <= 1
    assert start(recipe.change(noise="normal")).draw_z(200).abs().max() > 3
    assert torch.equal(mlp.sample(3, seed=4), mlp.sample(z=mlp.draw_z(3, seed=4)))


def test_sampling_is_in_eval_mode_and_gives_the_training_mode_back(mlp):
    z = mlp.draw_z(4)
    mlp.player.train()
    assert torch.equal(mlp.sample(z=z), mlp.sample(z=z))  # dropout would tell them apart
    assert mlp.player.training
    mlp.eval().sample(z=z)
    assert not mlp.player.training


def test_sampling_leaves_torchs_random_state_alone(mlp):
    before = torch.get_rng_state()
    mlp.sample(3, seed=None)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("shape", [(3, 99), (3,), (3, 100, 1)])
def test_z_of_another_shape_is_refused(mlp, shape):
    with pytest.raises(ValueError, match=r"z has the shape .*, but this run takes \[3, 100\]"):
        mlp.sample(z=torch.zeros(shape))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_z_that_is_no_number_is_refused(mlp, value):
    with pytest.raises(ValueError, match="z holds NaN or infinity"):
        mlp.sample(z=torch.full((3, 100), value))


def test_z_may_be_a_list(mlp):
    assert torch.equal(mlp.sample(z=mlp.draw_z(3).tolist()), mlp.sample(3))


def test_labels_are_refused_where_the_networks_know_none(mlp):
    with pytest.raises(ValueError, match="mlp-gan does not know labels"):
        mlp.sample(labels=[1, 2])


def test_labels_are_respected_and_taken_in_turn_where_none_are_given(conditional, start):
    shades = start(conditional)
    grey = torch.linspace(-1, 1, 10)
    assert torch.equal(shades.sample(labels=[7, 0, 7])[:, 0, 0, 0], grey[[7, 0, 7]])
    assert torch.equal(shades.sample(labels=torch.tensor([3]))[:, 0, 5, 5], grey[[3]])
    assert torch.equal(shades.sample(12)[:, 0, 0, 0], grey[[*range(10), 0, 1]])


def test_a_class_has_a_name_which_wins_over_its_number(conditional, start):
    shades = start(conditional)
    shades.data["classes"] = ["9", "A", *"bcdefghi"]
    assert [shades.label_of(name) for name in ("9", "A", "i", "0", "8")] == [0, 1, 9, 0, 8]
    for name in ("a", "10", "-1", "²", ""):
        with pytest.raises(ValueError, match=re.escape(f"there is no class {name!r}: choose of 9, A, b, c")):
            shades.label_of(name)


def test_a_run_without_labels_has_no_class_of_any_name(mlp):
    with pytest.raises(ValueError, match="mlp-gan does not know labels"):
        mlp.label_of("7")


@pytest.mark.parametrize("labels", [[0, 10], [-1, 3]])
def test_labels_that_do_not_exist_are_refused(conditional, start, labels):
    with pytest.raises(ValueError, match=f"labels must lie in 0 to 9, not {min(labels)} to {max(labels)}"):
        start(conditional).sample(labels=labels)


def test_shares_of_one_class_give_that_class(conditional, start):
    for game in (start(conditional), start(recipes.get("rgan"))):
        z, labels = game.draw_z(10, seed=3), torch.arange(10)
        assert torch.equal(game.sample(z=z, labels=torch.eye(10)), game.sample(z=z, labels=labels))
        assert not torch.equal(game.sample(z=z, labels=torch.eye(10)), game.sample(z=z, labels=labels.flip(0)))


@pytest.mark.parametrize("kind", [torch.float16, torch.float32, torch.float64, list])
def test_shares_mix_the_classes(conditional, start, kind):
    shares = torch.zeros(2, 10)
    shares[0, [0, 9]], shares[1, [8, 9]] = torch.tensor([0.25, 0.75]), torch.tensor([0.5, 0.5])
    images = start(conditional).sample(labels=shares.tolist() if kind is list else shares.to(kind))
    assert images.dtype == torch.float32
    torch.testing.assert_close(images[:, 0, 0, 0], torch.tensor([0.5, 8 / 9]))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({3: -0.25, 4: 1.25}, "row 1 lies in -0.25 to 1.25 and sums to 1"),
        ({3: 0.5}, "row 1 lies in 0 to 0.5 and sums to 0.5"),
        ({3: 0.5, 4: 0.502}, "row 1 lies in 0 to 0.502 and sums to 1.002"),
        ({3: float("nan"), 4: 1.0}, "row 1 lies in nan to nan and sums to nan"),
        ({3: float("inf")}, "row 1 lies in 0 to inf and sums to inf"),
        ({3: float("-inf"), 4: float("inf")}, "row 1 lies in -inf to inf and sums to nan"),
    ],
)
def test_shares_that_are_no_mixture_are_refused(conditional, start, change, problem):
    shares = torch.eye(10)[:3]
    shares[1] = 0
    for label, share in change.items():
        shares[1, label] = share
    with pytest.raises(ValueError, match=f"shares of classes must be finite, at least 0 and 1 in sum; {problem}$"):
        start(conditional).sample(labels=shares)


def test_shares_may_sum_to_1_but_for_rounding(conditional, start):
    shares = torch.full((1, 10), 0.10008)
    assert start(conditional).sample(labels=shares).abs().max() < 1e-6  # the middle grey, as the greys are symmetric


@pytest.mark.parametrize("shape", [(3,), (3, 9), (3, 11), (3, 10, 1)])
def test_shares_of_another_shape_are_refused(conditional, start, shape):
    with pytest.raises(ValueError) as caught:
        start(conditional).sample(labels=torch.full(shape, 0.1))
    assert str(caught.value) == f"shares of classes must have the shape [3, 10], not {list(shape)}"


def test_labels_are_one_number_each(conditional, start):
    with pytest.raises(ValueError, match=r"labels must have the shape \[10\], not \[10, 10\]; shares .* are floats"):
        start(conditional).sample(labels=torch.eye(10, dtype=torch.int64))


def test_shares_are_refused_where_the_networks_know_no_labels(mlp):
    with pytest.raises(ValueError, match="mlp-gan does not know labels"):
        mlp.sample(labels=torch.eye(10))


@pytest.mark.parametrize("labels", [torch.zeros(0, dtype=torch.int64), torch.zeros(0, 10), []])
def test_no_labels_give_no_images(conditional, start, labels):
    assert start(conditional).sample(labels=labels).shape == (0, 1, 28, 28)


def test_one_label_for_each_z(conditional, start):
    with pytest.raises(ValueError, match=r"z has the shape \[3, 4\], but this run takes \[2, 4\]"):
        start(conditional).sample(labels=[1, 2], z=torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"z has the shape \[3, 4\], but this run takes \[2, 4\]"):
        start(conditional).sample(labels=torch.eye(10)[:2], z=torch.zeros(3, 4))


def test_many_images_come_in_pieces_and_none_is_lost(mlp, monkeypatch):
    z = mlp.draw_z(7)
    at_once = mlp.sample(z=z)
    monkeypatch.setattr(run, "SAMPLE_BATCH", 3)
    sizes = []
    mlp.player.register_forward_pre_hook(lambda network, given: sizes.append(len(given[0])))
    assert torch.allclose(mlp.sample(z=z), at_once, atol=1e-6)
    assert sizes == [3, 3, 1]


def test_pieces_of_500_equal_the_whole(conditional, start):
    shades = start(conditional)
    labels = torch.arange(1203) % 7
    assert torch.equal(shades.sample(labels=labels)[:, 0, 0, 0], torch.linspace(-1, 1, 10)[labels])
    assert torch.allclose(
        shades.sample(labels=labels), torch.cat([shades.sample(labels=part) for part in labels.split(400)])
    )
    assert torch.equal(shades.sample(labels=torch.eye(10)[labels]), shades.sample(labels=labels))


def test_the_average_samples_where_there_is_one(recipe, start):
    averaged = start(recipe.change(ema=0.9))
    for parameter in averaged.player.parameters():
        nn.init.zeros_(parameter)
    assert averaged.generator is averaged.average.module
    assert averaged.sample(3).abs().max() > 0
    plain = start(recipe)
    assert plain.generator is plain.player


def test_eval_reaches_every_network(recipe, start):
    averaged = start(recipe.change(ema=0.9))
    for network in (averaged.player, averaged.discriminator, averaged.average.module):
        network.train()
    averaged.eval()
    assert not any(net.training for net in (averaged.player, averaged.discriminator, averaged.average.module))


def test_the_history_ends_with_the_epoch_under_way(mlp):
    assert mlp.history == []
    mlp.log({"d_loss": torch.tensor(1.0), "g_loss": torch.tensor(4.0)}, 0.5)
    mlp.log({"d_loss": torch.tensor(2.0), "g_loss": torch.tensor(4.0)}, 0.25)
    assert mlp.history == [{"step": 2, "seconds": 0.75, "d_loss": 1.5, "g_loss": 4.0}]
    mlp.close_row()
    assert mlp.history == mlp.rows
    mlp.log({"d_loss": torch.tensor(7.0), "g_loss": torch.tensor(0.0)}, 1.0)
    assert [row["step"] for row in mlp.history] == [2, 3]
    assert mlp.history[-1]["d_loss"] == 7.0
    assert len(mlp.rows) == 1


def test_each_player_has_its_own_optimizer_with_the_recipes_numbers(start):
    recipe = recipes.get("mlp-gan", d_lr=1e-2, g_lr=2e-2, beta1=0.3, beta2=0.4, adam_eps=1e-3)
    game = start(recipe)
    for optimizer, network, rate in (
        (game.d_optimizer, game.discriminator, 1e-2),
        (game.g_optimizer, game.player, 2e-2),
    ):
        (group,) = optimizer.param_groups
        assert (group["lr"], group["betas"], group["eps"]) == (rate, (0.3, 0.4), 1e-3)
        assert {id(parameter) for parameter in group["params"]} == {id(parameter) for parameter in network.parameters()}


def test_the_classes_are_those_of_the_data(mlp):
    assert mlp.classes == tuple("0123456789")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"labels": 7}, r"labels=7: give one for each image, as \[7\] \* count"),
        ({"labels": torch.tensor([True, False])}, "not True and False"),
        ({"count": 0}, "count=0 must be at least 1"),
        ({"count": -1}, "count=-1 must be at least 1"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused_in_words(conditional, start, given, complaint):
    with pytest.raises(ValueError, match=complaint):
        start(conditional).sample(**given)


def test_z_in_float64_is_as_good(mlp):
    assert torch.equal(mlp.sample(z=mlp.draw_z(3).double()), mlp.sample(3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 2.5}, "count=2.5 must be a whole number"),
        ({"labels": ["3"]}, "for a class by its name, run.label_of"),
    ],
)
def test_what_cannot_be_sampled_is_named(mlp, arguments, message):
    with pytest.raises(ValueError, match=message):
        mlp.sample(**arguments)
