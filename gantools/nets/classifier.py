"""Classifiers: a small VGG that judges generators and measures CAS, and those of the augmentation study.

All take images [N, C, H, W] in [-1, 1] and give class logits [N, classes].
"""

from collections.abc import Sequence

from torch import Tensor, nn

from gantools.nets.layers import Dropout, keras_start

FEATURES = 64


class ConvClassifier(nn.Module):
    """Images [N, C, H, W] in [-1, 1] → class logits [N, classes]; `features` gives what the judge compares, [N, 64].

    Three pairs of 3×3 convolutions of `width`, 2·width and 4·width planes, each pair at half the side of the one
    before; then the mean over places and 64 features, each of mean 0 and variance 1 over the training images (a batch
    norm without weights), so that distances between features have the same unit for every data set.
    """

    def __init__(self, image_shape: tuple[int, int, int], classes: int, width: int = 32, dropout: float = 0.0) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        before = image_shape[0]
        for planes in (width, 2 * width, 4 * width):
            stages += [*_conv(before, planes), *_conv(planes, planes), nn.MaxPool2d(2)]
            before = planes
        stages[-1] = nn.AdaptiveAvgPool2d(1)  # the last stage is averaged, not halved
        self.features = nn.Sequential(
            *stages,
            nn.Flatten(),
            nn.Linear(before, FEATURES),
            nn.BatchNorm1d(FEATURES, affine=False),
        )
        self.head = nn.Sequential(nn.ReLU(), nn.Dropout(dropout), nn.Linear(FEATURES, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class SmallConvClassifier(nn.Module):
    """The CNN of the augmentation study, for a CPU that trains thousands: 106,170 parameters at 1×28×28.

    Two convolutions of 16 (5×5) and 32 planes (3×3), each pooled to half the side before batch norm and ReLU, which
    then have a quarter of the work; then dropout of 0.3 and a dense layer of 64.
    """

    def __init__(self, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 16, 5, padding=2, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Flatten(),
            Dropout(0.3),
            *_dense(32 * (height // 4) * (width // 4), (64,), classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class DenseClassifier(nn.Module):
    """The feed-forward network of the published comparison: ReLU layers of these widths; 1,501,770 parameters.

    It looks at pixels in [0, 1], as its source feeds them, and starts as Keras does.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        classes: int,
        widths: Sequence[int] = (1024, 512, 256, 128, 64),
    ) -> None:
        super().__init__()
        channels, height, width = image_shape
        self.layers = nn.Sequential(nn.Flatten(), *_dense(channels * height * width, widths, classes))
        keras_start(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers((x + 1) / 2)


class PlainConvClassifier(nn.Module):
    """The CNN of the published comparison, without batch norm or dropout; 3,761,034 parameters at 1×28×28.

    Two 3×3 convolutions of 32 and 64 planes, each followed by ReLU and a pool that halves the side; then dense layers
    of 1024 and 512. It looks at pixels in [0, 1], as its source feeds them, and starts as Keras does.
    """

    def __init__(self, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            *_dense(64 * (height // 4) * (width // 4), (1024, 512), classes),
        )
        keras_start(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers((x + 1) / 2)


def _dense(before: int, widths: Sequence[int], classes: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(before, width), nn.ReLU()]
        before = width
    return [*layers, nn.Linear(before, classes)]


def _conv(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
