"""Exhibits: a generator under the reader's fingers.

Each exhibit shows a static preview first, plain HTML that works without a kernel, and below it live widgets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch

from gantools import handwriting, previews
from gantools.exhibit import Exhibit, live, stack
from gantools.picture import Picture, tile
from gantools.previews import LETTER_ZOOM, ZOOM
from gantools.run import Run
from gantools.walks import between, of_class, principal_directions

REACH = 3.0  # how far a direction slider goes, in standard deviations of z
ROW, ROW_ZOOM = 8, 3  # images side by side, and their enlargement
GALLERY_ROWS = 4


@dataclass(frozen=True)
class LatentExplorer(Exhibit):
    """The exhibit of `latent`, with its live widgets."""

    walk: widgets.FloatSlider
    directions: tuple[widgets.FloatSlider, ...]
    resample: widgets.Button
    picture: widgets.Image
    status: widgets.HTML


def latent(run: Run, *, label: int | str = 0, directions: int = 4, seed: int = 0) -> LatentExplorer:
    """A walk through the latent space: one slider between two points, one for each of the strongest directions.

    "New points" draws both ends of the walk again. The directions are those along which the images change most
    (`principal_directions`). A conditional run shows the class `label`, a name or a number. Raises ValueError for a run
    that draws points, or knows no such class.
    """
    if len(run.recipe.image_shape) != 3:
        raise ValueError(f"{run.recipe.name} draws points, not images: there is nothing to look at")
    label = run.label_of(label) if isinstance(label, str) else label
    axes = principal_directions(run, directions, seed, label=label)
    walk = widgets.FloatSlider(0.0, min=0.0, max=1.0, step=0.01, description="walk A → B")
    pulls = tuple(
        widgets.FloatSlider(0.0, min=-REACH, max=REACH, step=0.05, description=f"direction {number}")
        for number in range(1, directions + 1)
    )
    resample = widgets.Button(description="new points A, B", icon="random")

    def draw(seed: int) -> tuple[np.ndarray, str]:
        a, b = run.draw_z(2, seed).split(1)
        pull = torch.tensor([slider.value for slider in pulls]) @ axes  # [z_dim]
        images = of_class(run, between(a, b, walk.value, run.recipe.noise) + pull, label)
        remark = "The digit at this point of the latent space" if run.data["name"] == "mnist" else ""
        return tile(images, 1, ZOOM), remark

    picture, status = live(draw, (walk, *pulls), resample, seed)
    box = stack(widgets.HBox([picture, widgets.VBox([walk, *pulls, resample, status])]))
    return LatentExplorer(previews.walk(run, run.draw_z(2, seed), label), box, walk, pulls, resample, picture, status)


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
            "trained on at least two classes; `latent` shows every run that draws images"
        )
    pure = torch.eye(run.recipe.classes)
    start = widgets.Dropdown(options=_class_options(run), value=0, description="class A")
    end = widgets.Dropdown(options=_class_options(run), value=1, description="class B")
    mix = widgets.FloatSlider(0.0, min=0.0, max=1.0, step=0.01, description="mix A → B")
    resample = widgets.Button(description="new z", icon="random")

    def draw(seed: int) -> tuple[np.ndarray, str]:
        shares = torch.lerp(pure[start.value], pure[end.value], mix.value)  # [classes]
        images = run.sample(z=run.draw_z(ROW, seed), labels=shares.expand(ROW, -1))
        remark = f"{1 - mix.value:.0%} of class {start.label}, {mix.value:.0%} of class {end.label}"
        return tile(images, ROW, ROW_ZOOM), remark

    picture, status = live(draw, (start, end, mix), resample, seed)
    controls = widgets.HBox([widgets.VBox([start, end]), widgets.VBox([mix, resample])])
    box = stack(picture, controls, status)
    return ClassMixer(previews.tour(run, run.draw_z(ROW, seed)[:1]), box, start, end, mix, resample, picture, status)


@dataclass(frozen=True)
class Writer(Exhibit):
    """The exhibit of `word`, with its live widgets."""

    text: widgets.Text
    style: widgets.FloatSlider
    together: widgets.Checkbox
    resample: widgets.Button
    save: widgets.HTML
    picture: widgets.Image
    status: widgets.HTML


def word(run: Run, text: str | None = None, *, seed: int = 0) -> Writer:
    """A text in generated handwriting, of at most 40 characters; the slider goes from one style to another.

    Without `text` it is "gantools", or the first characters of a run that does not know these letters.
    All letters share one z, or each has its own; "new z" draws them again. A letter without a class of its own is
    written in the other case; the status says which characters had to be left out. Raises ValueError where the run
    knows no classes, or its classes are more than single characters; TypeError for a text that is none.
    """
    text = handwriting.some_text(run) if text is None else text
    preview = previews.written(run, text, seed)
    field = widgets.Text(text, description="text")
    style = widgets.FloatSlider(0.0, min=0.0, max=1.0, step=0.01, description="style A → B")
    together = widgets.Checkbox(True, description="one style for all letters")
    resample, save = widgets.Button(description="new z", icon="random"), widgets.HTML()

    def draw(seed: int) -> tuple[np.ndarray, str]:
        spelling = handwriting.spell(field.value, run)
        z = handwriting.styles(run, style.value, together=together.value, seed=seed)
        return tile(handwriting.write(run, spelling.labels, z), 1, LETTER_ZOOM), spelling.remark

    picture, status = live(draw, (field, style, together), resample, seed)

    def follow(*_: Any) -> None:
        uri = Picture(picture.value, "").uri  # the browser saves it: nothing is written where the kernel runs
        save.value = f'<a download="handwriting.png" href="{uri}" style="text-decoration:underline">save PNG</a>'

    picture.observe(follow, names="value")
    follow()
    controls = widgets.HBox([widgets.VBox([field, style]), widgets.VBox([together, widgets.HBox([resample, save])])])
    return Writer(preview, stack(picture, controls, status), field, style, together, resample, save, picture, status)


@dataclass(frozen=True)
class Gallery(Exhibit):
    """The exhibit of `gallery`, with its live widgets."""

    title: widgets.Dropdown
    label: widgets.Dropdown
    resample: widgets.Button
    picture: widgets.Image
    status: widgets.HTML


def gallery(runs: Mapping[str, Run], *, seed: int = 0) -> Gallery:
    """Pick a run by its title and one of its classes: 32 samples, drawn again by "new z".

    Raises ValueError where there are no runs, or one draws points.
    """
    if not runs:
        raise ValueError('a gallery needs at least one run by its title, such as {"MNIST": run}')
    if points := [title for title, run in runs.items() if len(run.recipe.image_shape) != 3]:
        raise ValueError(f"{points[0]} draws points, not images: there is nothing to look at")
    title = widgets.Dropdown(options=list(runs), description="data set")
    label = widgets.Dropdown(options=_class_options(runs[title.value]), description="class")
    resample = widgets.Button(description="new z", icon="random")

    def offer(change: Any) -> None:
        label.options = _class_options(runs[title.value])

    def draw(seed: int) -> tuple[np.ndarray, str]:
        run = runs[title.value]
        images = of_class(run, run.draw_z(GALLERY_ROWS * ROW, seed), label.value)
        return tile(images, ROW, ROW_ZOOM), f"{title.value}, {label.label}"

    title.observe(offer, names="value")  # before `draw` asks for a class
    picture, status = live(draw, (title, label), resample, seed)
    box = stack(widgets.HBox([title, label, resample]), picture, status)
    return Gallery(previews.rows(runs, seed), box, title, label, resample, picture, status)


@dataclass(frozen=True)
class Replay(Exhibit):
    """The exhibit of `replay`, with its live widgets."""

    time: widgets.IntSlider
    play: widgets.Play
    picture: widgets.Image
    status: widgets.HTML


def replay(boards: Sequence[np.ndarray], titles: Sequence[str]) -> Replay:
    """A training as a film with a time slider: one picture, uint8 [H, W, 3], and one title for each moment."""
    if len(boards) != len(titles) or not len(boards):
        raise ValueError(f"{len(boards)} pictures and {len(titles)} titles: one title for each picture")
    last = len(boards) - 1
    time = widgets.IntSlider(0, min=0, max=last, description="time", readout=False)
    play = widgets.Play(value=0, min=0, max=last, interval=150)
    widgets.jslink((play, "value"), (time, "value"))
    picture, status = live(lambda seed: (boards[time.value], titles[time.value]), (time,))
    box = stack(picture, widgets.HBox([play, time]), status)
    return Replay(previews.film(boards, titles), box, time, play, picture, status)


def _class_options(run: Run) -> list[tuple[str, int]]:
    """The classes as a menu; a run that knows none has one kind of image, 0."""
    names = run.classes if run.recipe.classes else ("all of them",)
    return [(name, label) for label, name in enumerate(names)]
