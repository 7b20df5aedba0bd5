import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gantools import runfiles
from gantools.runfiles import CheckpointError

DATA = {"name": "mine", "count": 40, "classes": ["0", "1"], "digest": "00"}
ABOUT = {
    "recipe": {"name": "mine"},
    "data": DATA,
    "step": 7,
    "seconds": 1.5,
    "rows": [{"step": 4}],
    "open_row": {"steps": 3},
    "measured": {},
}
WEIGHTS = {
    "networks": {"generator.weight": torch.arange(6.0).view(2, 3)},
    "optimizers": {"d_optimizer.0.step": torch.tensor(7.0)},
}


@pytest.fixture
def folder(tmp_path):
    """A small checkpoint, of step seven."""
    runfiles.write(tmp_path / "run", ABOUT, WEIGHTS)
    return tmp_path / "run"


def edit(folder, **changes):
    """Change fields of run.json; None takes one out."""
    about = json.loads((folder / "run.json").read_text()) | changes
    (folder / "run.json").write_text(json.dumps({key: value for key, value in about.items() if value is not None}))


def test_what_was_written_is_read(folder):
    about, weights = runfiles.read(folder)
    assert {key: about[key] for key in ABOUT} == ABOUT
    assert about["format"] == runfiles.FORMAT
    assert weights.keys() == WEIGHTS.keys()
    for kind, tensors in WEIGHTS.items():
        assert weights[kind].keys() == tensors.keys()
        assert all(torch.equal(weights[kind][key], value) for key, value in tensors.items())


def test_a_tensor_that_is_a_view_of_another_is_written_by_itself(tmp_path):
    turned = torch.arange(6.0).view(2, 3).T
    runfiles.write(tmp_path, ABOUT, {"networks": {"weight": turned}})
    assert torch.equal(runfiles.read(tmp_path)[1]["networks"]["weight"], turned)


def test_two_names_of_one_tensor_are_written_twice(tmp_path):
    one = torch.arange(6.0)
    runfiles.write(tmp_path, ABOUT, {"networks": {"layer.weight": one, "alias.weight": one, "part": one[2:]}})
    read = runfiles.read(tmp_path)[1]["networks"]
    assert torch.equal(read["layer.weight"], one) and torch.equal(read["alias.weight"], one)
    assert torch.equal(read["part"], one[2:])


def test_an_old_file_that_cannot_be_deleted_costs_nothing(folder, monkeypatch):
    def held(path, **_):
        raise PermissionError(13, "in use", str(path))

    monkeypatch.setattr(Path, "unlink", held)
    runfiles.write(folder, ABOUT | {"step": 8}, WEIGHTS)
    monkeypatch.undo()
    assert runfiles.read(folder)[0]["step"] == 8


def test_the_next_checkpoint_replaces_the_files_of_this_one_and_no_others(folder):
    (folder / "notes.txt").write_text("mine")
    runfiles.write(folder, ABOUT | {"step": 8}, {"networks": WEIGHTS["networks"]})
    (networks,) = folder.glob("networks-8-*.safetensors")
    assert {path.name for path in folder.iterdir()} == {"notes.txt", "run.json", networks.name}
    assert runfiles.read(folder)[1].keys() == {"networks"}


def test_a_folder_holds_a_run_once_there_is_a_run_json(folder, tmp_path):
    assert runfiles.there(folder)
    assert not runfiles.there(tmp_path)
    assert not runfiles.there(tmp_path / "nowhere")


def test_a_folder_without_run_json_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"run\.json is damaged"):
        runfiles.read(tmp_path)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("kind", ["networks", "optimizers"])
@pytest.mark.parametrize("damage", [truncate, flip, lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_a_damaged_or_missing_weight_file_is_refused(folder, kind, damage):
    (path,) = folder.glob(f"{kind}-7-*.safetensors")
    damage(path)
    with pytest.raises(CheckpointError, match="missing or damaged") as refusal:
        runfiles.read(folder)
    assert str(path) in str(refusal.value)


def test_a_run_that_its_training_saves_while_it_is_loaded_is_read_again(folder, monkeypatch):
    read = Path.read_bytes

    def save_first(path):
        monkeypatch.undo()
        runfiles.write(folder, ABOUT | {"step": 8}, WEIGHTS)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", save_first)
    assert runfiles.read(folder)[0]["step"] == 8


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff\xfe", b"{}"])
def test_a_run_json_that_is_none_is_refused(folder, content):
    (folder / "run.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"run\.json is damaged") as refusal:
        runfiles.read(folder)
    assert str(folder) in str(refusal.value)


@pytest.mark.parametrize("field", ["format", "recipe", "data", "step", "seconds", "files", "rows", "open_row"])
def test_a_run_json_without_one_of_its_fields_is_refused(folder, field):
    edit(folder, **{field: None})
    with pytest.raises(CheckpointError, match=rf"run\.json is damaged: without {field}$"):
        runfiles.read(folder)


@pytest.mark.parametrize("changes", [{"recipe": {}}, {"recipe": 3}, {"files": {}}, {"files": {"networks": {}}}])
def test_a_run_json_with_an_empty_field_is_refused(folder, changes):
    edit(folder, **changes)
    with pytest.raises(CheckpointError) as refusal:
        runfiles.read(folder)
    assert str(folder) in str(refusal.value)


def test_another_format_is_refused(folder):
    edit(folder, format=2)
    with pytest.raises(CheckpointError, match=r"run\.json has the format 2; this version reads 1"):
        runfiles.read(folder)


def test_another_format_is_no_damage_whatever_fields_it_has(folder):
    about = json.loads((folder / "run.json").read_text())
    about["format"] = 2
    about["steps"] = about.pop("step")
    (folder / "run.json").write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match=r"run\.json has the format 2; this version reads 1"):
        runfiles.read_about(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"data": []},
        *({"data": {key: value for key, value in DATA.items() if key != left_out}} for left_out in DATA),
        {"data": DATA | {"classes": 3}},
        {"data": DATA | {"count": True}},
        {"open_row": 3},
        {"open_row": {"d_loss": 1.0}},
        {"open_row": {"d_loss": 1.0, "steps": 0}},
        {"open_row": {"steps": "two"}},
        {"rows": [{"step": 4, "d_loss": "low"}]},
        {"measured": "x"},
        {"step": -5},
        {"step": True},
        {"rows": "abc"},
        {"rows": [3]},
        {"step": "x"},
        {"seconds": "long"},
        {"recipe": {"name": ["x"]}},
        {"files": {"networks": {"file": None, "sha256": "0"}}},
    ],
)
def test_a_field_of_another_kind_is_damage(folder, changes):
    edit(folder, **changes)
    with pytest.raises(CheckpointError, match=r"run\.json is damaged"):
        runfiles.read(folder)


@pytest.mark.parametrize("value", ["good", True, None, [1.0]])
def test_a_row_that_could_not_be_read_again_is_refused_before_anything_is_replaced(folder, value):
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(CheckpointError, match="rows hold numbers alone: note is"):
        runfiles.write(folder, ABOUT | {"step": 8, "rows": [{"step": 4, "note": value}]}, WEIGHTS)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert runfiles.read(folder)[0]["step"] == 7


@pytest.mark.parametrize("value", [np.float32(1.5), np.int64(2), torch.tensor(0.25)])
def test_numbers_of_numpy_and_torch_are_written_as_numbers(folder, value):
    runfiles.write(folder, ABOUT | {"rows": [{"step": 4, "note": value}]}, WEIGHTS)
    assert runfiles.read(folder)[0]["rows"][0]["note"] == float(value)


def test_what_a_killed_writer_left_is_cleared_away(folder):
    left = folder / ".networks-7-00.safetensors.99.partial"
    left.write_bytes(b"half")
    runfiles.write(folder, ABOUT, WEIGHTS)
    assert not left.exists()
