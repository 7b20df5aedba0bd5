import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from gantools import nets
from gantools.nets import MLPDiscriminator, MLPGenerator
from gantools.nets.dcgan import halving, transposed
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


# Points


def test_points_go_in_and_out_and_each_gets_one_logit():
    generator, discriminator = nets.PointGenerator(z_dim=3), nets.PointDiscriminator()
    points = generator(torch.randn(5, 3))
    assert points.shape == (5, 2)
    assert discriminator(points).shape == (5,)
    assert discriminator(points[:1]).shape == (1,)


def test_points_and_their_logits_have_no_bounds():
    generator, discriminator = nets.PointGenerator(), nets.PointDiscriminator()
    assert generator(1000 * torch.randn(50, 2)).abs().max() > 10
    assert discriminator(1000 * torch.randn(50, 2)).abs().max() > 10


@pytest.mark.parametrize("network", [nets.PointGenerator(), nets.PointDiscriminator()])
def test_the_networks_of_the_ring_have_three_layers_and_neither_dropout_nor_batch_norm(network):
    slopes = [nn.Linear, nn.LeakyReLU] * 2
    assert [type(layer) for layer in network.layers] == [*slopes, nn.Linear]
    x = torch.randn(4, 2)
    assert torch.equal(network.train()(x), network.eval()(x))
    assert torch.equal(network(x), network(x, torch.zeros(4, dtype=torch.int64)))


# DCGAN

IMAGE = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
GENERATORS = {"mnist": nets.dcgan_mnist_generator, "cifar10": nets.dcgan_cifar10_generator}
DISCRIMINATORS = {"mnist": nets.dcgan_mnist_discriminator, "cifar10": nets.dcgan_cifar10_discriminator}


@pytest.fixture(scope="module")
def dcgans():
    """Generator and discriminator of either set, built once."""
    torch.manual_seed(0)
    return {name: (GENERATORS[name](), DISCRIMINATORS[name]()) for name in IMAGE}


@pytest.fixture(params=IMAGE)
def dcgan(request, dcgans):
    generator, discriminator = dcgans[request.param]
    return generator.train(), discriminator.train(), IMAGE[request.param]


def test_the_parameter_counts_of_the_dcgans_are_the_published_ones(dcgans):
    assert [size(network) for network in dcgans["mnist"]] == [2_305_472, 212_672]
    assert [size(network) for network in dcgans["cifar10"]] == [4_941_952, 4_113_792]


def test_a_dcgan_makes_images_and_gives_each_one_logit(dcgan):
    generator, discriminator, shape = dcgan
    images = generator(torch.randn(2, 100))
    assert images.shape == (2, *shape)
    assert discriminator(images).shape == (2,)
    assert discriminator(images[:1]).shape == (1,)


def test_a_dcgan_fills_minus_one_to_one_and_no_more(dcgan):
    generator, _, _ = dcgan
    pixels = generator.eval()(1000 * torch.randn(4, 100))
    assert (pixels.min(), pixels.max()) == (-1, 1)


@pytest.mark.parametrize(("name", "shape"), [("mnist", (3, 32, 32)), ("mnist", (1, 40, 40)), ("cifar10", (1, 64, 64))])
def test_a_dcgan_is_built_for_other_images_and_another_z(name, shape):
    images = GENERATORS[name](z_dim=5, image_shape=shape)(torch.randn(2, 5))
    assert images.shape == (2, *shape)
    assert DISCRIMINATORS[name](image_shape=shape)(images).shape == (2,)


def test_a_dcgan_ignores_labels(dcgan):
    generator, discriminator, _ = dcgan
    z, y = torch.randn(2, 100), torch.tensor([3, 4])
    images = generator.eval()(z)
    assert torch.equal(images, generator(z, y))
    assert torch.equal(discriminator.eval()(images), discriminator(images, y))


def test_a_dcgan_has_no_biases_but_those_of_batch_norm(dcgan):
    generator, discriminator, _ = dcgan
    layers = [*generator.modules(), *discriminator.modules()]
    weighted = [layer for layer in layers if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]
    assert len(weighted) >= 7
    assert all(layer.bias is None for layer in weighted)


@pytest.mark.parametrize(("name", "depth"), [("mnist", 2), ("cifar10", 2)])
def test_every_layer_of_g_but_the_last_has_batch_norm_and_leaky_relu(dcgans, name, depth):
    generator, _ = dcgans[name]
    layers = [layer for layer in generator.layers if not isinstance(layer, nn.ZeroPad2d)]
    assert [type(layer) for layer in generator.stem] == [nn.Linear, nn.BatchNorm1d, nn.LeakyReLU]
    hidden = [nn.ConvTranspose2d, nn.BatchNorm2d, nn.LeakyReLU] * depth
    assert [type(layer) for layer in layers] == [*hidden, nn.ConvTranspose2d, nn.Tanh]
    norms = [layer for layer in generator.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum, norm.affine) for norm in norms} == {(1e-3, 0.01, True)}
    assert {layer.negative_slope for layer in generator.modules() if isinstance(layer, nn.LeakyReLU)} == {0.3}


@pytest.mark.parametrize(("name", "depth"), [("mnist", 2), ("cifar10", 3)])
def test_every_convolution_of_d_has_leaky_relu_and_dropout_and_none_batch_norm(dcgans, name, depth):
    _, discriminator = dcgans[name]
    layers = discriminator.layers
    hidden = [nn.ZeroPad2d, nn.Conv2d, nn.LeakyReLU, Dropout] * depth
    assert [type(layer) for layer in layers] == [*hidden, nn.Flatten, nn.Linear]
    assert {layer.negative_slope for layer in layers if isinstance(layer, nn.LeakyReLU)} == {0.3}
    assert {layer.p for layer in layers if isinstance(layer, Dropout)} == {0.5}


@pytest.mark.parametrize("name", IMAGE)
@pytest.mark.parametrize("player", [0, 1])
def test_the_weights_of_a_dcgan_start_xavier_uniform(dcgans, name, player):
    weights = [parameter for parameter in dcgans[name][player].parameters() if parameter.ndim > 1]
    for weight in weights:
        fans = (weight.shape[0] + weight.shape[1]) * weight[0, 0].numel()
        bound = (6 / fans) ** 0.5
        assert 0.98 * bound < weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
        assert weight.mean().item() == pytest.approx(0, abs=0.1 * bound)


@pytest.mark.parametrize(
    ("name", "shape", "complaint"),
    [
        ("mnist", (1, 30, 30), "2 layers of stride 2 makes square images whose side 4 divides, not 30×30"),
        ("mnist", (1, 28, 32), "not 28×32"),
        ("cifar10", (3, 28, 28), "3 layers of stride 2 makes square images whose side 8 divides, not 28×28"),
        ("cifar10", (3, 30, 30), "not 30×30"),
        ("cifar10", (3, 40, 32), "not 40×32"),
    ],
)
def test_images_that_cannot_be_halved_are_refused_by_both_players(name, shape, complaint):
    for build in (GENERATORS[name], DISCRIMINATORS[name]):
        with pytest.raises(ValueError, match=complaint):
            build(image_shape=shape)


# TensorFlow's "same" for an even side, kernel 5 and stride 2: three pixels of padding, one of them before the image.
@pytest.mark.parametrize("row", range(5))
@pytest.mark.parametrize("column", [0, 2, 4])
def test_a_halving_convolution_samples_where_tensorflow_does(row, column):
    pad, convolution = halving(1, 1)
    weight = torch.zeros(1, 1, 5, 5)
    weight[0, 0, row, column] = 1
    convolution.weight.data = weight
    pixels = torch.arange(1.0, 65).view(8, 8)

    def pixel(y, x):
        return pixels[y, x].item() if 0 <= y < 8 and 0 <= x < 8 else 0

    expected = [[pixel(2 * y + row - 1, 2 * x + column - 1) for x in range(4)] for y in range(4)]
    assert convolution(pad(pixels[None, None]))[0, 0].tolist() == expected


def test_a_doubling_transposed_convolution_is_the_adjoint_of_the_halving_one():
    down, up = (nn.Sequential(*layers).double() for layers in (halving(3, 4), transposed(4, 3, stride=2)))
    up[0].weight = down[1].weight
    x, y = torch.randn(2, 3, 8, 8).double(), torch.randn(2, 4, 4, 4).double()
    assert up(y).shape == x.shape
    torch.testing.assert_close((down(x) * y).sum(), (x * up(y)).sum())


def test_a_transposed_convolution_of_stride_one_is_the_adjoint_of_a_centred_one():
    up = nn.Sequential(*transposed(4, 3, stride=1)).double()
    x, y = torch.randn(2, 3, 7, 7).double(), torch.randn(2, 4, 7, 7).double()
    assert up(y).shape == x.shape
    torch.testing.assert_close((conv2d(x, up[0].weight, padding=2) * y).sum(), (x * up(y)).sum())


# The classifier


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 28, 28), (1, 32, 32), (3, 32, 32)])
def test_the_classifier_gives_a_logit_for_each_class(shape):
    network = nets.ConvClassifier(shape, classes=7, width=4).eval()
    images = torch.randn(5, *shape)
    assert network(images).shape == (5, 7)
    assert network.features(images).shape == (5, nets.FEATURES) == (5, 64)
    assert torch.equal(network(images), network.head(network.features(images)))


def test_the_features_of_a_batch_in_training_have_mean_0_and_variance_1():
    images = torch.randn(32, 1, 28, 28) * torch.linspace(0.2, 2, 32).view(-1, 1, 1, 1)
    features = nets.ConvClassifier((1, 28, 28), classes=10, width=8).train().features(images)
    torch.testing.assert_close(features.mean(0), torch.zeros(64), atol=1e-4, rtol=0)
    torch.testing.assert_close(features.var(0, correction=0), torch.ones(64), atol=0.05, rtol=0)


def test_the_unit_of_the_features_cannot_be_trained_away():
    norm = nets.ConvClassifier((1, 28, 28), classes=10, width=4).features[-1]
    assert isinstance(norm, nn.BatchNorm1d)
    assert list(norm.parameters()) == []


def test_the_classifier_drops_features_only_where_asked_and_only_in_training():
    images = torch.randn(4, 1, 28, 28)
    for dropout, differs in ((0.0, False), (0.5, True)):
        network = nets.ConvClassifier((1, 28, 28), classes=10, width=4, dropout=dropout)
        assert torch.equal(network(images), network(images)) != differs
        network.eval()
        assert torch.equal(network(images), network(images))
