import functools
import gzip
import hashlib
import http.client
import http.server
import os
import pathlib
import socket
import subprocess
import sys
import threading
import types
import zipfile
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision

from gantools import data, download
from gantools.data import DataError, ImageSet

TRAIN_COUNTS = [1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978]
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def arrays(count=6, shape=(1, 28, 28), classes=3, seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)
    return images, np.arange(count) % classes


def in_cache(name, split="train", **changes):
    return data.save(data.cache_dir() / name / f"{split}.npz", *arrays(**changes))


# Scaling


def test_scaling_there_and_back_changes_none_of_the_256_values():
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(data.to_uint8(data.from_uint8(pixels)), pixels)


def test_black_is_minus_one_and_white_is_one():
    scaled = data.from_uint8(np.array([0, 255], np.uint8))
    assert scaled.tolist() == [-1, 1]
    assert scaled.dtype == torch.float32


def test_scaling_twice_is_refused_in_both_directions():
    pixels = torch.zeros(2, dtype=torch.uint8)
    with pytest.raises(TypeError, match="uint8"):
        data.from_uint8(data.from_uint8(pixels))
    with pytest.raises(TypeError, match="float"):
        data.to_uint8(pixels)


def test_to_uint8_rounds_and_clips():
    middle = -1 + 100.6 / 127.5
    assert data.to_uint8(torch.tensor([-3.0, middle, 7.0])).tolist() == [0, 101, 255]


# Loading


@pytest.mark.parametrize(("split", "counts"), [("train", TRAIN_COUNTS), ("test", TEST_COUNTS)])
def test_bundled_mnist_is_there_without_a_cache(split, counts):
    digits = data.load("mnist", split)
    assert digits.images.shape == (10_000, 1, 28, 28)
    assert digits.images.dtype == torch.float32
    assert (digits.images.min(), digits.images.max()) == (-1, 1)
    assert digits.labels.dtype == torch.int64
    assert digits.labels.bincount().tolist() == counts
    assert digits.classes == tuple("0123456789")


@pytest.mark.parametrize(("name", "shape"), [("fashion-mnist", (1, 28, 28)), ("cifar10", (3, 32, 32))])
def test_bundled_parts_have_every_class_in_both_splits(name, shape):
    for split in data.SPLITS:
        part = data.load(name, split)
        assert part.images.shape[1:] == shape
        assert part.labels.bincount().min() > 50
        assert len(part.labels.unique()) == len(part.classes) == 10


def test_a_bundled_part_says_in_one_line_that_it_is_one(capsys):
    data.load("mnist")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert "mnist/train" in lines[0]
    assert "part" in lines[0]
    assert "python -m gantools data mnist" in lines[0]


def test_the_whole_test_set_and_the_cache_load_in_silence(capsys):
    in_cache("mnist")
    data.load("mnist", "test")
    data.load("mnist", "train")
    assert capsys.readouterr().out == ""


def test_the_cache_is_preferred_to_the_bundled_part():
    in_cache("mnist", count=6)
    assert len(data.load("mnist")) == 6


def test_limit_keeps_the_first_images_in_file_order():
    whole, part = data.load("mnist"), data.load("mnist", limit=70)
    assert torch.equal(part.images, whole.images[:70])
    assert torch.equal(part.labels, whole.labels[:70])


@pytest.mark.parametrize("limit", [10_001, 0, -1])
def test_a_limit_that_the_file_cannot_give_is_refused(limit):
    with pytest.raises(DataError, match=rf"limit={limit}, but the file has 10,000 images \(the bundled part"):
        data.load("mnist", limit=limit)


def test_per_class_takes_as_many_of_each_in_file_order():
    whole = data.load("mnist", "test", limit=500)
    part = data.load("mnist", "test", limit=500, per_class=3, seed=1)
    assert part.labels.bincount().tolist() == [3] * 10
    places = [next(i for i, image in enumerate(whole.images) if torch.equal(image, drawn)) for drawn in part.images]
    assert places == sorted(set(places))
    assert torch.equal(part.labels, whole.labels[places])


def test_per_class_follows_the_seed_and_a_small_draw_lies_in_a_larger_one():
    digits = data.load("mnist", "test")
    small, again, large, other = (digits.stratified(n, seed) for n, seed in ((4, 1), (4, 1), (9, 1), (4, 2)))
    assert small.digest() == again.digest()
    assert small.digest() != other.digest()
    in_large = {image.numpy().tobytes() for image in large.images}
    assert all(image.numpy().tobytes() in in_large for image in small.images)


@pytest.mark.parametrize("per_class", [5, 0])
def test_per_class_beyond_the_smallest_class_is_refused(tiny, per_class):
    with pytest.raises(DataError, match=rf"tiny: per_class={per_class}, but class 0 \(0\) has 4 images"):
        tiny.stratified(per_class)


@pytest.mark.parametrize("per_class", [2.5, True])
def test_per_class_is_a_whole_number(tiny, per_class):
    with pytest.raises(DataError, match=f"per_class={per_class} must be a whole number"):
        tiny.stratified(per_class)


def test_own_set_by_path_has_its_stem_as_name_and_its_labels_as_classes(tmp_path):
    images, labels = arrays(shape=(3, 40, 32), classes=4)
    own = data.load(data.save(tmp_path / "leaves.npz", images, labels))
    assert own.name == "leaves"
    assert own.classes == ("0", "1", "2", "3")
    assert np.array_equal(data.to_uint8(own.images), images)
    assert own.labels.tolist() == labels.tolist()


@pytest.mark.parametrize("name", ["mnist.npz", "ring.npz", "glyphs-letters.npz"])
def test_own_set_does_not_pass_for_a_known_one(tmp_path, name):
    assert data.load(data.save(tmp_path / name, IMAGES, LABELS)).name == name


def test_own_set_by_name_in_the_cache():
    in_cache("leaves", "train", count=5)
    in_cache("leaves", "test", count=4)
    assert (len(data.load("leaves")), len(data.load("leaves", "test"))) == (5, 4)
    assert data.load("leaves").name == "leaves"


def test_a_dot_is_part_of_the_name_of_a_set_in_the_cache():
    in_cache("leaves-v1.2", "train", count=5)
    assert data.load("leaves-v1.2").name == "leaves-v1.2"


def test_labels_of_any_integer_type_load_as_int64(tmp_path):
    np.savez(tmp_path / "own.npz", images=arrays()[0], labels=arrays()[1].astype(np.uint8))
    assert data.load(tmp_path / "own.npz").labels.dtype == torch.int64


def test_indexing_keeps_images_and_labels_together(tiny):
    part = tiny[torch.tensor([7, 3])]
    assert torch.equal(part.images, torch.stack([tiny.images[7], tiny.images[3]]))
    assert part.labels.tolist() == [7, 3]
    assert len(tiny[:5]) == 5
    assert part.classes == tiny.classes


def test_of_class_gives_one_class_only_and_refuses_others(tiny):
    assert tiny.of_class(3).labels.tolist() == [3] * 4
    for label in (10, -1):
        with pytest.raises(ValueError, match=rf"class {label} does not exist: tiny has the classes 0 to 9"):
            tiny.of_class(label)


def test_the_digest_follows_pixels_labels_and_shape(tiny):
    digest = tiny.digest()
    assert tiny[:].digest() == digest
    pixels, labels = tiny.images.clone(), tiny.labels.clone()
    pixels[0, 0, 0, 0] *= -1
    labels[0] = 5
    others = [
        ImageSet(pixels, tiny.labels, tiny.classes, "tiny"),
        ImageSet(tiny.images, labels, tiny.classes, "tiny"),
        ImageSet(tiny.images.transpose(0, 1).reshape(40, 1, 14, 56), tiny.labels, tiny.classes, "tiny"),
    ]
    assert len({digest, *(other.digest() for other in others)}) == 4


# Classes of unequal size


@pytest.fixture
def unequal(make_set):
    """Classes of 10, 30, 20 and 40 images."""
    labels = torch.tensor([0] * 10 + [1] * 30 + [2] * 20 + [3] * 40)
    return ImageSet(make_set(100).images, labels, tuple("abcd"), "unequal")[torch.randperm(100)]


def test_class_counts_has_a_place_for_every_class(unequal):
    counts = unequal.class_counts()
    assert (counts.tolist(), counts.dtype) == ([10, 30, 20, 40], torch.int64)
    assert unequal[unequal.labels < 2].class_counts().tolist() == [10, 30, 0, 0]
    assert data.ring(80).class_counts().tolist() == [10] * 8


def test_cutting_to_the_smallest_is_the_stratified_draw_of_its_size(unequal):
    cut = unequal.cut_to_smallest(seed=1)
    assert cut.class_counts().tolist() == [10] * 4
    assert cut.digest() == unequal.stratified(10, seed=1).digest()
    assert cut.digest() != unequal.cut_to_smallest(seed=2).digest()


def test_sizes_of_a_long_tail_fall_geometrically(make_set):
    even = make_set(400, classes=4)
    assert even.long_tail(8).class_counts().tolist() == [100, 50, 25, 12]  # 12.5 rounds to even
    assert even.long_tail(1).class_counts().tolist() == [100] * 4
    assert even.long_tail(64).class_counts().tolist() == [100, 25, 6, 2]


def test_a_long_tail_of_ten_digits_has_the_asked_ratio_and_a_constant_step():
    sizes = data.load("mnist").long_tail(10).class_counts().double()
    assert sizes[0] == 1001  # all of the first class
    assert sizes[9] == 100
    assert torch.allclose(sizes[:-1] / sizes[1:], torch.full((9,), 10 ** (1 / 9), dtype=torch.float64), rtol=0.01)


def test_the_first_class_gives_way_where_a_later_one_cannot_follow(make_set, unequal):
    labels = torch.tensor([0] * 40 + [1] * 5 + [2] * 40 + [3] * 40)
    narrow = ImageSet(make_set(125).images, labels, tuple("abcd"), "narrow")
    assert narrow.long_tail(8).class_counts().tolist() == [10, 5, 2, 1]
    assert unequal.long_tail(1).class_counts().tolist() == [10] * 4


def test_a_long_tail_follows_its_seed_and_keeps_the_order_and_a_steeper_one_lies_within(make_set):
    even = make_set(400, classes=4)
    one, again, other = (even.long_tail(4, seed) for seed in (1, 1, 2))
    assert one.digest() == again.digest() != other.digest()
    kept = {image.numpy().tobytes() for image in one.images}
    assert all(image.numpy().tobytes() in kept for image in even.long_tail(8, 1).images)
    places = [next(i for i, image in enumerate(even.images) if torch.equal(image, drawn)) for drawn in one.images]
    assert places == sorted(places)
    assert torch.equal(one.labels, even.labels[places])


@pytest.mark.parametrize("ratio", [0.5, 0, -3, float("nan"), float("inf")])
def test_a_ratio_below_one_is_refused(tiny, ratio):
    with pytest.raises(DataError, match=rf"long_tail\({ratio}\): .*from 1 up"):
        tiny.long_tail(ratio)


def test_a_ratio_that_leaves_a_class_without_images_is_refused(tiny):
    with pytest.raises(DataError, match=r"tiny: long_tail\(100\) leaves no image of class 5 \(5\), as class 0 keeps 4"):
        tiny.long_tail(100)


@pytest.mark.parametrize("cut", [lambda part: part.cut_to_smallest(), lambda part: part.long_tail(2)])
def test_a_class_without_images_cannot_be_cut_to(tiny, cut):
    with pytest.raises(DataError, match=r"tiny: class 3 \(3\) has no images"):
        cut(tiny[tiny.labels != 3])


def test_found_tells_cache_part_and_missing():
    in_cache("emnist-letters", "train")
    in_cache("fashion-mnist", "train")
    in_cache("fashion-mnist", "test")
    places = data.found()
    assert places["mnist"] == "bundled part"
    assert places["fashion-mnist"] == "cache"
    assert places["emnist-letters"] == "missing"  # one split of two


# The ring


def test_the_centres_of_the_ring_are_eight_corners_of_a_circle():
    centres = data.ring_centres()
    assert centres.shape == (8, 2)
    torch.testing.assert_close(centres.norm(dim=1), torch.full((8,), 0.75))
    torch.testing.assert_close(centres[[0, 2]], torch.tensor([[0.75, 0.0], [0.0, 0.75]]))  # counter-clockwise
    torch.testing.assert_close(centres[1], torch.full((2,), 0.75 * 0.5**0.5))
    torch.testing.assert_close(centres[:4], -centres[4:])


def test_the_points_of_the_ring_lie_around_the_centres_in_turn():
    ring = data.ring(16_000)
    assert (ring.images.shape, ring.images.dtype) == ((16_000, 2), torch.float32)
    assert ring.labels.tolist() == list(range(8)) * 2_000
    assert (ring.classes, ring.name) == (tuple("01234567"), "ring")
    for label, centre in enumerate(data.ring_centres()):
        points = ring.of_class(label).images
        torch.testing.assert_close(points.mean(0), centre, atol=0.005, rtol=0)
        torch.testing.assert_close(points.std(0), torch.full((2,), 0.05), atol=0.004, rtol=0)
        assert abs(points.T.corrcoef()[0, 1]) < 0.1


def test_the_ring_follows_its_seed_and_leaves_the_global_one_alone():
    before = torch.get_rng_state()
    one, again, other = (data.ring(100, seed) for seed in (1, 1, 2))
    assert torch.equal(one.images, again.images)
    assert not (one.images == other.images).any()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_ring_is_loaded_by_name_without_a_file_and_in_silence(capsys):
    train, test = (data.load("ring", split) for split in data.SPLITS)
    assert len(train) == len(test) == 10_000
    assert torch.equal(train.images, data.load("ring").images)
    assert not (train.images == test.images).any()
    assert capsys.readouterr().out == ""
    assert list(data.cache_dir().iterdir()) == []


def test_the_ring_can_be_shorter_and_drawn_by_class():
    assert len(data.load("ring", limit=9)) == 9
    part = data.load("ring", limit=80, per_class=3, seed=1)
    assert part.labels.bincount().tolist() == [3] * 8
    whole = {tuple(point) for point in data.load("ring", limit=80).images.tolist()}
    assert all(tuple(point) in whole for point in part.images.tolist())
    with pytest.raises(DataError, match=r"ring: per_class=11, but class 0 \(0\) has 10"):
        data.load("ring", limit=80, per_class=11)


@pytest.mark.parametrize("count", [0, -1])
def test_a_ring_of_no_points_is_refused(count):
    with pytest.raises(DataError, match=f"{count}.*at least one"):
        data.ring(count)


def test_the_digest_of_a_ring_follows_its_seed_and_its_length():
    digests = [data.ring(count, seed).digest() for count, seed in ((80, 0), (80, 0), (80, 1), (88, 0))]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


# Bad input: each error names the file, what was expected and what was found

IMAGES, LABELS = arrays()
BAD = {
    "no labels": ({"images": IMAGES}, "`images` and `labels`", "['images']"),
    "other keys": ({"x": IMAGES, "y": LABELS}, "`images` and `labels`", "['x', 'y']"),
    "float images": ({"images": IMAGES.astype(np.float32), "labels": LABELS}, "uint8", "float32"),
    "no channel axis": ({"images": IMAGES[:, 0], "labels": LABELS}, "[N, C, H, W]", "[6, 28, 28]"),
    "channels last": ({"images": np.zeros((6, 28, 28, 3), np.uint8), "labels": LABELS}, "1 or 3", "[6, 28, 28, 3]"),
    "two channels": ({"images": np.zeros((6, 2, 28, 28), np.uint8), "labels": LABELS}, "1 or 3", "[6, 2, 28, 28]"),
    "too small": ({"images": np.zeros((6, 1, 28, 27), np.uint8), "labels": LABELS}, "28 to 64 pixels", "28x27"),
    "too large": ({"images": np.zeros((6, 1, 65, 28), np.uint8), "labels": LABELS}, "28 to 64 pixels", "65x28"),
    "float labels": ({"images": IMAGES, "labels": LABELS.astype(np.float64)}, "int64", "float64"),
    "text labels": ({"images": IMAGES, "labels": np.array(list("abcdef"))}, "int64", "<U1"),
    "negative label": ({"images": IMAGES, "labels": LABELS - 1}, "from 0", "-1 to 1"),
    "fewer labels": ({"images": IMAGES, "labels": LABELS[:5]}, "[6]", "[5]"),
    "one-hot labels": ({"images": IMAGES, "labels": np.eye(6, dtype=int)}, "[6]", "[6, 6]"),
    "empty": ({"images": IMAGES[:0], "labels": LABELS[:0]}, "at least one", "[0]"),
}


@pytest.mark.parametrize(("content", "expected", "found"), BAD.values(), ids=BAD.keys())
def test_a_file_out_of_format_is_refused(tmp_path, content, expected, found):
    path = tmp_path / "own.npz"
    np.savez_compressed(path, **content)
    with pytest.raises(DataError) as refusal:
        data.load(path)
    for part in (str(path), expected, found):
        assert part in str(refusal.value)


def test_the_first_of_each_class_are_sorted_and_as_many_as_there_are(make_set):
    images = make_set(count=9, classes=2)
    some = images.first_of_each([2, 7])
    assert torch.equal(some.images, images.images[[0, 2, 1, 3, 5, 7]])
    assert some.labels.tolist() == [0, 0, 1, 1, 1, 1]


def test_more_arrays_are_kept_in_the_file_and_left_alone_by_load(tmp_path):
    pixels, labels = np.zeros((3, 1, 28, 28), np.uint8), np.arange(3)
    path = data.save(tmp_path / "own.npz", pixels, labels, generated=np.array([False, True, True]))
    assert len(data.load(path)) == 3
    with np.load(path) as archive:
        assert archive["generated"].tolist() == [False, True, True]


def test_save_refuses_what_load_would_refuse_and_writes_nothing(tmp_path):
    with pytest.raises(DataError, match="uint8"):
        data.save(tmp_path / "own.npz", IMAGES.astype(float), LABELS)
    assert list(tmp_path.iterdir()) == []


def test_a_label_beyond_the_known_classes_is_refused():
    path = data.save(data.cache_dir() / "mnist" / "train.npz", IMAGES, LABELS + 8)
    with pytest.raises(DataError, match="0 to 9") as refusal:
        data.load("mnist")
    assert str(path) in str(refusal.value)
    assert "8 to 10" in str(refusal.value)


def text_file(path):
    path.write_text("not an archive")


def object_arrays(path):
    np.savez(path, images=np.array([None, {}], dtype=object), labels=LABELS)


def plain_npy(path):
    with path.open("wb") as file:
        np.save(file, IMAGES)


@pytest.mark.parametrize("write", [text_file, object_arrays, plain_npy, pathlib.Path.touch, pathlib.Path.mkdir])
def test_what_is_no_archive_of_two_arrays_is_refused(tmp_path, write):
    path = tmp_path / "own.npz"
    write(path)
    with pytest.raises(DataError, match=r"not a readable \.npz archive") as refusal:
        data.load(path)
    assert str(path) in str(refusal.value)
    assert "unsafe" not in str(refusal.value)


def test_an_archive_of_other_files_is_refused(tmp_path):
    path = tmp_path / "own.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", "no array")
        archive.writestr("labels.npy", "no array")
    with pytest.raises(DataError) as refusal:
        data.load(path)
    assert str(path) in str(refusal.value)


def test_a_truncated_archive_is_refused_wherever_it_ends(tmp_path):
    path = data.save(tmp_path / "own.npz", np.zeros_like(IMAGES), LABELS)
    whole = path.read_bytes()
    for length in range(0, len(whole), 5):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"not a readable \.npz archive"):
            data.load(path)


def save_as_bundled(path, **arrays):
    """An archive packed as the bundled images are: `tools/bundle.py`."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for key, array in arrays.items():
            with archive.open(f"{key}.npy", "w") as file:
                np.lib.format.write_array(file, array)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed, save_as_bundled])
def test_a_damaged_byte_is_refused_or_harmless_and_never_anything_else(tmp_path, write):
    path = tmp_path / "own.npz"
    write(path, images=np.zeros((2, 1, 28, 28), np.uint8), labels=np.arange(2))
    good, before = path.read_bytes(), data.load(path).digest()
    refused = 0
    for place in range(0, len(good), 2):
        path.write_bytes(good[:place] + bytes([good[place] ^ 0x55]) + good[place + 1 :])
        try:
            assert data.load(path).digest() == before
        except DataError:
            refused += 1
    assert refused > len(good) / 20  # the other bytes are dates, lengths kept twice, and the like


def test_a_missing_path_and_an_unknown_name_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.npz does not exist"):
        data.load(tmp_path / "nowhere.npz")
    with pytest.raises(DataError, match=r"no data set 'mnst': known are mnist, .*your own in") as refusal:
        data.load("mnst")
    assert str(data.cache_dir()) in str(refusal.value)


def test_a_known_set_that_is_not_here_names_the_command_that_fetches_it():
    with pytest.raises(DataError, match="python -m gantools data emnist-letters") as refusal:
        data.load("emnist-letters")
    assert str(data.cache_dir()) in str(refusal.value)


def test_a_split_that_does_not_exist_is_refused():
    with pytest.raises(DataError, match="'validation': choose one of train, test"):
        data.load("mnist", "validation")


# Writing


def test_a_save_that_dies_half_way_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(DataError, match=r"cannot write .*own\.npz: No space left") as refusal:
        data.save(tmp_path / "own.npz", IMAGES, LABELS)
    assert "GANTOOLS_DATA" in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_a_save_that_dies_half_way_leaves_the_old_file_as_it_was(tmp_path, monkeypatch):
    path = data.save(tmp_path / "own.npz", IMAGES, LABELS)
    before = path.read_bytes()
    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(DataError):
        data.save(path, IMAGES[::-1], LABELS)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_who_reads_the_old_file_while_it_is_replaced_reads_it_whole(tmp_path):
    path = data.save(tmp_path / "own.npz", IMAGES, LABELS)
    before = path.read_bytes()
    with path.open("rb") as reader:
        data.save(path, IMAGES[::-1], LABELS)
        assert reader.read() == before
    assert path.read_bytes() != before


def full_disk(file, **arrays):
    file.write(b"PK and a little more")
    raise OSError(28, "No space left on device")


# Permission bits do not stop an administrator, so the folder is one that nobody can make.
def test_saving_where_no_folder_can_be_is_one_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write") as refusal:
        data.save(tmp_path / "file" / "cache" / "own.npz", IMAGES, LABELS)
    assert str(tmp_path / "file" / "cache" / "own.npz") in str(refusal.value)


def under_a_file(folder):
    (folder / "file").touch()
    return folder / "file" / "cache"


def dangling_link(folder):
    (folder / "cache").symlink_to(folder / "gone" / "cache")
    return folder / "cache"


# The link stands for a cache folder that is still to be made, below one that may not be written.
@pytest.mark.parametrize("bad_place", [under_a_file, dangling_link])
def test_downloading_into_a_cache_that_cannot_be_written_says_so(tmp_path, monkeypatch, bad_place):
    monkeypatch.setenv("GANTOOLS_DATA", str(bad_place(tmp_path)))
    with pytest.raises(DataError, match="cannot write") as refusal:
        data.download("mnist")
    assert str(data.cache_dir()) in str(refusal.value)
    assert "GANTOOLS_DATA" in str(refusal.value)


def test_the_default_cache_is_in_the_home_folder(monkeypatch):
    monkeypatch.delenv("GANTOOLS_DATA")
    assert data.cache_dir() == pathlib.Path("~/.cache/gantools").expanduser()


# Downloading: torchvision itself, fetching small files of its format from a server in this process


def idx(array):
    """An array in the format of the MNIST files."""
    return b"\x00\x00\x08" + bytes([array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A mirror of a small MNIST; returns its arrays."""
    content = {
        "train-images-idx3-ubyte": arrays(12, seed=1)[0][:, 0],
        "train-labels-idx1-ubyte": arrays(12, classes=10)[1].astype(np.uint8),
        "t10k-images-idx3-ubyte": arrays(5, seed=2)[0][:, 0],
        "t10k-labels-idx1-ubyte": arrays(5, classes=10)[1].astype(np.uint8),
    }
    resources = []
    for name, array in content.items():
        raw = gzip.compress(idx(array))
        (tmp_path / f"{name}.gz").write_bytes(raw)
        resources.append((f"{name}.gz", hashlib.md5(raw, usedforsecurity=False).hexdigest()))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    handler = functools.partial(Quiet, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield content
        server.shutdown()


def assert_is_small_mnist(content):
    for split, prefix in (("train", "train"), ("test", "t10k")):
        fetched = data.load("mnist", split)
        assert np.array_equal(data.to_uint8(fetched.images)[:, 0], content[f"{prefix}-images-idx3-ubyte"])
        assert np.array_equal(fetched.labels, content[f"{prefix}-labels-idx1-ubyte"])


def test_download_fills_the_cache_and_leaves_nothing_else_there(mirror):
    folder = data.download("mnist")
    assert folder == data.cache_dir() / "mnist"
    assert sorted(path.name for path in folder.iterdir()) == ["test.npz", "train.npz"]
    assert_is_small_mnist(mirror)


def test_load_downloads_only_when_asked_and_only_what_is_missing(mirror, monkeypatch):
    assert len(data.load("mnist")) == 10_000
    assert len(data.load("mnist", download=True)) == 12
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [])
    assert len(data.load("mnist", download=True)) == 12


def test_an_older_archive_in_the_cache_is_not_taken_for_the_download(mirror):
    stale = data.cache_dir() / "mnist" / "MNIST" / "raw"
    stale.mkdir(parents=True)
    for name, array in mirror.items():
        (stale / name).write_bytes(idx(array[:1]))
    data.download("mnist")
    assert_is_small_mnist(mirror)


def wrong_checksum(monkeypatch):
    names = [name for name, _ in torchvision.datasets.MNIST.resources]
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", [(name, "0" * 32) for name in names])


def unreachable(monkeypatch):
    with socket.socket() as taken:  # a port that nobody answers
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/"
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [address])


def not_found(monkeypatch):
    elsewhere = [mirror + "elsewhere/" for mirror in torchvision.datasets.MNIST.mirrors]
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", elsewhere)


@pytest.mark.parametrize("fault", [wrong_checksum, unreachable, not_found])
def test_a_failed_download_says_what_was_tried_and_where_to_put_the_file(mirror, monkeypatch, fault):
    fault(monkeypatch)
    with pytest.raises(DataError, match="downloading mnist with torchvision failed") as refusal:
        data.download("mnist")
    folder = data.cache_dir() / "mnist"
    for part in (f"Tried {torchvision.datasets.MNIST.mirrors[0]}", "train.npz and test.npz", f"into {folder}"):
        assert part in str(refusal.value)
    assert list(folder.iterdir()) == []


def test_a_failed_download_names_the_servers_of_its_own_set(tmp_path):
    """torchvision's EMNIST inherits the mirrors of MNIST, and asks none of them."""
    told = download.by_hand("emnist-letters", tmp_path, OSError("no network"))
    assert torchvision.datasets.EMNIST.url in told
    assert torchvision.datasets.MNIST.mirrors[0] not in told


def test_a_failed_download_keeps_the_cache_of_before(mirror, monkeypatch):
    data.download("mnist")
    wrong_checksum(monkeypatch)
    with pytest.raises(DataError):
        data.download("mnist")
    assert_is_small_mnist(mirror)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("every mirror failed"),
        URLError("no route to host"),
        TimeoutError("timed out"),
        http.client.BadStatusLine("<html>please log in</html>"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_stops_a_download_is_a_data_error(monkeypatch, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(torchvision.datasets, "EMNIST", fail)
    with pytest.raises(DataError, match="downloading emnist-letters with torchvision failed") as refusal:
        data.download("emnist-letters")
    assert str(error) in str(refusal.value)


def test_only_known_sets_can_be_downloaded():
    with pytest.raises(DataError, match="cannot download 'leaves': known sets are mnist"):
        data.download("leaves")


@pytest.mark.parametrize(("name", "first_label"), [("emnist-letters", 1), ("emnist-byclass", 0)])
def test_emnist_is_turned_upright_and_its_labels_start_at_0(monkeypatch, name, first_label):
    upright, labels = arrays(8, classes=4)
    stored = torch.from_numpy(upright[:, 0]).transpose(1, 2)

    def emnist(root, split, train, download):
        assert (split, download) == (name.removeprefix("emnist-"), True)
        part = slice(5) if train else slice(5, 8)
        return types.SimpleNamespace(data=stored[part], targets=torch.from_numpy(labels[part] + first_label))

    monkeypatch.setattr(torchvision.datasets, "EMNIST", emnist)
    data.download(name)
    for split, part in (("train", slice(5)), ("test", slice(5, 8))):
        letters = data.load(name, split)
        assert np.array_equal(data.to_uint8(letters.images), upright[part])
        assert letters.labels.tolist() == labels[part].tolist()


def test_cifar10_arrives_with_its_channels_first(monkeypatch):
    images, labels = arrays(6, (3, 32, 32))

    def cifar10(root, train, download):
        part = slice(4) if train else slice(4, 6)
        return types.SimpleNamespace(data=images[part].transpose(0, 2, 3, 1), targets=labels[part].tolist())

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", cifar10)
    data.download("cifar10")
    assert np.array_equal(data.to_uint8(data.load("cifar10").images), images[:4])
    assert data.load("cifar10", "test").labels.tolist() == labels[4:].tolist()


def test_fashion_mnist_comes_from_its_own_class(mirror, monkeypatch):
    garments = types.SimpleNamespace(data=torch.full((2, 28, 28), 9, dtype=torch.uint8), targets=torch.tensor([1, 9]))
    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", lambda *arguments, **options: garments)
    data.download("fashion-mnist")
    assert data.load("fashion-mnist").labels.tolist() == [1, 9]


@pytest.mark.parametrize("label", [data.MAX_CLASSES, 2**64 - 1])
def test_an_identifier_is_no_class(tmp_path, label):
    path = tmp_path / "own.npz"
    labels = np.array([0, label], dtype=np.uint64)
    np.savez(path, images=np.zeros((2, 1, 28, 28), np.uint8), labels=labels)
    with pytest.raises(DataError, match=rf"own\.npz.*0 to {label}"):
        data.load(path)


@pytest.mark.parametrize("option", [{"limit": 2.5}, {"limit": "5"}, {"per_class": 1.5}])
def test_counts_are_whole_numbers(option):
    with pytest.raises(DataError, match="expected a whole number"):
        data.load("mnist", **option)


def test_a_user_without_a_home_has_a_cache_too(monkeypatch):
    monkeypatch.delenv("GANTOOLS_DATA")
    monkeypatch.setattr(data.Path, "expanduser", lambda path: (_ for _ in ()).throw(RuntimeError("no home")))
    assert data.cache_dir().name == "gantools"


def test_quantised_images_are_those_of_a_file_and_stay_as_they_are():
    images = torch.tensor([-1.0, -0.9999, 0.0, 0.3, 1.0, 1.5]).view(1, 1, 2, 3)
    once = data.quantised(images)
    assert (once - images.clamp(-1, 1)).abs().max() <= 1 / 255 + 1e-6  # half a step, reached at 0
    assert torch.equal(data.quantised(once), once)


def test_a_file_has_no_test_split(tmp_path, tiny):
    data.save(tmp_path / "own.npz", data.to_uint8(tiny.images), tiny.labels)
    assert len(data.load(tmp_path / "own.npz")) == 40
    with pytest.raises(DataError, match=r"own.npz has no test split: put train.npz and test.npz into .*/NAME"):
        data.load(tmp_path / "own.npz", split="test")


def test_a_whole_number_of_numpy_is_one_and_a_truth_value_is_none():
    assert len(data.load("mnist", limit=np.int64(50))) == 50
    with pytest.raises(DataError, match="limit=True: expected a whole number"):
        data.load("mnist", limit=True)


def test_the_test_split_of_an_own_set_has_the_classes_of_its_training_split():
    pixels = np.zeros((10, 1, 28, 28), np.uint8)
    for split, top in (("train", 9), ("test", 7)):
        data.save(data.cache_dir() / "mine" / f"{split}.npz", pixels, np.minimum(np.arange(10), top))
    assert data.load("mine").classes == data.load("mine", "test").classes == tuple("0123456789")


def test_a_set_is_saved_as_npz_only(tmp_path):
    with pytest.raises(DataError, match=r"mine: a data set is an \.npz file"):
        data.save(tmp_path / "mine", np.zeros((1, 1, 28, 28), np.uint8), np.zeros(1, np.int64))


def test_of_nothing_a_message_says_so(tmp_path):
    with pytest.raises(DataError, match="expected images and labels, at least one"):
        data.save(tmp_path / "empty.npz", np.zeros((0, 1, 28, 28), np.uint8), np.zeros(0, np.int64))
    images, labels = arrays()
    with pytest.raises(DataError, match=r"labels \[6\], not torch.int32"):
        ImageSet(data.from_uint8(images), torch.as_tensor(labels).int(), ("a", "b", "c"), "mine").check()
    with pytest.raises(DataError, match="0 to 1, not 0 to 2"):
        ImageSet(data.from_uint8(images), torch.as_tensor(labels), ("a", "b"), "mine").check()
    with pytest.raises(DataError, match="has 1001 images; take 1 to 1001"):
        data.load("mnist", per_class=0)


def test_what_is_no_tensor_is_named(tiny):
    for field, given, kind in (("labels", tiny.labels.numpy(), "ndarray"), ("images", [1.0], "list")):
        with pytest.raises(DataError, match=f"{field} are a {kind}; torch.as_tensor makes a tensor of it"):
            ImageSet(**vars(tiny) | {field: given}).check()


def test_a_draw_from_a_class_without_images_says_so(tiny):
    more = ImageSet(tiny.images, tiny.labels, (*tiny.classes, "empty"), "mine")
    with pytest.raises(DataError, match=r"\(empty\) has 0 images; number the labels from 0 without gaps"):
        more.stratified(1)


def test_an_ending_in_capitals_is_a_file_too(tiny, tmp_path):
    path = data.save(tmp_path / "own.npz", data.to_uint8(tiny.images), tiny.labels)
    loud = path.rename(tmp_path / "OWN.NPZ")
    assert (len(data.load(loud)), data.load(loud).name) == (len(tiny), "OWN")


@pytest.mark.skipif(not torch.backends.cpu.get_cpu_capability().startswith("AVX"), reason="one set of instructions")
def test_a_ring_is_the_same_data_whatever_processor_drew_it():
    code = "from gantools import data; print(data.ring().digest())"
    plain = {**os.environ, "ATEN_CPU_CAPABILITY": "default"}
    done = subprocess.run([sys.executable, "-c", code], env=plain, capture_output=True, text=True)
    assert done.stdout.strip() == data.ring().digest(), done.stderr
