"""What the augmentation study trains: arms, sizes, doses, subsets, generators, classifiers and their lengths."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

import torch
from torch import Tensor, nn

from gantools import arms, catalogue, checkpoint, nets, trials
from gantools.recipe import Recipe
from gantools.trials import StudyError, Trial

HASH = 12  # digits of a recipe's digest in a row


@dataclass(frozen=True)
class Learner:
    """A classifier and how it is trained: in every arm alike, for so many steps at each size of the plan."""

    name: str
    network: Callable[..., nn.Module]
    steps: tuple[int, ...]
    rate: float
    one_cycle: bool = True


@dataclass(frozen=True)
class Study:
    """A plan. Its subsets are blocks of MNIST's training images that share none, and in a block sizes are nested.

    Block 0 is the first `block` images in file order, the others are drawn from what follows, up to the `held_out`
    last images, by which doses are chosen. Every subset has a generator of its own, trained for `gan_steps` at its
    size; that of "gan60k" saw all `images`, the held-out ones too: it is an oracle. A replication has `shipped`
    generators instead.
    """

    arms: tuple[str, ...]
    learners: tuple[Learner, ...]
    sizes: tuple[int, ...]
    doses: tuple[float, ...]
    subsets: int
    gan: Recipe = catalogue.RGAN
    gan_steps: tuple[int, ...] = ()
    shipped: tuple[str, ...] = ()
    seeds: int = 2
    block: int = 10_000
    held_out: int = 2_000
    images: int = 60_000
    tests: int = 10_000

    def trials(self, sizes: Sequence[int] | None = None, subsets: int | None = None) -> list[Trial]:
        """Every training of the plan, or of a part: some sizes, the first subsets. Those of a subset follow each other.

        Raises `StudyError` for what the plan does not have.
        """
        sizes = tuple(dict.fromkeys(sizes or self.sizes))  # a size given twice is one
        subsets = self.subsets if subsets is None else subsets
        if unknown := set(sizes) - set(self.sizes):
            raise StudyError(f"size {min(unknown)} is not in the plan: choose of {', '.join(map(str, self.sizes))}")
        if not 1 <= subsets <= self.subsets:
            raise StudyError(f"subsets={subsets}: the plan has 1 to {self.subsets}")
        return [
            Trial(arm, size, float(dose), subset, learner.name, gan, seed)
            for subset in range(subsets)
            for size in sizes
            for arm in self.arms
            if arm not in arms.SANITY or subset == 0
            for dose in (self.doses if arm in arms.DOSED else (0,))
            for gan in self._generators(arm, size, subset)
            for learner in self.learners
            for seed in range(self.seeds)
        ]

    def gans(self, plan: Sequence[Trial]) -> list[str]:
        """The generators that these trials need and the study trains itself."""
        return sorted({trial.gan for trial in plan if trial.gan} - set(self.shipped))

    def recipe(self, gan: str) -> Recipe:
        """Of a generator that the study trains; its seed is the subset's number. Raises what `place` raises."""
        size, subset = self.place(gan) or (self.sizes[-1], 0)
        return self.gan.change(steps=self.gan_steps[self.sizes.index(size)], seed=subset)

    def place(self, gan: str) -> tuple[int, int] | None:
        """Size and subset of the images that a generator of the study saw; None for the oracle, which saw all.

        Raises `StudyError` for a name that the study does not give.
        """
        if gan == self._oracle:
            return None
        for size, subset in product(self.sizes, range(self.subsets)):
            if gan == self._name(size, subset):
                return size, subset
        raise StudyError(f"{gan!r} is no generator that this study trains; one is {self._name(self.sizes[0], 0)!r}")

    def subset(self, size: int, subset: int) -> Tensor:
        """The places of a subset's images among the training images, int64 [size], in file order.

        Raises `StudyError` for a size or a subset that the plan does not have.
        """
        if size not in self.sizes or not 0 <= subset < self.subsets:
            sizes = ", ".join(map(str, self.sizes))
            raise StudyError(f"there is no subset {subset} of {size} images: sizes are {sizes}, subsets {self.subsets}")
        source = torch.Generator().manual_seed(subset)
        if subset == 0:
            block = torch.arange(self.block)
        else:
            rest = self.images - self.held_out - self.block
            order = torch.randperm(rest, generator=torch.Generator().manual_seed(0)) + self.block
            block = order[(subset - 1) * self.block : subset * self.block]
        return block[torch.randperm(self.block, generator=source)[:size]].sort().values

    def learner(self, classifier: str) -> Learner:
        """By its name. Raises `StudyError` for one that the plan does not have."""
        for learner in self.learners:
            if learner.name == classifier:
                return learner
        raise StudyError(f"there is no classifier {classifier!r}: {', '.join(each.name for each in self.learners)}")

    def steps(self, trial: Trial) -> int:
        """Of the trial's classifier."""
        return self.learner(trial.classifier).steps[self.sizes.index(trial.size)]

    def recipe_hash(self, trial: Trial) -> str:
        """Of the recipe of the trial's generator; "" where there is none."""
        if not trial.gan:
            return ""
        recipe = _shipped_recipe(trial.gan) if trial.gan in self.shipped else self.recipe(trial.gan)
        return recipe.digest()[:HASH]

    def _name(self, size: int, subset: int) -> str:
        return f"{self.gan.name}-{size}-{subset}"

    @property
    def _oracle(self) -> str:
        return f"{self.gan.name}-all"

    def _generators(self, arm: str, size: int, subset: int) -> tuple[str, ...]:
        if arm not in arms.GENERATED:
            return ("",)
        if self.shipped:
            return tuple(name for name in self.shipped if name in checkpoint.shipped())
        return (self._oracle if arm == "gan60k" else self._name(size, subset),)


def find(text: str, plans: Sequence[Study]) -> tuple[Study, Trial]:
    """The one training of these plans that `text` names, as `Trial` prints itself, and its plan.

    Without `dose` it is 0; without `gan` it is the one that the plan has for the arm. Raises `StudyError` where it
    names too little, a row of no plan, or one that several generators have.
    """
    fields = {"dose": 0.0, "gan": ""} | trials.parse(text)
    if missing := [field.name for field in dataclasses.fields(Trial) if field.name not in fields]:
        raise StudyError(f"row {text!r} lacks {', '.join(missing)}")
    found = [
        (study, trial)
        for study in plans
        for trial in study.trials()
        if all(getattr(trial, name) == value or (name, value) == ("gan", "") for name, value in fields.items())
    ]
    if not found:
        raise StudyError(f"no row of the study is {text!r}; one is {str(plans[0].trials()[0])!r}")
    if len(found) > 1:
        names = " or ".join(f"gan={trial.gan}" for _, trial in found)
        raise StudyError(f"{len(found)} rows of the study are {text!r}: add {names}")
    return found[0]


@lru_cache(maxsize=8)
def _shipped_recipe(name: str) -> Recipe:
    return checkpoint.load(name).recipe


def small_mlp(image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """784-256-128-10 on MNIST: 235,146 parameters."""
    return nets.DenseClassifier(image_shape, classes, widths=(256, 128))


MAIN = Study(
    arms=arms.ARMS,
    learners=(
        Learner("cnn", nets.SmallConvClassifier, (400, 500, 600, 800, 1_000), rate=3e-3),
        Learner("mlp", small_mlp, (1_000, 1_250, 1_500, 2_000, 2_500), rate=1e-3),
    ),
    sizes=(100, 300, 1_000, 3_000, 10_000),
    doses=(0.25, 1.0, 4.0),
    subsets=5,
    gan_steps=(1_900,) * 5,
)
"""The comparison: 2,040 trainings of classifiers and 26 of generators, at most eight minutes of a core each."""

REPLICATION = Study(
    arms=("real", "gan", "gan only", "published mistake"),
    learners=(
        Learner("published cnn", nets.PlainConvClassifier, (6_250,), rate=1e-3, one_cycle=False),
        Learner("published mlp", nets.DenseClassifier, (6_250,), rate=1e-3, one_cycle=False),
        Learner("our cnn", nets.SmallConvClassifier, (6_250,), rate=3e-3),
    ),
    sizes=(8_000,),
    doses=(1.25,),
    subsets=1,
    shipped=("cdcgan-mnist-10k", "cgan-mlp-mnist-10k", "rgan-mnist-10k", "rgan-pose-mnist-10k"),
    block=8_000,
)
"""The published comparison done right: 8,000 real images, the same and 10,000 generated, these alone. And by our CNN.

The real ones are the first 8,000 of MNIST; the shipped generators saw these and the next 2,000. Every arm takes 6,250
steps, fifty passes over the real images as published, and is scored on the same 10,000 real test images after the last.
Where it leaves its source beyond that: Adam's eps is torch's 1e-8, not Keras's 1e-7.
"""

SMOKE = replace(
    MAIN,
    learners=tuple(replace(learner, steps=(2, 2)) for learner in MAIN.learners),
    sizes=(40, 80),
    doses=(0.25, 1.0),
    subsets=2,
    gan=MAIN.gan.change(batch=16),
    gan_steps=(2, 2),
    seeds=1,
    block=80,
    held_out=50,
    images=300,
    tests=100,
)
SMOKE_REPLICATION = replace(
    REPLICATION,
    learners=tuple(replace(learner, steps=(2,)) for learner in REPLICATION.learners),
    sizes=(40,),
    seeds=1,
    block=40,
    held_out=SMOKE.held_out,
    images=SMOKE.images,
    tests=SMOKE.tests,
)
