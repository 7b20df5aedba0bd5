"""Two shapes in one class: how often real and generated letters are capitals, as the judge of ByClass reads them.

    python benchmarks/cases.py

Writes assets/results/letter-cases.csv: letter, images, capital and small, the shares of the class's test images that
the judge reads as either shape of that letter; then the same of 400 images of the class by each of two generators,
`rgan` and the published AC-GAN. EMNIST's parts overlap: test letters that the judge has seen among its training images
of ByClass (39 in 100) are left out. Needs EMNIST letters and ByClass in the cache.
"""

import argparse

import results
import torch
from torch import Tensor

from gantools import data, metrics, train

RESULTS = results.FOLDER / "letter-cases.csv"
GENERATORS, COUNT = ("rgan-emnist-letters", "acgan-emnist-letters"), 400
FIELDS = ("letter", "images", "capital", "small")
FIELDS += ("generated_capital", "generated_small", "acgan_capital", "acgan_small")


def main() -> None:
    argparse.ArgumentParser(description="How often real and generated letters are capitals.").parse_args()
    torch.set_num_threads(1)
    known = {row["letter"] for row in results.read(RESULTS)}
    runs, test = [train.load(name) for name in GENERATORS], data.load("emnist-letters", split="test")
    judged_by = {image.numpy().tobytes() for image in data.load("emnist-byclass").images}
    test = test[torch.tensor([image.numpy().tobytes() not in judged_by for image in test.images])]
    for label, letter in enumerate(test.classes):
        if letter not in known:
            real, drawn = test.of_class(label).images, [run.sample(labels=[label] * COUNT) for run in runs]
            row = (letter, len(real), *(share for images in (real, *drawn) for share in shares(images, letter)))
            results.append(RESULTS, FIELDS, [dict(zip(FIELDS, row, strict=True))])


def shares(images: Tensor, letter: str) -> list[float]:
    """Of images [N, 1, 28, 28]: how many are read as the capital of a letter, and how many as the small one."""
    seen = metrics.see(images, "emnist-byclass")
    names = [seen.judge.classes[number] for number in seen.named.tolist()]
    return [round(names.count(shape) / len(names), 4) for shape in (letter.upper(), letter)]


if __name__ == "__main__":
    main()
