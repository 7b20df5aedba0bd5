import pytest
import torch
from torch import nn

from gantools.nets import MLPDiscriminator, MLPGenerator
from gantools.nets.layers import Dropout

SHAPES = [(1, 28, 28), (3, 32, 40)]


def size(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_parameter_counts_are_the_published_ones():
    assert size(MLPGenerator()) == 114_800
    assert size(MLPDiscriminator()) == 110_849


@pytest.mark.parametrize("shape", SHAPES)
def test_the_generator_turns_z_into_images(shape):
    assert MLPGenerator(z_dim=7, image_shape=shape)(torch.randn(5, 7)).shape == (5, *shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [1, 5])
def test_the_discriminator_gives_one_logit_an_image(shape, count):
    assert MLPDiscriminator(image_shape=shape)(torch.randn(count, *shape)).shape == (count,)


def test_generated_pixels_fill_minus_one_to_one_and_no_more():
    pixels = MLPGenerator()(1000 * torch.randn(50, 100))
    assert (pixels.min(), pixels.max()) == (-1, 1)


def test_the_discriminator_ends_in_a_logit_without_a_sigmoid():
    network = MLPDiscriminator()
    assert isinstance(network.layers[-1], nn.Linear)
    assert not any(isinstance(layer, nn.Sigmoid) for layer in network.modules())
    nn.init.zeros_(network.layers[-1].weight)
    nn.init.constant_(network.layers[-1].bias, -5.0)
    assert network(torch.randn(2, 1, 28, 28)).tolist() == [-5, -5]


@pytest.mark.parametrize(
    ("network", "sizes"), [(MLPGenerator(), [100, 32, 64, 128]), (MLPDiscriminator(), [784, 128, 64, 32])]
)
def test_every_hidden_layer_is_linear_then_leaky_relu_then_dropout(network, sizes):
    hidden = [layer for layer in network.layers if not isinstance(layer, nn.Flatten | nn.Tanh)][:-1]
    assert [type(layer) for layer in hidden] == [nn.Linear, nn.LeakyReLU, Dropout] * 3
    assert [layer.in_features for layer in hidden[::3]] == sizes[:-1]
    assert [layer.out_features for layer in hidden[::3]] == sizes[1:]
    assert {layer.negative_slope for layer in hidden[1::3]} == {0.2}
    assert {layer.p for layer in hidden[2::3]} == {0.3}


def test_both_networks_ignore_labels():
    generator, discriminator, z = MLPGenerator().eval(), MLPDiscriminator().eval(), torch.randn(2, 100)
    images = generator(z)
    assert torch.equal(images, generator(z, torch.tensor([3, 4])))
    assert torch.equal(discriminator(images), discriminator(images, torch.tensor([3, 4])))


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_drops_with_its_probability_and_keeps_the_mean(p, dtype):
    torch.manual_seed(0)
    x = torch.ones(100_000, dtype=dtype, requires_grad=True)
    dropped = Dropout(p)(x)
    dropped.sum().backward()
    assert dropped.dtype == dtype
    assert (dropped == 0).float().mean().item() == pytest.approx(p, abs=0.01)
    assert dropped.float().mean().item() == pytest.approx(1 if p < 1 else 0, abs=0.01)
    assert len(dropped.unique()) == (2 if 0 < p < 1 else 1)
    assert torch.equal(x.grad, dropped.detach())  # what is dropped gets no gradient, what is kept the same factor


def test_dropout_follows_the_seed_and_rests_in_eval_mode():
    layer, x = Dropout(0.5), torch.randn(100)
    drawn = [torch.manual_seed(seed) and layer(x) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(layer.eval()(x), x)
