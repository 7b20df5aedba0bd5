"""Everything a training needs, in one frozen dataclass."""

import dataclasses
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from gantools import losses
from gantools.fields import RecipeError, name_of, typed, unknown
from gantools.runtime import seeded

PRECISIONS = ("auto", "fp32", "bf16")
NOISES = ("normal", "uniform")


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
    frozen_norm: bool = False  # in G's step D's batch norm takes its running statistics, as a frozen layer of Keras
    real_target: float = 1.0  # label smoothing for D: below 1
    fake_target: float = 0.0
    r1: float = 0.0  # gamma of the gradient penalty on real images
    r2: float = 0.0  # the same on generated ones
    penalty_every: int = 1  # steps between penalties, each weighted by this number
    penalty_half_life: int | None = None  # steps in which both gammas halve; None: they stay
    affine: float = 0.0  # real images are turned, sheared, stretched first, and G learns to draw them so; 1: much
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
            if not 0 < getattr(self, name) < inf:  # "not": NaN is refused too
                raise ValueError(f"recipe {self.name}: {name}={getattr(self, name)!r} must be above 0, and finite")
        counts = {name: value for name, value in self.scalars().items() if isinstance(value, int) and name != "seed"}
        if large := [name for name, count in counts.items() if count >= 2**31]:
            raise ValueError(f"recipe {self.name}: {', '.join(large)} must be below 2**31")
        if not self.image_shape or min(self.image_shape) < 1:
            raise ValueError(f"recipe {self.name}: image_shape={self.image_shape} must be sizes above 0")
        if self.seed >= 2**63:
            raise ValueError(f"recipe {self.name}: seed={self.seed} must be below 2**63")
        for name in ("seed", "r1", "r2", "affine", "shift", "classes", "class_weight"):
            if not 0 <= getattr(self, name) < inf:
                raise ValueError(f"recipe {self.name}: {name}={getattr(self, name)} must not be negative, nor infinite")
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
        if self.fake_target and self.loss.g_sees_real:
            raise ValueError(
                f"recipe {self.name}: the {self.loss.name} loss pairs images and has one target, real_target; "
                f"fake_target={self.fake_target} must be 0"
            )

    def change(self, /, **changes: Any) -> "Recipe":
        """A copy with these fields. An unknown field or a value of the wrong type is a `RecipeError`."""
        fields = {field.name: field for field in dataclasses.fields(self)}
        for name, value in changes.items():
            if name not in fields:
                unknown(f"recipe {self.name} has no field", name, fields)
            if name in self.scalars():
                changes[name] = typed(name, value, fields[name].type)
            elif name == "name":
                if not isinstance(value, str):
                    raise RecipeError(f"recipe {self.name}: name must be a text, not {value!r}")
            elif not (isinstance(value, losses.Loss) if name == "loss" else callable(value)):
                raise RecipeError(f"recipe {self.name}: {name} is a Python object, not {value!r}")
        return dataclasses.replace(self, **changes)

    def with_text(self, fields: Mapping[str, Any]) -> "Recipe":
        """The same with fields from a file or the shell, which can hold all but its name, networks and loss."""
        for name in self.objects().keys() & fields:
            raise RecipeError(f"recipe {self.name}: {name} can be changed in Python only")
        return self.change(**fields)

    def to_yaml(self) -> str:
        """The recipe as a file that `recipes.read` takes back, below notes on what an edit cannot change.

        Read, it has the networks and the loss of the named recipe: others than these a file cannot hold.
        """
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in self.scalars().items()}
        notes = (
            f"networks and loss, to be changed in Python only: {', '.join(list(self.objects().values())[1:])}",
            "image_shape and classes follow the data" + ("; epochs count only where steps is null" * bool(self.steps)),
        )
        lines = yaml.safe_dump({"recipe": self.name} | plain, sort_keys=False, default_flow_style=None)
        return "".join(f"# {note}\n" for note in notes) + lines

    def scalars(self) -> dict[str, Any]:
        """Every field that a file may hold: all but the networks and the loss."""
        names = [field.name for field in dataclasses.fields(self)]
        return {name: getattr(self, name) for name in names if name not in self.objects()}

    def objects(self) -> dict[str, str]:
        """What a file cannot hold, by name: the recipe, its networks and its loss."""
        return {
            "name": self.name,
            "generator": name_of(self.generator),
            "discriminator": name_of(self.discriminator),
            "loss": self.loss.name,
        }

    def digest(self) -> str:
        """SHA-256 of what the recipe decides of the result; the images have a digest of their own.

        The names of networks and loss, and every scalar that is not at its default: a field that is added later, and
        does nothing by default, leaves all digests as they were.
        """
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        set_here = {name: value for name, value in self.scalars().items() if value != defaults[name]}
        return hashlib.sha256(json.dumps(self.objects() | set_here, sort_keys=True).encode()).hexdigest()

    def build(self) -> tuple[nn.Module, nn.Module]:
        """The two networks, initialised from `seed`: generator, discriminator.

        Raises ValueError where they take labels and the recipe has no classes, or the other way round.
        """
        labels = {"classes": self.classes} if self.classes else {}
        for network in (self.generator, self.discriminator):
            parameters = inspect.signature(network).parameters
            if not labels and "classes" in parameters:
                raise ValueError(f"recipe {self.name}: {name_of(network)} takes labels, so classes=0 must be above 0")
            if labels and "classes" not in parameters and not any(p.kind == p.VAR_KEYWORD for p in parameters.values()):
                raise ValueError(
                    f"recipe {self.name}: {name_of(network)} knows no labels, so classes={self.classes} must be 0"
                )
        with seeded(self.seed):  # they are built on the CPU
            generator = self.generator(z_dim=self.z_dim, image_shape=self.image_shape, **labels)
            return generator, self.discriminator(image_shape=self.image_shape, **labels)

    def suited_to(self, shape: Sequence[int], classes: Sequence[str]) -> "Recipe":
        """The recipe for images [N, C, H, W] of these classes; one without labels stays without."""
        if len(shape) != 1 + len(self.image_shape):
            made = "points" if len(self.image_shape) == 1 else "images"
            raise ValueError(f"recipe {self.name} makes {made}; it cannot learn from data of the shape {list(shape)}")
        if len(shape) == 4 and self.shift >= (side := min(shape[2:])):
            raise ValueError(f"recipe {self.name}: shift={self.shift} moves an image of {side} pixels out of sight")
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
            raise ValueError(
                f"recipe {self.name}: a batch of {self.batch} needs more than {images} images; lower batch"
            )
        return self.steps or self.epochs * (images // self.batch)

    def check_shares(self, processes: int) -> None:
        """Raise ValueError where a batch cannot be shared equally: all processes weigh alike in a step."""
        for name, count in (("batch", self.batch), ("g_batch", self.g_batch or 0)):
            if count % processes:
                raise ValueError(f"{self.name}: {name}={count} cannot be shared equally by {processes} processes")
