"""What spectral norm, label smoothing, learning-rate decay and D's frozen batch norm buy: `cgan-sn` without each.

    python benchmarks/ablation.py [VARIANT …] [--threads 1] [--work FOLDER]

1,000 steps each as published on MNIST train[:10000], one to two hours each on one thread (half an hour in bf16). So
few are 13 epochs, and published rates fall for the last three only; so decay is not only taken away but also brought
forward, to each epoch instead of each ten. Writes assets/results/cgan-sn-ablation.csv: variant, seconds (of as many
threads as given), step, d_loss, g_loss, and numbers against test images. Rows that are there are not measured again.
Runs are kept in FOLDER and go on where they stopped. The row without decay was trained in bf16, the others in fp32.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import results
import torch
from torch import nn
from torch.nn.utils import parametrize

from gantools import data, metrics, nets, recipes, train
from gantools.catalogue import REDUCED
from gantools.recipe import Recipe

RESULTS = results.FOLDER / "cgan-sn-ablation.csv"
NUMBERS = ("frechet_distance", "coverage", "within_class_variance", "label_agreement")
FIELDS = ("variant", "seconds", "step", "d_loss", "g_loss", *NUMBERS)
STEPS = 1_000


def without_norm(network: type[nn.Module]) -> Callable[..., nn.Module]:
    """The same network, its spectral norms taken off."""

    def build(**options: Any) -> nn.Module:
        built = network(**options)
        for layer in built.modules():
            if parametrize.is_parametrized(layer):
                parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
        return built

    build.__qualname__ = f"{network.__qualname__} without spectral norm"
    return build


PUBLISHED = recipes.get("cgan-sn", steps=STEPS)
VARIANTS: dict[str, Recipe] = {
    "as published": PUBLISHED,
    "without spectral norm": PUBLISHED.change(
        generator=without_norm(nets.CGANSNGenerator), discriminator=without_norm(nets.CGANSNDiscriminator)
    ),
    "without smoothing": PUBLISHED.change(real_target=1.0, fake_target=0.0),
    "without decay": PUBLISHED.change(lr_decay=1.0),
    "decay after each epoch": PUBLISHED.change(decay_every=1),
    "batch norm not frozen": PUBLISHED.change(frozen_norm=False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Switch parts of cgan-sn off and on.")
    parser.add_argument("names", nargs="*", help=f"default: all of {', '.join(VARIANTS)}")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, default=data.cache_dir() / "weights")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(VARIANTS):
        parser.error(f"there is no variant {unknown.pop()!r}; choose from {', '.join(VARIANTS)}")
    torch.set_num_threads(arguments.threads)
    digits = data.load("mnist", limit=REDUCED)
    for name in arguments.names or VARIANTS:
        if name not in [row["variant"] for row in results.read(RESULTS)]:
            folder = arguments.work / "ablation" / name.replace(" ", "-")
            run = train.fit(VARIANTS[name], digits, folder, resume=True)
            report, last = metrics.evaluate(run, "mnist"), run.history[-1]
            row = {"variant": name, "seconds": round(run.seconds), "step": run.step}
            row |= {key: round(last[key], 4) for key in ("d_loss", "g_loss")}
            row |= {key: round(report.numbers()[key], 4) for key in NUMBERS}
            results.append(RESULTS, FIELDS, [row])
            print(row, flush=True)


if __name__ == "__main__":
    main()
