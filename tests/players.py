"""Tiny discriminators, and what tests ask of a network."""

import math

import torch
from torch import nn


class Mean(nn.Module):
    """A discriminator whose logit is a multiple of the mean pixel."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x, y=None):
        return self.factor * x.flatten(1).mean(1)


class Watcher(nn.Module):
    """A discriminator that keeps what it is shown."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.shown = []

    def forward(self, x, y=None):
        self.shown.append(x.detach())
        return self.weight * x.square().mean((1, 2, 3))


class Namer(nn.Module):
    """A discriminator that names the class too; linear in the pixels."""

    def __init__(self, image_shape, classes):
        super().__init__()
        self.real = nn.Linear(math.prod(image_shape), 1)
        self.label = nn.Linear(math.prod(image_shape), classes)

    def forward(self, x, y=None):
        return self.real(x.flatten(1)).squeeze(1), self.label(x.flatten(1))


def weights(network):
    return [parameter.detach().clone() for parameter in network.parameters()]


def moved(before, network):
    """Whether each parameter has changed."""
    return [not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True)]
