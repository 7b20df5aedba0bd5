"""What held-out images say about an enlarged set: the numbers, and a verdict by fixed rules."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gantools import classify, metrics, neighbours
from gantools.data import DataError, ImageSet
from gantools.evidence import student
from gantools.nets import ConvClassifier

# Beyond these, generated images are not to be used.
COPIES, VARIETY = 0.9, 0.5  # memorisation below; coverage, or variance within a class, below this share of real
LABELS_OFF, WORST_CLASS = 0.1, 0.5  # label agreement so far below that of real images; of one class this share of it


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was measured. `real_…` is the number for real images; shares and accuracies lie in 0 … 1."""

    held_out: int  # images
    real_accuracy: float  # on them, of classifiers trained on the rest
    accuracy: float  # the same, with the generated images added
    bent_accuracy: float  # the same, without them, but each batch of real images bent
    reach: float  # how far 95 % of the gain lie either way
    bent_reach: float  # the same for what is gained over bending
    real_agreement: float  # of held-out images, the share that one classifier names as labelled: mean of the classes
    agreement: float  # of all images drawn, the share that it names as asked: mean of the classes
    worst_class: str  # the one that keeps the smallest share of its real agreement
    worst_agreement: float
    real_worst_agreement: float
    memorisation: float
    coverage: float
    real_coverage: float
    variance: float  # of the features within a class, over that of the held-out images
    drawn: int
    filtered: bool
    dropped: int = 0
    missing: int = 0  # images that the filter could not supply

    @property
    def gain(self) -> float:
        return self.accuracy - self.real_accuracy

    @property
    def interval(self) -> tuple[float, float]:
        """95 % of the gain, for this split and this GAN."""
        return self.gain - self.reach, self.gain + self.reach

    @property
    def beats_bending(self) -> bool:
        """Whether 95 % of the gain over bent images lie above 0."""
        return self.accuracy - self.bent_accuracy > self.bent_reach

    @property
    def verdict(self) -> str:
        """ "worth using", "bend your images instead", "not worth using" or "do not use", with the reasons.

        Do not use: memorisation below 0.9; coverage or variance within a class below half that of real images;
        without the filter, label agreement more than 0.1 below that of real images, or below half of it for one
        class; with it, images that it could not supply; a gain whose interval lies below 0. Not worth using: else, a
        gain whose interval holds 0. Bend your images instead: a gain, but none over bent real images that is sure.
        """
        low, high = self.interval
        against = []
        if not self.memorisation >= COPIES:  # all so that what could not be measured, NaN, is no praise
            against.append(
                f"copies, or too plain: close to training images (memorisation {self.memorisation:.2f}; new: 1)"
            )
        if not self.coverage >= VARIETY * self.real_coverage:
            against.append(f"too little variety (coverage {self.coverage:.2f}; real images: {self.real_coverage:.2f})")
        elif not self.variance >= VARIETY:
            against.append(f"too little variety (variance within a class {self.variance:.2f}; real images: 1)")
        if self.missing:
            against.append(f"the filter left {self.missing:,} too few; class {self.worst_class} fits its label worst")
        if not self.filtered and not self.agreement >= self.real_agreement - LABELS_OFF:
            against.append(f"too many wrong labels (agreement {self.agreement:.2f}; real: {self.real_agreement:.2f})")
        elif not self.filtered and not self.worst_agreement >= WORST_CLASS * self.real_worst_agreement:
            share, real = f"{self.worst_agreement:.0%}", f"{self.real_worst_agreement:.0%}"
            against.append(f"class {self.worst_class} fits its label in {share} only (real: {real})")
        if high < 0:
            against.append(f"classifiers get worse with them ({self.gain:+.4f})")
        if against:
            return f"do not use: {'; '.join(against)}"
        if not low > 0:
            return f"not worth using: no measurable gain ({self.gain:+.4f}, from {low:+.4f} to {high:+.4f})"
        gained = f"accuracy {self.real_accuracy:.4f} → {self.accuracy:.4f} ({self.gain:+.4f})"
        if self.beats_bending:
            return f"worth using: {gained}"
        return f"bend your images instead: {gained}, bent real images give {self.bent_accuracy:.4f}"

    def __str__(self) -> str:
        """A table in Markdown."""
        low, high = self.interval
        rows = [
            ("measured", "generated", "real"),
            ("---", "---:", "---:"),
            (f"accuracy on {self.held_out:,} held-out images", f"{self.accuracy:.4f}", f"{self.real_accuracy:.4f}"),
            ("gain (95 % interval)", f"{self.gain:+.4f} ({low:+.4f} to {high:+.4f})", ""),
            ("accuracy with real images bent instead", "", f"{self.bent_accuracy:.4f}"),
            ("label agreement", f"{self.agreement:.4f}", f"{self.real_agreement:.4f}"),
            (
                f"label agreement, worst class ({self.worst_class})",
                f"{self.worst_agreement:.4f}",
                f"{self.real_worst_agreement:.4f}",
            ),
            ("memorisation (distance ratio)", f"{self.memorisation:.3f}", "1"),
            ("coverage of the held-out images", f"{self.coverage:.3f}", f"{self.real_coverage:.3f}"),
            ("variance within a class", f"{self.variance:.3f}", "1"),
        ]
        if self.filtered:
            rows.append(("dropped by the filter", f"{self.dropped:,} of {self.drawn:,} drawn", ""))
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def likeness(classifier: ConvClassifier, made: ImageSet, rest: ImageSet, held_out: ImageSet) -> dict[str, float]:
    """The numbers of `Check` that compare generated images with those held out, and with `rest`, the training images.

    Memorisation and coverage are taken between equally many images of each class. Raises `DataError` where fewer than
    six are left to compare.
    """
    parts = (made, rest, held_out)
    counts = torch.stack([part.class_counts() for part in parts]).amin(0).tolist()
    if sum(counts) <= neighbours.NEIGHBOURS:
        raise DataError(f"{rest.name}: the filter drops nearly all that the GAN draws; train it longer (--steps)")
    fake, known, new = (part.first_of_each(counts).images for part in parts)
    fake_seen, known_seen, new_seen = (classify.features(classifier, part) for part in (fake, known, new))
    fake_variances, real_variances = (_variances(classifier, part) for part in (made, held_out))
    # Class by class, or one class that is spread wide would hide others that are one picture each. Where real ones do
    # not differ there is nothing to compare.
    ratios = (fake_variances / real_variances)[real_variances > 0]
    return {
        "memorisation": neighbours.memorisation(fake, new, rest.images),
        "coverage": neighbours.density_coverage(new_seen, fake_seen)[1],
        "real_coverage": neighbours.density_coverage(new_seen, known_seen)[1],
        "variance": float(ratios.nanmean()),  # with few held-out images, coverage overlooks pictures all alike
    }


def _variances(classifier: ConvClassifier, images: ImageSet) -> Tensor:
    """Of each class, by the names that the classifier gives: wrong labels are no variety."""
    seen, named = classify.features(classifier, images.images), classify.predictions(classifier, images.images)
    return metrics.class_variances(seen, named, len(images.classes))


def reach(differences: Tensor) -> float:
    """How far a 95 % interval of the mean of differences [seeds, images] lies either way. Raises as `paired_error`."""
    error, freedom = paired_error(differences)
    return student(freedom) * error


def paired_error(differences: Tensor) -> tuple[float, float]:
    """Standard error of the mean of differences [seeds, images], and its degrees of freedom.

    A difference is -1, 0 or 1: one classifier right, the other not. The error adds the variance over images to that
    over seeds. One image more is gained and one lost, so that few differences do not pass for certainty (Bonett &
    Price 2012). The degrees of freedom are those of Satterthwaite (1946): nearly one less than seeds where these
    differ most. ValueError for fewer than two seeds.
    """
    if len(differences) < 2:
        raise ValueError(f"differences of {len(differences)} seeds: two are needed to see how much a seed matters")
    of_images = torch.cat([differences.mean(0), differences.new_tensor([1, -1])])
    parts = [(float(of.var()) / len(of), len(of) - 1) for of in (of_images, differences.mean(1))]
    variance = sum(part for part, _ in parts)
    return math.sqrt(variance), variance**2 / sum(part**2 / freedom for part, freedom in parts)
