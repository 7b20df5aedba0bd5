"""The collapse of the AC-GAN at 62 classes, taken apart: EMNIST ByClass, one cause switched off at a time.

    python benchmarks/collapse.py [VARIANT …] [--steps N] [--work FOLDER]

Every variant gets the same number of steps of 128 real images, 5,000 unless told otherwise. Writes
assets/results/collapse.csv, a row for each variant, and assets/results/collapse-classes.csv, a row for each variant and
class; `named` in it counts what the judge reads in the class's 1,000 images, class by class; `within_class_variance` is
over that of the real images that the judge names so. And assets/results/collapse-samples.npz: for each variant at 5,000
steps and for `shipped`, uint8, four images each of eleven classes. The variant `real` holds what as many real training
images score (of classes with fewer, each is met more than once); `held-out`, class by class only, what all test images
do, which the judge has not seen. Variants that are there at that length are not trained again; the variant `shipped`
never is. Runs are kept in FOLDER, by variant and steps, and go on where they stopped. Needs EMNIST ByClass in the
cache.
"""

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import results
import torch
from judges import alike
from torch import Tensor, nn

from gantools import data, judge, metrics, nets, recipes, train
from gantools.data import ImageSet
from gantools.nets.layers import normalise
from gantools.recipe import Recipe

DATASET, STEPS = "emnist-byclass", 5_000
EACH = 1_000  # images of a class, for its own numbers
SHIPPED = "rgan-pose-emnist-byclass"
RESULTS, CLASSES = results.FOLDER / "collapse.csv", results.FOLDER / "collapse-classes.csv"
SAMPLES, SHOWN, OF_EACH = results.FOLDER / "collapse-samples.npz", "CDEGUIosmwz", 4
NUMBERS = ("frechet_distance", "coverage", "label_agreement", "within_class_variance", "modes")
WORST = ("worst_coverage", "median_agreement", "worst_agreement", "worst_variance")
FIELDS = ("variant", "steps", "seconds", *NUMBERS, *WORST)
BY_CLASS = ("label_agreement", "coverage", "within_class_variance")
CLASS_FIELDS = ("variant", "steps", "name", "training_images", *BY_CLASS, "named")


class EmbeddingGenerator(nets.ACGANGenerator):
    """The AC-GAN's generator with a learned vector of 16 numbers in place of the one-hot label's 62.

    So 84 numbers of noise are left, not 38.
    """

    def __init__(self, z_dim: int = 100, image_shape: tuple[int, int, int] = (1, 28, 28), classes: int = 62) -> None:
        super().__init__(z_dim, image_shape, classes)
        self.label = nets.ClassEmbedding(classes, 16)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return self.layers(torch.cat([z[:, : -self.label.embedding_dim], self.label(y)], 1))


class SpectralDiscriminator(nets.ACGANDiscriminator):
    """The AC-GAN's discriminator with spectral norm on all its layers."""

    def __init__(self, image_shape: tuple[int, int, int] = (1, 28, 28), classes: int = 62) -> None:
        super().__init__(image_shape, classes)
        normalise(self)


class TellingDiscriminator(nets.ACGANDiscriminator):
    """The AC-GAN's discriminator, told the label and asked whether it fits: a product with the label's vector.

    The vectors start short, for the product is a sum over 3,136 numbers.
    """

    def __init__(self, image_shape: tuple[int, int, int] = (1, 28, 28), classes: int = 62) -> None:
        super().__init__(image_shape, classes)
        self.label = nets.ClassEmbedding(classes, self.label.in_features)
        nn.init.normal_(self.label.weight, std=self.label.embedding_dim**-0.5)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.features(x)
        return self.real(h).squeeze(1) + (h * self.label(y)).sum(1)


ACGAN = recipes.get("acgan", dataset=DATASET, classes=62)
VARIANTS: dict[str, Recipe] = {
    "acgan": ACGAN,
    "all classes cut to the smallest": ACGAN,
    "class term on real images only": ACGAN.change(classify_fakes=False),
    "class term of weight 0.2": ACGAN.change(class_weight=0.2),
    "embedding of 16 for one-hot": ACGAN.change(generator=EmbeddingGenerator),
    "balanced batches": ACGAN.change(balanced=True),
    "spectral norm in D": ACGAN.change(discriminator=SpectralDiscriminator),
    "R1": ACGAN.change(r1=0.3, penalty_every=4),
    "projection for the class head": ACGAN.change(discriminator=TellingDiscriminator, class_weight=0.0),
    "rgan": recipes.get("rgan", dataset=DATASET, classes=62, batch=128),
    "rgan, balanced batches": recipes.get("rgan", dataset=DATASET, classes=62, batch=128, balanced=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Take the collapse at 62 classes apart.")
    parser.add_argument("names", nargs="*", help=f"default: shipped, and all of {', '.join(VARIANTS)}")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--work", type=Path, default=data.cache_dir() / "weights")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - {"shipped", *VARIANTS}:
        parser.error(f"there is no variant {unknown.pop()!r}; choose from shipped, {', '.join(VARIANTS)}")
    torch.set_num_threads(1)
    images = data.load(DATASET)
    known = {(row["variant"], row["steps"]) for row in results.read(RESULTS)}
    if ("real", "0") not in known:
        real = alike(images, _labels())
        _write("real", 0, 0.0, images, real.images, real.labels)
    if "held-out" not in {row["variant"] for row in results.read(CLASSES)}:
        test = data.load(DATASET, split="test")
        _write_classes("held-out", 0, images, metrics.see(test.images, DATASET), test.labels)
    shipped = train.load(SHIPPED)
    for name in dict.fromkeys(arguments.names or ("shipped", *VARIANTS)):
        if name == "shipped":
            if (name, str(shipped.step)) not in known:
                measure(name, shipped, images)
        elif (name, str(arguments.steps)) not in known:
            shown = images.cut_to_smallest() if name == "all classes cut to the smallest" else images
            folder = arguments.work / "collapse" / f"{name.replace(' ', '-').replace(',', '')}-{arguments.steps}"
            run = train.fit(VARIANTS[name].change(steps=arguments.steps), shown, folder, resume=True)
            measure(name, run, shown)


def measure(name: str, run: train.Run, images: ImageSet) -> None:
    """Write the rows of one run, and some of its images."""
    if name == "shipped" or run.step == STEPS:
        shown = torch.tensor([images.classes.index(title) for title in SHOWN]).repeat_interleave(OF_EACH)
        with np.load(SAMPLES) if SAMPLES.exists() else nullcontext({}) as known:
            samples = dict(known) | {name: data.to_uint8(run.sample(labels=shown)).numpy()}
        np.savez_compressed(SAMPLES, **samples)
    y = _labels()
    _write(name, run.step, run.seconds, images, run.sample(labels=y), y)


def _labels() -> Tensor:
    """10,000 in the proportions of the test set, then 1,000 of each class."""
    by = judge.load(DATASET)
    each = torch.arange(len(by.classes)).repeat_interleave(EACH)
    return torch.cat([by.labels(metrics.COUNT), each])


def _write(name: str, steps: int, seconds: float, images: ImageSet, drawn: Tensor, y: Tensor) -> None:
    """All numbers from the first 10,000, those of each class from the others."""
    seen = metrics.see(drawn, DATASET)
    count = metrics.COUNT
    fair, each = seen[:count], seen[count:]
    numbers: dict[str, Any] = metrics.numbers_of(fair)
    numbers["label_agreement"] = metrics.label_agreement(fair, y[:count], DATASET)
    by_class = _write_classes(name, steps, images, each, y[count:])
    worst = {
        "worst_coverage": by_class["coverage"].min(),
        "median_agreement": by_class["label_agreement"].median(),
        "worst_agreement": by_class["label_agreement"].min(),
        "worst_variance": by_class["within_class_variance"].min(),
    }
    shown = {key: numbers[key] for key in NUMBERS} | worst
    row = {"variant": name, "steps": steps, "seconds": round(seconds)}
    row |= {key: round(float(value), 4) for key, value in shown.items()}
    results.append(RESULTS, FIELDS, [row])
    print(row, flush=True)


def _write_classes(name: str, steps: int, images: ImageSet, seen: judge.Seen, y: Tensor) -> dict[str, Tensor]:
    """The numbers of each class, [62] each, written unless they are there."""
    by_class = {
        "label_agreement": metrics.label_agreement_per_class(seen, y, DATASET),
        "coverage": metrics.coverage_per_class(seen, y, DATASET),
        "within_class_variance": metrics.class_variances(seen.features, y, len(images.classes)) / seen.judge.variances,
    }
    counts, named = images.class_counts(), metrics.confusion(seen, y, DATASET)
    rows = [
        {"variant": name, "steps": steps, "name": title, "training_images": int(counts[label])}
        | {key: round(float(values[label]), 4) for key, values in by_class.items()}
        | {"named": " ".join(map(str, named[label].tolist()))}
        for label, title in enumerate(images.classes)
    ]
    if (name, str(steps)) not in {(row["variant"], row["steps"]) for row in results.read(CLASSES)}:
        results.append(CLASSES, CLASS_FIELDS, rows)
    return by_class


if __name__ == "__main__":
    main()
