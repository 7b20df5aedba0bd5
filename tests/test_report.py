from dataclasses import fields

import pytest

from gantools import metrics
from gantools.report import NUMBERS, Report

REAL = Report(
    name="real training images", dataset="mnist", count=10_000, frechet_distance=0.031, modes=10, coverage=0.96
)
MINE = Report(name="mine", dataset="mnist", count=2_000, frechet_distance=12.3456, modes=9, density=0.5, real=REAL)


def test_a_report_is_a_table_of_generated_beside_real():
    assert str(MINE).splitlines() == [
        "mine on mnist: 2,000 images",
        "                                   generated      real  better (real: 10,000 images)",
        "FD (Fréchet distance)                 12.346     0.031  lower",
        "density                                0.500            as real",
        "modes (classes present)                    9        10  all",
    ]


def test_a_note_stands_in_the_first_line():
    report = Report(name="mine", dataset="mnist", count=500, note="no memorisation", entropy=2.3)
    assert str(report).splitlines()[0] == "mine on mnist: 500 images; no memorisation"


def test_a_report_without_real_images_has_an_empty_column():
    assert str(REAL).splitlines()[2:] == [
        "FD (Fréchet distance)                  0.031            lower",
        "coverage                               0.960            higher",
        "modes (classes present)                   10            all",
    ]


def test_what_was_not_measured_is_no_number():
    assert MINE.numbers() == {"frechet_distance": 12.3456, "density": 0.5, "modes": 9}
    assert Report(name="mine", dataset="mnist", count=500).numbers() == {}


def test_zero_is_a_number():
    report = Report(name="mine", dataset="mnist", count=500, coverage=0.0, modes=0)
    assert str(Report(name="mine", dataset="mnist", count=500, modes=3, real=report)).split()[-3:] == ["3", "0", "all"]
    assert report.numbers() == {"coverage": 0, "modes": 0}
    assert len(str(report).splitlines()) == 4


def test_every_number_is_a_field_in_the_order_of_the_table():
    names = [field.name for field in fields(Report)]
    assert names[3:-2] == list(NUMBERS)


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_has_a_row_of_one_width(name):
    report = Report(name="mine", dataset="mnist", count=500, real=REAL, **{name: 12.3456})
    head, row = str(report).splitlines()[1:]
    title, form, better = NUMBERS[name]
    assert row.startswith(title + " ")
    assert row.endswith("  " + better)
    assert row.index(f"{12.3456:{form}}") + len(f"{12.3456:{form}}") == head.index("generated") + len("generated")


def test_every_number_but_the_worst_class_has_a_function_of_its_name():
    functions = dir(metrics)
    missing = [name for name in NUMBERS if name not in functions]
    assert missing == ["density", "coverage", "worst_class"]  # density_coverage gives two
