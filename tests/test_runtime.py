import platform
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from gantools import runtime

CPU = torch.device("cpu")


def test_mixed_seeds_repeat_and_differ_from_their_neighbours():
    assert runtime.mix_seed(1, 2, 3) == runtime.mix_seed(1, 2, 3)
    seeds = [runtime.mix_seed(seed, step, rank) for seed in range(4) for step in range(4) for rank in range(4)]
    assert len(set(seeds)) == 64


def test_mixed_seeds_fill_63_bits():
    seeds = [runtime.mix_seed(number) for number in range(200)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62
    torch.Generator().manual_seed(max(seeds))


def test_seeding_a_step_is_torchs_own_seeding():
    runtime.seed_step(7, CPU)
    drawn = torch.rand(3)
    torch.manual_seed(7)
    assert torch.equal(drawn, torch.rand(3))


@pytest.mark.parametrize(("has_bf16", "auto"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_bf16_where_the_cpu_multiplies_in_it(monkeypatch, has_bf16, auto):
    monkeypatch.setattr(runtime, "cpu_has_bf16", lambda: has_bf16)
    assert runtime.resolve_precision("auto", CPU) == auto
    assert runtime.resolve_precision("fp32", CPU) == "fp32"
    assert runtime.resolve_precision("bf16", CPU) == "bf16"


def test_auto_is_fp32_on_a_device_that_nobody_checked(monkeypatch):
    monkeypatch.setattr(runtime, "cpu_has_bf16", lambda: True)
    assert runtime.resolve_precision("auto", torch.device("mps")) == "fp32"


@pytest.mark.parametrize(("amx", "avx"), [(False, False), (True, False), (False, True)])
def test_amx_or_avx512_bf16_is_enough(monkeypatch, amx, avx):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx, raising=False)
    assert runtime.cpu_has_bf16() == (amx or avx)


def test_without_torchs_private_names_a_cpu_has_no_bf16(monkeypatch):
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert not runtime.cpu_has_bf16()


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_autocast_multiplies_in_what_was_asked_for(precision, dtype):
    with runtime.autocast_for(precision, CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_the_first_ctrl_c_is_only_noted():
    before = signal.getsignal(signal.SIGINT)
    with runtime.deferred_interrupt() as interrupted:
        assert not interrupted()
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_ctrl_c_interrupts_at_once_and_the_handler_returns():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), runtime.deferred_interrupt():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_disabled_it_leaves_ctrl_c_alone():
    with pytest.raises(KeyboardInterrupt), runtime.deferred_interrupt(enabled=False) as interrupted:
        assert not interrupted()
        signal.raise_signal(signal.SIGINT)


def test_it_works_outside_the_main_thread():
    answers = []

    def work():
        with runtime.deferred_interrupt() as interrupted:
            answers.append(interrupted())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [False]


def test_an_epoch_sees_each_image_once_in_an_order_of_its_own():
    epochs = [torch.cat([runtime.batch_index(20, 5, 0, step) for step in range(first, first + 4)]) for first in (0, 4)]
    assert all(sorted(epoch.tolist()) == list(range(20)) for epoch in epochs)
    assert epochs[0].tolist() != epochs[1].tolist()
    assert not torch.equal(runtime.batch_index(20, 5, 1, 0), runtime.batch_index(20, 5, 0, 0)), "the seed decides"
    assert len(runtime.batch_index(23, 5, 0, 3)) == 5, "the last three images of this epoch are left out"


# Every class alike

LONG_TAIL = torch.tensor([0] * 25 + [1] * 10 + [2] * 4 + [5])[
    torch.randperm(40, generator=torch.Generator().manual_seed(0))
]


def test_the_places_of_each_class_that_occurs():
    members = runtime.by_class(torch.tensor([3, 0, 3, 3, 0, 7]))
    assert members.places.tolist() == [1, 4, 0, 2, 3, 5]
    assert members.sizes.tolist() == [2, 3, 1]
    assert runtime.by_class(LONG_TAIL).sizes.tolist() == [25, 10, 4, 1]


@pytest.mark.parametrize("batch", [1, 4, 7, 8, 10])
def test_every_class_is_met_equally_often_to_one_image_over_any_steps_in_a_row(batch):
    members = runtime.by_class(LONG_TAIL)
    met = [LONG_TAIL[runtime.balanced_index(members, batch, 0, step)] for step in range(30)]
    assert all(len(labels) == batch for labels in met)
    for first in range(30):
        for last in range(first, 30):
            seen = torch.cat(met[first : last + 1]).bincount(minlength=6)
            assert not seen[[3, 4]].any()
            assert seen[[0, 1, 2, 5]].max() - seen[[0, 1, 2, 5]].min() <= 1


def test_a_balanced_batch_reaches_every_image_and_those_of_a_class_equally_often():
    members = runtime.by_class(LONG_TAIL)
    index = torch.cat([runtime.balanced_index(members, 8, 0, step) for step in range(1_000)])
    assert index.dtype == torch.int64
    met = index.bincount(minlength=40)
    assert len(met) == 40
    for places in members.places.split(members.sizes.tolist()):
        share = 2_000 / len(places)
        assert (met[places] - share).abs().max() < 5 * share**0.5


def test_a_balanced_batch_follows_seed_and_step_alone():
    members = runtime.by_class(torch.arange(400) % 4)
    once = [runtime.balanced_index(members, 8, 3, step) for step in range(20)]
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert torch.equal(runtime.balanced_index(members, 8, 3, 17), once[17])
    assert torch.equal(torch.get_rng_state(), before)
    assert len({tuple(index.tolist()) for index in once}) == 20
    others = [runtime.balanced_index(members, 8, 4, step) for step in range(20)]
    assert not any(torch.equal(one, other) for one, other in zip(once, others, strict=True))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is asked")
@pytest.mark.parametrize("kept", [False, True])
def test_memory_that_was_freed_is_there_for_the_next_only_when_it_is_kept(kept):
    megabytes, page = 64, 4096
    code = f"""
import resource, torch
from gantools.runtime import keep_freed_memory
{"keep_freed_memory()" if kept else ""}
def touch():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros({megabytes} * 2**18).fill_(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print([touch() for _ in range(6)][-1])
"""
    faults = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)
    assert (faults < 100) if kept else (faults > megabytes * 2**20 / page / 2)


@pytest.mark.parametrize("absent", [OSError, AttributeError])
def test_where_the_c_library_is_another_nothing_is_asked(monkeypatch, absent):
    class Library:
        def __init__(self, name):
            if absent is OSError:
                raise OSError(name)

    monkeypatch.setattr(runtime.ctypes, "CDLL", Library)
    runtime.keep_freed_memory()


def test_outside_linux_no_library_is_opened(monkeypatch):
    monkeypatch.setattr(runtime.sys, "platform", "darwin")
    monkeypatch.setattr(runtime.ctypes, "CDLL", lambda name: pytest.fail(f"opened {name}"))
    runtime.keep_freed_memory()


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "weights"
    runtime.write_whole(path, b"old")
    with pytest.raises(OSError, match="No space"), runtime.whole_file(path) as file:
        file.write(b"ne")
        raise OSError(28, "No space left on device")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    runtime.write_whole(path, b"new")
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


def test_a_mixed_seed_is_what_it_always_was():
    """The first number of splitmix64 from 0, as published: with others no run could be repeated."""
    assert runtime.mix_seed(0) == 0xE220A8397B1DCDAF >> 1


@pytest.mark.parametrize(
    ("value", "whole"),
    [
        (3, True),
        (np.int64(3), True),
        (True, False),
        (3.0, False),
        ("3", False),
        (torch.tensor(3), True),
        (torch.tensor(2.5), False),
        (torch.tensor(True), False),
        (np.array([3, 4]), False),
        (int, False),
    ],
)
def test_a_count_is_whole(value, whole):
    assert runtime.is_whole(value) == whole


def test_a_fork_gives_the_random_state_back():
    before = torch.get_rng_state()
    with runtime.forked_random(torch.device("cpu")):
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
