"""What is promised about files and installation: two commands, lower bounds, and the set-up cell in a bare place."""

import os
import re
import subprocess
import sys
import venv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
PRESENT = ("torch", "torchvision", "numpy")  # as in Colab


def requirements(text):
    return set(re.findall(r'^\s*"?([\w-]+(?:>=|<)[\d.,<]+)"?,?\s*$', text, flags=re.M))


def test_requirements_hold_what_the_package_needs_by_lower_bounds_only():
    project, listed = (ROOT / "pyproject.toml").read_text(), requirements((ROOT / "requirements.txt").read_text())
    needed = requirements(project.split("dependencies = [")[1].split("]")[0])
    assert len(needed) >= 10 and needed <= listed
    assert not [line for line in listed if "==" in line]


def test_the_assets_stay_small():
    sizes = {path: path.stat().st_size for path in (ROOT / "assets").rglob("*") if path.is_file()}
    assert sum(sizes.values()) < 60e6
    assert sum(size for path, size in sizes.items() if "data" in path.parts) < 25e6


def top_level_entries(name, seen):
    """The entries in site-packages that a distribution and all it requires have put there."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return set()
    if found.metadata["Name"] in seen:
        return set()
    seen.add(found.metadata["Name"])
    entries = {Path(found.locate_file(file.parts[0])) for file in found.files or [] if file.parts[0] != ".."}
    for requirement in found.requires or []:
        if "extra ==" not in requirement:
            entries |= top_level_entries(re.match(r"[\w.-]+", requirement).group(), seen)
    return entries


@pytest.fixture(scope="module")
def bare_place(tmp_path_factory):
    """A fresh environment that has torch, torchvision and numpy and nothing else; its python, and its packages."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder / "venv", with_pip=True)
    packages = next((folder / "venv" / "lib").glob("python*/site-packages"))
    seen = set()
    for name in PRESENT:
        for entry in top_level_entries(name, seen):
            if entry.exists() and not (packages / entry.name).exists():
                (packages / entry.name).symlink_to(entry)
    return folder / "venv" / "bin" / "python", packages


def run(python, code, folder, **environment):
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "GANTOOLS"))}
    return subprocess.run(
        [python, "-c", code], cwd=folder, env=inherited | environment, capture_output=True, text=True, timeout=600
    )


def test_the_set_up_cell_works_where_the_repository_is_absent(bare_place, tmp_path):
    python, packages = bare_place
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT], check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    before = {path.name: path.resolve() for path in packages.iterdir() if path.is_symlink()}
    assert {"torch", "torchvision", "numpy"} <= before.keys()
    empty = tmp_path / "empty"
    empty.mkdir()

    lesson = nbformat.read(ROOT / "notebooks" / "01_mlp_gan.ipynb", 4)
    set_up = next(cell.source for cell in lesson.cells if "setup" in cell.metadata.get("tags", []))
    done = run(python, set_up, empty, GANTOOLS_SOURCE=str(wheel))
    assert done.returncode == 0, done.stderr

    assert {path.name: path.resolve() for path in packages.iterdir() if path.is_symlink()} == before, "reinstalled"
    use = """
import gantools
from gantools import data, explore, plots, recipes, train
print(gantools.__file__)
print(len(data.load("mnist", "test")), len(data.load("cifar10")), list(train.load("mlp-gan-mnist").sample(4).shape))
"""
    used = run(python, use, empty, GANTOOLS_DATA=str(tmp_path / "no-cache"))
    assert used.returncode == 0, used.stderr
    assert str(packages) in used.stdout and str(ROOT / "gantools") not in used.stdout
    assert "10000 1000 [4, 1, 28, 28]" in used.stdout
    assert run(python, set_up, empty, GANTOOLS_SOURCE="nothing to install").returncode == 0, "it is there now"
