import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from gantools import catalogue, data, losses, nets, recipes, train
from gantools.fields import RecipeError


def test_mlp_gan_has_the_published_numbers():
    published = {
        "noise": "uniform",
        "z_dim": 100,
        "batch": 64,
        "epochs": 100,
        "steps": None,
        "d_lr": 2e-3,
        "g_lr": 2e-3,
        "beta1": 0.9,
        "beta2": 0.999,
        "fresh_fakes": True,
        "real_target": 1.0,
        "fake_target": 0.0,
        "ema": None,
        "r1": 0.0,
        "r2": 0.0,
        "dataset": "mnist",
    }
    recipe = recipes.get("mlp-gan")
    assert {name: getattr(recipe, name) for name in published} == published
    assert (recipe.generator, recipe.discriminator) == (nets.MLPGenerator, nets.MLPDiscriminator)
    assert recipe.loss is losses.non_saturating


def test_the_dcgans_have_the_published_numbers():
    published = {
        "z_dim": 100,
        "noise": "normal",
        "steps": None,
        "g_batch": None,
        "d_lr": 1e-4,
        "g_lr": 1e-4,
        "beta1": 0.9,
        "beta2": 0.999,
        "adam_eps": 1e-7,
        "fresh_fakes": False,
        "joint_d_batch": True,
        "real_target": 1.0,
        "fake_target": 0.0,
        "ema": None,
        "r1": 0.0,
        "r2": 0.0,
    }
    mnist = published | {"dataset": "mnist", "image_shape": (1, 28, 28), "batch": 32, "epochs": 50}
    cifar10 = published | {"dataset": "cifar10", "image_shape": (3, 32, 32), "batch": 128, "epochs": 200}
    for name, numbers in (("dcgan-mnist", mnist), ("dcgan-cifar10", cifar10)):
        recipe = recipes.get(name)
        assert {field: getattr(recipe, field) for field in numbers} == numbers
        assert recipe.loss is losses.non_saturating
    one, other = catalogue.DCGAN_MNIST, catalogue.DCGAN_CIFAR10
    assert (one.generator, one.discriminator) == (nets.dcgan_mnist_generator, nets.dcgan_mnist_discriminator)
    assert (other.generator, other.discriminator) == (nets.dcgan_cifar10_generator, nets.dcgan_cifar10_discriminator)


def test_the_ring_is_a_game_of_points():
    recipe = recipes.get("ring")
    assert (recipe.generator, recipe.discriminator) == (nets.PointGenerator, nets.PointDiscriminator)
    assert (recipe.dataset, recipe.image_shape, recipe.z_dim, recipe.noise) == ("ring", (2,), 2, "normal")
    assert (recipe.batch, recipe.steps, recipe.d_lr, recipe.g_lr, recipe.beta1) == (256, 1_500, 1e-3, 1e-3, 0.5)


# What the four conditional GANs with a published source have in common; the others are in the tests below.
CONDITIONAL = {
    "dataset": "mnist",
    "image_shape": (1, 28, 28),
    "classes": 10,
    "noise": "normal",
    "steps": None,
    "beta2": 0.999,
    "ema": None,
    "r1": 0.0,
    "r2": 0.0,
    "shift": 0,
    "flip": False,
}
UNSMOOTHED = {"real_target": 1.0, "fake_target": 0.0, "lr_decay": 1.0, "fresh_fakes": False}


def numbers_of(recipe, fields):
    return {field: getattr(recipe, field) for field in fields}


def test_cgan_mlp_has_the_published_numbers():
    published = CONDITIONAL | UNSMOOTHED
    published |= {"z_dim": 64, "batch": 64, "epochs": 100, "d_lr": 2e-4, "g_lr": 2e-4, "beta1": 0.9}
    recipe = recipes.get("cgan-mlp")
    assert numbers_of(recipe, published) == published
    assert (recipe.generator, recipe.discriminator) == (nets.CGANMLPGenerator, nets.CGANMLPDiscriminator)
    assert recipe.loss is losses.least_squares


def test_cdcgan_has_the_published_numbers():
    published = CONDITIONAL | UNSMOOTHED
    published |= {"z_dim": 64, "batch": 256, "epochs": 60, "d_lr": 2e-4, "g_lr": 2e-4, "beta1": 0.5}
    recipe = recipes.get("cdcgan")
    assert numbers_of(recipe, published) == published
    assert (recipe.generator, recipe.discriminator) == (nets.CDCGANGenerator, nets.CDCGANDiscriminator)
    assert recipe.loss is losses.squared_error


def test_cgan_sn_has_the_published_numbers():
    published = CONDITIONAL | {
        "z_dim": 100,
        "batch": 128,
        "epochs": 100,
        "g_batch": 256,
        "d_lr": 1e-4,
        "g_lr": 2e-4,
        "beta1": 0.5,
        "adam_eps": 1e-7,
        "lr_decay": 0.8,
        "decay_every": 10,
        "eval_fakes": True,
        "joint_d_batch": True,
        "frozen_norm": True,
        "real_target": 0.95,
        "fake_target": 0.05,
    }
    recipe = recipes.get("cgan-sn")
    assert numbers_of(recipe, published) == published
    assert (recipe.generator, recipe.discriminator) == (nets.CGANSNGenerator, nets.CGANSNDiscriminator)
    assert recipe.loss is losses.non_saturating


def test_acgan_has_the_published_numbers():
    published = CONDITIONAL | {
        "z_dim": 100,
        "batch": 128,
        "g_batch": 256,
        "epochs": 100,
        "d_lr": 2e-4,
        "g_lr": 2e-4,
        "beta1": 0.5,
        "adam_eps": 1e-7,
        "lr_decay": 1.0,
        "balanced": False,
        "class_weight": 1.0,
        "classify_fakes": True,
        "eval_fakes": True,
        "fresh_fakes": True,
        "joint_d_batch": True,
        "real_target": 0.95,
        "fake_target": 0.05,
    }
    recipe = recipes.get("acgan")
    assert numbers_of(recipe, published) == published
    assert (recipe.generator, recipe.discriminator) == (nets.ACGANGenerator, nets.ACGANDiscriminator)
    assert recipe.loss is losses.non_saturating


def test_the_two_conditional_gans_of_the_reduced_set_take_the_published_number_of_steps():
    assert recipes.get("cgan-mlp").total_steps(10_000) == 100 * 156
    assert recipes.get("cdcgan").total_steps(10_000) == 60 * 39


@pytest.mark.parametrize("name", [name for name in recipes.RECIPES if name != "mlp-gan"])
def test_a_recipe_trains_both_its_players_and_samples(name, make_set):
    # fp32: in front of batch norm a bias moves by rounding alone, and in bf16 two images may cancel exactly.
    recipe = recipes.get(name, batch=2, g_batch=None, steps=2, precision="fp32")
    dataset = data.ring(4) if name == "ring" else make_set(4, recipe.image_shape)
    run = train.fit(recipe, dataset)
    assert run.step == 2
    still = {
        name
        for fresh, trained in zip(recipe.build(), (run.player, run.discriminator), strict=True)
        for (name, before), after in zip(fresh.named_parameters(), trained.parameters(), strict=True)
        if torch.equal(before, after)
    }
    # Relativistic losses see differences of logits alone: a bias of D's last layer moves by rounding, if at all.
    assert still <= ({"real.bias"} if recipe.loss is losses.relativistic else set())
    assert run.sample(3).shape == (3, *recipe.image_shape)


def test_every_recipe_is_listed_under_its_own_name_and_builds():
    for name, recipe in recipes.RECIPES.items():
        assert recipe.name == name
        assert all(isinstance(network, nn.Module) for network in recipe.build())


# Names and values


def test_an_unknown_field_names_the_nearest():
    with pytest.raises(RecipeError, match="recipe mlp-gan has no field 'epoch': did you mean 'epochs'") as refusal:
        recipes.get("mlp-gan", epoch=3)
    assert isinstance(refusal.value, TypeError)


def test_an_unknown_field_like_no_other_lists_them_all():
    with pytest.raises(RecipeError, match=r"has no field 'qqq': known are name, .*z_dim.*, seed"):
        recipes.get("mlp-gan", qqq=3)


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(RecipeError, match="there is no recipe 'mlpgan': did you mean 'mlp-gan'"):
        recipes.get("mlpgan")


# Files


def test_a_file_may_hold_a_few_fields_only(tmp_path):
    (tmp_path / "mine.yaml").write_text("recipe: mlp-gan\nsteps: 7\nd_lr: 1e-4\nema: null\n")
    assert recipes.read(tmp_path / "mine.yaml") == recipes.get("mlp-gan", steps=7, d_lr=1e-4)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"recipe: [", "is not YAML"),
        (b"recipe: mlp-gan\n\tsteps: 3", "is not YAML"),
        (b"recipe: \xff\xfe", "is not YAML"),
        (b"", "expected a line `recipe: NAME`"),
        (b"steps: 3", "expected a line `recipe: NAME`"),
        (b"just text", "expected a line `recipe: NAME`"),
        (b"- recipe\n- mlp-gan", "expected a line `recipe: NAME`"),
        (b"recipe: mlp-gan\n? [steps]\n: 1", "is not YAML: while constructing a mapping"),
        (b"{recipe: mlp-gan, seed: 1, seed: 2}", r"`seed` stands twice \(lines 1 and 1\)"),
        (b"recipe: mlp-gan\nseed: 2020-13-45", "is not YAML: month must be in 1..12"),
        (b"recipe: mlp-gan\nsteps: 1\nbatch: 8\nsteps: null", r"`steps` stands twice \(lines 2 and 4\)"),
    ],
)
def test_a_file_that_is_no_recipe_is_named(tmp_path, content, complaint):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=complaint) as refusal:
        recipes.read(path)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe_comes_back_from_the_file_that_is_printed(tmp_path, name):
    recipe = recipes.get(name)
    (tmp_path / "mine.yaml").write_text(recipe.to_yaml())
    assert recipes.read(tmp_path / "mine.yaml") == recipe
    (tmp_path / "mine.yaml").write_text(recipe.to_yaml().replace("seed: 0", "seed: 7"))
    assert recipes.read(tmp_path / "mine.yaml") == recipe.change(seed=7)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read .*mine\.yaml: No such file"):
        recipes.read(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("recipe: cgan\n", "there is no recipe 'cgan'"),
        ("recipe: mlp-gan\nepoch: 3\n", "did you mean 'epochs'"),
        ("recipe: mlp-gan\n3: 3\n", "has no field '3'"),
        ("recipe: mlp-gan\nself: 3\n", "has no field 'self'"),
        ("recipe: mlp-gan\nbatch: many\n", "batch='many'"),
        # What is a Python object in a recipe cannot come from a file.
        ("recipe: mlp-gan\nname: mine\n", "name"),
        ("recipe: mlp-gan\ngenerator: MLPGenerator\n", "generator"),
        ("recipe: mlp-gan\ndiscriminator: MLPDiscriminator\n", "discriminator"),
        ("recipe: mlp-gan\nloss: least-squares\n", "loss"),
    ],
)
def test_a_wrong_line_in_a_file_is_an_error_of_the_package(tmp_path, line, complaint):
    (tmp_path / "mine.yaml").write_text(line)
    with pytest.raises((ValueError, RecipeError), match=complaint):
        recipes.read(tmp_path / "mine.yaml")


# Profiles


QUICK = recipes.QUICK_STEPS["mlp-gan"]


@pytest.mark.parametrize(
    ("profile", "steps", "own_loop"), [("smoke", 20, 20), ("quick", QUICK, 500), ("full", None, 500), ("", QUICK, 500)]
)
def test_a_profile_sets_the_length_of_a_lesson(monkeypatch, profile, steps, own_loop):
    monkeypatch.setenv("GANTOOLS_PROFILE", profile)
    assert recipes.profile() == (profile or "quick")
    assert recipes.lesson("mlp-gan") == recipes.get("mlp-gan", steps=steps)
    assert recipes.lesson_steps(500) == own_loop
    assert recipes.lesson_steps(3) == 3


def test_in_smoke_the_ring_has_more_than_ten_epochs_for_its_film(monkeypatch):
    monkeypatch.setenv("GANTOOLS_PROFILE", "smoke")
    assert recipes.lesson("ring").steps // (10_000 // recipes.get("ring").batch) >= 11
    assert recipes.lesson("ring", steps=30).steps == 30


def test_a_lesson_takes_changes_and_keeps_its_own_steps(monkeypatch):
    assert recipes.lesson("mlp-gan", steps=70, batch=8) == recipes.get("mlp-gan", steps=70, batch=8)
    monkeypatch.setenv("GANTOOLS_PROFILE", "smoke")
    assert recipes.lesson("mlp-gan", steps=70).steps == 20


@pytest.mark.parametrize(("profile", "images"), [("smoke", 500), ("quick", 10_000), ("full", 10_000)])
def test_a_profile_sets_how_many_images_a_lesson_measures(monkeypatch, profile, images):
    monkeypatch.setenv("GANTOOLS_PROFILE", profile)
    assert recipes.lesson_images(10_000) == images
    assert recipes.lesson_images(200) == 200


def test_every_recipe_has_a_quick_length():
    assert set(recipes.QUICK_STEPS) == set(recipes.RECIPES)


def test_an_unknown_profile_is_refused(monkeypatch):
    monkeypatch.setenv("GANTOOLS_PROFILE", "fast")
    with pytest.raises(ValueError, match="GANTOOLS_PROFILE='fast': choose one of smoke, quick, full"):
        recipes.profile()


@pytest.mark.parametrize("profile", recipes.PROFILES)
def test_every_lesson_has_a_length_in_every_profile(monkeypatch, profile):
    monkeypatch.setenv("GANTOOLS_PROFILE", profile)
    for name in recipes.QUICK_STEPS:
        assert recipes.lesson(name).total_steps(10_000) > 0


@pytest.mark.parametrize("name", list(recipes.RECIPES))
def test_a_lesson_is_short_even_where_the_recipe_has_steps_of_its_own(name):
    assert recipes.lesson(name).steps == recipes.QUICK_STEPS[name] <= 3_000


def test_a_lesson_counts_steps():
    with pytest.raises(ValueError, match=r"lesson\('mlp-gan', epochs=1\): give its length as steps"):
        recipes.lesson("mlp-gan", epochs=1)


def test_a_file_is_read_as_utf_8_wherever_it_is(tmp_path):
    (tmp_path / "mine.yaml").write_bytes("# für später\nrecipe: mlp-gan\nsteps: 3\n".encode())
    code = f"from gantools import recipes; print(recipes.read({str(tmp_path / 'mine.yaml')!r}).steps)"
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=plain, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
