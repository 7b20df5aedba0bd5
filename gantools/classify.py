"""Train a classifier on images and labels, real or generated, and score it."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gantools.data import ImageSet
from gantools.nets import ConvClassifier
from gantools.runtime import autocast_for

EPOCHS, BATCH, RATE = 12, 64, 2e-3


def train_classifier(images: Tensor, labels: Tensor, classes: int, seed: int = 0) -> ConvClassifier:
    """A small CNN trained for twelve epochs on images [N, C, H, W] in [-1, 1] and labels [N], in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ConvClassifier(images.shape[1:], classes).to(images.device, memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)
        per_epoch = max(1, len(images) // BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * per_epoch)
        for _ in range(EPOCHS):
            for index in torch.randperm(len(images)).split(BATCH)[:per_epoch]:
                with autocast_for("auto", images.device):
                    logits = network(images[index].contiguous(memory_format=torch.channels_last))
                loss = cross_entropy(logits.float(), labels[index])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    return network.eval()


@torch.no_grad()
def accuracy(network: nn.Module, images: ImageSet) -> float:
    """The share of images whose class a classifier in eval mode names."""
    batches = zip(images.images.split(500), images.labels.split(500), strict=True)
    return sum(int((network(x).argmax(1) == y).sum()) for x, y in batches) / len(images)
