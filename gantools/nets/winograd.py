"""Small kernels over wide maps with fewer products (Winograd's convolution).

A 3×3 convolution of stride 1 makes 4×4 pixels of a map from 36 products instead of 144, a 2×2 one from 25 instead of 64
(Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks"): kernel and image are brought to a form in
which convolution is a product of numbers, and the product is brought back. In fp32 its error is a few millionths of
the output; in bf16 it would be too large.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import pad

OUT = 4  # side of the tiles that the output is made of
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0)


def convolve(x: Tensor, kernels: Tensor) -> Tensor:
    """`conv2d(x, kernels)`: maps [N, C, S, S] and kernels [O, C, K, K], K 2 or 3 → [N, O, S - K + 1, S - K + 1]."""
    (count, before, side, _), after, size = x.shape, len(kernels), kernels.shape[-1]
    tile, kernel, back = (matrix.to(x.dtype) for matrix in transforms(size))
    out_side = side - size + 1
    tiles = -(-out_side // OUT)  # in a row; the last may reach beyond the image
    missing = tiles * OUT - out_side
    cut = Cut.apply(pad(x, (0, missing, 0, missing)).permute(0, 2, 3, 1), OUT + size - 1, tiles)  # [T, N·tiles², C]
    kernels = (kernel @ kernels.permute(2, 3, 1, 0).reshape(size**2, -1)).view(-1, before, after)  # [T, C, O]
    products = (tile @ cut.flatten(1)).view(cut.shape) @ kernels  # [T, N·tiles², O]
    out = (back @ products.flatten(1)).view(OUT, OUT, count, tiles, tiles, after)
    out = out.permute(2, 5, 3, 0, 4, 1).reshape(count, after, tiles * OUT, tiles * OUT)
    return out[:, :, :out_side, :out_side]


@cache
def transforms(size: int) -> tuple[Tensor, Tensor, Tensor]:
    """F(4×4, K×K) for kernels of K×K: matrices of a tile [T, T], of a kernel [T, K²], and of the way back [16, T].

    T is (K + 3)²; float64. In one direction output = back · ((kernel · w) ∘ (tile · x)): the product of two polynomials
    is known from its values at enough points, one of them infinity, and convolution is its transpose.
    """
    points = torch.tensor(POINTS[: OUT + size - 2], dtype=torch.float64)

    def values(degree: int) -> Tensor:
        """Of the powers below `degree`, at each point and at infinity."""
        infinity = torch.eye(degree, dtype=torch.float64)[-1:]
        return torch.cat([torch.vander(points, degree, increasing=True), infinity])

    tile = torch.linalg.inv(values(OUT + size - 1)).T
    scale = tile.abs().amax(1, keepdim=True)  # moved to the kernels, for tiles of about the size of the image
    tile, kernel, back = tile / scale, values(size) * scale, values(OUT).T
    tile, kernel, back = (torch.kron(matrix.contiguous(), matrix.contiguous()) for matrix in (tile, kernel, back))
    return tile, kernel, back


class Cut(Function):
    """Images [N, S, S, C] → overlapping tiles, one every four pixels, as [side², N·tiles², C]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, side: int, tiles: int) -> Tensor:
        ctx.side, ctx.tiles = side, tiles
        cut = x.new_empty(side, side, len(x), tiles, tiles, x.shape[-1])
        for row in range(side):
            for column in range(side):
                cut[row, column] = _every_fourth(x, row, column, tiles)
        return cut.view(side**2, -1, x.shape[-1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return Paste.apply(grad, ctx.side, ctx.tiles), None, None


class Paste(Function):
    """The transpose of `Cut`: tiles [side², N·tiles², C] → images [N, S, S, C], summed where the tiles overlap."""

    @staticmethod
    def forward(ctx: Any, cut: Tensor, side: int, tiles: int) -> Tensor:
        ctx.side, ctx.tiles = side, tiles
        cut = cut.view(side, side, -1, tiles, tiles, cut.shape[-1])
        whole = tiles * OUT + side - OUT
        x = cut.new_zeros(cut.shape[2], whole, whole, cut.shape[-1])
        for row in range(side):
            for column in range(side):
                _every_fourth(x, row, column, tiles).add_(cut[row, column])
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return Cut.apply(grad, ctx.side, ctx.tiles), None, None


def _every_fourth(x: Tensor, row: int, column: int, tiles: int) -> Tensor:
    """One pixel of each tile, [N, tiles, tiles, C], as a view of the images."""
    reach = OUT * (tiles - 1) + 1
    return x[:, row : row + reach : OUT, column : column + reach : OUT]
