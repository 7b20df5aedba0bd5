import imageio.v3 as imageio
import pytest
from matplotlib.axes import Axes

from gantools.arms import ARMS
from gantools.study_plots import COLOURS, MARKERS, SHOWN, gains, learning_curves
from gantools.trials import Row


def row(arm, size, subset, accuracy):
    dose = 0.0 if arm in ("real", "classical") else 1.0
    return Row(arm, size, dose, subset, "cnn", "", 0, 1, accuracy, accuracy, "", 1.0, (accuracy,) * 10)


@pytest.fixture
def rows():
    levels = {"real": 0.8, "classical": 0.9, "gan": 0.75}
    return [
        row(arm, size, subset, level + subset / 100 + size / 10_000)
        for arm, level in levels.items()
        for size in (100, 300)
        for subset in range(2)
    ]


@pytest.fixture
def drawn(monkeypatch):
    """What the axes were given: label → (x, y), and the intervals."""
    lines, intervals = {}, []
    plot, vlines = Axes.plot, Axes.vlines
    monkeypatch.setattr(
        Axes, "plot", lambda axes, x, y, **how: lines.update({how["label"]: (x, y)}) or plot(axes, x, y, **how)
    )
    monkeypatch.setattr(
        Axes, "vlines", lambda axes, *given, **how: intervals.append(given) or vlines(axes, *given, **how)
    )
    return lines, intervals


def test_every_arm_has_a_colour_of_its_own():
    assert set(ARMS) <= COLOURS.keys()
    assert len(set(COLOURS.values())) == len(COLOURS)


def test_learning_curves_show_the_error_of_each_arm(rows, drawn):
    picture = learning_curves(rows, "cnn", ("real", "gan"))
    lines, _ = drawn
    assert lines["real"][0] == [100, 300] and lines.keys() == {"real", "gan"}
    assert lines["real"][1] == pytest.approx([18.5, 16.5])
    assert picture.raw.startswith(b"\x89PNG")
    assert picture.alt == "Test error of cnn in %: real 18.5 at 100, 16.5 at 300; gan 23.5 at 100, 21.5 at 300"


def test_gains_show_points_and_intervals(rows, drawn):
    picture = gains(rows, "cnn", ("classical", "gan"))
    lines, intervals = drawn
    assert [x / size for x, size in zip(lines["gan"][0], (100, 300), strict=True)] == pytest.approx([1.08**0.5] * 2)
    assert lines["classical"][1] == pytest.approx([10, 10]) and lines["gan"][1] == pytest.approx([-5, -5])
    assert intervals[0][1] == pytest.approx([10, 10]) and intervals[0][2] == pytest.approx([10, 10])
    assert "classical +10.0 at 100, +10.0 at 300; gan -5.0 at 100" in picture.alt


def test_only_sizes_that_every_arm_has_are_drawn(rows, drawn):
    learning_curves([*rows, row("real", 1_000, 0, 0.9)], "cnn", ("real", "gan"))
    assert drawn[0]["real"][0] == [100, 300]


def test_a_learning_curve_is_of_the_same_subsets_at_every_size(rows, drawn):
    more = [row(arm, 100, 7, 0.1) for arm in ("real", "gan")]
    learning_curves([*rows, *more], "cnn", ("real", "gan"))
    assert drawn[0]["real"][1] == pytest.approx([18.5, 16.5])


def test_arms_without_rows_are_named(rows):
    with pytest.raises(ValueError, match="no size has rows of 'cnn' in each of the arms real, noisy"):
        learning_curves(rows, "cnn", ("real", "noisy"))
    with pytest.raises(ValueError, match="'mlp'"):
        gains(rows, "mlp")


def test_every_arm_that_is_shown_has_a_colour_and_a_marker_of_its_own():
    assert set(SHOWN) < COLOURS.keys()
    assert len(set(COLOURS.values())) == len(set(MARKERS.values())) == len(COLOURS) == len(MARKERS)


def test_figures_can_be_printed(rows):
    """300 dots an inch, on eight inches."""
    for draw in (learning_curves, gains):
        picture = draw(rows, "cnn", ("classical", "gan"), dpi=300)
        assert imageio.imread(picture.raw, extension=".png").shape[:2] == (1200, 2400)
        with pytest.raises(ValueError, match="dpi=0 must be above 0"):
            draw(rows, "cnn", ("classical", "gan"), dpi=0)
