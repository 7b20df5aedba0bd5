"""Ways through the latent space: between two points, and along what changes the images most."""

import torch
from torch import Tensor

from gantools.run import Run

COMPARED = 512  # images, for the principal directions


def between(start: Tensor, end: Tensor, share: float, noise: str) -> Tensor:
    """The point at `share` (0 … 1) of the way, each [N, z_dim].

    Straight for uniform noise; along the arc for normal noise, whose points nearly all lie at one distance from 0.
    Straight, too, where both lie on one line through 0, and no arc is the shorter one.
    """
    straight = torch.lerp(start, end, share)
    if noise == "uniform":
        return straight
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=1).unsqueeze(1)
    angle = torch.acos(cosine.clamp(-1 + 1e-6, 1 - 1e-6))
    arc = (torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end) / torch.sin(angle)
    return torch.where(cosine.abs() < 1 - 1e-6, arc, straight)


def principal_directions(run: Run, count: int = 4, seed: int = 0, *, label: int = 0) -> Tensor:
    """Directions of z [count, z_dim] along which the images change most, one standard deviation of z long.

    Principal components of generated images, each carried back to the z that correlates with it. A conditional run is
    asked for images of the class `label`. Raises ValueError for a `count` that is not 1 to the lesser of z_dim and
    512, the images that it compares.
    """
    most = min(run.recipe.z_dim, COMPARED)
    if not 1 <= count <= most:
        raise ValueError(f"there are 1 to {most} directions, and {count} were asked for")
    z = run.draw_z(COMPARED, seed)
    pixels = of_class(run, z, label).flatten(1)
    pixels = pixels - pixels.mean(0)
    _, _, components = torch.linalg.svd(pixels, full_matrices=False)
    found = (pixels @ components[:count].T).T @ (z - z.mean(0))  # [count, z_dim]
    return torch.nn.functional.normalize(found, dim=1) * z.std()


def rows_of_z(run: Run, rows: int, seed: int = 0) -> tuple[Tensor, int]:
    """Samples for a sheet of `rows` rows, and how many stand in a row: one z as each class, else sixteen z."""
    if not (classes := run.recipe.classes):
        return run.sample(16 * rows, seed=seed), 16
    z = run.draw_z(rows, seed).repeat_interleave(classes, 0)
    return run.sample(z=z, labels=torch.arange(classes).repeat(rows)), classes


def of_class(run: Run, z: Tensor, label: int) -> Tensor:
    """Samples of z, all of one class; a run that knows no classes has only 0, and refuses another."""
    return run.sample(z=z, labels=[label] * len(z) if run.recipe.classes or label else None)
