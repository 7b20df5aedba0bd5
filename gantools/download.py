"""Known data sets from torchvision, in our format. `data.download` keeps them; nothing else asks the network."""

from pathlib import Path
from typing import Any

import numpy as np

SOURCES = {  # the class of torchvision that knows a set
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "cifar10": "CIFAR10",
    "emnist-letters": "EMNIST",
    "emnist-byclass": "EMNIST",
}


def fetch(name: str, split: str, folder: str) -> tuple[np.ndarray, np.ndarray]:
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


def by_hand(name: str, folder: Path, error: Exception) -> str:
    """What a failed download tells: what was tried, and where to put the files instead."""
    own = vars(_source(name))  # EMNIST inherits the mirrors of MNIST, and asks none of them
    tried = own.get("mirrors") or [own.get("url", "torchvision's address")]
    return (
        f"downloading {name} with torchvision failed ({error}). Tried {', '.join(tried)}. Fetch it elsewhere and put "
        f"train.npz and test.npz, each with `images` uint8 [N, C, H, W] and `labels` int64 [N], into {folder}"
    )


def _source(name: str) -> Any:
    from torchvision import datasets  # here, so that reading a bundled set does not wait for it

    return getattr(datasets, SOURCES[name])
