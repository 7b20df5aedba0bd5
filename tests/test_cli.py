import io
import signal
import subprocess
import sys
from unittest.mock import Mock

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
import torchmetrics.image.fid
import torchvision

import gantools
from gantools import checkpoint, classify, cli, data, judge, losses, metrics, plots, recipes, runtime, train

QUICK = ["--limit", "80", "--set", "batch=8", "--set", "steps=3"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def trained(tmp_path, capsys):
    """The folder of a run of three steps."""
    assert cli.main(["train", "mlp-gan", *QUICK]) == 0
    capsys.readouterr()
    return tmp_path / "runs" / "mlp-gan"


def refusal(capsys, *arguments):
    """The one line of an error."""
    assert cli.main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("gantools: ")
    return line


# train


def test_train_changes_fields_saves_the_run_and_reports(capsys):
    assert cli.main(["train", "mlp-gan", *QUICK, "--set", "d_lr=1e-4", "--set", "ema=0.5"]) == 0
    run = train.load("runs/mlp-gan")
    assert run.step == 3
    assert run.data["count"] == 80
    assert run.recipe == recipes.get("mlp-gan", batch=8, steps=3, d_lr=1e-4, ema=0.5)
    last = capsys.readouterr().out.splitlines()[-1]
    assert "mlp-gan: 3 steps in" in last
    assert f"d_loss {run.history[-1]['d_loss']:.3f}, g_loss {run.history[-1]['g_loss']:.3f}" in last


def test_train_takes_a_set_by_path_and_a_folder(tiny, tmp_path):
    own = data.save(tmp_path / "own.npz", data.to_uint8(tiny.images), tiny.labels)
    arguments = ["train", "mlp-gan", "--data", str(own), "--set", "batch=8", "--set", "steps=2", "--out", "elsewhere"]
    assert cli.main(arguments) == 0
    run = train.load("elsewhere")
    assert (run.data["name"], run.data["digest"]) == ("own", tiny.digest())


def test_train_takes_a_set_by_name():
    assert cli.main(["train", "mlp-gan", "--data", "cifar10", *QUICK]) == 0
    assert train.load("runs/mlp-gan").recipe.image_shape == (3, 32, 32)


def test_train_resumes_and_ends_where_one_run_would(trained):
    assert cli.main(["train", "mlp-gan", *QUICK, "--set", "steps=5", "--resume"]) == 0
    assert cli.main(["train", "mlp-gan", *QUICK, "--set", "steps=5", "--out", "at-once"]) == 0
    resumed, at_once = train.load(trained), train.load("at-once")
    assert resumed.step == 5
    assert torch.equal(resumed.sample(5), at_once.sample(5))


@pytest.mark.parametrize(("name", "reduced"), [("cdcgan", True), ("rgan", True), ("dcgan-mnist", False)])
def test_a_printed_recipe_says_how_many_images_its_runs_learn_from(capsys, name, reduced):
    assert cli.main(["recipe", name]) == 0
    assert ("first 10,000 images: --limit 10000\n" in capsys.readouterr().out) == reduced


def test_a_printed_recipe_trains_when_fed_back(capsys, tmp_path):
    assert cli.main(["recipe", "mlp-gan"]) == 0
    printed = capsys.readouterr().out
    assert printed == recipes.get("mlp-gan").to_yaml()
    (tmp_path / "mine.yaml").write_text(printed.replace("steps: null", "steps: 3"))
    (tmp_path / "other.yaml").write_text(printed.replace("steps: null", "steps: 2"))
    for name in ("mine", "other"):  # of one recipe, each with a folder of its own
        assert cli.main(["train", f"{name}.yaml", "--limit", "80", "--set", "batch=16"]) == 0
    assert train.load("runs/mine").recipe == recipes.get("mlp-gan", steps=3, batch=16)
    assert train.load("runs/other").step == 2


def test_ctrl_c_saves_the_run_and_exits_with_130(monkeypatch, capsys):
    def pressed(*given):
        signal.raise_signal(signal.SIGINT)
        return losses.bce_d(*given)

    stopping = losses.Loss("non-saturating", pressed, losses.non_saturating_g)
    with monkeypatch.context() as patch:
        patch.setitem(recipes.RECIPES, "mlp-gan", recipes.get("mlp-gan", loss=stopping))
        assert cli.main(["train", "mlp-gan", *QUICK]) == 130
    assert capsys.readouterr().err == "gantools: stopped after step 1; saved in runs/mlp-gan: resume goes on there\n"
    assert train.load("runs/mlp-gan").step == 1
    assert cli.main(["train", "mlp-gan", *QUICK, "--resume"]) == 0


def test_ctrl_c_anywhere_else_says_so(monkeypatch, capsys):
    monkeypatch.setattr(cli.data, "download", Mock(side_effect=KeyboardInterrupt))
    assert cli.main(["data", "mnist"]) == 130
    assert capsys.readouterr().err == "gantools: interrupted\n"


def test_a_run_that_diverges_ends_in_one_line(capsys):
    line = refusal(capsys, "train", "mlp-gan", *QUICK, "--set", "d_lr=1e38", "--set", "g_lr=1e38")
    assert line.startswith("gantools: mlp-gan diverged at step ")


def test_train_draws_and_measures_after_each_epoch_where_asked(capsys):
    assert cli.main(["train", "mlp-gan", *QUICK, "--set", "steps=20", "--samples", "--measure", "100"]) == 0
    run = train.load("runs/mlp-gan")
    assert [path.name for path in sorted((run.folder / "samples").iterdir())] == ["step-000010.png", "step-000020.png"]
    drawn = imageio.imread(run.folder / "samples" / "step-000020.png")
    assert np.array_equal(drawn, plots.tile(run.sample(160), columns=16))
    measured = [row["frechet_distance"] for row in run.history]
    assert len(measured) == 2
    said = [line for line in capsys.readouterr().out.replace("\r", "\n").splitlines() if line.startswith("step ")]
    for row, line in zip(run.history, said, strict=True):
        numbers = dict(pair.split() for pair in line.partition(": ")[2].split(", "))
        assert float(numbers["frechet_distance"]) == pytest.approx(row["frechet_distance"], abs=1e-3)
        assert {"d_loss", "g_loss", "real_accuracy", "fake_accuracy", "inception_score"} < set(numbers)
    assert measured[-1] == pytest.approx(metrics.frechet_distance(run.sample(100), "mnist"))


def test_measuring_what_has_no_judge_is_refused_before_the_training(capsys, tiny, tmp_path):
    own = data.save(tmp_path / "own.npz", data.to_uint8(tiny.images), tiny.labels)
    assert "no judge for 'own'" in refusal(capsys, "train", "mlp-gan", "--data", own, "--measure", "100")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(["mlp-gan", "--measure", "99"], "during(99)"), (["ring", "--samples"], "points, not images")],
)
def test_pictures_of_points_and_numbers_of_too_few_images_are_refused(capsys, arguments, complaint):
    assert complaint in refusal(capsys, "train", *arguments)


# sample


def test_sample_gives_each_class_of_a_conditional_run_its_column():
    assert cli.main(["sample", "rgan-mnist-10k", "--count", "20", "--out", "twenty.png"]) == 0
    expected = plots.tile(train.load("rgan-mnist-10k").sample(20), columns=10)
    assert np.array_equal(imageio.imread("twenty.png"), expected)


def test_sample_draws_what_is_ordered():
    assert cli.main(["sample", "rgan-mnist-10k", "--label", "7", "--count", "16", "--out", "sevens.png"]) == 0
    expected = plots.tile(train.load("rgan-mnist-10k").sample(labels=[7] * 16))
    assert np.array_equal(imageio.imread("sevens.png"), expected)


def test_sample_draws_a_grid_of_the_runs_images(trained, capsys):
    assert cli.main(["sample", str(trained), "--count", "5", "--seed", "3", "--out", "five.png"]) == 0
    assert capsys.readouterr().out == "five.png\n"
    expected = plots.tile(train.load(trained).sample(5, seed=3))
    assert np.array_equal(imageio.imread("five.png"), expected)


def test_sample_draws_one_class_of_a_conditional_run(conditional, tiny, monkeypatch):
    monkeypatch.setitem(recipes.RECIPES, "shades", conditional)
    run = train.fit(conditional, tiny, "runs/shades")
    assert cli.main(["sample", "runs/shades", "--label", "7", "--count", "3", "--out", "sevens.png"]) == 0
    assert np.array_equal(imageio.imread("sevens.png"), plots.tile(run.sample(labels=[7, 7, 7])))


def test_a_class_is_sampled_by_its_name(capsys):
    assert cli.main(["sample", "rgan-pose-emnist-byclass", "--label", "q", "--count", "3", "--out", "q.png"]) == 0
    run = train.load("rgan-pose-emnist-byclass")
    assert np.array_equal(imageio.imread("q.png"), plots.tile(run.sample(labels=[run.classes.index("q")] * 3)))
    assert "there is no class 'ä': choose of 0, 1, 2" in refusal(
        capsys, "sample", "rgan-pose-emnist-byclass", "--label", "ä"
    )


def test_sample_takes_a_shipped_run_by_name(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(checkpoint, "ASSETS", tmp_path / "assets")
    checkpoint.save(train.load(trained), tmp_path / "assets" / "checkpoints" / "digits", networks_only=True, bits=16)
    assert cli.main(["sample", "digits"]) == 0
    assert capsys.readouterr().out == "samples.png\n"
    assert imageio.imread("samples.png").shape == (8 * 60 - 4, 8 * 60 - 4)


# evaluate


def rows(out):
    """The rows of a table: title → (generated, real)."""
    columns = [line[:34].strip() for line in out.splitlines()], [line[34:54].split() for line in out.splitlines()]
    return dict(zip(*columns, strict=True))


def test_evaluate_prints_the_numbers_beside_those_of_real_images(trained, capsys):
    assert cli.main(["evaluate", str(trained), "--count", "100", "--seed", "3"]) == 0
    out = capsys.readouterr().out
    report = metrics.evaluate(train.load(trained), count=100, seed=3)
    assert out.endswith(f"{report}\n")
    assert "mlp-gan on mnist: 100 images\n" in out
    table, real = rows(out), judge.load("mnist").real
    assert table["FD (Fréchet distance)"] == [f"{report.frechet_distance:.3f}", f"{real['frechet_distance']:.3f}"]
    assert table["coverage"] == [f"{report.coverage:.3f}", f"{real['coverage']:.3f}"]
    assert not [title for title in table if title.startswith(("label agreement", "CAS"))]


def test_evaluate_takes_a_shipped_run_by_name_and_a_data_set(capsys):
    assert cli.main(["evaluate", "mlp-gan-mnist", "--data", "mnist", "--count", "100"]) == 0
    out = capsys.readouterr().out
    assert "mlp-gan-mnist on mnist: 100 images; memorisation against 10,000 of its 60,000 training images; " in out


def test_evaluate_of_a_conditional_run_with_cas_has_every_row(conditional, make_set, monkeypatch, capsys):
    monkeypatch.setitem(recipes.RECIPES, "shades", conditional)
    monkeypatch.setattr(metrics, "PER_CLASS", 10)
    monkeypatch.setattr(classify, "accuracy", lambda network, images: len(images) / 40_000)
    train.fit(conditional, make_set(), "runs/shades")
    assert cli.main(["evaluate", "runs/shades", "--data", "mnist", "--count", "100", "--cas"]) == 0
    table = rows(capsys.readouterr().out)
    expected = judge.load("mnist").real["classification_accuracy"]
    assert table["CAS (trained on these only)"] == ["0.2500", f"{expected:.4f}"]
    assert {"label agreement", "label agreement, worst class"} < set(table)
    assert "memorisation (distance ratio)" not in table  # it was trained on other images


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--count", "99"], "99 images are too few for a number: take at least 100"),
        (["--count", "0"], "0 images are too few for a number"),
        (["--count", "many"], "invalid int value: 'many'"),
        (["--data", "mnst"], "there is no judge for 'mnst'; judges exist for "),
        (["--extractor", "vgg"], "invalid choice: 'vgg'"),
        (["--count", "100", "--extractor", "inception"], "Inception-v3 cannot be had here"),
    ],
)
def test_an_evaluation_that_cannot_be_is_one_line(trained, capsys, monkeypatch, arguments, complaint):
    monkeypatch.setattr(torchmetrics.image.fid, "_TORCH_FIDELITY_AVAILABLE", False)
    assert complaint in refusal(capsys, "evaluate", trained, *arguments)


def test_images_of_another_shape_cannot_be_evaluated(capsys):
    assert cli.main(["train", "mlp-gan", "--data", "cifar10", *QUICK]) == 0
    capsys.readouterr()
    line = refusal(capsys, "evaluate", "runs/mlp-gan", "--data", "mnist", "--count", "100")
    assert "the judge of mnist sees images of the shape [N, 1, 28, 28], not [100, 3, 32, 32]" in line


# data and info


def test_data_downloads_into_the_cache_and_prints_the_folder(monkeypatch, capsys):
    def fetch(name, split, folder):
        return np.zeros((3, 1, 28, 28), np.uint8), np.arange(3)

    monkeypatch.setattr(data, "fetch", fetch)
    assert cli.main(["data", "mnist", "fashion-mnist"]) == 0
    folders = [data.cache_dir() / name for name in ("mnist", "fashion-mnist")]
    assert capsys.readouterr().out.splitlines() == [str(folder) for folder in folders]
    assert len(data.load("fashion-mnist", "test")) == 3


def test_no_data_are_fetched_where_one_name_is_wrong(monkeypatch, capsys):
    monkeypatch.setattr(data, "fetch", Mock())
    assert "cannot download 'mnst'" in refusal(capsys, "data", "mnist", "mnst")
    assert not data.fetch.called


def test_data_that_cannot_be_fetched_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["file:///no/such/mirror/"])
    line = refusal(capsys, "data", "mnist")
    assert "downloading mnist with torchvision failed" in line
    assert str(data.cache_dir() / "mnist") in line


def test_info_tells_what_is_here(capsys):
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    for part in (gantools.__version__, torch.__version__, "profile quick", str(data.cache_dir()), "mlp-gan"):
        assert part in out
    assert ["mnist", "bundled", "part"] in [line.split() for line in out.splitlines()]
    auto = runtime.resolve_precision("auto", torch.device("cpu"))
    assert f"cpu (1 threads), precision auto = {auto}\n" in out
    assert f"judges    {', '.join(judge.available())}\n" in out


# Errors


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["train"], "required: recipe"),
        (["train", "mlp-gan", "--steps", "3"], "unrecognized arguments: --steps 3"),
        (["trian", "mlp-gan"], "invalid choice: 'trian'"),
        (["train", "mlp-gan", "--limit", "few"], "invalid int value: 'few'"),
        (["train", "mlpgan"], "there is no recipe 'mlpgan': did you mean 'mlp-gan'?"),
        (["recipe", "nothing like it"], "there is no recipe 'nothing like it': known are ring, mlp-gan"),
        (["recipe", "mlp"], "there is no recipe 'mlp': did you mean 'mlp-gan' or 'cgan-mlp'?"),
        (["train", "mlp-gan", "--set", "image_shape=[1, a, 28]"], "image_shape=[1, 'a', 28] must hold whole numbers"),
        (["train", "mlp-gan", "--set", "stepz=3"], "has no field 'stepz': did you mean 'steps'?"),
        (["train", "mlp-gan", "--set", "self=3"], "has no field 'self'"),
        (["train", "mlp-gan", "--set", "steps"], "expected FIELD=VALUE"),
        (["train", "mlp-gan", "--set", "steps=[3"], "steps"),
        (["train", "mlp-gan", "--set", "steps=many"], "steps='many' is of type str; expected int or None"),
        (["train", "mlp-gan", "--set", "batch=0"], "batch=0 must be above 0"),
        (["train", "mlp-gan", "--set", "loss=least-squares"], "loss can be changed in Python only"),
        (["train", "mlp-gan", "--set", "generator=MLPGenerator"], "generator can be changed in Python only"),
        (["train", "mlp-gan", "--set", "name=mine", "--set", "steps=1"], "name can be changed in Python only"),
        (["train", "mlp-gan", "--limit", "10"], "a batch of 64 needs more than 10 images"),
        (["train", "mlp-gan", "--limit", "0"], "limit=0"),
        (["train", "mlp-gan", "--limit", "10001"], "limit=10001, but the file has 10,000 images"),
        (["train", "mlp-gan", "--data", "mnst"], "no data set 'mnst'"),
        (["train", "mlp-gan", "--data", ""], "no data set ''"),
        (["train", "mlp-gan", "--limit", str(2**63)], "9223372036854775808: expected a whole number below 2**63"),
        (["train", "mlp-gan", "--set", f"z_dim={2**31}"], "z_dim must be below 2**31"),
        (["train", "mlp-gan", "--set", "seed=2020-13-45"], "'2020-13-45' is no value"),
        (["train", "mlp-gan", "--data", "emnist-letters"], "python -m gantools data emnist-letters"),
        (["train", "mlp-gan", "--data", "missing.npz"], "missing.npz does not exist"),
        (["train", "mlp-gan", "--data", "text.npz"], "text.npz: not a readable .npz archive"),
        (["train", "missing.yaml"], "cannot read missing.yaml: No such file"),
        (["train", "broken.yaml"], "broken.yaml is not YAML"),
        (["train", "mine.txt"], "mine.txt: the name of a recipe's file ends in .yaml"),
        (["train", "named.yaml"], "name can be changed in Python only"),
        (["sample", "nowhere"], "no run in nowhere"),
        (["evaluate", "nowhere"], "no run in nowhere"),
        (["evaluate"], "required: RUN"),
        (["sample", "damaged"], "run.json is damaged"),
        (["data", "mnst"], "cannot download 'mnst': known sets are mnist"),
    ],
)
def test_an_error_is_one_line_and_code_2(tmp_path, capsys, arguments, complaint):
    (tmp_path / "text.npz").write_text("text")
    (tmp_path / "mine.txt").write_text("recipe: mlp-gan\nsteps: 3\n")
    (tmp_path / "broken.yaml").write_text("recipe: [\nsteps: 3")
    (tmp_path / "named.yaml").write_text("recipe: mlp-gan\nname: mine\nsteps: 3\nbatch: 8\n")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "run.json").write_text("{")
    assert complaint in refusal(capsys, *arguments)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--count", "0"], "--count 0 must be at least 1"),
        (["--label", "3"], "mlp-gan does not know labels"),
        (["--out", "samples.jpg"], "samples.jpg: this picture is a .png"),
        (["--out", ".png"], "--out .png: this picture is a .png, so its name must end in .png"),
    ],
)
def test_a_sample_that_cannot_be_is_one_line(trained, capsys, tmp_path, arguments, complaint):
    assert complaint in refusal(capsys, "sample", trained, *arguments)
    assert not list(tmp_path.glob("samples.*"))


def test_an_existing_run_is_not_overwritten(trained, capsys):
    line = refusal(capsys, "train", "mlp-gan", *QUICK)
    assert "runs/mlp-gan already holds a run" in line
    assert "--resume" in line


def test_resuming_with_another_recipe_names_the_difference(trained, capsys):
    assert "d_lr was 0.002, is 0.5" in refusal(capsys, "train", "mlp-gan", *QUICK, "--set", "d_lr=0.5", "--resume")


def test_an_unknown_profile_is_one_line(capsys, monkeypatch):
    monkeypatch.setenv("GANTOOLS_PROFILE", "fast")
    assert "GANTOOLS_PROFILE='fast'" in refusal(capsys, "info")


def test_the_package_runs_as_a_module(environment):
    command = [sys.executable, "-m", "gantools", "recipe", "mlpgan"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "gantools: there is no recipe 'mlpgan': did you mean 'mlp-gan'?\n"


def test_a_field_set_to_nothing_is_a_slip(capsys):
    assert cli.main(["train", "mlp-gan", *QUICK, "--set", "steps="]) == 2
    assert "--set 'steps=': expected FIELD=VALUE" in capsys.readouterr().err


def test_what_no_memory_can_hold_is_one_line(trained, capsys):
    assert "not enough memory" in refusal(capsys, "sample", trained, "--count", 10**12)


def test_another_fault_of_torch_is_not_hidden(monkeypatch):
    monkeypatch.setattr(cli, "_info", Mock(side_effect=RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main(["info"])


def test_train_logs_where_it_is_told_to(tmp_path, monkeypatch):
    fit = Mock(wraps=train.fit)
    monkeypatch.setattr(cli.train, "fit", fit)
    assert cli.main(["train", "mlp-gan", *QUICK, "--log-dir", str(tmp_path / "board")]) == 0
    assert fit.call_args.kwargs["log_dir"] == tmp_path / "board"
    assert list((tmp_path / "board").iterdir())


def test_study_hands_its_jobs_on(tmp_path, monkeypatch):
    run = Mock(return_value=[])
    monkeypatch.setattr(cli.study, "run", run)
    assert cli.main(["study", "--out", str(tmp_path), "--jobs", "3"]) == 0
    assert run.call_args.kwargs["jobs"] == 3


def test_a_terminal_that_lacks_a_letter_gets_a_question_mark(monkeypatch):
    """Whether called as a module or as the installed command; an arrow must not cost a training."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr("sys.stderr", stream)
    assert cli.main(["sample", "größer"]) == 2
    assert b"gr??er" in stream.buffer.getvalue()


def test_a_stream_that_cannot_be_told_to_forgive_is_left_alone(monkeypatch):
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert cli.main(["recipe", "rgan"]) == 0


def test_the_report_of_augment_is_printed_before_it_is_saved(monkeypatch, tmp_path, tiny, capsys):
    class Unsavable:
        def __str__(self):
            return "the report"

        def save(self, out):
            raise OSError(28, "No space left on device")

    data.save(tmp_path / "own.npz", data.to_uint8(tiny.images), tiny.labels)
    monkeypatch.setattr("gantools.enlarge.enlarge", lambda *given, **options: Unsavable())
    arguments = ["augment", str(tmp_path / "own.npz"), "--per-class", "5", "--out", str(tmp_path / "more.npz")]
    assert cli.main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == "the report\n" and "No space left" in said.err


def test_a_reader_who_has_had_enough_is_no_error(environment):
    command = [sys.executable, "-c", "import sys; from gantools import cli; sys.exit(cli.main(['recipe', 'mlp-gan']))"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_run_is_evaluated_from_its_own_folder(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    assert cli.main(["evaluate", ".", "--data", "mnist", "--count", "100"]) == 0
    assert "mlp-gan" in capsys.readouterr().out
