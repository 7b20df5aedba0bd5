"""Train a classifier on images and labels, real or generated, and score it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gantools.data import ImageSet
from gantools.nets import ConvClassifier
from gantools.runtime import is_whole, seeded

EPOCHS, BATCH, RATE = 12, 64, 2e-3


def train_classifier(
    images: Tensor,
    labels: Tensor,
    classes: int,
    seed: int = 0,
    *,
    network: Callable[..., nn.Module] = ConvClassifier,
    steps: int | None = None,
    rate: float = RATE,
    one_cycle: bool = True,
    augment: Callable[[Tensor], Tensor] | None = None,
) -> nn.Module:
    """A classifier that learned from images [N, C, H, W] in [-1, 1] and labels [N], in eval mode.

    By default a small CNN, for twelve epochs. `network(image_shape, classes)` builds another; `steps` counts batches
    of 64 instead, epoch after epoch. In fp32: an accuracy must not depend on the chip. Adam; its rate rises to `rate`
    and falls to nothing, while its beta1 falls from 0.95 to 0.85 and rises again; without `one_cycle` both stay.
    `augment` changes each batch [B, C, H, W] before it is seen, and may draw from torch's random state. Raises
    ValueError for fewer than two images, for images that are no finite floats, and for labels that are not one class
    for each image.
    """
    if len(images) < 2:
        raise ValueError(f"a classifier needs at least two images, not {len(images)}")
    if not images.is_floating_point() or not images.isfinite().all():
        raise ValueError(f"a classifier learns from finite floats; these are {images.dtype}, or not finite")
    needed = f"{len(images)} images need as many labels in 0 to {classes - 1}"
    if labels.shape != images.shape[:1]:
        raise ValueError(f"{needed}, not {list(labels.shape)}")
    if not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"{needed}, not {int(labels.min())} to {int(labels.max())}")
    if labels.dtype == torch.bool or labels.is_floating_point():
        raise ValueError(f"labels must be whole numbers, not {labels.dtype}")
    if steps is not None and (not is_whole(steps) or steps < 1):
        raise ValueError(f"steps={steps} must be at least 1, and a whole number")
    images, labels = images.float(), labels.long()
    per_epoch = max(1, len(images) // BATCH)
    steps = int(steps or EPOCHS * per_epoch)
    with seeded(seed, images.device):
        learner = network(images.shape[1:], classes).to(images.device, memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(learner.parameters(), lr=rate, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps) if one_cycle else None
        for step in range(steps):
            place = step % per_epoch * BATCH
            if place == 0:
                order = torch.randperm(len(images))
            index = order[place : place + BATCH]
            x = augment(images[index]) if augment else images[index]
            loss = cross_entropy(learner(x.contiguous(memory_format=torch.channels_last)), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if schedule:
                schedule.step()
    return learner.eval()


@torch.no_grad()
def predictions(network: nn.Module, images: Tensor) -> Tensor:
    """The class that a classifier in eval mode names for each image, int64 [N]."""
    return torch.cat([network(x).argmax(1) for x in images.split(500)])


@torch.no_grad()
def features(network: ConvClassifier, images: Tensor) -> Tensor:
    """What a classifier in eval mode compares images [N, C, H, W] by, float32 [N, 64]."""
    return torch.cat([network.features(x) for x in images.split(500)])


def accuracy(network: nn.Module, images: ImageSet) -> float:
    """The share of images, at least one, whose class a classifier in eval mode names."""
    if not len(images):
        raise ValueError("an accuracy needs at least one image, and there is none")
    return int((predictions(network, images.images) == images.labels).sum()) / len(images)


def accuracy_per_class(right: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Of each class the share that was named right, float64 [classes], from right bool [N] and labels int64 [N].

    NaN for a class that `labels` do not hold. Raises ValueError for labels beyond `classes`.
    """
    if len(labels) and int(labels.max()) >= classes:
        raise ValueError(f"labels must lie in 0 to {classes - 1}, and one is {int(labels.max())}")
    return labels[right].bincount(minlength=classes).double() / labels.bincount(minlength=classes)
