"""What every exhibit is made of: a static preview, a live picture, and a status that also shows what went wrong."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import numpy as np
from IPython.display import HTML, display

from gantools.picture import encode


@dataclass(frozen=True)
class Exhibit:
    """What every exhibit shows: `preview`, HTML that needs no kernel, and below it the live widgets in `box`."""

    preview: str
    box: widgets.VBox

    def _ipython_display_(self) -> None:
        display(HTML(self.preview))
        display(self.box)


def live(
    draw: Callable[[int], tuple[np.ndarray, str]],
    controls: Sequence[widgets.Widget],
    resample: widgets.Button | None = None,
    seed: int = 0,
) -> tuple[widgets.Image, widgets.HTML]:
    """A picture and its status, drawn again when a control changes, and of the next seed at a click on `resample`.

    `draw(seed)` returns pixels, uint8 [H, W] or [H, W, 3], and a text. What goes wrong is shown in the status, where
    else nobody would see it.
    """
    picture, status = widgets.Image(format="png", layout=widgets.Layout(max_width="100%")), widgets.HTML()

    def show(*_: Any) -> None:
        try:
            pixels, remark = draw(seed)
            picture.layout.width = f"{pixels.shape[1]}px"
            picture.value, status.value = encode(pixels, "").raw, html.escape(remark)
        except Exception as error:
            status.value = f"<b>{type(error).__name__}</b>: {html.escape(str(error))}"

    def show_next(button: widgets.Button) -> None:
        nonlocal seed
        seed += 1
        show()

    for control in controls:
        control.observe(show, names="value")
    if resample:
        resample.on_click(show_next)
    show()
    return picture, status


def stack(*parts: widgets.Widget) -> widgets.VBox:
    """The live part of an exhibit, one below the other."""
    return widgets.VBox([widgets.HTML("<b>Live</b>: needs a running kernel"), *parts])
