import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, conv_transpose2d, one_hot, pad
from torch.nn.utils import parametrize
from torch.nn.utils.parametrize import is_parametrized

from gantools import nets, recipes
from gantools.nets import MLPDiscriminator, MLPGenerator
from gantools.nets.convolutions import ConvToFew, ConvTranspose, DoublingConv, HalvingConv, SmallConvTranspose
from gantools.nets.dcgan import halving, transposed
from gantools.nets.layers import ClassEmbedding, Dropout, quarter
from gantools.nets.rgan import POSE

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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_where_the_factor_of_dropout_is_rounded_its_probability_follows(dtype):
    torch.manual_seed(0)
    x = torch.ones(10_000_000, dtype=dtype)
    assert Dropout(0.4)(x).double().mean().item() == pytest.approx(1, abs=0.001)  # in bf16 it would be 1.003


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_dropout_keeps_the_order_of_memory_and_takes_any_shape(order):
    x = torch.ones(3, 5, 7, 9).to(memory_format=order)
    dropped = Dropout(0.5)(x)
    assert dropped.stride() == x.stride()
    assert 0.4 < dropped.count_nonzero() / x.numel() < 0.6
    part = torch.ones(8, 30)[:, ::3]
    assert set(Dropout(0.5)(part).unique().tolist()) == {0, 2}


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
    wide = {"mnist": nn.ConvTranspose2d, "cifar10": DoublingConv}[name]
    assert [type(layer) for layer in generator.stem] == [nn.Linear, nn.BatchNorm1d, nn.LeakyReLU]
    hidden = [wide, nn.BatchNorm2d, nn.LeakyReLU] * depth
    assert [type(layer) for layer in layers] == [*hidden, nn.ConvTranspose2d, nn.Tanh]
    norms = [layer for layer in generator.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum, norm.affine) for norm in norms} == {(1e-3, 0.01, True)}
    assert {layer.negative_slope for layer in generator.modules() if isinstance(layer, nn.LeakyReLU)} == {0.3}


@pytest.mark.parametrize(("name", "depth"), [("mnist", 2), ("cifar10", 3)])
def test_every_convolution_of_d_has_leaky_relu_and_dropout_and_none_batch_norm(dcgans, name, depth):
    _, discriminator = dcgans[name]
    layers = discriminator.layers
    rest = [nn.LeakyReLU, Dropout]
    narrow, wide = [nn.ZeroPad2d, nn.Conv2d, *rest], [HalvingConv, *rest]
    hidden = narrow * depth if name == "mnist" else narrow + wide * (depth - 1)
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
@pytest.mark.parametrize("layers", [halving(1, 1), [HalvingConv(1, 1)]])
def test_a_halving_convolution_samples_where_tensorflow_does(layers, row, column):
    weight = torch.zeros(1, 1, 5, 5)
    weight[0, 0, row, column] = 1
    layers[-1].weight.data = weight.double()
    pixels = torch.arange(1.0, 65).double().view(8, 8)

    def pixel(y, x):
        return pixels[y, x].item() if 0 <= y < 8 and 0 <= x < 8 else 0

    expected = [[pixel(2 * y + row - 1, 2 * x + column - 1) for x in range(4)] for y in range(4)]
    torch.testing.assert_close(nn.Sequential(*layers)(pixels[None, None])[0, 0], torch.tensor(expected).double())


@pytest.mark.parametrize(
    "ways", [(halving(3, 4), transposed(4, 3, stride=2)), ([HalvingConv(3, 4)], [DoublingConv(4, 3)])]
)
def test_a_doubling_transposed_convolution_is_the_adjoint_of_the_halving_one(ways):
    down, up = (nn.Sequential(*layers).double() for layers in ways)
    up[0].weight = down[-1].weight
    x, y = torch.randn(2, 3, 8, 8).double(), torch.randn(2, 4, 4, 4).double()
    assert up(y).shape == x.shape
    torch.testing.assert_close((down(x) * y).sum(), (x * up(y)).sum())


def test_a_transposed_convolution_of_stride_one_is_the_adjoint_of_a_centred_one():
    up = nn.Sequential(*transposed(4, 3, stride=1)).double()
    x, y = torch.randn(2, 3, 7, 7).double(), torch.randn(2, 4, 7, 7).double()
    assert up(y).shape == x.shape
    torch.testing.assert_close((conv2d(x, up[0].weight, padding=2) * y).sum(), (x * up(y)).sum())


# Labels


def test_a_label_gets_its_vector_and_a_mixture_the_mixture_of_theirs():
    layer = ClassEmbedding(3, 2)
    layer.weight.data = torch.tensor([[1.0, 0.0], [3.0, 4.0], [-5.0, 2.0]])
    assert layer(torch.tensor([2, 0, 2])).tolist() == [[-5, 2], [1, 0], [-5, 2]]
    shares = torch.tensor([[0.0, 0.0, 1.0], [0.5, 0.5, 0.0], [0.25, 0.25, 0.5]])
    assert layer(shares).tolist() == [[-5, 2], [2, 2], [-1.5, 2]]


@pytest.mark.parametrize("y", [torch.tensor([1, 1, 0]), torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0]])])
def test_a_class_learns_by_its_share_and_an_absent_one_not_at_all(y):
    layer = ClassEmbedding(3, 4)
    layer(y).sum().backward()
    assert layer.weight.grad.tolist() == [[1] * 4, [2] * 4, [0] * 4]


@pytest.mark.parametrize("y", [torch.tensor([3]), torch.tensor([-1]), torch.ones(2, 4)])
def test_a_class_that_does_not_exist_has_no_vector(y):
    with pytest.raises((IndexError, RuntimeError)):
        ClassEmbedding(3, 2)(y)


# Conditional GANs

PUBLISHED = {"cgan-mlp": (1_506_804, 932_965), "cdcgan": (7_505_508, 2_639_520), "cgan-sn": (1_069_522, 1_895_077)}
Z_DIM = {"cgan-mlp": 64, "cdcgan": 64, "cgan-sn": 100, "rgan": 64, "rgan-pose": 70}
Y = torch.tensor([3, 4])
PLAYERS = {
    "cgan-mlp": (nets.CGANMLPGenerator, nets.CGANMLPDiscriminator),
    "cdcgan": (nets.CDCGANGenerator, nets.CDCGANDiscriminator),
    "cgan-sn": (nets.CGANSNGenerator, nets.CGANSNDiscriminator),
    "rgan": (nets.ProjectionGenerator, nets.ProjectionDiscriminator),
    "rgan-pose": (nets.PosedGenerator, nets.ProjectionDiscriminator),
}


@pytest.fixture(scope="module")
def conditionals():
    """Generator and discriminator of every conditional GAN as built, once. Leave their weights alone."""
    torch.manual_seed(0)
    return {name: tuple(build() for build in pair) for name, pair in PLAYERS.items()}


@pytest.fixture(scope="module")
def warm(conditionals):
    """The same after 20 batches in train mode, which the spectral norms need to know their weights.

    The vectors of the labels in cgan-sn, which start near nothing, are twenty times as long.
    """
    torch.manual_seed(0)
    pairs = copy.deepcopy(conditionals)
    generator, discriminator = pairs["cgan-sn"]
    with torch.no_grad():
        for network in (generator, discriminator):
            network.plane[0].weight.mul_(20)
        for _ in range(20):
            discriminator(generator(torch.randn(2, 100), Y), Y)
    return pairs


@pytest.fixture(params=PLAYERS)
def player_pair(request, warm):
    """Generator and discriminator in eval mode, and two z."""
    generator, discriminator = warm[request.param]
    z = torch.randn(2, Z_DIM[request.param], generator=torch.Generator().manual_seed(0))
    return generator.eval(), discriminator.eval(), z


def layers_of(network, *kinds):
    return [layer for layer in network.modules() if isinstance(layer, kinds)]


def shapes_of(network, kind, *given):
    """The maps [C, H, W] that leave the layers of a kind."""
    shapes = []
    hooks = [
        layer.register_forward_hook(lambda layer, given, out: shapes.append(tuple(out.shape[1:])))
        for layer in layers_of(network, kind)
    ]
    network(*given)
    for hook in hooks:
        hook.remove()
    return shapes


def input_of(layer, network, *given):
    seen = []
    hook = layer.register_forward_pre_hook(lambda layer, given: seen.append(given[0]))
    network(*given)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_parameter_counts_of_the_conditional_gans_are_the_published_ones(conditionals, name):
    assert tuple(size(network) for network in conditionals[name]) == PUBLISHED[name]


def test_a_conditional_gan_makes_images_and_gives_each_one_logit(player_pair):
    generator, discriminator, z = player_pair
    images = generator(z, Y)
    assert images.shape == (2, 1, 28, 28)
    assert discriminator(images, Y).shape == (2,)
    assert discriminator(images[:1], Y[:1]).shape == (1,)


def test_a_conditional_gan_trains_on_two_images(warm):
    for name, (generator, discriminator) in warm.items():
        images = generator.train()(torch.randn(2, Z_DIM[name]), Y)
        logits = discriminator.train()(images, Y)
        weights = [*generator.parameters(), *discriminator.parameters()]
        gradients = torch.autograd.grad(logits.square().sum(), weights)
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert any(gradient.any() for gradient in gradients[: len(list(generator.parameters()))])


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("cgan-mlp", (3, 32, 40)),
        ("cgan-mlp", (1, 7, 9)),
        ("cdcgan", (3, 28, 28)),
        ("cgan-sn", (3, 28, 28)),
        ("rgan", (3, 32, 32)),
    ],
)
def test_a_conditional_gan_is_built_for_other_images_classes_and_z(name, shape):
    generator, discriminator = PLAYERS[name]
    images = generator(z_dim=5, image_shape=shape, classes=3)(torch.randn(2, 5), torch.tensor([0, 2]))
    assert images.shape == (2, *shape)
    assert discriminator(image_shape=shape, classes=3)(images, torch.tensor([0, 2])).shape == (2,)


@pytest.mark.parametrize("name", ["cdcgan", "cgan-sn"])
def test_a_conditional_gan_can_be_narrowed(conditionals, name):
    narrow = [build(width=8) for build in PLAYERS[name]]
    images = narrow[0](torch.randn(2, Z_DIM[name]), Y)
    assert images.shape == (2, 1, 28, 28)
    assert narrow[1](images, Y).shape == (2,)
    for network, whole in zip(narrow, conditionals[name], strict=True):
        convolutions = layers_of(network, nn.Conv2d, nn.ConvTranspose2d)
        assert [layer.kernel_size for layer in convolutions] == [
            layer.kernel_size for layer in layers_of(whole, nn.Conv2d, nn.ConvTranspose2d)
        ]
        assert sum(layer.out_channels for layer in convolutions) <= 8 * 7 + 1


@pytest.mark.parametrize("name", PLAYERS)
def test_a_conditional_gan_fills_minus_one_to_one_and_no_more(warm, name):
    generator, _ = warm[name]
    pixels = generator.eval()(1000 * torch.randn(4, Z_DIM[name]), torch.arange(4))
    assert pixels.min() >= -1
    assert pixels.max() <= 1
    assert pixels.max() - pixels.min() > 1.9


@pytest.mark.parametrize("name", PLAYERS)
def test_the_logits_of_a_conditional_gan_have_no_bounds(warm, name):
    _, discriminator = warm[name]
    logits = discriminator.eval()(1e4 * torch.randn(4, 1, 28, 28), torch.arange(4))
    assert logits.abs().max() > 5
    assert not layers_of(discriminator, nn.Sigmoid, nn.Tanh)


def test_another_label_makes_another_image_and_another_logit(player_pair):
    generator, discriminator, z = player_pair
    z = z[:1].expand(3, -1)
    images, again = generator(z, torch.tensor([3, 4, 3])), generator(z, torch.tensor([3, 3, 3]))
    torch.testing.assert_close(images[2], images[0])
    torch.testing.assert_close(again[1], images[0])
    assert (images[1] - images[0]).abs().max() > 1e-4
    same = images[:1].expand(3, -1, -1, -1)
    logits = discriminator(same, torch.tensor([3, 4, 3]))
    torch.testing.assert_close(logits[2], logits[0])
    assert (logits[1] - logits[0]).abs() > 1e-5


def test_another_z_and_another_image_are_told_apart_too(player_pair):
    generator, discriminator, z = player_pair
    images = generator(z, Y[[0, 0]])
    assert (images[1] - images[0]).abs().max() > 1e-4
    logits = discriminator(torch.cat([images[:1], torch.rand(1, 1, 28, 28)]), Y[[0, 0]])
    assert (logits[1] - logits[0]).abs() > 1e-5


def test_a_whole_share_of_a_class_is_its_label_and_halves_are_neither(player_pair):
    generator, discriminator, z = player_pair
    whole, half = one_hot(Y, 10).float(), torch.zeros(2, 10)
    half[:, Y] = 0.5
    images = generator(z, Y)
    torch.testing.assert_close(generator(z, whole), images)
    torch.testing.assert_close(discriminator(images, whole), discriminator(images, Y))
    for labels in (Y, Y.flip(0)):
        assert (generator(z, half) - generator(z, labels)).abs().amax((1, 2, 3)).min() > 1e-5
        assert (discriminator(images, half) - discriminator(images, labels)).abs().min() > 1e-6


@pytest.mark.parametrize("name", ["cdcgan", "cgan-sn"])
@pytest.mark.parametrize(("shape", "given"), [((1, 32, 32), "32×32"), ((3, 28, 32), "28×32"), ((1, 27, 28), "27×28")])
def test_networks_drawn_for_28_pixels_refuse_other_sizes(name, shape, given):
    for build in PLAYERS[name]:
        with pytest.raises(ValueError, match=f"28×28 pixels, not {given}"):
            build(image_shape=shape)


# cgan-mlp


def test_the_generator_of_cgan_mlp_sees_the_label_beside_z(conditionals):
    generator, _ = conditionals["cgan-mlp"]
    z = torch.randn(2, 64)
    seen = input_of(generator.layers[0], generator.eval(), z, Y)
    assert torch.equal(seen, torch.cat([z, generator.label(Y)], 1))
    assert generator.label.weight.shape == (10, 10)


def test_the_discriminator_of_cgan_mlp_sees_the_label_beside_the_pixels(conditionals):
    _, discriminator = conditionals["cgan-mlp"]
    images = torch.randn(2, 1, 28, 28)
    seen = input_of(discriminator.layers[0], discriminator, images, Y)
    assert torch.equal(seen, torch.cat([images.flatten(1), discriminator.label(Y)], 1))
    assert discriminator.label.weight.shape == (10, 10)


def test_the_layers_of_cgan_mlp_are_those_of_its_source(conditionals):
    generator, discriminator = conditionals["cgan-mlp"]
    hidden = [nn.Linear, nn.BatchNorm1d, nn.LeakyReLU] * 3
    assert [type(layer) for layer in generator.layers] == [nn.Linear, nn.LeakyReLU, *hidden, nn.Linear, nn.Tanh]
    hidden = [nn.Linear, Dropout, nn.LeakyReLU] * 2
    assert [type(layer) for layer in discriminator.layers] == [nn.Linear, nn.LeakyReLU, *hidden, nn.Linear]
    for network, sizes in ((generator, [74, 128, 256, 512, 1024, 784]), (discriminator, [794, 512, 512, 512, 1])):
        dense = layers_of(network, nn.Linear)
        assert [dense[0].in_features] + [layer.out_features for layer in dense] == sizes
        assert all(layer.bias is not None for layer in dense)
        assert {layer.negative_slope for layer in layers_of(network, nn.LeakyReLU)} == {0.2}
    assert {(norm.eps, norm.momentum) for norm in layers_of(generator, nn.BatchNorm1d)} == {(0.8, 0.1)}
    assert [layer.p for layer in layers_of(discriminator, Dropout)] == [0.4, 0.4]


# cdcgan


def test_the_generator_of_cdcgan_doubles_maps_of_z_and_label(conditionals):
    generator, _ = conditionals["cdcgan"]
    z = torch.randn(2, 64)
    seen = input_of(generator.layers[0], generator, z, Y)
    assert seen.shape == (2, 74, 1, 1)
    assert torch.equal(seen.flatten(1), torch.cat([z, generator.label(Y)], 1))
    sides = shapes_of(generator, nn.ConvTranspose2d, z, Y)
    assert sides == [(1024, 3, 3), (512, 7, 7), (256, 14, 14), (1, 28, 28)]


def test_the_discriminator_of_cdcgan_sees_the_label_as_a_second_plane(conditionals):
    _, discriminator = conditionals["cdcgan"]
    images = torch.randn(2, 1, 28, 28)
    seen = input_of(discriminator.layers[0], discriminator, images, Y)
    planes = discriminator.plane[0].weight[Y].view(2, 1, 28, 28)
    assert torch.equal(seen, torch.cat([images, planes], 1))
    sides = shapes_of(discriminator, nn.Conv2d, images, Y)
    assert sides == [(128, 14, 14), (256, 7, 7), (512, 3, 3), (1, 1, 1)]


def test_the_layers_of_cdcgan_are_those_of_its_source(conditionals):
    generator, discriminator = conditionals["cdcgan"]
    first, second, third = (
        [kind, nn.BatchNorm2d, nn.ReLU] for kind in (nn.ConvTranspose2d, SmallConvTranspose, DoublingConv)
    )
    layers = [*first, *second, *third, nn.ConvTranspose2d, nn.Tanh]
    assert [type(layer) for layer in generator.layers] == layers
    hidden = [nn.Conv2d, nn.LeakyReLU, *[nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU] * 2]
    assert [type(layer) for layer in discriminator.layers] == [*hidden, nn.Conv2d]
    assert {layer.negative_slope for layer in layers_of(discriminator, nn.LeakyReLU)} == {0.2}
    kernels = [
        (layer.kernel_size[0], layer.stride[0], layer.padding[0])
        for network in (generator, discriminator)
        for layer in layers_of(network, nn.Conv2d, nn.ConvTranspose2d)
    ]
    assert kernels == [(3, 1, 0), (3, 2, 0), (4, 2, 1), (4, 2, 1), (4, 2, 1), (4, 2, 1), (4, 2, 1), (3, 1, 0)]


@pytest.mark.parametrize("player", [0, 1])
def test_cdcgan_starts_as_radford_says_and_without_biases(conditionals, player):
    network = conditionals["cdcgan"][player]
    for layer in layers_of(network, nn.Conv2d, nn.ConvTranspose2d):
        assert layer.bias is None
        assert layer.weight.mean().item() == pytest.approx(0, abs=0.002)
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert layer.weight.abs().max() > 0.04  # normal: a uniform one of this spread ends at 0.035
    for norm in layers_of(network, nn.BatchNorm2d):
        assert norm.weight.mean().item() == pytest.approx(1, abs=0.005)
        assert norm.weight.std().item() == pytest.approx(0.02, rel=0.15)
        assert not norm.bias.any()
    (embedding,) = layers_of(network, ClassEmbedding)
    assert embedding.weight.std().item() == pytest.approx(1, abs=0.25)


# cgan-sn


def test_spectral_norm_lies_on_every_layer_but_the_embeddings_and_the_label_branch_of_d(conditionals):
    generator, discriminator = conditionals["cgan-sn"]
    weighted = nn.Linear, nn.Conv2d, nn.ConvTranspose2d
    assert [is_parametrized(layer, "weight") for layer in layers_of(generator, *weighted)] == [True] * 6
    assert [is_parametrized(layer, "weight") for layer in layers_of(discriminator.layers, *weighted)] == [True] * 8
    assert [is_parametrized(layer) for layer in layers_of(discriminator.plane, *weighted)] == [False]
    for network in (generator, discriminator):
        assert [is_parametrized(layer) for layer in layers_of(network, ClassEmbedding)] == [False]


def largest_singular_values(network):
    """The largest singular value of each weight under spectral norm, output channels as rows."""
    weights = [
        layer.weight.detach().transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight.detach()
        for layer in network.modules()
        if is_parametrized(layer, "weight")
    ]
    return [torch.linalg.matrix_norm(weight.flatten(1), 2).item() for weight in weights]


@pytest.mark.parametrize("player", [0, 1])
def test_after_some_batches_every_weight_has_a_largest_singular_value_of_one(warm, player):
    network = warm["cgan-sn"][player].eval()
    values = largest_singular_values(network)
    assert len(values) == (6, 8)[player]
    assert all(0.999 < value < 1.06 for value in values)
    assert largest_singular_values(network) == values  # in eval mode looking changes nothing


@pytest.mark.parametrize("player", [0, 1])
def test_a_fresh_network_knows_its_singular_values(conditionals, player):
    network = copy.deepcopy(conditionals["cgan-sn"][player]).eval()
    assert all(0.999 < value < 1.2 for value in largest_singular_values(network))


def test_the_generator_of_cgan_sn_grows_from_3_to_28_pixels(warm):
    generator, _ = warm["cgan-sn"]
    z = torch.randn(2, 100)
    start = input_of(generator.layers[0], generator.eval(), z, Y)
    assert torch.equal(start, torch.cat([generator.noise(z), generator.plane(Y)], 1))
    assert (generator.noise(z).shape, generator.plane(Y).shape) == ((2, 128, 3, 3), (2, 1, 3, 3))
    assert shapes_of(generator, nn.BatchNorm2d, z, Y) == [(128, 6, 6), (128, 14, 14), (128, 28, 28)]
    kernels = [(layer.kernel_size[0], layer.stride[0]) for layer in layers_of(generator, nn.ConvTranspose2d)]
    assert kernels == [(4, 1), (4, 2), (5, 2)]


def test_cgan_sn_cuts_and_pads_where_tensorflow_does(conditionals):
    generator, _ = conditionals["cgan-sn"]
    (frame,) = layers_of(generator, nn.ZeroPad2d)
    *_, doubling = layers_of(generator, nn.ConvTranspose2d)
    maps = torch.randn(2, 128, 14, 14)
    with parametrize.cached():  # spectral norm estimates anew at each look
        whole = conv_transpose2d(maps, doubling.weight, doubling.bias, stride=2)
        torch.testing.assert_close(doubling(maps), whole[..., 1:29, 1:29], rtol=0, atol=1e-4)  # of maps around 1
    (last,) = layers_of(generator, nn.Conv2d)
    assert last.kernel_size == (10, 10)
    down, right = last.padding
    framed = pad(frame(torch.ones(1, 1, 28, 28)), (right, right, down, down))
    assert framed.shape[2:] == (37, 37)
    assert framed[..., 4:32, 4:32].sum() == framed.sum() == 784


def test_the_images_of_cgan_sn_are_a_sigmoid_stretched_to_minus_one_to_one(warm):
    generator, _ = warm["cgan-sn"]
    z = torch.randn(2, 100)
    generator.eval()
    sigmoids = []
    hook = generator.layers[-1].register_forward_hook(lambda layer, given, out: sigmoids.append(out))
    images = generator(z, Y)
    hook.remove()
    assert isinstance(generator.layers[-1], nn.Sigmoid)
    assert torch.equal(images, 2 * sigmoids[0] - 1)


def test_the_discriminator_of_cgan_sn_sees_images_from_0_to_1_and_the_label_as_a_second_plane(warm):
    _, discriminator = warm["cgan-sn"]
    images = torch.rand(2, 1, 28, 28) * 2 - 1
    seen = input_of(discriminator.layers[0], discriminator.eval(), images, Y)
    torch.testing.assert_close(seen, torch.cat([(images + 1) / 2, discriminator.plane(Y)], 1))
    assert [layer.weight.shape for layer in layers_of(discriminator.plane, ClassEmbedding, nn.Linear)] == [
        (10, 50),
        (784, 50),
    ]
    sides = shapes_of(discriminator, nn.Conv2d, images, Y) + shapes_of(discriminator, nn.MaxPool2d, images, Y)
    assert sides == [(128, 26, 26), (128, 11, 11), (128, 9, 9), (128, 13, 13), (128, 4, 4)]


def without_wrappers(layers):
    """The kinds of layers; spectral norm gives a layer a class of its own."""
    return [type(layer).__mro__[1] if is_parametrized(layer) else type(layer) for layer in layers]


def test_the_layers_of_cgan_sn_are_those_of_its_source(conditionals):
    generator, discriminator = conditionals["cgan-sn"]
    assert without_wrappers(generator.noise) == [nn.Linear, nn.LeakyReLU, nn.BatchNorm1d, nn.Unflatten]
    branch = [ClassEmbedding, nn.Linear, nn.LeakyReLU, nn.BatchNorm1d, nn.Unflatten]
    assert without_wrappers(generator.plane) == branch
    grown = [ConvTranspose, nn.LeakyReLU, nn.BatchNorm2d] * 2
    last = [DoublingConv, nn.LeakyReLU, nn.BatchNorm2d, nn.ZeroPad2d, ConvToFew, nn.Sigmoid]
    assert without_wrappers(generator.layers) == grown + last
    after = [nn.LeakyReLU, nn.BatchNorm2d, nn.MaxPool2d, nn.Dropout2d]
    head = [nn.Linear, nn.LeakyReLU, nn.BatchNorm1d, Dropout] * 4
    expected = [nn.Conv2d, *after, nn.Conv2d, nn.Conv2d, *after, nn.Flatten, *head, nn.Linear]
    assert without_wrappers(discriminator.layers) == expected
    dense = layers_of(discriminator.layers, nn.Linear)
    assert [layer.in_features for layer in dense] == [2048, 600, 400, 200, 20]
    assert [layer.out_features for layer in dense] == [600, 400, 200, 20, 1]
    assert {layer.p for layer in layers_of(discriminator, nn.Dropout2d, Dropout)} == {0.5}
    for network in (generator, discriminator):
        assert {layer.negative_slope for layer in layers_of(network, nn.LeakyReLU)} == {0.2}
        norms = layers_of(network, nn.BatchNorm1d, nn.BatchNorm2d)
        assert {(norm.eps, norm.momentum, norm.affine) for norm in norms} == {(1e-3, 0.01, True)}


@pytest.mark.parametrize("player", [0, 1])
def test_cgan_sn_starts_as_keras_does(conditionals, player):
    network = conditionals["cgan-sn"][player]
    for layer in layers_of(network, nn.Linear, nn.Conv2d, nn.ConvTranspose2d):
        weight = layer.parametrizations.weight.original if is_parametrized(layer) else layer.weight
        bound = (6 / ((weight.shape[0] + weight.shape[1]) * weight[0, 0].numel())) ** 0.5
        assert 0.85 * bound < weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.35 if weight.numel() < 100 else 0.06)
        assert not layer.bias.any()
    (embedding,) = layers_of(network, ClassEmbedding)
    assert 0.049 < embedding.weight.abs().max() <= 0.05
    assert embedding.weight.std().item() == pytest.approx(0.05 / 3**0.5, rel=0.1)


# rgan


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_rgan_is_built_for_square_images_whose_side_4_divides(shape):
    generator, discriminator = recipes.get("rgan", image_shape=shape).build()
    images = generator(torch.randn(2, Z_DIM["rgan"]), Y)
    assert images.shape == (2, *shape)
    assert discriminator(images, Y).shape == (2,)


@pytest.mark.parametrize("shape", [(1, 30, 30), (3, 27, 27), (1, 28, 32)])
def test_rgan_refuses_sides_that_4_does_not_divide_and_names_them(shape):
    for build in PLAYERS["rgan"]:
        with pytest.raises(ValueError, match=f"not {shape[1]}×{shape[2]}"):
            build(image_shape=shape)


@pytest.mark.parametrize(("shape", "expected"), [((1, 28, 28), 7), ((3, 32, 32), 8), ((1, 4, 4), 1)])
def test_a_quarter_of_the_side(shape, expected):
    assert quarter("mine", shape) == expected


@pytest.mark.parametrize("shape", [(1, 30, 30), (3, 28, 32), (1, 32, 28)])
def test_a_side_without_a_quarter_is_refused_in_the_name_of_the_family(shape):
    complaint = f"^mine makes square images whose side 4 divides, not {shape[1]}×{shape[2]}$"
    with pytest.raises(ValueError, match=complaint):
        quarter("mine", shape)


def test_the_width_of_our_own_networks_counts_their_maps():
    """Twice as wide, each convolution between maps has four times the weights, and so has the dense layer behind it."""
    narrow, wide = (nets.ProjectionDiscriminator(width=width).features for width in (8, 16))
    ratios = [b.weight.numel() / a.weight.numel() for a, b in zip(narrow, wide, strict=True) if hasattr(a, "weight")]
    assert ratios == [2, 4, 4, 4]
    assert nets.ProjectionDiscriminator(width=8)(torch.zeros(2, 1, 28, 28), Y).shape == (2,)
    generator = nets.ProjectionGenerator(width=8)
    assert generator.stem(torch.zeros(2, 128)).shape == (2, 16, 7, 7)
    assert generator(torch.zeros(2, 64), Y).shape == (2, 1, 28, 28)
    assert size(nets.ProjectionGenerator()) == 991_617 and size(nets.ProjectionDiscriminator()) == 370_913


@pytest.fixture(scope="module")
def posed(conditionals):
    """A posed generator in eval mode, two z that leave their drawings as they are, and these drawings."""
    generator = copy.deepcopy(conditionals["rgan-pose"][0]).eval()
    z = torch.randn(2, 70, generator=torch.Generator().manual_seed(0))
    z[:, 64:] = 0  # the pose
    with torch.no_grad():
        return generator, z, generator.drawer(z[:, :64], Y).tanh()


def test_without_a_pose_the_drawing_comes_as_it_is(posed):
    generator, z, drawn = posed
    torch.testing.assert_close(generator(z, Y), drawn, atol=1e-4, rtol=0)
    assert size(generator) == size(nets.ProjectionGenerator())


@pytest.mark.parametrize(
    ("place", "pose", "expected"),
    [
        (0, torch.pi / 2, lambda drawn: drawn.rot90(1, (2, 3))),
        (0, -torch.pi / 2, lambda drawn: drawn.rot90(-1, (2, 3))),
        (0, torch.pi, lambda drawn: drawn.flip(2, 3)),
        (4, 2 / 14, lambda drawn: torch.cat([drawn[..., 2:], drawn[..., -1:], drawn[..., -1:]], 3)),
        (5, -1 / 14, lambda drawn: torch.cat([drawn[..., :1, :], drawn[..., :-1, :]], 2)),
    ],
)
def test_the_last_six_numbers_of_z_pose_the_drawing(posed, place, pose, expected):
    generator, z, drawn = posed
    z = z.clone()
    z[:, 64 + place] = pose / POSE[place]
    with torch.no_grad():
        image = generator(z, Y)
    torch.testing.assert_close(image, expected(drawn), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("place", "axis"), [(2, 3), (3, 2)])
def test_an_image_twice_as_narrow_holds_every_two_pixels_in_one(posed, place, axis):
    generator, z, drawn = posed
    z = z.clone()
    z[:, 64 + place] = torch.tensor(2.0).log() / POSE[place]
    drawing = drawn.atanh().transpose(axis, 3)
    padded = torch.cat([drawing[..., :1], drawing, drawing[..., -1:]], 3)
    # The place between two pixels: Keys's cubic kernel, with torch's a = -0.75, halfway.
    pairs = (drawing[..., 0::2] + drawing[..., 1::2]) * 19 / 32 - (padded[..., 0:-3:2] + padded[..., 3::2]) * 3 / 32
    with torch.no_grad():
        image = generator(z, Y).transpose(axis, 3)
    torch.testing.assert_close(image[..., 7:21], pairs.tanh(), atol=1e-4, rtol=0)


def test_in_training_nothing_is_posed(posed):
    generator, z, _ = posed
    generator = copy.deepcopy(generator).train()
    first, second = z.clone(), z.clone()
    second[:, 64:] = 5
    assert torch.equal(generator(first, Y), generator(second, Y))
    generator.eval()
    assert not torch.equal(generator(first, Y), generator(second, Y))


def test_a_shear_slides_rows_and_the_middle_stays(posed, monkeypatch):
    generator, z, _ = posed
    z = z.clone()
    z[:, 65] = 2 / POSE[1]  # whole pixels: between two, a cubic would see the edge
    ramp = torch.linspace(-1, 1, 28).expand(2, 1, 28, 28) / 2  # of the columns
    monkeypatch.setattr(generator.drawer, "forward", lambda z, y: ramp)
    down = torch.linspace(-1, 1, 28)[:, None]
    expected = ((ramp + down).clamp(-0.5, 0.5)).tanh()
    torch.testing.assert_close(generator(z, Y), expected, atol=1e-4, rtol=0)


def test_a_pose_moves_the_drawing_by_a_pixel_or_so_each_time_differently(posed, monkeypatch):
    generator, _, _ = posed
    across = torch.linspace(-1, 1, 28).expand(50, 1, 28, 28)
    monkeypatch.setattr(generator.drawer, "forward", lambda z, y: across)
    z = torch.randn(50, 70, generator=torch.Generator().manual_seed(0))
    moved = (generator(z, torch.zeros(50, dtype=torch.long)).atanh() - across).abs() * 13.5  # in pixels
    middle = moved[..., 7:21, 7:21].mean((1, 2, 3))  # where digits are
    assert 0.3 < middle.mean() < 1.5
    assert len(middle.unique()) == 50


@pytest.mark.parametrize("z_dim", [6, 1])
def test_z_must_have_more_numbers_than_the_pose(z_dim):
    with pytest.raises(ValueError, match=f"z_dim={z_dim} .* raise z_dim above 6"):
        nets.PosedGenerator(z_dim=z_dim)


# acgan


@pytest.fixture(scope="module")
def acgan():
    """Generator and discriminator as built, once, in eval mode. Leave their weights alone."""
    torch.manual_seed(0)
    return nets.ACGANGenerator().eval(), nets.ACGANDiscriminator().eval()


@pytest.mark.parametrize(("classes", "d_size"), [(10, 101_195), (26, 151_387), (62, 264_319)])
def test_the_parameter_counts_of_acgan_are_the_published_ones(classes, d_size):
    assert size(nets.ACGANGenerator(classes=classes)) == 451_073
    assert size(nets.ACGANDiscriminator(classes=classes)) == d_size


@pytest.mark.parametrize(
    ("shape", "classes", "z_dim"), [((1, 28, 28), 10, 100), ((3, 32, 32), 3, 5), ((1, 8, 8), 2, 3)]
)
@pytest.mark.parametrize("count", [1, 2])
def test_acgan_makes_images_and_gives_each_a_logit_and_one_for_each_class(shape, classes, z_dim, count):
    generator = nets.ACGANGenerator(z_dim=z_dim, image_shape=shape, classes=classes)
    images = generator(torch.randn(count, z_dim), torch.arange(count) % classes)
    assert images.shape == (count, *shape)
    logits, class_logits = nets.ACGANDiscriminator(image_shape=shape, classes=classes)(images)
    assert logits.shape == (count,)
    assert class_logits.shape == (count, classes)


def test_the_label_of_acgan_takes_the_place_of_the_last_numbers_of_z(acgan):
    generator, _ = acgan
    z = torch.randn(2, 100)
    seen = input_of(generator.layers[0], generator, z, Y)
    assert torch.equal(seen, torch.cat([z[:, :90], one_hot(Y, 10)], 1))
    images, other = generator(z, Y), z.clone()
    other[:, 90:] = 7
    assert torch.equal(generator(other, Y), images)
    for place in (0, 89):
        other = z.clone()
        other[:, place] += 3
        assert (generator(other, Y) - images).abs().amax((1, 2, 3)).min() > 1e-3


def test_acgan_makes_another_image_of_another_label_and_a_mixture_of_a_mixture(acgan):
    generator, _ = acgan
    z = torch.randn(1, 100).expand(2, -1)
    three, four = generator(z, Y)
    assert (three - four).abs().max() > 1e-3
    corners = one_hot(Y, 10).float()
    assert torch.equal(generator(z, corners), torch.stack([three, four]))
    half = corners.mean(0, keepdim=True)
    assert input_of(generator.layers[0], generator, z[:1], half)[:, 90:].tolist() == half.tolist()
    (between,) = generator(z[:1], half)
    assert min((between - image).abs().max() for image in (three, four)) > 1e-3


def test_the_discriminator_of_acgan_is_not_told_the_label(acgan):
    _, discriminator = acgan
    images = torch.randn(2, 1, 28, 28)
    blind = discriminator(images)
    for y in (Y, Y.flip(0), one_hot(Y, 10).float()):
        assert all(torch.equal(one, other) for one, other in zip(discriminator(images, y), blind, strict=True))


def test_acgan_fills_minus_one_to_one_and_its_logits_of_either_kind_have_no_bounds(acgan):
    generator, discriminator = acgan
    pixels = generator(1000 * torch.randn(4, 100), torch.arange(4))
    assert (pixels.min(), pixels.max()) == (-1, 1)
    logits, class_logits = discriminator(1e3 * torch.randn(4, 1, 28, 28))
    assert logits.abs().max() > 5
    assert class_logits.min() < -5 < 5 < class_logits.max()
    assert not layers_of(discriminator, nn.Sigmoid, nn.Softmax, nn.LogSoftmax, nn.Tanh)


def test_the_layers_of_acgan_are_those_of_its_source(acgan):
    generator, discriminator = acgan
    rest = [nn.LeakyReLU, Dropout]
    up = [ConvTranspose, *rest] * 2
    assert [type(layer) for layer in generator.layers] == [nn.Linear, *rest, nn.Unflatten, *up, ConvToFew, nn.Tanh]
    assert [type(layer) for layer in discriminator.features] == [nn.Conv2d, *rest] * 2 + [nn.Flatten]
    z, images = torch.randn(2, 100), torch.randn(2, 1, 28, 28)
    assert shapes_of(generator, nn.ConvTranspose2d, z, Y) == [(64, 14, 14), (64, 28, 28)]
    assert shapes_of(generator, nn.Conv2d, z, Y) == [(1, 28, 28)]
    assert shapes_of(discriminator, nn.Conv2d, images) == [(64, 14, 14), (64, 7, 7)]
    kernels = [
        [(layer.kernel_size[0], layer.stride[0]) for layer in layers_of(network, nn.Conv2d, nn.ConvTranspose2d)]
        for network in acgan
    ]
    assert kernels == [[(4, 2), (4, 2), (7, 1)], [(4, 2), (4, 2)]]
    for network in acgan:
        assert {layer.p for layer in layers_of(network, Dropout)} == {0.4}
        assert {layer.negative_slope for layer in layers_of(network, nn.LeakyReLU)} == {0.3}
        assert not layers_of(network, nn.BatchNorm1d, nn.BatchNorm2d)


@pytest.mark.parametrize("player", [0, 1])
def test_acgan_starts_as_keras_does(acgan, player):
    for layer in layers_of(acgan[player], nn.Linear, nn.Conv2d, nn.ConvTranspose2d):
        bound = (6 / ((layer.weight.shape[0] + layer.weight.shape[1]) * layer.weight[0, 0].numel())) ** 0.5
        assert 0.98 * bound < layer.weight.abs().max() <= bound
        assert not layer.bias.any()


@pytest.mark.parametrize(("classes", "z_dim"), [(100, 100), (101, 100), (5, 3)])
def test_acgan_refuses_labels_that_leave_no_room_for_noise(classes, z_dim):
    with pytest.raises(ValueError, match=f"of {classes} classes leaves no noise in z_dim={z_dim} numbers; raise z_dim"):
        nets.ACGANGenerator(z_dim=z_dim, classes=classes)


def test_one_number_of_noise_is_enough_for_acgan():
    generator = nets.ACGANGenerator(z_dim=11, classes=10).eval()
    one, other = generator(torch.tensor([[1.0] * 11, [-1.0] * 11]), Y[[0, 0]])
    assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize("shape", [(1, 30, 30), (3, 27, 27), (1, 28, 32)])
def test_acgan_refuses_sides_that_4_does_not_divide(shape):
    for build in (nets.ACGANGenerator, nets.ACGANDiscriminator):
        with pytest.raises(ValueError, match=f"acgan makes square images .*, not {shape[1]}×{shape[2]}"):
            build(image_shape=shape)


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


def test_the_classifiers_of_the_published_comparison_have_its_parameter_counts():
    assert size(nets.PlainConvClassifier((1, 28, 28), 10)) == 3_761_034
    assert size(nets.DenseClassifier((1, 28, 28), 10)) == 1_501_770


def test_the_classifiers_of_the_study_are_small():
    assert size(nets.SmallConvClassifier((1, 28, 28), 10)) == 106_170
    assert size(nets.DenseClassifier((1, 28, 28), 10, widths=(256, 128))) == 235_146


@pytest.mark.parametrize("build", [nets.PlainConvClassifier, nets.DenseClassifier, nets.SmallConvClassifier])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 30, 34)])
def test_every_classifier_gives_a_logit_for_each_class(build, shape):
    assert build(shape, classes=7)(torch.randn(5, *shape)).shape == (5, 7)


@pytest.mark.parametrize("build", [nets.PlainConvClassifier, nets.DenseClassifier])
def test_the_published_classifiers_look_at_pixels_from_0_to_1_and_start_as_keras_does(build):
    network, seen = build((1, 28, 28), 10), []
    network.layers[0].register_forward_pre_hook(lambda layer, given: seen.append(given[0]))
    network(torch.linspace(-1, 1, 784).view(1, 1, 28, 28))
    assert (seen[0].min(), seen[0].max()) == (0, 1)
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            fan = sum(nn.init._calculate_fan_in_and_fan_out(layer.weight))
            assert layer.bias.abs().max() == 0
            assert 0.9 < layer.weight.abs().max() / (6 / fan) ** 0.5 <= 1


@pytest.mark.parametrize(("channels", "strides"), [((8, 4), (3, 2)), ((8, 4), (2,))])
def test_a_dcgan_has_a_stride_of_one_or_two_for_each_of_its_channels(channels, strides):
    with pytest.raises(ValueError, match="one for each of 2 channels, and each 1 or 2"):
        nets.dcgan.DCGANGenerator(100, (1, 28, 28), channels, strides)


def test_the_shipped_poses_are_those_that_the_weights_were_trained_with():
    """They are in no checkpoint and no digest: others would change what `rgan-pose` draws, and nothing would say so."""
    assert POSE == (0.04, 0.06, 0.03, 0.04, 0.03, 0.03)
