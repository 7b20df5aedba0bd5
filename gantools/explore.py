"""Exhibits: a generator under the reader's fingers.

Each exhibit shows a static preview first, plain HTML that works without a kernel, and below it live widgets.
"""

import html
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import ipywidgets as widgets
import numpy as np
import torch
from IPython.display import HTML, display
from torch import Tensor

from gantools import plots
from gantools.plots import Picture
from gantools.run import Run

FRAMES = 21  # of the preview's walk
SHEET = 6  # moments on the contact sheet of a replay
ZOOM = 8  # screen pixels for one image pixel
REACH = 3.0  # how far a direction slider goes, in standard deviations of z


@dataclass(frozen=True)
class Exhibit:
    """What every exhibit shows: `preview`, HTML that needs no kernel, and below it the live widgets in `box`."""

    preview: str
    box: widgets.VBox

    def _ipython_display_(self) -> None:
        display(HTML(self.preview))
        display(self.box)


@dataclass(frozen=True)
class LatentExplorer(Exhibit):
    """The exhibit of `latent`, with its live widgets."""

    walk: widgets.FloatSlider
    directions: tuple[widgets.FloatSlider, ...]
    resample: widgets.Button
    picture: widgets.Image
    status: widgets.HTML


def latent(run: Run, *, directions: int = 4, seed: int = 0) -> LatentExplorer:
    """A walk through the latent space: one slider between two points, one for each of the strongest directions.

    "New points" draws both ends of the walk again. The directions are those along which the images change most
    (`principal_directions`). A conditional run shows its first class.
    """
    ends = run.draw_z(2, seed)
    axes = principal_directions(run, directions, seed)
    walk = widgets.FloatSlider(0.0, min=0.0, max=1.0, step=0.01, description="walk A → B")
    pulls = tuple(
        widgets.FloatSlider(0.0, min=-REACH, max=REACH, step=0.05, description=f"direction {number}")
        for number in range(1, directions + 1)
    )
    resample = widgets.Button(description="new points A, B", icon="random")
    picture = widgets.Image(format="png", layout=widgets.Layout(width=f"{run.recipe.image_shape[2] * ZOOM}px"))
    status = widgets.HTML()

    def draw() -> None:
        pull = torch.tensor([slider.value for slider in pulls]) @ axes  # [z_dim]
        z = between(ends[:1], ends[1:], walk.value, run.recipe.noise) + pull
        picture.value = plots.encode(plots.tile(_first_class(run, z), 1, ZOOM), "").raw
        status.value = "The digit at this point of the latent space" if run.data["name"] == "mnist" else ""

    def draw_again() -> None:
        nonlocal ends
        ends = run.draw_z(2, seed=None)
        draw()

    for slider in (walk, *pulls):
        slider.observe(lambda change: _guarded(draw, status), names="value")
    resample.on_click(lambda button: _guarded(draw_again, status))
    _guarded(draw, status)
    controls = widgets.VBox([walk, *pulls, resample, status])
    box = widgets.VBox([widgets.HTML("<b>Live</b>: needs a running kernel"), widgets.HBox([picture, controls])])
    return LatentExplorer(_walk_preview(run, ends), box, walk, pulls, resample, picture, status)


@dataclass(frozen=True)
class Replay(Exhibit):
    """The exhibit of `replay`, with its live widgets."""

    time: widgets.IntSlider
    play: widgets.Play
    picture: widgets.Image
    status: widgets.HTML


def replay(boards: Sequence[np.ndarray], titles: Sequence[str]) -> Replay:
    """A training as a film with a time slider: one picture, uint8 [H, W, 3], and one title for each moment."""
    if len(boards) != len(titles) or not boards:
        raise ValueError(f"{len(boards)} pictures and {len(titles)} titles: one title for each picture")
    frames = [plots.encode(board, title) for board, title in zip(boards, titles, strict=True)]
    last, width = len(frames) - 1, boards[0].shape[1]
    time = widgets.IntSlider(0, min=0, max=last, description="time", readout=False)
    play = widgets.Play(value=0, min=0, max=last, interval=150)
    widgets.jslink((play, "value"), (time, "value"))
    picture = widgets.Image(format="png", layout=widgets.Layout(width=f"{width}px"))
    status = widgets.HTML()

    def draw() -> None:
        picture.value, status.value = frames[time.value].raw, html.escape(titles[time.value])

    time.observe(lambda change: _guarded(draw, status), names="value")
    draw()
    box = widgets.VBox(
        [widgets.HTML("<b>Live</b>: needs a running kernel"), picture, widgets.HBox([play, time]), status]
    )
    shown = sorted({round(index * last / (SHEET - 1)) for index in range(SHEET)})
    sheet = plots.panels(
        [boards[index] for index in shown],
        [titles[index] for index in shown],
        len(shown),
        alt=f"{len(shown)} moments of the training, from {titles[0]} to {titles[-1]}",
    )
    preview = _preview("the training from its start to its end", sheet, frames, ("start", "end"), "way", width)
    return Replay(preview, box, time, play, picture, status)


def between(start: Tensor, end: Tensor, share: float, noise: str) -> Tensor:
    """The point at `share` (0 … 1) of the way, each [N, z_dim].

    Straight for uniform noise; along the arc for normal noise, whose points nearly all lie at one distance from 0.
    """
    if noise == "uniform":
        return torch.lerp(start, end, share)
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=1).clamp(-1 + 1e-6, 1 - 1e-6).unsqueeze(1)
    angle = torch.acos(cosine)
    return (torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end) / torch.sin(angle)


def principal_directions(run: Run, count: int = 4, seed: int = 0, samples: int = 512) -> Tensor:
    """Directions of z [count, z_dim] along which the images change most, one standard deviation of z long.

    Principal components of generated images, each carried back to the z that correlates with it.
    """
    z = run.draw_z(samples, seed)
    pixels = _first_class(run, z).flatten(1)
    pixels = pixels - pixels.mean(0)
    _, _, components = torch.linalg.svd(pixels, full_matrices=False)
    found = (pixels @ components[:count].T).T @ (z - z.mean(0))  # [count, z_dim]
    return torch.nn.functional.normalize(found, dim=1) * z.std()


def _first_class(run: Run, z: Tensor) -> Tensor:
    """Samples of z, all of the first class where the run knows classes."""
    return run.sample(z=z, labels=[0] * len(z) if run.recipe.classes else None)


def _guarded(action: Callable[[], None], status: widgets.HTML) -> None:
    """Run a callback; what goes wrong is shown in the exhibit, where else nobody would see it."""
    try:
        action()
    except Exception as error:
        status.value = f"<b>{type(error).__name__}</b>: {html.escape(str(error))}"


def _walk_preview(run: Run, ends: Tensor) -> str:
    """The walk from A to B as a contact sheet, with a slider that needs no kernel."""
    shares = [index / (FRAMES - 1) for index in range(FRAMES)]
    z = torch.cat([between(ends[:1], ends[1:], share, run.recipe.noise) for share in shares])
    images = _first_class(run, z)
    sheet = plots.grid(images, columns=FRAMES, alt=f"{FRAMES} images on a walk between two points of z")
    frames = [plots.encode(plots.tile(image[None], 1, ZOOM), "") for image in images]
    caption = "a walk through the latent space, from A (left) to B (right)"
    return _preview(caption, sheet, frames, ("A", "B"), "walk", run.recipe.image_shape[2] * ZOOM)


def _preview(
    caption: str, sheet: Picture, frames: Sequence[Picture], ends: tuple[str, str], what: str, width: int
) -> str:
    """A contact sheet, and below it one frame that an HTML slider turns: no kernel, no widgets."""
    turn = "var f=this.closest('figure');f.querySelector('.frame').src=JSON.parse(this.dataset.frames)[this.value]"
    uris = html.escape(json.dumps([frame.uri for frame in frames]))
    return (
        '<figure class="gantools-preview" style="margin:0">'
        f"<figcaption><b>Preview</b>: {caption}. "
        f"If the slider is grey, trust the notebook or run the cell.</figcaption>{sheet._repr_html_()}"
        f'<br><img class="frame" src="{frames[0].uri}" alt="The picture at the slider\'s place on the {what}" '
        f'style="width:{width}px"><br>'
        f'<label>{ends[0]} <input type="range" min="0" max="{len(frames) - 1}" value="0" '
        f'aria-label="place on the {what}, from {ends[0]} to {ends[1]}" '
        f'style="width:{width - 40}px" data-frames="{uris}" oninput="{turn}"> {ends[1]}</label>'
        "</figure>"
    )
