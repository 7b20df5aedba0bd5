"""The networks of the AC-GAN, lesson 04, after a Keras project: G is told the class, D has to name it.

Dropout in both, no batch norm in either. For square images whose side 4 divides; the source's are 28×28.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from gantools.nets.convolutions import ConvToFew, ConvTranspose
from gantools.nets.layers import Dropout, keras_start, quarter

SLOPE = 0.3  # of LeakyReLU below 0
DROPOUT = 0.4


class ACGANGenerator(nn.Module):
    """z [N, z_dim] and y → images [N, C, H, W] in [-1, 1]; 451,073 parameters at 100 → 28×28.

    The input has z_dim numbers whatever the classes: the one-hot label takes the place of z's last K of them. Labels
    may be shares of classes, float [N, K]. Raises ValueError where the label leaves no room for noise.
    """

    def __init__(self, z_dim: int = 100, image_shape: tuple[int, int, int] = (1, 28, 28), classes: int = 10) -> None:
        super().__init__()
        side = quarter("acgan", image_shape)
        if classes >= z_dim:
            raise ValueError(
                f"a one-hot label of {classes} classes leaves no noise in z_dim={z_dim} numbers; raise z_dim"
            )
        self.classes = classes
        self.layers = nn.Sequential(
            nn.Linear(z_dim, 64 * side**2),
            nn.LeakyReLU(SLOPE),
            Dropout(DROPOUT),
            nn.Unflatten(1, (64, side, side)),
            ConvTranspose(64, 64, 4, stride=2, padding=1),  # half of the side
            nn.LeakyReLU(SLOPE),
            Dropout(DROPOUT),
            ConvTranspose(64, 64, 4, stride=2, padding=1),  # the side
            nn.LeakyReLU(SLOPE),
            Dropout(DROPOUT),
            ConvToFew(64, image_shape[0], 7, padding=3),
            nn.Tanh(),
        )
        keras_start(self)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        label = y if y.is_floating_point() else one_hot(y, self.classes)  # [N, K]
        return self.layers(torch.cat([z[:, : -self.classes], label.to(z.dtype)], 1))


class ACGANDiscriminator(nn.Module):
    """Images [N, C, H, W] in [-1, 1] → logits [N] and class logits [N, K]; 101,195 parameters at ten classes.

    The label is not among what it sees: it has to say it. 151,387 parameters at 26 classes, 264,319 at 62.
    """

    def __init__(self, image_shape: tuple[int, int, int] = (1, 28, 28), classes: int = 10) -> None:
        super().__init__()
        side = quarter("acgan", image_shape)
        self.features = nn.Sequential(
            nn.Conv2d(image_shape[0], 64, 4, stride=2, padding=1),  # half of the side
            nn.LeakyReLU(SLOPE),
            Dropout(DROPOUT),
            nn.Conv2d(64, 64, 4, stride=2, padding=1),  # a quarter
            nn.LeakyReLU(SLOPE),
            Dropout(DROPOUT),
            nn.Flatten(),
        )
        self.real = nn.Linear(64 * side**2, 1)
        self.label = nn.Linear(64 * side**2, classes)
        keras_start(self)

    def forward(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h = self.features(x)
        return self.real(h).squeeze(1), self.label(h)
