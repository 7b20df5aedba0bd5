import string
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.ft2font import FT2Font

from gantools import data, glyphs
from gantools.data import DataError

ALPHANUMERIC = string.digits + string.ascii_uppercase + string.ascii_lowercase


def sides(images):
    """First and last row and column with ink, each [N]."""
    ink = images[:, 0] > 100
    rows, columns = ink.any(2), ink.any(1)
    return [(line.argmax(1), 27 - line[:, ::-1].argmax(1)) for line in (rows, columns)]


@pytest.fixture(scope="module")
def few():
    """Forty images each of C, I and o."""
    return glyphs.render(("C", "I", "o"), (40, 40, 40), seed=3)


# The facts of the sets


def test_the_classes_are_those_of_emnist():
    letters, _ = glyphs.SETS["glyphs-letters"]
    assert [shapes.lower() for shapes in letters] == [2 * letter for letter in string.ascii_lowercase]
    assert all(shapes[0] != shapes[1] for shapes in letters)
    assert "".join(glyphs.SETS["glyphs-byclass"][0]) == ALPHANUMERIC == "".join(data.CLASSES["emnist-byclass"])


def test_byclass_has_the_long_tail_of_emnist():
    counts = torch.tensor(glyphs.BYCLASS_COUNTS)
    assert len(counts) == 62
    assert 30_500 < counts.sum() < 31_500
    assert (counts.min(), counts.max()) == (85, 1700)
    assert counts[:10].min() > counts[10:].max()  # digits are the most frequent
    ends = counts.argmin(), counts.argmax()
    assert [ALPHANUMERIC[end] for end in ends] == ["j", "1"]


@pytest.mark.parametrize(("name", "train", "test"), [("letters", 20_800, 4_160), ("byclass", 31_248, 6_226)])
def test_the_sets_are_as_long_as_the_readme_says(name, train, test):
    _, counts = glyphs.SETS[f"glyphs-{name}"]
    assert sum(counts) == train
    assert sum(count // glyphs.TEST_SHARE for count in counts) == test
    assert min(counts) // glyphs.TEST_SHARE >= 17


def test_every_font_comes_with_matplotlib_and_holds_every_character():
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for font in glyphs.FONTS:
        assert {ord(character) for character in ALPHANUMERIC} <= FT2Font(
            str(folder / f"{font}.ttf")
        ).get_charmap().keys()
    assert len(set(glyphs.FONTS)) == 22


# Drawing


def test_images_are_as_many_as_asked_for_in_the_form_of_a_data_set(few):
    images, labels = few
    assert (images.shape, images.dtype) == ((120, 1, 28, 28), np.uint8)
    assert labels.dtype == np.int64
    assert np.bincount(labels).tolist() == [40, 40, 40]
    unequal = glyphs.render(("a", "b", "c", "d"), (3, 0, 1, 2))[1]
    assert np.bincount(unequal, minlength=4).tolist() == [3, 0, 1, 2]


def test_images_come_in_random_order(few):
    labels = few[1]
    assert 60 < (labels[1:] != labels[:-1]).sum() < 100  # of 119 neighbours two thirds, 79, differ by chance
    assert all((labels[:60] == label).sum() > 10 for label in range(3))


def test_ink_is_white_on_black_centred_and_fills_the_picture_as_in_emnist(few):
    images, _ = few
    assert (images[:, :, [0, -1]] < 128).all() and (images[..., [0, -1]] < 128).all()
    assert (images.max((1, 2, 3)) > 200).all()
    assert 0.1 < images.mean() / 255 < 0.25
    (top, bottom), (left, right) = sides(images)
    long = np.maximum(bottom - top, right - left) + 1
    assert long.min() >= 17 and long.max() <= 27
    assert 20 <= np.median(long) <= 24
    for begin, end in ((top, bottom), (left, right)):
        assert abs(np.mean(begin + end) / 2 - 13.5) < 0.3
        assert abs((begin + end) / 2 - 13.5).max() <= 3


def test_a_glyph_stands_upright_and_reads_from_left_to_right():
    def thirds(character):
        images = glyphs.render((character,), (100,))[0].astype(float).mean((0, 1))
        return images[:14].sum(), images[14:].sum(), images[:, :14].sum(), images[:, 14:].sum()

    top, bottom, left, right = thirds("P")
    assert top > 1.3 * bottom
    top, bottom, left, right = thirds("L")
    assert bottom > 1.3 * top and left > right
    top, bottom, left, right = thirds("T")
    assert top > 1.3 * bottom


def test_a_ring_has_a_hole_and_a_stroke_has_none(few):
    images, labels = few
    middle = images[:, 0, 12:16, 12:16].mean((1, 2))
    assert (middle[labels == 2] < 128).mean() > 0.95  # o
    assert (middle[labels == 1] > 100).mean() > 0.95  # I


def test_the_pictures_of_a_class_differ_in_place_width_and_ink(few):
    images, labels = few
    assert len({image.tobytes() for image in images}) == len(images)
    for label in range(3):
        drawn = images[labels == label]
        (_, _), (left, right) = sides(drawn)
        assert np.ptp(right - left) >= 4
        assert drawn.mean((1, 2, 3)).max() > 1.4 * drawn.mean((1, 2, 3)).min()


def test_a_class_of_two_shapes_holds_half_of_each():
    images, labels = glyphs.render(("oI", "I"), (201, 50))
    hollow = images[:, 0, 12:16, 12:16].mean((1, 2)) < 110
    assert abs(hollow[labels == 0].sum() - 101) <= 8
    assert hollow[labels == 1].sum() <= 4


def test_a_bold_stroke_is_drawn_with_a_pen_like_any_other():
    _, _, pens = glyphs._shapes("l")
    bold, regular = (glyphs.FONTS.index(f"DejaVuSans{suffix}") for suffix in ("-Bold", ""))
    assert pens[bold] > 1.4 * pens[regular]
    generator = torch.Generator().manual_seed(0)
    ink = []
    for font in (bold, regular):
        shapes = [values[[font] * 200] for values in glyphs._shapes("l")]
        ink.append(glyphs._draw(*shapes, generator).float().mean())
    assert ink[0] < 1.25 * ink[1]


def test_the_distance_to_a_square_is_that_of_geometry():
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5]])
    for path in (corners, corners[::-1]):  # whichever way around
        distance = glyphs._distance(path[:-1], path[1:])
        axis = ((np.arange(40) + 0.5) / 40 * 2 - 1) * glyphs.FRAME
        x, y = np.meshgrid(np.abs(axis), np.abs(axis))
        outside = np.hypot(np.maximum(x - 0.5, 0), np.maximum(y - 0.5, 0))
        expected = np.where(outside > 0, -outside, 0.5 - np.maximum(x, y))
        assert np.allclose(distance, expected, atol=1e-12)


def test_a_hole_in_a_square_is_outside():
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5]])
    hole = corners[::-1] / 2  # the other way around
    distance = glyphs._distance(np.concatenate([corners[:-1], hole[:-1]]), np.concatenate([corners[1:], hole[1:]]))
    assert distance[20, 20] == pytest.approx(-0.25 + glyphs.FRAME / 40)
    assert distance[20, 9] > 0  # between hole and edge
    assert distance[0, 0] < 0


# Seeds


def test_the_pictures_follow_the_seed_and_leave_the_global_one_alone(few):
    before = torch.get_rng_state()
    again, other = (glyphs.render(("C", "I", "o"), (40, 40, 40), seed=seed) for seed in (3, 4))
    assert np.array_equal(again[0], few[0]) and np.array_equal(again[1], few[1])
    assert not {image.tobytes() for image in other[0]} & {image.tobytes() for image in few[0]}
    assert torch.equal(torch.get_rng_state(), before)


def test_other_vector_instructions_draw_the_same_pictures(environment, few):
    code = (
        "from gantools import glyphs; import sys; sys.stdout.buffer.write(glyphs.render(tuple('CIo'), [40] * 3, 3)[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment | {"ATEN_CPU_CAPABILITY": "default"}, capture_output=True
    )
    assert done.stdout == few[0].tobytes()


# The sets themselves


@pytest.fixture
def small(monkeypatch):
    """Both sets with a twentieth of their images, and no memory of the whole ones."""
    tiny = {
        name: (characters, tuple(-(-count // 20) for count in counts))
        for name, (characters, counts) in glyphs.SETS.items()
    }
    monkeypatch.setattr(glyphs, "SETS", tiny)
    monkeypatch.setattr(glyphs, "TEST_SHARE", 2)
    glyphs.load.cache_clear()
    yield tiny
    glyphs.load.cache_clear()


def test_a_set_has_its_counts_and_no_picture_in_both_splits(small):
    (train, train_labels), (test, test_labels) = (glyphs.load("glyphs-letters", split) for split in glyphs.SEEDS)
    assert np.bincount(train_labels).tolist() == [40] * 26
    assert np.bincount(test_labels).tolist() == [20] * 26
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in test}


def test_a_set_is_drawn_once(small):
    assert glyphs.load("glyphs-letters", "test") is glyphs.load("glyphs-letters", "test")


def test_glyphs_are_loaded_by_name_without_a_file_and_in_silence(small, capsys):
    letters = data.load("glyphs-letters", "test")
    assert (letters.name, letters.classes) == ("glyphs-letters", tuple(string.ascii_lowercase))
    assert (letters.images.shape, letters.images.dtype) == ((520, 1, 28, 28), torch.float32)
    assert (letters.images.min(), letters.images.max()) == (-1, 1)
    assert letters.labels.dtype == torch.int64
    assert np.array_equal(data.to_uint8(letters.images), glyphs.load("glyphs-letters", "test")[0])
    assert capsys.readouterr().out == ""
    assert list(data.cache_dir().iterdir()) == []


def test_glyphs_can_be_limited_and_drawn_by_class(small):
    whole, part = data.load("glyphs-letters"), data.load("glyphs-letters", limit=100)
    assert torch.equal(part.images, whole.images[:100])
    assert len(part.labels.unique()) > 20  # a fair draw of 26 classes
    assert data.load("glyphs-letters", per_class=2, seed=1).class_counts().tolist() == [2] * 26
    with pytest.raises(DataError, match=r"glyphs-letters/train: limit=1041, but the set has 1,040 images$"):
        data.load("glyphs-letters", limit=1041)
    with pytest.raises(DataError, match=r"glyphs-letters: per_class=41, but class 0 \(a\) has 40 images"):
        data.load("glyphs-letters", per_class=41)


def test_who_writes_into_a_loaded_set_does_not_change_the_next(small):
    first = data.load("glyphs-letters", "test")
    digest = first.digest()
    first.images.zero_()
    first.labels.zero_()
    assert data.load("glyphs-letters", "test").digest() == digest


def test_byclass_keeps_its_long_tail(small):
    loaded = data.load("glyphs-byclass")
    assert loaded.class_counts().tolist() == list(small["glyphs-byclass"][1])
    assert loaded.classes == tuple(ALPHANUMERIC)


def test_glyphs_are_made_here_and_not_downloaded():
    assert {name for name, place in data.found().items() if place == "made here"} == set(glyphs.SETS)
    for name in (*glyphs.SETS, "ring"):
        with pytest.raises(DataError, match=f"{name} is made at run time: there is nothing to download"):
            data.download(name)


def test_reading_data_does_not_wait_for_matplotlib_or_torchvision(environment):
    code = "import sys, gantools.data; print({'matplotlib', 'torchvision'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


# Bad input


@pytest.mark.parametrize("characters", [("é",), ("a", ""), ("a b",), ("a", "!"), ("½",)])
def test_other_characters_are_refused(characters):
    with pytest.raises(DataError, match="letters from A to z and digits, not") as refusal:
        glyphs.render(characters, [3] * len(characters))
    assert str(list(characters)) in str(refusal.value)


@pytest.mark.parametrize("counts", [[3], [3, 3, 3], [3, -1], [0, 0], []])
def test_counts_that_do_not_fit_are_refused(counts):
    with pytest.raises(DataError, match="2 classes of glyphs need as many counts") as refusal:
        glyphs.render("ab", counts)
    assert str(counts) in str(refusal.value)


@pytest.mark.parametrize(("name", "split"), [("glyphs", "train"), ("glyphs-letters", "validation")])
def test_other_sets_and_splits_are_refused(name, split):
    with pytest.raises(DataError, match=f"no glyphs {name}/{split}: there are glyphs-letters, glyphs-byclass"):
        glyphs.load(name, split)
