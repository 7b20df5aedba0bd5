"""The rules every notebook keeps; nbval then runs each of them (see the Makefile)."""

import importlib.util
import re
import sys
from pathlib import Path

import nbformat
import pytest
import torch

from gantools import REPOSITORY, __version__, data, recipes, train

ROOT = Path(__file__).resolve().parent.parent
specification = importlib.util.spec_from_file_location("course", ROOT / "tools" / "course.py")
course = sys.modules["course"] = importlib.util.module_from_spec(specification)
specification.loader.exec_module(course)

LESSONS = [path for path in course.notebooks() if path.parent.name == "notebooks"]
each_notebook = pytest.mark.parametrize("path", course.notebooks(), ids=course.title)
each_lesson = pytest.mark.parametrize("path", LESSONS, ids=course.title)


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs_of(notebook):
    return [output for cell in code_of(notebook) for output in cell.outputs]


def test_there_is_a_solution_for_every_lesson_with_exercises():
    for path in LESSONS:
        exercises = any(
            cell.cell_type == "markdown" and "## Exercises" in cell.source for cell in nbformat.read(path, 4).cells
        )
        assert exercises == (path.parent / "solutions" / path.name).exists()


@each_notebook
def test_it_was_run_from_top_to_bottom_without_an_error_or_a_warning(path):
    notebook = nbformat.read(path, 4)
    counts = [cell.execution_count for cell in code_of(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert not [output for output in outputs_of(notebook) if output.output_type == "error"]
    assert not [output.text for output in outputs_of(notebook) if output.get("name") == "stderr"], "a warning shows"


@each_notebook
def test_its_outputs_are_those_of_its_code_recipes_and_checkpoints(path):
    notebook = nbformat.read(path, 4)
    assert notebook.metadata["gantools"]["fingerprint"] == course.fingerprint(notebook), "stale: make refresh"


@each_notebook
def test_its_file_is_small_and_holds_no_widget_state(path):
    notebook = nbformat.read(path, 4)
    assert path.stat().st_size < 3_000_000
    assert "widgets" not in notebook.metadata
    assert not [output for output in outputs_of(notebook) if course.WIDGET in output.get("data", {})]


@each_notebook
def test_no_cell_is_skipped_or_allowed_to_fail(path):
    for cell in code_of(nbformat.read(path, 4)):
        assert not set(cell.metadata.get("tags", [])) - {"setup", "definitions"}
        assert not re.search(r"NBVAL_\w+|PYTEST_VALIDATE", cell.source)
        assert cell.source.strip()


@each_notebook
def test_every_section_with_code_asserts_what_it_claims(path):
    section, seen = "", {}
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "markdown":
            for heading in re.findall(r"^## (.+)$", cell.source, flags=re.M):
                section = heading
        elif section:
            seen[section] = seen.get(section, False) or "assert " in cell.source
    assert seen and all(seen.values()), [name for name, asserted in seen.items() if not asserted]


@each_notebook
def test_every_picture_has_a_text(path):
    pictures = [
        picture
        for output in outputs_of(nbformat.read(path, 4))
        for picture in re.findall(r"<img[^>]*>", output.get("data", {}).get("text/html", ""))
    ]
    assert pictures and all(re.search(r'alt="[^"]{8,}"', picture) for picture in pictures)
    assert not [output for output in outputs_of(nbformat.read(path, 4)) if "image/png" in output.get("data", {})]


@each_notebook
def test_cells_are_short(path):
    assert max(len(cell.source.splitlines()) for cell in code_of(nbformat.read(path, 4))) <= 40


@each_lesson
def test_a_lesson_has_the_length_of_a_lesson(path):
    notebook = nbformat.read(path, 4)
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert 40 <= len(notebook.cells) <= 60
    assert 1_500 <= sum(len(text.split()) for text in prose) <= 2_700
    assert sum(len(cell.source.splitlines()) for cell in code_of(notebook)) <= 310


@each_notebook
def test_the_set_up_cell_is_the_same_everywhere(path):
    first, model = code_of(nbformat.read(path, 4))[0], code_of(nbformat.read(LESSONS[0], 4))[0]
    assert first.metadata.tags == ["setup"] and first.source == model.source
    assert f"git+{REPOSITORY}@v{__version__}" in first.source


def test_the_address_of_the_repository_is_the_same_everywhere():
    owner_and_name = REPOSITORY.removeprefix("https://github.com/")
    for path in course.address_files():
        text = path.read_text()
        assert REPOSITORY in text, path
        for found in re.findall(r"github\.com/([\w.-]+/gantools)|/github/([\w.-]+/gantools)", text):
            assert "".join(found) == owner_and_name, path


def lesson_01():
    """What the cells of lesson 01 tagged `definitions` define."""
    names = {}
    exec("import math\nfrom itertools import pairwise\nimport torch\nfrom torch import nn", names)
    for cell in code_of(nbformat.read(ROOT / "notebooks" / "01_mlp_gan.ipynb", 4)):
        if "definitions" in cell.metadata.get("tags", []):
            exec(cell.source, names)
    return names


def test_the_steps_that_lesson_01_writes_are_those_of_gantools():
    """One seeded step of each from the same weights, dropout off since the masks are drawn differently."""
    lesson = lesson_01()
    recipe = recipes.get("mlp-gan", joint_d_batch=False)
    ours = recipe.build()
    theirs = lesson["Generator"](), lesson["Discriminator"]()
    for their_network, our_network in zip(theirs, ours, strict=True):
        their_network.load_state_dict(our_network.state_dict())
        their_network.eval(), our_network.eval()
    torch.manual_seed(0)
    x_real, y, z = torch.rand(64, 1, 28, 28) * 2 - 1, torch.zeros(64, dtype=torch.int64), recipe.draw_z(64)
    (their_g, their_d), (our_g, our_d) = theirs, ours
    optimizers = [torch.optim.Adam(network.parameters(), lr=recipe.g_lr) for network in (*theirs, *ours)]

    d_loss, d_real, d_fake = lesson["d_step"](their_d, optimizers[1], x_real, their_g(z))
    g_loss = lesson["g_step"](their_d, optimizers[0], their_g(z))
    scores = train.d_step(recipe, our_d, optimizers[3], (x_real, y), (our_g(z), y))
    scores |= train.g_step(recipe, our_d, optimizers[2], (x_real, y), (our_g(z), y))

    assert [d_loss, d_real, d_fake, g_loss] == pytest.approx(
        [float(scores[name]) for name in ("d_loss", "d_real", "d_fake", "g_loss")], rel=1e-6
    )
    for their_network, our_network in zip(theirs, ours, strict=True):
        for their_weights, our_weights in zip(their_network.parameters(), our_network.parameters(), strict=True):
            assert torch.allclose(their_weights, our_weights, atol=1e-7)


@pytest.mark.parametrize("cached", [True, False])
def test_lesson_04_trains_on_emnist_where_that_is_in_the_cache(cached, monkeypatch, capsys):
    monkeypatch.setenv("GANTOOLS_PROFILE", "smoke")
    if cached:  # the same glyphs, by the name and in the place of EMNIST's letters
        letters = data.load("glyphs-letters")
        for split in ("train", "test"):
            data.save(
                data.cache_dir() / "emnist-letters" / f"{split}.npz",
                data.to_uint8(letters.images[:400]),
                letters.labels[:400],
            )
    cells = nbformat.read(ROOT / "notebooks" / "04_acgan.ipynb", 4).cells
    (first,) = (place for place, cell in enumerate(cells) if "data.found()" in cell.source)
    setup = next(cell.source for cell in cells if cell.source.startswith("import csv"))
    names = {}
    for source in (setup, cells[first].source, cells[first + 1].source):
        exec(source, names)
    assert names["run"].data["name"] == ("emnist-letters" if cached else "glyphs-letters")
    assert ("emnist-letters: 400 images of 26 classes" in capsys.readouterr().out) == cached
