import html.parser
import io

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from gantools import data, train
from gantools.picture import GAP, GIF_BYTES, GIF_FRAMES, Picture, encode, gif, tile


def levels(*values, shape=(1, 2, 2)):
    """Images of one grey each."""
    return torch.stack([torch.full(shape, float(value)) for value in values])


class ImageTag(html.parser.HTMLParser):
    def handle_starttag(self, tag, attributes):
        self.found = tag, dict(attributes)


# Tiles


def test_tiles_lie_row_by_row_with_white_between_them():
    images = data.from_uint8(torch.arange(12, dtype=torch.uint8).view(3, 1, 2, 2))
    w = 255
    assert tile(images, columns=2, zoom=1).tolist() == [
        [0, 1, w, w, 4, 5],
        [2, 3, w, w, 6, 7],
        [w, w, w, w, w, w],
        [w, w, w, w, w, w],
        [8, 9, w, w, w, w],  # the last row is one image short
        [10, 11, w, w, w, w],
    ]


def test_a_row_is_no_longer_than_there_are_images():
    assert tile(levels(0, 0), columns=8, zoom=1).shape == (2, 2 + GAP + 2)
    assert tile(levels(0, 0, 0), columns=1, zoom=1).shape == (3 * 2 + 2 * GAP, 2)


def test_colours_stay_in_their_channels():
    image = torch.tensor([1.0, -1.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 2, 4)
    tiled = tile(image, zoom=1)
    assert tiled.shape == (2, 4, 3)
    assert tiled[1, 3].tolist() == [255, 0, 128]


def test_zoom_repeats_pixels_without_blur():
    images = data.from_uint8(torch.tensor([[10, 20], [30, 40]], dtype=torch.uint8).view(1, 1, 2, 2))
    assert tile(images, zoom=3).tolist() == np.kron([[10, 20], [30, 40]], np.ones((3, 3), int)).tolist()


@pytest.mark.parametrize("shape", [(0, 1, 4, 4), (1, 4, 4), (2, 2, 4, 4), (4, 4)])
def test_what_is_no_batch_of_images_is_refused(shape):
    with pytest.raises(ValueError, match=r"expected at least one image, \[N, 1 or 3, H, W\]") as refusal:
        tile(torch.zeros(shape))
    assert str(list(shape)) in str(refusal.value)


def test_no_column_is_refused():
    with pytest.raises(ValueError, match="columns=0 must be at least 1"):
        tile(levels(0), columns=0)


# Pictures


def test_a_picture_shows_itself_with_its_text():
    alt = 'a "walk" from <A> to B & back'
    tag = ImageTag()
    tag.feed(Picture(b"png", alt)._repr_html_())
    name, attributes = tag.found
    assert (name, attributes["alt"]) == ("img", alt)
    assert attributes["src"] == "data:image/png;base64,cG5n"


# IPython stores the repr beside the HTML: the bytes would be in the notebook twice.
def test_the_repr_of_a_picture_is_short():
    assert len(repr(encode(tile(torch.randn(8, 1, 28, 28)), "noise"))) < 200


@pytest.mark.parametrize(
    ("kind", "name"), [("png", "a.png"), ("png", "a.PNG"), ("jpeg", "a.jpg"), ("jpeg", "a.jpeg"), ("gif", "a.gif")]
)
def test_a_picture_is_saved_as_it_is(tmp_path, kind, name):
    path = Picture(b"content", "", kind).save(tmp_path / "new folder" / name)
    assert path == tmp_path / "new folder" / name
    assert path.read_bytes() == b"content"


@pytest.mark.parametrize(("kind", "name"), [("png", "a.gif"), ("gif", "a.png"), ("png", "a"), ("png", "a.jpg")])
def test_a_suffix_that_is_not_the_kind_is_refused(tmp_path, kind, name):
    with pytest.raises(ValueError, match=rf"{name}: this picture is a \.{kind}"):
        Picture(b"", "", kind).save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


# Animations


def frames(picture):
    return np.stack([frame.convert("RGB") for frame in ImageSequence.Iterator(Image.open(io.BytesIO(picture.raw)))])


def test_an_animation_shows_every_snapshot_in_order():
    picture = gif([levels(value, shape=(1, 8, 8)) for value in (-1, 0, 1)])
    assert [round(float(frame.mean())) for frame in frames(picture)] == [0, 128, 255]
    assert picture.kind == "gif"
    assert picture.alt == "Animation of 3 moments of a training at a fixed z"
    assert gif([levels(0)], alt="grey").alt == "grey"


def test_an_animation_of_colours_keeps_them():
    red = torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert frames(gif([red]))[0, 0, 0].tolist() == [255, 0, 0]


def test_a_long_animation_is_thinned_evenly_and_keeps_its_end():
    shades = torch.linspace(-1, 1, 128)
    shown = frames(gif([levels(shade, shape=(1, 8, 8)) for shade in shades]))
    assert 30 < len(shown) <= GIF_FRAMES
    levels_shown = shown.reshape(len(shown), -1).mean(1)
    assert levels_shown[-1] == 255
    assert np.ptp(np.diff(levels_shown)) < 3


def test_an_animation_of_large_images_stays_under_a_megabyte_and_keeps_its_end():
    torch.manual_seed(0)
    snapshots = [torch.rand(16, 1, 64, 64) * 2 - 1 for _ in range(20)]
    picture = gif(snapshots)
    assert 100_000 < len(picture.raw) <= GIF_BYTES
    shown = frames(picture)
    assert 1 < len(shown) < len(snapshots)
    assert np.array_equal(shown[-1, :, :, 0], tile(snapshots[-1], 4))


def test_an_animation_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one snapshot"):
        gif([])
    with pytest.raises(ValueError, match="seconds=-1 must be above 0"):
        gif([levels(0)], seconds=-1)


def test_an_animation_can_be_read_back_frame_by_frame():
    """With optimised palettes Pillow could not: No packer found from P to L."""
    saved = np.load(train.load("mlp-gan-mnist").folder / "snapshots.npz")["images"][::5]
    frames = imageio.imread(gif([data.from_uint8(images) for images in saved]).raw, extension=".gif")
    assert len(frames) == len(saved)


def test_there_are_three_kinds_of_pictures(tmp_path):
    with pytest.raises(ValueError, match="kind='jpg': choose png, gif or jpeg"):
        encode(np.zeros((4, 4), np.uint8), "", "jpg")
    assert encode(np.zeros((4, 4), np.uint8), "", "jpeg").save(tmp_path / "a.jpg").exists()
