"""What an exhibit shows without a kernel: plain HTML with pictures in it, and a slider that the browser alone turns."""

import html
import json
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from gantools import handwriting, plots
from gantools.picture import Picture, encode, tile
from gantools.run import Run
from gantools.walks import between, of_class

ZOOM = 8  # screen pixels for one image pixel of a single image
LETTER_ZOOM = 3  # and of a letter in a text
FRAMES = 21  # of a walk
SHEET = 6  # moments on the contact sheet of a replay
TOUR, TOUR_COLUMNS = 40, 20  # frames of the tour through the classes, and how many on a row of its sheet
STYLES, CASE_COLUMNS = 11, 31  # frames between two styles, and characters on a row of the sheet of all
WIDEST, NARROWEST = 960, 160  # screen pixels of a written text, and of a slider
GALLERY = 16  # images of each run


def walk(run: Run, ends: Tensor, label: int) -> str:
    """The walk between two points [2, z_dim]."""
    shares = [index / (FRAMES - 1) for index in range(FRAMES)]
    z = torch.cat([between(ends[:1], ends[1:], share, run.recipe.noise) for share in shares])
    images = of_class(run, z, label)
    sheet = plots.grid(images, columns=FRAMES, alt=f"{FRAMES} images on a walk between two points of z")
    frames = [encode(tile(image[None], 1, ZOOM), "") for image in images]
    caption = "a walk through the latent space, from A (left) to B (right)"
    return _turning(caption, sheet, frames, ("A", "B"), "walk", run.recipe.image_shape[2] * ZOOM)


def tour(run: Run, z: Tensor) -> str:
    """One z [1, z_dim] as all classes in turn, with as many mixtures between two of them as there is room for."""
    count, ends = run.recipe.classes, (run.classes[0], run.classes[-1])
    steps = max(1, TOUR // count)
    places = torch.arange((count - 1) * steps + 1) / steps
    shares = (1 - (places[:, None] - torch.arange(count)).abs()).clamp(min=0)  # [frames, classes]: the two nearest
    images = run.sample(z=z.expand(len(shares), -1), labels=shares)
    caption = f"one z on a tour through all {count} classes, from {ends[0]} to {ends[1]}"
    sheet = plots.grid(images, columns=TOUR_COLUMNS, alt=f"{len(images)} images: {caption}")
    frames = [encode(tile(image[None], 1, ZOOM), "") for image in images]
    return _turning(caption, sheet, frames, ends, "tour", run.recipe.image_shape[2] * ZOOM)


def film(boards: Sequence[np.ndarray], titles: Sequence[str]) -> str:
    """Some moments of a replay side by side, and all of them one after the other."""
    last = len(boards) - 1
    shown = sorted({round(index * last / (SHEET - 1)) for index in range(SHEET)})
    sheet = plots.panels(
        [boards[index] for index in shown],
        [titles[index] for index in shown],
        len(shown),
        alt=f"{len(shown)} moments of the training, from {titles[0]} to {titles[-1]}",
    )
    frames = [encode(board, title) for board, title in zip(boards, titles, strict=True)]
    caption = "the training from its start to its end"
    return _turning(caption, sheet, frames, ("start", "end"), "way", boards[0].shape[1])


def written(run: Run, text: str, seed: int) -> str:
    """All characters of a run in one style, and below them a text whose style changes."""
    count, spelling = run.recipe.classes, handwriting.spell(text, run)
    z = [handwriting.styles(run, index / (STYLES - 1), together=True, seed=seed) for index in range(STYLES)]
    case = run.sample(z=z[0][:1].expand(count, -1), labels=list(range(count)))
    sheet = _light(tile(case, CASE_COLUMNS), f"The characters {''.join(run.classes)}, generated from one z")
    lines = [tile(handwriting.write(run, spelling.labels, point), 1, LETTER_ZOOM) for point in z]
    caption = f"all {count} characters of this run, and “{spelling.text}” in generated handwriting"
    if all(label is None for label in spelling.labels):
        caption = f"all {count} characters of this run"
    caption = "; ".join(filter(None, (caption, spelling.remark)))
    ends, width = ("style A", "style B"), min(lines[0].shape[1], WIDEST)
    return _turning(caption, sheet, [_light(line, "") for line in lines], ends, "way between two styles", width)


def rows(runs: Mapping[str, Run], seed: int) -> str:
    """A row of samples of each run by its title; of a conditional run its classes, some of many."""
    figures = []
    for title, run in runs.items():
        labels = _some_of_each(run.recipe.classes) if run.recipe.classes else None
        about = f"{title}: {', '.join(dict.fromkeys(run.classes[label] for label in labels or ())) or 'no classes'}"
        images = run.sample(GALLERY, labels=labels, seed=seed)
        picture = plots.grid(images, GALLERY, alt=f"{GALLERY} generated images, {about}")
        figures.append(f"<div>{html.escape(about)}<br>{picture._repr_html_()}</div>")
    return _figure("samples of each run", "".join(figures))


def _some_of_each(classes: int) -> list[int]:
    """Labels for a row of the gallery: all classes in turn, or of more than it holds some, evenly."""
    return [place * classes // GALLERY if classes > GALLERY else place % classes for place in range(GALLERY)]


def _light(pixels: np.ndarray, alt: str) -> Picture:
    """A picture in 16 greys, which takes half the bytes."""
    return encode(pixels // 16 * 17, alt)


def _turning(
    caption: str, sheet: Picture, frames: Sequence[Picture], ends: tuple[str, str], what: str, width: int
) -> str:
    """A contact sheet, and below it one frame that an HTML slider turns: no kernel, no widgets."""
    first, last = (html.escape(end) for end in ends)  # classes are named by the data
    turn = "var f=this.closest('figure');f.querySelector('.frame').src=JSON.parse(this.dataset.frames)[this.value]"
    uris = html.escape(json.dumps([frame.uri for frame in frames]))
    return _figure(
        f"{caption}. If the slider is grey, trust the notebook or run the cell",
        f"{sheet._repr_html_()}"
        f'<br><img class="frame" src="{frames[0].uri}" alt="The picture at the slider\'s place on the {what}" '
        f'style="width:{width}px"><br>'
        f'<label>{first} <input type="range" min="0" max="{len(frames) - 1}" value="0" '
        f'aria-label="place on the {what}, from {first} to {last}" '
        f'style="width:{max(width - 40, NARROWEST)}px" data-frames="{uris}" oninput="{turn}"> {last}</label>',
    )


def _figure(caption: str, body: str) -> str:
    return (
        '<figure class="gantools-preview" style="margin:0">'
        f"<figcaption><b>Preview</b>: {html.escape(caption)}.</figcaption>{body}</figure>"
    )
