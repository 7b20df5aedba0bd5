"""One step of each player: `d_step` for the discriminator, `g_step` for the generator."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gantools.augment import moved
from gantools.losses import class_loss, gradient_penalty
from gantools.recipe import Recipe

Labelled = tuple[Tensor, Tensor]  # images [N, C, H, W], or class logits [N, K], and the labels [N]
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d
Answer = tuple[Tensor, Tensor | None]  # logits [N], and class logits [N, K] of a D that names the class too
FP32 = nullcontext()


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
        real_class_loss = class_loss(real_named, y_real)
        d_loss = d_loss + recipe.class_weight * real_class_loss
        if recipe.classify_fakes:
            d_loss = d_loss + recipe.class_weight * class_loss(fake_named, y_fake)
    penalty = penalty_weight * _penalty(recipe, discriminator, *seen) if penalty_weight else torch.zeros_like(d_loss)
    optimizer.zero_grad()
    (d_loss + penalty).backward()
    optimizer.step()
    scores = _scores(recipe, real_logits.detach(), fake_logits.detach())
    if recipe.class_weight:
        scores |= _named((real_named, y_real), (fake_named, y_fake)) | {"class_loss": real_class_loss.detach()}
    return scores | {"d_loss": d_loss.detach(), "penalty": penalty.detach()}


def g_step(
    recipe: Recipe,
    discriminator: nn.Module,
    optimizer: Optimizer,
    real: Labelled,
    fake: Labelled,
    autocast: AbstractContextManager = FP32,
) -> dict[str, Tensor]:
    """One update of G: its fakes, given with their graph, towards "real". Returns what is logged.

    D's weights stand still. Its running statistics do not (unless `frozen_norm`), nor do the vectors of spectral norm.
    """
    (x_real, y_real), (x_fake, y_fake) = real, fake
    with _standing_still(discriminator, recipe.frozen_norm):
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
    return {"g_loss": g_loss.detach()}


@contextmanager
def _standing_still(network: nn.Module, frozen_norm: bool) -> Iterator[None]:
    """The gradient passes through and leaves nothing there; afterwards what could learn can, also after an error."""
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    norms = [layer for layer in network.modules() if frozen_norm and isinstance(layer, BatchNorm) and layer.training]
    try:
        for parameter in learning:
            parameter.requires_grad_(False)
        for norm in norms:
            norm.eval()
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
        for norm in norms:
            norm.train()


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


def _named(real: Labelled, fake: Labelled) -> dict[str, Tensor]:
    """The shares of images that D names as they are labelled; class logits [N, K] beside the labels."""
    real_named, fake_named = ((logits.argmax(1) == y).float().mean() for logits, y in (real, fake))
    return {"real_named": real_named, "fake_named": fake_named}
