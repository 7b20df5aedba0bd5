"""The classifier that judges generators, and that `metrics.classification_accuracy` trains: a small VGG."""

from torch import Tensor, nn

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


def _conv(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
