"""The files of a run: `run.json`, and safetensors for networks and optimizers. Never pickle.

`run.json` names the weight files and their SHA-256. Other weights get other names and `run.json` is replaced last, in
one move: a writer that dies half-way leaves the previous checkpoint whole.

    run.json                            recipe, data, step, seconds, history
    networks-<step>-<sha>.safetensors   generator.*, discriminator.*, average.* (the EMA generator)
    optimizers-<step>-<sha>.safetensors d_optimizer.<i>.*, g_optimizer.<i>.* (absent where only networks are shipped)
"""

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as dump_tensors
from torch import Tensor, contiguous_format

from gantools import rounding
from gantools.runtime import write_whole

FORMAT = 1
KINDS = {  # of run.json
    "format": int,
    "recipe": dict,
    "data": dict,
    "step": int,
    "seconds": int | float,
    "files": dict,
    "rows": list,
    "open_row": dict,
}
DATA_KINDS = {"name": str, "count": int, "classes": list, "digest": str}  # of what it says of the data

About = dict[str, Any]  # what run.json holds
Weights = dict[str, dict[str, Tensor]]  # "networks", and "optimizers" where there are any


class CheckpointError(ValueError):
    """A run that is missing, damaged, or not what was asked for."""


def write(folder: Path, about: About, weights: Weights) -> None:
    """Replace the checkpoint in a folder, which is made where there is none, in one move.

    Raises `CheckpointError`, before a file is touched, for a row with a value that is no number.
    """
    try:
        about = json.loads(json.dumps({"format": FORMAT} | about, default=float))  # NumPy's and torch's numbers, too
        _check_rows(about)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{folder}: a run's rows hold numbers alone: {error}") from error
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for kind, tensors in weights.items():
        # Cloned: two names of one tensor, as a network may have them, are written twice.
        whole = {key: value.detach().cpu().clone(memory_format=contiguous_format) for key, value in tensors.items()}
        raw = dump_tensors(whole)
        digest = hashlib.sha256(raw).hexdigest()  # in the name, too: the files of another save stay until the end
        files[kind] = {"file": f"{kind}-{about['step']}-{digest[:8]}.safetensors", "sha256": digest}
        write_whole(folder / files[kind]["file"], raw)
    write_whole(folder / "run.json", (json.dumps(about | {"files": files}, indent=1) + "\n").encode())
    partial = folder.glob(".*.partial")  # of a writer that was killed
    for stale in (*folder.glob("networks-*.safetensors"), *folder.glob("optimizers-*.safetensors"), *partial):
        if stale.name not in [entry["file"] for entry in files.values()]:
            with suppress(OSError):  # another process may read it, which holds it on some systems
                stale.unlink()


def read(folder: Path) -> tuple[About, Weights]:
    """What was written last, checked; read again where a training has replaced it in between.

    Raises `CheckpointError`, naming the file, for anything that is missing or damaged.
    """
    about = read_about(folder)
    try:
        return about, {
            kind: _tensors(folder / entry["file"], entry["sha256"]) for kind, entry in about["files"].items()
        }
    except CheckpointError:
        if read_about(folder)["files"] == about["files"]:
            raise
    return read(folder)


def there(folder: str | Path) -> bool:
    """Whether the folder holds a run."""
    return (Path(folder) / "run.json").exists()


def read_about(folder: Path) -> About:
    """What run.json holds. Raises `CheckpointError` where it is damaged, and where another version wrote it."""
    path = folder / "run.json"
    try:
        about = json.loads(path.read_text())
        ours = about.get("format", FORMAT) == FORMAT
        if ours:  # another format may have other fields, and is not damaged
            _check_about(about)
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    if not ours:
        raise CheckpointError(f"{path} has the format {about['format']!r:.20}; this version reads {FORMAT}")
    return about


def _check_about(about: About) -> None:
    _check(about, KINDS)
    _check(about["data"], DATA_KINDS)
    _check({"measured": {}} | about, {"measured": dict})
    if about["step"] < 0:
        raise ValueError(f"step is {about['step']}")
    if not isinstance(about["recipe"].get("name"), str) or not {"networks"} <= about["files"].keys():
        raise ValueError("without the recipe's name or the networks' file")
    if not all(isinstance(entry.get(key), str) for entry in about["files"].values() for key in ("file", "sha256")):
        raise ValueError("without the name or the SHA-256 of a file")
    _check_rows(about)
    if about["open_row"] and not about["open_row"].get("steps", 0) > 0:  # what its sums are divided by
        raise ValueError("open_row is without steps")


def _check_rows(about: About) -> None:
    if not all(isinstance(row, dict) for row in about["rows"]):
        raise ValueError("with a row that is none")
    for row in (*about["rows"], about["open_row"]):
        _check(row, dict.fromkeys(row, int | float))


def _check(fields: dict[str, Any], kinds: dict[str, Any]) -> None:
    if missing := kinds.keys() - fields.keys():
        raise ValueError(f"without {', '.join(sorted(missing))}")
    for key, kind in kinds.items():
        if not isinstance(fields[key], kind) or isinstance(fields[key], bool):
            raise ValueError(f"{key} is {fields[key]!r:.60}")


def _tensors(path: Path, sha256: str) -> dict[str, Tensor]:
    try:
        raw = path.read_bytes()
        if hashlib.sha256(raw).hexdigest() != sha256:
            raise ValueError(f"its SHA-256 is not the one in run.json ({len(raw):,} bytes)")
        return rounding.restored(parse_tensors(raw))
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{path} is missing or damaged: {error}") from error
