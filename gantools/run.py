"""A run: two networks, two optimizers, where they stand, and how to sample."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.swa_utils import AveragedModel

from gantools.recipe import Recipe

SAMPLE_BATCH = 500  # ten thousand images through a wide network at once would need gigabytes
SHARES_OFF = 1e-3  # how far from 1 the shares of a mixture may sum
Row = dict[str, float]


@dataclass
class Run:
    """A training under way, finished, or loaded.

    `player` is the generator that the optimizer moves; `generator` is what samples: the average of `player` over
    the steps where the recipe has `ema`, else `player` itself. `rows` holds the mean of each epoch, `open_row` the
    sums of the epoch under way.
    """

    recipe: Recipe
    player: nn.Module
    discriminator: nn.Module
    g_optimizer: Optimizer
    d_optimizer: Optimizer
    average: AveragedModel | None
    data: dict[str, Any]  # name, count, classes, digest of what it trains on
    step: int = 0
    seconds: float = 0.0
    rows: list[Row] = field(default_factory=list)
    open_row: Row = field(default_factory=dict)
    measured: Row = field(default_factory=dict)  # what `metrics.during` found in the epoch under way
    folder: Path | None = None  # where it was saved or loaded from
    whole: bool = True  # False: loaded from networks alone, to sample and be judged

    @classmethod
    def start(cls, recipe: Recipe, data: dict[str, Any]) -> "Run":
        """Fresh networks and optimizers for a recipe."""
        player, discriminator = recipe.build()
        return cls(
            recipe,
            player,
            discriminator,
            _adam(recipe, player, recipe.g_lr),
            _adam(recipe, discriminator, recipe.d_lr),
            AveragedModel(player, multi_avg_fn=_average(recipe.ema), use_buffers=True) if recipe.ema else None,
            data,
        )

    @property
    def generator(self) -> nn.Module:
        return self.average.module if self.average else self.player

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.data["classes"])

    @property
    def history(self) -> list[Row]:
        """One row an epoch: step, seconds, d_loss, g_loss, penalty, accuracies, d_real, d_fake (mean D(x), D(G(z))).

        Where D names the class too, also real_named and fake_named, the shares of images that it names as labelled, and
        class_loss, the cross-entropy of its class logits on real images.
        The epoch under way, if any, is the last row.
        """
        if not self.open_row:
            return list(self.rows)
        steps = self.open_row["steps"]
        means = {key: total / steps for key, total in self.open_row.items() if key != "steps"}
        return [*self.rows, {"step": self.step, "seconds": round(self.seconds, 2)} | means | self.measured]

    def update_average(self) -> None:
        """One step of the average, if the recipe has one.

        The singular vectors of spectral norm are copied instead: a mean of unit vectors is shorter than 1.
        """
        if not self.average:
            return
        self.average.update_parameters(self.player)
        for (name, mean), current in zip(self.generator.named_buffers(), self.player.buffers(), strict=True):
            if name.endswith((".0._u", ".0._v")):  # as torch's parametrization names them
                mean.copy_(current)

    def finite(self) -> bool:
        """Whether no weight is NaN or infinite."""
        return all(
            bool(value.isfinite().all()) for network in self.networks() for value in network.state_dict().values()
        )

    def log(self, scores: Mapping[str, float], seconds: float) -> None:
        """Count a step and add its scores to the epoch under way."""
        self.step += 1
        self.measured = {}
        self.seconds += seconds
        for name, value in {"steps": 1.0, **scores}.items():
            self.open_row[name] = self.open_row.get(name, 0.0) + value

    def close_row(self) -> None:
        """End an epoch: its means become a row."""
        self.rows, self.open_row = self.history, {}

    def to(self, device: torch.device) -> "Run":
        """Networks and optimizer states to a device, convolutions in the memory order that is fast there."""
        for network in self.networks():
            network.to(device, memory_format=torch.channels_last)
        for optimizer in (self.g_optimizer, self.d_optimizer):
            for parameter, state in optimizer.state.items():
                for name, value in state.items():  # the fused kernel reads both in memory order: it must be the same
                    like = torch.empty_like(parameter) if value.shape == parameter.shape else value.to(device)
                    state[name] = like.copy_(value)
        return self

    def eval(self) -> "Run":
        """Both networks in eval mode: no dropout, batch norm by its running statistics."""
        for network in self.networks():
            network.eval()
        return self

    def networks(self) -> list[nn.Module]:
        """Player, discriminator, and the average if there is one."""
        return [self.player, self.discriminator, *([self.average] if self.average else [])]

    def draw_z(self, count: int, seed: int | None = 0) -> Tensor:
        """z [count, z_dim] from the recipe's distribution; `seed=None` draws a new one each time."""
        source = torch.Generator()
        source.seed() if seed is None else source.manual_seed(seed)
        return self.recipe.draw_z(count, source=source)

    def label_of(self, name: str) -> int:
        """The label of a class, by its name; digits that are no name are the label itself.

        Raises ValueError where the run has no such class.
        """
        if not self.recipe.classes:
            raise ValueError(f"{self.recipe.name} does not know labels")
        name = str(name)
        if name in self.classes:
            return self.classes.index(name)
        if name.isdecimal() and int(name) < len(self.classes):
            return int(name)
        raise ValueError(f"there is no class {name!r}: choose of {', '.join(self.classes)}")

    @torch.no_grad()
    def sample(
        self,
        count: int = 64,
        *,
        labels: Tensor | list[int] | list[list[float]] | None = None,
        z: Tensor | None = None,
        seed: int | None = 0,
    ) -> Tensor:
        """Generated images, float32 [N, C, H, W] in [-1, 1] on the CPU; eval mode, the averaged generator.

        N is the number of `labels` or rows of `z` where given, else `count`. A conditional recipe without `labels`
        takes its classes in turn. Labels are classes, int64 [N], or shares of classes, float [N, classes]: each row a
        mixture, at least 0 and 1 in sum (to 1e-3). Raises ValueError on labels that do not exist, shares that are no
        mixture, shapes that do not fit, and a count below 1.
        """
        if isinstance(count, (float, bool)):
            raise ValueError(f"count={count!r} must be a whole number")
        try:
            labels = None if labels is None else torch.as_tensor(labels)
        except (TypeError, ValueError) as error:
            raise ValueError(f"labels must be numbers; for a class by its name, run.label_of(name): {error}") from error
        if labels is not None and not labels.ndim:
            raise ValueError(f"labels={labels.item()}: give one for each image, as [{labels.item()}] * count")
        if labels is not None and labels.shape == (0,):
            labels = labels.long()  # an empty list says nothing of its kind
        if count < 1:
            raise ValueError(f"count={count} must be at least 1")
        count = len(labels) if labels is not None else len(z) if z is not None else count
        z = self.draw_z(count, seed) if z is None else torch.as_tensor(z).float()
        if not z.isfinite().all():
            raise ValueError("z holds NaN or infinity; draw_z(count) draws one from what the run learned with")
        if z.shape != (count, self.recipe.z_dim):
            raise ValueError(f"z has the shape {list(z.shape)}, but this run takes [{count}, {self.recipe.z_dim}]")
        if labels is not None and not self.recipe.classes:
            raise ValueError(f"{self.recipe.name} does not know labels: leave `labels` out")
        classes = self.recipe.classes or 1
        y = torch.arange(count) % classes if labels is None else _checked_labels(labels, classes)
        generator, device = self.generator, next(self.generator.parameters()).device
        training = generator.training
        generator.eval()
        batches = zip(z.split(SAMPLE_BATCH), y.split(SAMPLE_BATCH), strict=True)
        images = torch.cat(
            [generator(z_part.to(device), y_part.to(device)).float().cpu() for z_part, y_part in batches]
        )
        generator.train(training)
        return images


def _average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor], None]:
    """The exponential average; shorter for its first 9 / (1 - decay) steps, so that untrained weights do not linger."""

    def update(averages: list[Tensor], currents: list[Tensor], steps: Tensor) -> None:
        share = max(1 - decay, 9 / (10 + int(steps)))  # of the current weights
        for average, current in zip(averages, currents, strict=True):
            average.lerp_(current, share) if average.is_floating_point() else average.copy_(current)

    return update


def _checked_labels(y: Tensor, classes: int) -> Tensor:
    """`y` as a generator takes it: classes, int64 [N], or shares of the classes, float32 [N, classes]."""
    if y.is_floating_point():
        return _checked_shares(y.float(), classes)
    if y.dtype == torch.bool:
        raise ValueError("labels are classes, whole numbers, not True and False")
    if y.ndim != 1:
        raise ValueError(f"labels must have the shape [{len(y)}], not {list(y.shape)}; shares of classes are floats")
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < classes:
        raise ValueError(f"labels must lie in 0 to {classes - 1}, not {int(y.min())} to {int(y.max())}")
    return y.long()


def _checked_shares(y: Tensor, classes: int) -> Tensor:
    if y.shape != (len(y), classes):
        raise ValueError(f"shares of classes must have the shape [{len(y)}, {classes}], not {list(y.shape)}")
    sums = y.sum(1)
    fits = (y >= 0).all(1) & ((sums - 1).abs() <= SHARES_OFF)  # neither holds for NaN, the second not for infinity
    if not fits.all():
        row = int(fits.int().argmin())
        raise ValueError(
            "shares of classes must be finite, at least 0 and 1 in sum; "
            f"row {row} lies in {y[row].min():g} to {y[row].max():g} and sums to {sums[row]:g}"
        )
    return y


def _adam(recipe: Recipe, network: nn.Module, rate: float) -> Adam:
    # fused: one kernel for all parameters, where the default calls several for each
    return Adam(network.parameters(), lr=rate, betas=(recipe.beta1, recipe.beta2), eps=recipe.adam_eps, fused=True)
