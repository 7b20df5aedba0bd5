"""The arms of the augmentation study: what each of them learns from, given the same few real images."""

from dataclasses import replace

import torch
from torch import Tensor

from gantools.augment import warped as warped  # what the classical arms do to their batches
from gantools.data import ImageSet, quantised

GENERATED = ("gan", "classical+gan", "gan only", "gan60k")  # arms that a generator takes part in
DOSED = (*GENERATED, "noisy", "repeated")  # arms that add images: a dose for each real one
WARPED = ("classical", "classical+gan")  # arms whose every batch is moved and bent
SANITY = ("through", "published mistake")  # what they show needs no second subset
ARMS = ("real", "classical", *DOSED, *SANITY)

NOISE = 0.2  # standard deviation of the noise of a noisy copy, in units of [-1, 1]


def training_set(arm: str, real: ImageSet, count: int = 0, generated: Tensor | None = None) -> ImageSet:
    """What a classifier learns from in this arm.

    `count` images join the real ones, or replace them in "gan only"; each has the label of the real image that
    `copied` names, so all arms of one dose hold the same labels. `generated`, float [≥ count, C, H, W] in [-1, 1], were
    drawn to these labels, and pass through uint8 here. "classical" is "real" here: its batches are moved as they come.

    The sanity arms: "through" sends the real images down a generator's output path, from a tanh to uint8 and back,
    and must give what "real" gives. "published mistake" divides images in [-1, 1] by 255, as the published comparison
    did with its generated ones, and shows the classifier the result where it expects pixels in [0, 1]: here as
    2 · x / 255 - 1, all but black.

    Raises ValueError for an arm that does not exist, a count that it cannot add, and too few generated images.
    """
    if arm not in ARMS:
        raise ValueError(f"there is no arm {arm!r}: known are {', '.join(ARMS)}")
    if count < 0:
        raise ValueError(f"count={count} must not be negative")
    if count and arm not in DOSED:
        raise ValueError(f"arm {arm!r} adds no images, but count={count}")
    there = 0 if generated is None else len(generated)
    if arm in GENERATED and (there < count or not there):
        raise ValueError(f"arm {arm!r} needs {count or 'some'} generated images, not {there}")
    if arm == "through":
        return replace(real, images=quantised(real.images.atanh().tanh()))
    if arm == "published mistake":
        return replace(real, images=2 * real.images / 255 - 1)
    if arm not in DOSED:
        return real
    index = copied(len(real), count)
    if arm == "repeated":
        added = real.images[index]
    elif arm == "noisy":
        noise = torch.randn(real.images[index].shape, generator=torch.Generator().manual_seed(0))
        added = quantised(real.images[index] + NOISE * noise)
    else:
        added = quantised(generated[:count])
    if arm == "gan only":
        return replace(real, images=added, labels=real.labels[index])
    return replace(real, images=torch.cat([real.images, added]), labels=torch.cat([real.labels, real.labels[index]]))


def copied(size: int, count: int) -> Tensor:
    """Which of `size` real images each of `count` added ones is a copy of, or takes its label from, int64 [count].

    Each comes equally often, one more or less; the first of many are those of a smaller count. Raises ValueError
    without real images.
    """
    if size < 1:
        raise ValueError(f"size={size}: there is no real image to copy")
    order = torch.randperm(size, generator=torch.Generator().manual_seed(0))
    return order[torch.arange(count) % size]
