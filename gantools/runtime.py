"""What lies under a training: counts, precision, seeds, order of the images, processes, files, a Ctrl-C that waits."""

import ctypes
import operator
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

import torch
from accelerate import Accelerator
from torch import Tensor, nn

CPU = torch.device("cpu")
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def is_whole(value: object) -> bool:
    """Whether a count is a whole number, Python's, NumPy's or torch's. True is none."""
    try:
        operator.index(value)  # a tensor of 2.5 has the method, and refuses
    except TypeError:
        return False
    return not isinstance(value, bool) and getattr(value, "dtype", None) != torch.bool


def mix_seed(*numbers: int) -> int:
    """One seed of 63 bits from several numbers; neighbours give unrelated ones (splitmix64, Steele et al. 2014)."""
    state = 0
    for number in numbers:
        state = ((state ^ number) + 0x9E3779B97F4A7C15) % 2**64
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % 2**64
        state ^= state >> 31
    return state >> 1


def seed_step(seed: int, device: torch.device) -> None:
    """`torch.manual_seed` for the CPU and this device alone.

    torch's own, called in every step before CUDA has started, stores a stack trace each time: 1 ms and a leak.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        getattr(torch, device.type).manual_seed(seed)


def forked_random(device: torch.device) -> AbstractContextManager:
    """What is drawn inside leaves the random state of the CPU and of this device as it was before.

    torch's own asks every GPU of the machine, and so starts CUDA where nothing else would.
    """
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


@contextmanager
def seeded(seed: int, device: torch.device = CPU) -> Iterator[None]:
    """What is drawn inside on the CPU and this device follows from `seed`, and what is drawn afterwards does not."""
    with forked_random(device):
        seed_step(seed, device)
        yield


def batch_index(count: int, batch: int, seed: int, step: int) -> Tensor:
    """Which of `count` images a step sees, int64 [batch]; each epoch of ⌊count / batch⌋ steps has its own order."""
    epoch, place = divmod(step, count // batch)
    return _order(count, mix_seed(seed, epoch))[place * batch : (place + 1) * batch]


@dataclass(frozen=True)
class Members:
    """The places of the images, class by class: those of the first class that occurs, then of the next."""

    places: Tensor  # int64 [N]
    sizes: Tensor  # int64 [classes that occur]


def by_class(labels: Tensor) -> Members:
    """The members of each class that occurs, from labels [N]: what `balanced_index` draws from."""
    return Members(labels.argsort(stable=True), labels.unique(return_counts=True)[1])


def balanced_index(members: Members, batch: int, seed: int, step: int) -> Tensor:
    """Which images a step sees, int64 [batch], every class in its turn, whatever its size; images with replacement."""
    sizes = members.sizes
    slot = torch.arange(step * batch, (step + 1) * batch) % len(sizes)
    share = torch.rand(batch, generator=torch.Generator().manual_seed(mix_seed(seed, step)))
    place = (share * sizes[slot]).long().clamp(max=sizes[slot] - 1)  # rounding could reach the size itself
    return members.places[(sizes.cumsum(0) - sizes)[slot] + place]


@lru_cache(maxsize=4)
def _order(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def mean_over_processes(accelerator: Accelerator, row: dict[str, float]) -> dict[str, float]:
    """The numbers of a row, averaged over the processes, each of which saw its share of every batch."""
    if accelerator.num_processes == 1 or not row:
        return row
    values = torch.tensor(list(row.values()), dtype=torch.float64, device=accelerator.device)
    return dict(zip(row, accelerator.reduce(values, "mean").tolist(), strict=True))


def mean_buffers(accelerator: Accelerator, networks: Iterable[nn.Module]) -> None:
    """Average the statistics of batch norm over the processes, each of which kept its own."""
    if accelerator.num_processes > 1:
        for buffer in (buffer for network in networks for buffer in network.buffers()):
            if buffer.is_floating_point():
                buffer.copy_(accelerator.reduce(buffer, "mean"))


def resolve_precision(precision: str, device: torch.device) -> str:
    """What `auto` means on this device: "bf16" where the chip multiplies in it, else "fp32".

    That is a CPU with AMX or AVX512-BF16, or a CUDA GPU of compute capability 8.0 and above.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        fast = device.type == "cpu" and cpu_has_bf16()
    return "bf16" if fast else "fp32"


def cpu_has_bf16() -> bool:
    """Whether this CPU has AMX or AVX512-BF16, as torch sees it."""
    # Private names, checked against torch 2.4 to 2.14; without them a run is slower, not wrong.
    checks = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("amx_tile", "avx512_bf16"))
    return any(check() for check in checks if check)


def autocast_for(precision: str, device: torch.device) -> AbstractContextManager:
    """The context in which networks run forward: bf16 where `resolve_precision` says so, else as it is."""
    half = resolve_precision(precision, device) == "bf16"
    return torch.autocast(device.type, torch.bfloat16) if half else nullcontext()


def keep_freed_memory() -> None:
    """Let this process keep the memory that a step frees, for the next step, where the C library is glibc.

    glibc gives large blocks back to the system at once and asks for them again, page by page: a tenth of a step of the
    wider networks on a CPU, or more (`benchmarks/step.py`). The process may then hold as much
    as it ever needed.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return  # another C library
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def deferred_interrupt(enabled: bool = True) -> Iterator[Callable[[], bool]]:
    """Inside, Ctrl-C only makes the yielded function return True; a second Ctrl-C interrupts at once.

    Nothing changes if not `enabled`, or outside the main thread, where signals cannot be caught.
    """
    pressed = False

    def note(number: int, frame: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    if not enabled or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    previous = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write into, which gets the name `path` when it is complete; after an error the old one is there."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        with suppress(OSError):  # there is none, or not even its folder
            partial.unlink()


def write_whole(path: Path, raw: bytes) -> None:
    """Write a file that is there with all of `raw` or, after a crash, as it was before."""
    with whole_file(path) as file:
        file.write(raw)
