"""The pictures of the README, drawn anew from the shipped checkpoints: python tools/figures.py"""

import numpy as np
import torch

from gantools import ASSETS, data, handwriting, plots, recipes, train
from gantools.run import Run

FIGURES = ASSETS / "figures"


def main() -> None:
    """Write `assets/figures`."""
    for name in ("mlp-gan-mnist", "dcgan-mnist"):
        run = train.load(name)
        picture = plots.grid(run.sample(96), columns=16, alt=f"96 images of {name}")
        print(picture.save(FIGURES / f"{name.replace('-', '_')}.png"))
    for name, rows in (("rgan-mnist-10k", 6), ("rgan-fashion-mnist", 5)):
        print(plots.sheet(train.load(name), rows).save(FIGURES / f"{name.replace('-10k', '').replace('-', '_')}.png"))
    print(word("Gantools", rows=3).save(FIGURES / "word.png"))
    saved = np.load(train.load("mlp-gan-mnist").folder / "snapshots.npz")["images"]
    snapshots = [data.from_uint8(images) for images in saved]
    print(plots.gif(snapshots, columns=8, alt="100 epochs at a fixed z").save(FIGURES / "mlp_gan.gif"))
    print(ring().save(FIGURES / "ring.png"))


def word(text: str, rows: int) -> plots.Picture:
    """One text, each row in a style of its own."""
    writer = train.load("rgan-pose-emnist-byclass")
    labels = handwriting.spell(text, writer).labels
    styles = [handwriting.styles(writer, 0.0, together=True, seed=row) for row in range(rows)]
    lines = torch.cat([handwriting.write(writer, labels, z) for z in styles])
    return plots.grid(lines, columns=1, alt=f"The word {text} in {rows} generated handwritings")


def ring() -> plots.Picture:
    """Six moments of the two-dimensional game."""
    points, boards, titles = data.load("ring"), [], []
    z = recipes.get("ring").draw_z(400, source=torch.Generator().manual_seed(0))

    def keep(run: Run) -> None:
        with torch.no_grad():
            boards.append(plots.landscape(run.discriminator, points.images[:400], run.player(z)))
        titles.append(f"step {run.step}")

    train.fit(recipes.get("ring"), points, on_epoch=keep)
    shown = [round(index * (len(boards) - 1) / 5) for index in range(6)]
    alt = "Six moments of the two-dimensional game"
    return plots.panels([boards[place] for place in shown], [titles[place] for place in shown], 6, alt=alt)


if __name__ == "__main__":
    main()
