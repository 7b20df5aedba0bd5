"""How far `rgan-pose` turns, shears, stretches and shifts what it draws: what more or less of it would give.

    python benchmarks/pose.py

The shipped generator with its six poses at rest and at other strengths, 1 being as shipped. 10,000 images of each are
measured against MNIST train[50000:60000], never against test images; CAS is the accuracy on these of a classifier that
learned from the generated ones. Writes assets/results/pose.csv. Rows that are there are not measured again.
"""

import argparse

import results
import search
import torch

from gantools import classify, data, train
from gantools.nets.rgan import POSE

RESULTS = results.FOLDER / "pose.csv"
NUMBERS = ("frechet_distance", "coverage", "within_class_variance", "label_agreement")
FIELDS = ("strength", *NUMBERS, "classification_accuracy")
STRENGTHS = (0.0, 0.5, 1.0, 1.5, 2.0)


def main() -> None:
    argparse.ArgumentParser(description="Measure rgan-pose at other strengths of its poses.").parse_args()
    torch.set_num_threads(1)
    known = {float(row["strength"]) for row in results.read(RESULTS)}
    run, held_out = train.load("rgan-pose-mnist-10k"), search.whole()[search.HELD_OUT]
    for strength in STRENGTHS:
        if strength in known:
            continue
        z = run.draw_z(len(held_out), seed=0)
        z[:, -len(POSE) :] *= strength
        images = data.quantised(run.sample(labels=held_out.labels, z=z))
        network = classify.train_classifier(images, held_out.labels, len(held_out.classes), 0)
        row = {"strength": strength} | search.numbers(images, held_out.labels)
        row["classification_accuracy"] = round(classify.accuracy(network, held_out), 4)
        results.append(RESULTS, FIELDS, [row])
        print(row, flush=True)


if __name__ == "__main__":
    main()
