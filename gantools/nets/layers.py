"""Layers that several families share."""

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """`nn.Dropout` with a mask from uniform numbers, which a CPU draws nearly three times as fast as Bernoulli's.

    Dropout was the dearest layer of a small network there.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p in (0, 1) or x.device.type != "cpu":
            return super().forward(x)
        mask = torch.empty_like(x, dtype=torch.float32).uniform_().ge_(self.p).mul_(1 / (1 - self.p))
        return x * mask.to(x.dtype)
