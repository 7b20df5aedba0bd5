"""Points instead of images, lesson 00: two networks of three layers each."""

from math import prod

from torch import Tensor, nn

WIDTH = 128


def _layers(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(before, WIDTH), nn.LeakyReLU(0.2), nn.Linear(WIDTH, WIDTH), nn.LeakyReLU(0.2), nn.Linear(WIDTH, after)
    )


class PointGenerator(nn.Module):
    """z [N, z_dim] → points [N, 2] (lesson 00)."""

    def __init__(self, z_dim: int = 2, image_shape: tuple[int, ...] = (2,)) -> None:
        super().__init__()
        self.layers = _layers(z_dim, prod(image_shape))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.layers(z)


class PointDiscriminator(nn.Module):
    """Points [N, 2] → logits [N] (lesson 00)."""

    def __init__(self, image_shape: tuple[int, ...] = (2,)) -> None:
        super().__init__()
        self.layers = _layers(prod(image_shape), 1)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.layers(x).squeeze(1)
