"""What the rows of the augmentation study say, and how sure one can be. NumPy on rows; nothing is trained here.

The unit is the subset: the seeds of a classifier are averaged first, every difference is taken within a subset, and
intervals are of the differences of the subsets. `dose=None` means the dose that each subset would have
chosen by its validation accuracy; the test images choose nothing. A subset that lacks doses or seeds which others have
is not finished, and left out. Every function that takes rows raises ValueError where those it needs are missing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from math import comb, inf, nan, sqrt

import numpy as np

from gantools.trials import Row

STUDENT = {  # the 97.5 % point of Student's distribution by its degrees of freedom
    **{1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228},
    **{12: 2.179, 15: 2.131, 20: 2.086, 30: 2.042, 60: 2.000, 120: 1.980},
}


@dataclass(frozen=True)
class Difference:
    """A gain (above 0) or a loss: its mean over subsets, its 95 % interval, and the value of each subset."""

    mean: float
    low: float
    high: float
    values: tuple[float, ...]

    @property
    def verdict(self) -> str:
        """ "gain" or "loss" where the interval leaves 0 out, else "no difference shown"."""
        return "gain" if self.low > 0 else "loss" if self.high < 0 else "no difference shown"

    def __str__(self) -> str:
        points = (f"{100 * value:+.2f}" for value in (self.mean, self.low, self.high))
        return "{} points ({} to {}): {}".format(*points, self.verdict)


@dataclass(frozen=True)
class Worth:
    """How many real labels an arm is worth, and what the ends of the 95 % interval of its gain would be worth."""

    labels: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.labels:,.0f} labels ({self.low:,.0f} to {self.high:,.0f})"


@dataclass(frozen=True)
class McNemar:
    """Two classifiers on the same test images: how many only the one, only the other got wrong; the exact p."""

    only_first: int
    only_second: int
    p: float


def student(freedom: float) -> float:
    """By how many standard errors a 95 % interval reaches either way, by Student's distribution.

    Between tabled degrees of freedom that of the next fewer, a little too wide. ValueError below 1.
    """
    if not freedom >= 1:
        raise ValueError(f"freedom={freedom:g}: Student's distribution is tabled from 1 degree of freedom on")
    return STUDENT[max(tabled for tabled in STUDENT if tabled <= freedom)]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """A 95 % interval of the mean of independent values, by Student's distribution; NaN for a single one.

    Not by the bootstrap: resampled means never leave the range of the values, so that with two subsets the interval
    would hold the true mean half of the time, and with five in 84 of 100 (4,000 draws of normal values). This one
    supposes values that are roughly normal.
    """
    values = np.asarray(values, float)
    count = len(values)
    if not count:
        raise ValueError("an interval takes at least one value")
    if count == 1:
        return nan, nan
    half = student(count - 1) * values.std(ddof=1) / sqrt(count)
    return float(values.mean() - half), float(values.mean() + half)


def difference(values: Sequence[float]) -> Difference:
    """The mean and the interval of differences, one from each subset."""
    if not len(values):
        raise ValueError("a difference needs at least one subset that both arms have")
    return Difference(float(np.mean(values)), *interval(values), tuple(map(float, values)))


def mean_accuracy(
    rows: Sequence[Row],
    arm: str,
    size: int,
    classifier: str,
    dose: float | None = None,
    subsets: Iterable[int] | None = None,
) -> float:
    """On the test images: over the seeds of each subset, then over `subsets`, or all."""
    found = _accuracies(rows, arm, size, classifier, dose)
    kept = found.keys() if subsets is None else found.keys() & set(subsets)
    if not kept:
        raise ValueError(f"arm {arm!r}, size {size}, classifier {classifier!r} has none of the subsets asked for")
    return float(np.mean([found[subset] for subset in kept]))


def common_subsets(rows: Sequence[Row], arms: Iterable[str], sizes: Iterable[int], classifier: str) -> set[int]:
    """The subsets that each of these arms has at each of these sizes: what may be averaged and compared."""
    found = [set(_by_subset(_select(rows, arm, size, classifier))) for arm, size in product(arms, sizes)]
    if not found:
        raise ValueError("common_subsets() needs at least one arm and one size")
    return set.intersection(*found)


def chosen_doses(rows: Sequence[Row], arm: str, size: int, classifier: str) -> dict[int, float]:
    """For each subset the dose with the best validation accuracy, its seeds averaged; of equals the smallest."""
    found = {}
    for subset, picked in _by_subset(_select(rows, arm, size, classifier)).items():
        doses = sorted({row.dose for row in picked})
        scores = [np.mean([row.validation for row in picked if row.dose == dose]) for dose in doses]
        found[subset] = doses[int(np.argmax(scores))]
    return found


def gain(
    rows: Sequence[Row], arm: str, size: int, classifier: str, dose: float | None = None, base: str = "real"
) -> Difference:
    """How much more of the test images a classifier names right in this arm than in `base`, paired within subsets."""
    return difference(_differences(rows, arm, size, classifier, dose, base))


def class_gains(
    rows: Sequence[Row], arm: str, size: int, classifier: str, dose: float | None = None, base: str = "real"
) -> list[Difference]:
    """`gain` for each class alone, by class.

    Ten intervals: where nothing differs, about two in five such lists have one that misses 0.
    """
    pairs = _differences(rows, arm, size, classifier, dose, base, per_class=True)
    return [difference([pair[label] for pair in pairs]) for label in range(len(rows[0].per_class))]


def labels_worth(rows: Sequence[Row], arm: str, size: int, classifier: str, dose: float | None = None) -> Worth:
    """How many real labels the arm is worth: where "real" alone has the mean accuracy that this arm has at `size`.

    Read off the learning curve of "real", straight between its sizes over log(size), its dips filled; 0 below the
    curve, inf above it. Curve and arm are means over the same subsets.
    """
    sizes = sorted({row.size for row in rows if (row.arm, row.classifier) == ("real", classifier)})
    if not sizes:
        raise ValueError(f"no row of arm 'real', classifier {classifier!r}: there is no learning curve to read from")
    subsets = common_subsets(rows, ["real"], sizes, classifier) & common_subsets(rows, [arm], [size], classifier)
    if not subsets:
        raise ValueError(f"no subset has arm {arm!r} at size {size} and 'real' at every size")
    curve = np.maximum.accumulate([mean_accuracy(rows, "real", each, classifier, subsets=subsets) for each in sizes])
    rising = np.concatenate([[True], np.diff(curve) > 0])  # of equal accuracies the smallest size
    heights, places = curve[rising], np.log(np.array(sizes)[rising])

    def read(accuracy: float) -> float:
        if accuracy < heights[0]:
            return 0.0
        if accuracy > heights[-1]:
            return inf
        return float(np.exp(np.interp(accuracy, heights, places)))  # NaN where it is NaN

    reached = mean_accuracy(rows, arm, size, classifier, dose, subsets)
    found = gain([row for row in rows if row.subset in subsets], arm, size, classifier, dose)
    return Worth(read(reached), *(read(reached - found.mean + end) for end in (found.low, found.high)))


def mcnemar(wrong_first: Sequence[int], wrong_second: Sequence[int]) -> McNemar:
    """McNemar's exact test of one pair, from the places of the test images that each got wrong, int [M], none twice.

    It knows these two classifiers and these test images only; whether another training would agree, `gain` says. Raises
    ValueError for a place that is there twice, as in a mask of booleans.
    """
    first, second = set(map(int, wrong_first)), set(map(int, wrong_second))
    if (len(first), len(second)) != (len(wrong_first), len(wrong_second)):
        raise ValueError("mcnemar() takes the places of wrong answers, each once; of a mask, mask.nonzero()[0]")
    only_first, only_second = len(first - second), len(second - first)
    count, least = only_first + only_second, min(only_first, only_second)
    tail = sum(comb(count, k) for k in range(least + 1))
    return McNemar(only_first, only_second, min(1.0, 2 * tail / 2**count))


def _select(rows: Sequence[Row], arm: str, size: int, classifier: str) -> list[Row]:
    found = [row for row in rows if (row.arm, row.size, row.classifier) == (arm, size, classifier)]
    if not found:
        raise ValueError(f"no row of arm {arm!r}, size {size}, classifier {classifier!r}")
    return found


def _by_subset(rows: Sequence[Row]) -> dict[int, list[Row]]:
    """The rows of one arm, size and classifier, of each subset that has all doses and seeds of the others."""
    found: dict[int, list[Row]] = {}
    for row in rows:
        found.setdefault(row.subset, []).append(row)
    trained = {subset: {(row.dose, row.seed) for row in picked} for subset, picked in found.items()}
    if any(len(trained[subset]) < len(picked) for subset, picked in found.items()):
        raise ValueError("these rows have several generators: keep those of one")
    most = max(map(len, trained.values()))
    return {subset: picked for subset, picked in found.items() if len(trained[subset]) == most}


def _differences(
    rows: Sequence[Row],
    arm: str,
    size: int,
    classifier: str,
    dose: float | None,
    base: str,
    *,
    per_class: bool = False,
) -> list[np.ndarray]:
    """Arm less base in each subset that both have, a number or one for each class."""
    ours, theirs = (
        _accuracies(rows, name, size, classifier, which, per_class=per_class)
        for name, which in ((arm, dose), (base, None))
    )
    return [ours[subset] - theirs[subset] for subset in sorted(ours.keys() & theirs.keys())]


def _accuracies(
    rows: Sequence[Row], arm: str, size: int, classifier: str, dose: float | None, *, per_class: bool = False
) -> dict[int, np.ndarray]:
    """The mean over seeds for each subset, a number or one for each class; at a dose, or at the chosen ones."""
    picked = _select(rows, arm, size, classifier)
    doses = chosen_doses(picked, arm, size, classifier)
    means = {}
    for subset, some in _by_subset(picked).items():
        wanted = doses[subset] if dose is None else dose
        values = [row.per_class if per_class else row.accuracy for row in some if row.dose == wanted]
        if not values:
            raise ValueError(f"no row of arm {arm!r}, size {size}, classifier {classifier!r} at dose {wanted:g}")
        means[subset] = np.mean(values, axis=0)
    return means
