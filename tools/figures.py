"""The pictures of the README, drawn anew from the shipped checkpoints: python tools/figures.py"""

import numpy as np

from gantools import ASSETS, data, plots, train


def main() -> None:
    """Write `assets/figures`."""
    run = train.load("mlp-gan-mnist")
    alt = "96 digits drawn by the MLP GAN"
    print(plots.grid(run.sample(96), columns=16, alt=alt).save(ASSETS / "figures" / "mlp_gan.png"))
    snapshots = [data.from_uint8(images) for images in np.load(run.folder / "snapshots.npz")["images"]]
    print(plots.gif(snapshots, columns=8, alt="100 epochs at a fixed z").save(ASSETS / "figures" / "mlp_gan.gif"))


if __name__ == "__main__":
    main()
