"""More from few images: what D alone sees of each one, and new images made of it.

`moved` is for both sides of a game, as in DiffAugment (Zhao et al. 2020): G does not learn it. The others are for real
images: who learns from them, a classifier or G, learns it too.
"""

from collections.abc import Sequence
from math import inf

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate, pad

GROUND = -1.0  # black, where a moved image leaves a gap
TURN, SHEAR, STRETCH, SHIFT = 0.2, 0.15, 0.1, 2.0  # at most: radians, share of the side, share, pixels of 28
BEND, KNOTS = 1.0, 5  # standard deviation in pixels of 28 by which each of 5×5 knots is pulled aside


def moved(x: Tensor, shift: int = 0, flip: bool = False) -> Tensor:
    """Images [N, C, H, W], each moved by its own draw of -shift … shift pixels either way; with `flip`, half mirrored.

    Real and generated images go through it alike, and gradients go back through it to the generator: so D cannot
    learn the training images by heart, and G does not learn to draw moved ones. Gaps are black. Draws from torch's
    random state, nothing where there is nothing to do. Raises ValueError for what is no batch of images, and for a
    negative shift.
    """
    if shift < 0:
        raise ValueError(f"shift={shift} must not be negative")
    if not shift and not flip:
        return x
    if x.ndim != 4:
        raise ValueError(f"only images [N, C, H, W] can be moved, not {list(x.shape)}")
    count, _, height, width = x.shape
    rows, columns = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
    down, right = torch.randint(2 * shift + 1, (2, count, 1), device=x.device)
    rows, columns = rows + down, columns + right  # [N, H] and [N, W], places in the padded image
    if flip:
        mirrored = torch.rand(count, 1, device=x.device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    padded = pad(x, (shift, shift, shift, shift), value=GROUND)
    which = torch.arange(count, device=x.device)
    # Indexed by [N, 1, 1], [N, H, 1] and [N, 1, W], the planes come last.
    picked = padded.permute(0, 2, 3, 1)[which[:, None, None], rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)


def warped(x: Tensor, strength: float = 1.0) -> Tensor:
    """Images [N, C, H, W] in [-1, 1], each turned, sheared, stretched, shifted and bent by its own draw.

    The classical augmentation of digits: affine, and elastic in the manner of Simard et al. (2003), with a field of
    displacements that is smooth between 5×5 knots. `strength` is a share of all that. Black where an image leaves a
    gap. Values between pixels are bilinear, which blurs a little. Draws from torch's random state, nothing where there
    is nothing to do. Raises ValueError for a negative strength, and for what is no batch of float32 images.
    """
    if not _asked(x, strength):
        return x
    count, _, height, width = x.shape
    grid = _affine(x, strength)
    knots = torch.randn(count, 2, KNOTS, KNOTS, device=x.device) * strength * BEND / 14
    bend = interpolate(knots, size=(height, width), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    return sampled(x - GROUND, grid + bend) + GROUND  # outside, it reads 0


def random_affine(x: Tensor, strength: float = 1.0) -> Tensor:
    """The same without bending, and sharp: values between pixels are bicubic.

    For images that a generator learns from, since it would learn the blur: 10,000 digits of MNIST at `strength` 0.4
    have an FD of 0.13 when bilinear and of 0.05 like this, as delivered 0.04. Bending adds 0.05. Raises
    what `warped` raises.
    """
    if not _asked(x, strength):
        return x
    result = sampled(x - GROUND, _affine(x, strength), "bicubic")
    return result.clamp(0, 2) + GROUND  # at an edge, bicubic overshoots


def _asked(x: Tensor, strength: float) -> bool:
    """Whether there is something to do; raises what `warped` raises."""
    if not 0 <= strength < inf:
        raise ValueError(f"strength={strength:g} must not be negative, nor infinite")
    if strength and x.ndim != 4:
        raise ValueError(f"only images [N, C, H, W] can be turned, not {list(x.shape)}")
    if strength and x.dtype != torch.float32:
        raise ValueError(f"only float32 images can be turned, not {x.dtype}")
    return strength > 0 and len(x) > 0


def _affine(x: Tensor, strength: float) -> Tensor:
    """Where in its image each place of the result is taken from, [N, H, W, 2] in grid_sample's terms: -1 to 1."""
    count = len(x)
    most = strength * torch.tensor([TURN, SHEAR, STRETCH, STRETCH], device=x.device)
    turn, shear, *stretch = (2 * torch.rand(4, count, device=x.device) - 1) * most[:, None]
    shift = (2 * torch.rand(2, count, device=x.device) - 1) * strength * SHIFT / 14  # the grid is 2 wide
    return pose_grid(x.shape, turn, shear, 1 + stretch[0], 1 + stretch[1], shift.T)


def pose_grid(shape: Sequence[int], turn: Tensor, shear: Tensor, across: Tensor, down: Tensor, shift: Tensor) -> Tensor:
    """Where images of `shape`, [N, C, H, W], are sampled to be posed: [N, H, W, 2], from -1 to 1, for grid_sample.

    A turn in radians, a shear and two factors of length, [N] each (`turned`); a shift in halves of the side, [N, 2].
    """
    theta = torch.cat([turned(turn, shear, across, down), shift[:, :, None]], 2)  # [N, 2, 3]
    return affine_grid(theta, list(shape), align_corners=False)


def sampled(x: Tensor, grid: Tensor, mode: str = "bilinear", padding: str = "zeros") -> Tensor:
    """torch's `grid_sample` of images [N, C, H, W]; Apple's GPUs leave it to the CPU, for not all of them have it."""
    if x.device.type == "mps":
        return sampled(x.cpu(), grid.cpu(), mode, padding).to(x.device)
    return grid_sample(x, grid, mode, padding, align_corners=False)


def turned(turn: Tensor, shear: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Linear maps of the plane, [N, 2, 2], from a turn in radians, a shear and two factors of length, [N] each."""
    columns = torch.stack([across * turn.cos(), across * turn.sin(), down * (shear - turn.sin()), down * turn.cos()], 1)
    return columns.view(-1, 2, 2).transpose(1, 2)
