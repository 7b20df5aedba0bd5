"""A run as a folder: saved, loaded, gone on with, and the shipped ones. `runfiles` has the files.

There is no random state to store: `train.fit` seeds every step from (seed, step, process).
"""

import tempfile
from pathlib import Path

from torch import Tensor, nn
from torch.optim import Optimizer

from gantools import ASSETS, rounding, runfiles
from gantools.catalogue import RECIPES
from gantools.data import ImageSet
from gantools.recipe import Recipe
from gantools.run import Run
from gantools.runfiles import CheckpointError

ROUNDED = {32: dict, 16: rounding.to_half, 8: rounding.to_bytes}


class NotShipped(nn.Module):
    """In the place of a discriminator that was left out to keep the package small: it can say only that."""

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        raise CheckpointError("this run was shipped without its discriminator: train its recipe anew to have one")


def save(
    run: Run, folder: str | Path, *, networks_only: bool = False, bits: int = 32, discriminator: bool = True
) -> Path:
    """Write the run into its folder, replacing the checkpoint there in one move.

    `networks_only` and `bits`, 16 or 8 for each weight (`rounding`), are for shipping: such a run can sample and be
    judged, not resumed; without `discriminator` it is smaller still, and what loads in its place refuses to judge.
    """
    folder = Path(folder)
    if bits not in ROUNDED:
        raise ValueError(f"bits={bits} must be one of {', '.join(map(str, ROUNDED))}")
    networks_only = networks_only or bits < 32  # rounded weights are nothing to go on from
    if not networks_only and not run.whole:
        raise CheckpointError(f"{folder}: this run came without optimizers; save it with networks_only=True")
    modules = {"generator": run.player, "discriminator": run.discriminator}
    if run.average:
        modules["average"] = run.average.module
        if networks_only:
            modules.pop("generator")
    if networks_only and not discriminator:
        modules.pop("discriminator")
    networks = {f"{role}.{key}": value for role, net in modules.items() for key, value in net.state_dict().items()}
    if not all(value.isfinite().all() for value in networks.values()):
        raise CheckpointError(f"{folder}: these weights are NaN or infinite; the checkpoint there is kept")
    networks = ROUNDED[bits](networks)
    if not all(value.isfinite().all() for value in networks.values()):
        raise CheckpointError(f"{folder}: these weights are too large for {bits} bits; save them with bits=32")
    weights = {"networks": networks}
    if not networks_only:
        weights["optimizers"] = {
            f"{role}.{index}.{key}": value
            for role, optimizer in (("d_optimizer", run.d_optimizer), ("g_optimizer", run.g_optimizer))
            for index, state in optimizer.state_dict()["state"].items()
            for key, value in state.items()
        }
    about = {
        "recipe": run.recipe.objects() | run.recipe.scalars(),
        "data": run.data,
        "step": run.step,
        "seconds": round(run.seconds, 2),
        "rows": run.rows,
        "open_row": run.open_row,
        "measured": run.measured,
    }
    runfiles.write(folder, about, weights)
    run.folder = folder
    return folder


def load(folder: str | Path, recipe: Recipe | None = None) -> Run:
    """A run from its folder, or a shipped one by name. `recipe` is needed where the run used a recipe of your own.

    The run keeps the scalars it was saved with; its networks are in eval mode. Raises `CheckpointError`, naming the
    file, for anything damaged.
    """
    shipped_folder = ASSETS / "checkpoints" / str(folder)
    folder = Path(folder) if runfiles.there(folder) or not runfiles.there(shipped_folder) else shipped_folder
    if not runfiles.there(folder):
        known = ", ".join(shipped()) or "none"
        raise CheckpointError(f"no run in {folder} (it has no run.json); shipped runs: {known}")
    about, tensors = runfiles.read(folder)
    stored = about["recipe"]
    base = recipe or RECIPES.get(stored["name"])
    if base is None:
        raise CheckpointError(f"{folder}: gantools has no recipe {stored['name']!r}; give yours: load(path, recipe=…)")
    for name, object_name in base.objects().items():
        if stored.pop(name, None) != object_name:
            raise CheckpointError(
                f"{folder} was trained with another {name} than the recipe {base.name!r} has; "
                "give the one that it was trained with: load(path, recipe=…)"
            )
    try:
        run = Run.start(base.change(**stored), about["data"])
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{folder}/run.json does not fit the recipe {base.name!r}: {error}") from error
    run.step, run.seconds = about["step"], about["seconds"]
    run.rows, run.open_row, run.folder = about["rows"], about["open_row"], folder
    run.measured = about.get("measured", {})
    run.whole = "optimizers" in about["files"]
    _fill_networks(run, tensors["networks"], folder)
    if run.whole:
        for role in ("d_optimizer", "g_optimizer"):
            _fill_optimizer(getattr(run, role), tensors["optimizers"], role)
    return run.eval()


def open_run(recipe: Recipe, dataset: ImageSet, out: str | Path | None, resume: bool) -> Run:
    """The run in `out` to go on with, or a fresh one.

    Raises `CheckpointError` where `out` holds a run and `resume` was not asked for, or where that run has another
    recipe (its length apart) or other data.
    """
    data = {
        "name": dataset.name,
        "count": len(dataset),
        "classes": list(dataset.classes),
        "digest": dataset.digest(),
    }
    there = out is not None and runfiles.there(out)
    fresh = None if there else Run.start(recipe, data)  # refuses what cannot be built, before there is a folder
    if out is not None:
        _check_writable(Path(out))
    if fresh:
        return fresh
    if not resume:
        raise CheckpointError(f"{out} already holds a run: resume it (resume=True, --resume) or name another folder")
    if not resumable(out):
        raise CheckpointError(f"{out} holds networks without their optimizers: it can be sampled from, not resumed")
    run = load(out, recipe)
    before, now = {**run.recipe.scalars(), **run.data}, {**recipe.scalars(), **data}
    changed = [name for name in now if name not in ("steps", "epochs") and before.get(name) != now[name]]
    if changed:
        differences = ", ".join(f"{name} was {before.get(name)!r}, is {now[name]!r}" for name in changed)
        raise CheckpointError(f"{out} was trained otherwise ({differences}); resume it as it was, or start elsewhere")
    asked = recipe.total_steps(len(dataset))
    if asked < run.step:
        raise CheckpointError(f"{out} is at step {run.step} already, beyond the {asked} asked")
    run.recipe = recipe
    return run


def resumable(folder: str | Path) -> bool:
    """Whether the folder holds a run with its optimizers."""
    return runfiles.there(folder) and "optimizers" in runfiles.read_about(Path(folder))["files"]


def shipped() -> list[str]:
    """The names of the runs that come with the package."""
    return sorted(path.parent.name for path in (ASSETS / "checkpoints").glob("*/run.json"))


def _check_writable(folder: Path) -> None:
    """Now, and not at the first save, when the training so far would be lost."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CheckpointError(f"cannot write into {folder}: {error.strerror}; choose another folder") from error


def _fill_networks(run: Run, tensors: dict[str, Tensor], folder: Path) -> None:
    roles = {"generator": run.player, "discriminator": run.discriminator}
    if run.average:
        roles["average"] = run.average.module
        run.average.n_averaged.fill_(run.step)  # 0 would make the next update copy instead of average
    shipped_average = run.average and not run.whole  # then it is all there is, and stands in for the player
    for role, network in roles.items():
        stored = "average" if role == "generator" and shipped_average else role
        weights = {k.removeprefix(f"{stored}."): value for k, value in tensors.items() if k.startswith(f"{stored}.")}
        if not weights and role == "discriminator" and not run.whole:
            run.discriminator = NotShipped()
            continue
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(f"{folder}: the {role}'s weights do not fit its recipe: {reason}") from error


def _fill_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor], role: str) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        owner, index, slot = key.split(".")
        if owner == role:
            state.setdefault(int(index), {})[slot] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
