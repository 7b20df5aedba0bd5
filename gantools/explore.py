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
ROW, ROW_ZOOM = 8, 3  # images of one mixture of classes side by side, and their enlargement
TOUR, TOUR_COLUMNS = 40, 20  # frames of the preview's tour through the classes, and how many on a row of its sheet


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


def latent(run: Run, *, label: int = 0, directions: int = 4, seed: int = 0) -> LatentExplorer:
    """A walk through the latent space: one slider between two points, one for each of the strongest directions.

    "New points" draws both ends of the walk again. The directions are those along which the images change most
    (`principal_directions`). A conditional run shows the class `label`.
    """
    ends = run.draw_z(2, seed)
    axes = principal_directions(run, directions, seed, label=label)
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
        picture.value = plots.encode(plots.tile(_of_class(run, z, label), 1, ZOOM), "").raw
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
    return LatentExplorer(_walk_preview(run, ends, label), box, walk, pulls, resample, picture, status)


@dataclass(frozen=True)
class ClassMixer(Exhibit):
    """The exhibit of `classes`, with its live widgets."""

    start: widgets.Dropdown
    end: widgets.Dropdown
    mix: widgets.FloatSlider
    resample: widgets.Button
    picture: widgets.Image
    status: widgets.HTML


def classes(run: Run, *, seed: int = 0) -> ClassMixer:
    """Two classes of a conditional run, and a slider that mixes the vectors that the generator has learned for them.

    Eight images, each of its own z; "new z" draws them again. Raises ValueError where there are no classes to mix.
    """
    if run.recipe.classes < 2:
        raise ValueError(
            f"{run.recipe.name} has no classes to mix: take a run of a conditional recipe, such as rgan, "
            "trained on at least two classes; `latent` shows every run"
        )
    z, pure = run.draw_z(ROW, seed), torch.eye(run.recipe.classes)
    options = [(name, label) for label, name in enumerate(run.classes)]
    start = widgets.Dropdown(options=options, value=0, description="class A")
    end = widgets.Dropdown(options=options, value=1, description="class B")
    mix = widgets.FloatSlider(0.0, min=0.0, max=1.0, step=0.01, description="mix A → B")
    resample = widgets.Button(description="new z", icon="random")
    width = (ROW * (run.recipe.image_shape[2] + plots.GAP) - plots.GAP) * ROW_ZOOM
    picture = widgets.Image(format="png", layout=widgets.Layout(width=f"{width}px", max_width="100%"))
    status = widgets.HTML()

    def draw() -> None:
        shares = torch.lerp(pure[start.value], pure[end.value], mix.value)  # [classes]
        picture.value = plots.encode(plots.tile(run.sample(z=z, labels=shares.expand(ROW, -1)), ROW, ROW_ZOOM), "").raw
        status.value = html.escape(f"{1 - mix.value:.0%} of class {start.label}, {mix.value:.0%} of class {end.label}")

    def draw_again() -> None:
        nonlocal z
        z = run.draw_z(ROW, seed=None)
        draw()

    for control in (start, end, mix):
        control.observe(lambda change: _guarded(draw, status), names="value")
    resample.on_click(lambda button: _guarded(draw_again, status))
    _guarded(draw, status)
    controls = widgets.HBox([widgets.VBox([start, end]), widgets.VBox([mix, resample])])
    box = widgets.VBox([widgets.HTML("<b>Live</b>: needs a running kernel"), picture, controls, status])
    return ClassMixer(_tour_preview(run, z[:1]), box, start, end, mix, resample, picture, status)


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


def principal_directions(run: Run, count: int = 4, seed: int = 0, samples: int = 512, *, label: int = 0) -> Tensor:
    """Directions of z [count, z_dim] along which the images change most, one standard deviation of z long.

    Principal components of generated images, each carried back to the z that correlates with it. A conditional run is
    asked for images of the class `label`.
    """
    z = run.draw_z(samples, seed)
    pixels = _of_class(run, z, label).flatten(1)
    pixels = pixels - pixels.mean(0)
    _, _, components = torch.linalg.svd(pixels, full_matrices=False)
    found = (pixels @ components[:count].T).T @ (z - z.mean(0))  # [count, z_dim]
    return torch.nn.functional.normalize(found, dim=1) * z.std()


def _of_class(run: Run, z: Tensor, label: int) -> Tensor:
    """Samples of z, all of one class; a run that knows no classes has only 0, and refuses another."""
    return run.sample(z=z, labels=[label] * len(z) if run.recipe.classes or label else None)


def _guarded(action: Callable[[], None], status: widgets.HTML) -> None:
    """Run a callback; what goes wrong is shown in the exhibit, where else nobody would see it."""
    try:
        action()
    except Exception as error:
        status.value = f"<b>{type(error).__name__}</b>: {html.escape(str(error))}"


def _walk_preview(run: Run, ends: Tensor, label: int) -> str:
    """The walk from A to B as a contact sheet, with a slider that needs no kernel."""
    shares = [index / (FRAMES - 1) for index in range(FRAMES)]
    z = torch.cat([between(ends[:1], ends[1:], share, run.recipe.noise) for share in shares])
    images = _of_class(run, z, label)
    sheet = plots.grid(images, columns=FRAMES, alt=f"{FRAMES} images on a walk between two points of z")
    frames = [plots.encode(plots.tile(image[None], 1, ZOOM), "") for image in images]
    caption = "a walk through the latent space, from A (left) to B (right)"
    return _preview(caption, sheet, frames, ("A", "B"), "walk", run.recipe.image_shape[2] * ZOOM)


def _tour_preview(run: Run, z: Tensor) -> str:
    """One z [1, z_dim] as all classes in turn, with as many mixtures between two of them as there is room for."""
    count, ends = run.recipe.classes, (run.classes[0], run.classes[-1])
    steps = max(1, TOUR // count)
    places = torch.arange((count - 1) * steps + 1) / steps
    shares = (1 - (places[:, None] - torch.arange(count)).abs()).clamp(min=0)  # [frames, classes]: the two nearest
    images = run.sample(z=z.expand(len(shares), -1), labels=shares)
    caption = f"one z on a tour through all {count} classes, from {ends[0]} to {ends[1]}"
    sheet = plots.grid(images, columns=TOUR_COLUMNS, alt=f"{len(images)} images: {caption}")
    frames = [plots.encode(plots.tile(image[None], 1, ZOOM), "") for image in images]
    return _preview(caption, sheet, frames, ends, "tour", run.recipe.image_shape[2] * ZOOM)


def _preview(
    caption: str, sheet: Picture, frames: Sequence[Picture], ends: tuple[str, str], what: str, width: int
) -> str:
    """A contact sheet, and below it one frame that an HTML slider turns: no kernel, no widgets."""
    caption, first, last = (html.escape(text) for text in (caption, *ends))  # classes are named by the data
    turn = "var f=this.closest('figure');f.querySelector('.frame').src=JSON.parse(this.dataset.frames)[this.value]"
    uris = html.escape(json.dumps([frame.uri for frame in frames]))
    return (
        '<figure class="gantools-preview" style="margin:0">'
        f"<figcaption><b>Preview</b>: {caption}. "
        f"If the slider is grey, trust the notebook or run the cell.</figcaption>{sheet._repr_html_()}"
        f'<br><img class="frame" src="{frames[0].uri}" alt="The picture at the slider\'s place on the {what}" '
        f'style="width:{width}px"><br>'
        f'<label>{first} <input type="range" min="0" max="{len(frames) - 1}" value="0" '
        f'aria-label="place on the {what}, from {first} to {last}" '
        f'style="width:{width - 40}px" data-frames="{uris}" oninput="{turn}"> {last}</label>'
        "</figure>"
    )
