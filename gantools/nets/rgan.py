"""Our own conditional GAN, lessons 03 to 05: transposed convolutions, and a discriminator with a projection.

Small enough for a CPU, for square images whose side 4 divides. No batch norm in D: the gradient penalties that hold it
want each image judged by itself. G works at a half of the side at most; its last layer alone draws whole images.
"""

from math import sqrt

import torch
from torch import Tensor, nn

from gantools.augment import pose_grid, sampled
from gantools.nets.layers import ClassEmbedding, quarter

SLOPE = 0.2  # of LeakyReLU below 0
# Standard deviations: turn in radians, shear, stretch across and down (its log), shift in halves of the side.
POSE = (0.04, 0.06, 0.03, 0.04, 0.03, 0.03)


class ProjectionGenerator(nn.Module):
    """z [N, z_dim] and y → images [N, C, H, W] in [-1, 1]; 991,617 parameters at 64 → 28×28 and ten classes.

    z and a vector of the label, as long, make 2·width maps of a quarter of the side, these `width` maps of a half.
    """

    def __init__(
        self, z_dim: int = 64, image_shape: tuple[int, int, int] = (1, 28, 28), classes: int = 10, width: int = 64
    ) -> None:
        super().__init__()
        side = quarter("rgan", image_shape)
        self.label = ClassEmbedding(classes, z_dim)
        self.stem = nn.Sequential(
            nn.Linear(2 * z_dim, 2 * width * side**2),
            nn.BatchNorm1d(2 * width * side**2),
            nn.ReLU(),
            nn.Unflatten(1, (2 * width, side, side)),
        )
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),  # half of the side
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.ConvTranspose2d(width, image_shape[0], 4, stride=2, padding=1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return self.layers(self.stem(torch.cat([z, self.label(y)], 1)))


class PosedGenerator(nn.Module):
    """z [N, z_dim] and y → images [N, C, H, W] in [-1, 1]; 991,617 parameters at 70 → 28×28 and ten classes.

    A `ProjectionGenerator` draws from y and all of z but its last six numbers. In eval mode these turn, shear, stretch
    and shift the drawing by `POSE`, like the last layer of a spatial transformer (Jaderberg et al. 2015) with nothing
    to learn. So every shape comes in every pose, also in one in which the training images never showed it.
    In training they do nothing: a G that was posed while it learned varied its drawings less.
    Raises ValueError where z has no more than these six.
    """

    def __init__(self, z_dim: int = 70, image_shape: tuple[int, int, int] = (1, 28, 28), classes: int = 10) -> None:
        super().__init__()
        if z_dim <= len(POSE):
            raise ValueError(f"z_dim={z_dim} leaves nothing to draw from: six pose the image; raise z_dim above 6")
        self.drawer = ProjectionGenerator(z_dim - len(POSE), image_shape, classes)
        self.tanh = self.drawer.layers.pop(-1)  # after posing, or interpolation would grey the edges

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        drawing = self.drawer(z[:, : -len(POSE)], y)
        if not self.training:
            turn, shear, across, down, *shift = (z[:, -len(POSE) :] * z.new_tensor(POSE)).T
            grid = pose_grid(drawing.shape, turn, shear, across.exp(), down.exp(), torch.stack(shift, 1))
            drawing = sampled(drawing, grid, "bicubic", "border")  # bilinear would blur
        return self.tanh(drawing)


class ProjectionDiscriminator(nn.Module):
    """Images [N, C, H, W] in [-1, 1] and y → logits [N]; 370,913 parameters at 1×28×28 and ten classes.

    Three convolutions halve the side, to 1, 2 and 4 times `width` maps; a dense layer makes one vector h of the image,
    [N, 4·width]. The logit is a linear function of h plus the product of h with a vector of the label (Miyato & Koyama
    2018): how real it is, plus how well it fits the label.
    """

    def __init__(self, image_shape: tuple[int, int, int] = (1, 28, 28), classes: int = 10, width: int = 32) -> None:
        super().__init__()
        side = (quarter("rgan", image_shape) + 1) // 2
        self.features = nn.Sequential(
            nn.Conv2d(image_shape[0], width, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Flatten(),
            nn.Linear(4 * width * side**2, 4 * width),
            nn.LeakyReLU(SLOPE),
        )
        self.real = nn.Linear(4 * width, 1)
        self.label = ClassEmbedding(classes, 4 * width)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.features(x)
        # Divided by the root of its length, the product starts as large as the linear function does.
        return self.real(h).squeeze(1) + (h * self.label(y)).sum(1) / sqrt(h.shape[1])
