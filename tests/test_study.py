import os
import pickle
import shutil
import time
from dataclasses import fields, replace

import distributed
import joblib
import numpy as np
import pytest
import torch

from gantools import arms, checkpoint, cli, data, evidence, plan, study, trials
from gantools.plan import SMOKE, SMOKE_REPLICATION, Learner
from gantools.trials import StudyError, Trial

TINY = replace(
    SMOKE,
    arms=("real", "classical", "gan", "gan60k", "noisy", "through"),
    learners=(Learner("mlp", plan.small_mlp, (3, 3), 1e-3),),
    sizes=(16, 20),
    gan_steps=(1, 1),
    gan=SMOKE.gan.change(batch=8),
    doses=(0.5, 1.0),
    block=20,
    held_out=20,
    images=100,
    tests=100,
)
TINY_REPLICATION = replace(
    SMOKE_REPLICATION,
    learners=(replace(SMOKE_REPLICATION.learners[1], network=plan.small_mlp),),
    held_out=20,
    images=100,
    tests=100,
)


RUN_TRIAL = study.run_trial


def in_turn(job, arguments, jobs, title):
    """In place of joblib, which has a test of its own."""
    return (job(*given) for given in arguments)


def shorten(patch):
    patch.setattr(study, "SMOKE", TINY)
    patch.setattr(study, "SMOKE_REPLICATION", TINY_REPLICATION)
    patch.setattr(study, "_side_by_side", in_turn)


@pytest.fixture
def one_by_one(monkeypatch):
    shorten(monkeypatch)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANTOOLS_DATA", str(tmp_path_factory.mktemp("cache")))
        shorten(patch)
        out = tmp_path_factory.mktemp("study")
        return out, study.run(out, smoke=True, sizes=[16], subsets=1)


@pytest.fixture
def small(finished, one_by_one, tmp_path):
    """A copy of a finished little study: its folder and its rows."""
    out = tmp_path / "results"
    shutil.copytree(finished[0], out)
    return out, finished[1]


def without_time(rows):
    return sorted((replace(row, seconds=0.0) for row in rows), key=str)


def test_a_study_has_a_row_for_every_training_of_its_plan(small):
    out, rows = small
    expected = [*TINY.trials([16], 1), *TINY_REPLICATION.trials()]
    assert {row.trial for row in rows} == set(expected) and len(rows) == len(expected)
    assert rows == trials.read(out / study.ROWS)
    assert sorted(folder.name for folder in (out / "gans").iterdir()) == ["rgan-16-0", "rgan-all"]
    for row in rows:
        plan_of = TINY if row.trial in TINY.trials() else TINY_REPLICATION
        assert (row.steps, row.recipe_hash) == (plan_of.steps(row.trial), plan_of.recipe_hash(row.trial))
        assert 0 <= row.accuracy <= 1 and 0 <= row.validation <= 1 and row.seconds >= 0
        assert len(row.per_class) == 10


def test_a_generator_saw_exactly_the_images_of_its_subset(small):
    out, _ = small
    train, _ = study.images_of(TINY)
    own, oracle = (checkpoint.load(out / "gans" / name) for name in ("rgan-16-0", "rgan-all"))
    assert own.data["digest"] == train[TINY.subset(16, 0)].digest()
    assert oracle.data["digest"] == train.digest() and len(train) == 100


def test_the_wrong_images_of_a_row_give_its_accuracy(small):
    out, rows = small
    _, test = study.images_of(TINY)
    for row in (row for row in rows if row.size == 16):
        wrong = np.load(out / "wrong" / row.trial.file_name)
        assert wrong.dtype == np.uint16 and len(set(wrong.tolist())) == len(wrong)
        assert row.accuracy == pytest.approx(1 - len(wrong) / 100, abs=1e-6)
        missed = test.labels[wrong.astype(int)].bincount(minlength=10) / test.labels.bincount(minlength=10)
        assert row.per_class == pytest.approx((1 - missed).tolist(), abs=1e-5)


def test_real_images_through_the_output_path_of_a_generator_change_nothing(small):
    _, rows = small
    real, through = (next(row for row in rows if row.arm == arm and row.size == 16) for arm in ("real", "through"))
    assert (through.accuracy, through.validation, through.per_class) == (real.accuracy, real.validation, real.per_class)


@pytest.mark.parametrize("arm", ["real", "classical", "gan", "noisy"])
def test_a_row_alone_has_the_same_accuracy(small, arm):
    out, rows = small
    study._drawn.cache_clear()
    row = next(row for row in rows if row.arm == arm and row.size == 16)
    assert without_time([study.run_row(str(row.trial), out, smoke=True)]) == without_time([row])


def test_a_row_needs_neither_its_dose_nor_its_generator_where_the_plan_knows_them(small):
    out, rows = small
    found = study.run_row("arm=gan,size=16,dose=1,subset=0,classifier=mlp,seed=0", out, smoke=True)
    assert found.trial == Trial("gan", 16, 1.0, 0, "mlp", "rgan-16-0", 0)
    assert found.trial in {row.trial for row in rows}
    real = study.run_row("arm=real,size=16,subset=0,classifier=mlp,seed=0", out, smoke=True)
    assert real.trial == Trial("real", 16, 0.0, 0, "mlp", "", 0)


def test_a_row_whose_generator_is_missing_trains_it_first(small, tmp_path, capsys):
    _, rows = small
    study._drawn.cache_clear()
    row = next(row for row in rows if row.arm == "gan" and row.size == 16)
    again = study.run_row(str(row.trial), tmp_path / "elsewhere", smoke=True)
    assert without_time([again]) == without_time([row])
    assert capsys.readouterr().out == "first its generator, rgan-16-0: 1 steps\n"
    assert not (tmp_path / "elsewhere" / study.ROWS).exists()


@pytest.mark.parametrize("text", ["arm=real,size=17", "arm=gan,size=16,dose=3", "arm=real,size=16,gan=rgan-16-0"])
def test_a_row_of_no_plan_is_refused(one_by_one, tmp_path, text):
    with pytest.raises(StudyError, match="no row of the study is"):
        study.run_row(f"{text},subset=0,classifier=mlp,seed=0", tmp_path, smoke=True)


def test_a_row_that_names_too_little_is_refused(tmp_path):
    with pytest.raises(StudyError, match="row 'size=16' lacks arm, subset, classifier, seed"):
        study.run_row("size=16", tmp_path, smoke=True)


def test_what_is_there_is_not_trained_again(small, monkeypatch):
    out, rows = small
    monkeypatch.setattr(study, "fit", None)
    monkeypatch.setattr(study, "train_classifier", None)
    assert study.run(out, smoke=True, sizes=[16], subsets=1) == rows


def test_an_interrupted_study_goes_on_and_ends_as_one_that_was_not(small, monkeypatch, tmp_path):
    out, rows = small
    path, lines = out / study.ROWS, (out / study.ROWS).read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:4]) + lines[4][:25])  # stopped while it wrote
    again = study.run(out, smoke=True, sizes=[16], subsets=1)
    assert without_time(again) == without_time(rows)
    assert again[:3] == rows[:3], "what was there is still there"


def test_each_row_is_on_the_disk_before_the_next_is_trained(small, monkeypatch):
    out, rows = small
    (out / study.ROWS).unlink()
    trained, run_trial = [], study.run_trial

    def watched(*given):
        if len(trained) == 3:
            raise KeyboardInterrupt
        trained.append(given)
        return run_trial(*given)

    monkeypatch.setattr(study, "run_trial", watched)
    with pytest.raises(KeyboardInterrupt):
        study.run(out, ["rows"], smoke=True, sizes=[16], subsets=1)
    assert without_time(trials.read(out / study.ROWS)) == without_time(rows[:3])


def test_more_of_the_plan_adds_to_what_is_there(small):
    out, rows = small
    more = study.run(out, ["gans", "rows"], smoke=True, sizes=[16, 20], subsets=1)
    assert more[: len(rows)] == rows
    assert {row.trial for row in more[len(rows) :]} == set(TINY.trials([20], 1))


def test_arms_start_from_the_same_weights_and_subsets_from_others(one_by_one, tmp_path, monkeypatch):
    seeds = []
    train_classifier = study.train_classifier

    def noting(images, labels, classes, seed, **how):
        seeds.append((seed, how["steps"], how["rate"], how["network"], how["one_cycle"]))
        return train_classifier(images, labels, classes, seed, **how)

    monkeypatch.setattr(study, "train_classifier", noting)
    for arm, subset in (("real", 0), ("classical", 0), ("noisy", 0), ("real", 1)):
        dose = 1.0 if arm == "noisy" else 0.0
        study.run_trial(TINY, Trial(arm, 16, dose, subset, "mlp", "", 0), tmp_path)
    assert seeds[0] == seeds[1] == seeds[2]
    assert seeds[3][0] != seeds[0][0] and seeds[3][1:] == seeds[0][1:]


def test_only_the_classical_arms_are_warped(one_by_one, tmp_path, monkeypatch):
    given = {}
    monkeypatch.setattr(
        study, "train_classifier", lambda *_, augment, **how: given.update(last=augment) or torch.nn.Flatten()
    )
    monkeypatch.setattr(study, "predictions", lambda network, images: torch.zeros(len(images), dtype=torch.int64))
    for arm, expected in (("real", None), ("classical", arms.warped), ("through", None)):
        study.run_trial(TINY, Trial(arm, 16, 0.0, 0, "mlp", "", 0), tmp_path)
        assert given["last"] is expected


def test_smaller_doses_are_the_first_images_of_larger_ones_with_the_labels_asked(small, monkeypatch):
    out, _ = small
    asked, sample = [], study._sample
    monkeypatch.setattr(study, "_sample", lambda gan, labels, seed: asked.append(labels) or sample(gan, labels, seed))
    study._drawn.cache_clear()
    for dose in (1.0, 0.5):
        study.run_trial(TINY, Trial("gan", 16, dose, 0, "mlp", "rgan-16-0", 0), out)
    train, _ = study.images_of(TINY)
    real = train[TINY.subset(16, 0)]
    assert len(asked) == 1, "drawn once, for the largest dose"
    assert torch.equal(asked[0], real.labels[arms.copied(16, 16)])
    study._drawn.cache_clear()


def test_rows_without_their_generators_are_refused_at_once(one_by_one, tmp_path):
    with pytest.raises(StudyError, match=r"gans lacks 2 generators, rgan-16-0 first: run --stage gans before the rows"):
        study.run(tmp_path, ["rows"], smoke=True, sizes=[16], subsets=1)
    assert not (tmp_path / study.ROWS).exists()


def test_only_generators_of_missing_rows_are_trained(small, tmp_path, monkeypatch):
    """Rows from elsewhere, as the package ships them, come without their generators."""
    _, rows = small
    asked = []
    monkeypatch.setattr(study, "_side_by_side", lambda job, given, *_: asked.extend(name for _, name, _ in given) or [])
    plan = TINY.trials()
    for size, expected in ((16, {"rgan-20-0", "rgan-20-1", "rgan-all"}), (20, set())):
        new = [trial for trial in plan if trial.size == size]
        trials.append(
            tmp_path / study.ROWS,
            [
                replace(rows[0], **vars(trial), steps=TINY.steps(trial), recipe_hash=TINY.recipe_hash(trial))
                for trial in new
            ],
        )
        asked.clear()
        study.run(tmp_path, ["gans"], smoke=True)
        assert set(asked) == expected


def test_a_row_that_several_generators_have_asks_which(monkeypatch, tmp_path):
    monkeypatch.setattr(study, "run_trial", None)
    text = "arm=gan,size=40,dose=1.25,subset=0,classifier=our cnn,seed=0"
    names = [name for name in SMOKE_REPLICATION.shipped if name in checkpoint.shipped()]
    with pytest.raises(StudyError, match=f"rows of the study are .*: add gan={' or gan='.join(names)}$"):
        study.run_row(text, tmp_path, smoke=True)


def test_a_generator_of_other_images_or_steps_is_refused(small, monkeypatch):
    out, _ = small
    trial = Trial("gan", 16, 1.0, 0, "mlp", "rgan-16-0", 0)
    for other in (
        replace(TINY, gan_steps=(2, 2)),
        replace(TINY, gan=TINY.gan.change(d_lr=1e-3)),
        replace(TINY, block=16),
    ):
        with pytest.raises(StudyError, match="rgan-16-0 is not the generator of this plan"):
            study.run_trial(other, trial, out)


def test_rows_of_another_plan_are_refused(small, monkeypatch):
    out, rows = small
    monkeypatch.setattr(study, "SMOKE", replace(TINY, learners=(Learner("mlp", plan.small_mlp, (4, 4), 1e-3),)))
    with pytest.raises(
        StudyError, match=r"rows.csv holds a row of another plan \(arm=real,size=16.*choose another --out"
    ):
        study.run(out, ["rows"], smoke=True, sizes=[16], subsets=1)
    assert trials.read(out / study.ROWS) == rows


def test_rows_of_a_size_that_no_plan_has_are_refused(small, monkeypatch):
    out, _ = small
    monkeypatch.setattr(study, "SMOKE", replace(TINY, sizes=(32,), learners=TINY.learners))
    monkeypatch.setattr(study, "train_gan", None)
    with pytest.raises(StudyError, match=r"holds a row of another plan .*size=16.*choose another --out"):
        study.run(out, smoke=True)


def test_a_generator_of_another_plan_is_refused_before_others_are_trained(small, monkeypatch):
    out, _ = small
    monkeypatch.setattr(study, "SMOKE", replace(TINY, gan=TINY.gan.change(batch=TINY.gan.batch + 1)))
    monkeypatch.setattr(study, "train_gan", None)
    with pytest.raises(StudyError, match="rgan-16-0 is not the generator of this plan: choose another --out"):
        study.run(out, ["gans"], smoke=True, subsets=1)


def test_the_real_study_says_how_to_get_the_images_it_needs(tmp_path):
    with pytest.raises(
        data.DataError, match=r"needs 60,000 training images of MNIST and finds 10,000: `python -m gantools data mnist`"
    ):
        study.run(tmp_path)
    with pytest.raises(StudyError, match="there is no stage 'all'"):
        study.run(tmp_path, ["all"], smoke=True)


def test_the_replication_says_which_generators_are_missing(small, capsys, monkeypatch):
    out, _ = small
    first, *others = SMOKE_REPLICATION.shipped
    monkeypatch.setattr(checkpoint, "shipped", lambda: [])
    study.run(out, ["replication"], smoke=True)
    assert f"replication without {', '.join(sorted([first, *others]))}: not shipped yet" in capsys.readouterr().out
    monkeypatch.setattr(checkpoint, "shipped", lambda: list(others))
    monkeypatch.setattr(study, "run_trials", lambda *given: None)
    study.run(out, ["replication"], smoke=True)
    assert f"replication without {first}: not shipped yet" in capsys.readouterr().out


def test_threads_and_random_state_stay_as_they_were(one_by_one, tmp_path):
    torch.set_num_threads(2)
    state = torch.get_rng_state()
    study.run_trial(TINY, Trial("classical", 16, 0.0, 0, "mlp", "", 0), tmp_path)
    assert torch.get_num_threads() == 2
    assert torch.equal(torch.get_rng_state(), state)


def test_a_classifier_trains_on_one_thread(one_by_one, tmp_path, monkeypatch):
    learn, threads = study.train_classifier, []

    def watched(*given, **options):
        threads.append(torch.get_num_threads())
        return learn(*given, **options)

    monkeypatch.setattr(study, "train_classifier", watched)
    torch.set_num_threads(2)
    study.run_trial(TINY, Trial("real", 16, 0.0, 0, "mlp", "", 0), tmp_path)
    assert threads == [1]


def test_the_dose_is_chosen_by_training_images_that_no_arm_sees_and_never_by_test_images(
    one_by_one, tmp_path, monkeypatch
):
    asked = []

    def all_but_one(network, images):
        """Right for all images but the first."""
        asked.append(images)
        part = test if len(asked) == 1 else held_out
        return part.labels + (torch.arange(len(part)) == 0).long()

    train, test = study.images_of(TINY)
    held_out = train[-TINY.held_out :]
    monkeypatch.setattr(study, "predictions", all_but_one)
    row, wrong = study.run_trial(TINY, Trial("real", 16, 0.0, 0, "mlp", "", 0), tmp_path)
    assert torch.equal(asked[0], test.images) and torch.equal(asked[1], held_out.images)
    assert (row.accuracy, row.validation) == (1 - 1 / len(test), 1 - 1 / len(held_out))
    assert wrong.tolist() == [0]
    first_held_out = len(train) - TINY.held_out
    assert all(
        TINY.subset(size, subset).max() < first_held_out for size in TINY.sizes for subset in range(TINY.subsets)
    )


def test_rows_and_jobs_travel_between_processes(small):
    _, rows = small
    assert pickle.loads(pickle.dumps(rows[0])) == rows[0]
    assert pickle.loads(pickle.dumps((study.run_trial, TINY)))[1] == TINY


def test_the_analysis_reads_what_the_study_wrote(small):
    out, rows = small
    assert evidence.gain(rows, "through", 16, "mlp").mean == 0
    assert set(evidence.chosen_doses(rows, "noisy", 16, "mlp")) == {0}
    files = [
        next(row for row in rows if row.arm == arm and row.size == 16).trial.file_name for arm in ("real", "through")
    ]
    assert evidence.mcnemar(*(np.load(out / "wrong" / name) for name in files)).p == 1


def test_generated_images_that_equal_the_real_ones_teach_what_repeated_ones_teach(small, monkeypatch):
    """Order of images, labels and doses on the whole path of a generator, its pixels through uint8 and back."""
    out, _ = small
    real = data.load("mnist")[: TINY.images][TINY.subset(16, 0)]
    monkeypatch.setattr(study, "_sample", lambda gan, labels, seed: real.images[arms.copied(16, len(labels))])
    study._drawn.cache_clear()
    for dose in TINY.doses:
        drawn, copied = (
            Trial(arm, 16, dose, 0, "mlp", gan, 0) for arm, gan in (("gan", "rgan-16-0"), ("repeated", ""))
        )
        (row, wrong), (other, other_wrong) = (study.run_trial(TINY, trial, out) for trial in (drawn, copied))
        assert (row.accuracy, row.validation) == (other.accuracy, other.validation)
        assert wrong.tolist() == other_wrong.tolist()
    study._drawn.cache_clear()


def test_the_command_runs_the_study_and_one_row_of_it(one_by_one, tmp_path, capsys):
    out = tmp_path / "results"
    assert cli.main(["study", "--out", str(out), "--smoke", "--sizes", "16", "--subsets", "1"]) == 0
    count = len(trials.read(out / study.ROWS))
    assert capsys.readouterr().out.endswith(f"{out / study.ROWS}: {count:,} rows\n")
    row = next(row for row in trials.read(out / study.ROWS) if row.arm == "noisy")
    assert cli.main(["study", "--out", str(out), "--smoke", "--row", str(row.trial)]) == 0
    said = capsys.readouterr().out
    assert f"{row.trial}: accuracy {row.accuracy:g}, validation {row.validation:g}, " in said
    assert said.endswith(f"{out / study.ROWS}: accuracy {row.accuracy:g}, the same\n")


def test_a_row_that_comes_out_otherwise_than_recorded_says_by_how_much(small, capsys, monkeypatch):
    out, rows = small
    row = next(row for row in rows if row.arm == "real")
    other = replace(row, accuracy=row.accuracy + 0.25)
    (out / study.ROWS).unlink()
    trials.append(out / study.ROWS, [other])
    monkeypatch.setattr(study, "SHIPPED", out / "nowhere.csv")
    assert cli.main(["study", "--out", str(out), "--smoke", "--row", str(row.trial)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"{out / study.ROWS}: accuracy {other.accuracy:g}, -0.25 here")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "required: --out"),
        (["--out", "results"], "`python -m gantools data mnist` downloads them"),
        (["--out", "results", "--smoke", "--sizes", "few"], "'few': expected whole numbers such as 100,1000"),
        (["--out", "results", "--smoke", "--sizes", "7"], "size 7 is not in the plan: choose of 16, 20"),
        (["--out", "results", "--smoke", "--subsets", "9"], "subsets=9: the plan has 1 to 2"),
        (["--out", "results", "--smoke", "--stage", "all"], "invalid choice: 'all'"),
        (["--out", "results", "--smoke", "--row", "arm"], "row 'arm'"),
        (["--out", "results", "--smoke", "--row", "arm=gan,size=16,dose=1"], "lacks subset, classifier, seed"),
        (["--out", "results", "--smoke", "--row", ""], "row ''"),
        (["--out", "results", "--smoke", "--row", "arm=real", "--jobs", "2"], "--row trains one row: leave --stage"),
    ],
)
def test_a_study_that_cannot_be_is_one_line(one_by_one, tmp_path, monkeypatch, capsys, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["study", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("gantools: ") and complaint in line


# Side by side


def run_with_jobs(out, jobs):
    return study.run(out, ["gans", "rows"], smoke=True, sizes=[16], subsets=1, jobs=jobs)


@pytest.fixture
def worked(tmp_path, monkeypatch):
    """A folder in which each process that trains a classifier leaves its number, and waits for a second one."""
    folder, original = tmp_path / "worked", study.run_trial
    folder.mkdir()

    def run_trial(*given):
        (folder / str(os.getpid())).touch()
        for _ in range(600):
            if len(list(folder.iterdir())) > 1:
                break
            time.sleep(0.1)
        return original(*given)

    monkeypatch.setattr(study, "SMOKE", TINY)
    monkeypatch.setattr(study, "run_trial", run_trial)
    yield folder
    processes = {int(path.name) for path in folder.iterdir()}
    assert len(processes) == 2 and os.getpid() not in processes


def alone(out, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(study, "_side_by_side", in_turn)
        patch.setattr(study, "run_trial", RUN_TRIAL)
        return run_with_jobs(out, 1)


def test_two_processes_write_the_rows_of_one(tmp_path, monkeypatch, worked):
    rows = run_with_jobs(tmp_path / "two", 2)
    assert without_time(rows) == without_time(alone(tmp_path / "alone", monkeypatch))
    assert len(rows) == len(TINY.trials([16], 1))


def test_a_dask_cluster_of_two_processes_writes_the_same_rows(tmp_path, monkeypatch, worked):
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
    with cluster, distributed.Client(cluster), joblib.parallel_config(backend="dask"):
        rows = run_with_jobs(tmp_path / "cluster", None)
    assert without_time(rows) == without_time(alone(tmp_path / "alone", monkeypatch))
    assert [field.name for field in fields(rows[0])] == list(trials.COLUMNS)


def test_no_processes_train_nothing(tmp_path):
    with pytest.raises(StudyError, match="jobs=0 would train nothing"):
        study.run(tmp_path, smoke=True, jobs=0)
