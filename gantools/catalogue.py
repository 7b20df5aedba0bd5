"""The recipes of the course: published ones, and our own. `recipes.get` finds them by name."""

import dataclasses
from functools import partial

from gantools import losses, nets
from gantools.recipe import Recipe

RING = Recipe(
    name="ring",
    generator=nets.PointGenerator,
    discriminator=nets.PointDiscriminator,
    dataset="ring",
    image_shape=(2,),
    z_dim=2,
    batch=256,
    steps=1_500,
    d_lr=1e-3,
    g_lr=1e-3,
    beta1=0.5,
    precision="fp32",
)
"""The two-dimensional game of lesson 00: eight Gaussians on a ring."""

MLP_GAN = Recipe(
    name="mlp-gan",
    generator=nets.MLPGenerator,
    discriminator=nets.MLPDiscriminator,
    noise="uniform",
    d_lr=2e-3,
    g_lr=2e-3,
    joint_d_batch=True,
    precision="fp32",
)
"""The MLP GAN of lesson 01, after a PyTorch notebook on MNIST; 100 epochs of batches of 64.

Where it leaves its source: D sees both halves as one batch (without batch norm that is the same game, and faster);
the last, smaller batch of an epoch is dropped. fp32, because networks this small gain nothing from bf16.
"""

DCGAN_MNIST = Recipe(
    name="dcgan-mnist",
    generator=nets.dcgan_mnist_generator,
    discriminator=nets.dcgan_mnist_discriminator,
    batch=32,
    epochs=50,
    d_lr=1e-4,
    g_lr=1e-4,
    adam_eps=1e-7,
    fresh_fakes=False,
    joint_d_batch=True,
)
"""The DCGAN of lesson 02 on MNIST, after a TensorFlow project; 50 epochs of batches of 32.

Follows the project's document where its code differs (dropout 0.5 and no biases in D, no label smoothing). Both
updates use one batch of fakes, as there; but G is scored by the D that has just moved (and drops out other units), for
here D always goes first. Real and fake pass D as one batch; precision may be bf16.
"""

DCGAN_CIFAR10 = dataclasses.replace(
    DCGAN_MNIST,
    name="dcgan-cifar10",
    generator=nets.dcgan_cifar10_generator,
    discriminator=nets.dcgan_cifar10_discriminator,
    dataset="cifar10",
    image_shape=(3, 32, 32),
    batch=128,
    epochs=200,
)
"""The same on CIFAR-10: wider networks, 200 epochs of batches of 128.

The last, smaller batch of an epoch is dropped.
"""

CGAN_MLP = Recipe(
    name="cgan-mlp",
    generator=nets.CGANMLPGenerator,
    discriminator=nets.CGANMLPDiscriminator,
    loss=losses.least_squares,
    classes=10,
    z_dim=64,
    fresh_fakes=False,
    precision="fp32",
)
"""The conditional MLP GAN of lesson 03: 100 epochs of batches of 64 on 10,000 images.

Where it leaves its source: D moves before G, both on one batch of fakes, whose labels are those of the real batch; D's
loss is the sum of its halves, the source's their mean (Adam hardly sees the difference); the last, smaller batch of an
epoch is dropped.
"""

CDCGAN = Recipe(
    name="cdcgan",
    generator=nets.CDCGANGenerator,
    discriminator=nets.CDCGANDiscriminator,
    loss=losses.squared_error,
    classes=10,
    z_dim=64,
    batch=256,
    epochs=60,
    beta1=0.5,
    fresh_fakes=False,
)
"""The conditional DCGAN of lesson 03: 60 epochs of batches of 256 on 10,000 images.

Its source published pictures and curves of a squared error on D's probability, and turned to cross-entropy later; this
is the former. It leaves its source in the order, D before G on the same fakes, whose labels are the real batch's; the
last, smaller batch of an epoch is dropped, and precision may be bf16.
"""

CGAN_SN = Recipe(
    name="cgan-sn",
    generator=nets.CGANSNGenerator,
    discriminator=nets.CGANSNDiscriminator,
    classes=10,
    batch=128,
    g_batch=256,
    d_lr=1e-4,
    g_lr=2e-4,
    beta1=0.5,
    adam_eps=1e-7,
    lr_decay=0.8,
    decay_every=10,
    eval_fakes=True,
    joint_d_batch=True,
    frozen_norm=True,
    real_target=0.95,
    fake_target=0.05,
)
"""The conditional GAN with spectral norm of lesson 03, after a Keras project: 100 epochs of batches of 128.

As in its source's code, D's fakes are made in eval mode, G learns from twice as many fresh ones, and D is frozen then,
so that its batch norm takes its running statistics: those of fakes alone would hide from G what all its fakes share.
Where it leaves its source: the smoothed targets, drawn there from U(0.9, 1) and U(0, 0.1), are their means here; the
cross-entropy is linear in its target, so the expected gradient is the same. D's loss is the sum of both halves. The
gradient passes through the spectral norm; the source divides the weights themselves. An epoch is one pass over the
images here, 468 steps of 60,000; the source's has 234, half a pass.
"""

ACGAN = Recipe(
    name="acgan",
    generator=nets.ACGANGenerator,
    discriminator=nets.ACGANDiscriminator,
    classes=10,
    batch=128,
    g_batch=256,
    beta1=0.5,
    adam_eps=1e-7,
    class_weight=1.0,
    eval_fakes=True,
    joint_d_batch=True,
    real_target=0.95,
    fake_target=0.05,
)
"""The AC-GAN of lesson 04, after a Keras project: 100 epochs of batches of 128 real and 128 generated images.

Targets are those of its document, 0.9 and -0.9 on a scale from -1 to 1; its code had hard ones. It trains on classes
as unequal as they come, as the document says; the code cuts all to the smallest. D's loss is the sum over its halves,
of the true-or-false term and of the class term alike, where the source has the mean. G's labels are drawn as often as
the data have them. Noise is 100 numbers less one for each class.
"""

RGAN = Recipe(
    name="rgan",
    generator=nets.ProjectionGenerator,
    discriminator=nets.ProjectionDiscriminator,
    loss=losses.relativistic,
    classes=10,
    z_dim=64,
    steps=9_360,
    d_lr=6e-4,
    g_lr=3e-4,
    beta1=0.5,
    beta2=0.99,
    fresh_fakes=False,
    joint_d_batch=True,
    r1=0.3,
    r2=0.3,
    penalty_every=4,
    penalty_half_life=2_000,
    shift=2,
    ema=0.999,
)
"""Ours, lessons 03 to 05: relativistic pairs, a projection, R1 and R2 that fade, moved images, an averaged generator.

9,360 steps of 64 images, whatever the size of the set: sixty passes over 10,000 images. Loss, penalties and rates were
chosen on MNIST train[50000:60000], never on test images (`benchmarks/search.py`). There, a wider D, a wider G and
batches of 128 did no better in four minutes; half-life, EMA and shift were not searched.
"""

RGAN_POSE = dataclasses.replace(
    RGAN,
    name="rgan-pose",
    generator=nets.PosedGenerator,
    discriminator=partial(nets.ProjectionDiscriminator, width=64),
    z_dim=70,
    steps=14_040,
    lr_decay=0.2,
    decay_every=80,
)
"""`rgan` with a D twice as wide and a generator that turns, shears, stretches and shifts each image in its own way.

14,040 steps of 64 images, ninety passes over 10,000; in the last ten the rates are a fifth. Made for that many images:
with others, set `decay_every` to nine tenths of the passes, or the rates fall too often or never. The length was
chosen on MNIST train[50000:60000]. So was how much it poses, by trials that were not kept; measured there since, FD is
lowest as it is: with its poses at rest, at half, as they are, at one and a half and at twice, FD is 0.070, 0.059,
0.053, 0.061 and 0.088, CAS 0.971, 0.976, 0.983, 0.983 and 0.984 (`benchmarks/pose.py`). The shipped run has had
`calibrate.match_mean` after its last step.
"""

RECIPES = {
    recipe.name: recipe
    for recipe in (RING, MLP_GAN, DCGAN_MNIST, DCGAN_CIFAR10, CGAN_MLP, CDCGAN, CGAN_SN, ACGAN, RGAN, RGAN_POSE)
}

REDUCED = 10_000
"""MNIST train[:10000], the reduced set of two published conditional GANs."""
ON_REDUCED = ("cgan-mlp", "cdcgan", "cgan-sn", "rgan", "rgan-pose")
"""The recipes whose runs the course compares on it."""
