"""Data sets by name: from the cache, the bundled part, the reader's own file, or made at run time.

A data set is a pair of arrays in an `.npz` file: `images` uint8 [N, C, H, W] and `labels` int64 [N].
`load` turns it into an `ImageSet`. Made at run time are the ring (points) and the sets of `gantools.glyphs`.
"""

import lzma
import os
import string
import tempfile
import zipfile
import zlib
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gantools import ASSETS, glyphs
from gantools.download import SOURCES, by_hand, fetch
from gantools.imageset import DataError, ImageSet, from_uint8
from gantools.imageset import quantised as quantised  # scaling is found here, both ways
from gantools.imageset import to_uint8 as to_uint8
from gantools.runtime import is_whole, whole_file

DIGITS = tuple(string.digits)
LETTERS = tuple(string.ascii_lowercase)
ALPHANUMERIC = DIGITS + tuple(string.ascii_uppercase) + LETTERS
CLASSES: dict[str, tuple[str, ...]] = {
    "mnist": DIGITS,
    "fashion-mnist": tuple("T-shirt trouser pullover dress coat sandal shirt sneaker bag boot".split()),
    "cifar10": tuple("airplane automobile bird cat deer dog frog horse ship truck".split()),
    "emnist-letters": LETTERS,
    "emnist-byclass": ALPHANUMERIC,
    "glyphs-letters": LETTERS,
    "glyphs-byclass": ALPHANUMERIC,
}
RING = "ring"  # the name of a data set of points, made on request
RING_RADIUS, RING_SIGMA, RING_POINTS = 0.75, 0.05, 10_000
SPLITS = ("train", "test")
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError)
MIN_SIDE, MAX_SIDE = 28, 64  # pixels
MAX_CLASSES = 10_000  # of an own set: beyond that a label is an identifier


def cache_dir() -> Path:
    """Where downloaded sets live: `$GANTOOLS_DATA`, or `~/.cache/gantools`."""
    try:
        return Path(os.environ.get("GANTOOLS_DATA") or "~/.cache/gantools").expanduser()
    except RuntimeError:  # a container whose user has no home
        return Path(tempfile.gettempdir()) / "gantools"


def load(
    name: str | Path,
    split: str = "train",
    *,
    limit: int | None = None,
    per_class: int | None = None,
    seed: int = 0,
    download: bool = False,
) -> ImageSet:
    """A data set by name, or by the path of an `.npz` file, which holds training images.

    Looks in the cache, then among the bundled parts (and says so in one line); the ring and the sets of glyphs are
    made. The network is used only with `download=True`. `limit` keeps the first images in file order; `per_class`
    draws that many of each class by `seed`. Raises `DataError` with the file and the cure.
    """
    if split not in SPLITS:
        raise DataError(f"split {split!r}: choose one of {', '.join(SPLITS)}")
    for option, count in (("limit", limit), ("per_class", per_class)):
        if count is not None and not is_whole(count):
            raise DataError(f"{option}={count!r}: expected a whole number")
    name = str(name)
    if name == RING:
        points = ring(seed=SPLITS.index(split))
        if limit is not None and not 1 <= limit <= len(points):
            raise DataError(f"{name}: limit={limit}, but there are {len(points):,} points")
        points = points[slice(limit)]
        return points if per_class is None else points.stratified(per_class, seed)
    known = name if name in CLASSES else None
    own = Path(name).stem if name.lower().endswith(".npz") else name  # of a name, a dot is part
    if own in (RING, *CLASSES):
        own = Path(name).name  # mnist.npz is the reader's, and must not pass for MNIST
    if name in glyphs.SETS:
        source, note, holder = f"{name}/{split}", "", "the set"
        images, labels = glyphs.load(name, split)
    else:
        (source, note), holder = _find(name, split, download), "the file"
        images, labels = _read(source, CLASSES.get(known or ""))
    classes = CLASSES[known] if known else _own_classes(name, split, labels)
    if limit is not None and not 1 <= limit <= len(images):
        cure = f" ({note})" if note else ""
        raise DataError(f"{source}: limit={limit}, but {holder} has {len(images):,} images{cure}")
    if note:
        print(f"{name}/{split}: {note}")
    chosen = slice(limit)
    whole = ImageSet(from_uint8(images[chosen]), torch.tensor(labels[chosen]), classes, known or own)
    return whole if per_class is None else whole.stratified(per_class, seed)


def ring_centres() -> Tensor:
    """The middles of the eight Gaussians of `ring`, float32 [8, 2], on a circle of radius 0.75."""
    angle = torch.arange(8) * (torch.pi / 4)
    return RING_RADIUS * torch.stack([angle.cos(), angle.sin()], 1)


def ring(count: int = RING_POINTS, seed: int = 0) -> ImageSet:
    """The points of lesson 00: `images` float32 [N, 2], N(centre, 0.05²) around eight centres in turn, their labels."""
    if count < 1:
        raise DataError(f"a ring of {count} points: ask for at least one")
    labels = torch.arange(count) % 8
    noise = torch.randn(count, 2, generator=torch.Generator().manual_seed(seed))
    return ImageSet(ring_centres()[labels] + RING_SIGMA * noise, labels, tuple("01234567"), RING)


def save(path: str | Path, images: np.ndarray | Tensor, labels: np.ndarray | Tensor, **more: np.ndarray) -> Path:
    """Write a data set: images uint8 [N, C, H, W] and labels int64 [N], checked, whole or not at all.

    `more` arrays go into the same file under their names; `load` leaves them alone. Raises `DataError` for what is no
    data set, and where it cannot be written.
    """
    path, images, labels = Path(path), np.asarray(images), np.asarray(labels)
    if path.suffix != ".npz":
        raise DataError(f"{path}: a data set is an .npz file")
    _check(path, images, labels, None)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            np.savez_compressed(file, images=images, labels=labels.astype(np.int64), **more)
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}; choose another folder (GANTOOLS_DATA for the cache)"
        ) from error
    return path


def check_source(name: str) -> None:
    """Raises `DataError` where there is nothing to download under this name."""
    if name in (RING, *glyphs.SETS):
        raise DataError(f"{name} is made at run time: there is nothing to download")
    if name not in SOURCES:
        raise DataError(f"cannot download {name!r}: known sets are {', '.join(SOURCES)}")


def download(name: str) -> Path:
    """Fetch both splits of a known set with torchvision into the cache; returns its folder there.

    torchvision compares each archive with its MD5; the archives go to a new temporary folder, so what it
    compares is the file just fetched, never an older one. Raises `DataError` where that fails.
    """
    check_source(name)
    folder = cache_dir() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            for split in SPLITS:
                save(folder / f"{split}.npz", *fetch(name, split, fresh))
    except DataError:
        raise
    except OSError as error:
        place = Path(str(error.filename or ""))
        if error.filename and (place.is_relative_to(folder) or folder.is_relative_to(place)):
            raise DataError(f"cannot write {folder}: {error.strerror}; set GANTOOLS_DATA to another folder") from error
        raise DataError(by_hand(name, folder, error)) from error
    except (RuntimeError, HTTPException) as error:  # torchvision: every mirror failed, or a checksum differs
        raise DataError(by_hand(name, folder, error)) from error
    return folder


def found() -> dict[str, str]:
    """For every known set, where `load` finds both splits: 'cache', 'bundled part', 'made here', or 'missing'."""
    places = {}
    for name in SOURCES:
        cached = all(os.path.exists(cache_dir() / name / f"{split}.npz") for split in SPLITS)
        bundled = (ASSETS / "data" / name).is_dir()
        places[name] = "cache" if cached else "bundled part" if bundled else "missing"
    return places | dict.fromkeys(glyphs.SETS, "made here")


def _find(name: str, split: str, fetch: bool) -> tuple[Path, str]:
    """The file to read, and a note where it holds only a part of the set."""
    if Path(name).suffix.lower() == ".npz":
        if split == "test":
            raise DataError(
                f"{name} has no test split: put train.npz and test.npz into {cache_dir()}/NAME, and load NAME"
            )
        if not Path(name).exists():
            raise DataError(f"{name} does not exist (a data set is an .npz file with `images` and `labels`)")
        return Path(name), ""
    cached = cache_dir() / name / f"{split}.npz"
    if fetch and not os.path.exists(cached):  # False, not an error, in a cache that belongs to somebody else
        download(name)
    if os.path.exists(cached):
        return cached, ""
    bundled = ASSETS / "data" / name / f"{split}.npz"
    if bundled.exists():
        if name == "mnist" and split == "test":
            return bundled, ""  # all 10,000 of them
        return bundled, f"the bundled part of the set; `python -m gantools data {name}` fetches all of it"
    if name in CLASSES:
        raise DataError(
            f"{name}/{split} is neither in {cache_dir()} nor bundled: `python -m gantools data {name}` downloads it"
        )
    raise DataError(
        f"no data set {name!r}: known are {', '.join(CLASSES)}, a path to an .npz file, or your own in {cached}"
    )


def _own_classes(name: str, split: str, labels: np.ndarray) -> tuple[str, ...]:
    """0 to the largest label; a test split has the classes of its training split."""
    top = int(labels.max())
    if split == "test" and name not in glyphs.SETS:
        top = max(top, int(_read(_find(name, "train", False)[0], None)[1].max()))
    return tuple(str(label) for label in range(top + 1))


def _read(path: Path, classes: tuple[str, ...] | None) -> tuple[np.ndarray, np.ndarray]:
    try:
        if not zipfile.is_zipfile(path):  # NumPy would call a text file pickled, and tell how to load it "unsafely"
            raise ValueError("it is cut short, or something else")
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in ("images", "labels") if key not in archive]
            if missing:
                raise DataError(f"{path}: expected the arrays `images` and `labels`, found {sorted(archive)}")
            images, labels = np.asarray(archive["images"]), np.asarray(archive["labels"])
    except DataError:
        raise
    except (OSError, EOFError, ValueError, TypeError, AttributeError, KeyError, RuntimeError, *BROKEN_ZIP) as error:
        # Half a download, a text file, an array of Python objects: for the reader, all the same.
        cure = "delete it and fetch it again" if cache_dir() in path.parents else "write it with gantools.data.save"
        raise DataError(f"{path}: not a readable .npz archive ({error}); {cure}") from error
    _check(path, images, labels, classes)
    return images, labels.astype(np.int64)


def _check(path: Path, images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...] | None) -> None:
    def refuse(what: str, expected: str, got: object) -> None:
        raise DataError(f"{path}: expected {what} {expected}, found {got}")

    if not images.size or not labels.size:
        refuse("images and labels,", "at least one", f"{list(images.shape)} and {list(labels.shape)}")
    if images.dtype != np.uint8:
        refuse("`images` of dtype", "uint8 (0 to 255)", images.dtype)
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        refuse("`images` of shape", "[N, C, H, W] with 1 or 3 channels", list(images.shape))
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in images.shape[2:]):
        refuse("`images` of", f"{MIN_SIDE} to {MAX_SIDE} pixels a side", f"{images.shape[2]}x{images.shape[3]}")
    if not np.issubdtype(labels.dtype, np.integer):
        refuse("`labels` of dtype", "int64", labels.dtype)
    if labels.shape != images.shape[:1]:
        refuse("`labels` of shape", f"[{len(images)}], one for each image", list(labels.shape))
    top = (len(classes) if classes else MAX_CLASSES) - 1
    if not 0 <= int(labels.min()) <= int(labels.max()) <= top:
        refuse("labels", f"0 to {top}" if classes else f"from 0 up to {top:,}", f"{labels.min()} to {labels.max()}")
