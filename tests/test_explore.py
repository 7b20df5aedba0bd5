import base64
import html.parser
import json
import string

import imageio.v3 as imageio
import ipywidgets
import numpy as np
import pytest
import torch
from IPython.utils.capture import capture_output
from torch import nn

from gantools import explore, handwriting, nets, plots, recipes
from gantools.nets.layers import ClassEmbedding
from gantools.picture import GAP
from gantools.recipe import Recipe


class Stripes(nn.Module):
    """Each z paints one stripe of the image, the first by far the strongest."""

    def __init__(self, z_dim, image_shape):
        super().__init__()
        self.image_shape = image_shape
        self.strength = nn.Parameter(torch.tensor([0.5] + [0.1] * (z_dim - 1)))

    def forward(self, z, y=None):
        return (z * self.strength)[:, None, :, None].expand(-1, *self.image_shape).tanh()


class Tints(Stripes):
    """The same stripes on a ground whose grey is the class."""

    def __init__(self, z_dim, image_shape, classes):
        super().__init__(z_dim, image_shape)
        self.ground = ClassEmbedding(classes, 1)
        self.ground.weight.data = torch.linspace(-1, 1, classes)[:, None]

    def forward(self, z, y):
        pixels = (z * self.strength)[:, None, :, None] + self.ground(y)[:, :, None, None]
        return pixels.expand(-1, *self.image_shape).tanh()


@pytest.fixture
def run(start):
    d = nets.MLPDiscriminator
    return start(Recipe(name="stripes", generator=Stripes, discriminator=d, z_dim=7, image_shape=(1, 7, 4)))


@pytest.fixture
def tints(conditional, start):
    """Starts a run of `Tints`, of ten classes unless told otherwise."""

    def start_tints(classes=10):
        return start(conditional.change(generator=Tints, z_dim=7, image_shape=(1, 7, 4), classes=classes))

    return start_tints


class Tags(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def named(self, name):
        return [attributes for tag, attributes in self.found if tag == name]


def within(widget):
    """A widget and everything in it."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from within(child)


# The live widgets


def test_the_walk_changes_the_picture_and_back_restores_it(run):
    exhibit = explore.latent(run)
    at_a = exhibit.picture.value
    exhibit.walk.value = 0.5
    half_way = exhibit.picture.value
    exhibit.walk.value = 1.0
    assert len({at_a, half_way, exhibit.picture.value}) == 3
    exhibit.walk.value = 0.0
    assert exhibit.picture.value == at_a


@pytest.mark.parametrize("number", range(4))
def test_each_direction_changes_the_picture_and_back_restores_it(run, number):
    exhibit = explore.latent(run)
    slider, before = exhibit.directions[number], exhibit.picture.value
    slider.value = 3.0
    up = exhibit.picture.value
    slider.value = -3.0
    assert len({before, up, exhibit.picture.value}) == 3
    slider.value = 0.0
    assert exhibit.picture.value == before


def test_directions_are_told_apart(run):
    exhibit = explore.latent(run)
    pictures = []
    for slider in exhibit.directions:
        slider.value = 3.0
        pictures.append(exhibit.picture.value)
        slider.value = 0.0
    assert len(set(pictures)) == 4


def test_new_points_are_drawn_each_time(run):
    exhibit = explore.latent(run)
    pictures = [exhibit.picture.value]
    for _ in range(2):
        exhibit.resample.click()
        pictures.append(exhibit.picture.value)
    assert len(set(pictures)) == 3


def test_the_picture_is_the_generators_image_at_that_place(run):
    exhibit = explore.latent(run, seed=5)
    a, b = run.draw_z(2, 5).split(1)
    for share, z in ((0.0, a), (1.0, b)):
        exhibit.walk.value = share
        assert exhibit.picture.value == plots.encode(plots.tile(run.sample(z=z), 1, explore.ZOOM), "").raw


def test_an_error_in_the_generator_is_shown_and_goes_when_it_is_mended(run):
    exhibit = explore.latent(run)

    def fail(network, given):
        raise RuntimeError("no <such> layer")

    hook = run.player.register_forward_pre_hook(fail)
    exhibit.walk.value = 0.5
    assert exhibit.status.value == "<b>RuntimeError</b>: no &lt;such&gt; layer"
    exhibit.status.value = ""
    exhibit.resample.click()
    assert "RuntimeError" in exhibit.status.value
    hook.remove()
    exhibit.walk.value = 0.7
    assert "RuntimeError" not in exhibit.status.value


def test_the_number_of_directions_can_be_chosen(run):
    assert len(explore.latent(run, directions=2).directions) == 2


def test_every_control_is_in_the_box(run):
    exhibit = explore.latent(run)
    found = list(within(exhibit.box))
    for part in (exhibit.walk, *exhibit.directions, exhibit.resample, exhibit.picture, exhibit.status):
        assert part in found
    sliders = [widget for widget in found if isinstance(widget, ipywidgets.FloatSlider)]
    assert len({slider.description for slider in sliders}) == 5


# The preview, which works without a kernel


def test_the_preview_has_a_labelled_slider_over_frames_that_differ(run):
    tags = Tags(explore.latent(run).preview)
    (slider,) = tags.named("input")
    frames = json.loads(slider["data-frames"])
    assert slider["type"] == "range"
    assert slider["aria-label"]
    assert (int(slider["min"]), int(slider["max"])) == (0, len(frames) - 1)
    assert len(set(frames)) > 10
    assert all(frame.startswith("data:image/png;base64,") for frame in frames)
    assert "frames" in slider["oninput"]


def test_the_preview_shows_the_contact_sheet_and_the_first_frame_each_with_a_text(run):
    tags = Tags(explore.latent(run, seed=5).preview)
    sheet, frame = tags.named("img")
    assert sheet["alt"]
    assert frame["alt"]
    assert frame["src"] == json.loads(tags.named("input")[0]["data-frames"])[0]
    a, b = run.draw_z(2, 5).split(1)
    z = torch.cat([explore.between(a, b, index / 20, "normal") for index in range(21)])
    assert sheet["src"] == plots.grid(run.sample(z=z), columns=21).uri


def test_the_preview_of_a_walk_names_its_ends(run):
    preview = explore.latent(run).preview
    assert Tags(preview).named("input")[0]["aria-label"] == "place on the walk, from A to B"
    assert "a walk through the latent space, from A (left) to B (right)" in preview


def test_a_conditional_run_shows_its_first_class_throughout(conditional, start):
    shades = start(conditional.change(image_shape=(1, 7, 4)))
    exhibit, first_class = explore.latent(shades), shades.sample(labels=[0])
    frames = json.loads(Tags(exhibit.preview).named("input")[0]["data-frames"])
    shown = imageio.imread(base64.b64decode(frames[0].partition(",")[2]), extension=".png")
    assert len(set(frames)) == 1
    assert shown.max() == 0  # the first class is painted black
    assert exhibit.picture.value == plots.encode(plots.tile(first_class, 1, explore.ZOOM), "").raw


def test_a_class_can_be_chosen_for_a_conditional_run(conditional, start):
    shades = start(conditional.change(image_shape=(1, 7, 4)))
    exhibit = explore.latent(shades, label=9)
    frames = json.loads(Tags(exhibit.preview).named("input")[0]["data-frames"])
    shown = imageio.imread(base64.b64decode(frames[0].partition(",")[2]), extension=".png")
    assert shown.min() == 255  # the last class is painted white
    assert imageio.imread(exhibit.picture.value, extension=".png").min() == 255
    exhibit.walk.value = 0.5
    assert imageio.imread(exhibit.picture.value, extension=".png").min() == 255


def test_the_directions_are_those_of_the_class(tints):
    game = tints()
    game.player.ground.weight.data[0] = 1000.0  # all white, whatever z is
    assert explore.principal_directions(game, 1).norm() == 0
    assert explore.principal_directions(game, 1, label=3).norm() > 0.5
    exhibit = explore.latent(game, label=3)
    before = exhibit.picture.value
    exhibit.directions[0].value = 3.0
    assert exhibit.picture.value != before


def test_a_class_that_does_not_exist_is_refused(tints, run):
    with pytest.raises(ValueError, match="labels must lie in 0 to 9, not 10 to 10"):
        explore.latent(tints(), label=10)
    with pytest.raises(ValueError, match="stripes does not know labels"):
        explore.latent(run, label=1)


def test_a_class_may_be_named(tints):
    named = tints()
    named.data["classes"] = list("abcdefghij")
    assert explore.latent(named, label="h").picture.value == explore.latent(named, label=7).picture.value
    with pytest.raises(ValueError, match="there is no class 'z'"):
        explore.latent(named, label="z")


# The classes


def row(run, labels, seed=0):
    """What the exhibit should show."""
    images = run.sample(z=run.draw_z(explore.ROW, seed), labels=labels)
    return plots.encode(plots.tile(images, explore.ROW, explore.ROW_ZOOM), "").raw


def mixture(shares):
    """Shares by class, for a row of images."""
    y = torch.zeros(explore.ROW, 10)
    for label, share in shares.items():
        y[:, label] = share
    return y


def test_mixing_changes_the_picture_and_back_restores_it(tints):
    exhibit = explore.classes(tints())
    at_a = exhibit.picture.value
    exhibit.mix.value = 0.5
    half_way = exhibit.picture.value
    exhibit.mix.value = 1.0
    assert len({at_a, half_way, exhibit.picture.value}) == 3
    exhibit.mix.value = 0.0
    assert exhibit.picture.value == at_a


@pytest.mark.parametrize("name", ["start", "end"])
def test_choosing_a_class_changes_the_picture_and_back_restores_it(tints, name):
    exhibit = explore.classes(tints())
    exhibit.mix.value = 0.5
    chosen, before = getattr(exhibit, name), exhibit.picture.value
    own = chosen.value
    chosen.value = 7
    assert exhibit.picture.value != before
    chosen.value = own
    assert exhibit.picture.value == before


def test_the_ends_are_the_pure_classes_and_between_them_is_their_mixture(tints):
    run = tints()
    exhibit = explore.classes(run, seed=5)
    exhibit.start.value, exhibit.end.value = 2, 6
    assert exhibit.picture.value == row(run, [2] * 8, seed=5)
    exhibit.mix.value = 0.25
    assert exhibit.picture.value == row(run, mixture({2: 0.75, 6: 0.25}), seed=5)
    exhibit.mix.value = 1.0
    assert exhibit.picture.value == row(run, [6] * 8, seed=5)


def test_a_class_mixed_with_itself_stays_itself(tints):
    run = tints()
    exhibit = explore.classes(run)
    exhibit.start.value, exhibit.end.value, exhibit.mix.value = 4, 4, 0.3
    assert exhibit.picture.value == row(run, [4] * 8)


def test_the_classes_are_chosen_by_name_and_start_with_the_first_two(tints):
    run = tints(3)
    run.data["classes"] = ["T-shirt/top", "trouser", "pullover"]
    exhibit = explore.classes(run)
    for chosen in (exhibit.start, exhibit.end):
        assert [name for name, _ in chosen.options] == ["T-shirt/top", "trouser", "pullover"]
    assert (exhibit.start.label, exhibit.end.label) == ("T-shirt/top", "trouser")
    exhibit.start.label = "pullover"
    assert exhibit.picture.value == row(run, [2] * 8)


def test_eight_different_z_are_shown_side_by_side(tints):
    picture = explore.classes(tints()).picture
    board = imageio.imread(picture.value, extension=".png")
    step = (4 + GAP) * explore.ROW_ZOOM
    assert board.shape == (7 * explore.ROW_ZOOM, 8 * step - GAP * explore.ROW_ZOOM)
    assert picture.layout.width == f"{board.shape[1]}px"  # one pixel for each, or it blurs
    assert len({board[:, index * step].tobytes() for index in range(8)}) == 8


def test_new_z_are_drawn_each_time_and_the_mixture_stays(tints):
    run = tints()
    run.player.strength.data *= 0.1  # so that the ground shows
    exhibit = explore.classes(run)
    exhibit.end.value, exhibit.mix.value = 9, 1.0
    pictures = [exhibit.picture.value]
    for _ in range(2):
        exhibit.resample.click()
        pictures.append(exhibit.picture.value)
        assert imageio.imread(exhibit.picture.value, extension=".png").min() > 150
    assert len(set(pictures)) == 3
    exhibit.mix.value = 0.5
    exhibit.mix.value = 1.0
    assert exhibit.picture.value == pictures[-1]


def test_the_mixture_is_told_and_a_class_name_is_no_markup(tints):
    run = tints(2)
    run.data["classes"] = ["<b>", "Q&A"]
    exhibit = explore.classes(run)
    assert exhibit.status.value == "100% of class &lt;b&gt;, 0% of class Q&amp;A"
    exhibit.mix.value = 0.3
    assert exhibit.status.value == "70% of class &lt;b&gt;, 30% of class Q&amp;A"


def test_an_error_is_shown_in_the_exhibit_of_the_classes_and_goes_when_it_is_mended(tints):
    run = tints()
    exhibit = explore.classes(run)

    def fail(network, given):
        raise RuntimeError("no <such> layer")

    hook = run.player.register_forward_pre_hook(fail)
    for act in (
        lambda: setattr(exhibit.mix, "value", 0.5),
        lambda: setattr(exhibit.start, "value", 3),
        lambda: setattr(exhibit.end, "value", 3),
        exhibit.resample.click,
    ):
        exhibit.status.value = ""
        act()
        assert exhibit.status.value == "<b>RuntimeError</b>: no &lt;such&gt; layer"
    hook.remove()
    exhibit.mix.value = 0.7
    assert "RuntimeError" not in exhibit.status.value


def test_a_run_without_classes_to_mix_is_refused_and_told_what_to_do(run, tints):
    for game, name in ((run, "stripes"), (tints(1), "shades")):
        with pytest.raises(ValueError, match=f"{name} has no classes to mix: take a run of .*, such as rgan"):
            explore.classes(game)
    assert recipes.get("rgan").classes > 1


def test_the_controls_of_the_classes_are_in_the_box_each_with_a_name(tints):
    exhibit = explore.classes(tints())
    found, controls = list(within(exhibit.box)), (exhibit.start, exhibit.end, exhibit.mix, exhibit.resample)
    assert all(part in found for part in (*controls, exhibit.picture, exhibit.status))
    assert [control.description for control in controls] == ["class A", "class B", "mix A → B", "new z"]


def test_the_preview_of_the_classes_has_a_labelled_slider_through_all_of_them(tints):
    run = tints()
    preview = explore.classes(run, seed=5).preview
    (slider,) = Tags(preview).named("input")
    frames = json.loads(slider["data-frames"])
    assert slider["type"] == "range"
    assert slider["aria-label"] == "place on the tour, from 0 to 9"
    assert (slider["min"], slider["max"]) == ("0", "36")
    assert len(set(frames)) == len(frames) == 37
    z = run.draw_z(explore.ROW, 5)[:1]

    def frame(labels):
        return plots.encode(plots.tile(run.sample(z=z, labels=labels), 1, explore.ZOOM), "").uri

    assert frames[::4] == [frame([label]) for label in range(10)]
    assert frames[9] == frame(mixture({2: 0.75, 3: 0.25})[:1])
    assert "one z on a tour through all 10 classes, from 0 to 9" in preview


def test_the_preview_of_the_classes_shows_a_contact_sheet_and_the_first_class_each_with_a_text(tints):
    run = tints()
    tags = Tags(explore.classes(run).preview)
    sheet, frame = tags.named("img")
    assert sheet["alt"] == "37 images: one z on a tour through all 10 classes, from 0 to 9"
    assert frame["alt"]
    assert frame["src"] == json.loads(tags.named("input")[0]["data-frames"])[0]
    size = imageio.imread(base64.b64decode(sheet["src"].partition(",")[2]), extension=".png").shape
    assert size == (2 * 2 * (7 + GAP) - 2 * GAP, 20 * 2 * (4 + GAP) - 2 * GAP)


@pytest.mark.parametrize(("classes", "count"), [(2, 21), (10, 37), (20, 39), (21, 21), (62, 62)])
def test_the_preview_of_many_classes_leaves_the_mixtures_out(tints, classes, count):
    run = tints(classes)
    frames = json.loads(Tags(explore.classes(run).preview).named("input")[0]["data-frames"])
    assert len(frames) == count
    if count == classes:
        images = run.sample(z=run.draw_z(explore.ROW)[:1].expand(count, -1), labels=list(range(count)))
        assert frames == [plots.encode(plots.tile(image[None], 1, explore.ZOOM), "").uri for image in images]


def test_class_names_are_no_markup_in_the_preview(tints):
    run = tints(2)
    run.data["classes"] = ['<b id="x">', "Q&A"]
    tags = Tags(explore.classes(run).preview)
    assert tags.named("input")[0]["aria-label"] == 'place on the tour, from <b id="x"> to Q&A'
    assert tags.named("img")[0]["alt"].endswith('from <b id="x"> to Q&A')
    assert {"id": "x"} not in tags.named("b")


# The replay


def film(count):
    """Pictures that grow brighter, and a title for each."""
    boards = [np.full((60, 80, 3), 255 * index // max(count - 1, 1), np.uint8) for index in range(count)]
    return boards, [f"step {index}" for index in range(count)]


def test_moving_the_time_changes_the_picture_and_its_title():
    boards, titles = film(9)
    exhibit = explore.replay(boards, titles)
    for index in (0, 8, 3):
        exhibit.time.value = index
        assert np.array_equal(imageio.imread(exhibit.picture.value, extension=".png"), boards[index])
        assert exhibit.status.value == titles[index]


def test_a_replay_starts_at_its_first_moment():
    boards, titles = film(9)
    exhibit = explore.replay(boards, titles)
    assert np.array_equal(imageio.imread(exhibit.picture.value, extension=".png"), boards[0])
    assert exhibit.status.value == "step 0"
    assert (exhibit.time.min, exhibit.time.max) == (exhibit.play.min, exhibit.play.max) == (0, 8)


def test_a_title_is_text_and_no_markup():
    boards, _ = film(1)
    exhibit = explore.replay(boards, ["D < G & <b>"])
    assert exhibit.status.value == "D &lt; G &amp; &lt;b&gt;"
    assert Tags(exhibit.preview).named("img")[0]["alt"].endswith("D < G & <b>")


def test_the_preview_of_a_replay_has_a_labelled_slider_over_all_its_moments():
    boards, titles = film(9)
    tags = Tags(explore.replay(boards, titles).preview)
    (slider,) = tags.named("input")
    frames = json.loads(slider["data-frames"])
    assert slider["type"] == "range"
    assert slider["aria-label"] == "place on the way, from start to end"
    assert (slider["min"], slider["max"]) == ("0", "8")
    assert frames == [plots.encode(board, "").uri for board in boards]
    assert "frames" in slider["oninput"]


def test_the_preview_of_a_replay_shows_a_contact_sheet_and_the_first_moment_each_with_a_text():
    boards, titles = film(11)
    sheet, frame = Tags(explore.replay(boards, titles).preview).named("img")
    assert sheet["alt"] == "6 moments of the training, from step 0 to step 10"
    shown = [0, 2, 4, 6, 8, 10]
    expected = plots.panels([boards[index] for index in shown], [titles[index] for index in shown], 6, alt="")
    assert sheet["src"] == expected.uri
    assert frame["src"] == plots.encode(boards[0], "").uri
    assert frame["alt"]


@pytest.mark.parametrize("count", [1, 2])
def test_a_short_film_is_shown_whole(count):
    boards, titles = film(count)
    exhibit = explore.replay(boards, titles)
    tags = Tags(exhibit.preview)
    assert len(json.loads(tags.named("input")[0]["data-frames"])) == count
    assert tags.named("img")[0]["src"] == plots.panels(boards, titles, alt="").uri
    assert exhibit.time.max == count - 1
    assert exhibit.status.value == "step 0"


@pytest.mark.parametrize(("count", "titles"), [(2, 1), (1, 2), (0, 0)])
def test_a_replay_needs_a_title_for_each_picture(count, titles):
    with pytest.raises(ValueError, match=f"{count} pictures and {titles} titles"):
        explore.replay(film(count)[0], ["title"] * titles)


def test_the_controls_of_a_replay_are_in_its_box():
    exhibit = explore.replay(*film(3))
    found = list(within(exhibit.box))
    assert all(part in found for part in (exhibit.time, exhibit.play, exhibit.picture, exhibit.status))


def test_the_player_moves_the_time_in_the_browser(monkeypatch):
    linked = []
    monkeypatch.setattr(ipywidgets, "jslink", lambda *ends: linked.append(ends))
    exhibit = explore.replay(*film(3))
    assert linked == [((exhibit.play, "value"), (exhibit.time, "value"))]


def test_a_notebook_shows_the_preview_of_a_replay_before_its_widgets(shell):
    exhibit = explore.replay(*film(2))
    with capture_output() as captured:
        exhibit._ipython_display_()
    preview, live = (output.data for output in captured.outputs)
    assert preview["text/html"] == exhibit.preview
    assert live["application/vnd.jupyter.widget-view+json"]["model_id"] == exhibit.box.model_id


# Handwriting

LETTERS = tuple(string.ascii_lowercase)
BYCLASS = tuple(string.digits + string.ascii_uppercase + string.ascii_lowercase)


@pytest.fixture
def scribe(tints):
    """Starts a run that writes characters: 26 lower-case letters unless told otherwise."""

    def start_scribe(names=LETTERS):
        run = tints(len(names))
        run.data["classes"] = list(names)
        return run

    return start_scribe


def line(images):
    """What the exhibit should show of letters [N, 1, 7, 4]."""
    return plots.encode(plots.tile(torch.cat(tuple(images), 2)[None], 1, explore.LETTER_ZOOM), "").raw


def letters_in(exhibit):
    """The letters of the picture, one array each."""
    board = imageio.imread(exhibit.picture.value, extension=".png")
    return np.split(board, board.shape[1] // (4 * explore.LETTER_ZOOM), axis=1)


def test_a_word_is_its_letters_side_by_side_all_of_one_z(scribe):
    run = scribe()
    exhibit = explore.word(run, "abba", seed=5)
    z = run.draw_z(2 * handwriting.LONGEST, 5)
    assert exhibit.picture.value == line(run.sample(z=z[:1].expand(4, -1), labels=[0, 1, 1, 0]))
    assert exhibit.picture.layout.width == f"{4 * 4 * explore.LETTER_ZOOM}px"  # one pixel for each, or it blurs
    assert exhibit.status.value == ""


def test_each_letter_can_have_its_own_z(scribe):
    run = scribe()
    exhibit = explore.word(run, "aa a", seed=5)
    shared = letters_in(exhibit)
    assert np.array_equal(shared[0], shared[1]) and np.array_equal(shared[0], shared[3])
    exhibit.together.value = False
    own = letters_in(exhibit)
    assert len({letter.tobytes() for letter in own}) == 4
    assert np.array_equal(own[0], shared[0])
    exhibit.text.value = "aaba"
    assert np.array_equal(letters_in(exhibit)[3], own[3]), "a letter keeps its z while others are typed"


def test_typing_changes_the_picture_and_back_restores_it(scribe):
    exhibit = explore.word(scribe(), "ab")
    before = exhibit.picture.value
    exhibit.text.value = "abc"
    assert exhibit.picture.value != before
    assert len(letters_in(exhibit)) == 3
    exhibit.text.value = "ab"
    assert exhibit.picture.value == before


@pytest.mark.parametrize("together", [True, False])
def test_the_style_goes_from_one_z_to_another_and_back(scribe, together):
    run = scribe()
    exhibit = explore.word(run, "cab", seed=5)
    exhibit.together.value = together
    start, end = run.draw_z(2 * handwriting.LONGEST, 5).split(handwriting.LONGEST)
    for share, z in ((1.0, end), (0.5, explore.between(start, end, 0.5, "normal")), (0.0, start)):
        exhibit.style.value = share
        z = z[:1].expand(3, -1) if together else z[:3]
        assert exhibit.picture.value == line(run.sample(z=z, labels=[2, 0, 1]))


def test_a_new_z_is_drawn_each_time_and_the_text_stays(scribe):
    exhibit = explore.word(scribe(), "cab")
    pictures = [exhibit.picture.value]
    for _ in range(2):
        exhibit.resample.click()
        pictures.append(exhibit.picture.value)
    assert len(set(pictures)) == 3
    assert len(letters_in(exhibit)) == 3


def test_a_space_is_a_black_gap(scribe):
    a, gap, b, tab, c = letters_in(explore.word(scribe(), "m n\to"))
    assert gap.max() == tab.max() == 0
    assert min(letter.max() for letter in (a, b, c)) > 0


def test_a_letter_without_a_class_of_its_own_is_written_in_the_other_case(scribe):
    lower, both = scribe(), scribe(BYCLASS)
    assert explore.word(lower, "GaN").picture.value == explore.word(lower, "gan").picture.value
    assert explore.word(lower, "GaN").status.value == ""
    upper = scribe((*LETTERS[:5], "F"))
    assert explore.word(upper, "f").picture.value == explore.word(upper, "F").picture.value
    assert explore.word(both, "GaN").picture.value != explore.word(both, "gan").picture.value
    assert handwriting.spell("0Az", both).labels == (0, 10, 61)


def test_an_accent_that_is_not_known_is_left_out_and_the_status_says_so(scribe):
    exhibit = explore.word(scribe(), "cafe")
    plain = exhibit.picture.value
    exhibit.text.value = "café"
    assert (exhibit.picture.value, exhibit.status.value) == (plain, "written instead: e for é")
    both = handwriting.spell("ÜüÜ①ﬁ", scribe(BYCLASS))
    assert both.labels == tuple(BYCLASS.index(name) for name in "UuU1")
    assert both.remark.startswith("written instead: U for Ü, u for ü, 1 for ①; cannot write: ﬁ (")
    own = handwriting.spell("é", scribe(("e", "é")))
    assert (own.labels, own.remark) == ((1,), ""), "a class of its own comes first"


@pytest.mark.parametrize("text", ["aé!b!", "ae\N{COMBINING ACUTE ACCENT}!b!"])
def test_unknown_characters_are_named_once_and_skipped(scribe, text):
    run = scribe(("a", "b"))
    exhibit = explore.word(run, "ab")
    before = exhibit.picture.value
    exhibit.text.value = text
    assert exhibit.status.value == "cannot write: é, ! (this run knows ab)"
    assert exhibit.picture.value == before
    exhibit.text.value = "ba"
    assert exhibit.status.value == ""
    assert "cannot write: é, ! (this run knows ab)" in explore.word(run, text).preview


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        ("", "Type something to write"),
        ("  ", "Type something to write"),
        ("12", "cannot write: 1, 2 (this run knows ab)"),
    ],
)
def test_where_nothing_can_be_written_the_line_is_black_and_the_status_says_why(scribe, text, remark):
    exhibit = explore.word(scribe(("a", "b")), text)
    assert exhibit.status.value == remark
    assert max(letter.max() for letter in letters_in(exhibit)) == 0
    assert remark in exhibit.preview


def test_a_text_that_is_too_long_is_cut_and_the_status_says_so(scribe):
    exhibit = explore.word(scribe(), "x" * 39 + "a")
    whole = exhibit.picture.value
    assert exhibit.status.value == ""
    exhibit.text.value = "x" * 39 + "ab!"
    assert exhibit.status.value == "only the first 40 of 42 characters are written"
    assert exhibit.picture.value == whole
    exhibit.text.value = "!" * 41
    assert exhibit.status.value.startswith("only the first 40 of 41 characters are written; cannot write: ! (")


def test_a_text_is_no_markup(scribe):
    run = scribe(("a", "<", "&"))
    exhibit = explore.word(run, 'a<b id="x">&')
    assert exhibit.status.value.startswith("cannot write: b, i, d, =, &quot;, x, &gt; (this run knows a&lt;&amp;)")
    tags = Tags(exhibit.preview)
    assert {"id": "x"} not in tags.named("b")
    assert tags.named("img")[0]["alt"] == "The characters a<&, generated from one z"


def test_the_link_saves_the_picture_that_is_shown(scribe):
    exhibit = explore.word(scribe(), "ab")
    links = set()
    for act in (
        lambda: None,
        lambda: setattr(exhibit.text, "value", "abc"),
        lambda: setattr(exhibit.style, "value", 0.5),
        exhibit.resample.click,
    ):
        act()
        (link,) = Tags(exhibit.save.value).named("a")
        assert link["download"] == "handwriting.png"
        head, _, content = link["href"].partition(",")
        assert (head, base64.b64decode(content)) == ("data:image/png;base64", exhibit.picture.value)
        links.add(link["href"])
    assert len(links) == 4


def test_only_a_run_whose_classes_are_characters_can_write(run, tints):
    with pytest.raises(ValueError, match="stripes has no classes to write with"):
        explore.word(run)
    clothes = tints(2)
    for names, wrong in ((["a", "T-shirt/top"], "T-shirt/top"), (["a", ""], "")):
        clothes.data["classes"] = names
        with pytest.raises(ValueError, match=f"the class '{wrong}' is no single character"):
            explore.word(clothes)


def test_the_preview_of_a_word_has_a_labelled_slider_over_its_styles(scribe):
    run = scribe()
    (slider,) = Tags(explore.word(run, "cab", seed=5).preview).named("input")
    frames = json.loads(slider["data-frames"])
    assert slider["type"] == "range"
    assert slider["aria-label"] == "place on the way between two styles, from style A to style B"
    assert (slider["min"], slider["max"]) == ("0", "10")
    assert len(frames) == 11
    assert len(set(frames)) > 8, "in 16 greys two neighbours may be the same"
    start, end = run.draw_z(2 * handwriting.LONGEST, 5).split(handwriting.LONGEST)
    for index, z in ((0, start), (5, explore.between(start, end, 0.5, "normal")), (10, end)):
        exact = imageio.imread(line(run.sample(z=z[:1].expand(3, -1), labels=[2, 0, 1])), extension=".png")
        shown = imageio.imread(base64.b64decode(frames[index].partition(",")[2]), extension=".png")
        assert set(np.unique(shown)) <= set(range(0, 256, 17))
        assert np.abs(shown.astype(int) - exact).max() <= 15


def test_the_preview_of_a_word_shows_all_characters_and_the_word_each_with_a_text(scribe):
    exhibit = explore.word(scribe(BYCLASS), "Gan")
    sheet, frame = Tags(exhibit.preview).named("img")
    assert sheet["alt"] == f"The characters {''.join(BYCLASS)}, generated from one z"
    assert frame["alt"] == "The picture at the slider's place on the way between two styles"
    assert frame["src"] == json.loads(Tags(exhibit.preview).named("input")[0]["data-frames"])[0]
    size = imageio.imread(base64.b64decode(sheet["src"].partition(",")[2]), extension=".png").shape
    assert size == (2 * 2 * (7 + GAP) - 2 * GAP, 31 * 2 * (4 + GAP) - 2 * GAP)
    assert "all 62 characters of this run, and “Gan” in generated handwriting" in exhibit.preview


def test_the_caption_names_what_is_written_accents_in_two_parts_or_one(scribe):
    text = "e\N{COMBINING ACUTE ACCENT}" * handwriting.LONGEST + "z"
    caption = explore.word(scribe(("e", "é", "z")), text).preview
    assert f"“{'é' * handwriting.LONGEST}” in generated handwriting; only the first 40 of 41" in caption


def test_the_controls_of_a_word_are_in_the_box_each_with_a_name(scribe):
    exhibit = explore.word(scribe())
    found, controls = list(within(exhibit.box)), (exhibit.text, exhibit.style, exhibit.together, exhibit.resample)
    assert all(part in found for part in (*controls, exhibit.save, exhibit.picture, exhibit.status))
    assert len({control.description for control in controls}) == 4
    assert exhibit.text.value == "gantools"


def test_without_a_text_a_run_writes_what_it_can(scribe):
    assert explore.word(scribe()).text.value == "gantools"
    digits = explore.word(scribe("0123456789"))
    assert digits.text.value == "01234567"
    assert "“01234567” in generated handwriting" in digits.preview
    assert digits.status.value == ""


def test_a_text_of_which_nothing_can_be_written_is_not_announced(scribe):
    assert "generated handwriting" not in explore.word(scribe("0123456789"), "gantools").preview


def test_what_is_no_text_is_refused(scribe):
    with pytest.raises(TypeError, match="text=7 is no text: write it in quotes"):
        explore.word(scribe(), 7)


def test_characters_that_cannot_be_seen_are_named_by_their_code(scribe):
    status = explore.word(scribe(), "a\u200bb").status.value
    assert "\\u200b" in status and "\u200b" not in status


# The gallery


def wall(run, labels, seed=0):
    """What the exhibit should show."""
    return plots.encode(plots.tile(run.sample(z=run.draw_z(32, seed), labels=labels), 8, explore.ROW_ZOOM), "").raw


def test_a_gallery_shows_samples_of_the_chosen_class_of_the_chosen_run(tints, scribe):
    digits, letters = tints(), scribe()
    exhibit = explore.gallery({"digits": digits, "letters": letters}, seed=5)
    assert exhibit.picture.value == wall(digits, [0] * 32, seed=5)
    exhibit.label.value = 7
    assert exhibit.picture.value == wall(digits, [7] * 32, seed=5)
    exhibit.title.value = "letters"
    exhibit.label.label = "z"
    assert exhibit.picture.value == wall(letters, [25] * 32, seed=5)
    assert exhibit.status.value == "letters, z"


def test_the_classes_on_offer_follow_the_run(tints, scribe, run):
    runs = {"digits": tints(), "characters": scribe(BYCLASS), "stripes": run, "letters": scribe()}
    names = {
        "stripes": ("all of them",),
        **{title: runs[title].classes for title in ("digits", "characters", "letters")},
    }
    exhibit = explore.gallery(runs)
    for title in ("characters", "digits", "stripes", "letters", "stripes", "characters", "letters", "digits"):
        exhibit.title.value = title
        assert [name for name, _ in exhibit.label.options] == list(names[title])
        assert exhibit.label.value == 0
        assert exhibit.status.value == f"{title}, {names[title][0]}"
        assert exhibit.picture.value == wall(runs[title], None if title == "stripes" else [0] * 32)
        exhibit.label.value = len(names[title]) - 1  # the next run may not have this one
        assert exhibit.status.value == f"{title}, {names[title][-1]}"


def test_the_runs_of_a_gallery_may_differ_in_z_and_in_size(tints, recipe, start):
    exhibit = explore.gallery({"small": tints(), "large": start(recipe)})
    exhibit.title.value = "large"
    assert exhibit.status.value == "large, all of them"
    assert imageio.imread(exhibit.picture.value, extension=".png").shape == (4 * 90 - 6, 8 * 90 - 6)
    assert exhibit.picture.layout.width == f"{8 * 90 - 6}px"


def test_a_gallery_draws_new_z_each_time_and_keeps_the_class(tints):
    run = tints()
    exhibit = explore.gallery({"digits": run})
    exhibit.label.value = 3
    pictures = [exhibit.picture.value]
    for _ in range(2):
        exhibit.resample.click()
        pictures.append(exhibit.picture.value)
    assert len(set(pictures)) == 3
    assert exhibit.status.value == "digits, 3"


def test_of_many_classes_the_preview_shows_some_from_all_over(scribe):
    preview = explore.gallery({"letters": scribe()}).preview
    assert "letters: a, b, d, e, g, i, j, l, n, o, q, r, t, v, w, y" in preview


def test_a_gallery_of_points_is_refused(tints, start):
    points = start(recipes.get("ring"))
    with pytest.raises(ValueError, match="ring of eight draws points, not images"):
        explore.gallery({"digits": tints(), "ring of eight": points})


def test_a_gallery_without_runs_is_refused():
    with pytest.raises(ValueError, match="a gallery needs at least one run"):
        explore.gallery({})


def test_the_preview_of_a_gallery_is_a_row_of_each_run_with_a_text(tints, run):
    digits = tints(3)
    preview = explore.gallery({"<b id='x'>": digits, "Q&A": run}, seed=5).preview
    first, second = Tags(preview).named("img")
    assert first["alt"] == "16 generated images, <b id='x'>: 0, 1, 2"
    assert second["alt"] == "16 generated images, Q&A: no classes"
    assert first["src"] == plots.grid(digits.sample(16, seed=5), 16).uri
    assert second["src"] == plots.grid(run.sample(16, seed=5), 16).uri
    assert {"id": "x"} not in Tags(preview).named("b")
    assert "Q&amp;A: no classes" in preview
    assert not Tags(preview).named("input") and not Tags(preview).named("script")


def test_a_title_of_the_gallery_is_no_markup(tints):
    assert explore.gallery({"<b>": tints()}).status.value == "&lt;b&gt;, 0"


def test_the_controls_of_a_gallery_are_in_the_box_each_with_a_name(tints):
    exhibit = explore.gallery({"digits": tints()})
    found, controls = list(within(exhibit.box)), (exhibit.title, exhibit.label, exhibit.resample)
    assert all(part in found for part in (*controls, exhibit.picture, exhibit.status))
    assert [control.description for control in controls] == ["data set", "class", "new z"]


# What all exhibits of a run share


@pytest.fixture(params=["latent", "classes", "word", "gallery"])
def any_exhibit(request, scribe):
    """A run, an exhibit of it, and what moves the exhibit."""
    run = scribe()
    exhibit = getattr(explore, request.param)({"letters": run} if request.param == "gallery" else run)
    moves = {
        "latent": lambda: setattr(exhibit.walk, "value", 1 - exhibit.walk.value),
        "classes": lambda: setattr(exhibit.mix, "value", 1 - exhibit.mix.value),
        "word": lambda: setattr(exhibit.style, "value", 1 - exhibit.style.value),
        "gallery": lambda: setattr(exhibit.label, "value", 1 - exhibit.label.value),
    }
    return run, exhibit, moves[request.param]


def test_an_error_is_shown_the_picture_stays_and_both_are_mended(any_exhibit):
    run, exhibit, move = any_exhibit
    before, said = exhibit.picture.value, exhibit.status.value

    def fail(network, given):
        raise RuntimeError("no <such> layer")

    hook = run.player.register_forward_pre_hook(fail)
    for act in (move, exhibit.resample.click):
        exhibit.status.value = ""
        act()
        assert exhibit.status.value == "<b>RuntimeError</b>: no &lt;such&gt; layer"
        assert exhibit.picture.value == before
    hook.remove()
    move()
    assert exhibit.status.value == said
    assert exhibit.picture.value != before, "of a new z"


def test_what_is_drawn_anew_follows_the_seed(scribe):
    run = scribe()
    once, again, other = (explore.word(run, "ab", seed=seed) for seed in (1, 1, 2))
    once.resample.click()
    assert once.picture.value != again.picture.value
    assert once.picture.value == other.picture.value, "each click takes the next seed"
    again.resample.click()
    assert once.picture.value == again.picture.value


def test_a_notebook_shows_the_preview_of_any_exhibit_before_its_widgets(any_exhibit, shell):
    _, exhibit, _ = any_exhibit
    with capture_output() as captured:
        exhibit._ipython_display_()
    preview, live = (output.data for output in captured.outputs)
    assert preview["text/html"] == exhibit.preview
    assert live["application/vnd.jupyter.widget-view+json"]["model_id"] == exhibit.box.model_id


# The geometry


@pytest.mark.parametrize("noise", ["uniform", "normal"])
def test_a_walk_starts_at_a_and_ends_at_b(noise):
    a, b = torch.randn(3, 20), torch.randn(3, 20)
    torch.testing.assert_close(explore.between(a, b, 0.0, noise), a)
    torch.testing.assert_close(explore.between(a, b, 1.0, noise), b)


def test_a_walk_through_uniform_noise_is_straight():
    a, b = torch.rand(3, 20), torch.rand(3, 20)
    torch.testing.assert_close(explore.between(a, b, 0.25, "uniform"), 0.75 * a + 0.25 * b)


def test_a_walk_through_normal_noise_keeps_its_distance_from_0():
    a, b = (5 * torch.nn.functional.normalize(torch.randn(4, 20), dim=1) for _ in range(2))
    for share in (0.1, 0.5, 0.9):
        torch.testing.assert_close(explore.between(a, b, share, "normal").norm(dim=1), torch.full((4,), 5.0))
    half = explore.between(a, b, 0.5, "normal")
    torch.testing.assert_close((half * a).sum(1), (half * b).sum(1))


@pytest.mark.parametrize("factor", [1.0, -1.0, -2.0, 0.5])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_a_walk_along_one_line_stays_between_its_ends(factor, share):
    for size in (1, 20):
        a = torch.randn(2, size)
        between = explore.between(a, factor * a, share, "normal")
        torch.testing.assert_close(between, (1 - share + share * factor) * a, atol=1e-5, rtol=0)


def test_directions_are_one_standard_deviation_of_z_long_and_follow_the_seed(run):
    axes = explore.principal_directions(run, 3)
    assert axes.shape == (3, 7)
    torch.testing.assert_close(axes.norm(dim=1), torch.ones(3), atol=0.05, rtol=0)
    assert torch.equal(axes, explore.principal_directions(run, 3))
    uniform = explore.principal_directions(start_uniform(run), 1)
    assert uniform.norm().item() == pytest.approx(3**-0.5, abs=0.03)


def start_uniform(run):
    return type(run).start(run.recipe.change(noise="uniform"), run.data)


def test_the_first_direction_changes_more_than_a_random_one_of_its_length(run):
    first = explore.principal_directions(run, 1)
    assert (first[0, 0] / first.norm()).abs() > 0.95  # the strongest stripe
    z = run.draw_z(50, seed=9)
    random = torch.nn.functional.normalize(torch.randn(20, 7, generator=torch.Generator().manual_seed(1)), dim=1)

    def change(direction):
        return (run.sample(z=z + direction) - run.sample(z=z)).square().mean().item()

    assert change(first) > max(change(direction * first.norm()) for direction in random)


def test_the_first_direction_of_a_real_network_changes_more_than_the_average_one(recipe, start):
    run = start(recipe)
    first = explore.principal_directions(run, 1)
    z, generator = run.draw_z(50, seed=9), torch.Generator().manual_seed(1)
    random = torch.nn.functional.normalize(torch.randn(20, 100, generator=generator), dim=1) * first.norm()

    def change(direction):
        return (run.sample(z=z + direction) - run.sample(z=z)).square().mean().item()

    assert change(first) > 2 * sum(map(change, random)) / len(random)


def test_points_cannot_be_walked_through(start):
    with pytest.raises(ValueError, match="ring draws points, not images"):
        explore.latent(start(recipes.get("ring")))


@pytest.mark.parametrize("count", [0, -1, 8])
def test_there_are_no_more_directions_than_numbers_in_z(run, count):
    with pytest.raises(ValueError, match=f"1 to 7 directions, and {count} were asked for"):
        explore.latent(run, directions=count)


def test_a_film_may_be_one_array():
    assert explore.replay(np.zeros((2, 8, 8, 3), np.uint8), ("a", "b")).time.max == 1
