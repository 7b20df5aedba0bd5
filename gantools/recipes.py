"""Everything a training needs, in one frozen dataclass; the named recipes; and the profiles of the lessons."""

import dataclasses
import difflib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NoReturn, get_args, get_origin

import torch
import yaml
from torch import Tensor, nn

from gantools import losses, nets

PRECISIONS = ("auto", "fp32", "bf16")
NOISES = ("normal", "uniform")


class RecipeError(TypeError):
    """A field or a name that does not exist, or a value of the wrong type; the message names the nearest."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A pair of networks, their game, and how long it is played.

    `generator` and `discriminator` are called with `image_shape` (and `z_dim`; and `classes` where there are any).
    Everything below them is a scalar that a file or `--set` may change.
    """

    name: str
    generator: Callable[..., nn.Module]
    discriminator: Callable[..., nn.Module]
    loss: losses.Loss = losses.non_saturating

    dataset: str = "mnist"  # what `train` takes unless told otherwise
    image_shape: tuple[int, ...] = (1, 28, 28)  # channels, height, width; `fit` takes it from the data
    classes: int = 0  # 0: the networks see no labels; else `fit` takes the number from the data
    z_dim: int = 100
    noise: str = "normal"  # or "uniform": z in [-1, 1)

    batch: int = 64  # real images in a step, over all processes
    g_batch: int | None = None  # fakes in the generator's step; None: as many as `batch`
    epochs: int = 100  # of ⌊N / batch⌋ steps
    steps: int | None = None  # instead of `epochs`
    d_lr: float = 2e-4
    g_lr: float = 2e-4
    beta1: float = 0.9
    beta2: float = 0.999
    adam_eps: float = 1e-8
    lr_decay: float = 1.0  # both learning rates are multiplied by this …
    decay_every: int = 10  # … after each so many epochs

    balanced: bool = False  # every class equally often in a batch, whatever its size
    class_weight: float = 0.0  # of the class term, where D names the class too (AC-GAN)
    classify_fakes: bool = True  # D learns to name generated images too; False: only real ones

    eval_fakes: bool = False  # D's fakes are made in eval mode, as they are sampled: without dropout
    fresh_fakes: bool = True  # False: the generator is scored on the fakes that D has just seen
    joint_d_batch: bool = False  # real and fake pass D as one batch; matters where D has batch norm
    real_target: float = 1.0  # label smoothing for D: below 1
    fake_target: float = 0.0
    r1: float = 0.0  # gamma of the gradient penalty on real images
    r2: float = 0.0  # the same on generated ones
    penalty_every: int = 1  # steps between penalties, each weighted by this number
    penalty_half_life: int | None = None  # steps in which both gammas halve; None: they stay
    shift: int = 0  # D sees every image, real or fake, moved by up to so many pixels (DiffAugment)
    flip: bool = False  # and half of them mirrored; never for digits or letters
    ema: float | None = None  # decay of the averaged generator that samples, after a shorter start; None: no average
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        positive = ("z_dim", "batch", "epochs", "d_lr", "g_lr", "penalty_every", "adam_eps", "decay_every")
        for name in positive + tuple(
            n for n in ("steps", "g_batch", "penalty_half_life") if getattr(self, n) is not None
        ):
            if not getattr(self, name) > 0:  # "not": NaN is refused too
                raise ValueError(f"recipe {self.name}: {name}={getattr(self, name)!r} must be above 0")
        if self.seed >= 2**63:
            raise ValueError(f"recipe {self.name}: seed={self.seed} must be below 2**63")
        for name in ("seed", "r1", "r2", "shift", "class_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"recipe {self.name}: {name}={getattr(self, name)} must not be negative")
        for name in ("real_target", "fake_target"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"recipe {self.name}: {name}={getattr(self, name)} must lie in [0, 1]")
        if not 0 < self.lr_decay <= 1:
            raise ValueError(f"recipe {self.name}: lr_decay={self.lr_decay!r} must lie in (0, 1]")
        for name in ("beta1", "beta2", "ema"):
            if not 0 <= (getattr(self, name) or 0) < 1:
                raise ValueError(f"recipe {self.name}: {name}={getattr(self, name)!r} must lie in [0, 1)")
        for name, known in (("precision", PRECISIONS), ("noise", NOISES)):
            if getattr(self, name) not in known:
                raise ValueError(f"recipe {self.name}: {name}={getattr(self, name)!r}; choose {' or '.join(known)}")
        if self.g_batch not in (None, self.batch) and not self.fresh_fakes:
            raise ValueError(f"recipe {self.name}: g_batch differs from batch, so the fakes cannot be reused")
        if self.eval_fakes and not self.fresh_fakes:
            raise ValueError(f"recipe {self.name}: eval_fakes are D's alone, so the generator needs fresh_fakes")
        if self.class_weight and not self.classes:
            raise ValueError(f"recipe {self.name}: class_weight={self.class_weight} needs classes to name")
        if self.g_batch not in (None, self.batch) and self.loss.g_sees_real:
            raise ValueError(f"recipe {self.name}: the {self.loss.name} loss pairs images, so g_batch must be batch")

    def change(self, /, **changes: Any) -> "Recipe":
        """A copy with these fields. An unknown field or a value of the wrong type is a `RecipeError`."""
        fields = {field.name: field for field in dataclasses.fields(self)}
        for name, value in changes.items():
            if name not in fields:
                _unknown(f"recipe {self.name} has no field", name, fields)
            if name in self.scalars():
                changes[name] = _typed(name, value, fields[name].type)
            elif name != "name" and not (isinstance(value, losses.Loss) if name == "loss" else callable(value)):
                raise RecipeError(f"recipe {self.name}: {name} is a Python object, not {value!r}")
        return dataclasses.replace(self, **changes)

    def scalars(self) -> dict[str, Any]:
        """Every field that a file may hold: all but the networks and the loss."""
        names = [field.name for field in dataclasses.fields(self)]
        return {name: getattr(self, name) for name in names if name not in self.objects()}

    def objects(self) -> dict[str, str]:
        """What a file cannot hold, by name: the recipe, its networks and its loss."""
        return {
            "name": self.name,
            "generator": self.generator.__qualname__,
            "discriminator": self.discriminator.__qualname__,
            "loss": self.loss.name,
        }

    def digest(self) -> str:
        """SHA-256 of what decides the result: two runs with one digest are one experiment.

        The names of networks and loss, and every scalar that is not at its default: a field that is added later, and
        does nothing by default, leaves all digests as they were.
        """
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        set_here = {name: value for name, value in self.scalars().items() if value != defaults[name]}
        return hashlib.sha256(json.dumps(self.objects() | set_here, sort_keys=True).encode()).hexdigest()

    def build(self) -> tuple[nn.Module, nn.Module]:
        """The two networks, initialised from `seed`: generator, discriminator."""
        labels = {"classes": self.classes} if self.classes else {}
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            generator = self.generator(z_dim=self.z_dim, image_shape=self.image_shape, **labels)
            return generator, self.discriminator(image_shape=self.image_shape, **labels)

    def suited_to(self, shape: Sequence[int], classes: Sequence[str]) -> "Recipe":
        """The recipe for images [N, C, H, W] of these classes; one without labels stays without."""
        if len(shape) != 1 + len(self.image_shape):
            made = "points" if len(self.image_shape) == 1 else "images"
            raise ValueError(f"recipe {self.name} makes {made}; it cannot learn from data of the shape {list(shape)}")
        return self.change(image_shape=tuple(shape[1:]), classes=len(classes) if self.classes else 0)

    def draw_z(self, count: int, device: torch.device | str = "cpu", source: torch.Generator | None = None) -> Tensor:
        """z [count, z_dim] from `noise`; from torch's own random state unless a generator is given."""
        z = torch.empty(count, self.z_dim, device=device)
        return z.uniform_(-1, 1, generator=source) if self.noise == "uniform" else z.normal_(generator=source)

    def rate_factor(self, epoch: int) -> float:
        """What both learning rates are multiplied by in an epoch, the first being 0."""
        return self.lr_decay ** (epoch // self.decay_every)

    def penalty_weight(self, step: int) -> float:
        """What r1 and r2 are multiplied by: `penalty_every` in each so many-th step, fading; 0 in the others."""
        faded = 0.5 ** (step / self.penalty_half_life) if self.penalty_half_life else 1.0
        return self.penalty_every * faded if step % self.penalty_every == 0 else 0.0

    def total_steps(self, images: int) -> int:
        """How many steps a run on `images` images takes."""
        if images < self.batch:
            raise ValueError(f"recipe {self.name}: a batch of {self.batch} needs more than {images} images")
        return self.steps or self.epochs * (images // self.batch)


RING = Recipe(
    name="ring",
    generator=nets.PointGenerator,
    discriminator=nets.PointDiscriminator,
    dataset="ring",
    image_shape=(2,),
    z_dim=2,
    batch=256,
    steps=1_500,
    d_lr=1e-3,
    g_lr=1e-3,
    beta1=0.5,
    precision="fp32",
)
"""The two-dimensional game of lesson 00: eight Gaussians on a ring."""

MLP_GAN = Recipe(
    name="mlp-gan",
    generator=nets.MLPGenerator,
    discriminator=nets.MLPDiscriminator,
    noise="uniform",
    d_lr=2e-3,
    g_lr=2e-3,
    joint_d_batch=True,
    precision="fp32",
)
"""The MLP GAN of lesson 01, after a PyTorch notebook on MNIST; 100 epochs of batches of 64.

Where it leaves its source: D sees both halves as one batch (without batch norm that is the same game, and faster);
the last, smaller batch of an epoch is dropped. fp32, because networks this small gain nothing from bf16.
"""

DCGAN_MNIST = Recipe(
    name="dcgan-mnist",
    generator=nets.dcgan_mnist_generator,
    discriminator=nets.dcgan_mnist_discriminator,
    batch=32,
    epochs=50,
    d_lr=1e-4,
    g_lr=1e-4,
    adam_eps=1e-7,
    fresh_fakes=False,
    joint_d_batch=True,
)
"""The DCGAN of lesson 02 on MNIST, after a TensorFlow project; 50 epochs of batches of 32.

Follows the project's document where its code differs (dropout 0.5 and no biases in D, no label smoothing). Both
updates use one batch of fakes, as there; but G is scored by the D that has just moved (and drops out other units), for
here D always goes first. Real and fake pass D as one batch; precision may be bf16.
"""

DCGAN_CIFAR10 = dataclasses.replace(
    DCGAN_MNIST,
    name="dcgan-cifar10",
    generator=nets.dcgan_cifar10_generator,
    discriminator=nets.dcgan_cifar10_discriminator,
    dataset="cifar10",
    image_shape=(3, 32, 32),
    batch=128,
    epochs=200,
)
"""The same on CIFAR-10: wider networks, 200 epochs of batches of 128.

The last, smaller batch of an epoch is dropped.
"""

CGAN_MLP = Recipe(
    name="cgan-mlp",
    generator=nets.CGANMLPGenerator,
    discriminator=nets.CGANMLPDiscriminator,
    loss=losses.least_squares,
    classes=10,
    z_dim=64,
    fresh_fakes=False,
    precision="fp32",
)
"""The conditional MLP GAN of lesson 03: 100 epochs of batches of 64 on 10,000 images.

Where it leaves its source: D moves before G, both on one batch of fakes, whose labels are those of the real batch; D's
loss is the sum of its halves, the source's their mean (Adam hardly sees the difference); the last, smaller batch of an
epoch is dropped.
"""

CDCGAN = Recipe(
    name="cdcgan",
    generator=nets.CDCGANGenerator,
    discriminator=nets.CDCGANDiscriminator,
    loss=losses.squared_error,
    classes=10,
    z_dim=64,
    batch=256,
    epochs=60,
    beta1=0.5,
    fresh_fakes=False,
)
"""The conditional DCGAN of lesson 03: 60 epochs of batches of 256 on 10,000 images.

Its source published pictures and curves of a squared error on D's probability, and turned to cross-entropy later; this
is the former. It leaves its source in the order, D before G on the same fakes, whose labels are the real batch's; the
last, smaller batch of an epoch is dropped, and precision may be bf16.
"""

CGAN_SN = Recipe(
    name="cgan-sn",
    generator=nets.CGANSNGenerator,
    discriminator=nets.CGANSNDiscriminator,
    classes=10,
    batch=128,
    d_lr=1e-4,
    g_lr=2e-4,
    beta1=0.5,
    adam_eps=1e-7,
    lr_decay=0.8,
    decay_every=10,
    joint_d_batch=True,
    real_target=0.95,
    fake_target=0.05,
)
"""The conditional GAN with spectral norm of lesson 03, after a Keras project: 100 epochs of batches of 128.

Where it leaves its source: the smoothed targets, drawn there from U(0.9, 1) and U(0, 0.1), are their means here; the
cross-entropy is linear in its target, so the expected gradient is the same. D's loss is the sum of both halves. An
epoch is one pass over the images here, 468 steps of 60,000; the source's has 234, half a pass.
"""

ACGAN = Recipe(
    name="acgan",
    generator=nets.ACGANGenerator,
    discriminator=nets.ACGANDiscriminator,
    classes=10,
    batch=128,
    g_batch=256,
    beta1=0.5,
    adam_eps=1e-7,
    class_weight=1.0,
    eval_fakes=True,
    joint_d_batch=True,
    real_target=0.95,
    fake_target=0.05,
)
"""The AC-GAN of lesson 04, after a Keras project: 100 epochs of batches of 128 real and 128 generated images.

Targets are those of its document, 0.9 and -0.9 on a scale from -1 to 1; its code had hard ones. It trains on classes
as unequal as they come, as the document says; the code cuts all to the smallest. D's loss is the sum over its halves,
of the true-or-false term and of the class term alike, where the source has the mean. G's labels are drawn as often as
the data have them. Noise is 100 numbers less one for each class.
"""

RGAN = Recipe(
    name="rgan",
    generator=nets.ProjectionGenerator,
    discriminator=nets.ProjectionDiscriminator,
    loss=losses.relativistic,
    classes=10,
    z_dim=64,
    steps=9_360,
    d_lr=6e-4,
    g_lr=3e-4,
    beta1=0.5,
    beta2=0.99,
    fresh_fakes=False,
    joint_d_batch=True,
    r1=0.3,
    r2=0.3,
    penalty_every=4,
    penalty_half_life=2_000,
    shift=2,
    ema=0.999,
)
"""Ours, lessons 03 to 05: relativistic pairs, a projection, R1 and R2 that fade, moved images, an averaged generator.

9,360 steps of 64 images, whatever the size of the set: sixty passes over 10,000 images. Loss, penalties and rates were
chosen on MNIST train[50000:60000], never on test images (`benchmarks/search.py`); half-life and EMA were not searched.
"""

RECIPES = {
    recipe.name: recipe
    for recipe in (RING, MLP_GAN, DCGAN_MNIST, DCGAN_CIFAR10, CGAN_MLP, CDCGAN, CGAN_SN, ACGAN, RGAN)
}


def get(name: str, /, **changes: Any) -> Recipe:
    """A named recipe with these fields changed; `RecipeError` names the nearest where there is none."""
    if name not in RECIPES:
        _unknown("there is no recipe", name, RECIPES)
    return RECIPES[name].change(**changes)


def read(path: str | Path) -> Recipe:
    """A recipe from a YAML file: `recipe:` names it, every other line changes a field (`to_yaml` writes one)."""
    try:
        content = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or "recipe" not in content:
        raise ValueError(f"{path}: expected a line `recipe: NAME`; `python -m gantools recipe NAME` prints such a file")
    return with_text(get(str(content.pop("recipe"))), {str(name): value for name, value in content.items()})


def with_text(recipe: Recipe, fields: Mapping[str, Any]) -> Recipe:
    """The recipe with fields from a file or the shell, which can hold all but its name, networks and loss."""
    for name in recipe.objects().keys() & fields:
        raise RecipeError(f"recipe {recipe.name}: {name} can be changed in Python only")
    return recipe.change(**fields)


def to_yaml(recipe: Recipe) -> str:
    """The recipe as a file that `read` takes back."""
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in recipe.scalars().items()}
    return yaml.safe_dump({"recipe": recipe.name} | plain, sort_keys=False, default_flow_style=None)


# The profiles: how much of a training a lesson runs live. The only place that looks at GANTOOLS_PROFILE.
PROFILES = ("smoke", "quick", "full")
QUICK_STEPS = {"ring": 1_500, "mlp-gan": 2_184, "dcgan-mnist": 1_200, "dcgan-cifar10": 100}
QUICK_STEPS |= {"cgan-mlp": 624, "cdcgan": 312, "cgan-sn": 156, "acgan": 150, "rgan": 312}
SMOKE_STEPS, SMOKE_IMAGES = 20, 500
SMOKE_RING = 468  # twelve epochs of 39 steps, a second: the film of lesson 00 needs its frames


def profile() -> str:
    """`smoke` (seconds: proves the path), `quick` (the default: minutes) or `full` (as published)."""
    name = os.environ.get("GANTOOLS_PROFILE") or "quick"
    if name not in PROFILES:
        raise ValueError(f"GANTOOLS_PROFILE={name!r}: choose one of {', '.join(PROFILES)}")
    return name


def lesson_steps(steps: int) -> int:
    """The length of a lesson's own loop: `steps`, or a handful in the smoke profile."""
    return min(steps, SMOKE_STEPS) if profile() == "smoke" else steps


def lesson_images(count: int) -> int:
    """How many images a lesson measures: `count`, or a few hundred in the smoke profile."""
    return min(count, SMOKE_IMAGES) if profile() == "smoke" else count


def lesson(name: str, **changes: Any) -> Recipe:
    """A named recipe, cut to what a lesson trains live in this profile; `full` leaves it as published."""
    recipe, where = get(name, **changes), profile()
    if where == "full":
        return recipe
    steps = changes.get("steps") or QUICK_STEPS[name]
    return recipe.change(steps=min(steps, SMOKE_RING) if (where, name) == ("smoke", "ring") else lesson_steps(steps))


def _unknown(what: str, name: str, known: Iterable[str]) -> NoReturn:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    raise RecipeError(f"{what} {name!r}: {hint}")


def _typed(name: str, value: Any, annotation: Any) -> Any:
    """The value as the field's type, forgiving what YAML and the shell do to numbers, lists and None."""
    union = isinstance(annotation, UnionType)
    kinds = get_args(annotation) if union else (get_origin(annotation) or annotation,)
    if isinstance(value, list):
        value = tuple(value)
    elif value == "None" and NoneType in kinds:
        value = None
    elif float in kinds and type(value) in (int, str):
        with suppress(ValueError):
            value = float(value)  # YAML reads 1e-4 as text
    if type(value) not in kinds:
        expected = " or ".join(kind.__name__.replace("NoneType", "None") for kind in kinds)
        raise RecipeError(f"{name}={value!r} is of type {type(value).__name__}; expected {expected}")
    return value
