"""Tables of measurements in `assets/results`: rows are added as soon as a run is measured, and never twice."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gantools import ASSETS

FOLDER = ASSETS / "results"


def read(path: Path) -> list[dict[str, str]]:
    """The rows that are there."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def append(path: Path, fields: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows, below a line of titles where the file is new."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fields, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)
