"""What five speed-ups of a training step on a CPU are worth, each alone and all together.

    python benchmarks/step.py [--threads 1] [--rounds 3] [--steps 3] [--precision auto] [RECIPE …]

One: memory that a step frees is kept for the next (`runtime.keep_freed_memory`). Two: a convolution to few maps is
computed as one matrix product and a sum (`convolutions.ConvToFew`). Three: wide ones of stride 2 are computed by
fewer products, or by one (its other layers, but for the next). Four: the bias of a transposed one is added apart
(`convolutions.ConvTranspose`). Five: dropout draws bits (`layers.Dropout`). The ways take turns in one process, so that
a busy machine slows all of them; the ratio is the result, not the seconds.
"""

import argparse
import ctypes
import statistics
from contextlib import ExitStack
from unittest.mock import patch

import torch
from torch import nn

from gantools import data, recipes, runtime, train
from gantools.nets import convolutions
from gantools.nets.convolutions import ConvToFew, ConvTranspose
from gantools.nets.layers import Dropout
from gantools.recipe import PRECISIONS

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
MEMORY, FEW, WIDE, BIAS, DROPOUT = ALL = ("kept memory", "few maps", "wide maps", "bias apart", "dropout")
WAYS = {"none": (), **{one: (one,) for one in ALL}, "all": ALL}


def give_memory_back() -> None:
    """glibc as it starts: blocks of 128 kB and more come from the system and go back to it."""
    mallopt = ctypes.CDLL("libc.so.6").mallopt
    mallopt(runtime.M_MMAP_MAX, 65_536)
    mallopt(M_MMAP_THRESHOLD, 128 * 1024)
    mallopt(runtime.M_TRIM_THRESHOLD, 128 * 1024)


def seconds(name: str, precision: str, steps: int, way: tuple[str, ...]) -> float:
    """Seconds of one step, with these speed-ups; what a run sets up before its first is not counted."""
    recipe = recipes.get(name, precision=precision, steps=steps)
    images = data.load(recipe.dataset, limit=1_000)
    with ExitStack() as without:
        if MEMORY not in way:
            without.enter_context(patch.object(train, "keep_freed_memory", give_memory_back))
        if FEW not in way:
            without.enter_context(patch.object(ConvToFew, "forward", nn.Conv2d.forward))
        if WIDE not in way:
            without.enter_context(patch.object(convolutions, "_wide", return_value=False))
        if BIAS not in way:
            without.enter_context(patch.object(ConvTranspose, "forward", nn.ConvTranspose2d.forward))
        if DROPOUT not in way:
            without.enter_context(patch.object(Dropout, "forward", nn.Dropout.forward))
        return train.fit(recipe, images).seconds / steps


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a training step with and without five speed-ups.")
    parser.add_argument("recipes", nargs="*", default=["acgan", "cgan-sn", "rgan", "dcgan-cifar10", "cdcgan"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.recipes:
        rounds = [
            {label: seconds(name, options.precision, options.steps, way) for label, way in WAYS.items()}
            for _ in range(options.rounds + 1)
        ][1:]  # the first round warms up
        for label in WAYS:
            times = [took[label] for took in rounds]
            ratio = statistics.median(took["none"] / took[label] for took in rounds)
            print(f"{name:14} {label:12} {statistics.median(times):6.3f} s a step   {ratio:4.2f} x", flush=True)


if __name__ == "__main__":
    main()
