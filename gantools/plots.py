"""Figures from tensors and histories. All return a `Picture`, which shows itself in a notebook,
but for `tile` and `landscape`, which return pixels, and `live`, which returns a hook for `fit`.

Images are float [N, C, H, W] in [-1, 1] with 1 or 3 channels, as `data.load` and `Run.sample` give them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle

import numpy as np
import torch
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from gantools.picture import Picture, encode, gif, render, tile
from gantools.run import Row, Run
from gantools.walks import rows_of_z

__all__ = [
    "Picture",
    "compare",
    "curves",
    "encode",
    "gif",
    "grid",
    "landscape",
    "lines",
    "live",
    "matrices",
    "panels",
    "per_class",
    "render",
    "sheet",
    "strip",
    "tile",
]

BOARD = 1.25  # the board of the two-dimensional game shows -BOARD … BOARD
REAL, FAKE = "#1b6ca8", "#d1495b"  # blue and red that stay apart for colour-blind readers


def grid(images: Tensor, columns: int = 8, *, alt: str = "A grid of images") -> Picture:
    """The images side by side, `columns` in a row."""
    return encode(tile(images, columns), alt)


def sheet(run: Run, rows: int = 2, *, seed: int = 0) -> Picture:
    """Samples of a run: a column for each class and one z in each row, or rows of sixteen where it knows no classes."""
    if rows < 1:
        raise ValueError(f"rows={rows} must be at least 1")
    images, columns = rows_of_z(run, rows, seed)
    order = f"; columns: {', '.join(run.classes)}" if run.recipe.classes else ""
    return grid(images, columns, alt=f"Samples after {run.step} steps{order}")


def compare(real: Tensor, fake: Tensor, columns: int = 8, *, titles: Sequence[str] = ("real", "generated")) -> Picture:
    """Real images on the left, generated ones on the right."""
    if columns < 1:
        raise ValueError(f"columns={columns} must be at least 1")
    figure = Figure(figsize=(9, 0.3 + 4.4 * math.ceil(max(len(real), len(fake)) / columns) / columns))
    for axes, images, title in zip(figure.subplots(1, 2), (real, fake), titles, strict=True):
        _show(axes, tile(images, columns), title)
    return render(figure, f"Left: {titles[0]}; right: {titles[1]}")


def strip(snapshots: Sequence[Tensor], titles: Sequence[str], columns: int = 4) -> Picture:
    """The same z at several moments of a training, from left to right."""
    if len(snapshots) != len(titles) or not len(snapshots):
        raise ValueError(f"{len(snapshots)} snapshots and {len(titles)} titles: one title for each snapshot")
    figure = Figure(figsize=(2.3 * len(snapshots), 2.55))
    for axes, images, title in zip(np.atleast_1d(figure.subplots(1, len(snapshots))), snapshots, titles, strict=True):
        _show(axes, tile(images, columns), title)
    return render(figure, "Samples of the same z: " + ", ".join(titles))


def panels(pictures: Sequence[np.ndarray], titles: Sequence[str], columns: int = 5, *, alt: str) -> Picture:
    """Arrays uint8 [H, W] or [H, W, 3], as `tile` and `landscape` make them, side by side with their titles."""
    if len(pictures) != len(titles) or not len(pictures):
        raise ValueError(f"{len(pictures)} pictures and {len(titles)} titles: one title for each picture")
    if columns < 1:
        raise ValueError(f"columns={columns} must be at least 1")
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    figure = Figure(figsize=(2.2 * columns, 2.45 * rows))
    grid_of_axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in grid_of_axes:
        axes.set_axis_off()
    for axes, pixels, title in zip(grid_of_axes, pictures, titles, strict=False):
        _show(axes, pixels, title)
        axes.set_axis_on()
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color("lightgrey")  # a white picture on a white page needs an edge
    return render(figure, alt)


def landscape(discriminator: nn.Module, x_real: Tensor, x_fake: Tensor, *, side: int = 320) -> np.ndarray:
    """The board of the two-dimensional game, uint8 [side, side, 3], over -1.25 … 1.25 both ways.

    Ground: D(x), from red (fake) over white (0.5) to blue (real). Points [N, 2]: real ones dark blue, generated ones
    dark red. Raises ValueError where they are no points, or `side` is no multiple of four.
    """
    if side < 4 or side % 4:
        raise ValueError(f"side={side}: D is asked once for each square of 4 by 4 pixels, so 4 must divide it")
    for points in (x_real, x_fake):
        if points.ndim != 2 or points.shape[1] != 2:
            raise ValueError(f"the board shows points [N, 2], not {list(points.shape)}")
    cells = side // 4
    ticks = (torch.arange(cells) + 0.5) / cells * 2 * BOARD - BOARD
    places = torch.cartesian_prod(ticks.flip(0), ticks).flip(1)  # (x, y), from left to right, from top to bottom
    device, training = next(iter(discriminator.parameters()), x_real).device, discriminator.training
    with torch.no_grad():
        logits = discriminator.eval()(places.to(device), torch.zeros(len(places), dtype=torch.int64, device=device))
    discriminator.train(training)
    belief = logits.sigmoid().cpu().view(cells, cells, 1)
    fake, middle, real = (torch.tensor(color) for color in ((244.0, 186, 192), (255.0, 255, 255), (172.0, 208, 236)))
    ground = torch.where(belief < 0.5, torch.lerp(fake, middle, 2 * belief), torch.lerp(middle, real, 2 * belief - 1))
    board = ground.round().to(torch.uint8).repeat_interleave(4, 0).repeat_interleave(4, 1)
    for points, color in ((x_real, (20, 75, 125)), (x_fake, (170, 25, 45))):
        pixel = ((points.cpu() + BOARD) / (2 * BOARD) * side).floor().long()
        for shift in torch.cartesian_prod(torch.arange(-1, 2), torch.arange(-1, 2)):  # a point is 3 by 3 pixels
            column, row = (pixel + shift).T
            inside = (column >= 0) & (column < side) & (row >= 0) & (row < side)
            board[side - 1 - row[inside], column[inside]] = torch.tensor(color, dtype=torch.uint8)
    board[[0, -1]], board[:, [0, -1]] = 200, 200  # a frame, for a white board on a white page
    return board.numpy()


def curves(history: Sequence[Row], *, title: str = "") -> Picture:
    """Both losses, and what D says of real and generated images, over the steps.

    Dotted: where a D that can only guess would be, under the cross-entropy losses.
    """
    if not history:
        raise ValueError("the history is empty: train at least one step")
    steps = [row["step"] for row in history]
    figure = Figure(figsize=(10, 3.2))
    losses, beliefs = figure.subplots(1, 2)
    _lines(losses, steps, history, (("d_loss", "D's loss", REAL), ("g_loss", "G's loss", FAKE)), "loss")
    losses.axhline(2 * math.log(2), color=REAL, linestyle=":", linewidth=1)
    losses.axhline(math.log(2), color=FAKE, linestyle=":", linewidth=1)
    _lines(beliefs, steps, history, (("d_real", "D(x)", REAL), ("d_fake", "D(G(z))", FAKE)), "mean output of D")
    beliefs.axhline(0.5, color="grey", linestyle=":", linewidth=1)
    beliefs.set_ylim(0, 1)
    figure.suptitle(title)
    last = ", ".join(f"{key} {history[-1][key]:.2f}" for key in ("d_loss", "g_loss", "d_real", "d_fake"))
    return render(figure, f"Losses and outputs of D over {steps[-1]} steps; at the end {last}")


def lines(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    xlabel: str,
    ylabel: str,
    alt: str,
    floor: float | None = None,
) -> Picture:
    """Curves by title, each (x, y).

    Distances have a `floor`, what real images give: dashed, on a logarithmic y axis. Without one the axis is linear,
    for shares. The titles stand beside the axes, in the order given: within them they would hide a curve.
    """
    if not series or not all(len(x) == len(y) > 0 for x, y in series.values()):
        raise ValueError("lines() needs at least one series, each with as many x as y and at least one of them")
    figure = Figure(figsize=(8.4, 3.2))
    axes = figure.subplots()
    for color, (title, (x, y)) in zip(cycle((FAKE, REAL, "#3d8361", "#8a5a9e", "#b5793a", "#555555")), series.items()):
        axes.plot(x, y, marker="o", markersize=4, color=color, label=title)
    if floor is not None:
        axes.axhline(floor, color="grey", linestyle="--", linewidth=1, label="real images")
    axes.set(xlabel=xlabel, ylabel=ylabel, yscale="linear" if floor is None else "log")
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return render(figure, alt)


def per_class(measures: Mapping[str, Mapping[str, Sequence[float]]], names: Sequence[str], *, alt: str) -> Picture:
    """Numbers of each class, a panel for each measure: {measure: {title: one number a class}}; `names` of the classes.

    Points without lines, for classes are not a scale. All measures have the same titles.
    """
    titles = [tuple(series) for series in measures.values()]
    lengths = {len(values) for series in measures.values() for values in series.values()}
    if not lengths or lengths != {len(names)} or len(set(titles)) > 1:
        raise ValueError(f"per_class() needs the same titles in each measure, and {len(names)} numbers for each")
    figure = Figure(figsize=(max(6.4, 0.15 * len(names)), 0.6 + 1.7 * len(measures)))
    panels = figure.subplots(len(measures), sharex=True, squeeze=False)[:, 0]
    for axes, (measure, series) in zip(panels, measures.items(), strict=True):
        looks = cycle(((FAKE, "o"), (REAL, "s"), ("#3d8361", "^"), ("#8a5a9e", "v")))
        for (color, marker), (title, values) in zip(looks, series.items(), strict=False):
            axes.plot(range(len(names)), values, marker, markersize=4, alpha=0.8, color=color, label=title)
        axes.set_ylabel(measure)
        axes.set_xticks(range(len(names)), names, fontsize=7)
        axes.grid(alpha=0.3)
    panels[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(titles[0]), frameon=False)
    return render(figure, alt)


def matrices(series: Mapping[str, Tensor], names: Sequence[str], *, xlabel: str, ylabel: str, alt: str) -> Picture:
    """Square tables of shares in [0, 1] by title, [K, K], side by side: white where nothing lies, black at 1.

    `names` are those of the K rows and of the K columns.
    """
    if not series or any(shares.shape != (len(names), len(names)) for shares in series.values()):
        raise ValueError(f"matrices() needs at least one table, each [{len(names)}, {len(names)}] for as many names")
    if any(not (0 <= shares.min() <= shares.max() <= 1) for shares in series.values()):
        raise ValueError("matrices() draws shares in [0, 1]; divide counts by the sum of their row")
    figure = Figure(figsize=(6.4 * len(series), 6.6))
    for axes, (title, shares) in zip(figure.subplots(1, len(series), squeeze=False)[0], series.items(), strict=True):
        axes.imshow(shares.sqrt().numpy(), cmap="gray_r", vmin=0, vmax=1)  # the root shows small shares too
        axes.set_title(title)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.set_xticks(range(len(names)), names, fontsize=6)
        axes.set_yticks(range(len(names)), names, fontsize=6)
    return render(figure, alt)


def live(rows: int = 2, seed: int = 0) -> Callable[[Run], None]:
    """For `fit(…, on_epoch=live())`: a `sheet` of the same z after each epoch, in place of the one before."""
    handle = None

    def show(run: Run) -> None:
        nonlocal handle
        picture = sheet(run, rows, seed=seed)
        if handle is None:
            handle = display(picture, display_id=True)
        else:
            handle.update(picture)

    return show


def _lines(axes: Axes, steps: list[float], history: Sequence[Row], series: Sequence[tuple], label: str) -> None:
    for key, name, color in series:
        marker = "o" if len(history) < 3 else ""
        axes.plot(steps, [row[key] for row in history], label=name, color=color, marker=marker)
    axes.set_xlabel("step")
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    axes.legend()


def _show(axes: Axes, pixels: np.ndarray, title: str) -> None:
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()
