"""Two shapes in one class: how often real EMNIST letters are capitals, as the judge of ByClass reads them.

    python benchmarks/cases.py

Writes assets/results/letter-cases.csv: letter, images, capital and small, the shares of the class's test images that
the judge reads as either shape of that letter. EMNIST's parts overlap: test letters that the judge has seen among its
training images of ByClass (39 in 100) are left out. Needs EMNIST letters and ByClass in the cache.
"""

import argparse
import string

import results
import torch

from gantools import data, metrics

RESULTS = results.FOLDER / "letter-cases.csv"
FIELDS = ("letter", "images", "capital", "small")


def main() -> None:
    argparse.ArgumentParser(description="How often real letters are capitals.").parse_args()
    torch.set_num_threads(1)
    known = {row["letter"] for row in results.read(RESULTS)}
    test = data.load("emnist-letters", split="test")
    judged_by = {image.numpy().tobytes() for image in data.load("emnist-byclass").images}
    test = test[torch.tensor([image.numpy().tobytes() not in judged_by for image in test.images])]
    for label, letter in enumerate(string.ascii_lowercase):
        if letter in known:
            continue
        images = test.of_class(label).images
        seen = metrics.see(images, "emnist-byclass")
        names = [seen.judge.classes[number] for number in seen.named.tolist()]
        shares = {shape: round(names.count(title) / len(names), 4) for shape, title in cases(letter).items()}
        results.append(RESULTS, FIELDS, [{"letter": letter, "images": len(images)} | shares])


def cases(letter: str) -> dict[str, str]:
    """Both shapes of a letter."""
    return {"capital": letter.upper(), "small": letter}


if __name__ == "__main__":
    main()
