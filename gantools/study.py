"""The augmentation study: do generated images help a classifier that has too few real ones?

`MAIN` is the comparison, `REPLICATION` the published one done right; `run` goes through both and can be stopped
anywhere. In OUT lie

    gans/<name>/   one generator for each subset, trained by `train.fit` on exactly its images
    rows.csv       one row for each training of a classifier (`trials.Row`); `evidence` reads it
    wrong/         for each row the places of the test images it got wrong, uint16: for McNemar's test
"""

import contextlib
import io
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from gantools import ASSETS, arms, checkpoint, data, runfiles, trials
from gantools.classify import accuracy_per_class, predictions, train_classifier
from gantools.data import DataError, ImageSet
from gantools.plan import MAIN, REPLICATION, SMOKE, SMOKE_REPLICATION, Study, find
from gantools.run import Run
from gantools.runtime import mix_seed
from gantools.train import fit
from gantools.trials import Row, StudyError, Trial

STAGES = ("gans", "rows", "replication")
ROWS = "rows.csv"
SHIPPED = ASSETS / "results" / "augmentation.csv"  # the rows of the full study
EXAMPLE = "arm=real,size=100,subset=0,classifier=mlp,seed=0"  # of a row, in seconds
_one_at_a_time = threading.Lock()  # torch's random state belongs to a process, and seeds a training


def run(
    out: str | Path,
    stages: Sequence[str] = STAGES,
    *,
    smoke: bool = False,
    sizes: Sequence[int] | None = None,
    subsets: int | None = None,
    jobs: int | None = None,
) -> list[Row]:
    """Train what is missing in `out`, each job on one thread, and return all its rows.

    `sizes` and `subsets` take a part of the plan, the first subsets of it, and leave the replication as it is; `smoke`
    takes a tiny plan on bundled images. `jobs` processes work side by side; None leaves it to joblib, which means one,
    or all workers of a cluster inside `joblib.parallel_config(backend="dask")`: they need `out` on a disk that all
    see, and MNIST in their cache.
    Raises `DataError` where images are missing, `StudyError` where `out` does not fit the plan.
    """
    if unknown := set(stages) - set(STAGES):
        raise StudyError(f"there is no stage {unknown.pop()!r}: choose of {', '.join(STAGES)}")
    if jobs == 0:
        raise StudyError("jobs=0 would train nothing: take 1 or more processes, or -1 for one on each core")
    out = Path(out).resolve()  # workers may have been started elsewhere
    main, replication = (SMOKE, SMOKE_REPLICATION) if smoke else (MAIN, REPLICATION)
    plan = main.trials(sizes, subsets)
    images_of(main)  # without them: now, and not in every worker
    there = _rows_in(out)
    if other := [row.trial for row in there if row.size not in main.sizes + replication.sizes]:  # as smoke rows are
        raise _row_of_another_plan(out / ROWS, other[0])
    if "gans" in stages:
        trained = {row.trial for row in there}
        wanted = main.gans([trial for trial in plan if trial not in trained])  # not for rows that came without them
        missing = [name for name in main.gans(plan) if not _finished(main, name, out) and name in wanted]
        for _ in _side_by_side(train_gan, [(main, name, out) for name in missing], jobs, "generators"):
            pass
    if "rows" in stages:
        run_trials(main, plan, out, jobs)
    if "replication" in stages:
        if absent := sorted(set(replication.shipped) - set(checkpoint.shipped())):
            print(f"replication without {', '.join(absent)}: not shipped yet")
        run_trials(replication, replication.trials(), out, jobs)
    return _rows_in(out)


def run_trials(study: Study, plan: Sequence[Trial], out: Path, jobs: int | None = None) -> None:
    """Train the classifiers of a plan that have no row in `out` yet; each row is written as it comes.

    Raises `StudyError` where `out` holds rows of another plan, or lacks generators.
    """
    path = out / ROWS
    there = {row.trial: row for row in _rows_in(out)}
    for trial in plan:
        row = there.get(trial)
        if row and (row.steps, row.recipe_hash) != (study.steps(trial), study.recipe_hash(trial)):
            raise _row_of_another_plan(path, trial)
    todo = [trial for trial in plan if trial not in there]
    if absent := [name for name in study.gans(todo) if not _finished(study, name, out)]:
        raise StudyError(
            f"{out}/gans lacks {len(absent)} generators, {absent[0]} first: run --stage gans before the rows"
        )
    (out / "wrong").mkdir(parents=True, exist_ok=True)
    for row, wrong in _side_by_side(run_trial, [(study, trial, out) for trial in todo], jobs, "rows"):
        np.save(out / "wrong" / row.trial.file_name, wrong)
        trials.append(path, [row])


def run_row(text: str, out: str | Path, *, smoke: bool = False) -> Row:
    """Train one row again, by itself: the same accuracy on the same machine.

    `text` as for `plan.find`, which raises for what is no row. Its generator is trained first where `out` has none.
    """
    study, trial = find(text, (SMOKE, SMOKE_REPLICATION) if smoke else (MAIN, REPLICATION))
    out = Path(out).resolve()
    for name in study.gans([trial]):
        if not _finished(study, name, out):
            print(f"first its generator, {name}: {study.recipe(name).steps:,} steps", flush=True)
            train_gan(study, name, out)
    return run_trial(study, trial, out)[0]


def _rows_in(out: Path) -> list[Row]:
    path = out / ROWS
    trials.mend(path)
    return trials.read(path) if path.exists() else []


def _row_of_another_plan(path: Path, trial: Trial) -> StudyError:
    return StudyError(f"{path} holds a row of another plan ({trial}): choose another --out")


def train_gan(study: Study, name: str, out: Path) -> None:
    """Train, or go on training, one generator of a study in `out/gans/name`."""
    recipe, images = study.recipe(name), _seen_by(study, name)
    with _quietly_alone():
        fit(recipe, images, out / "gans" / name, resume=True)


def run_trial(study: Study, trial: Trial, out: Path) -> tuple[Row, np.ndarray]:
    """Train and score one classifier; returns its row, and the places of the test images it got wrong, uint16."""
    train, test = images_of(study)
    real, held_out = train[study.subset(trial.size, trial.subset)], train[-study.held_out :]
    generated = None
    if trial.gan:
        generated = data.from_uint8(_drawn(study, trial.gan, trial.size, trial.subset, out))
    learned = arms.training_set(trial.arm, real, round(trial.dose * trial.size), generated)
    learner = study.learner(trial.classifier)
    with _quietly_alone():
        started = perf_counter()
        network = train_classifier(
            learned.images,
            learned.labels,
            len(train.classes),
            mix_seed(trial.subset, trial.seed),  # the same start and the same luck in every arm
            network=learner.network,
            steps=study.steps(trial),
            rate=learner.rate,
            one_cycle=learner.one_cycle,
            augment=arms.warped if trial.arm in arms.WARPED else None,
        )
        seconds = perf_counter() - started
        right, held = (predictions(network, part.images) == part.labels for part in (test, held_out))
    row = Row(
        **vars(trial),
        steps=study.steps(trial),
        accuracy=round(float(right.double().mean()), 6),
        validation=round(float(held.double().mean()), 6),
        recipe_hash=study.recipe_hash(trial),
        seconds=round(seconds, 2),
        per_class=tuple(
            round(share, 6) for share in accuracy_per_class(right, test.labels, len(test.classes)).tolist()
        ),
    )
    return row, (~right).nonzero().squeeze(1).numpy().astype(np.uint16)


def images_of(study: Study) -> tuple[ImageSet, ImageSet]:
    """MNIST's training and test images as far as the study needs them. Raises `DataError` where there are fewer."""
    return _mnist(study.images, study.tests)


@lru_cache(maxsize=1)
def _mnist(images: int, tests: int) -> tuple[ImageSet, ImageSet]:
    train, test = data.load("mnist"), data.load("mnist", "test")
    if len(train) < images:
        raise DataError(
            f"the study needs {images:,} training images of MNIST and finds {len(train):,}: "
            "`python -m gantools data mnist` downloads them; --smoke shows the way on the bundled ones"
        )
    return train[:images], test[:tests]


def _seen_by(study: Study, name: str) -> ImageSet:
    """What a generator of the study learns from: its subset, or everything."""
    train, _ = images_of(study)
    place = study.place(name)
    return train[study.subset(*place)] if place else train


@lru_cache(maxsize=2)
def _drawn(study: Study, name: str, size: int, subset: int, out: Path) -> Tensor:
    """Generated images for the largest dose, uint8; smaller doses are their first ones. A subset's rows share them."""
    if name in study.shipped:
        gan = checkpoint.load(name)
    else:
        gan = _gan(study, name, out)
        if gan.step != gan.recipe.steps or gan.data["digest"] != _seen_by(study, name).digest():
            raise _not_of_this_plan(gan)
    train, _ = images_of(study)
    real = train[study.subset(size, subset)]
    labels = real.labels[arms.copied(size, round(max(study.doses) * size))]
    return data.to_uint8(_sample(gan, labels, mix_seed(size, subset)))


def _sample(gan: Run, labels: Tensor, seed: int) -> Tensor:
    with _quietly_alone():
        return gan.sample(labels=labels, seed=seed)


def _finished(study: Study, name: str, out: Path) -> bool:
    """Whether a generator is trained. Raises `StudyError` for one of another plan, before others are trained."""
    return runfiles.there(out / "gans" / name) and _gan(study, name, out).step >= study.recipe(name).steps


def _gan(study: Study, name: str, out: Path) -> Run:
    """A generator that the study trains, as far as it is. Raises `StudyError` where its recipe is another."""
    gan = checkpoint.load(out / "gans" / name)
    if gan.recipe.digest() != study.recipe(name).digest():
        raise _not_of_this_plan(gan)
    return gan


def _not_of_this_plan(gan: Run) -> StudyError:
    return StudyError(f"{gan.folder} is not the generator of this plan: choose another --out")


@contextlib.contextmanager
def _quietly_alone() -> Iterator[None]:
    """One thread, no other training in this process, and no bar of its own beside that of the study."""
    with _one_at_a_time, contextlib.redirect_stdout(io.StringIO()):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _side_by_side(job: Callable[..., Any], arguments: Sequence[tuple], jobs: int | None, title: str) -> Iterator[Any]:
    """What the jobs return, each as soon as it is there."""
    from joblib import Parallel, delayed  # here, so that no other command waits for it

    results = Parallel(n_jobs=jobs, return_as="generator_unordered")(delayed(job)(*given) for given in arguments)
    yield from tqdm(results, title, len(arguments), file=sys.stdout, mininterval=0.5)
