"""DCGAN, lesson 02: convolutions in the discriminator, transposed ones in the generator.

The networks of a TensorFlow project on MNIST and CIFAR-10, after Radford, Metz & Chintala 2016: 5×5 kernels, no
biases, LeakyReLU 0.3. Batch norm has Keras's eps and momentum, weights Keras's default start (Xavier uniform), and
"same" padding falls where TensorFlow puts it.
"""

from torch import Tensor, nn

from gantools.nets.convolutions import WIDE, DoublingConv, HalvingConv
from gantools.nets.layers import KERAS_BATCH_NORM, Dropout, keras_start

SLOPE = 0.3  # of LeakyReLU below 0: Keras's default


class DCGANGenerator(nn.Module):
    """z [N, z_dim] → images [N, C, H, W] in [-1, 1].

    A dense layer makes a small image of `channels[0]` planes; each transposed convolution leads to the next number of
    planes, and those of `strides` 2 double the side. Batch norm and LeakyReLU follow all but the last.
    """

    def __init__(
        self, z_dim: int, image_shape: tuple[int, int, int], channels: tuple[int, ...], strides: tuple[int, ...]
    ) -> None:
        super().__init__()
        if not set(strides) <= {1, 2} or len(strides) != len(channels):
            raise ValueError(f"strides={strides} must be one for each of {len(channels)} channels, and each 1 or 2")
        self.side = _divided(image_shape, strides.count(2))
        self.planes = channels[0]
        size = self.planes * self.side**2
        self.stem = nn.Sequential(
            nn.Linear(z_dim, size, bias=False), nn.BatchNorm1d(size, **KERAS_BATCH_NORM), nn.LeakyReLU(SLOPE)
        )
        layers: list[nn.Module] = []
        for before, after, stride in zip(channels[:-1], channels[1:], strides[:-1], strict=True):
            layers += [
                *transposed(before, after, stride),
                nn.BatchNorm2d(after, **KERAS_BATCH_NORM),
                nn.LeakyReLU(SLOPE),
            ]
        self.layers = nn.Sequential(*layers, *transposed(channels[-1], image_shape[0], strides[-1]), nn.Tanh())
        keras_start(self)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.layers(self.stem(z).view(-1, self.planes, self.side, self.side))


class DCGANDiscriminator(nn.Module):
    """Images [N, C, H, W] in [-1, 1] → logits [N].

    Each 5×5 convolution halves the side and leads to the next number of `channels`; LeakyReLU and dropout 0.5 follow.
    No batch norm.
    """

    def __init__(self, image_shape: tuple[int, int, int], channels: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((image_shape[0], *channels), channels, strict=False):
            layers += [*halving(before, after), nn.LeakyReLU(SLOPE), Dropout(0.5)]
        side = _divided(image_shape, len(channels))
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * side**2, 1, bias=False))
        keras_start(self)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.layers(x).squeeze(1)


def transposed(before: int, after: int, stride: int) -> list[nn.Module]:
    """A 5×5 transposed convolution that multiplies the side by `stride`, 1 or 2."""
    if stride == 1:
        return [nn.ConvTranspose2d(before, after, 5, padding=2, bias=False)]
    if min(before, after) >= WIDE:
        return [DoublingConv(before, after)]
    # TensorFlow's "same": the full output has 2·side + 3 pixels; one is cut before the image and two behind it.
    return [nn.ConvTranspose2d(before, after, 5, stride=2, bias=False), nn.ZeroPad2d((-1, -2, -1, -2))]


def halving(before: int, after: int) -> list[nn.Module]:
    """A 5×5 convolution of stride 2, padded by one pixel before the image and two behind it."""
    if min(before, after) >= WIDE:
        return [HalvingConv(before, after)]
    return [nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(before, after, 5, stride=2, bias=False)]


def dcgan_mnist_generator(z_dim: int = 100, image_shape: tuple[int, int, int] = (1, 28, 28)) -> DCGANGenerator:
    """100 → 256×7×7 → 128×7×7 → 64×14×14 → 1×28×28; 2,305,472 parameters."""
    return DCGANGenerator(z_dim, image_shape, channels=(256, 128, 64), strides=(1, 2, 2))


def dcgan_mnist_discriminator(image_shape: tuple[int, int, int] = (1, 28, 28)) -> DCGANDiscriminator:
    """1×28×28 → 64×14×14 → 128×7×7 → one logit; 212,672 parameters."""
    return DCGANDiscriminator(image_shape, channels=(64, 128))


def dcgan_cifar10_generator(z_dim: int = 100, image_shape: tuple[int, int, int] = (3, 32, 32)) -> DCGANGenerator:
    """100 → 512×4×4 → 256×8×8 → 128×16×16 → 3×32×32; 4,941,952 parameters."""
    return DCGANGenerator(z_dim, image_shape, channels=(512, 256, 128), strides=(2, 2, 2))


def dcgan_cifar10_discriminator(image_shape: tuple[int, int, int] = (3, 32, 32)) -> DCGANDiscriminator:
    """3×32×32 → 128×16×16 → 256×8×8 → 512×4×4 → one logit; 4,113,792 parameters."""
    return DCGANDiscriminator(image_shape, channels=(128, 256, 512))


def _divided(image_shape: tuple[int, int, int], halvings: int) -> int:
    """The side of the image after so many halvings."""
    _, height, width = image_shape
    if height != width or height % 2**halvings:
        raise ValueError(
            f"a DCGAN with {halvings} layers of stride 2 makes square images whose side {2**halvings} divides, "
            f"not {height}×{width}"
        )
    return height // 2**halvings
