"""Images and labels as two tensors: the form of every data set here, and the one place that scales pixels."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from gantools.runtime import is_whole

LARGEST = 1.001  # of a pixel: rounding may lead out of [-1, 1]


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

    def check(self) -> None:
        """Raises `DataError` where the tensors are not what is said above: before a training, not within it."""
        images, labels = self.images, self.labels
        for field, value in (("images", images), ("labels", labels)):
            if not isinstance(value, Tensor):
                raise DataError(
                    f"{self.name}: {field} are a {type(value).__name__}; torch.as_tensor makes a tensor of it"
                )
        fine = are_pixels(images) if images.ndim == 4 else images.isfinite().all()
        if images.dtype != torch.float32 or not fine:
            kind = "finite floats in [-1, 1]" if images.ndim == 4 else "finite floats"
            found = f"{images.dtype}, at most {images.abs().max() if len(images) else 0:g}"
            raise DataError(f"{self.name}: images must be {kind}, float32; these are {found} in absolute value")
        if labels.shape != (len(images),) or labels.dtype != torch.int64:
            found = labels.dtype if labels.shape == (len(images),) else list(labels.shape)
            raise DataError(f"{self.name}: {len(images)} images need int64 labels [{len(images)}], not {found}")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(self.classes):
            found = f"{int(labels.min())} to {int(labels.max())}"
            raise DataError(f"{self.name}: labels must lie in 0 to {len(self.classes) - 1}, not {found}")

    def __getitem__(self, index: Tensor | slice) -> "ImageSet":
        """The images at these places: a slice, an index tensor int64 [M] or a mask bool [N]."""
        return replace(self, images=self.images[index], labels=self.labels[index])

    def of_class(self, label: int) -> "ImageSet":
        """Only the images of one class."""
        if not 0 <= label < len(self.classes):
            raise ValueError(f"class {label} does not exist: {self.name} has the classes 0 to {len(self.classes) - 1}")
        return self[self.labels == label]

    def class_counts(self) -> Tensor:
        """How many images each class has, int64 [classes]."""
        return self.labels.bincount(minlength=len(self.classes))

    def stratified(self, per_class: int, seed: int = 0) -> "ImageSet":
        """`per_class` images of every class, drawn by `seed` and kept in file order.

        A smaller draw with the same seed is part of a larger one. Raises `DataError` if a class is too small, and for
        less than one.
        """
        if not is_whole(per_class):
            raise DataError(f"per_class={per_class!r} must be a whole number")
        return self._cut([per_class] * len(self.classes), seed, f"per_class={per_class}")

    def cut_to_smallest(self, seed: int = 0) -> "ImageSet":
        """As many images of every class as the smallest has. Raises `DataError` if a class has none."""
        return self.stratified(int(self._counts_of_all().min()), seed)

    def long_tail(self, ratio: float, seed: int = 0) -> "ImageSet":
        """Sizes that fall geometrically from the first class to the last, which keeps a part in `ratio` of the first's.

        The first class keeps all its images, or fewer where a later one is too small to follow. Drawn as in
        `stratified`. Raises `DataError` for a ratio below 1, or one that leaves no image of some class.
        """
        if not 1 <= ratio < float("inf"):
            raise DataError(f"long_tail({ratio}): the first class over the last, so a number from 1 up")
        counts, share = self._counts_of_all(), ratio ** -torch.linspace(0, 1, len(self.classes), dtype=torch.float64)
        first = int((counts / share + 1e-6).min())  # of a division that comes out even, all
        sizes = (first * share).round().long().minimum(counts)
        if not sizes.all():
            label = int((sizes == 0).nonzero()[0])
            raise DataError(
                f"{self.name}: long_tail({ratio}) leaves no image of class {label} ({self.classes[label]}), "
                f"as class 0 keeps {first}; take a smaller ratio"
            )
        return self._cut(sizes.tolist(), seed, f"long_tail({ratio})")

    def _counts_of_all(self) -> Tensor:
        counts = self.class_counts()
        if not counts.all():
            label = int((counts == 0).nonzero()[0])
            raise DataError(f"{self.name}: class {label} ({self.classes[label]}) has no images")
        return counts

    def _cut(self, sizes: Sequence[int], seed: int, wish: str) -> "ImageSet":
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        chosen = []
        for label, (title, size) in enumerate(zip(self.classes, sizes, strict=True)):
            members = order[self.labels[order] == label]
            if not 1 <= size <= len(members):
                cure = f"take 1 to {len(members)}" if len(members) else "number the labels from 0 without gaps"
                raise DataError(f"{self.name}: {wish}, but class {label} ({title}) has {len(members)} images; {cure}")
            chosen.append(members[:size])
        return self[torch.cat(chosen).sort().values]

    def first_of_each(self, counts: Sequence[int]) -> "ImageSet":
        """The first images of each class, sorted by class: as many as `counts` says for it, or as there are."""
        return self[torch.cat([torch.nonzero(self.labels == label)[:count, 0] for label, count in enumerate(counts)])]

    def digest(self) -> str:
        """SHA-256 of pixels, as 256 levels, and labels: what tells one data set from another.

        Points count to a quarter: their last bits depend on the processor that drew them.
        """
        values = to_uint8(self.images) if self.images.ndim == 4 else (4 * self.images).round().to(torch.int16)
        content = values.numpy().tobytes() + self.labels.numpy().tobytes()
        return hashlib.sha256(str(tuple(self.images.shape)).encode() + content).hexdigest()


def are_pixels(images: Tensor) -> bool:
    """Whether these are floats in [-1, 1]; NaN is not."""
    return images.is_floating_point() and bool((images.abs() <= LARGEST).all())


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


def quantised(images: Tensor) -> Tensor:
    """float in [-1, 1] through `to_uint8` and back: what any image becomes before a metric or a classifier sees it."""
    return from_uint8(to_uint8(images))
