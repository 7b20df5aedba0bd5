"""More from few images: what D alone sees of each one, and new images made of it.

`moved` is for both sides of a game, as in DiffAugment (Zhao et al. 2020): G does not learn it. `warped` is for real
images: whoever learns from them, a classifier or G, learns it too.
"""

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


def warped(x: Tensor, strength: float = 1.0, mode: str = "bilinear") -> Tensor:
    """Images [N, C, H, W] in [-1, 1], each turned, sheared, stretched, shifted and bent by its own draw.

    The classical augmentation of digits: affine, and elastic in the manner of Simard et al. (2003), with a field of
    displacements that is smooth between 5×5 knots. `strength` is a share of all that. `mode` is how values are found
    between pixels: "bilinear" blurs a little, as most libraries do, "bicubic" keeps strokes sharp. Black where an image
    leaves a gap. Draws from torch's random state, nothing where there is nothing to do. Raises ValueError for a
    negative strength, another mode, and for what is no batch of images.
    """
    if strength < 0:
        raise ValueError(f"strength={strength:g} must not be negative")
    if mode not in ("bilinear", "bicubic"):
        raise ValueError(f"mode={mode!r}: choose bilinear or bicubic")
    if not strength:
        return x
    if x.ndim != 4:
        raise ValueError(f"only images [N, C, H, W] can be bent, not {list(x.shape)}")
    count, _, height, width = x.shape
    most = strength * torch.tensor([TURN, SHEAR, STRETCH, STRETCH], device=x.device)
    turn, shear, *stretch = (2 * torch.rand(4, count, device=x.device) - 1) * most[:, None]
    shift = (2 * torch.rand(2, count, device=x.device) - 1) * strength * SHIFT / 14  # the grid is 2 wide
    across, down = 1 + stretch[0], 1 + stretch[1]
    theta = torch.stack(
        [
            torch.stack([across * turn.cos(), down * (shear - turn.sin()), shift[0]], 1),
            torch.stack([across * turn.sin(), down * turn.cos(), shift[1]], 1),
        ],
        1,
    )  # [N, 2, 3]: where in the image each place of the result is taken from
    knots = torch.randn(count, 2, KNOTS, KNOTS, device=x.device) * strength * BEND / 14
    bend = interpolate(knots, size=(height, width), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    grid = affine_grid(theta, list(x.shape), align_corners=False) + bend
    result = grid_sample(x - GROUND, grid, mode, align_corners=False)  # outside, it reads 0
    if mode == "bicubic":
        result = result.clamp(0, 2)  # at an edge it overshoots
    return result + GROUND
