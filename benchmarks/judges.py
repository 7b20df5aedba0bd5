"""Train the judges in `assets/checkpoints/judge-<dataset>`; `make weights` calls this first.

    python benchmarks/judges.py [DATASET …] [--work FOLDER]

Needs the full data sets in the cache, but for the glyphs, which are made. A judge under training is kept in FOLDER
(default ~/.cache/gantools/weights) after each epoch and goes on from there.
"""

import argparse
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, cross_entropy, grid_sample

from gantools import data, glyphs, judge, metrics, runtime
from gantools.classify import accuracy
from gantools.data import ImageSet
from gantools.judge import Judge
from gantools.nets import ConvClassifier

BATCH = 128
LEAST = 50_000  # training images: a bundled part must not pass for the whole
FEATURES_KEPT = 5_000  # of the reference images, for KID, density and coverage
PEAK_RATE = 3e-3
WEIGHT_DECAY = 0.01


@dataclass(frozen=True)
class Plan:
    """How one judge is trained: its width, its epochs, and the damage it must learn to look through."""

    epochs: int
    width: int = 32
    degrees: float = 10.0  # rotation up to
    zoom: float = 0.1  # of the side, up to
    shift: float = 2.0  # pixels, up to
    flips: bool = False
    long_tail: bool = False  # classes of very unequal size: the judge must still name the rare ones


PLANS = {
    "mnist": Plan(epochs=12),
    "fashion-mnist": Plan(epochs=12, degrees=0, zoom=0.05, flips=True),
    "cifar10": Plan(epochs=12, width=48, degrees=0, zoom=0.1, shift=3, flips=True),
    "emnist-letters": Plan(epochs=3, long_tail=True),
    "emnist-byclass": Plan(epochs=3, long_tail=True),
    "glyphs-letters": Plan(epochs=4, width=16),
    "glyphs-byclass": Plan(epochs=4, width=16, long_tail=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the judges.")
    parser.add_argument("names", nargs="*", help=f"default: all of {', '.join(PLANS)}")
    parser.add_argument("--work", type=Path, default=data.cache_dir() / "weights")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(PLANS):
        parser.error(f"there is no plan for {unknown.pop()!r}; choose from {', '.join(PLANS)}")
    for name in arguments.names or PLANS:
        images, test = data.load(name), data.load(name, split="test")
        if len(images) < LEAST and name not in glyphs.SETS:
            raise SystemExit(f"the judge of {name} needs all of it: python -m gantools data {name}")
        network = train_judge(name, PLANS[name], images, test, arguments.work / f"judge-{name}.pt")
        print(appoint(name, PLANS[name].width, network, images, test), flush=True)


def appoint(name: str, width: int, network: ConvClassifier, images: ImageSet, test: ImageSet) -> Path:
    """Write the judge with its view of the reference set, and what as many real training images score."""
    nothing = torch.zeros(0)
    by = Judge(
        dataset=name,
        network=network,
        image_shape=tuple(test.images.shape[1:]),
        classes=test.classes,
        width=width,
        accuracy=0.0,
        trained_on=f"{len(images):,} training images",
        mean=nothing,
        covariance=nothing,
        features=nothing,
        counts=nothing,
        variances=nothing,
    )
    seen = by.see(test.images)
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))[: metrics.COUNT]  # the reference set
    by = replace(
        seen[order].as_reference(test.labels[order], FEATURES_KEPT),
        accuracy=float((seen.named == test.labels).double().mean()),
    )
    judge.save(by)
    by = judge.load(name)  # as everybody will have it: its features are rounded
    train = alike(images, by.labels(metrics.COUNT))
    real = metrics.numbers_of(by.see(train.images)) | {
        "label_agreement": by.accuracy,
        "worst_class": float(metrics.label_agreement_per_class(seen, test.labels, name).min()),
        "classification_accuracy": metrics.classification_accuracy(train.images, train.labels, name),
        "memorisation": 1.0,
    }
    return judge.save(replace(by, real=real))


def alike(images: ImageSet, labels: Tensor) -> ImageSet:
    """A random image for each of these labels, none twice before its class is used up."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))
    members = [cycle(order[images.labels[order] == label]) for label in range(len(images.classes))]
    return images[torch.stack([next(members[label]) for label in labels])]


def train_judge(name: str, plan: Plan, images: ImageSet, test: ImageSet, kept: Path) -> ConvClassifier:
    """The trained network in eval mode, its weights rounded to float16 as they are shipped."""
    torch.manual_seed(0)
    network = ConvClassifier(images.images.shape[1:], len(images.classes), plan.width, dropout=0.3)
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    per_epoch = len(images) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=plan.epochs * per_epoch)
    begin = 0
    if kept.exists():
        state = torch.load(kept, weights_only=True)
        begin = state["epoch"]
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
    autocast = runtime.autocast_for("auto", torch.device("cpu"))
    for epoch in range(begin, plan.epochs):
        started = perf_counter()
        torch.manual_seed(epoch)
        total = 0.0
        for index in torch.randperm(len(images))[: per_epoch * BATCH].split(BATCH):
            x = damaged(images.images[index], plan).contiguous(memory_format=torch.channels_last)
            with autocast:
                logits = network.train()(x)
            loss = cross_entropy(logits.float(), images.labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        seconds = perf_counter() - started
        print(
            f"{name} epoch {epoch + 1}: loss {total / per_epoch:.4f}, {seconds:.0f} s, "
            f"test accuracy {accuracy(network.eval(), test):.4f}",
            flush=True,
        )
        kept.parent.mkdir(parents=True, exist_ok=True)
        state = {"epoch": epoch + 1, "network": network.state_dict()}
        state |= {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
        torch.save(state, kept.with_suffix(".partial"))
        kept.with_suffix(".partial").replace(kept)
    if plan.long_tail:  # forget how frequent each class was (logit adjustment, Menon et al. 2021)
        share = images.class_counts() / len(images)
        with torch.no_grad():
            network.head[-1].bias -= share.log()
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.copy_(value.half())
    return network.eval()


def damaged(x: Tensor, plan: Plan) -> Tensor:
    """The batch, each image turned, zoomed, shifted and perhaps flipped by its own draw; the ground stays at -1."""
    count, side = len(x), x.shape[-1]
    angle = torch.empty(count).uniform_(-plan.degrees, plan.degrees).deg2rad()
    zoom = 1 + torch.empty(count, 2).uniform_(-plan.zoom, plan.zoom)
    shift = torch.empty(count, 2).uniform_(-plan.shift, plan.shift) * 2 / side
    if plan.flips:
        zoom[:, 0] *= torch.randint(2, (count,)) * 2 - 1
    rows = (
        zoom[:, :1] * torch.stack([angle.cos(), -angle.sin()], 1),
        zoom[:, 1:] * torch.stack([angle.sin(), angle.cos()], 1),
    )
    theta = torch.stack([torch.cat([row, shift[:, i : i + 1]], 1) for i, row in enumerate(rows)], 1)  # [N, 2, 3]
    grid = affine_grid(theta, list(x.shape), align_corners=False)
    return grid_sample(x + 1, grid, align_corners=False) - 1


if __name__ == "__main__":
    main()
