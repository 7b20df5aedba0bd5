"""Layers that are the library's, computed another way: same values, same gradients, same weights."""

from itertools import product
from unittest.mock import patch

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from gantools import nets
from gantools.nets import convolutions, winograd
from gantools.nets.convolutions import ConvToFew, ConvTranspose, DoublingConv, HalvingConv, SmallConvTranspose

LAYERS = {
    "5×5 halving": (lambda: HalvingConv(3, 5), (2, 3, 16, 16), (2, 5, 8, 8)),
    "5×5 halving, small": (lambda: HalvingConv(3, 5), (2, 3, 2, 2), (2, 5, 1, 1)),
    "5×5 halving, odd tiles": (lambda: HalvingConv(4, 2), (3, 4, 20, 20), (3, 2, 10, 10)),
    "5×5 doubling": (lambda: DoublingConv(3, 5), (2, 3, 8, 8), (2, 5, 16, 16)),
    "5×5 doubling, odd side": (lambda: DoublingConv(4, 2), (3, 4, 7, 7), (3, 2, 14, 14)),
    "5×5 doubling, with a bias": (lambda: DoublingConv(3, 5, bias=True), (2, 3, 8, 8), (2, 5, 16, 16)),
    "4×4 doubling": (lambda: DoublingConv(3, 5, 4), (2, 3, 4, 4), (2, 5, 8, 8)),
    "4×4 doubling, odd side": (lambda: DoublingConv(4, 2, 4), (3, 4, 7, 7), (3, 2, 14, 14)),
    "3×3 of one pixel": (lambda: SmallConvTranspose(4, 2, 3), (3, 4, 1, 1), (3, 2, 3, 3)),
    "3×3 doubling": (lambda: SmallConvTranspose(3, 5, 3, stride=2), (2, 3, 3, 3), (2, 5, 7, 7)),
    "4×4 of stride 3": (lambda: SmallConvTranspose(3, 5, 4, stride=3), (2, 3, 2, 2), (2, 5, 7, 7)),
}


@pytest.fixture(autouse=True)
def small_is_wide(monkeypatch):
    monkeypatch.setattr(convolutions, "WIDE", 2)


@pytest.fixture(params=LAYERS)
def layer_and_images(request):
    build, shape, out_shape = LAYERS[request.param]
    return build().double(), torch.randn(shape, dtype=torch.float64, requires_grad=True), out_shape


def test_in_training_a_layer_has_the_values_and_gradients_of_the_library(layer_and_images):
    layer, x, out_shape = layer_and_images
    with patch.object(convolutions, "_pays", return_value=False):
        expected = layer(x)
    assert expected.shape == out_shape
    pull = torch.randn_like(expected)
    gradients = torch.autograd.grad(expected, [x, *layer.parameters()], pull)
    with patch.object(nn.Conv2d, "forward", fail), patch.object(nn.ConvTranspose2d, "forward", fail):
        torch.testing.assert_close(layer(x), expected)
        torch.testing.assert_close(torch.autograd.grad(layer(x), [x, *layer.parameters()], pull), gradients)


def test_its_gradients_have_gradients_as_a_penalty_needs_them(layer_and_images):
    layer, x, _ = layer_and_images
    assert torch.autograd.gradgradcheck(lambda x, weight: run(layer, x, weight), (x, layer.weight), fast_mode=True)


def run(layer, x, weight):
    return torch.func.functional_call(layer, {"weight": weight}, (x,))


def fail(*_):
    raise AssertionError("the library's way was taken")


def the_library_says(layer):
    return patch.object(type(layer).__mro__[1], "forward", lambda self, x: torch.full_like(x, 7).repeat(1, 1, 9, 9))


@pytest.mark.parametrize("name", LAYERS)
def test_outside_training_and_where_maps_are_few_the_library_is_asked(name):
    build, shape, _ = LAYERS[name]
    layer, x = build(), torch.randn(shape)
    with the_library_says(layer):
        assert layer.eval()(x).unique().tolist() == [7]
        assert layer.train()(x).unique().numel() > 1
        with patch.object(convolutions, "WIDE", 6):
            assert layer(x).unique().tolist() == [7]
            with torch.autocast("cpu", torch.bfloat16):
                assert layer(x).unique().tolist() == [7]


@pytest.mark.parametrize("name", [name for name in LAYERS if not name.startswith("5×5 doubling")])
def test_in_bf16_the_library_is_asked(name):
    build, shape, _ = LAYERS[name]
    layer, x = build(), torch.randn(shape)
    with the_library_says(layer):
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(x).unique().tolist() == [7]
        assert layer(x.bfloat16()).unique().tolist() == [7]


@pytest.mark.parametrize("name", [name for name in LAYERS if name.startswith("5×5 doubling")])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_5x5_doubling_in_bf16_is_a_convolution_of_stride_1_with_the_same_values(name, mode):
    build, shape, out_shape = LAYERS[name]
    layer, x = getattr(build(), mode)(), torch.randn(shape, requires_grad=True)
    exact = nn.ConvTranspose2d.forward(layer, x)[:, :, : out_shape[2], : out_shape[3]]
    pull = torch.randn_like(exact)
    expected = exact, *torch.autograd.grad(exact, [x, *layer.parameters()], pull)
    with patch.object(nn.ConvTranspose2d, "forward", fail), torch.autocast("cpu", torch.bfloat16):
        maps = layer(x)
    assert maps.dtype == torch.bfloat16
    assert maps.is_contiguous(memory_format=torch.channels_last)
    for ours, theirs in zip(
        (maps, *torch.autograd.grad(maps, [x, *layer.parameters()], pull.bfloat16())), expected, strict=True
    ):
        assert (ours - theirs).norm() < 0.02 * theirs.norm()  # of bf16; another order of the maps is off by 1


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(4, 2, 1), (4, 1, 0), (3, 2, 0)])
def test_a_transposed_convolution_with_its_bias_apart_is_the_library_s(kernel, stride, padding):
    layer = ConvTranspose(4, 3, kernel, stride=stride, padding=padding).double()
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64, requires_grad=True)
    expected = nn.ConvTranspose2d.forward(layer, x)
    pull = torch.randn_like(expected)
    gradients = torch.autograd.grad(expected, [x, *layer.parameters()], pull)
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(torch.autograd.grad(layer(x), [x, *layer.parameters()], pull), gradients)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer.float()(x.float()).dtype == torch.bfloat16


@pytest.mark.parametrize(("name", "way"), list(product(("mnist", "cifar10"), ("generator", "discriminator"))))
def test_a_dcgan_takes_its_own_way_where_it_is_wide(name, way):
    network = getattr(nets, f"dcgan_{name}_{way}")()
    own = [layer for layer in network.modules() if isinstance(layer, HalvingConv | DoublingConv)]
    assert [(layer.in_channels, layer.out_channels) for layer in own] == (
        []
        if name == "mnist"
        else {"generator": [(512, 256), (256, 128)], "discriminator": [(128, 256), (256, 512)]}[way]
    )


# Winograd's convolution


@pytest.mark.parametrize(("size", "side"), list(product((2, 3), (3, 4, 6, 9))))
def test_a_convolution_of_tiles_is_the_plain_one(size, side):
    x, kernels = torch.randn(2, 3, side, side).double(), torch.randn(4, 3, size, size).double()
    torch.testing.assert_close(winograd.convolve(x, kernels), conv2d(x, kernels))


def test_in_fp32_its_error_is_a_few_millionths():
    x, kernels = torch.randn(4, 256, 10, 10), torch.randn(64, 256, 3, 3)
    exact = conv2d(x.double(), kernels.double())
    error = (winograd.convolve(x, kernels) - exact).norm() / exact.norm()
    assert error < 5e-6


def test_its_transforms_are_those_of_lavin_and_gray_up_to_scale():
    tile, _, back = winograd.transforms(3)
    rows = "4 0 -5 0 1 0, 0 -4 -4 1 1 0, 0 4 -4 -1 1 0, 0 -2 -1 2 1 0, 0 2 -1 -2 1 0, 0 4 0 -5 0 1"
    one_way = torch.tensor([[float(number) for number in row.split()] for row in rows.split(",")]).double()
    ours = tile / tile.abs().amax(1, keepdim=True)
    theirs = torch.kron(one_way, one_way)
    theirs /= theirs.abs().amax(1, keepdim=True)
    torch.testing.assert_close(ours.abs(), theirs.abs())
    ones = torch.tensor([1.0, 1, 1, 1, 1, 0]).double()
    assert torch.equal(back[0], torch.kron(ones, ones))


@pytest.mark.parametrize(("size", "products"), [(2, 25), (3, 36)])
def test_it_needs_as_many_products_as_it_says(size, products):
    assert [matrix.shape for matrix in winograd.transforms(size)] == [
        (products, products),
        (products, size**2),
        (16, products),
    ]


def test_pasting_is_the_transpose_of_cutting():
    x, tiles = torch.randn(2, 10, 10, 3).double(), torch.randn(36, 2 * 2 * 2, 3).double()
    cut = winograd.Cut.apply(x, 6, 2)
    assert cut.shape == tiles.shape
    torch.testing.assert_close((cut * tiles).sum(), (x * winograd.Paste.apply(tiles, 6, 2)).sum())


# Few maps


@pytest.mark.parametrize(("kernel", "padding", "maps"), [(7, 3, 1), (10, 4, 1), ((5, 3), (0, 1), 3)])
def test_a_convolution_to_few_maps_is_the_direct_one_in_value_and_gradients(kernel, padding, maps):
    layer = ConvToFew(4, maps, kernel, padding=padding).double()
    x = torch.randn(2, 4, 11, 12, dtype=torch.float64, requires_grad=True)
    direct = conv2d(x, layer.weight, layer.bias, padding=padding)
    pull = torch.randn_like(direct)
    expected = torch.autograd.grad(direct, [x, layer.weight, layer.bias], pull)
    torch.testing.assert_close(layer(x), direct)
    torch.testing.assert_close(torch.autograd.grad(layer(x), [x, layer.weight, layer.bias], pull), expected)


def test_in_bf16_only_its_products_are_rounded():
    layer = ConvToFew(64, 1, 7, padding=3)
    x = torch.randn(2, 64, 12, 12, requires_grad=True)
    exact = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = layer(x)
    assert exact.dtype == rounded.dtype == torch.float32
    pull = torch.randn_like(exact)
    for ours, theirs in zip(
        (rounded, *torch.autograd.grad(rounded, [x, layer.weight], pull)),
        (exact, *torch.autograd.grad(exact, [x, layer.weight], pull)),
        strict=True,
    ):
        assert ours.dtype == torch.float32
        assert 0 < (ours - theirs).norm() < 0.01 * theirs.norm()


def test_padding_as_wide_as_the_kernel_is_refused():
    with pytest.raises(ValueError, match="padding=3 must be below kernel=3"):
        ConvToFew(4, 1, 3, padding=3)
