"""The runs by which `rgan` was chosen, and what each of its parts buys.

    python benchmarks/search.py [NAME …] [--list]

Each variant trains on MNIST train[:10000] on one thread, for as many seconds of processor time as the table below says,
and is measured on the way against train[50000:60000]; the test images are never looked at. Writes
assets/results/search.csv: variant, seconds, step, frechet_distance, coverage (not taken in the search), variance within
a class, label agreement. Variants that have rows are not trained again. Needs all of MNIST.
"""

import argparse
import contextlib
from functools import lru_cache, partial
from time import process_time

import results
import torch
from torch import Tensor

from gantools import data, judge, losses, metrics, nets, recipes, train
from gantools.data import ImageSet
from gantools.judge import Judge
from gantools.recipe import Recipe
from gantools.run import Run

RESULTS = results.FOLDER / "search.csv"
FIELDS = ("variant", "seconds", "step", "frechet_distance", "coverage", "within_class_variance", "label_agreement")
LEARNED, HELD_OUT = slice(0, 10_000), slice(50_000, 60_000)
COUNT = 5_000  # images measured on the way
REAL = "real images"  # a row of what as many of the training images score
MARKS = (60, 120, 180, 240, 360, 480)  # seconds after which a run is measured
SHORT, LONG, RUNG = 200, 480, 240  # seconds of a variant, of a good one, of a rung of the ladder

RGAN = recipes.get("rgan", steps=1_000_000)
FIRST = RGAN.change(  # the search began here
    d_lr=4e-4, g_lr=4e-4, r1=1.0, r2=0.0, penalty_every=4, penalty_half_life=None, ema=0.998, shift=2
)
PLAIN = RGAN.change(loss=losses.non_saturating, r1=0.0, r2=0.0, ema=None, shift=0)

VARIANTS: dict[str, tuple[int, Recipe]] = {
    # The search. Who fell behind was stopped early; the two that fade did so in steps of four epochs, not smoothly.
    "non-saturating, R1 1": (SHORT, FIRST.change(loss=losses.non_saturating)),
    "R1 1": (SHORT, FIRST),
    "R1 0.1": (SHORT, FIRST.change(r1=0.1)),
    "R1 and R2 8": (SHORT, FIRST.change(r1=8.0, r2=8.0)),
    "R1 and R2 2": (SHORT, FIRST.change(r1=2.0, r2=2.0)),
    "R1 and R2 2, rates 1e-3": (SHORT, FIRST.change(r1=2.0, r2=2.0, d_lr=1e-3, g_lr=1e-3)),
    "R1 and R2 0.7": (LONG, FIRST.change(r1=0.7, r2=0.7)),
    "R1 and R2 0.3": (LONG, FIRST.change(r1=0.3, r2=0.3)),
    "R1 and R2 0.6, fading": (SHORT, FIRST.change(r1=0.6, r2=0.6, penalty_half_life=624)),
    "R1 and R2 0.3, fading, rates 6e-4 and 3e-4": (
        LONG,
        FIRST.change(r1=0.3, r2=0.3, penalty_half_life=1_213, d_lr=6e-4, g_lr=3e-4),
    ),
    # Width and batch, searched later, of the whole recipe and on a CPU that multiplies in bf16: to be compared with
    # each other, not with the rows above.
    "rgan in bf16": (RUNG, RGAN),
    "rgan in bf16, D twice as wide": (
        RUNG,
        RGAN.change(discriminator=partial(nets.ProjectionDiscriminator, width=64)),
    ),
    "rgan in bf16, G half again as wide": (RUNG, RGAN.change(generator=partial(nets.ProjectionGenerator, width=96))),
    "rgan in bf16, batches of 128": (RUNG, RGAN.change(batch=128)),
    # The ladder of lesson 03: one line more from row to row, up to the whole recipe.
    "plain": (RUNG, PLAIN),
    "+ r1": (RUNG, PLAIN.change(r1=0.3)),
    "+ loss=relativistic": (RUNG, PLAIN.change(r1=0.3, loss=losses.relativistic)),
    "+ r2": (RUNG, RGAN.change(ema=None, shift=0)),
    "+ ema": (RUNG, RGAN.change(shift=0)),
    "+ shift": (RUNG, RGAN),
}


class Enough(Exception):
    """The time of a variant is over."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Train and measure variants of rgan.")
    parser.add_argument("names", nargs="*", help="default: all of them; --list names them")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(VARIANTS):
        parser.error(f"there is no variant {unknown.pop()!r}; --list names them")
    if arguments.list:
        print("\n".join(f"{name:24}{seconds:5} s" for name, (seconds, _) in VARIANTS.items()))
        return
    if REAL not in [row["variant"] for row in results.read(RESULTS)]:
        real = whole()[LEARNED][:COUNT]
        results.append(RESULTS, FIELDS, [{"variant": REAL} | numbers(real.images, real.labels)])
    for name in arguments.names or VARIANTS:
        if name not in [row["variant"] for row in results.read(RESULTS)]:
            measure(name, *VARIANTS[name])


def measure(name: str, seconds: int, recipe: Recipe) -> None:
    """Train one variant for so long, and write its rows."""
    torch.set_num_threads(1)
    started, marks = process_time(), [mark for mark in MARKS if mark < seconds] + [seconds]
    measuring = 0.0  # seconds that are not training
    rows: list[dict[str, float | str]] = []

    def look(run: Run) -> None:
        nonlocal measuring
        now = process_time()
        trained = now - started - measuring
        if trained < marks[0]:
            return
        marks.pop(0)
        labels = torch.arange(COUNT) % 10
        found = numbers(run.sample(labels=labels), labels)
        rows.append({"variant": name, "seconds": round(trained), "step": run.step} | found)
        print(rows[-1], flush=True)
        measuring += process_time() - now
        if not marks:
            raise Enough

    with contextlib.suppress(Enough):
        train.fit(recipe, whole()[LEARNED], on_epoch=look)
    results.append(RESULTS, FIELDS, rows)


def numbers(images: Tensor, labels: Tensor) -> dict[str, float]:
    """What is measured on the way, rounded."""
    seen = held_out_judge().see(images)
    found = metrics.numbers_of(seen) | {"label_agreement": metrics.label_agreement(seen, labels, "mnist")}
    return {key: round(value, 4) for key, value in found.items() if key in FIELDS}


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
    return by.see(held_out.images).as_reference(held_out.labels, kept=len(by.features))


if __name__ == "__main__":
    main()
