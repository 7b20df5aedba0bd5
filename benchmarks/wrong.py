"""Bundle which test images single classifiers of the study got wrong: what lesson 05 gives McNemar's test.

    python benchmarks/wrong.py OUT

Reads OUT/wrong, which `python -m gantools study --out OUT` wrote, and writes assets/results/wrong.npz: for the CNN on
real digits alone, bent, or with as many generated ones, on one subset of each size, under two seeds, the places of the
test images it got wrong, uint16, as "ARM SIZE SEED". Prints each accuracy.
"""

import argparse
from pathlib import Path

import numpy as np
import results

from gantools.plan import MAIN

RESULTS = results.FOLDER / "wrong.npz"
DOSES = {"real": 0.0, "classical": 0.0, "gan": 1.0}
SUBSET = 4


def main() -> None:
    parser = argparse.ArgumentParser(description="Bundle what single classifiers of the study got wrong.")
    parser.add_argument("out", type=Path, help="the study's folder")
    out = parser.parse_args().out
    wrong = {}
    for trial in MAIN.trials():
        if (trial.classifier, trial.subset) == ("cnn", SUBSET) and trial.dose == DOSES.get(trial.arm):
            places = np.load(out / "wrong" / trial.file_name)
            wrong[f"{trial.arm} {trial.size} {trial.seed}"] = places
            print(f"{trial}: {1 - len(places) / MAIN.tests:.4f}")
    np.savez_compressed(RESULTS, **wrong)


if __name__ == "__main__":
    main()
