"""The networks: plain `nn.Module`s, one file for each family.

Every generator is called as `generator(z, y)` and returns images in [-1, 1]; every discriminator is called as
`discriminator(x, y)` and returns one logit for each image, [N]. Unconditional networks ignore `y`, the labels.
Constructors take what the data decide: `image_shape` (C, H, W), and `z_dim` for a generator.
"""

from gantools.nets.classifier import FEATURES, ConvClassifier
from gantools.nets.dcgan import (
    dcgan_cifar10_discriminator,
    dcgan_cifar10_generator,
    dcgan_mnist_discriminator,
    dcgan_mnist_generator,
)
from gantools.nets.mlp import MLPDiscriminator, MLPGenerator
from gantools.nets.ring import PointDiscriminator, PointGenerator

__all__ = [
    "FEATURES",
    "ConvClassifier",
    "MLPDiscriminator",
    "MLPGenerator",
    "PointDiscriminator",
    "PointGenerator",
    "dcgan_cifar10_discriminator",
    "dcgan_cifar10_generator",
    "dcgan_mnist_discriminator",
    "dcgan_mnist_generator",
]
