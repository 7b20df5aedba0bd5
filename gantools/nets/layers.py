"""Layers that several families share."""

import torch
from numpy import int16
from numpy.random import SFC64
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

KERAS_BATCH_NORM = {"eps": 1e-3, "momentum": 0.01}  # torch's momentum is the new batch's weight: 1 - Keras's 0.99


class Dropout(nn.Dropout):
    """`nn.Dropout` with a mask from random bits, 16 an element, which a CPU draws many times as fast as Bernoulli's.

    Dropout was the dearest layer of a small network there. Where 1 / (1 - p) is rounded, as in bf16, so is p: the mean
    stays.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p in (0, 1) or x.device.type != "cpu":
            return super().forward(x)
        scale = torch.tensor(1 / (1 - self.p), dtype=x.dtype)
        dropped = round((1 - 1 / scale.item()) * 2**16) - 2**15  # of the 2**16 numbers, those below
        # NumPy's SFC64, seeded from torch's random state, draws them twice as fast as torch does.
        words = SFC64(int(torch.randint(2**63 - 1, ()))).random_raw(-(-x.numel() // 4))  # of 64 bits
        bits = torch.from_numpy(words.view(int16)[: x.numel()])
        kept = torch.empty_like(x)
        torch.ge(bits, dropped, out=kept.as_strided(bits.shape, (1,))).mul_(scale)  # in memory order
        return x * kept


class ClassEmbedding(nn.Embedding):
    """A learned vector for each class: labels int64 [N] → [N, size].

    Labels may also be float [N, classes], the shares of a mixture of classes; its vector is the mixture of theirs.
    """

    def forward(self, y: Tensor) -> Tensor:
        return y.to(self.weight.dtype) @ self.weight if y.is_floating_point() else super().forward(y)


def keras_start(network: nn.Module) -> None:
    """Keras's start: Xavier (Glorot) uniform weights, no bias, embeddings between -0.05 and 0.05."""
    for layer in network.modules():
        if isinstance(layer, nn.Embedding):
            nn.init.uniform_(layer.weight, -0.05, 0.05)
        elif isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def normalise(network: nn.Module) -> None:
    """Spectral norm on every dense and convolutional layer, once its weights are set: it starts from their vectors."""
    for layer in list(network.modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            spectral_norm(layer)


def quarter(family: str, image_shape: tuple[int, int, int]) -> int:
    """A quarter of the side of square images [C, H, W]; ValueError, in the family's name, where there is none."""
    _, height, width = image_shape
    if height != width or height % 4:
        raise ValueError(f"{family} makes square images whose side 4 divides, not {height}×{width}")
    return height // 4
