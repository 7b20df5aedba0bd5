"""Convolutions as the published networks have them, in the way that a CPU computes fastest.

All are the library's in what they compute and in the names of their weights. But its kernels run at a third of a CPU's
peak where maps are many and small, and at a few per cent where they are few; `benchmarks/step.py` has the times. The
wide ones take their own way from `WIDE` maps on, on a CPU: in training in fp32, and one of them in bf16.
"""

from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, conv_transpose2d, fold, pad, pixel_shuffle, pixel_unshuffle

from gantools.nets.winograd import convolve

WIDE = 128  # maps on both sides, from where on the own way is the faster


class ConvToFew(nn.Conv2d):
    """`nn.Conv2d` for few output maps and large kernels, stride 1: one matrix product, then a sum of shifted images.

    The sum is in fp32 at least, the product in bf16 where autocast says so. Also in eval mode. Raises ValueError where
    the padding is as wide as the kernel.
    """

    def __init__(
        self, before: int, after: int, kernel: int | tuple[int, int], padding: int | tuple[int, int] = 0
    ) -> None:
        super().__init__(before, after, kernel, padding=padding)
        if any(pad >= size for size, pad in zip(self.kernel_size, self.padding, strict=True)):
            raise ValueError(f"padding={padding} must be below kernel={kernel}")

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return super().forward(x)
        (count, before, height, width), exact = x.shape, torch.promote_types(x.dtype, torch.float32)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else exact
        with torch.autocast("cpu", enabled=False):
            kernels = self.weight.to(dtype).permute(2, 3, 0, 1).reshape(-1, before)  # [K·K·O, C]
            pixels = x.to(dtype).permute(0, 2, 3, 1).reshape(-1, before)  # [N·H·W, C]: no copy in channels_last
            products = (kernels @ pixels.T).view(*self.kernel_size, self.out_channels, count, height, width)
            out = SumShifted.apply(products).transpose(0, 1) + self.bias.view(-1, 1, 1)
        top, left = (size - 1 - pad for size, pad in zip(self.kernel_size, self.padding, strict=True))
        return out[:, :, top : out.shape[2] - top, left : out.shape[3] - left]


class ConvTranspose(nn.ConvTranspose2d):
    """`nn.ConvTranspose2d` that adds its bias apart.

    Inside, the gradient of the bias takes two fifths of the backward pass on a CPU, in bf16 four.
    """

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__(before, after, kernel, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return super().forward(x)
        out = conv_transpose2d(x, self.weight, None, self.stride, self.padding)
        return out + self.bias.view(-1, 1, 1).to(out.dtype)


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
    a 3×3 (4×4: 2×2) convolution of stride 1 to four times the maps, which are the pixels of 2×2 blocks. In bf16 the
    library computes the 3×3 one several times as fast as the 5×5.
    """

    def __init__(self, before: int, after: int, kernel: int = 5, bias: bool = False) -> None:
        super().__init__(before, after, kernel, stride=2, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        side, odd = 2 * x.shape[-1], self.kernel_size[0] % 2
        exact, half = _pays(self, x), odd and _pays_in_bf16(self, x)
        if not (exact or half):
            return super().forward(x)[:, :, :side, :side]
        kernels = pixel_unshuffle(pad(self.weight, (odd, 0, odd, 0)), 2).flip(2, 3).transpose(0, 1)  # [4·O, C, …]
        if half:
            kernels = kernels.unflatten(0, (-1, 4)).transpose(0, 1).flatten(0, 1)  # place in the block before map
            bias = None if self.bias is None else self.bias.repeat(4)
            return _blocks(conv2d(x, kernels, bias, padding=1))
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
        ctx.shape, ctx.dtype = products.shape, products.dtype
        rows, columns, maps, count, height, width = products.shape
        exact = torch.promote_types(products.dtype, torch.float32)
        out = products.new_zeros(maps, count, height + rows - 1, width + columns - 1, dtype=exact)
        for row, column in product(range(rows), range(columns)):
            _moved(out, products.shape, row, column).add_(products[row, column])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        products = grad.new_empty(ctx.shape, dtype=ctx.dtype)
        for row, column in product(*map(range, ctx.shape[:2])):
            products[row, column] = _moved(grad, ctx.shape, row, column)
        return products


def _moved(out: Tensor, shape: torch.Size, row: int, column: int) -> Tensor:
    """Where in the sum the products with one weight go, [O, N, H, W], as a view."""
    (height, width), top, left = shape[-2:], shape[0] - 1 - row, shape[1] - 1 - column
    return out[..., top : top + height, left : left + width]


def _blocks(maps: Tensor) -> Tensor:
    """Maps [N, 4·O, S, S], place in the block before map → [N, O, 2·S, 2·S], in channels_last.

    As `pixel_shuffle`, which wants the map before the place, and is half as fast in this memory order.
    """
    count, _, side, _ = maps.shape
    blocks = maps.permute(0, 2, 3, 1).reshape(count, side, side, 2, 2, -1)
    return blocks.transpose(2, 3).reshape(count, 2 * side, 2 * side, -1).permute(0, 3, 1, 2)


def _pays(layer: nn.Conv2d | nn.ConvTranspose2d, x: Tensor) -> bool:
    """Whether to take another way than the library's, which fits a GPU, bf16, few maps and a few images better."""
    return layer.training and x.device.type == "cpu" and not _in_bf16(x) and _wide(layer)


def _pays_in_bf16(layer: nn.Conv2d | nn.ConvTranspose2d, x: Tensor) -> bool:
    """Whether to ask the library for another convolution than the one that is written down."""
    return x.device.type == "cpu" and _in_bf16(x) and _wide(layer)


def _in_bf16(x: Tensor) -> bool:
    return torch.finfo(x.dtype).bits < 32 or torch.is_autocast_enabled("cpu")


def _wide(layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    return min(layer.in_channels, layer.out_channels) >= WIDE
