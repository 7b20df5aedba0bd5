"""The notebooks as a course: run them, store their outputs, keep those honest.

python tools/course.py run         every notebook top to bottom; the executed course as HTML in build/
python tools/course.py refresh     the same, and store the outputs and the hash of what made them
python tools/course.py address URL write the repository's address wherever it stands
"""

import argparse
import hashlib
import html
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter

from gantools import ASSETS, REPOSITORY, data, recipes

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
CELL_TIMEOUT = 1200  # seconds
WIDGET = "application/vnd.jupyter.widget-view+json"
Notebook = Any  # nbformat's NotebookNode


def notebooks() -> list[Path]:
    """Every lesson in order, then the solutions."""
    folder = ROOT / "notebooks"
    return sorted(folder.glob("*.ipynb")) + sorted((folder / "solutions").glob("*.ipynb"))


def fingerprint(notebook: Notebook) -> str:
    """SHA-256 of what decides a notebook's outputs: its code; the recipes, checkpoints, judges and results it names."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    code = [cell.source for cell in cells if "setup" not in cell.metadata.get("tags", [])]  # it holds the address
    text = "\n".join(code)
    parts = [*code, *(recipe.digest() for name, recipe in recipes.RECIPES.items() if f'"{name}' in text)]
    judged = [name for name in data.CLASSES if f'"{name}"' in text]
    for about in sorted((ASSETS / "checkpoints").glob("*/run.json")):
        if f'"{about.parent.name}"' in text:
            parts += [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(about.parent.iterdir())]
            judged.append(json.loads(about.read_text())["data"]["name"])
    if "metrics." in text:
        judges = [ASSETS / "checkpoints" / f"judge-{name}" / "judge.json" for name in sorted(set(judged))]
        parts += [path.read_text() for path in judges if path.exists()]
    named = [path for path in sorted((ASSETS / "results").iterdir()) if f'"{path.name}"' in text]
    parts += [path.read_text(encoding="latin-1") for path in named]  # any byte can be read so, of an .npz too
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def execute(path: Path) -> tuple[Notebook, float]:
    """The notebook with the outputs of a run from top to bottom, in its own folder; and the seconds it took."""
    notebook = nbformat.read(path, as_version=4)
    started = time.perf_counter()
    NotebookClient(
        notebook, timeout=CELL_TIMEOUT, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    ).execute()
    return notebook, time.perf_counter() - started


def clean(notebook: Notebook) -> Notebook:
    """Without what differs from run to run or shows as an error when reopened: widget views, kernel, metadata."""
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {key: value for key, value in cell.metadata.items() if key == "tags"}
        if cell.cell_type == "code":
            cell.outputs = _last_states([output for output in cell.outputs if WIDGET not in output.get("data", {})])
    return notebook


def _last_states(outputs: list[Notebook]) -> list[Notebook]:
    """Outputs with every progress bar, which redraws itself in place, as it stood at its end."""
    kept: list[Notebook] = []
    for output in outputs:
        if kept and output.output_type == "stream" and output.get("name") == kept[-1].get("name"):
            kept[-1].text += output.text
        else:
            kept.append(output)
    for output in kept:
        if output.output_type == "stream":
            output.text = "\n".join(line.rsplit("\r", 1)[-1] for line in output.text.split("\n"))
    return kept


def as_html(notebook: Notebook, path: Path, lessons: list[Path]) -> Path:
    """One page of the course, with links to the others."""
    body, _ = HTMLExporter(embed_images=False).from_notebook_node(notebook, {"metadata": {"name": title(path)}})
    links = " · ".join(
        f"<b>{html.escape(title(other))}</b>"
        if other == path
        else f'<a href="{page(other).name}">{html.escape(title(other))}</a>'
        for other in lessons
    )
    navigation = f'<nav aria-label="lessons" style="padding:8px 16px;font-family:sans-serif">{links}</nav>'
    BUILD.mkdir(exist_ok=True)
    page(path).write_text(re.sub(r"(<body[^>]*>)", lambda tag: tag.group(1) + navigation, body, count=1))
    return page(path)


def page(path: Path) -> Path:
    """Where a notebook's page goes."""
    return BUILD / (path.stem + ("_solutions" if path.parent.name == "solutions" else "") + ".html")


def title(path: Path) -> str:
    """01_mlp_gan → 01 mlp gan, with a word for the solutions."""
    return path.stem.replace("_", " ") + (" (solutions)" if path.parent.name == "solutions" else "")


def _cores() -> int:
    """Those that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(store: bool) -> int:
    """Run everything; returns the number of notebooks that failed."""
    if store:
        os.environ["GANTOOLS_PROFILE"] = "quick"
        os.environ["GANTOOLS_DATA"] = tempfile.mkdtemp()  # as a reader sees it: bundled data alone
    lessons, started = notebooks(), time.perf_counter()
    # One notebook a core, each on one thread: two thread pools on the same cores trip over each other.
    # Stored outputs print their times, so those notebooks run alone.
    at_once = 1 if store else min(len(lessons), _cores())
    if at_once > 1:
        os.environ["OMP_NUM_THREADS"] = "1"
    print(f"{len(lessons)} notebooks, {at_once} at once, profile {recipes.profile()}", flush=True)
    with ThreadPoolExecutor(at_once) as pool:
        failed = sum(pool.map(lambda path: not run_one(path, lessons, store), lessons))
    first = f'<meta http-equiv="refresh" content="0; url={page(lessons[0]).name}">\n'
    BUILD.mkdir(exist_ok=True)
    (BUILD / "index.html").write_text(first)
    print(f"all in {time.perf_counter() - started:.0f} s; open build/index.html")
    return failed


def run_one(path: Path, lessons: list[Path], store: bool) -> bool:
    """Run one notebook and write its page, and its outputs where asked; whether it ran to its end."""
    try:
        notebook, seconds = execute(path)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        print(f"{title(path):36} FAILED\n{error}", flush=True)
        return False
    as_html(clean(notebook), path, lessons)
    print(f"{title(path):36} {seconds:6.1f} s   {page(path).relative_to(ROOT)}", flush=True)
    if store:
        notebook.metadata["gantools"] = {"fingerprint": fingerprint(notebook)}
        nbformat.write(notebook, path)
        subprocess.run([sys.executable, "-m", "nbstripout", "--keep-output", "--keep-count", path], check=True)
    return True


def address(url: str) -> None:
    """Replace the repository's address in every file that holds it."""
    if not re.fullmatch(r"https://[\w.-]+/[\w.-]+/[\w.-]+", url):
        raise SystemExit(f"{url!r}: expected https://HOST/OWNER/NAME")
    old, new = (text.removeprefix("https://").split("/", 1)[1] for text in (REPOSITORY, url))
    for path in address_files():
        text = path.read_text()
        path.write_text(text.replace(REPOSITORY, url).replace(f"/github/{old}/", f"/github/{new}/"))


def address_files() -> list[Path]:
    """Every file in which the repository's address stands."""
    return [ROOT / "gantools/__init__.py", ROOT / "pyproject.toml", ROOT / "README.md", *notebooks()]


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the course.")
    parser.add_argument("command", choices=("run", "refresh", "address"))
    parser.add_argument("url", nargs="?", default="")
    options = parser.parse_args()
    if options.command == "address":
        address(options.url)
        return 0
    return 1 if run(store=options.command == "refresh") else 0


if __name__ == "__main__":
    sys.exit(main())
