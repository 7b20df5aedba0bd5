"""What D sees of an image when it has few of them: shifts as in DiffAugment (Zhao et al. 2020), and mirrors."""

import torch
from torch import Tensor
from torch.nn.functional import pad

GROUND = -1.0  # black, where a moved image leaves a gap


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
