"""Weights in fewer bits: how far they move, and that they come back."""

import pytest
import torch

from gantools import rounding

TENSORS = {
    "layer.weight": torch.randn(6, 4, 5, 5),
    "layer.bias": torch.randn(6),
    "norm.num_batches_tracked": torch.tensor(7),
    "dense.weight": torch.randn(3, 8) * torch.tensor([[1e-3], [1.0], [100.0]]),
}


def test_half_keeps_what_is_no_float():
    half = rounding.to_half(TENSORS)
    assert {value.dtype for value in half.values()} == {torch.half, torch.int64}
    torch.testing.assert_close(half["layer.weight"].float(), TENSORS["layer.weight"], rtol=1e-3, atol=1e-6)


def test_each_weight_of_a_matrix_takes_a_byte_and_the_rest_two():
    small = rounding.to_bytes(TENSORS)
    assert small["layer.weight"].dtype == small["dense.weight"].dtype == torch.int8
    assert (small["layer.bias"].dtype, small["dense.weight.scale"].dtype) == (torch.half, torch.float32)
    assert small["dense.weight.scale"].shape == (3,)
    assert small["norm.num_batches_tracked"] == 7


@pytest.mark.parametrize("key", ["layer.weight", "dense.weight"])
def test_a_weight_moves_by_half_a_step_of_its_own_row_at_most(key):
    back = rounding.restored(rounding.to_bytes(TENSORS))
    assert back.keys() == TENSORS.keys()
    exact, near = TENSORS[key].flatten(1), back[key].flatten(1)
    steps = exact.abs().amax(1, keepdim=True) / rounding.TOP
    assert ((near - exact).abs() <= 0.501 * steps).all()
    assert back[key].dtype == torch.float32


def test_a_row_of_zeros_stays_zero():
    back = rounding.restored(rounding.to_bytes({"weight": torch.zeros(2, 3)}))
    assert torch.equal(back["weight"], torch.zeros(2, 3))


@pytest.mark.parametrize("form", [dict, rounding.to_half, rounding.to_bytes])
def test_a_weight_that_is_called_scale_comes_back_as_any_other(form):
    own = {"norm.scale": torch.ones(4), "layer.weight": torch.eye(3)}
    assert all(torch.equal(value, own[key]) for key, value in rounding.restored(form(own)).items())
    assert rounding.restored(form(own)).keys() == own.keys()


def test_what_is_not_in_bytes_is_left_alone():
    half = rounding.to_half(TENSORS)
    assert all(torch.equal(value, half[key]) for key, value in rounding.restored(half).items())
