"""`python -m gantools …`: train, sample, evaluate, augment, study, data, recipe, info.

An error is one line on stderr and exit code 2.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
import yaml
from accelerate import PartialState
from tqdm import tqdm

from gantools import __version__, data, enlarge, inception, judge, metrics, plots, recipes, runtime, study, train
from gantools.catalogue import ON_REDUCED, REDUCED
from gantools.fields import RecipeError
from gantools.run import Run
from gantools.trials import recorded

# In torch's words: RuntimeErrors, like any fault.
NO_MEMORY = (
    "allocate memory",
    "out of memory",
    "not enough memory",
    "Storage size calculation",
    "unexpectedly terminated",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 2 for an error, 130 after Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):  # a notebook's has none
            reconfigure(errors="replace")  # an arrow that a terminal does not know must not cost a training
    try:
        options = _parser().parse_args(arguments)
        options.run(options)
    except BrokenPipeError:  # whoever read has had enough, as `head` has; Python would flush once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, RecipeError, train.Diverged, inception.MetricError, OSError, OverflowError) as error:
        print(f"gantools: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(words in str(error) for words in NO_MEMORY):
            raise
        print("gantools: not enough memory; a lower --count, --limit, --jobs or batch needs less", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"gantools: {str(stop) or 'interrupted'}", file=sys.stderr)
        return 130
    return 0


class _Parser(argparse.ArgumentParser):
    """A wrong option is an error like any other: one line."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; `{self.prog} --help` lists what there is")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m gantools", description="Train, sample and inspect GANs.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("train", help="train a recipe, or the recipe in a YAML file")
    command.add_argument("recipe", help=f"one of {', '.join(recipes.RECIPES)}, or a .yaml file")
    command.add_argument("--data", help="a data set's name, or an .npz file (default: the recipe's)")
    command.add_argument("--limit", type=_whole, metavar="N", help="only the first N images")
    command.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="change a field (`recipe NAME` lists them)"
    )
    command.add_argument(
        "--out", type=Path, metavar="FOLDER", help="default: runs/RECIPE, of a file runs/ and its name"
    )
    command.add_argument("--log-dir", type=Path, metavar="FOLDER", help="log to TensorBoard")
    command.add_argument("--samples", action="store_true", help="a picture after each epoch, in OUT/samples")
    command.add_argument("--measure", type=_whole, metavar="N", help="FD and IS of N images after each epoch")
    command.add_argument("--resume", action="store_true", help="go on where the run in --out stopped")
    command.set_defaults(run=_train)

    command = commands.add_parser("sample", help="draw images from a run")
    command.add_argument("run_folder", metavar="RUN", help="a folder, or a shipped run (see info)")
    command.add_argument("--count", type=_whole, default=64, metavar="N", help="images (default: 64)")
    command.add_argument("--label", metavar="CLASS", help="the class to draw, by name or number (conditional runs)")
    command.add_argument("--seed", type=_seed, default=0, metavar="N", help="of z (default: 0)")
    command.add_argument(
        "--out", type=Path, default=Path("samples.png"), metavar="FILE.png", help="default: samples.png"
    )
    command.set_defaults(run=_sample)

    command = commands.add_parser("evaluate", help="every number about a run, beside those of real images")
    command.add_argument("run_folder", metavar="RUN", help="a folder, or a shipped run (see info)")
    command.add_argument("--data", metavar="NAME", help=f"{', '.join(judge.available())} (default: the run's own)")
    command.add_argument("--count", type=_whole, default=metrics.COUNT, help=f"images (default: {metrics.COUNT:,})")
    command.add_argument("--cas", action="store_true", help="also train a classifier on them (conditional runs)")
    command.add_argument("--extractor", choices=("judge", "inception"), default="judge", help="default: judge")
    command.add_argument("--seed", type=_seed, default=0, metavar="N", help="of z (default: 0)")
    command.set_defaults(run=_evaluate)

    command = commands.add_parser("augment", help="enlarge a small labelled set with generated images, and test it")
    command.add_argument("images", help="an .npz file with `images` and `labels`, or a data set's name")
    command.add_argument("--per-class", type=_whole, default=500, metavar="N", help="of each class (default: 500)")
    command.add_argument(
        "--out", type=Path, default=Path("augmented.npz"), metavar="FILE.npz", help="default: augmented.npz"
    )
    command.add_argument("--limit", type=_whole, metavar="N", help="use the first N images only")
    command.add_argument("--steps", type=_whole, default=enlarge.STEPS, help=f"of the GAN (default: {enlarge.STEPS:,})")
    command.add_argument("--filter", action="store_true", help="replace images that do not fit their label")
    command.add_argument("--flip", action="store_true", help="mirrored images are as good (never for letters)")
    command.add_argument("--resume", action="store_true", help="go on with the GAN beside --out, and replace --out")
    command.add_argument("--seed", type=_seed, default=0, metavar="N", help="of the training (default: 0)")
    command.set_defaults(run=_augment)

    command = commands.add_parser("study", help="do generated images help a classifier that has few real ones?")
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where it goes on, too")
    command.add_argument("--smoke", action="store_true", help="the whole way in seconds, on bundled images")
    command.add_argument("--stage", choices=study.STAGES, help="one stage (default: all)")
    command.add_argument("--sizes", type=_sizes, metavar="N,N", help="only these real sizes (not for replication)")
    command.add_argument("--subsets", type=_whole, metavar="N", help="only the first N subsets (not for replication)")
    command.add_argument(
        "--jobs", type=_whole, metavar="N", help="processes side by side, one thread each (default: 1)"
    )
    command.add_argument("--row", metavar="FIELD=VALUE,…", help=f"train one row again, as {study.EXAMPLE}")
    command.set_defaults(run=_study)

    command = commands.add_parser("data", help="download data sets into the cache")
    command.add_argument("names", nargs="+", metavar="NAME", help=", ".join(data.SOURCES))
    command.set_defaults(run=_data)

    command = commands.add_parser("recipe", help="print a recipe as YAML, to copy and edit")
    command.add_argument("recipe", help=", ".join(recipes.RECIPES))
    command.set_defaults(run=_recipe)

    command = commands.add_parser("info", help="devices, precision, data found, shipped runs")
    command.set_defaults(run=_info)
    return parser


def _recipe(options: argparse.Namespace) -> None:
    recipe = recipes.get(options.recipe)
    if recipe.name in ON_REDUCED:
        print(f"# the course trains it on the first {REDUCED:,} images: --limit {REDUCED}")
    print(recipe.to_yaml(), end="")


def _train(options: argparse.Namespace) -> None:
    from_file = options.recipe.lower().endswith((".yaml", ".yml"))
    if not from_file and Path(options.recipe).is_file():
        raise ValueError(f"{options.recipe}: the name of a recipe's file ends in .yaml")
    recipe = recipes.read(options.recipe) if from_file else recipes.get(options.recipe)
    recipe = recipe.with_text(dict(_assignment(text) for text in options.set))
    dataset = data.load(recipe.dataset if options.data is None else options.data, limit=options.limit)
    out = options.out or Path("runs") / (Path(options.recipe).stem if from_file else recipe.name)
    hooks: list[Callable[[Run], object]] = []
    if options.measure is not None:
        judge.load(dataset.name)  # without one: now, and not after the first epoch
        hooks.append(metrics.during(options.measure))
    if options.samples:
        if len(recipe.image_shape) != 3:
            raise ValueError(f"{recipe.name} draws points, not images: leave --samples out")
        hooks.append(lambda run: plots.sheet(run, 10).save(out / "samples" / f"step-{run.step:06d}.png"))

    def after_epoch(run: Run) -> None:
        for hook in hooks:
            hook(run)
        tqdm.write(f"step {run.step:,}: {_last_row(run)}", file=sys.stdout)

    run = train.fit(recipe, dataset, out, resume=options.resume, on_epoch=after_epoch, log_dir=options.log_dir)
    if not PartialState().is_main_process:
        return
    print(f"{out}: {run.step:,} steps in {run.seconds:.0f} s, {_last_row(run)}")


def _last_row(run: Run) -> str:
    shown = ("d_loss", "g_loss", "real_accuracy", "fake_accuracy", "frechet_distance", "inception_score")
    return ", ".join(f"{key} {value:.3f}" for key, value in run.history[-1].items() if key in shown)


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not value.strip():
        raise ValueError(f"--set {text!r}: expected FIELD=VALUE (null where a field may be left open)")
    try:
        return name, yaml.safe_load(value)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        raise ValueError(f"--set {text!r}: {value!r} is no value") from error


def _sample(options: argparse.Namespace) -> None:
    if options.count < 1:
        raise ValueError(f"--count {options.count} must be at least 1")
    if options.out.suffix.lower() != ".png":
        raise ValueError(f"--out {options.out}: this picture is a .png, so its name must end in .png")
    run = train.load(options.run_folder)
    labels = None if options.label is None else [run.label_of(options.label)] * options.count
    if len(run.recipe.image_shape) != 3:
        raise ValueError(f"{run.recipe.name} draws points, not images")
    images = run.sample(options.count, labels=labels, seed=options.seed)
    columns = run.recipe.classes if options.label is None and run.recipe.classes else 8
    print(plots.grid(images, columns).save(options.out))


def _evaluate(options: argparse.Namespace) -> None:
    run = train.load(options.run_folder)
    report = metrics.evaluate(
        run, options.data, count=options.count, cas=options.cas, extractor=options.extractor, seed=options.seed
    )
    print(report)


def _augment(options: argparse.Namespace) -> None:
    out = enlarge.ready(options.out, options.images, resume=options.resume)
    enlarged = enlarge.enlarge(
        data.load(options.images, limit=options.limit),
        options.per_class,
        folder=out.with_suffix(".gan"),
        steps=options.steps,
        filtered=options.filter,
        flip=options.flip,
        resume=options.resume,
        seed=options.seed,
    )
    print(enlarged, flush=True)  # before a full disk can cost the report
    print(f"{enlarged.save(out)}: {enlarged.verdict}")


def _study(options: argparse.Namespace) -> None:
    if options.row is not None:
        if any(given is not None for given in (options.stage, options.sizes, options.subsets, options.jobs)):
            raise ValueError("--row trains one row: leave --stage, --sizes, --subsets and --jobs out")
        _study_row(options)
        return
    rows = study.run(
        options.out,
        [options.stage] if options.stage else study.STAGES,
        smoke=options.smoke,
        sizes=options.sizes,
        subsets=options.subsets,
        jobs=options.jobs,
    )
    print(f"{options.out / study.ROWS}: {len(rows):,} rows")


def _study_row(options: argparse.Namespace) -> None:
    row = study.run_row(options.row, options.out, smoke=options.smoke)
    print(f"{row.trial}: accuracy {row.accuracy:g}, validation {row.validation:g}, {row.seconds:.1f} s")
    for path in (options.out / study.ROWS, study.SHIPPED):
        if known := recorded(row.trial, path):
            off = row.accuracy - known.accuracy
            same = "the same" if not off else f"{off:+g} here, as another processor or torch may give"
            print(f"{path}: accuracy {known.accuracy:g}, {same}")


def _sizes(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: expected whole numbers such as 100,1000") from error


def _whole(text: str) -> int:
    try:
        number = int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"invalid int value: {text!r}") from error
    if abs(number) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number below 2**63")
    return number


def _seed(text: str) -> int:
    if not text.isdecimal() or not int(text) < 2**63:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 0 to 2**63 - 1")
    return int(text)


def _data(options: argparse.Namespace) -> None:
    for name in options.names:
        data.check_source(name)  # all of them, before the first download
    for name in options.names:
        print(data.download(name))


def _info(options: argparse.Namespace) -> None:
    device = PartialState().device
    title = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"gantools {__version__}, torch {torch.__version__}, profile {recipes.profile()}")
    print(f"device    {device.type} ({title}), precision auto = {runtime.resolve_precision('auto', device)}")
    print(f"data      in {data.cache_dir()}")
    for name, place in data.found().items():
        print(f"  {name:16}{place}")
    print(f"recipes   {', '.join(recipes.RECIPES)}")
    print(f"shipped   {', '.join(train.shipped()) or 'nothing yet'}")
    print(f"judges    {', '.join(judge.available()) or 'nothing yet'}")
