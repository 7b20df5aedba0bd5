"""The networks: plain `nn.Module`s, one file for each family.

Every generator is called as `generator(z, y)` and returns images in [-1, 1]; every discriminator is called as
`discriminator(x, y)` and returns one logit for each image, [N]; one that names the class too returns that and class
logits [N, classes]. `y` are the labels, int64 [N], or mixtures of classes, float [N, classes]; unconditional networks
ignore it. Constructors take what the data decide: `image_shape` (C, H, W), `classes` for conditional networks, and
`z_dim` for a generator.
"""

from gantools.nets.acgan import ACGANDiscriminator, ACGANGenerator
from gantools.nets.classifier import (
    FEATURES,
    ConvClassifier,
    DenseClassifier,
    PlainConvClassifier,
    SmallConvClassifier,
)
from gantools.nets.conditional import (
    CDCGANDiscriminator,
    CDCGANGenerator,
    CGANMLPDiscriminator,
    CGANMLPGenerator,
    CGANSNDiscriminator,
    CGANSNGenerator,
)
from gantools.nets.dcgan import (
    dcgan_cifar10_discriminator,
    dcgan_cifar10_generator,
    dcgan_mnist_discriminator,
    dcgan_mnist_generator,
)
from gantools.nets.layers import ClassEmbedding
from gantools.nets.mlp import MLPDiscriminator, MLPGenerator
from gantools.nets.rgan import PosedGenerator, ProjectionDiscriminator, ProjectionGenerator
from gantools.nets.ring import PointDiscriminator, PointGenerator

__all__ = [
    "FEATURES",
    "ACGANDiscriminator",
    "ACGANGenerator",
    "CDCGANDiscriminator",
    "CDCGANGenerator",
    "CGANMLPDiscriminator",
    "CGANMLPGenerator",
    "CGANSNDiscriminator",
    "CGANSNGenerator",
    "ClassEmbedding",
    "ConvClassifier",
    "DenseClassifier",
    "MLPDiscriminator",
    "MLPGenerator",
    "PlainConvClassifier",
    "PointDiscriminator",
    "PointGenerator",
    "PosedGenerator",
    "ProjectionDiscriminator",
    "ProjectionGenerator",
    "SmallConvClassifier",
    "dcgan_cifar10_discriminator",
    "dcgan_cifar10_generator",
    "dcgan_mnist_discriminator",
    "dcgan_mnist_generator",
]
