"""The runs by which `rgan` was chosen, and what each of its parts buys.

    python benchmarks/search.py [NAME …] [--list]

Each variant trains on MNIST train[:10000] on one thread, for as many seconds of processor time as its table below says,
and is measured on the way against train[50000:60000]; the test images are never looked at. Writes
assets/results/search.csv: variant, seconds, step, frechet_distance, coverage, within_class_variance, label_agreement,
classification_accuracy (at the end of a ladder run). Variants that have rows are not trained again. Needs all of MNIST.
"""

import argparse
import contextlib
import csv
from dataclasses import replace
from functools import lru_cache
from time import process_time

import torch

from gantools import ASSETS, classify, data, judge, losses, metrics, recipes, train
from gantools.data import ImageSet, from_uint8, to_uint8
from gantools.judge import Judge, Seen
from gantools.recipes import Recipe
from gantools.run import Run

RESULTS = ASSETS / "results" / "search.csv"
FIELDS = (
    *("variant", "seconds", "step", "frechet_distance", "coverage"),
    *("within_class_variance", "label_agreement", "classification_accuracy"),
)
LEARNED, HELD_OUT = slice(0, 10_000), slice(50_000, 60_000)
COUNT = 5_000  # images measured on the way; 10,000 for the classifier at the end
MARKS = (60, 120, 180, 240, 300, 420, 600, 900, 1200, 1800, 2400, 3000)  # seconds after which a run is measured
SCREEN, LADDER = 200, 300  # seconds of a variant, of a step of the ladder

RGAN = recipes.get("rgan", steps=1_000_000)
PLAIN = RGAN.change(loss=losses.non_saturating, r1=0.0, ema=None, shift=0)

VARIANTS: dict[str, tuple[int, Recipe]] = {}


class Enough(Exception):
    """The time of a variant is over."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Train and measure variants of rgan.")
    parser.add_argument("names", nargs="*", help="default: all of them; --list names them")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(f"{name:24}{seconds:5} s" for name, (seconds, _) in VARIANTS.items()))
        return
    for name in arguments.names or VARIANTS:
        if name not in VARIANTS:
            parser.error(f"there is no variant {name!r}; --list names them")
        if name not in [row["variant"] for row in known()]:
            measure(name, *VARIANTS[name])


def measure(name: str, seconds: int, recipe: Recipe) -> None:
    """Train one variant for so long, and write its rows."""
    torch.set_num_threads(1)
    started, marks = process_time(), [mark for mark in MARKS if mark < seconds] + [seconds]
    measuring = 0.0  # seconds that are not training
    rows: list[dict[str, float | str]] = []
    last: Run | None = None

    def look(run: Run) -> None:
        nonlocal measuring, last
        last, now = run, process_time()
        trained = now - started - measuring
        if trained < marks[0]:
            return
        marks.pop(0)
        rows.append({"variant": name, "seconds": round(trained), "step": run.step} | numbers(run))
        print(rows[-1], flush=True)
        measuring += process_time() - now
        if not marks:
            raise Enough

    with contextlib.suppress(Enough):
        train.fit(recipe, whole()[LEARNED], on_epoch=look)
    if seconds >= LADDER and last:
        rows[-1]["classification_accuracy"] = round(taught(last.eval()), 4)
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)


def numbers(run: Run) -> dict[str, float]:
    """What is measured on the way, rounded."""
    labels = torch.arange(COUNT) % 10
    seen = held_out_judge().see(run.sample(labels=labels))
    found = metrics.numbers_of(seen) | {"label_agreement": metrics.label_agreement(seen, labels, "mnist")}
    return {key: round(value, 4) for key, value in found.items() if key in FIELDS}


def taught(run: Run) -> float:
    """Accuracy on the held-out images of a classifier that learned from 10,000 generated ones."""
    labels = torch.arange(10_000) % 10
    images = from_uint8(to_uint8(run.sample(labels=labels, seed=1)))
    return classify.accuracy(classify.train_classifier(images, labels, 10), whole()[HELD_OUT])


@lru_cache
def whole() -> ImageSet:
    """All of MNIST's training images."""
    digits = data.load("mnist")
    if len(digits) < 60_000:
        raise SystemExit("the search needs all of MNIST: python -m gantools data mnist")
    return digits


@lru_cache
def held_out_judge() -> Judge:
    """The judge with train[50000:60000] in the place of the test images."""
    by, held_out = judge.load("mnist"), whole()[HELD_OUT]
    seen = by.see(held_out.images)
    features = seen.features.double()
    return replace(
        by,
        mean=features.mean(0),
        covariance=features.T.cov(),
        features=seen.features[: len(by.features)],
        counts=held_out.labels.bincount(minlength=10),
        variances=metrics.total_variances(Seen(by, seen.features, seen.logits)),
    )


def known() -> list[dict[str, str]]:
    """The rows that are there."""
    return list(csv.DictReader(RESULTS.open())) if RESULTS.exists() else []


if __name__ == "__main__":
    main()
