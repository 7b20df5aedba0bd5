"""Convolutions as the published networks have them, in the way that a CPU computes fastest.

All are the library's in what they compute and in the names of their weights. But its kernels run at a third of a CPU's
peak where maps are many and small, and at a few per cent where they are few; `benchmarks/step.py` has the times. The
wide ones take their own way from `WIDE` maps on, in training only, in fp32 on a CPU.
"""

from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import fold, pad, pixel_shuffle, pixel_unshuffle

from gantools.nets.winograd import convolve

WIDE = 128  # maps on both sides, from where on the own way is the faster


class ConvToFew(nn.Conv2d):
    """`nn.Conv2d` for few output maps and large kernels, stride 1: one matrix product, then a sum of shifted images.

    In fp32 at least, also in eval mode.
    """

    def __init__(
        self, before: int, after: int, kernel: int | tuple[int, int], padding: int | tuple[int, int] = 0
    ) -> None:
        super().__init__(before, after, kernel, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return super().forward(x)
        (count, before, height, width), dtype = x.shape, torch.promote_types(x.dtype, torch.float32)
        with torch.autocast("cpu", enabled=False):
            kernels = self.weight.to(dtype).permute(2, 3, 0, 1).reshape(-1, before)  # [K·K·O, C]
            products = kernels @ x.to(dtype).transpose(0, 1).reshape(before, -1)  # [K·K·O, N·H·W]
            products = products.view(*self.kernel_size, self.out_channels, count, height, width)
            out = SumShifted.apply(products).transpose(0, 1) + self.bias.view(-1, 1, 1)
        top, left = (size - 1 - pad for size, pad in zip(self.kernel_size, self.padding, strict=True))
        return out[:, :, top : out.shape[2] - top, left : out.shape[3] - left]


class HalvingConv(nn.Conv2d):
    """5×5, stride 2, no bias: maps [N, C, 2·S, 2·S] → [N, O, S, S], padded by one pixel before them and two behind.

    It is a 3×3 convolution of stride 1 on four times the maps, one for each pixel of a 2×2 block.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, 5, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if not _pays(self, x):
            return super().forward(pad(x, (1, 2, 1, 2)))
        kernels = pixel_unshuffle(pad(self.weight, (0, 1, 0, 1)), 2)  # [O, 4·C, 3, 3]
        return convolve(pixel_unshuffle(pad(x, (1, 3, 1, 3)), 2), kernels)


class DoublingConv(nn.ConvTranspose2d):
    """Transposed, 5×5 or 4×4, stride 2: maps [N, C, S, S] → [N, O, 2·S, 2·S].

    The full output has 2·S + 3 pixels (4×4: 2·S + 2); one is cut before the maps, and two (4×4: one) behind them. It is
    a 3×3 (4×4: 2×2) convolution of stride 1 to four times the maps, which are the pixels of 2×2 blocks.
    """

    def __init__(self, before: int, after: int, kernel: int = 5, bias: bool = False) -> None:
        super().__init__(before, after, kernel, stride=2, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        side, odd = 2 * x.shape[-1], self.kernel_size[0] % 2
        if not _pays(self, x):
            return super().forward(x)[:, :, :side, :side]
        kernels = pixel_unshuffle(pad(self.weight, (odd, 0, odd, 0)), 2).flip(2, 3).transpose(0, 1)  # [4·O, C, …]
        maps = pixel_shuffle(convolve(pad(x, (1, 1, 1, 1)), kernels), 2)  # of 4×4: 2·S + 2 pixels
        maps = maps if odd else maps[:, :, 1:-1, 1:-1]
        return maps if self.bias is None else maps + self.bias.view(-1, 1, 1)


class SmallConvTranspose(nn.ConvTranspose2d):
    """`nn.ConvTranspose2d` without bias or padding, for small maps: a matrix product for the pixels of all images."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1) -> None:
        super().__init__(before, after, kernel, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if not _pays(self, x):
            return super().forward(x)
        count, before, side, _ = x.shape
        pixels = x.permute(0, 2, 3, 1).reshape(-1, before)
        patches = (pixels @ self.weight.flatten(1)).view(count, side**2, -1)  # [N, S², O·K²]
        (size, _), (stride, _) = self.kernel_size, self.stride
        out_side = (side - 1) * stride + size
        return fold(patches.transpose(1, 2), (out_side, out_side), size, stride=stride)


class SumShifted(Function):
    """Products with each weight of a kernel, [K, K, O, N, H, W] → their sum, each moved to the pixel it is for.

    [O, N, H + K - 1, W + K - 1]: all pixels that a kernel reaches which overlaps the image by one pixel at least.
    """

    @staticmethod
    def forward(ctx: Any, products: Tensor) -> Tensor:
        ctx.shape = products.shape
        rows, columns, maps, count, height, width = products.shape
        out = products.new_zeros(maps, count, height + rows - 1, width + columns - 1)
        for row, column in product(range(rows), range(columns)):
            _moved(out, products.shape, row, column).add_(products[row, column])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        products = grad.new_empty(ctx.shape)
        for row, column in product(*map(range, ctx.shape[:2])):
            products[row, column] = _moved(grad, ctx.shape, row, column)
        return products


def _moved(out: Tensor, shape: torch.Size, row: int, column: int) -> Tensor:
    """Where in the sum the products with one weight go, [O, N, H, W], as a view."""
    (height, width), top, left = shape[-2:], shape[0] - 1 - row, shape[1] - 1 - column
    return out[..., top : top + height, left : left + width]


def _pays(layer: nn.Conv2d | nn.ConvTranspose2d, x: Tensor) -> bool:
    """Whether to take another way than the library's, which fits a GPU, bf16, few maps and a few images better."""
    exact = torch.finfo(x.dtype).bits >= 32 and not torch.is_autocast_enabled("cpu")
    wide = min(layer.in_channels, layer.out_channels) >= WIDE
    return layer.training and x.device.type == "cpu" and exact and wide
