"""How long an epoch of `mlp-gan` takes: ours against the common way of writing it.

    python benchmarks/throughput.py [--threads 1] [--rounds 10] [--images 10000]

The common way: a DataLoader over torchvision's MNIST with ToTensor and Normalize, fp32, layers and Adam as torch
brings them, D's two halves one after the other, new noise for each player. Same networks, same batch. The contenders
take turns in one process, so that a busy machine slows all of them; the ratio is the result, not the milliseconds.
"""

import argparse
import platform
import statistics
import struct
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from gantools import catalogue, data, recipes, train
from gantools.data import ImageSet


def write_idx(digits: ImageSet, root: Path) -> None:
    """The images as the files that torchvision's MNIST reads."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels, labels = data.to_uint8(digits.images).numpy(), digits.labels.numpy().astype("uint8")
    for split in ("train", "t10k"):
        header = struct.pack(">4I", 2051, len(pixels), *pixels.shape[2:])
        (raw / f"{split}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 2049, len(labels)) + labels.tobytes())


def hidden_layers(*sizes: int) -> list[nn.Module]:
    """Linear, LeakyReLU and dropout from each size to the next."""
    return [
        layer
        for before, after in pairwise(sizes)
        for layer in (nn.Linear(before, after), nn.LeakyReLU(0.2), nn.Dropout(0.3))
    ]


def common_way(root: Path, batch: int) -> Callable[[], int]:
    """One epoch as tutorials write it; returns the number of steps."""
    scale = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
    loader = DataLoader(datasets.MNIST(root, transform=scale), batch, shuffle=True, drop_last=True)
    generator = nn.Sequential(*hidden_layers(100, 32, 64, 128), nn.Linear(128, 784), nn.Tanh())
    discriminator = nn.Sequential(nn.Flatten(), *hidden_layers(784, 128, 64, 32), nn.Linear(32, 1))
    for theirs, ours in zip((generator, discriminator), catalogue.MLP_GAN.build(), strict=True):
        assert [p.shape for p in theirs.parameters()] == [p.shape for p in ours.parameters()]
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=0.002)
    d_optimizer = torch.optim.Adam(discriminator.parameters(), lr=0.002)
    criterion = nn.BCEWithLogitsLoss()

    def epoch() -> int:
        d_losses, g_losses = [], []
        for x_real, _ in loader:
            d_optimizer.zero_grad()
            real_logits = discriminator(x_real)
            d_real_loss = criterion(real_logits, torch.ones_like(real_logits))
            z = torch.rand(batch, 100) * 2 - 1
            with torch.no_grad():
                x_fake = generator(z).view(-1, 1, 28, 28)
            fake_logits = discriminator(x_fake)
            d_loss = d_real_loss + criterion(fake_logits, torch.zeros_like(fake_logits))
            d_loss.backward()
            d_optimizer.step()

            g_optimizer.zero_grad()
            z = torch.rand(batch, 100) * 2 - 1
            fake_logits = discriminator(generator(z).view(-1, 1, 28, 28))
            g_loss = criterion(fake_logits, torch.ones_like(fake_logits))
            g_loss.backward()
            g_optimizer.step()
            d_losses.append(d_loss.item())
            g_losses.append(g_loss.item())
        return len(d_losses)

    return epoch


def our_way(digits: ImageSet, **changes: object) -> Callable[[], int]:
    """One epoch of `train.fit`; returns the number of steps."""
    recipe = recipes.get("mlp-gan", epochs=1, **changes)
    return lambda: train.fit(recipe, digits).step


def main() -> None:
    parser = argparse.ArgumentParser(description="Time an epoch of mlp-gan, ours against the common way.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--images", type=int, default=10_000)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    digits = data.load("mnist", limit=options.images)
    with tempfile.TemporaryDirectory() as folder:
        write_idx(digits, Path(folder))
        contenders = {
            "the common way": common_way(Path(folder), catalogue.MLP_GAN.batch),
            "gantools, fresh fakes (as published)": our_way(digits),
            "gantools, D's fakes reused": our_way(digits, fresh_fakes=False),
        }
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for round_number in range(options.rounds + 1):
            for name, epoch in contenders.items():
                started = perf_counter()
                steps = epoch()
                if round_number:  # the first round warms up
                    times[name].append(1000 * (perf_counter() - started) / steps)
    print(f"{platform.processor() or platform.machine()}, {cpu_name()}, torch {torch.__version__}")
    print(f"{options.threads} thread(s), {options.images:,} images, {options.rounds} rounds")
    base = times["the common way"]
    for name, steps_ms in times.items():
        ratios = [common / ours for common, ours in zip(base, steps_ms, strict=True)]
        print(f"{name:38} {statistics.median(steps_ms):6.2f} ms a step   {statistics.median(ratios):4.2f} x")


def cpu_name() -> str:
    """The processor's own name, where Linux tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.system()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")


if __name__ == "__main__":
    main()
