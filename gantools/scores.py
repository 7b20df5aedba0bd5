"""The numbers, one function for each; `metrics` offers them all.

Most take images [N, C, H, W] in [-1, 1], or what the judge saw of them, and compare with the judge's reference set,
the held-out test images. Images pass through uint8 first.
"""

from collections.abc import Sequence
from statistics import fmean

import torch
from torch import Tensor

from gantools import classify, data, distances, judge, neighbours
from gantools.data import ImageSet
from gantools.imageset import are_pixels
from gantools.judge import JudgeError, Seen
from gantools.runtime import is_whole

COUNT = 10_000  # images that a number is best taken of
LEAST = 100  # images below which a number says more about the sample than about the generator
PRESENT = 0.1  # of its fair share: a class that is rarer counts as lost


def see(images: Tensor | Seen, dataset: str) -> Seen:
    """Images [N, C, H, W] in [-1, 1] as the judge of the data set sees them; every function here takes either.

    Give `Seen` where several numbers are taken: looking costs more than any of them.
    """
    check_count(len(images))
    by = judge.load(dataset)
    if not isinstance(images, Seen):
        return by.see(images)
    if images.judge.dataset != dataset:
        raise JudgeError(f"these images were seen by the judge of {images.judge.dataset}, not of {dataset}")
    return images


def numbers_of(seen: Seen) -> dict[str, float]:
    """Every number that needs neither labels nor pixels, by the names of `Report`."""
    dataset = seen.judge.dataset
    density, coverage = density_coverage(seen, dataset)
    return {
        "frechet_distance": frechet_distance(seen, dataset),
        "kernel_distance": kernel_distance(seen, dataset),
        "inception_score": inception_score(seen, dataset),
        "density": density,
        "coverage": coverage,
        "modes": modes(seen, dataset),
        "entropy": entropy(seen, dataset),
        "within_class_variance": within_class_variance(seen, dataset),
    }


def frechet_distance(images: Tensor | Seen, dataset: str) -> float:
    """Fréchet distance between the Gaussians of generated and of reference features (Heusel et al. 2017), float64.

    0 would be the reference set itself. Fewer images make it larger: compare equal numbers of them.
    """
    seen = see(images, dataset)
    by = seen.judge
    return distances.frechet(by.mean, by.covariance, int(by.counts.sum()), seen.features)


def kernel_distance(images: Tensor | Seen, dataset: str) -> float:
    """Squared maximum mean discrepancy with a cubic kernel (KID, Binkowski et al. 2018); unbiased, about 0 at best."""
    seen = see(images, dataset)
    return distances.kernel(seen.judge.features, seen.features)


def inception_score(images: Tensor | Seen, dataset: str) -> float:
    """exp of the mean divergence of p(class | image) from p(class) (Salimans et al. 2016), by the judge's logits.

    The mean over ten random tenths, each with a p(class) of its own: at least 1, and smaller with fewer images, for a
    tenth of them has to show all classes (10,000 perfect images of 62 classes: 60.2, 620 of them: 37.3). Blind to
    variety within a class.
    """
    return distances.inception_score(see(images, dataset).logits)


def density_coverage(images: Tensor | Seen, dataset: str) -> tuple[float, float]:
    """Density and coverage (Naeem et al. 2020) with k = 5, between equally many generated and reference features.

    A ball around each reference image reaches to its fifth neighbour. Density: how many balls a generated image lies
    in, over k; about 1 for real images. Coverage: the share of balls that hold a generated image.
    """
    seen = see(images, dataset)
    return neighbours.density_coverage(seen.judge.features, seen.features)


def coverage_per_class(images: Tensor | Seen, labels: Tensor | Sequence[int], dataset: str) -> Tensor:
    """Coverage within each class, float64 [classes], of images asked for as `labels`, int64 [N].

    Between a class's reference images, those of the judge's that it names so, and as many images asked for: a ball
    reaches to the fifth neighbour within the class. Where more are given, it is the mean over parts of that size: one
    part of a rare class says little. NaN for a class with fewer than six of either kind.
    """
    seen = see(images, dataset)
    by = seen.judge
    labels = _checked_labels(labels, len(seen), len(by.classes))
    with torch.no_grad():
        named = by.network.head(by.features).argmax(1)
    shares = []
    for label in range(len(by.classes)):
        real, fake = by.features[named == label], seen.features[labels == label]
        count = min(len(real), len(fake))
        if count > neighbours.NEIGHBOURS:
            parts = fake[neighbours.shuffled(len(fake))].split(count)[: len(fake) // count]
            shares.append(fmean(neighbours.density_coverage(real, part)[1] for part in parts))
        else:
            shares.append(torch.nan)
    return torch.tensor(shares, dtype=torch.float64)


def modes(images: Tensor | Seen, dataset: str) -> int:
    """How many classes the judge names at least a tenth as often as their share of the reference set."""
    return int(_present(see(images, dataset)).sum())


def entropy(images: Tensor | Seen, dataset: str) -> float:
    """Entropy, in nats, of the classes that the judge names; ln 10 = 2.303 where ten are equally frequent."""
    seen = see(images, dataset)
    return float(torch.special.entr(_tally(seen).double() / len(seen)).sum())


def within_class_variance(images: Tensor | Seen, dataset: str) -> float:
    """Variance of the features within a class over that of reference images: the mean over the classes present.

    1: as varied as real images; 0: one picture for each class. The classes are those that the judge names.
    """
    return float(within_class_variance_per_class(images, dataset).nanmean())


def within_class_variance_per_class(images: Tensor | Seen, dataset: str) -> Tensor:
    """The same for each class, float64 [classes]; NaN for a class that is not present (see `modes`)."""
    seen = see(images, dataset)
    return torch.where(_present(seen), seen.variances() / seen.judge.variances, torch.nan)


def label_agreement(images: Tensor | Seen, labels: Tensor | Sequence[int], dataset: str) -> float:
    """The share of images in which the judge names the class that was asked for, labels int64 [N] (GAN-test).

    Beside it: the judge's accuracy on real test images. Above that with a poor FD means lost variety, not quality.
    """
    seen = see(images, dataset)
    labels = _checked_labels(labels, len(seen), len(seen.judge.classes))
    return float((seen.named == labels).double().mean())


def label_agreement_per_class(images: Tensor | Seen, labels: Tensor | Sequence[int], dataset: str) -> Tensor:
    """The same for each class, float64 [classes]; NaN for a class that `labels` do not hold."""
    counts = confusion(images, labels, dataset).double()
    return counts.diagonal() / counts.sum(1)


def confusion(images: Tensor | Seen, labels: Tensor | Sequence[int], dataset: str) -> Tensor:
    """How many images that were asked for as class i the judge names j, int64 [classes, classes]: row i, column j."""
    seen = see(images, dataset)
    classes = len(seen.judge.classes)
    labels = _checked_labels(labels, len(seen), classes)
    return (labels * classes + seen.named).bincount(minlength=classes**2).view(classes, classes)


def classification_accuracy(images: Tensor, labels: Tensor | Sequence[int], dataset: str, seed: int = 0) -> float:
    """Accuracy on the real test images of a classifier that was trained on these images only (CAS, GAN-train).

    Beside it: the same classifier after as many real images. Twelve epochs, no augmentation.
    """
    check_count(len(images))
    test = data.load(dataset, split="test")
    _check_images(images, test)
    labels = _checked_labels(labels, len(images), len(test.classes))
    network = classify.train_classifier(data.quantised(images), labels, len(test.classes), seed)
    return classify.accuracy(network, test)


def memorisation(images: Tensor, dataset: str, train: ImageSet | None = None) -> float:
    """Median distance from a generated image to the nearest training image, over that from a held-out image.

    Euclidean, between pixels, for 2,000 images of either kind; `train` is what the generator was trained on, by
    default all of the data set that there is. About 1: new images. Near 0: copies. Above 1: unlike any real image.
    """
    check_count(len(images))
    train, held_out = data.load(dataset) if train is None else train, data.load(dataset, split="test")
    if not len(train):
        raise JudgeError("memorisation needs the images that the generator was trained on, and there is none")
    for given in (images, train.images):
        _check_images(given, held_out)
    return neighbours.memorisation(data.quantised(images), held_out.images, train.images)


def ring_modes(points: Tensor) -> tuple[int, float]:
    """For points [N, 2] of lesson 00: how many of the eight Gaussians were found, and the share of points in them.

    A point counts within three of its standard deviations (98.9 % of real points do); found is a Gaussian that holds
    at least a tenth of its fair share, N / 8.
    """
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError(f"the ring has points [N, 2], not {list(points.shape)}")
    distance, place = torch.cdist(points.cpu(), data.ring_centres()).min(1)
    held = place[distance <= 3 * data.RING_SIGMA].bincount(minlength=8)
    return int((held >= PRESENT * len(points) / 8).sum()), float(held.sum() / len(points))


def _present(seen: Seen) -> Tensor:
    """Which classes are drawn at least a tenth as often as their share of the reference set, bool [classes]."""
    fair = seen.judge.counts.double() / seen.judge.counts.sum() * len(seen)
    return _tally(seen) >= PRESENT * fair


def _tally(seen: Seen) -> Tensor:
    return seen.named.bincount(minlength=len(seen.judge.classes))


def check_count(count: int) -> None:
    """Raises `JudgeError` where so few images say nothing, and where it is no whole number."""
    if not is_whole(count):
        raise JudgeError(f"count={count!r} must be a whole number")
    if count < LEAST:
        raise JudgeError(f"{count} images are too few for a number: take at least {LEAST}, better {COUNT:,}")


def _check_images(images: Tensor, real: ImageSet) -> None:
    if images.shape[1:] != real.images.shape[1:]:
        raise JudgeError(f"images {list(images.shape)} cannot be compared with {list(real.images.shape)}")
    if not are_pixels(images):
        raise JudgeError(f"images of {real.name} must be finite floats in [-1, 1]")


def _checked_labels(labels: Tensor | Sequence[int], count: int, classes: int) -> Tensor:
    labels = torch.as_tensor(labels).cpu()
    if labels.shape != (count,) or labels.is_floating_point() or labels.dtype == torch.bool:
        raise JudgeError(
            f"{count} images need as many whole numbers as labels, not {list(labels.shape)} of {labels.dtype}"
        )
    labels = labels.long()  # in uint8, sums over 62 classes would overflow
    if not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise JudgeError(f"labels must lie in 0 to {classes - 1}, not {int(labels.min())} to {int(labels.max())}")
    return labels
