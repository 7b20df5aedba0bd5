"""Training: one step for each player, and one loop for every recipe. Read it from top to bottom.

`fit` runs on whatever `accelerate` finds: one CPU, a GPU, or several processes started by torchrun.
"""

import math
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from time import perf_counter

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm

from gantools import checkpoint, tensorboard
from gantools.augment import moved, random_affine
from gantools.checkpoint import load, shipped
from gantools.data import ImageSet
from gantools.losses import class_loss, gradient_penalty
from gantools.recipe import Recipe
from gantools.run import Run
from gantools.runtime import (
    autocast_for,
    balanced_index,
    batch_index,
    by_class,
    deferred_interrupt,
    keep_freed_memory,
    mean_over_processes,
    mix_seed,
    seed_step,
)

__all__ = ["Diverged", "Run", "d_step", "fit", "g_step", "load", "shipped"]

SAVE_EVERY = 60.0  # seconds between two checkpoints of a run
Labelled = tuple[Tensor, Tensor]  # images [N, C, H, W] and their labels [N]
Answer = tuple[Tensor, Tensor | None]  # logits [N], and class logits [N, K] of a D that names the class too
FP32 = nullcontext()


class Diverged(RuntimeError):
    """A loss became NaN or infinite."""


def d_step(
    recipe: Recipe,
    discriminator: nn.Module,
    optimizer: Optimizer,
    real: Labelled,
    fake: Labelled,
    penalty_weight: float = 0.0,
    autocast: AbstractContextManager = FP32,
) -> dict[str, Tensor]:
    """One update of D: real logits towards `real_target`, fake ones towards `fake_target`. Returns what is logged.

    With a `class_weight`, class logits go towards the labels, int64 [N], too; ValueError where D names no class. `fit`
    gives the `penalty_weight` of the step; 0 leaves R1 and R2 out.
    """
    (x_real, y_real), (x_fake, y_fake) = real, fake
    x_real = moved(x_real, recipe.shift, recipe.flip)
    x_fake = moved(x_fake.detach(), recipe.shift, recipe.flip)  # detached: D's loss must not reach the generator
    seen = (x_real, y_real), (x_fake, y_fake)
    with autocast:
        (real_logits, real_named), (fake_logits, fake_named) = _ask_both(recipe, discriminator, *seen)
    d_loss = recipe.loss.d(real_logits, fake_logits, recipe.real_target, recipe.fake_target)
    if recipe.class_weight:
        d_loss = d_loss + recipe.class_weight * class_loss(real_named, y_real)
        if recipe.classify_fakes:
            d_loss = d_loss + recipe.class_weight * class_loss(fake_named, y_fake)
    penalty = penalty_weight * _penalty(recipe, discriminator, *seen) if penalty_weight else torch.zeros_like(d_loss)
    optimizer.zero_grad()
    (d_loss + penalty).backward()
    optimizer.step()
    scores = _scores(recipe, real_logits.detach(), fake_logits.detach())
    if recipe.class_weight:
        scores |= {"real_named": _share(real_named, y_real), "fake_named": _share(fake_named, y_fake)}
    return scores | {"d_loss": d_loss.detach(), "penalty": penalty.detach()}


def g_step(
    recipe: Recipe,
    discriminator: nn.Module,
    optimizer: Optimizer,
    real: Labelled,
    fake: Labelled,
    autocast: AbstractContextManager = FP32,
) -> dict[str, Tensor]:
    """One update of G: its fakes, given with their graph, towards "real". D stands still. Returns what is logged."""
    (x_real, y_real), (x_fake, y_fake) = real, fake
    discriminator.requires_grad_(False)  # the gradient passes through D and leaves nothing there
    with autocast:
        fake_logits, fake_named = _ask(recipe, discriminator, moved(x_fake, recipe.shift, recipe.flip), y_fake)
        real_logits = None
        if recipe.loss.g_sees_real:
            real_logits, _ = _ask(recipe, discriminator, moved(x_real, recipe.shift, recipe.flip), y_real)
    g_loss = recipe.loss.g(fake_logits, real_logits)
    if recipe.class_weight:
        g_loss = g_loss + recipe.class_weight * class_loss(fake_named, y_fake)
    optimizer.zero_grad()
    g_loss.backward()
    optimizer.step()
    discriminator.requires_grad_(True)
    return {"g_loss": g_loss.detach()}


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

    `resume=True` goes on where the run in `out` stopped and ends with the weights of one that never did, bit for bit
    in fp32 on a CPU. Ctrl-C finishes the step, saves, and raises KeyboardInterrupt (several processes stop at once,
    without saving). `on_epoch(run)` is called after each epoch and at the end; with `log_dir`, TensorBoard finds there
    the numbers of each epoch and samples. The process keeps what memory it used (`runtime.keep_freed_memory`). Raises
    `Diverged` for a loss that is no number, `CheckpointError` if `out` does not fit.
    """
    keep_freed_memory()
    accelerator = Accelerator(
        mixed_precision="no", kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)]
    )
    rank, world, device = accelerator.process_index, accelerator.num_processes, accelerator.device
    recipe = recipe.suited_to(dataset.images.shape, dataset.classes)
    recipe.check_shares(world)
    steps_per_epoch, total = len(dataset) // recipe.batch, recipe.total_steps(len(dataset))
    run = checkpoint.open_run(recipe, dataset, out, resume).to(device)
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
        if out is not None and accelerator.is_main_process:
            checkpoint.save(run, out)

    quiet = not accelerator.is_main_process
    board = tensorboard.writer(log_dir, run.step) if log_dir and not quiet else nullcontext()
    bar = tqdm(None, recipe.name, total, file=sys.stdout, initial=run.step, mininterval=0.5, disable=quiet)
    saved = perf_counter()
    with torch.random.fork_rng(), deferred_interrupt(world == 1) as interrupted, board as log, bar:
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
                generator.train(not recipe.eval_fakes)
                fake = fakes(real[1])
                generator.train()
            weight = recipe.penalty_weight(run.step)
            scores = d_step(recipe, discriminator, run.d_optimizer, real, fake, weight, autocast)
            if recipe.fresh_fakes:
                g_batch = (recipe.g_batch or 0) // world
                fake = fakes(askable[torch.randint(len(askable), (g_batch,), device=device)] if g_batch else real[1])
            scores |= g_step(recipe, run.discriminator, run.g_optimizer, real, fake, autocast)
            if run.average:
                run.average.update_parameters(run.player)

            run.log(scores, perf_counter() - started)
            if not math.isfinite(run.open_row["d_loss"] + run.open_row["g_loss"]):
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
    save()
    accelerator.wait_for_everyone()
    if interrupted():
        raise KeyboardInterrupt(f"stopped after step {run.step}" + (f"; saved in {out}" if out else ""))
    return run.eval()


def _ask(recipe: Recipe, discriminator: nn.Module, x: Tensor, y: Tensor) -> Answer:
    """What D says, in fp32."""
    answer = discriminator(x, y)
    logits, class_logits = answer if isinstance(answer, tuple) else (answer, None)
    if class_logits is not None:
        class_logits = class_logits.float()
    elif recipe.class_weight:
        raise ValueError(f"{recipe.name}: class_weight={recipe.class_weight:g}, but this discriminator names no class")
    return logits.float(), class_logits


def _ask_both(recipe: Recipe, discriminator: nn.Module, real: Labelled, fake: Labelled) -> tuple[Answer, Answer]:
    """What D says of the real and of the generated images, in one batch or in two."""
    if not recipe.joint_d_batch:
        return _ask(recipe, discriminator, *real), _ask(recipe, discriminator, *fake)
    x, y = (torch.cat(halves) for halves in zip(real, fake, strict=True))
    logits, class_logits = _ask(recipe, discriminator, x, y)
    count = len(real[0])
    named = (None, None) if class_logits is None else (class_logits[:count], class_logits[count:])
    return (logits[:count], named[0]), (logits[count:], named[1])


def _share(class_logits: Tensor, y: Tensor) -> Tensor:
    """The share of images that D names as they are labelled."""
    return (class_logits.argmax(1) == y).float().mean()


def _penalty(recipe: Recipe, discriminator: nn.Module, real: Labelled, fake: Labelled) -> Tensor:
    """gamma / 2 of R1 and R2, in fp32 on their own forward passes."""
    penalty = torch.zeros((), device=real[0].device)
    for gamma, (x, y) in ((recipe.r1, real), (recipe.r2, fake)):
        if gamma:
            x = x.detach().requires_grad_()
            penalty = penalty + gamma / 2 * gradient_penalty(_ask(recipe, discriminator, x, y)[0], x)
    return penalty


def _scores(recipe: Recipe, real_logits: Tensor, fake_logits: Tensor) -> dict[str, Tensor]:
    """D(x), D(G(z)) and D's accuracy on either, as batch means."""
    d_real, d_fake = recipe.loss.belief(real_logits, fake_logits)
    return {
        "d_real": d_real.mean(),
        "d_fake": d_fake.mean(),
        "real_accuracy": (d_real > 0.5).float().mean(),
        "fake_accuracy": (d_fake < 0.5).float().mean(),
    }


def _post_mortem(run: Run, scores: dict[str, Tensor], out: str | Path | None) -> str:
    values = ", ".join(f"{name}={float(value):.4g}" for name, value in scores.items())
    kept = f"; the last good checkpoint is in {out}" if out and checkpoint.resumable(out) else ""
    return f"{run.recipe.name} diverged at step {run.step}: {values}{kept}. A lower learning rate is the first remedy"
