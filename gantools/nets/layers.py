"""Layers that several families share."""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

KERAS_BATCH_NORM = {"eps": 1e-3, "momentum": 0.01}  # torch's momentum is the new batch's weight: 1 - Keras's 0.99


class Dropout(nn.Dropout):
    """`nn.Dropout` with a mask from uniform numbers, which a CPU draws nearly three times as fast as Bernoulli's.

    Dropout was the dearest layer of a small network there.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p in (0, 1) or x.device.type != "cpu":
            return super().forward(x)
        mask = torch.empty_like(x, dtype=torch.float32).uniform_().ge_(self.p).mul_(1 / (1 - self.p))
        return x * mask.to(x.dtype)


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
