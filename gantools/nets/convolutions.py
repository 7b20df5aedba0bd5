"""Convolutions as the published networks have them, in the way that a CPU computes fastest.

All are the library's in what they compute and in the names of their weights. But its kernels run at a third of a CPU's
peak where maps are many and small, and at a few per cent where they are few; `benchmarks/step.py` has the times. The
wide ones take their own way in training only, in fp32 on a CPU.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d, fold, pad, pixel_shuffle, pixel_unshuffle

from gantools.nets.winograd import convolve


class ConvToFew(nn.Conv2d):
    """`nn.Conv2d` for few output maps and large kernels, stride 1, as the transposed convolution that it equals.

    That one is a matrix product in fp32 on a CPU.
    """

    def __init__(
        self, before: int, after: int, kernel: int | tuple[int, int], padding: int | tuple[int, int] = 0
    ) -> None:
        super().__init__(before, after, kernel, padding=padding)  # a stride or dilation would not be the same

    def forward(self, x: Tensor) -> Tensor:
        padding = [size - 1 - pad for size, pad in zip(self.kernel_size, self.padding, strict=True)]
        return conv_transpose2d(x, self.weight.flip(2, 3).transpose(0, 1), self.bias, padding=padding)


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
    """Transposed, 5×5 or 4×4, stride 2, no bias: maps [N, C, S, S] → [N, O, 2·S, 2·S].

    The full output has 2·S + 3 pixels (4×4: 2·S + 2); one is cut before the maps, and two (4×4: one) behind them. It is
    a 3×3 (4×4: 2×2) convolution of stride 1 to four times the maps, which are the pixels of 2×2 blocks.
    """

    def __init__(self, before: int, after: int, kernel: int = 5) -> None:
        super().__init__(before, after, kernel, stride=2, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        side, odd = 2 * x.shape[-1], self.kernel_size[0] % 2
        if not _pays(self, x):
            return super().forward(x)[:, :, :side, :side]
        kernels = pixel_unshuffle(pad(self.weight, (odd, 0, odd, 0)), 2).flip(2, 3).transpose(0, 1)  # [4·O, C, …]
        maps = pixel_shuffle(convolve(pad(x, (1, 1, 1, 1)), kernels), 2)  # of 4×4: 2·S + 2 pixels
        return maps if odd else maps[:, :, 1:-1, 1:-1]


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


def _pays(layer: nn.Module, x: Tensor) -> bool:
    """Whether to take another way than the library's, which fits a GPU, bf16 and a few images better."""
    exact = torch.finfo(x.dtype).bits >= 32 and not torch.is_autocast_enabled("cpu")
    return layer.training and x.device.type == "cpu" and exact
