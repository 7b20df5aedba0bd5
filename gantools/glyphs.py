"""Letters and digits drawn from the fonts that come with Matplotlib: they stand in for EMNIST offline.

Two sets, made at run time, 28×28, white on black, each glyph centred and 19 to 24 pixels long, as in EMNIST:

    glyphs-letters   26 classes, each of upper and lower case shapes, half and half; 800 training images a class
    glyphs-byclass   62 classes with the long tail of EMNIST ByClass: 85 to 1,700 training images a class

An image is one character of one font, turned, slanted, widened, bent a little, and drawn by a pen of its own width and
pressure. The test images are a fifth as many, from another seed: no picture is in both splits, but the fonts are
shared, so a test image is a new drawing of a known shape, not a new hand.

No font of the system is read, and all arithmetic is in float64 before it is rounded to 256 greys, so that another
machine draws the same pictures.
"""

import string
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from gantools.imageset import DataError

SIDE = 28  # pixels
FONTS = (  # those of Matplotlib that hold letters and digits
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmr10", "cmb10", "cmti10", "cmmi10", "cmss10", "cmtt10"),
)

# Training images of each class of glyphs-byclass, in EMNIST's order: digits, A to Z, a to z. Its frequencies, scaled.
BYCLASS_COUNTS = (
    *(1552, 1700, 1577, 1604, 1510, 1394, 1533, 1649, 1513, 1528),
    *(285, 174, 467, 209, 229, 387, 120, 140, 550, 168, 103, 217, 399),
    *(363, 1117, 375, 111, 217, 942, 424, 538, 214, 217, 116, 214, 125),
    *(442, 229, 116, 452, 1099, 107, 158, 397, 115, 85, 125, 681, 125),
    *(510, 125, 99, 136, 623, 117, 796, 130, 126, 125, 126, 102, 121),
)
TEST_SHARE = 5  # a test image for every five of training
SEEDS = {"train": 0, "test": 1}

# The characters of each class, and its number of training images.
SETS: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "glyphs-letters": (tuple(upper + upper.lower() for upper in string.ascii_uppercase), (800,) * 26),
    "glyphs-byclass": (tuple(string.digits + string.ascii_uppercase + string.ascii_lowercase), BYCLASS_COUNTS),
}

# Each drawn uniformly between the two.
ANGLE = (-0.2, 0.2)  # radians
SLANT = (-0.2, 0.3)  # to the right as it rises
WIDTH = (0.9, 1.45)  # over the font's
LENGTH = (19.5, 23.5)  # pixels from end to end, the ink included
SHIFT = (-0.5, 0.5)  # pixels
PEN = (0.9, 1.8)  # pixels, half the width of a stroke
EDGE = (1.0, 1.8)  # pixels from ink to ground
BEND = 0.045  # of half the square below, about 0.7 pixels, at most
PRESSURE = 0.35  # pixels, how much the pen widens or narrows on its way, at most
THINNEST = -0.5  # pixels: a bold stroke is thinned by so much at most, or its thin parts would be lost

FRAME = 0.75  # the square in which distances are known reaches so far from the middle, in lengths of the glyph
CELLS = 40  # a side of that square
KNOTS = 5  # a side of the coarse grid whose random values bend and press
EM, FINE = 1_000, 100  # pixels, the size at which outlines are read, and that at which curves become straight pieces
CHUNK = 250  # images drawn at once

# From values at the knots to those at the pixels, [28, 5]: cosine waves in between.
_apart = torch.linspace(0, KNOTS - 1, SIDE, dtype=torch.float64)[:, None] - torch.arange(KNOTS)
WAVES = (1 + (torch.pi * _apart.clamp(-1, 1)).cos()) / 2


@lru_cache(maxsize=len(SETS) * len(SEEDS))
def load(name: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """A set of `SETS`, split "train" or "test": images uint8 [N, 1, 28, 28] and labels int64 [N], in random order.

    Kept in memory: do not write into the arrays. Raises `DataError` for another name or split.
    """
    if name not in SETS or split not in SEEDS:
        raise DataError(f"no glyphs {name}/{split}: there are {', '.join(SETS)}, each with {' and '.join(SEEDS)}")
    characters, counts = SETS[name]
    if split == "test":
        counts = tuple(count // TEST_SHARE for count in counts)
    return render(characters, counts, SEEDS[split])


def render(characters: Sequence[str], counts: Sequence[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """`counts[k]` images of each class k, in random order: images uint8 [N, 1, 28, 28] and labels int64 [N].

    `characters[k]` are the shapes of the class, such as "Aa", drawn in turn, each in a random font. Raises `DataError`
    for what is neither a letter from A to z nor a digit, and for counts that do not fit.
    """
    if not all(shapes.isascii() and shapes.isalnum() for shapes in characters):
        raise DataError(f"glyphs are letters from A to z and digits, not {list(characters)}")
    if len(counts) != len(characters) or min(counts, default=0) < 0 or not sum(counts):
        raise DataError(f"{len(characters)} classes of glyphs need as many counts, not all of them 0: {list(counts)}")
    generator = torch.Generator().manual_seed(seed)
    alphabet = sorted(set("".join(characters)))
    distances, hulls, pens = (torch.cat(parts) for parts in zip(*map(_shapes, alphabet), strict=True))
    places = [
        alphabet.index(shapes[i % len(shapes)]) for shapes, n in zip(characters, counts, strict=True) for i in range(n)
    ]
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    fonts = torch.randint(len(FONTS), (len(labels),), generator=generator)
    order = torch.randperm(len(labels), generator=generator)
    chosen = (torch.tensor(places) * len(FONTS) + fonts)[order]
    images = [_draw(distances[part], hulls[part], pens[part], generator) for part in chosen.split(CHUNK)]
    return torch.cat(images).numpy(), labels[order].numpy()


def _draw(distances: Tensor, hulls: Tensor, pens: Tensor, generator: torch.Generator) -> Tensor:
    """One image for each shape, uint8 [N, 1, 28, 28]; the shapes as `_shapes` gives them."""
    count = len(distances)

    def between(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator, dtype=torch.float64)

    angle, slant, width = between(*ANGLE), between(*SLANT), between(*WIDTH)
    zero = torch.zeros_like(angle)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    matrix = turn @ torch.stack([width, -slant, zero, zero + 1], 1).view(-1, 2, 2)  # y points down
    hulls = hulls @ matrix.mT
    low, high = hulls.amin(1), hulls.amax(1)
    extent = (high - low).amax(1)
    length = between(*LENGTH)
    thicker = (between(*PEN) - pens * length / extent).clamp(min=THINNEST)
    scale = (length - 2 * thicker) / extent  # pixels for each length of the glyph
    middle = between(*SHIFT, 2) - scale[:, None] * (low + high) / 2

    inverse = matrix.inverse() / scale.view(-1, 1, 1) / FRAME  # from pixels to the square of `_shapes`
    theta = torch.cat([inverse * SIDE / 2, -inverse @ middle[:, :, None]], 2)
    bent = WAVES @ between(-1, 1, 3, KNOTS, KNOTS) @ WAVES.T  # [N, 3, 28, 28]: two ways to bend, and the pressure
    where = affine_grid(theta, [count, 1, SIDE, SIDE], align_corners=False) + BEND * bent[:, :2].permute(0, 2, 3, 1)
    inside = grid_sample(distances[:, None], where, padding_mode="border", align_corners=False)
    inside = inside * scale.view(-1, 1, 1, 1) + thicker.view(-1, 1, 1, 1) + PRESSURE * bent[:, 2:]
    ink = (inside / between(*EDGE, 1, 1, 1) + 0.5).clamp(0, 1)
    return ink.mul(255).round().to(torch.uint8)


@lru_cache(maxsize=128)
def _shapes(character: str) -> tuple[Tensor, Tensor, Tensor]:
    """A character in every font, in lengths of the glyph (its longer side is 1, its middle is 0, y points down).

    Distances to the outline, positive in the ink, [fonts, 40, 40]; sixteen points on its hull, [fonts, 16, 2];
    half the mean width of its strokes, [fonts].
    """
    angles = np.arange(16) * np.pi / 8
    directions = np.stack([np.cos(angles), np.sin(angles)])
    distances, hulls = [], []
    for font in FONTS:
        begin, end = _outline(font, character)
        distances.append(_distance(begin, end))
        hulls.append(begin[(begin @ directions).argmax(0)])
    known = torch.from_numpy(np.stack(distances))
    ink = known > 0
    pens = 2 * (known * ink).sum((1, 2)) / ink.sum((1, 2))  # across a stroke the mean distance is a quarter of it
    return known, torch.from_numpy(np.stack(hulls)), pens


def _outline(font: str, character: str) -> tuple[np.ndarray, np.ndarray]:
    """The straight pieces of an outline, from begin [S, 2] to end [S, 2], in lengths of the glyph."""
    from matplotlib import ft2font  # here, so that who draws no glyphs does not wait for it
    from matplotlib.path import Path as Outline

    new = hasattr(ft2font, "LoadFlags")  # since Matplotlib 3.10
    face = _face(font)
    face.load_char(ord(character), flags=ft2font.LoadFlags.NO_HINTING if new else ft2font.LOAD_NO_HINTING)
    points, codes = face.get_path()
    half_units = (points * face.units_per_EM / EM * 2).round()  # whole numbers in the file, whatever FreeType rounded
    polygons = Outline(half_units / face.units_per_EM / 2 * FINE, codes).to_polygons(closed_only=False)
    begin, end = (np.concatenate([polygon[part] for polygon in polygons]) for part in (slice(-1), slice(1, None)))
    low, high = begin.min(0), begin.max(0)
    begin, end = ((ends - (low + high) / 2) / (high - low).max() * [1, -1] for ends in (begin, end))
    return begin, end


@lru_cache(maxsize=len(FONTS))
def _face(font: str) -> Any:
    """The font file, at a size at which FreeType's rounding is finer than the units of its outlines."""
    import matplotlib
    from matplotlib.ft2font import FT2Font

    face = FT2Font(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"))
    face.set_size(EM, 72)
    return face


def _distance(begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """From the middle of each cell to the nearest of the pieces [S, 2], negative outside of the outline, [40, 40]."""
    axis = ((np.arange(CELLS) + 0.5) / CELLS * 2 - 1) * FRAME
    x, y = (grid.reshape(-1, 1) for grid in np.meshgrid(axis, axis))  # [1600, 1]
    step = end - begin
    # The nearest point of a piece is begin + t step: its squared distance is |cell - begin|² + t (t |step|² - 2 dot).
    length = np.maximum((step**2).sum(1), 1e-12)
    to_dot = np.vstack([step.T, -(begin * step).sum(1)])  # (cell - begin) · step
    to_square = np.vstack([-2 * begin.T, (begin**2).sum(1), np.ones(len(begin))])
    squares = []
    for cells in np.split(np.hstack([x, y, np.ones_like(x), x * x + y * y]), 4):  # [400, 4] at a time stay in the cache
        dot = cells[:, :3] @ to_dot  # [400, S]
        t = (dot / length).clip(0, 1)
        squares.append((cells @ to_square + t * (t * length - 2 * dot)).min(1))
    distance = np.sqrt(np.concatenate(squares).clip(0)).reshape(CELLS, CELLS)
    # A cell is inside where the outline goes around it: of the pieces to its left, more go up than down or the reverse.
    rises = (axis[:, None] >= begin[:, 1]).astype(int) - (axis[:, None] >= end[:, 1])  # [40 rows, S]: 1, 0 or -1
    row, piece = rises.nonzero()
    at = begin[piece, 0] + (axis[row] - begin[piece, 1]) / step[piece, 1] * step[piece, 0]
    around = np.zeros((CELLS, CELLS + 1))
    np.add.at(around, (row, np.searchsorted(axis, at)), rises[row, piece])
    return np.where(around.cumsum(1)[:, :CELLS] != 0, distance, -distance)
