"""What spectral norm, label smoothing and learning-rate decay buy: a narrow `cgan-sn` with each of them switched off.

    python benchmarks/ablation.py [VARIANT …]

A quarter of the published width, batches of 64, 1,000 steps on MNIST train[:10000], one thread. So short a run is
seven epochs long: here the rates decay after each epoch instead of each ten. Writes
assets/results/cgan-sn-ablation.csv: variant, seconds, step, d_loss, g_loss, and numbers against the test images. Rows
that are there are not measured again.
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import results
import torch
from torch import nn
from torch.nn.utils import parametrize

from gantools import data, metrics, nets, recipes, train
from gantools.recipe import Recipe

RESULTS = results.FOLDER / "cgan-sn-ablation.csv"
NUMBERS = ("frechet_distance", "coverage", "within_class_variance", "label_agreement")
FIELDS = ("variant", "seconds", "step", "d_loss", "g_loss", *NUMBERS)
WIDTH, BATCH, STEPS = 32, 64, 1_000  # a quarter of the published width


def without_norm(network: partial[nn.Module]) -> Callable[..., nn.Module]:
    """The same network, its spectral norms taken off."""

    def build(**options: Any) -> nn.Module:
        built = network(**options)
        for layer in built.modules():
            if parametrize.is_parametrized(layer):
                parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
        return built

    build.__qualname__ = f"{network.func.__qualname__} without spectral norm"
    return build


GENERATOR, DISCRIMINATOR = partial(nets.CGANSNGenerator, width=WIDTH), partial(nets.CGANSNDiscriminator, width=WIDTH)
ALL_ON = recipes.get(
    "cgan-sn", generator=GENERATOR, discriminator=DISCRIMINATOR, batch=BATCH, steps=STEPS, decay_every=1
)
VARIANTS: dict[str, Recipe] = {
    "all three": ALL_ON,
    "without spectral norm": ALL_ON.change(
        generator=without_norm(GENERATOR), discriminator=without_norm(DISCRIMINATOR)
    ),
    "without smoothing": ALL_ON.change(real_target=1.0, fake_target=0.0),
    "without decay": ALL_ON.change(lr_decay=1.0),
    "all three, another seed": ALL_ON.change(seed=1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Switch parts of cgan-sn off and on.")
    parser.add_argument("names", nargs="*", help=f"default: all of {', '.join(VARIANTS)}")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(VARIANTS):
        parser.error(f"there is no variant {unknown.pop()!r}; choose from {', '.join(VARIANTS)}")
    torch.set_num_threads(1)
    digits = data.load("mnist", limit=10_000)
    for name in arguments.names or VARIANTS:
        if name not in [row["variant"] for row in results.read(RESULTS)]:
            run = train.fit(VARIANTS[name], digits)
            report, last = metrics.evaluate(run, "mnist"), run.history[-1]
            row = {"variant": name, "seconds": round(run.seconds), "step": run.step}
            row |= {key: round(last[key], 4) for key in ("d_loss", "g_loss")}
            row |= {key: round(report.numbers()[key], 4) for key in NUMBERS}
            results.append(RESULTS, FIELDS, [row])
            print(row, flush=True)


if __name__ == "__main__":
    main()
