"""Our own conditional GAN, lessons 03 to 05: transposed convolutions, and a discriminator with a projection.

Small enough for a CPU, for images whose side 4 divides. No batch norm in D: the gradient penalty that holds it wants
each image judged by itself.
"""

from math import sqrt

import torch
from torch import Tensor, nn

from gantools.nets.layers import ClassEmbedding

SLOPE = 0.2  # of LeakyReLU below 0


class ProjectionGenerator(nn.Module):
    """z [N, z_dim] and y → images [N, C, H, W] in [-1, 1].

    z and a vector of the label make 2·width maps of a quarter of the side; two transposed convolutions double it twice.
    """

    def __init__(
        self, z_dim: int = 64, image_shape: tuple[int, int, int] = (1, 28, 28), classes: int = 10, width: int = 64
    ) -> None:
        super().__init__()
        channels, self.side = image_shape[0], _quarter(image_shape)
        self.planes = 2 * width
        self.label = ClassEmbedding(classes, z_dim)
        size = self.planes * self.side**2
        self.stem = nn.Sequential(nn.Linear(2 * z_dim, size), nn.BatchNorm1d(size), nn.ReLU())
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.ConvTranspose2d(width, width // 2, 4, stride=2, padding=1),
            nn.BatchNorm2d(width // 2),
            nn.ReLU(),
            nn.Conv2d(width // 2, channels, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        maps = self.stem(torch.cat([z, self.label(y)], 1)).view(-1, self.planes, self.side, self.side)
        return self.layers(maps)


class ProjectionDiscriminator(nn.Module):
    """Images [N, C, H, W] in [-1, 1] and y → logits [N].

    Two convolutions halve the side twice; a dense layer makes one vector h of the image. The logit is a linear
    function of h plus the product of h with a vector of the label (Miyato & Koyama 2018): how real it is, plus how
    well it fits the label.
    """

    def __init__(self, image_shape: tuple[int, int, int] = (1, 28, 28), classes: int = 10, width: int = 64) -> None:
        super().__init__()
        side = _quarter(image_shape)
        self.layers = nn.Sequential(
            nn.Conv2d(image_shape[0], width, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Flatten(),
            nn.Linear(2 * width * side**2, 4 * width),
            nn.LeakyReLU(SLOPE),
        )
        self.real = nn.Linear(4 * width, 1)
        self.label = ClassEmbedding(classes, 4 * width)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.layers(x)
        return self.real(h).squeeze(1) + (h * self.label(y)).sum(1) / sqrt(h.shape[1])


def _quarter(image_shape: tuple[int, int, int]) -> int:
    """A quarter of the side."""
    _, height, width = image_shape
    if height != width or height % 4:
        raise ValueError(f"rgan makes square images whose side 4 divides, not {height}×{width}")
    return height // 4
