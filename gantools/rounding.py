"""Weights in fewer bits, for runs that are shipped: float16, or eight bits for each weight of a matrix.

Eight bits move FD by some thousandths: that of `dcgan-mnist` from 5.0252 to 5.0250, of `rgan-mnist` from 0.0969 to
0.0975, of `rgan-mnist-10k-no-penalty` from 2.1754 to 2.1744. CAS, the least steady number, went from 0.713 to 0.708
there. The numbers on record are of the bits that are shipped.
"""

import torch
from torch import Tensor

TOP = 127  # the largest int8 that has its negative
SCALE = ".scale"  # what the key of a matrix in eight bits ends with where its scales are stored


def to_half(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Floating-point tensors as float16, the others as they are."""
    return {key: value.half() if value.is_floating_point() else value for key, value in tensors.items()}


def to_bytes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of two dimensions and more as int8, each row with a scale of its own; the others as `to_half` has them.

    A row is what one index of the first dimension selects; its largest weight becomes 127 or -127.
    """
    small = to_half(tensors)
    for key, value in tensors.items():
        if value.is_floating_point() and value.ndim > 1:
            rows = value.float().flatten(1)
            scales = rows.abs().amax(1) / TOP  # [rows], float32: in float16 small ones would be lost
            shares = rows / scales.where(scales > 0, 1.0)[:, None]
            small[key] = shares.round().clamp(-TOP, TOP).to(torch.int8).view(value.shape)
            small[key + SCALE] = scales
    return small


def restored(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What `to_bytes` made, as float32 matrices; other tensors as they are."""
    whole = dict(tensors)
    for key, value in tensors.items():
        if value.dtype == torch.int8 and key + SCALE in tensors:  # a network may have a `scale` of its own
            rows = value.flatten(1).float() * whole.pop(key + SCALE)[:, None]
            whole[key] = rows.view(value.shape)
    return whole
