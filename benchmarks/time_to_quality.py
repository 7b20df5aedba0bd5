"""How the Fréchet distance falls while a shipped generator trains.

    python benchmarks/time_to_quality.py [NAME …] [--work FOLDER]

Reads the networks that `weights.py` kept after each epoch in FOLDER, measures 10,000 images of each, and writes
assets/results/time-to-quality.csv: run, epoch, step, seconds of training, frechet_distance. Rows that are there already
are not measured again.
"""

import argparse
import csv
from pathlib import Path

from gantools import ASSETS, checkpoint, data, metrics

RESULTS = ASSETS / "results" / "time-to-quality.csv"
FIELDS = ("run", "epoch", "step", "seconds", "frechet_distance")
EPOCHS = (1, 2, 3, 5, 10, 20, 30, 40, 50, 75, 100, 150, 200)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a training epoch by epoch.")
    parser.add_argument("names", nargs="*", default=["dcgan-mnist", "dcgan-cifar10"])
    parser.add_argument("--work", type=Path, default=data.cache_dir() / "weights")
    arguments = parser.parse_args()
    for name in arguments.names:
        for epoch in EPOCHS:
            folder = arguments.work / name / f"epoch-{epoch:03d}"
            if folder.exists() and (name, str(epoch)) not in [(row["run"], row["epoch"]) for row in known()]:
                add(name, epoch, folder)


def add(name: str, epoch: int, folder: Path) -> None:
    """Measure one epoch and write its row."""
    run = checkpoint.load(folder)
    distance = metrics.frechet_distance(run.sample(metrics.COUNT), run.data["name"])
    row = (name, epoch, run.step, round(run.seconds), round(distance, 4))
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([FIELDS, row] if new else [row])
    print(*row, flush=True)


def known() -> list[dict[str, str]]:
    """The rows that are there."""
    return list(csv.DictReader(RESULTS.open())) if RESULTS.exists() else []


if __name__ == "__main__":
    main()
