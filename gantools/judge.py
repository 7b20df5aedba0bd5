"""The judge: a frozen small classifier for each data set, and what it saw in real images.

A generator is compared with the held-out test images through the judge's 64 features. The folder
`assets/checkpoints/judge-<dataset>` holds

    judge.json         accuracy, what it was trained on, real images' numbers, the SHA-256 of the other file
    judge.safetensors  network.* (float16); of the reference images: mean, covariance, features, counts, variances

so that judging needs no images. `benchmarks/judges.py` trains the judges and writes the folders.
"""

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as dump_tensors
from torch import Tensor

from gantools import ASSETS
from gantools.data import from_uint8, to_uint8
from gantools.imageset import are_pixels
from gantools.nets import ConvClassifier
from gantools.runtime import write_whole

EMBED_BATCH = 50  # images at once: more is slower, the planes no longer fit the cache


class JudgeError(ValueError):
    """A judge that does not exist or is damaged, or images that it cannot judge."""


@dataclass(frozen=True)
class Judge:
    """A classifier in eval mode, and its view of the reference set: up to 10,000 of the data set's test images.

    mean [64], covariance [64, 64]: float64, of the reference images' features; features: float32 [M, 64], of the
    first M of them; counts: int64 [classes], their labels; variances: float64 [classes], the trace of the covariance
    of the features of those that the judge names so.
    """

    dataset: str
    network: ConvClassifier
    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    width: int
    accuracy: float  # on all test images
    trained_on: str
    mean: Tensor
    covariance: Tensor
    features: Tensor
    counts: Tensor
    variances: Tensor
    real: dict[str, float] = field(default_factory=dict)  # what as many real training images score

    @torch.no_grad()
    def see(self, images: Tensor) -> "Seen":
        """Features and logits of images [N, C, H, W] in [-1, 1], after a passage through uint8. In fp32 on the CPU."""
        if images.ndim != 4 or not len(images) or tuple(images.shape[1:]) != self.image_shape:
            expected = ", ".join(map(str, self.image_shape))
            raise JudgeError(
                f"the judge of {self.dataset} sees images of the shape [N, {expected}], not {list(images.shape)}"
            )
        if not are_pixels(images):
            found = f"{images.dtype} in {images.min():g} to {images.max():g}"
            raise JudgeError(f"the judge of {self.dataset} takes finite floats in [-1, 1], not {found}")
        parts = []
        for part in to_uint8(images).split(EMBED_BATCH):
            features = self.network.features(from_uint8(part).contiguous(memory_format=torch.channels_last))
            parts.append((features, self.network.head(features)))
        features, logits = (torch.cat(halves) for halves in zip(*parts, strict=True))
        return Seen(self, features, logits)

    def labels(self, count: int) -> Tensor:
        """`count` labels in the proportions of the reference set, int64 [count], in a fixed random order."""
        exact = self.counts.double() * count / self.counts.sum()
        whole = exact.floor().long()
        whole[(exact - whole).argsort(descending=True, stable=True)[: count - int(whole.sum())]] += 1
        order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
        return torch.arange(len(self.classes)).repeat_interleave(whole)[order]


@dataclass(frozen=True)
class Seen:
    """Images as their judge sees them: features float32 [N, 64] and class logits float32 [N, classes]."""

    judge: Judge
    features: Tensor
    logits: Tensor

    @property
    def named(self) -> Tensor:
        """The class that the judge names for each image, int64 [N]."""
        return self.logits.argmax(1)

    def variances(self) -> Tensor:
        """The trace of the covariance of the features of each class that the judge names, float64 [classes]."""
        return class_variances(self.features, self.named, len(self.judge.classes))

    def as_reference(self, labels: Tensor, kept: int) -> Judge:
        """The judge with these images, labels int64 [N], as its reference set; `kept` is M, the features it keeps."""
        features = self.features.double()
        return replace(
            self.judge,
            mean=features.mean(0),
            covariance=features.T.cov(),
            features=self.features[:kept],
            counts=labels.bincount(minlength=len(self.judge.classes)),
            variances=self.variances(),
        )

    def __getitem__(self, index: Tensor | slice) -> "Seen":
        return replace(self, features=self.features[index], logits=self.logits[index])

    def __len__(self) -> int:
        return len(self.features)


def class_variances(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The trace of the covariance of features [N, D] of each class, float64 [classes]; NaN below two images."""
    members = [features[labels == label].double() for label in range(classes)]
    nan = torch.tensor(torch.nan, dtype=torch.float64)
    return torch.stack([part.var(0).sum() if len(part) > 1 else nan for part in members])


def available() -> list[str]:
    """The data sets that have a judge."""
    return sorted(path.parent.name.removeprefix("judge-") for path in _folder("").parent.glob("judge-*/judge.json"))


@lru_cache(maxsize=8)
def load(dataset: str) -> Judge:
    """The judge of a data set. Raises `JudgeError` where there is none or a file is damaged."""
    folder = _folder(dataset)
    if dataset not in available():
        raise JudgeError(f"there is no judge for {dataset!r}; judges exist for {', '.join(available())}")
    try:
        about = json.loads((folder / "judge.json").read_text())
        raw = (folder / "judge.safetensors").read_bytes()
        if hashlib.sha256(raw).hexdigest() != about.pop("sha256"):
            raise ValueError("the SHA-256 of judge.safetensors is not the one in judge.json")
        tensors = parse_tensors(raw)
        about["image_shape"], about["classes"] = tuple(about["image_shape"]), tuple(about["classes"])
        network = ConvClassifier(about["image_shape"], len(about["classes"]), about["width"])
        weights = {key: value for key, value in tensors.items() if key.startswith("network.")}
        network.load_state_dict({key.removeprefix("network."): value for key, value in weights.items()})
        network = network.requires_grad_(False).eval().to(memory_format=torch.channels_last)
        rest = {key: value for key, value in tensors.items() if key not in weights}
        rest["features"] = rest["features"].float()
        return Judge(network=network, **about, **rest)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise JudgeError(f"{folder} is damaged: {' '.join(str(error).split())}") from error


def save(judge: Judge) -> Path:
    """Write a judge into the package's assets, in the form that `load` reads."""
    folder = _folder(judge.dataset)
    folder.mkdir(parents=True, exist_ok=True)
    network = judge.network.state_dict()
    tensors = {f"network.{key}": v.half() if v.is_floating_point() else v for key, v in network.items()}
    tensors |= {"mean": judge.mean, "covariance": judge.covariance, "features": judge.features.half()}
    tensors |= {"counts": judge.counts, "variances": judge.variances}
    raw = dump_tensors({key: value.contiguous() for key, value in tensors.items()})
    write_whole(folder / "judge.safetensors", raw)
    about: dict[str, Any] = {
        "dataset": judge.dataset,
        "image_shape": list(judge.image_shape),
        "classes": list(judge.classes),
        "width": judge.width,
        "accuracy": judge.accuracy,
        "trained_on": judge.trained_on,
        "sha256": hashlib.sha256(raw).hexdigest(),
        "real": judge.real,
    }
    write_whole(folder / "judge.json", (json.dumps(about, indent=1) + "\n").encode())
    load.cache_clear()
    return folder


def _folder(dataset: str) -> Path:
    return ASSETS / "checkpoints" / f"judge-{dataset}"
