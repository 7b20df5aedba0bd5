"""Inception-v3 in place of the judge, for the FD and IS that others publish. Needs torch-fidelity and its weights."""

import warnings

import torch
from torch import Tensor

from gantools import data
from gantools.report import Report

REFERENCE = 10_000  # test images at most


class MetricError(RuntimeError):
    """Inception-v3 cannot be had on this machine; the message says why, and what to do."""


def report(name: str, dataset: str, images: Tensor) -> Report:
    """FD and IS of generated images and of as many real training images, against the test images at hand.

    Images [N, C, H, W] in [-1, 1]; where the machine has fewer than N training images, only that many of either kind
    are taken. Raises `MetricError` where torch-fidelity or its weights are missing.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance  # here: it takes two seconds to import
    from torchmetrics.image.inception import InceptionScore

    train, test = (data.load(dataset, split=split) for split in ("train", "test"))
    count = min(len(images), len(train))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            distance = FrechetInceptionDistance(reset_real_features=False, sync_on_compute=False)
            score = InceptionScore(sync_on_compute=False)
    except ImportError as error:
        raise MetricError(
            f"Inception-v3 cannot be had here ({_one_line(error)}). It needs `pip install torch-fidelity` and, once, "
            "the network for its weights; the judge, extractor='judge', needs neither"
        ) from error
    except (OSError, RuntimeError) as error:
        raise MetricError(
            f"The weights of Inception-v3 cannot be had here ({_one_line(error)}). torch-fidelity downloads them once: "
            "try again where the network is there; the judge, extractor='judge', needs no download"
        ) from error
    for batch in _rgb(test.images[:REFERENCE]):
        distance.update(batch, real=True)
    reports: list[Report] = []
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    for title, part in (("real training images", train.images[order[:count]]), (name, images[:count])):
        distance.reset()
        score.reset()
        for batch in _rgb(part):
            distance.update(batch, real=False)
            score.update(batch)
        with torch.random.fork_rng():
            torch.manual_seed(0)  # the score is of random tenths
            numbers = {"frechet_distance": float(distance.compute()), "inception_score": float(score.compute()[0])}
        note = f"Inception-v3, against {min(len(test), REFERENCE):,} test images"
        real = reports[0] if reports else None
        reports.append(Report(name=title, dataset=dataset, count=count, note=note, real=real, **numbers))
    return reports[-1]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _rgb(images: Tensor) -> tuple[Tensor, ...]:
    """Batches uint8 [B, 3, H, W]; grey images three times."""
    return data.to_uint8(images).expand(-1, 3, -1, -1).split(100)
