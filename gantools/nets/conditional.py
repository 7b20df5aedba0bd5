"""Conditional GANs, lesson 03: both players see the label y, after Mirza & Osindero 2014.

Three published pairs on MNIST. Each learns a vector for every class (`ClassEmbedding`); they differ in where it goes:

    cgan-mlp   beside z, and beside the 784 pixels
    cdcgan     beside z, and as a second image plane
    cgan-sn    as a plane of 3×3 beside the first maps of the generator, and as a second image plane
"""

from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from gantools.nets.convolutions import ConvToFew, ConvTranspose, DoublingConv, SmallConvTranspose
from gantools.nets.layers import KERAS_BATCH_NORM, ClassEmbedding, Dropout, keras_start, normalise

ImageShape = tuple[int, int, int]


class CGANMLPGenerator(nn.Module):
    """z [N, z_dim] and y → images [N, C, H, W] in [-1, 1]; 1,506,804 parameters at 64 → 28×28 and ten classes."""

    def __init__(self, z_dim: int = 64, image_shape: ImageShape = (1, 28, 28), classes: int = 10) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.label = ClassEmbedding(classes, classes)
        layers: list[nn.Module] = [nn.Linear(z_dim + classes, 128), nn.LeakyReLU(0.2)]
        for before, after in pairwise((128, 256, 512, 1024)):
            # eps 0.8 is the source's: a momentum that slipped into the wrong place
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after, eps=0.8, momentum=0.1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Linear(1024, prod(image_shape)), nn.Tanh())

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return self.layers(torch.cat([z, self.label(y)], 1)).view(-1, *self.image_shape)


class CGANMLPDiscriminator(nn.Module):
    """Images [N, C, H, W] in [-1, 1] and y → one number each, [N]; 932,965 parameters at 28×28 and ten classes."""

    def __init__(self, image_shape: ImageShape = (1, 28, 28), classes: int = 10) -> None:
        super().__init__()
        self.label = ClassEmbedding(classes, classes)
        layers: list[nn.Module] = [nn.Linear(prod(image_shape) + classes, 512), nn.LeakyReLU(0.2)]
        for _ in range(2):
            layers += [nn.Linear(512, 512), Dropout(0.4), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Linear(512, 1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.layers(torch.cat([x.flatten(1), self.label(y)], 1)).squeeze(1)


class CDCGANGenerator(nn.Module):
    """z [N, z_dim] and y → images [N, C, 28, 28] in [-1, 1]; 7,505,508 parameters at 64 and ten classes.

    z and the label's vector are 74 maps of 1×1; four transposed convolutions lead to 4, 2 and 1 times `width` maps of
    3×3, 7×7 and 14×14, and to the image; the source has the width 256.
    """

    def __init__(
        self, z_dim: int = 64, image_shape: ImageShape = (1, 28, 28), classes: int = 10, width: int = 256
    ) -> None:
        super().__init__()
        self.label = ClassEmbedding(classes, classes)
        layers: list[nn.Module] = []
        for convolution in (
            nn.ConvTranspose2d(z_dim + classes, 4 * width, 3, bias=False),
            SmallConvTranspose(4 * width, 2 * width, 3, stride=2),
            DoublingConv(2 * width, width, 4),
        ):
            layers += [convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]
        last = nn.ConvTranspose2d(width, _only_28(image_shape), 4, stride=2, padding=1, bias=False)
        self.layers = nn.Sequential(*layers, last, nn.Tanh())
        dcgan_start(self)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return self.layers(torch.cat([z, self.label(y)], 1)[:, :, None, None])


class CDCGANDiscriminator(nn.Module):
    """Images [N, C, 28, 28] in [-1, 1] and y → logits [N]; 2,639,520 parameters at one channel and ten classes.

    Three convolutions halve the side, with 1/2, 1 and 2 times `width` maps, 256 in the source.
    """

    def __init__(self, image_shape: ImageShape = (1, 28, 28), classes: int = 10, width: int = 256) -> None:
        super().__init__()
        channels = _only_28(image_shape)
        self.plane = nn.Sequential(ClassEmbedding(classes, 28 * 28), nn.Unflatten(1, (1, 28, 28)))
        self.layers = nn.Sequential(
            nn.Conv2d(channels + 1, width // 2, 4, stride=2, padding=1, bias=False),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width // 2, width, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 3, bias=False),
        )
        dcgan_start(self)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.layers(torch.cat([x, self.plane(y)], 1)).flatten()


class CGANSNGenerator(nn.Module):
    """z [N, z_dim] and y → images [N, C, 28, 28] in [-1, 1]; 1,069,522 parameters at 100 and ten classes.

    `width` maps, 128 in the source. Spectral norm on every layer but the embedding. The source's sigmoid gives [0, 1];
    it is stretched to [-1, 1].
    """

    def __init__(
        self, z_dim: int = 100, image_shape: ImageShape = (1, 28, 28), classes: int = 10, width: int = 128
    ) -> None:
        super().__init__()
        self.noise = nn.Sequential(
            nn.Linear(z_dim, 9 * width),
            nn.LeakyReLU(0.2),
            nn.BatchNorm1d(9 * width, **KERAS_BATCH_NORM),
            nn.Unflatten(1, (width, 3, 3)),
        )
        self.plane = nn.Sequential(
            ClassEmbedding(classes, 50),
            nn.Linear(50, 9),
            nn.LeakyReLU(0.2),
            nn.BatchNorm1d(9, **KERAS_BATCH_NORM),
            nn.Unflatten(1, (1, 3, 3)),
        )
        layers: list[nn.Module] = []
        for growing in (
            ConvTranspose(width + 1, width, 4),  # 6×6
            ConvTranspose(width, width, 4, stride=2),  # 14×14
            DoublingConv(width, width, bias=True),  # 28×28: TensorFlow's "same" cuts 31, one pixel in front
        ):
            layers += [growing, nn.LeakyReLU(0.2), nn.BatchNorm2d(width, **KERAS_BATCH_NORM)]
        last = ConvToFew(width, _only_28(image_shape), 10, padding=4)
        self.layers = nn.Sequential(*layers, nn.ZeroPad2d((0, 1, 0, 1)), last, nn.Sigmoid())
        keras_start(self)
        normalise(self)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return 2 * self.layers(torch.cat([self.noise(z), self.plane(y)], 1)) - 1


class CGANSNDiscriminator(nn.Module):
    """Images [N, C, 28, 28] in [-1, 1] and y → logits [N]; 1,895,077 parameters at one channel and ten classes.

    `width` maps, 128 in the source. Spectral norm everywhere but in the label's branch. The source's images lie in
    [0, 1], so D maps them there.
    """

    def __init__(self, image_shape: ImageShape = (1, 28, 28), classes: int = 10, width: int = 128) -> None:
        super().__init__()
        channels = _only_28(image_shape)
        self.plane = nn.Sequential(ClassEmbedding(classes, 50), nn.Linear(50, 28 * 28), nn.Unflatten(1, (1, 28, 28)))
        convolutions = (
            [nn.Conv2d(channels + 1, width, 3)],  # 26×26, pooled to 13×13
            [nn.Conv2d(width, width, 3), nn.Conv2d(width, width, 3)],  # 11×11, 9×9, pooled to 4×4
        )
        layers: list[nn.Module] = []
        for block in convolutions:
            layers += [
                *block,
                nn.LeakyReLU(0.2),
                nn.BatchNorm2d(width, **KERAS_BATCH_NORM),
                nn.MaxPool2d(2),
                nn.Dropout2d(0.5),  # drops whole maps
            ]
        layers.append(nn.Flatten())
        for before, after in pairwise((16 * width, 600, 400, 200, 20)):
            layers += [
                nn.Linear(before, after),
                nn.LeakyReLU(0.2),
                nn.BatchNorm1d(after, **KERAS_BATCH_NORM),
                Dropout(0.5),
            ]
        self.layers = nn.Sequential(*layers, nn.Linear(20, 1))
        keras_start(self)
        normalise(self.layers)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.layers(torch.cat([(x + 1) / 2, self.plane(y)], 1)).squeeze(1)


def dcgan_start(network: nn.Module) -> None:
    """The start of Radford et al. 2016: convolutions from N(0, 0.02), scales of batch norm from N(1, 0.02)."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)


def _only_28(image_shape: ImageShape) -> int:
    """The number of channels; these networks are drawn for 28×28."""
    channels, height, width = image_shape
    if (height, width) != (28, 28):
        raise ValueError(
            f"this network makes and sees images of 28×28 pixels, not {height}×{width}; cgan-mlp takes any"
        )
    return channels
