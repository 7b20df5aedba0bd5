"""What each player minimises: pure functions of logits, so no network ends in a sigmoid.

D(x) in the texts is sigmoid(logit), the probability D gives to "real". All losses are means over the batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss


def sigmoid_belief(real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
    """The probability of "real" of either half, from logits."""
    return real_logits.sigmoid(), fake_logits.sigmoid()


def clamped_belief(real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
    """The same where D's output is meant as a probability itself."""
    return real_logits.clamp(0, 1), fake_logits.clamp(0, 1)


def pair_belief(real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Of each pair: how sure D is that the real one is the real one, and that the fake one is. They sum to 1."""
    return (real_logits - fake_logits).sigmoid(), (fake_logits - real_logits).sigmoid()


@dataclass(frozen=True)
class Loss:
    """The two objectives of one game.

    d(real_logits, fake_logits, real_target, fake_target) and g(fake_logits, real_logits): logits [N] → scalar.
    `g_sees_real` says whether the generator's objective reads `real_logits`; if not, it gets None.
    belief(real_logits, fake_logits) is what D says of either half under this loss, the probability of "real" [N].
    """

    name: str
    d: Callable[[Tensor, Tensor, float, float], Tensor]
    g: Callable[[Tensor, Tensor | None], Tensor]
    g_sees_real: bool = False
    belief: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = sigmoid_belief


def bce(logits: Tensor, target: float) -> Tensor:
    """Binary cross-entropy of logits [N] against one target in [0, 1]; ln 2 at logit 0, whatever the target."""
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def bce_d(real_logits: Tensor, fake_logits: Tensor, real_target: float = 1.0, fake_target: float = 0.0) -> Tensor:
    """D's loss of Goodfellow et al. 2014, eq. 1: the sum of both halves, 2 ln 2 for a D that cannot tell."""
    return bce(real_logits, real_target) + bce(fake_logits, fake_target)


def non_saturating_g(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """-log D(G(z)): the generator wants its fakes called real (Goodfellow et al. 2014, section 3)."""
    return bce(fake_logits, 1.0)


def saturating_g(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """log(1 - D(G(z))): the minimax game to the letter; its gradient vanishes where D is sure."""
    return -bce(fake_logits, 0.0)


def least_squares_d(
    real_logits: Tensor, fake_logits: Tensor, real_target: float = 1.0, fake_target: float = 0.0
) -> Tensor:
    """Squared distance of the raw output from the targets (Mao et al. 2017, eq. 9, without its factor 1/2)."""
    return mse_loss(real_logits, torch.full_like(real_logits, real_target)) + mse_loss(
        fake_logits, torch.full_like(fake_logits, fake_target)
    )


def least_squares_g(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """Squared distance of the fakes' raw output from 1."""
    return mse_loss(fake_logits, torch.ones_like(fake_logits))


def squared_error_d(
    real_logits: Tensor, fake_logits: Tensor, real_target: float = 1.0, fake_target: float = 0.0
) -> Tensor:
    """Squared distance of the *probabilities* from the targets, the mean of both halves; 1/4 for a D that cannot tell.

    A squared error behind a sigmoid: its gradient vanishes where D is sure and wrong. Lesson 03's `cdcgan` has it.
    """
    return least_squares_d(real_logits.sigmoid(), fake_logits.sigmoid(), real_target, fake_target) / 2


def squared_error_g(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """Squared distance of D(G(z)) from 1."""
    return least_squares_g(fake_logits.sigmoid())


def relativistic_d(
    real_logits: Tensor, fake_logits: Tensor, real_target: float = 1.0, fake_target: float = 0.0
) -> Tensor:
    """Each real image against its fake partner (Jolicoeur-Martineau 2019, RpGAN); `fake_target` has no meaning.

    Logits [N] of either; raises ValueError where their shapes differ.
    """
    _check_pairs(real_logits, fake_logits)
    return bce(real_logits - fake_logits, real_target)


def relativistic_g(fake_logits: Tensor, real_logits: Tensor | None) -> Tensor:
    """The same pairs, the other way round."""
    if real_logits is None:
        raise ValueError("the relativistic loss compares pairs: it needs real_logits beside fake_logits")
    _check_pairs(real_logits, fake_logits)
    return bce(fake_logits - real_logits, 1.0)


def _check_pairs(real_logits: Tensor, fake_logits: Tensor) -> None:
    if real_logits.shape != fake_logits.shape:  # else each would meet all of the others, by broadcasting
        raise ValueError(f"pairs need logits of one shape, not {list(real_logits.shape)} and {list(fake_logits.shape)}")


def class_loss(class_logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of class logits [N, K] against the classes y, int64 [N]; ln K for a D that cannot tell them apart.

    The class term of Odena et al. 2017, eq. 3. It takes logits: behind a softmax of its own it would apply a second
    one, and could not fall below ln(1 + (K - 1) / e), 1.461 for ten classes, however right D is. Raises ValueError
    where the shapes do not fit.
    """
    if class_logits.ndim != 2 or y.shape != class_logits.shape[:1]:
        raise ValueError(
            f"class logits [N, K] and labels [N] are needed, not {list(class_logits.shape)} and {list(y.shape)}"
        )
    return cross_entropy(class_logits, y)


def gradient_penalty(logits: Tensor, x: Tensor) -> Tensor:
    """Mean squared norm of d logit / d x over the batch; x [N, …] must require a gradient.

    On real images this is R1 of Mescheder et al. 2018, on generated ones R2, before the factor gamma / 2.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return gradient.flatten(1).square().sum(1).mean()


non_saturating = Loss("non-saturating", bce_d, non_saturating_g)
saturating = Loss("saturating", bce_d, saturating_g)
least_squares = Loss("least-squares", least_squares_d, least_squares_g, belief=clamped_belief)
squared_error = Loss("squared-error", squared_error_d, squared_error_g)
relativistic = Loss(
    "relativistic",
    relativistic_d,
    relativistic_g,
    g_sees_real=True,
    belief=pair_belief,
)
