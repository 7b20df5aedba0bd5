"""The augmentation study on paper: what one training is, what came out of it, and the CSV file of both."""

import csv
import os
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass, fields
from io import StringIO
from pathlib import Path
from typing import Any


class StudyError(ValueError):
    """A study that cannot go on: rows that do not fit the plan, or a generator that is missing or another's."""


@dataclass(frozen=True)
class Trial:
    """One training of one classifier; together the fields are the key of its row.

    `size` real images of a subset, `dose` added ones for each of them; `gan` drew the added ones, "" where none did.
    """

    arm: str
    size: int
    dose: float
    subset: int
    classifier: str
    gan: str
    seed: int

    def __str__(self) -> str:
        """As `--row` takes it: arm=gan,size=1000,dose=1,subset=0,classifier=cnn,gan=rgan-1000-0,seed=0."""
        return ",".join(f"{name}={_text(value)}" for name, value in asdict(self).items() if value != "")

    @property
    def file_name(self) -> str:
        """Of the file with the places of the test images it got wrong."""
        return "_".join(_text(value).replace(" ", "-") for value in astuple(self) if value != "") + ".npy"


@dataclass(frozen=True)
class Row(Trial):
    """A trial and what came out of it.

    accuracy: on the test images; validation: on the held-out training images, by which a dose is chosen; both as
    shares. recipe_hash: the first twelve digits of the digest of the generator's recipe. seconds: of the classifier's
    training. per_class: accuracy on the test images of each class.
    """

    steps: int
    accuracy: float
    validation: float
    recipe_hash: str
    seconds: float
    per_class: tuple[float, ...]

    @property
    def trial(self) -> Trial:
        return Trial(**{field.name: getattr(self, field.name) for field in fields(Trial)})


COLUMNS = tuple(field.name for field in fields(Row))


def parse(text: str) -> dict[str, Any]:
    """The fields named in "arm=gan,size=1000,…", each as what it is. Raises `StudyError` for anything else."""
    kinds = {field.name: field.type for field in fields(Trial)}
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or name not in kinds:
            raise StudyError(f"row {text!r}: {part!r} is not one of {'=…, '.join(kinds)}=…")
        if name in found:
            raise StudyError(f"row {text!r} gives {name} twice")
        try:
            found[name] = kinds[name](value)
        except ValueError as error:
            raise StudyError(f"row {text!r}: {name}={value!r} is no number") from error
    return found


def read(path: str | Path) -> list[Row]:
    """The rows of a CSV file. Raises `StudyError` where it holds anything else."""
    try:
        with Path(path).open(newline="") as file:
            lines = csv.DictReader(file)
            if tuple(lines.fieldnames or ()) != COLUMNS:
                raise StudyError(f"{path}: expected the columns {', '.join(COLUMNS)}")
            return [_row(line) for line in lines]
    except (OSError, TypeError, KeyError, ValueError, AttributeError) as error:  # None stands for a missing field
        raise error if isinstance(error, StudyError) else StudyError(f"{path} cannot be read: {error}") from error


def recorded(trial: Trial, path: str | Path) -> Row | None:
    """The row of this trial in a CSV file; None where there is no row, or no file."""
    rows = read(path) if Path(path).exists() else []
    return next((row for row in rows if row.trial == trial), None)


def append(path: str | Path, rows: Iterable[Row]) -> None:
    """Add rows to a CSV file, which is made where there is none; they are on the disk when this returns."""
    path = Path(path)
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if not path.exists():
        writer.writerow(COLUMNS)
    for row in rows:
        line = asdict(row) | {"dose": _text(row.dose), "per_class": " ".join(f"{share:.6g}" for share in row.per_class)}
        writer.writerow(line.values())
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        file.write(text.getvalue())
        file.flush()
        os.fsync(file.fileno())


def mend(path: str | Path) -> None:
    """Cut off a line that lacks its end, where a machine that stopped left one: its last number may be half of one."""
    path = Path(path)
    if path.exists() and not (raw := path.read_bytes()).endswith(b"\n"):
        os.truncate(path, raw.rfind(b"\n") + 1)
    if path.exists() and not path.stat().st_size:
        path.unlink()


def _row(line: dict[str, str]) -> Row:
    if None in line:
        raise ValueError(f"a line has more than {len(COLUMNS)} columns")
    values: dict[str, Any] = {field.name: line[field.name] for field in fields(Row)}
    for field in fields(Row):
        if field.type in (int, float):
            values[field.name] = field.type(values[field.name])
    row = Row(**values | {"per_class": tuple(map(float, line["per_class"].split()))})
    if not (0 <= row.accuracy <= 1 and 0 <= row.validation <= 1):
        raise ValueError(f"accuracy={row.accuracy}, validation={row.validation} must be shares, of {row.trial}")
    return row


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
