"""Numbers that nearest neighbours give, on plain tensors: density, coverage, memorisation. No judge is needed."""

import torch
from torch import Tensor

NEIGHBOURS = 5  # k of density and coverage
MEMORY_IMAGES = 2_000  # generated, and held out, whose nearest training image is looked up


def density_coverage(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """Density and coverage (Naeem et al. 2020) with k = 5 of features [N, D] and [M, D]: min(N, M) of each.

    A ball around each real feature reaches to its fifth neighbour. Density: how many balls a generated one lies in,
    over k; about 1 for real images. Coverage: the share of balls that hold a generated one. Raises ValueError for
    fewer than six.
    """
    count = min(len(real), len(fake))
    if count <= NEIGHBOURS:
        raise ValueError(f"density and coverage need more than {NEIGHBOURS} images of either kind, not {count}")
    real, fake = real[:count], fake[shuffled(len(fake))[:count]]
    hits = covered = 0
    for block in real.split(1_000):  # distances [1000, count] at a time
        radius = torch.cdist(block, real).kthvalue(NEIGHBOURS + 1, dim=1).values  # the nearest is itself
        inside = torch.cdist(block, fake) <= radius[:, None]
        hits += int(inside.sum())
        covered += int(inside.any(1).sum())
    return hits / (NEIGHBOURS * count), covered / count


def memorisation(generated: Tensor, held_out: Tensor, train: Tensor) -> float:
    """Median distance from a generated image to the nearest of `train`, over that from a held-out one.

    Images [N, C, H, W]; Euclidean, between pixels, for 2,000 of either kind. About 1: new images. Near 0: copies.
    """
    known = train.flatten(1)
    some = (part[shuffled(len(part))[:MEMORY_IMAGES]] for part in (generated, held_out))
    new, real = (_nearest(part.flatten(1), known).median() for part in some)
    return float(new / real)


def shuffled(count: int) -> Tensor:
    """A fixed random order, so that a part of the images is a fair part, however they were sorted."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))


def _nearest(images: Tensor, known: Tensor) -> Tensor:
    """The distance from each of images [N, D] to the nearest row of known [M, D], block by block."""
    best = torch.full((len(images),), torch.inf)
    for block in known.split(5_000):
        best = torch.minimum(best, torch.cdist(images, block).amin(1))
    return best
