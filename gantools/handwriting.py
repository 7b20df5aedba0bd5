"""Text in generated handwriting: which class of a run writes which character, and the letters side by side."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gantools.run import Run
from gantools.walks import between

LONGEST = 40  # characters of one text
WORD = "gantools"  # where the reader has none


@dataclass(frozen=True)
class Spelling:
    """What was read of a text, and how a run writes it: the label of each letter, None for a space.

    `remark` says what had to be left out; `unknown` are the characters that the run does not know.
    """

    text: str
    labels: tuple[int | None, ...]
    remark: str
    unknown: tuple[str, ...]


def characters(run: Run) -> dict[str, int]:
    """The characters that a run can write, and their labels.

    Raises ValueError where the run knows no classes, or its classes are more than single characters.
    """
    if not run.recipe.classes:
        raise ValueError(
            f"{run.recipe.name} has no classes to write with: take a run of a conditional recipe, such as rgan, "
            "trained on letters or digits"
        )
    longer = [name for name in run.classes if len(name) != 1]
    if longer:
        raise ValueError(f"the class {longer[0]!r} is no single character: take a run trained on letters or digits")
    return {name: label for label, name in enumerate(run.classes)}


def some_text(run: Run) -> str:
    """A word that the run can write: "gantools", or its first characters."""
    return WORD if not spell(WORD, run).unknown else "".join(run.classes[: len(WORD)])


def spell(text: str, run: Run) -> Spelling:
    """The first `LONGEST` characters of a text.

    A letter without a class of its own is written in the other case, or without its accent. Raises TypeError for a text
    that is none, else as `characters`.
    """
    if not isinstance(text, str):
        raise TypeError(f"text={text!r} is no text: write it in quotes")
    known, text = characters(run), unicodedata.normalize("NFC", text)

    def label_of(character: str) -> int | None:
        return known.get(character, known.get(character.swapcase()))

    remarks = [] if text.strip() else ["Type something to write"]
    if len(text) > LONGEST:
        remarks.append(f"only the first {LONGEST} of {len(text)} characters are written")
        text = text[:LONGEST]
    labels, unknown, instead = [], {}, {}  # a dict keeps the order, and each one once
    for character in text:
        label = label_of(character)
        if label is None and (label := label_of(_plain(character))) is not None:
            instead[character] = _plain(character)
        if label is None and not character.isspace():
            unknown[character] = None
        else:
            labels.append(label)
    if instead:
        remarks.append("written instead: " + ", ".join(f"{plain} for {letter}" for letter, plain in instead.items()))
    if unknown:
        shown = ", ".join(character if character.isprintable() else ascii(character) for character in unknown)
        remarks.append(f"cannot write: {shown} (this run knows {''.join(known)})")
    return Spelling(text, tuple(labels), "; ".join(remarks), tuple(unknown))


def _plain(character: str) -> str:
    """A character without accents, or the ordinary one that it is a form of: u for ü, 1 for a circled 1."""
    return "".join(part for part in unicodedata.normalize("NFKD", character) if not unicodedata.combining(part))


def styles(run: Run, share: float, *, together: bool, seed: int = 0) -> Tensor:
    """z [LONGEST, z_dim] for the letters of a text, at `share` (0 … 1) of the way between two styles.

    `together` gives all letters the z of the first; otherwise each goes its own way.
    """
    start, end = run.draw_z(2 * LONGEST, seed).split(LONGEST)
    z = between(start, end, share, run.recipe.noise)
    return z[:1].expand(LONGEST, -1) if together else z


def write(run: Run, labels: Sequence[int | None], z: Tensor) -> Tensor:
    """The letters side by side as one image [1, C, H, N W] in [-1, 1]: letter n of z[n], black where its label is None.

    At least one letter wide.
    """
    letters = torch.full((max(len(labels), 1), *run.recipe.image_shape), -1.0)
    inked = [place for place, label in enumerate(labels) if label is not None]
    if inked:
        letters[inked] = run.sample(z=z[inked], labels=[labels[place] for place in inked])
    return torch.cat(tuple(letters), dim=2)[None]
