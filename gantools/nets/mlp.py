"""The MLP GAN of lesson 01: two stacks of fully connected layers."""

from itertools import pairwise
from math import prod

from torch import Tensor, nn

from gantools.nets.layers import Dropout


def hidden_layers(sizes: tuple[int, ...], dropout: float) -> list[nn.Module]:
    """Linear, LeakyReLU 0.2 and dropout from each size to the next."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.LeakyReLU(0.2), Dropout(dropout)]
    return layers


class MLPGenerator(nn.Module):
    """z [N, z_dim] → images [N, C, H, W] in [-1, 1]. 114,800 parameters at 100 → 28×28 (lesson 01)."""

    def __init__(self, z_dim: int = 100, image_shape: tuple[int, int, int] = (1, 28, 28)) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.layers = nn.Sequential(
            *hidden_layers((z_dim, 32, 64, 128), dropout=0.3),
            nn.Linear(128, prod(image_shape)),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.layers(z).view(-1, *self.image_shape)


class MLPDiscriminator(nn.Module):
    """Images [N, C, H, W] in [-1, 1] → logits [N]. 110,849 parameters at 28×28 (lesson 01)."""

    def __init__(self, image_shape: tuple[int, int, int] = (1, 28, 28)) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            *hidden_layers((prod(image_shape), 128, 64, 32), dropout=0.3),
            nn.Linear(32, 1),
        )

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.layers(x).squeeze(1)
