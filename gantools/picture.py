"""An encoded picture with the words that stand for it; images as tiles, animations, Matplotlib figures.

Images are float [N, C, H, W] in [-1, 1] with 1 or 3 channels, as `data.load` and `Run.sample` give them.
"""

import base64
import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from gantools.data import to_uint8

ZOOM = 2  # screen pixels for one image pixel
GAP = 2  # pixels between two images
GIF_BYTES, GIF_FRAMES = 1_000_000, 60


@dataclass(frozen=True, repr=False)
class Picture:
    """An encoded picture and the text that stands for it where it cannot be seen."""

    raw: bytes
    alt: str
    kind: str = "png"  # or "gif", "jpeg"

    @property
    def uri(self) -> str:
        return f"data:image/{self.kind};base64,{base64.b64encode(self.raw).decode()}"

    def __repr__(self) -> str:
        return f"<picture: {self.alt}>"

    def _repr_html_(self) -> str:
        return f'<img src="{self.uri}" alt="{html.escape(self.alt)}" style="max-width:100%">'

    def save(self, path: str | Path) -> Path:
        """Write the picture as it is; the file must end in .png, .gif, or .jpeg or .jpg, as `kind` says."""
        path = Path(path)
        if path.suffix.lower().replace("jpg", "jpeg") != f".{self.kind}":
            raise ValueError(f"{path}: this picture is a .{self.kind}, so its name must end in .{self.kind}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.raw)
        return path


def tile(images: Tensor, columns: int = 8, zoom: int = ZOOM) -> np.ndarray:
    """Images side by side in one array, uint8 [height, width] or [height, width, 3], enlarged without blur."""
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise ValueError(f"expected at least one image, [N, 1 or 3, H, W]; got {list(images.shape)}")
    if columns < 1:
        raise ValueError(f"columns={columns} must be at least 1")
    count, channels, height, width = images.shape
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    sheet = torch.full((rows * columns, channels, height + GAP, width + GAP), 255, dtype=torch.uint8)
    sheet[:count, :, :height, :width] = to_uint8(images)
    sheet = sheet.view(rows, columns, channels, height + GAP, width + GAP).permute(0, 3, 1, 4, 2)  # rows, y, columns, x
    sheet = sheet.reshape(rows * (height + GAP), columns * (width + GAP), channels)[:-GAP, :-GAP]
    return sheet.repeat_interleave(zoom, 0).repeat_interleave(zoom, 1).squeeze(2).numpy()


def encode(pixels: np.ndarray, alt: str, kind: str = "png") -> Picture:
    """A uint8 array [H, W] or [H, W, 3] as a picture: "png", "gif" or "jpeg"."""
    if kind not in ("png", "gif", "jpeg"):
        raise ValueError(f"kind={kind!r}: choose png, gif or jpeg")
    return Picture(imageio.imwrite("<bytes>", pixels, extension=f".{kind}"), alt, kind)


def render(figure: Figure, alt: str, dpi: int = 90) -> Picture:
    """A Matplotlib figure as a picture; 90 dots an inch fit a notebook, 300 a printed page."""
    if not dpi > 0:
        raise ValueError(f"dpi={dpi} must be above 0")
    figure.set_layout_engine("constrained")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return Picture(buffer.getvalue(), alt)


def gif(snapshots: Sequence[Tensor], columns: int = 4, *, seconds: float = 6.0, alt: str = "") -> Picture:
    """The snapshots, [N, C, H, W] each, as an endless animation; frames are left out until it has at most 1 MB.

    A single frame may have more.
    """
    if not len(snapshots):
        raise ValueError("an animation needs at least one snapshot")
    if not seconds > 0:
        raise ValueError(f"seconds={seconds} must be above 0")
    frames = [tile(images, columns) for images in snapshots]
    while True:
        step = math.ceil(len(frames) / GIF_FRAMES)
        kept = frames[::-step][::-1]  # the last frame always stays
        timing = {"duration": 1000 * seconds / len(kept), "loop": 0}
        # Optimised palettes differ from frame to frame, and then Pillow cannot read back what it wrote.
        raw = imageio.imwrite("<bytes>", kept, extension=".gif", optimize=False, **timing)
        if len(raw) <= GIF_BYTES or len(kept) == 1:
            return Picture(raw, alt or f"Animation of {len(kept)} moments of a training at a fixed z", "gif")
        frames = frames[::-2][::-1]
