"""Images and labels as two tensors, from the cache, the bundled part, or the reader's own file.

A data set is a pair of arrays in an `.npz` file: `images` uint8 [N, C, H, W] and `labels` int64 [N].
`load` turns it into float32 images in [-1, 1]; nothing else in the package scales pixels.
"""

import hashlib
import os
import string
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gantools import ASSETS

DIGITS = tuple(string.digits)
CLASSES: dict[str, tuple[str, ...]] = {
    "mnist": DIGITS,
    "fashion-mnist": tuple("T-shirt trouser pullover dress coat sandal shirt sneaker bag boot".split()),
    "cifar10": tuple("airplane automobile bird cat deer dog frog horse ship truck".split()),
    "emnist-letters": tuple(string.ascii_lowercase),
    "emnist-byclass": DIGITS + tuple(string.ascii_uppercase + string.ascii_lowercase),
}
RING = "ring"  # the name of a data set of points, made on request
RING_RADIUS, RING_SIGMA, RING_POINTS = 0.75, 0.05, 10_000
SPLITS = ("train", "test")
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error)
MIN_SIDE, MAX_SIDE = 28, 64  # pixels
MAX_CLASSES = 10_000  # of an own set: beyond that a label is an identifier


class DataError(ValueError):
    """A data set that is missing, damaged, or not in the format; the message names the file and the cure."""


@dataclass(frozen=True)
class ImageSet:
    """Images and their labels, whole and in memory.

    images: float32 [N, C, H, W] in [-1, 1]; labels: int64 [N] in 0 … len(classes) - 1.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Tensor | slice) -> "ImageSet":
        """The images at these places: a slice, an index tensor int64 [M] or a mask bool [N]."""
        return replace(self, images=self.images[index], labels=self.labels[index])

    def of_class(self, label: int) -> "ImageSet":
        """Only the images of one class."""
        if not 0 <= label < len(self.classes):
            raise ValueError(f"class {label} does not exist: {self.name} has the classes 0 to {len(self.classes) - 1}")
        return self[self.labels == label]

    def stratified(self, per_class: int, seed: int = 0) -> "ImageSet":
        """`per_class` images of every class, drawn by `seed` and kept in file order.

        A smaller draw with the same seed is part of a larger one. Raises `DataError` if a class is too small.
        """
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        chosen = []
        for label, title in enumerate(self.classes):
            members = order[self.labels[order] == label]
            if not 1 <= per_class <= len(members):
                raise DataError(
                    f"{self.name}: per_class={per_class}, but class {label} ({title}) has {len(members)} images"
                )
            chosen.append(members[:per_class])
        return self[torch.cat(chosen).sort().values]

    def first_of_each(self, counts: Sequence[int]) -> "ImageSet":
        """The first images of each class, sorted by class: as many as `counts` says for it, or as there are."""
        return self[torch.cat([torch.nonzero(self.labels == label)[:count, 0] for label, count in enumerate(counts)])]

    def digest(self) -> str:
        """SHA-256 of pixels and labels: two sets with one digest train the same run."""
        values = to_uint8(self.images) if self.images.ndim == 4 else self.images  # points are not pixels
        content = values.numpy().tobytes() + self.labels.numpy().tobytes()
        return hashlib.sha256(str(tuple(self.images.shape)).encode() + content).hexdigest()


def from_uint8(pixels: np.ndarray | Tensor) -> Tensor:
    """uint8 in 0 … 255 to float32 in [-1, 1], any shape."""
    pixels = torch.as_tensor(pixels)
    if pixels.dtype != torch.uint8:
        raise TypeError(f"from_uint8 takes uint8 pixels, not {pixels.dtype}: scaling twice makes pictures black")
    return pixels.float().div_(127.5).sub_(1)


def to_uint8(images: Tensor) -> Tensor:
    """float in [-1, 1] to uint8 in 0 … 255, rounded; values outside are clipped. The inverse of `from_uint8`."""
    if not images.is_floating_point():
        raise TypeError(f"to_uint8 takes floats in [-1, 1], not {images.dtype}")
    return images.detach().float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).cpu()


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
    """A data set by name, or by the path of an `.npz` file.

    Looks in the cache, then among the bundled parts (and says so in one line). The network is used only
    with `download=True`. `limit` keeps the first images in file order; `per_class` draws that many of
    each class by `seed`. Raises `DataError` with the file and the cure.
    """
    if split not in SPLITS:
        raise DataError(f"split {split!r}: choose one of {', '.join(SPLITS)}")
    for option, count in (("limit", limit), ("per_class", per_class)):
        if count is not None and not isinstance(count, int):
            raise DataError(f"{option}={count!r}: expected a whole number")
    name = str(name)
    if name == RING:
        points = ring(seed=SPLITS.index(split))
        if limit is not None and not 1 <= limit <= len(points):
            raise DataError(f"{name}: limit={limit}, but there are {len(points):,} points")
        points = points[slice(limit)]
        return points if per_class is None else points.stratified(per_class, seed)
    path, note = _find(name, split, download)
    known = name if name in CLASSES else None
    images, labels = _read(path, CLASSES.get(known or ""))
    classes = CLASSES[known] if known else tuple(str(label) for label in range(int(labels.max()) + 1))
    if limit is not None and not 1 <= limit <= len(images):
        cure = f" ({note})" if note else ""
        raise DataError(f"{path}: limit={limit}, but the file has {len(images):,} images{cure}")
    if note:
        print(f"{name}/{split}: {note}")
    chosen = slice(limit)
    whole = ImageSet(from_uint8(images[chosen]), torch.from_numpy(labels[chosen]), classes, known or Path(name).stem)
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

    `more` arrays go into the same file under their names; `load` leaves them alone.
    """
    path, images, labels = Path(path), np.asarray(images), np.asarray(labels)
    _check(path, images, labels, None)
    # The file gets its name only when it is complete: an interrupted write leaves nothing to misread.
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez_compressed(file, images=images, labels=labels.astype(np.int64), **more)
        partial.replace(path)
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}; choose another folder (GANTOOLS_DATA for the cache)"
        ) from error
    finally:
        with suppress(OSError):  # there is none, or not even its folder
            partial.unlink()
    return path


def download(name: str) -> Path:
    """Fetch both splits of a known set with torchvision into the cache; returns its folder there.

    torchvision compares each archive with its MD5; the archives go to a new temporary folder, so what it
    compares is the file just fetched, never an older one. Raises `DataError` where that fails.
    """
    if name not in CLASSES:
        raise DataError(f"cannot download {name!r}: known sets are {', '.join(CLASSES)}")
    folder = cache_dir() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            for split in SPLITS:
                save(folder / f"{split}.npz", *_fetch(name, split, fresh))
    except DataError:
        raise
    except OSError as error:
        place = Path(str(error.filename or ""))
        if error.filename and (place.is_relative_to(folder) or folder.is_relative_to(place)):
            raise DataError(f"cannot write {folder}: {error.strerror}; set GANTOOLS_DATA to another folder") from error
        raise DataError(_by_hand(name, folder, error)) from error
    except (RuntimeError, HTTPException) as error:  # torchvision: every mirror failed, or a checksum differs
        raise DataError(_by_hand(name, folder, error)) from error
    return folder


def found() -> dict[str, str]:
    """For every known set, where `load` would take it from: 'cache', 'bundled part', or 'missing'."""
    places = {}
    for name in CLASSES:
        cached = all(os.path.exists(cache_dir() / name / f"{split}.npz") for split in SPLITS)
        bundled = (ASSETS / "data" / name).is_dir()
        places[name] = "cache" if cached else "bundled part" if bundled else "missing"
    return places


def _find(name: str, split: str, fetch: bool) -> tuple[Path, str]:
    """The file to read, and a note where it holds only a part of the set."""
    if Path(name).suffix == ".npz":
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


def _read(path: Path, classes: tuple[str, ...] | None) -> tuple[np.ndarray, np.ndarray]:
    try:
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

    if images.dtype != np.uint8:
        refuse("`images` of dtype", "uint8 (0 to 255)", images.dtype)
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        refuse("`images` of shape", "[N, C, H, W] with 1 or 3 channels", list(images.shape))
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in images.shape[2:]):
        refuse("`images` of", f"{MIN_SIDE} to {MAX_SIDE} pixels a side", f"{images.shape[2]}x{images.shape[3]}")
    if not np.issubdtype(labels.dtype, np.integer):
        refuse("`labels` of dtype", "int64", labels.dtype)
    if labels.shape != images.shape[:1] or not len(labels):
        refuse("`labels` of shape", f"[{len(images)}], one for each image and at least one", list(labels.shape))
    top = (len(classes) if classes else MAX_CLASSES) - 1
    if not 0 <= int(labels.min()) <= int(labels.max()) <= top:
        refuse("labels", f"0 to {top}" if classes else f"from 0 up to {top:,}", f"{labels.min()} to {labels.max()}")


def _fetch(name: str, split: str, folder: str) -> tuple[np.ndarray, np.ndarray]:
    """One split by torchvision, in our format: images uint8 [N, C, H, W], labels int64 [N] from 0."""
    source, train = _source(name), split == "train"
    if name == "cifar10":
        raw = source(folder, train=train, download=True)
        return np.ascontiguousarray(raw.data.transpose(0, 3, 1, 2)), np.array(raw.targets)
    if name.startswith("emnist"):
        raw = source(folder, split=name.removeprefix("emnist-"), train=train, download=True)
        upright = raw.data.transpose(1, 2)  # EMNIST stores each image with rows and columns exchanged
        return upright[:, None].numpy(), raw.targets.numpy() - (name == "emnist-letters")  # its letters start at 1
    raw = source(folder, train=train, download=True)
    return raw.data[:, None].numpy(), raw.targets.numpy()


def _source(name: str) -> Any:
    """The class of torchvision that knows the set."""
    from torchvision import datasets  # here, so that reading a bundled set does not wait for it

    if name.startswith("emnist"):
        return datasets.EMNIST
    return {"mnist": datasets.MNIST, "fashion-mnist": datasets.FashionMNIST, "cifar10": datasets.CIFAR10}[name]


def _by_hand(name: str, folder: Path, error: Exception) -> str:
    tried = getattr(_source(name), "mirrors", None) or [getattr(_source(name), "url", "torchvision's address")]
    return (
        f"downloading {name} with torchvision failed ({error}). Tried {', '.join(tried)}. Fetch it elsewhere and put "
        f"train.npz and test.npz, each with `images` uint8 [N, C, H, W] and `labels` int64 [N], into {folder}"
    )
