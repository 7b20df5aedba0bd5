"""What two speed-ups of a training step on a CPU are worth, alone and together.

    python benchmarks/step.py [--threads 1] [--rounds 3] [--steps 3] [RECIPE …]

One: memory that a step frees is kept for the next (`runtime.keep_freed_memory`). Two: a convolution to few maps is
computed as the transposed one that it equals (`nets.layers.ConvToFew`). The four ways take turns in one process, so
that a busy machine slows all of them; the ratio is the result, not the seconds.
"""

import argparse
import ctypes
import statistics
from itertools import product
from time import perf_counter
from unittest.mock import patch

import torch
from torch import nn

from gantools import data, recipes, runtime, train
from gantools.nets.layers import ConvToFew

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
NAMES = {(False, False): "neither", (True, False): "kept memory", (False, True): "ConvToFew", (True, True): "both"}


def give_memory_back() -> None:
    """glibc as it starts: blocks of 128 kB and more come from the system and go back to it."""
    mallopt = ctypes.CDLL("libc.so.6").mallopt
    mallopt(runtime.M_MMAP_MAX, 65_536)
    mallopt(M_MMAP_THRESHOLD, 128 * 1024)
    mallopt(runtime.M_TRIM_THRESHOLD, 128 * 1024)


def seconds(name: str, steps: int, kept: bool, few: bool) -> float:
    """Seconds of one step, one way."""
    recipe, digits = recipes.get(name, steps=steps), data.load("mnist", limit=10_000)
    memory = runtime.keep_freed_memory if kept else give_memory_back
    layer = ConvToFew.forward if few else nn.Conv2d.forward
    with patch.object(train, "keep_freed_memory", memory), patch.object(ConvToFew, "forward", layer):
        started = perf_counter()
        train.fit(recipe, digits)
        return (perf_counter() - started) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a training step with and without two speed-ups.")
    parser.add_argument("recipes", nargs="*", default=["acgan", "cgan-sn", "rgan", "dcgan-mnist"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.recipes:
        ways = list(product((False, True), repeat=2))
        rounds = [{way: seconds(name, options.steps, *way) for way in ways} for _ in range(options.rounds + 1)]
        times = {way: [took[way] for took in rounds[1:]] for way in ways}  # the first round warms up
        for way in ways:
            ratios = [without / took for without, took in zip(times[False, False], times[way], strict=True)]
            median = statistics.median(times[way])
            print(f"{name:12} {NAMES[way]:12} {median:6.3f} s a step   {statistics.median(ratios):4.2f} x")


if __name__ == "__main__":
    main()
