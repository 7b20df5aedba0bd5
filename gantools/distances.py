"""FD, KID and IS on plain tensors: torchmetrics' own, fed with features and logits that are made already."""

import warnings
from math import nan

from torch import Tensor, nn

from gantools.runtime import seeded

KERNEL_SUBSETS, KERNEL_SUBSET = 50, 1_000


def frechet(mean: Tensor, covariance: Tensor, count: int, features: Tensor) -> float:
    """Fréchet distance (Heusel et al. 2017) of features [N, D] to a reference, in float64.

    The reference is given as its mean [D], its covariance [D, D], and the number of features these were taken of. NaN
    where a feature is no finite number.
    """
    _check(features, len(mean))
    if not features.isfinite().all():
        return nan  # on some CPUs the eigenvalues of such a matrix end the process
    from torchmetrics.image.fid import FrechetInceptionDistance  # here: it takes two seconds to import

    metric = FrechetInceptionDistance(feature=_AsItIs(len(mean)), sync_on_compute=False)
    metric.real_features_num_samples += count
    metric.real_features_sum += mean * count
    metric.real_features_cov_sum += covariance * (count - 1) + count * mean.outer(mean)
    metric.update(features.double(), real=False)
    return max(float(metric.compute()), 0.0)


def kernel(known: Tensor, features: Tensor) -> float:
    """Squared maximum mean discrepancy with a cubic kernel (Binkowski et al. 2018) between features [M, D] and [N, D].

    The mean over fifty draws of a thousand features of either kind, or of as many as there are.
    """
    _check(features, known.shape[1])
    from torchmetrics.image.kid import KernelInceptionDistance  # here: it takes two seconds to import

    subset = min(KERNEL_SUBSET, len(features), len(known))
    with warnings.catch_warnings(), seeded(0):
        warnings.simplefilter("ignore", UserWarning)  # that it keeps all features: they are few numbers each
        metric = KernelInceptionDistance(
            feature=_AsItIs(known.shape[1]), subsets=KERNEL_SUBSETS, subset_size=subset, sync_on_compute=False
        )
        metric.update(known, real=True)
        metric.update(features, real=False)
        return float(metric.compute()[0])


def inception_score(logits: Tensor) -> float:
    """exp of the mean divergence of p(class | image) from p(class) (Salimans et al. 2016) of logits [N, classes].

    The mean over ten random tenths, as published; smaller with fewer images.
    """
    from torchmetrics.image.inception import InceptionScore  # here: it takes two seconds to import

    with warnings.catch_warnings(), seeded(0):
        warnings.simplefilter("ignore", UserWarning)
        metric = InceptionScore(feature=_AsItIs(logits.shape[1]), sync_on_compute=False)  # it takes the softmax itself
        metric.update(logits)
        return float(metric.compute()[0])


def _check(features: Tensor, size: int) -> None:
    if features.ndim != 2 or features.shape[1] != size or len(features) < 2:
        raise ValueError(f"expected features [at least 2, {size}], not {list(features.shape)}")


class _AsItIs(nn.Identity):
    """torchmetrics takes a network that makes features of images; ours are made already, once for all numbers."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features
