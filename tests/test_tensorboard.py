import subprocess
import sys

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gantools import data, plots, recipes, train

TITLES = {
    "loss/d": "d_loss",
    "loss/g": "g_loss",
    "loss/penalty": "penalty",
    "belief/real": "d_real",
    "belief/fake": "d_fake",
    "accuracy/real": "real_accuracy",
    "accuracy/fake": "fake_accuracy",
}
RATES = {"rate/d", "rate/g"}
RING = recipes.get("ring", batch=8, steps=10)


def read(folder):
    """What TensorBoard shows of a folder."""
    board = EventAccumulator(str(folder))
    board.Reload()
    return board


def steps(folder, title="loss/d"):
    return [event.step for event in read(folder).Scalars(title)]


def age(folder):
    """Give the log in a folder a name that sorts before those of later runs: names count whole seconds."""
    (log,) = folder.iterdir()
    log.rename(folder / "events.out.tfevents.0")


def test_the_numbers_of_each_epoch_are_logged_at_its_step(recipe, tiny, tmp_path):
    run = train.fit(recipe.change(steps=12, r1=1.0), tiny, log_dir=tmp_path)
    board = read(tmp_path)
    assert set(board.Tags()["scalars"]) == set(TITLES) | RATES
    for title, key in TITLES.items():
        logged = board.Scalars(title)
        assert [event.step for event in logged] == [row["step"] for row in run.history] == [5, 10, 12]
        assert [event.value for event in logged] == pytest.approx([row[key] for row in run.history])


def test_what_on_epoch_adds_to_the_last_row_is_logged_with_it(recipe, tiny, tmp_path):
    added = iter([(30.0, 2.0), (20.0, 3.0)])

    def measure(run):
        if not run.open_row:
            run.rows[-1] |= dict(zip(("frechet_distance", "inception_score"), next(added), strict=True))

    train.fit(recipe.change(steps=12), tiny, log_dir=tmp_path, on_epoch=measure)
    board = read(tmp_path)
    distances, scores = (board.Scalars(f"quality/{key}") for key in ("frechet_distance", "inception_score"))
    assert [(event.step, event.value) for event in distances] == [(5, 30), (10, 20)]
    assert [(event.step, event.value) for event in scores] == [(5, 2), (10, 3)]
    assert steps(tmp_path) == [5, 10, 12]


def test_what_on_epoch_changes_is_logged_as_changed_and_what_nobody_knows_is_left_out(recipe, tiny, tmp_path):
    train.fit(recipe, tiny, log_dir=tmp_path, on_epoch=lambda run: run.rows[-1].update(d_loss=7.0, mood=1.0))
    board = read(tmp_path)
    assert [event.value for event in board.Scalars("loss/d")] == [7, 7]
    assert set(board.Tags()["scalars"]) == set(TITLES) | RATES


def test_learning_rates_are_logged_as_the_epoch_had_them(recipe, tiny, tmp_path):
    train.fit(recipe.change(d_lr=4e-4, g_lr=2e-4, lr_decay=0.5, decay_every=1), tiny, log_dir=tmp_path)
    board = read(tmp_path)
    logged = {title: [event.value for event in board.Scalars(title)] for title in RATES}
    assert logged["rate/d"] == pytest.approx([4e-4, 2e-4])
    assert logged["rate/g"] == pytest.approx([2e-4, 1e-4])


def test_how_often_d_names_the_class_is_logged_where_it_does(tiny, tmp_path):
    run = train.fit(recipes.get("acgan", batch=8, g_batch=8, steps=5), tiny, log_dir=tmp_path)
    board, (row,) = read(tmp_path), run.history
    assert set(board.Tags()["scalars"]) == set(TITLES) | RATES | {"named/real", "named/fake", "loss/class"}
    (event,) = board.Scalars("loss/class")
    assert (event.step, event.value) == (5, pytest.approx(row["class_loss"]))
    for half in ("real", "fake"):
        (event,) = board.Scalars(f"named/{half}")
        assert (event.step, event.value) == (5, pytest.approx(row[f"{half}_named"]))


def test_samples_of_the_same_z_are_logged_after_each_epoch(recipe, tiny, tmp_path):
    run = train.fit(recipe, tiny, log_dir=tmp_path)
    board = read(tmp_path)
    assert board.Tags()["images"] == ["samples"]
    first, last = board.Images("samples")
    assert (first.step, last.step) == (5, 10)
    shown = imageio.imread(last.encoded_image_string, extension=".png")
    assert np.array_equal(shown[:, :, 0], plots.tile(run.sample(32), 16, zoom=1))
    assert first.encoded_image_string != last.encoded_image_string


def test_samples_of_a_conditional_run_have_a_column_for_each_class(conditional, tiny, tmp_path):
    run = train.fit(conditional, tiny, log_dir=tmp_path)
    shown = imageio.imread(read(tmp_path).Images("samples")[-1].encoded_image_string, extension=".png")
    z = run.draw_z(2)
    images = torch.cat([run.sample(z=z[row : row + 1], labels=[label]) for row in range(2) for label in range(10)])
    assert np.array_equal(shown[:, :, 0], plots.tile(images, 10, zoom=1))


def test_colour_images_are_logged_in_colour(make_set, tmp_path):
    run = train.fit(recipes.get("cgan-mlp", batch=8, epochs=1), make_set(16, (3, 28, 28)), log_dir=tmp_path)
    shown = imageio.imread(read(tmp_path).Images("samples")[-1].encoded_image_string, extension=".png")
    assert shown.shape == (2 * 30 - 2, 10 * 30 - 2, 3)  # two pixels between two images
    assert np.array_equal(shown[:28, :28].transpose(2, 0, 1), data.to_uint8(run.sample(1))[0].numpy())


def test_points_are_no_images_and_their_numbers_are_logged(tmp_path):
    train.fit(RING, data.ring(40), log_dir=tmp_path)
    assert read(tmp_path).Tags()["images"] == []
    assert steps(tmp_path) == [5, 10]


def test_without_tensorboard_the_error_says_how_to_install_it(recipe, tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match="pip install tensorboard") as refusal:
        train.fit(recipe, tiny, log_dir=tmp_path / "board")
    assert str(tmp_path / "board") in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_who_logs_nothing_does_not_wait_for_matplotlib():
    source = "import sys, gantools.train; print(sorted({'matplotlib', 'tensorboard'} & sys.modules.keys()))"
    assert subprocess.check_output([sys.executable, "-c", source], text=True) == "[]\n"


def test_who_logs_nothing_needs_no_tensorboard_and_gets_no_files(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.chdir(tmp_path)
    assert train.fit(RING, data.ring(40)).step == 10
    assert list(tmp_path.iterdir()) == []


def test_logging_does_not_change_the_run(recipe, tiny, tmp_path):
    logged, plain = (train.fit(recipe, tiny, log_dir=folder) for folder in (tmp_path, None))
    for one, other in ((logged.player, plain.player), (logged.discriminator, plain.discriminator)):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_a_resumed_run_replaces_what_was_logged_after_its_checkpoint(tmp_path):
    out, board = tmp_path / "run", tmp_path / "board"
    train.fit(RING.change(steps=20), data.ring(40), log_dir=board)  # gets further than what is kept
    age(board)
    train.fit(RING.change(steps=5), data.ring(40), out)
    train.fit(RING.change(steps=15), data.ring(40), out, resume=True, log_dir=board)
    assert steps(board)[-2:] == [10, 15]


def test_a_resumed_run_keeps_what_was_logged_before_its_checkpoint(tmp_path):
    out, board = tmp_path / "run", tmp_path / "board"
    train.fit(RING, data.ring(40), out, log_dir=board)
    age(board)
    train.fit(RING.change(steps=20), data.ring(40), out, resume=True, log_dir=board)
    logged = steps(board)
    assert logged[0] == 5
    assert logged[-2:] == [15, 20]


def test_a_new_run_in_the_same_folder_replaces_the_old_one(tmp_path):
    train.fit(RING.change(steps=15), data.ring(40), log_dir=tmp_path)
    age(tmp_path)
    train.fit(RING, data.ring(40), log_dir=tmp_path)
    assert steps(tmp_path) == [5, 10]
