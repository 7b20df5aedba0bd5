"""Every number of the shipped image generators, with CAS: the table of lesson 03.

    python benchmarks/generators.py [NAME …]

Writes assets/results/generators.csv: run, dataset, trained_on, parameters, minutes, count, and the numbers of a report;
the rows named `real …` hold those of real training images, and `copies mnist-10k` those of the very digits that the
recipes of lesson 03 learn from. Rows that are there are not measured again. Needs the full data sets.
"""

import argparse

import results

from gantools import data, metrics, train
from gantools.catalogue import REDUCED
from gantools.report import NUMBERS, Report
from gantools.run import Run

RESULTS = results.FOLDER / "generators.csv"
COPIES = "copies mnist-10k"
FIELDS = ("run", "dataset", "trained_on", "parameters", "minutes", "count", *NUMBERS)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the shipped generators.")
    parser.add_argument("names", nargs="*", help="default: all that draw images")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(train.shipped()):
        parser.error(f"{unknown.pop()!r} is not shipped; choose from {', '.join(train.shipped())}")
    for name in arguments.names or train.shipped():
        run = train.load(name)
        if len(run.recipe.image_shape) == 3 and name not in [row["run"] for row in results.read(RESULTS)]:
            measure(name, run)
    if COPIES not in [row["run"] for row in results.read(RESULTS)]:
        copies()


def measure(name: str, run: Run) -> None:
    """Write the row of one run, and that of the real images of its data set where there is none yet."""
    report = metrics.evaluate(run, cas=bool(run.recipe.classes))
    print(report, flush=True)
    networks = run.recipe.build()
    row = {
        "run": name,
        "trained_on": run.data["count"],
        "parameters": sum(p.numel() for network in networks for p in network.parameters()),
        "minutes": round(run.seconds / 60, 1),
    }
    rows = [row | _numbers(report)]
    real = f"real {report.dataset}"
    if real not in [old["run"] for old in results.read(RESULTS)] and report.real:
        rows.append({"run": real} | _numbers(report.real))
    results.append(RESULTS, FIELDS, rows)


def copies() -> None:
    """Write the row of a generator that would only hand out the 10,000 digits it had learned from."""
    digits = data.load("mnist", limit=REDUCED)
    seen = metrics.see(digits.images, "mnist")
    numbers = metrics.numbers_of(seen) | {
        "label_agreement": metrics.label_agreement(seen, digits.labels, "mnist"),
        "worst_class": float(metrics.label_agreement_per_class(seen, digits.labels, "mnist").min()),
        "classification_accuracy": metrics.classification_accuracy(digits.images, digits.labels, "mnist"),
        "memorisation": metrics.memorisation(digits.images, "mnist", digits),
    }
    report = Report(name=COPIES, dataset="mnist", count=len(digits), **numbers)
    print(report, flush=True)
    results.append(RESULTS, FIELDS, [{"run": COPIES, "trained_on": REDUCED} | _numbers(report)])


def _numbers(report: Report) -> dict[str, float | str]:
    return {"dataset": report.dataset, "count": report.count} | {
        key: round(value, 4) for key, value in report.numbers().items()
    }


if __name__ == "__main__":
    main()
