"""Every number about a generator, each with the value that real images give.

Real and generated images are compared as the data set's judge sees them (`gantools.judge`), after both passed through
uint8. The reference is the held-out test set; beside a number stands what 10,000 real *training* images score (label
agreement: the test images themselves, which the judge has not learned from).

What sees which damage, of 500 digits (tests/test_scores.py measures it). ↑ ↓: over three strengths the number rises or
falls and never turns back; (↑) (↓): the lightest strength leaves it where it was; ·: all three do.

                     FD   KID  IS   density  coverage  modes  entropy  variance  agreement  worst  CAS  memorisation
    blur             ↑    ↑    ·    (↓)      ↓         ·      ·        ·         ·          ·      ·    ·
    noise            ↑    ↑    ↓    ↓        ↓         ↓      (↓)      ·         ↓          ↓      ·    ·
    dropped classes  ↑    ↑    ↓    ·        ↓         ↓      ↓        ·         ·          ·      ↓    ·
    few pictures     (↑)  (↑)  ·    ·        ↓         ·      ·        (↓)       ·          ·      ↓    ↓
    memorised        ·    ·    ·    ·        ·         ·      ·        ·         ·          ·      ·    ↓

Few pictures: 10, 3 and 1 of each class, copies of training images. Dropped classes are not asked for either.
"""

from collections.abc import Callable

import torch

from gantools import data, inception, judge
from gantools.data import DataError, ImageSet
from gantools.judge import JudgeError, class_variances
from gantools.report import Report
from gantools.run import Run
from gantools.scores import (
    COUNT,
    LEAST,
    check_count,
    classification_accuracy,
    confusion,
    coverage_per_class,
    density_coverage,
    entropy,
    frechet_distance,
    inception_score,
    kernel_distance,
    label_agreement,
    label_agreement_per_class,
    memorisation,
    modes,
    numbers_of,
    ring_modes,
    see,
    within_class_variance,
    within_class_variance_per_class,
)

__all__ = [
    "COUNT",
    "PER_CLASS",
    "class_variances",
    "classification_accuracy",
    "confusion",
    "coverage_per_class",
    "density_coverage",
    "during",
    "entropy",
    "evaluate",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "label_agreement",
    "label_agreement_per_class",
    "memorisation",
    "modes",
    "numbers_of",
    "ring_modes",
    "see",
    "within_class_variance",
    "within_class_variance_per_class",
]

PER_CLASS = 200  # images of each class for the numbers of one class


def evaluate(
    run: Run,
    dataset: str | None = None,
    *,
    count: int = COUNT,
    cas: bool = False,
    extractor: str = "judge",
    seed: int = 0,
) -> Report:
    """Generate `count` images and take every number; labels follow the reference set's label counts.

    `dataset` is the one that the run was trained on unless given. `cas=True` also trains a classifier on the images of
    a conditional run, some minutes. `extractor="inception"` gives FD and IS of Inception-v3 instead, as others
    publish them; it needs torch-fidelity and its weights, and for a conditional run the judge's label counts. Raises
    `JudgeError` where no judge can see this run's images, `MetricError` where Inception cannot be had.

    For the ring of lesson 00, which needs no judge, it counts the Gaussians found.
    """
    if not isinstance(run, Run):
        raise ValueError(f"evaluate() takes a run, not {run!r:.60}: see train.load(name)")
    dataset = run.data["name"] if dataset is None else dataset
    name = run.folder.resolve().name if run.folder else run.recipe.name
    if extractor not in ("judge", "inception"):
        raise ValueError(f"extractor={extractor!r}: choose judge or inception")
    if cas and extractor == "inception":
        raise ValueError("cas=True goes with the judge's numbers, not with extractor='inception'")
    if cas and not run.recipe.classes:
        raise JudgeError(f"{name} knows no labels, so no classifier can learn from its images (cas)")
    check_count(count)
    if dataset == run.data["name"] == data.RING:
        if extractor == "inception":
            raise ValueError(f"{name} draws points: Inception has no use for them, and no judge is needed")
        return _ring_report(run, name, count, seed)
    if extractor == "inception" and not run.recipe.classes:
        return inception.report(name, dataset, run.sample(count, seed=seed))
    by = judge.load(dataset)
    if run.recipe.classes not in (0, len(by.classes)):
        raise JudgeError(f"{name} draws {run.recipe.classes} classes, but {dataset} has {len(by.classes)}")
    labels = by.labels(count) if run.recipe.classes else None
    images = run.sample(count, labels=labels, seed=seed)
    if extractor == "inception":
        return inception.report(name, dataset, images)
    seen = see(images, dataset)
    numbers = numbers_of(seen)
    if labels is not None:
        each = torch.arange(len(by.classes)).repeat_interleave(PER_CLASS)
        per_class = label_agreement_per_class(run.sample(labels=each, seed=seed + 1), each, dataset)
        numbers |= {"label_agreement": label_agreement(seen, labels, dataset), "worst_class": float(per_class.min())}
        if cas:
            numbers["classification_accuracy"] = classification_accuracy(images, labels, dataset)
    train, note = _training_images(run, dataset)
    if train is not None:
        numbers["memorisation"] = memorisation(images, dataset, train)
    if cas and (there := len(data.load(dataset, split="test"))) < int(by.counts.sum()):
        note = "; ".join(filter(None, (note, f"CAS on the {there:,} bundled test images")))
    real = Report(name="real training images", dataset=dataset, count=COUNT, **by.real)
    return Report(name=name, dataset=dataset, count=count, note=note, real=real, **numbers)


def during(count: int = 2_000) -> Callable[[Run], None]:
    """For `fit(…, on_epoch=metrics.during())`: FD and IS of `count` images join each epoch's row of the history.

    From there they reach TensorBoard. With fewer images than a report takes FD comes out larger: compare such numbers
    with each other, not with a report's. Raises ValueError for fewer than 100, and in the training
    `JudgeError` where the data set has no judge.
    """
    if count < LEAST:
        raise ValueError(f"during({count}): take at least {LEAST} images an epoch")

    def measure(run: Run) -> None:
        dataset = run.data["name"]
        labels = judge.load(dataset).labels(count) if run.recipe.classes else None
        seen = see(run.sample(count, labels=labels), dataset)
        found = {
            "frechet_distance": frechet_distance(seen, dataset),
            "inception_score": inception_score(seen, dataset),
        }
        if run.open_row:  # the run ends within an epoch
            run.measured = found
        else:
            run.rows[-1] |= found

    return measure


def _training_images(run: Run, dataset: str) -> tuple[ImageSet | None, str]:
    """What the run was trained on, as far as this machine has it, and a note about what is missing."""
    if dataset != run.data["name"]:
        return None, f"no memorisation: it was trained on {run.data['name']}"
    try:
        train = data.load(dataset)[: run.data["count"]]
        data.load(dataset, split="test")  # the ruler
    except DataError as error:
        return None, f"no memorisation: {error}"
    if len(train) < run.data["count"]:
        part = f"{len(train):,} of its {run.data['count']:,} training images"
        return train, f"memorisation against {part}; copies of the others would not be seen"
    if run.data["digest"] != train.digest():
        return None, f"no memorisation: it was not trained on the first {len(train):,} images of {dataset}"
    return train, ""


def _ring_report(run: Run, name: str, count: int, seed: int) -> Report:
    """The eight Gaussians need no judge: they can be counted."""
    (found, share), (all_of_them, real_share) = map(
        ring_modes, (run.sample(count, seed=seed), data.load(data.RING, split="test").images)
    )
    real = Report(name="real points", dataset=data.RING, count=data.RING_POINTS, modes=all_of_them)
    note = f"{share:.1%} of the points lie in one of the eight Gaussians, of real points {real_share:.1%}"
    return Report(name=name, dataset=data.RING, count=count, modes=found, note=note, real=real)
