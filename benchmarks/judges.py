"""Train the judges in `assets/checkpoints/judge-<dataset>`; `make weights` calls this first.

    python benchmarks/judges.py [DATASET …] [--work FOLDER]

Needs the full data sets in the cache. A judge under training is kept in FOLDER (default ~/.cache/gantools/weights)
after each epoch and goes on from there.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample

from gantools import data, runtime
from gantools.data import ImageSet
from gantools.nets import ConvClassifier

BATCH = 128
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


PLANS = {
    "mnist": Plan(epochs=12),
    "fashion-mnist": Plan(epochs=12, degrees=0, zoom=0.05, flips=True),
    "cifar10": Plan(epochs=14, width=48, degrees=0, zoom=0.1, shift=3, flips=True),
    "emnist-letters": Plan(epochs=6),
    "emnist-byclass": Plan(epochs=6),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the judges.")
    parser.add_argument("names", nargs="*", help=f"default: all of {', '.join(PLANS)}")
    parser.add_argument("--work", type=Path, default=data.cache_dir() / "weights")
    arguments = parser.parse_args()
    for name in arguments.names or PLANS:
        if name not in PLANS:
            parser.error(f"there is no plan for {name!r}; choose from {', '.join(PLANS)}")
        train_judge(name, PLANS[name], arguments.work / f"judge-{name}.pt")


def train_judge(name: str, plan: Plan, kept: Path) -> ConvClassifier:
    """The trained network, its weights rounded to float16 as they are shipped."""
    images, test = data.load(name), data.load(name, split="test")
    torch.manual_seed(0)
    network = ConvClassifier(images.images.shape[1:], len(images.classes), plan.width, dropout=0.3)
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    per_epoch = len(images) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=plan.epochs * per_epoch)
    begin = 0
    if kept.exists():
        state = torch.load(kept)
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
            f"{name} epoch {epoch + 1}: loss {total / per_epoch:.4f}, test accuracy {accuracy(network, test):.4f}, {seconds:.0f} s",
            flush=True,
        )
        kept.parent.mkdir(parents=True, exist_ok=True)
        state = {"epoch": epoch + 1, "network": network.state_dict()}
        state |= {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
        torch.save(state, kept.with_suffix(".partial"))
        kept.with_suffix(".partial").replace(kept)
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.copy_(value.half())
    print(f"{name}: {accuracy(network, test):.4f} in float16")
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


@torch.no_grad()
def accuracy(network: nn.Module, images: ImageSet) -> float:
    """The share of images whose class the network names, in eval mode and fp32."""
    network.eval()
    right = sum(
        int((network(x).argmax(1) == y).sum())
        for x, y in zip(images.images.split(500), images.labels.split(500), strict=True)
    )
    return right / len(images)


if __name__ == "__main__":
    main()
