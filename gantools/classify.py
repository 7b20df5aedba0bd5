"""Train a classifier on images and labels, real or generated, and score it."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gantools.data import ImageSet
from gantools.nets import ConvClassifier
from gantools.runtime import autocast_for

EPOCHS, BATCH, RATE = 12, 64, 2e-3


def train_classifier(
    images: Tensor, labels: Tensor, classes: int, seed: int = 0, *, steps: int | None = None
) -> ConvClassifier:
    """A small CNN trained on images [N, C, H, W] in [-1, 1] and labels [N], in eval mode.

    For twelve epochs, or for `steps` updates: sets of different size are compared after equally many.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ConvClassifier(images.shape[1:], classes).to(images.device, memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)
        per_epoch = max(1, len(images) // BATCH)
        steps = steps or EPOCHS * per_epoch
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
        for step in range(steps):
            if step % per_epoch == 0:
                batches = torch.randperm(len(images)).split(BATCH)
            index = batches[step % per_epoch]
            with autocast_for("auto", images.device):
                logits = network(images[index].contiguous(memory_format=torch.channels_last))
            loss = cross_entropy(logits.float(), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


@torch.no_grad()
def named(network: nn.Module, images: Tensor) -> Tensor:
    """The class that a classifier in eval mode names for each of images [N, C, H, W], int64 [N]."""
    return torch.cat([network(x).argmax(1) for x in images.split(500)])


@torch.no_grad()
def features(network: ConvClassifier, images: Tensor) -> Tensor:
    """What a classifier in eval mode compares images [N, C, H, W] by, float32 [N, 64]."""
    return torch.cat([network.features(x) for x in images.split(500)])


def accuracy(network: nn.Module, images: ImageSet) -> float:
    """The share of images whose class a classifier in eval mode names."""
    return int((named(network, images.images) == images.labels).sum()) / len(images)
