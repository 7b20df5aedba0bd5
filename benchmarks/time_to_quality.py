"""How the Fréchet distance falls, and CAS rises, while a shipped generator trains.

    python benchmarks/time_to_quality.py [NAME …] [--epochs N --threads T] [--work FOLDER]

Reads the networks that `weights.py` kept after each epoch in FOLDER, measures 10,000 images of each, and writes
assets/results/time-to-quality.csv: run, threads of the training, epoch, step, seconds of training, frechet_distance,
and for a conditional run classification_accuracy at some of the epochs. Rows that are there already are not measured
again. With `--epochs` it trains anew, for so many epochs with T threads, and measures these; leave the machine alone.
Without, T are the threads that the kept run was trained with; the runs measured by default had one.
"""

import argparse
from pathlib import Path

import results
import torch
import weights

from gantools import checkpoint, data, judge, metrics, runfiles

RESULTS = results.FOLDER / "time-to-quality.csv"
FIELDS = ("run", "threads", "epoch", "step", "seconds", "frechet_distance", "classification_accuracy")
EPOCHS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 60, 75, 100, 150, 200)
TAUGHT = (7, 15, 20, 30, 60)  # of these: each trains a classifier, some minutes


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a training epoch by epoch.")
    parser.add_argument("names", nargs="*", default=["dcgan-mnist", "rgan-mnist-10k"])
    parser.add_argument("--epochs", type=int, help="train anew, for so many epochs")
    parser.add_argument("--threads", type=int, default=1, help="of the training")
    parser.add_argument("--work", type=Path, default=data.cache_dir() / "weights")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(weights.SHIPPED):
        parser.error(f"{unknown.pop()!r} is not shipped; choose from {', '.join(weights.SHIPPED)}")
    known = {(row["run"], int(row["threads"]), int(row["epoch"])) for row in results.read(RESULTS)}
    for name in dict.fromkeys(arguments.names):  # a name given twice is measured once
        folder = arguments.work / name
        if arguments.epochs:
            folder = arguments.work / "time-to-quality" / f"{name}-{arguments.threads}"
            torch.set_num_threads(arguments.threads)
            plan = weights.SHIPPED[name]
            images = plan.images()
            steps = arguments.epochs * (len(images) // plan.recipe.batch)
            weights.fit(plan.recipe.change(steps=steps), images, folder)
        elif not runfiles.there(folder):
            parser.error(f"there is no run {name!r} in {arguments.work}: train it with benchmarks/weights.py")
        kept = {int(epoch.name[-3:]): epoch for epoch in sorted(folder.glob("epoch-???"))}
        for epoch, networks in kept.items():
            if epoch in (*EPOCHS, max(kept)) and (name, arguments.threads, epoch) not in known:
                add(name, arguments.threads, epoch, networks)


def add(name: str, threads: int, epoch: int, folder: Path) -> None:
    """Measure one epoch and write its row."""
    run = checkpoint.load(folder)
    dataset, taught = run.data["name"], ""
    labels = judge.load(dataset).labels(metrics.COUNT) if run.recipe.classes else None
    images = run.sample(metrics.COUNT, labels=labels)
    if labels is not None and epoch in TAUGHT:
        taught = f"{metrics.classification_accuracy(images, labels, dataset):.4f}"
    distance = metrics.frechet_distance(images, dataset)
    row = (name, threads, epoch, run.step, round(run.seconds), round(distance, 4), taught)
    results.append(RESULTS, FIELDS, [dict(zip(FIELDS, row, strict=True))])
    print(*row, flush=True)


if __name__ == "__main__":
    main()
