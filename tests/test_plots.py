import math

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from IPython.utils.capture import capture_output
from torch import nn

from gantools import data, plots, recipes, train

ROW = {"step": 5, "seconds": 1.0, "d_loss": 1.3, "g_loss": 0.7, "d_real": 0.6, "d_fake": 0.4}


def levels(*values, shape=(1, 2, 2)):
    """Images of one grey each."""
    return torch.stack([torch.full(shape, float(value)) for value in values])


@pytest.fixture
def figures(monkeypatch):
    """Every Matplotlib figure that becomes a picture, in order."""
    found, render = [], plots.render
    monkeypatch.setattr(plots, "render", lambda figure, alt: found.append(figure) or render(figure, alt))
    return found


def pixels(picture):
    return imageio.imread(picture.raw, extension=f".{picture.kind}")


def test_a_grid_is_its_tiles():
    images = torch.rand(6, 1, 28, 28) * 2 - 1
    picture = plots.grid(images, columns=3, alt="six images")
    assert np.array_equal(pixels(picture), plots.tile(images, 3))
    assert (picture.alt, picture.kind) == ("six images", "png")


# Figures


def thirds(picture, count):
    """The mean brightness of the picture's vertical slices, title apart."""
    grey = pixels(picture)[60:, :, :3].mean((0, 2))
    return [part.mean() for part in np.array_split(grey, count)]


def test_real_images_are_left_and_generated_ones_right():
    picture = plots.compare(levels(*[1] * 16, shape=(1, 28, 28)), levels(*[-1] * 16, shape=(1, 28, 28)), columns=4)
    left, right = thirds(picture, 2)
    assert left > 200 > right
    assert picture.alt == "Left: real; right: generated"


def test_compare_takes_other_titles_and_numbers():
    picture = plots.compare(levels(0, 0, 0), levels(0), titles=("before", "after"))
    assert picture.alt == "Left: before; right: after"


def test_a_strip_goes_from_left_to_right():
    snapshots = [levels(*[value] * 16, shape=(1, 28, 28)) for value in (-1, 0, 0.9)]
    picture = plots.strip(snapshots, ["epoch 1", "epoch 10", "epoch 50"])
    first, second, third = thirds(picture, 3)
    assert first < second < third
    assert picture.alt == "Samples of the same z: epoch 1, epoch 10, epoch 50"


def test_a_strip_of_one_snapshot_is_one():
    assert plots.strip([levels(0)], ["now"]).alt.endswith("now")


@pytest.mark.parametrize(("snapshots", "titles"), [(2, 1), (1, 2), (0, 0)])
def test_a_strip_needs_a_title_for_each_snapshot(snapshots, titles):
    with pytest.raises(ValueError, match=f"{snapshots} snapshots and {titles} titles"):
        plots.strip([levels(0)] * snapshots, ["title"] * titles)


def test_curves_tell_their_last_values_in_words():
    picture = plots.curves([ROW, ROW | {"step": 10, "d_loss": 1.234, "d_fake": 0.25}], title="mlp-gan")
    assert picture.alt == (
        "Losses and outputs of D over 10 steps; at the end d_loss 1.23, g_loss 0.70, d_real 0.60, d_fake 0.25"
    )
    assert pixels(picture).std() > 0


def test_curves_draw_each_number_under_its_name_and_where_guessing_would_lie(figures):
    plots.curves([ROW, ROW | {"step": 10, "d_loss": 1.2, "g_loss": 0.8, "d_real": 0.7, "d_fake": 0.3}])
    drawn = {line.get_label(): line for axes in figures[0].axes for line in axes.lines}
    expected = {"D's loss": [1.3, 1.2], "G's loss": [0.7, 0.8], "D(x)": [0.6, 0.7], "D(G(z))": [0.4, 0.3]}
    for label, values in expected.items():
        assert list(drawn[label].get_xdata()) == [5, 10]
        assert list(drawn[label].get_ydata()) == values
    guides = [[line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":"] for axes in figures[0].axes]
    assert guides == [pytest.approx([2 * math.log(2), math.log(2)]), [0.5]]


def test_panels_need_a_column():
    with pytest.raises(ValueError, match="columns=0"):
        plots.panels([np.zeros((8, 8), np.uint8)], ["title"], 0, alt="")


def test_one_row_is_drawn_as_points():
    low, high = (plots.curves([ROW | {"d_real": value}]) for value in (0.2, 0.8))  # on an axis that always goes to 1
    assert low.raw != high.raw


def test_curves_of_nothing_are_refused():
    with pytest.raises(ValueError, match="the history is empty"):
        plots.curves([])


def test_panels_lie_from_left_to_right_and_then_in_the_next_row():
    grey = [np.full((40, 40), level, np.uint8) for level in (0, 100, 200)]
    row = plots.panels(grey, ["a", "b", "c"], alt="three levels")
    first, second, third = thirds(row, 3)
    assert first < second < third
    assert row.alt == "three levels"
    column = pixels(plots.panels(grey, ["a", "b", "c"], 1, alt="three levels"))[:, :, :3]
    upper, middle, lower = (part.mean() for part in np.array_split(column, 3))
    assert upper < middle < lower


def test_panels_show_grey_and_colour_as_they_are():
    red = np.zeros((40, 40, 3), np.uint8)
    red[:, :, 0] = 255
    shown = pixels(plots.panels([np.full((40, 40), 128, np.uint8), red], ["grey", "red"], alt=""))
    height, width = shown.shape[:2]
    assert shown[height * 2 // 3, width // 4, :3].tolist() == [128, 128, 128]
    assert shown[height * 2 // 3, width * 3 // 4, :3].tolist() == [255, 0, 0]


def test_a_last_row_of_panels_may_be_short():
    grey = np.zeros((8, 8), np.uint8)
    two, three = (pixels(plots.panels([grey] * count, ["x"] * count, 2, alt="")) for count in (2, 3))
    assert three.shape[0] == pytest.approx(2 * two.shape[0], abs=2)
    height, width = three.shape[:2]
    assert three[height * 4 // 5, width // 4, 0] == 0
    assert three[height // 2 :, width // 2 :, :3].min() == 255  # nothing, not even axes


@pytest.mark.parametrize(("count", "titles"), [(2, 1), (1, 2), (0, 0)])
def test_panels_need_a_title_for_each_picture(count, titles):
    with pytest.raises(ValueError, match=f"{count} pictures and {titles} titles"):
        plots.panels([np.zeros((8, 8), np.uint8)] * count, ["title"] * titles, alt="")


# The board of the two-dimensional game

REAL_POINT, FAKE_POINT = [20, 75, 125], [170, 25, 45]
NONE = torch.empty(0, 2)
INNER = np.s_[1:-1, 1:-1]  # the board without its frame


class Slope(nn.Module):
    """Says "real" where a direction leads, "fake" where it comes from, and 0.5 across it."""

    def __init__(self, x, y):
        super().__init__()
        self.direction = torch.tensor([float(x), float(y)])

    def forward(self, points, labels=None):
        return points @ self.direction


FLAT = Slope(0, 0)


def places(board, color):
    """Where the board has this colour: (row, column) pairs."""
    return [tuple(place) for place in np.argwhere((board == color).all(2)).tolist()]


def test_a_fresh_run_of_the_ring_has_a_board_with_points_of_both_kinds(start):
    run = start(recipes.get("ring"))
    board = plots.landscape(run.discriminator, data.ring(100).images, run.sample(100))
    assert (board.shape, board.dtype) == ((320, 320, 3), np.uint8)
    assert len(places(board, REAL_POINT)) > 100
    assert len(places(board, FAKE_POINT)) > 10


@pytest.mark.parametrize("side", [4, 40, 160])
def test_a_board_has_the_side_asked_for(side):
    assert plots.landscape(FLAT, NONE, NONE, side=side).shape == (side, side, 3)


def test_a_white_board_has_a_grey_frame_of_one_pixel():
    board = plots.landscape(FLAT, NONE, NONE, side=40)
    frame = np.ones((40, 40), bool)
    frame[INNER] = False
    assert (board[frame] == 200).all()
    assert (board[~frame] == 255).all()


@pytest.mark.parametrize("side", [0, -4, 3, 42])
def test_a_side_that_four_does_not_divide_is_refused(side):
    with pytest.raises(ValueError, match=f"side={side}: .*4 must divide it"):
        plots.landscape(FLAT, NONE, NONE, side=side)


@pytest.mark.parametrize("shape", [(2,), (5, 3), (5, 1, 28, 28)])
def test_what_is_no_point_is_refused(shape):
    for pair in ((torch.zeros(shape), NONE), (NONE, torch.zeros(shape))):
        with pytest.raises(ValueError, match=r"the board shows points \[N, 2\], not") as refusal:
            plots.landscape(FLAT, *pair)
        assert str(list(shape)) in str(refusal.value)


@pytest.mark.parametrize(
    ("slope", "real", "fake"),
    [
        ((99, 0), np.s_[:, 30:], np.s_[:, :10]),
        ((-99, 0), np.s_[:, :10], np.s_[:, 30:]),
        ((0, 99), np.s_[:10], np.s_[30:]),  # up is where y grows
        ((0, -99), np.s_[30:], np.s_[:10]),
    ],
)
def test_the_ground_is_blue_where_d_says_real_and_red_where_it_says_fake(slope, real, fake):
    board = plots.landscape(Slope(*slope), NONE, NONE, side=40)[INNER].astype(int)
    assert (board[real][..., 2] > board[real][..., 0] + 40).all()
    assert (board[fake][..., 0] > board[fake][..., 2] + 40).all()


def test_the_ground_is_white_where_d_cannot_tell_and_pales_towards_it():
    assert (plots.landscape(FLAT, NONE, NONE, side=40)[INNER] == 255).all()
    red, green, blue = plots.landscape(Slope(2, 0), NONE, NONE, side=40)[INNER][20].astype(int).T
    assert (np.diff(blue - red) >= 0).all()
    assert (blue - red)[0] < -20 < 20 < (blue - red)[-1]
    assert green.max() > 245


@pytest.mark.parametrize(
    ("point", "row", "column"), [((0.53, 0.97), 4, 28), ((-0.53, 0.97), 4, 11), ((0.53, -0.97), 35, 28)]
)
def test_a_point_is_a_dark_square_at_its_place_blue_if_real_and_red_if_generated(point, row, column):
    square = [(row + dy, column + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    point = torch.tensor([point])
    assert places(plots.landscape(FLAT, point, NONE, side=40), REAL_POINT) == square
    assert places(plots.landscape(FLAT, NONE, point, side=40), FAKE_POINT) == square


def test_every_point_is_shown_and_a_generated_one_covers_a_real_one():
    points = torch.tensor([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    board = plots.landscape(FLAT, points, points[:1], side=80)
    assert (len(places(board, REAL_POINT)), len(places(board, FAKE_POINT))) == (18, 9)


@pytest.mark.parametrize("point", [(1.4, 0.0), (-1.4, 0.0), (0.0, 1.4), (0.0, -1.4), (1e6, 1e6)])
def test_points_outside_the_board_are_left_out(point):
    board = plots.landscape(FLAT, torch.tensor([point]), torch.tensor([point]), side=40)
    assert np.array_equal(board, plots.landscape(FLAT, NONE, NONE, side=40))


# A pixel is 0.0625 wide: each of these lies half a pixel within the edge, or half a pixel beyond it.
@pytest.mark.parametrize(("x", "columns"), [(1.22, {38}), (-1.22, {1}), (1.28, set()), (-1.28, set())])
def test_a_point_on_the_edge_is_cut_by_the_frame(x, columns):
    for point in ((x, -0.02), (-0.02, x)):
        board = plots.landscape(FLAT, torch.tensor([point]), NONE, side=40)
        if point[1] == x:
            board = np.rot90(board, -1)  # what was above lies on the right
        shown = places(board, REAL_POINT)
        assert {column for _, column in shown} == columns
        assert len(shown) == 3 * len(columns)


@pytest.mark.parametrize("training", [True, False])
def test_a_board_asks_d_in_eval_mode_and_leaves_it_as_it_was(training):
    modes, discriminator = [], Slope(0, 0).train(training)
    discriminator.register_forward_pre_hook(lambda network, given: modes.append(network.training))
    plots.landscape(discriminator, NONE, NONE, side=40)
    assert modes == [False]
    assert discriminator.training == training


# Live pictures


def test_a_live_picture_is_shown_once_and_then_replaced(shell, recipe, tiny):
    with capture_output() as captured:
        run = train.fit(recipe, tiny, on_epoch=plots.live(rows=1, seed=3))
    shown = [output for output in captured.outputs if "text/html" in output.data]
    assert [output.update for output in shown] == [False, True]
    ids = {output.transient["display_id"] for output in shown}
    assert len(ids) == 1
    assert shown[0].data["text/html"] != shown[1].data["text/html"]
    expected = plots.grid(run.sample(16, seed=3), columns=16, alt="Samples after 10 steps")
    assert shown[1].data["text/html"] == expected._repr_html_()


def test_a_sheet_has_a_column_for_each_class_and_one_z_in_each_row(conditional, start):
    run = start(conditional)
    z = run.draw_z(3, seed=4)
    images = [run.sample(z=z[row : row + 1], labels=[label]) for row in range(3) for label in range(10)]
    expected = plots.grid(torch.cat(images), columns=10)
    picture = plots.sheet(run, 3, seed=4)
    assert picture.raw == expected.raw
    assert "columns: 0, 1, 2" in picture.alt


@pytest.mark.parametrize("rows", [0, -1])
def test_a_sheet_without_rows_is_refused(recipe, start, rows):
    with pytest.raises(ValueError, match=f"rows={rows}"):
        plots.sheet(start(recipe), rows)


def test_two_live_pictures_do_not_replace_each_other(shell, recipe, start):
    run = start(recipe)
    with capture_output() as captured:
        plots.live(rows=1)(run)
        plots.live(rows=1)(run)
    ids = [output.transient["display_id"] for output in captured.outputs]
    assert len(set(ids)) == 2


def test_lines_draw_every_series_and_the_floor_on_a_logarithmic_axis(figures):
    series = {"one": ([1, 5, 50], [30.0, 20.0, 7.0]), "two": ([1], [100.0])}
    picture = plots.lines(series, xlabel="epoch", ylabel="FD", floor=0.03, alt="FD against epochs")
    (axes,) = figures[0].axes
    one, two, floor = axes.lines
    assert (list(one.get_xdata()), list(one.get_ydata())) == series["one"]
    assert (list(two.get_xdata()), list(two.get_ydata())) == series["two"]
    assert set(floor.get_ydata()) == {0.03}
    assert axes.get_yscale() == "log"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["one", "two", "real images"]
    assert picture.alt == "FD against epochs"
    assert axes.get_legend().get_window_extent().x0 >= axes.get_window_extent().x1, "a legend hides curves"
    assert pixels(picture).ndim == 3


@pytest.mark.parametrize("series", [{}, {"one": ([], [])}, {"one": ([1, 2], [1.0])}])
def test_lines_without_points_are_refused(series):
    with pytest.raises(ValueError, match="at least one series"):
        plots.lines(series, xlabel="epoch", ylabel="FD", floor=1.0, alt="nothing")


def test_shares_that_reach_zero_are_drawn_without_a_floor(figures):
    series = {"real": ([0, 1], [0.9, 0.8]), "generated": ([0, 1], [0.0, 0.4])}
    shown = plots.lines(series, xlabel="class", ylabel="agreement", alt="agreement of two classes")
    (axes,) = figures[0].axes
    assert axes.get_yscale() == "linear"
    assert [list(line.get_ydata()) for line in axes.lines] == [[0.9, 0.8], [0.0, 0.4]]
    assert shown.alt == "agreement of two classes"


def test_compare_without_columns_is_refused():
    with pytest.raises(ValueError, match="columns=0 must be at least 1"):
        plots.compare(levels(0), levels(0), columns=0)


TABLES = {"real": torch.eye(3), "generated": torch.full((3, 3), 1 / 3)}


def test_numbers_of_each_class_stand_in_a_panel_for_each_measure_above_its_name(figures):
    measures = {
        "agreement": {"real": [1, 0.5, 0], "fake": [0.9, 0.2, 0.1]},
        "coverage": {"real": [1, 1, 1], "fake": [0, 0, 0]},
    }
    assert plots.per_class(measures, "abc", alt="six numbers").alt == "six numbers"
    for axes, (measure, series) in zip(figures[0].axes, measures.items(), strict=True):
        assert axes.get_ylabel() == measure
        assert [line.get_ydata().tolist() for line in axes.lines] == list(series.values())
        assert [line.get_label() for line in axes.lines] == ["real", "fake"]
        assert {line.get_linestyle() for line in axes.lines} == {"None"}, "classes are no scale"
        assert len({line.get_marker() for line in axes.lines}) == 2, "told apart without colours"
    assert [label.get_text() for label in figures[0].axes[-1].get_xticklabels()] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "measures",
    [{}, {"one": {}}, {"one": {"real": [1, 2]}}, {"one": {"real": [1, 2, 3]}, "other": {"fake": [1, 2, 3]}}],
)
def test_numbers_that_do_not_fit_the_classes_are_refused(measures):
    with pytest.raises(ValueError, match="needs the same titles in each measure, and 3 numbers for each"):
        plots.per_class(measures, "abc", alt="")


def test_matrices_show_each_table_with_the_names_of_its_rows_and_columns(figures):
    shown = plots.matrices(TABLES, "abc", xlabel="named", ylabel="asked for", alt="two tables")
    assert shown.alt == "two tables"
    for axes, (title, shares) in zip(figures[0].axes, TABLES.items(), strict=True):
        assert axes.get_title() == title
        assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
        assert np.allclose(axes.images[0].get_array(), shares.sqrt())


@pytest.mark.parametrize("series", [{}, {"one": torch.eye(2)}, {"one": torch.eye(3), "other": torch.ones(3)}])
def test_matrices_that_do_not_fit_the_names_are_refused(series):
    with pytest.raises(ValueError, match=r"each \[3, 3\] for as many names"):
        plots.matrices(series, "abc", xlabel="", ylabel="", alt="")


@pytest.mark.parametrize(
    "wrong", [torch.eye(2) * 3, torch.tensor([[0.5, -0.1], [0, 1]]), torch.full((2, 2), torch.nan)]
)
def test_only_shares_are_drawn_as_a_table_of_shares(wrong):
    with pytest.raises(ValueError, match=r"shares in \[0, 1\]; divide counts"):
        plots.matrices({"a": wrong}, ("x", "y"), xlabel="", ylabel="", alt="")


def test_snapshots_may_be_one_array():
    moments = data.from_uint8(np.zeros((3, 4, 1, 8, 8), np.uint8))
    assert plots.strip(moments, ("a", "b", "c")).alt.endswith("a, b, c")
    assert "3 moments" in plots.gif(moments).alt
