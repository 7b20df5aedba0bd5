"""Train everything that is shipped in `assets/checkpoints`; `make weights` calls this.

    python benchmarks/weights.py [NAME …] [--threads 1] [--work FOLDER]

Needs the full data sets in the cache (`python -m gantools data NAME`). Runs are kept in FOLDER (default
~/.cache/gantools/weights) and go on where they stopped. Prints the time each one took.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gantools import ASSETS, calibrate, checkpoint, data, recipes, train
from gantools.catalogue import REDUCED
from gantools.data import ImageSet
from gantools.recipe import Recipe
from gantools.run import Run

FULL = {
    "ring": 10_000,
    "mnist": 60_000,
    "cifar10": 50_000,
    "fashion-mnist": 60_000,
    "emnist-letters": 117_266,
    "emnist-byclass": 98_873,
}  # training images; a bundled part must not pass for the whole. Of EMNIST, the parts that the shipped runs saw: the
# whole sets have 124,800 and 697,932, of which the same steps are fewer epochs.
CIFAR10_EPOCHS = 8  # of the 200 published: some 14 minutes each on two CPU threads; with more, the run goes on
# The source shows 5, 30, 50 and 100 epochs: of 468 steps for the first two, of 772 for the last. Runs can go on.
ACGAN = {"mnist": 23_400, "fashion-mnist": 14_040, "emnist-letters": 27_480, "emnist-byclass": 23_170}  # steps
SNAPSHOTS = 16  # images of a fixed z, kept after each epoch


@dataclass(frozen=True)
class Plan:
    """What a shipped run is trained on: all of a data set unless `limit` takes the first images only."""

    recipe: Recipe
    limit: int | None = None
    discriminator: bool = True  # False: its weights are left out, for no lesson looks at it
    snapshots: bool = True  # False: so are the images of a fixed z, epoch by epoch
    bits: int = 16  # of a weight
    match_mean: bool = False  # True: G's last bias is set so that its images are as bright as the training images

    def images(self) -> ImageSet:
        """The training images. Exits where only a bundled part is there and all are needed."""
        images = data.load(self.recipe.dataset, limit=self.limit)
        if not self.limit and len(images) < FULL[self.recipe.dataset]:
            raise SystemExit(f"all of {self.recipe.dataset} is needed: python -m gantools data {self.recipe.dataset}")
        return images


SHIPPED: dict[str, Plan] = {
    "ring": Plan(recipes.get("ring")),
    "mlp-gan-mnist": Plan(recipes.get("mlp-gan")),
    "dcgan-mnist": Plan(recipes.get("dcgan-mnist"), bits=8),
    "dcgan-cifar10": Plan(recipes.get("dcgan-cifar10", epochs=CIFAR10_EPOCHS), discriminator=False, bits=8),
    "cgan-mlp-mnist-10k": Plan(recipes.get("cgan-mlp"), REDUCED, discriminator=False, snapshots=False),
    "cdcgan-mnist-10k": Plan(recipes.get("cdcgan"), REDUCED, discriminator=False, snapshots=False, bits=8),
    "cgan-sn-mnist-10k": Plan(recipes.get("cgan-sn"), REDUCED, discriminator=False, snapshots=False, bits=8),
    "rgan-mnist-10k": Plan(recipes.get("rgan"), REDUCED, discriminator=False),
    "rgan-mnist": Plan(
        recipes.get("rgan", steps=10_920, affine=0.4, lr_decay=0.3, decay_every=5), discriminator=False, snapshots=False
    ),
    "rgan-pose-mnist-10k": Plan(
        recipes.get("rgan-pose"), REDUCED, discriminator=False, snapshots=False, match_mean=True
    ),
    "rgan-mnist-10k-no-penalty": Plan(
        recipes.get("rgan", steps=1_092, r1=0.0, r2=0.0, d_lr=4e-4, g_lr=4e-4, ema=0.998),
        REDUCED,
        snapshots=False,
        bits=8,
    ),
    "rgan-fashion-mnist": Plan(
        recipes.get("rgan", dataset="fashion-mnist", steps=9_370, lr_decay=0.2, decay_every=7),  # ten epochs
        discriminator=False,
        snapshots=False,
    ),
    "rgan-cifar10": Plan(
        recipes.get("rgan", dataset="cifar10", flip=True, steps=9_370, lr_decay=0.2, decay_every=7),  # twelve epochs
        discriminator=False,
        snapshots=False,
    ),
    **{
        f"acgan-{dataset}": Plan(recipes.get("acgan", dataset=dataset, steps=steps), discriminator=False, bits=8)
        for dataset, steps in ACGAN.items()
    },
    "rgan-emnist-letters": Plan(
        # Eight epochs, the last two at three tenths of the rates.
        recipes.get("rgan", dataset="emnist-letters", batch=128, steps=7_328, lr_decay=0.3, decay_every=6),
        discriminator=False,
        snapshots=False,
        bits=8,
    ),
    "rgan-pose-emnist-byclass": Plan(
        # Fifteen epochs, the last four at a fifth of the rates; the penalty fades half as fast.
        recipes.get(
            "rgan-pose",
            dataset="emnist-byclass",
            balanced=True,
            batch=128,
            steps=11_580,
            penalty_half_life=4_000,
            lr_decay=0.2,
            decay_every=11,
        ),
        discriminator=False,
        snapshots=False,
        bits=8,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Train everything that is shipped.")
    parser.add_argument("names", nargs="*", help=f"default: all of {', '.join(SHIPPED)}")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, default=data.cache_dir() / "weights")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(SHIPPED):
        parser.error(f"{unknown.pop()!r} is not shipped; choose from {', '.join(SHIPPED)}")
    torch.set_num_threads(arguments.threads)
    for name in arguments.names or SHIPPED:
        ship(name, SHIPPED[name], arguments.work / name)


def ship(name: str, plan: Plan, folder: Path) -> None:
    """Train one run to its end and put its networks and snapshots into the assets."""
    images = plan.images()
    run = fit(plan.recipe, images, folder)
    if plan.match_mean:
        print(f"{name}: {calibrate.match_mean(run, images).tolist()} added to its last bias")
    target = ASSETS / "checkpoints" / name
    checkpoint.save(run, target, bits=plan.bits, discriminator=plan.discriminator)
    film = target / "snapshots.npz"
    film.unlink(missing_ok=True)  # of a shorter run
    if plan.snapshots and (epochs := sorted(folder.glob("epoch-*.npy"))):
        np.savez_compressed(film, images=np.stack([np.load(path) for path in epochs]))
    print(f"{name}: {run.step:,} steps in {run.seconds / 60:.1f} minutes")


def fit(recipe: Recipe, images: ImageSet, folder: Path) -> Run:
    """Train, or go on, and keep the networks and images of a fixed z after each epoch."""

    def snapshot(run: Run) -> None:
        if len(run.recipe.image_shape) != 3 or run.open_row:
            return  # points, or steps after the last whole epoch
        epoch = folder / f"epoch-{len(run.rows):03d}"
        checkpoint.save(run, epoch, bits=16)  # what time_to_quality.py measures
        np.save(epoch.with_suffix(".npy"), data.to_uint8(run.sample(SNAPSHOTS)).numpy())

    return train.fit(recipe, images, folder, resume=True, on_epoch=snapshot)


if __name__ == "__main__":
    main()
