"""Training: one loop for every recipe, around the two steps of `gantools.steps`. Read it from top to bottom.

`fit` runs on whatever `accelerate` finds: one CPU, a GPU, or several processes started by torchrun.
"""

import math
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from time import perf_counter

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor
from tqdm import tqdm

from gantools import checkpoint, tensorboard
from gantools.augment import random_affine
from gantools.checkpoint import load, shipped
from gantools.data import ImageSet
from gantools.recipe import Recipe
from gantools.run import Run
from gantools.runtime import (
    autocast_for,
    balanced_index,
    batch_index,
    by_class,
    deferred_interrupt,
    forked_random,
    keep_freed_memory,
    mean_buffers,
    mean_over_processes,
    mix_seed,
    seed_step,
)
from gantools.steps import BatchNorm, Labelled, d_step, g_step

__all__ = ["Diverged", "Run", "d_step", "fit", "g_step", "load", "shipped"]

SAVE_EVERY = 60.0  # seconds between two checkpoints of a run


class Diverged(RuntimeError):
    """A loss became NaN or infinite."""


def fit(
    recipe: Recipe,
    dataset: ImageSet,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    on_epoch: Callable[[Run], object] | None = None,
    log_dir: str | Path | None = None,
) -> Run:
    """Train a recipe on a data set; with `out`, the run is saved in that folder every minute and at the end.

    `resume=True` goes on where the run in `out` stopped and ends with the weights of one that never did, bit for bit in
    fp32 on a CPU, in one process. Ctrl-C finishes the step, saves, and raises KeyboardInterrupt (several processes stop
    at once, without saving). `on_epoch(run)` is called after each epoch and at the end; with `log_dir`, TensorBoard
    finds there the numbers of each epoch and samples. The process keeps what memory it used
    (`runtime.keep_freed_memory`). Raises `Diverged` for a loss or a weight that is no number, `DataError` for images or
    labels that are none, `CheckpointError` if `out` does not fit, ValueError where recipe and data do not fit each
    other.
    """
    for given, kind, made_by in ((recipe, Recipe, "recipes.get(name)"), (dataset, ImageSet, "data.load(name)")):
        if not isinstance(given, kind):
            raise ValueError(f"fit() takes a recipe and a data set; {given!r:.60} is none: see {made_by}")
    keep_freed_memory()
    dataset.check()
    accelerator = Accelerator(
        mixed_precision="no", kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)]
    )
    rank, world, device = accelerator.process_index, accelerator.num_processes, accelerator.device
    recipe = recipe.suited_to(dataset.images.shape, dataset.classes)
    recipe.check_shares(world)
    steps_per_epoch, total = len(dataset) // recipe.batch, recipe.total_steps(len(dataset))
    run = checkpoint.open_run(recipe, dataset, out, resume).to(device)
    layers = (*run.player.modules(), *run.discriminator.modules())
    smallest = min(recipe.batch, recipe.g_batch or recipe.batch)
    if smallest // world == 1 and any(isinstance(layer, BatchNorm) for layer in layers):
        raise ValueError(f"recipe {recipe.name}: batch norm has nothing to compare in a batch of one; raise batch")
    generator, discriminator = accelerator.prepare(run.player.train(), run.discriminator.train())
    images, labels = dataset.images.to(device), dataset.labels.to(device)
    autocast = autocast_for(recipe.precision, device)
    # Balanced, each class is met and asked for as often as any other; else as often as the data have it.
    draw = partial(balanced_index, by_class(dataset.labels)) if recipe.balanced else partial(batch_index, len(dataset))
    askable = labels.unique() if recipe.balanced else labels

    def fakes(y: Tensor) -> Labelled:
        with autocast:
            return generator(recipe.draw_z(len(y), device=device), y).float(), y

    def save() -> None:
        if not run.finite():
            raise Diverged(_post_mortem(run, scores, out))
        if out is not None and accelerator.is_main_process:
            checkpoint.save(run, out)

    quiet = not accelerator.is_main_process
    if recipe.classes and not quiet and (empty := (dataset.class_counts() == 0).nonzero().flatten().tolist()):
        names = ", ".join(dataset.classes[label] for label in empty)
        print(f"{dataset.name}: no image of {names}; if there should be, number the labels from 0 without gaps")
    board = tensorboard.writer(log_dir, run.step) if log_dir and not quiet else nullcontext()
    bar = tqdm(None, recipe.name, total, file=sys.stdout, initial=run.step, mininterval=0.5, disable=quiet)
    saved, scores = perf_counter(), {}
    with forked_random(device), deferred_interrupt(world == 1) as interrupted, board as log, bar:
        while run.step < total and not interrupted():
            started = perf_counter()
            # In one piece: every second place of a balanced batch would show each of two processes half of the classes.
            index = draw(recipe.batch, recipe.seed, run.step).tensor_split(world)[rank].to(device)
            epoch = run.step // steps_per_epoch
            for optimizer, rate in ((run.d_optimizer, recipe.d_lr), (run.g_optimizer, recipe.g_lr)):
                optimizer.param_groups[0]["lr"] = rate * recipe.rate_factor(epoch)
            # All that a step draws follows from (seed, step, process): there is no random state to save.
            seed_step(mix_seed(recipe.seed, run.step, rank + 1), device)
            real = random_affine(images.index_select(0, index), recipe.affine), labels[index]

            with torch.set_grad_enabled(not recipe.fresh_fakes):
                generator.train(not recipe.eval_fakes)  # each step anew: `on_epoch` may have left either in eval mode
                discriminator.train()
                fake = fakes(real[1])
                generator.train()
            weight = recipe.penalty_weight(run.step)
            scores = d_step(recipe, discriminator, run.d_optimizer, real, fake, weight, autocast)
            if recipe.fresh_fakes:
                g_batch = (recipe.g_batch or 0) // world
                fake = fakes(askable[torch.randint(len(askable), (g_batch,), device=device)] if g_batch else real[1])
            scores |= g_step(recipe, run.discriminator, run.g_optimizer, real, fake, autocast)
            run.update_average()

            scores = {name: float(value) for name, value in scores.items()}  # waits for the device: before the clock
            run.log(scores, perf_counter() - started)
            if not math.isfinite(scores["d_loss"] + scores["g_loss"] + scores["penalty"]):
                raise Diverged(_post_mortem(run, scores, out))
            bar.update()
            if run.step % steps_per_epoch == 0 or run.step == total:
                run.open_row = mean_over_processes(accelerator, run.open_row)
                if run.step % steps_per_epoch == 0:
                    run.close_row()
                bar.set_postfix({key: f"{run.history[-1][key]:.3f}" for key in ("d_loss", "g_loss")}, refresh=False)
                for hook in (on_epoch, log):  # what on_epoch adds to the last row is logged too
                    if hook and accelerator.is_main_process:
                        try:
                            hook(run)
                        except Exception:
                            save()  # a plot that fails must not cost the training
                            raise
            if perf_counter() - saved > SAVE_EVERY:
                save()
                saved = perf_counter()
    mean_buffers(accelerator, run.networks())
    save()
    accelerator.wait_for_everyone()
    if interrupted():
        kept = f"; saved in {out}: resume goes on there" if out else ""
        raise KeyboardInterrupt(f"stopped after step {run.step}{kept}")
    return run.eval()


def _post_mortem(run: Run, scores: dict[str, float], out: str | Path | None) -> str:
    values = ", ".join(f"{name}={value:.4g}" for name, value in scores.items())
    kept = f"; the last good checkpoint is in {out}" if out and checkpoint.resumable(out) else ""
    return f"{run.recipe.name} diverged at step {run.step}: {values}{kept}. A lower learning rate is the first remedy"
