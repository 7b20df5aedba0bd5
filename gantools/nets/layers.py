"""Layers that several families share."""

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """`nn.Dropout`, with a mask that costs a CPU half the time: whole random bits instead of Bernoulli draws.

    Dropout was the dearest layer of a small network there. The probability is exact to 1 / 32768.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0 or x.device.type != "cpu":
            return super().forward(x)
        bits = torch.empty_like(x, dtype=torch.int16).random_()  # 0 … 32767, each as likely
        keep = bits >= round(self.p * 2**15)
        return x * (keep / (1 - self.p)).to(x.dtype)
