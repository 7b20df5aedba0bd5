"""The figures of the augmentation study, drawn from its rows."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gantools import evidence
from gantools.picture import Picture, render
from gantools.trials import Row

# Colours that stay apart for colour-blind readers (Okabe & Ito 2008).
COLOURS = {
    "real": "#000000",
    "classical": "#0072b2",
    "gan": "#d55e00",
    "classical+gan": "#009e73",
    "gan only": "#cc79a7",
    "gan60k": "#e69f00",
    "noisy": "#999999",
    "repeated": "#56b4e9",
    "through": "#f0e442",
    "published mistake": "#666666",
}
MARKERS = dict(zip(COLOURS, "os^vDPX*<>", strict=True))  # for print without colours
TICKS = (0.5, 1, 2, 3, 5, 10, 20, 30, 50, 90)  # errors in %, on a logarithmic axis
POINTS = (-50, -20, -10, -5, -2, -1, -0.5, 0, 0.5, 1, 2, 5, 10, 20)
SHOWN = ("classical", "gan", "classical+gan", "noisy", "repeated")


def learning_curves(
    rows: Sequence[Row], classifier: str, arms: Sequence[str] = ("real", "classical", "gan"), dpi: int = 90
) -> Picture:
    """The error on the test images over the number of real images, for each arm at the dose chosen on validation.

    Means over the subsets that all arms have at all sizes shown. `dpi` as for `picture.render`. Raises ValueError where
    there are none, or no size.
    """
    axes, sizes = _axes(rows, classifier, arms)
    subsets = evidence.common_subsets(rows, arms, sizes, classifier)
    told = []
    for arm in arms:
        errors = [100 * (1 - evidence.mean_accuracy(rows, arm, size, classifier, subsets=subsets)) for size in sizes]
        real = {"linestyle": "--", "zorder": 3} if arm == "real" else {}  # in front: what the others are read against
        axes.plot(sizes, errors, marker=MARKERS[arm], markersize=5, color=COLOURS[arm], label=arm, **real)
        told.append(f"{arm} {errors[0]:.1f} at {sizes[0]:,}, {errors[-1]:.1f} at {sizes[-1]:,}")
    axes.set(ylabel="error on test images, %", yscale="log")
    axes.set_yticks([tick for tick in TICKS if axes.get_ylim()[0] < tick < axes.get_ylim()[1]])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
    axes.legend()
    return render(axes.figure, f"Test error of {classifier} in %: {'; '.join(told)}", dpi)


def gains(rows: Sequence[Row], classifier: str, arms: Sequence[str] = SHOWN, dpi: int = 90) -> Picture:
    """What each arm gains over the real images alone, in points, with 95 % intervals over subsets.

    The axis is linear within a point of 0 and logarithmic beyond. `dpi` as for `picture.render`. Raises ValueError
    where no size has rows of all arms.
    """
    axes, sizes = _axes(rows, classifier, ("real", *arms))
    told, counts = [], set()
    for place, arm in enumerate(arms):
        found = [evidence.gain(rows, arm, size, classifier) for size in sizes]
        means, lows, highs = (
            [100 * value for value in column] for column in zip(*((f.mean, f.low, f.high) for f in found), strict=True)
        )
        aside = [size * 1.08 ** (place - (len(arms) - 1) / 2) for size in sizes]  # intervals side by side
        axes.plot(aside, means, marker=MARKERS[arm], markersize=5, linewidth=0.5, color=COLOURS[arm], label=arm)
        axes.vlines(aside, lows, highs, color=COLOURS[arm])
        counts |= {len(f.values) for f in found}
        told.append(f"{arm} {means[0]:+.1f} at {sizes[0]:,}, {means[-1]:+.1f} at {sizes[-1]:,}")
    axes.axhline(0, color="black", linewidth=1)
    subsets = "–".join(str(count) for count in sorted({min(counts), max(counts)}))
    axes.set_yscale("symlog", linthresh=1, linscale=2)
    axes.set(ylabel=f"gain over real alone, points (log beyond ±1)\n(95 % of the mean, {subsets} subsets)")
    axes.set_yticks([tick for tick in POINTS if axes.get_ylim()[0] <= tick <= axes.get_ylim()[1]])
    axes.yaxis.set_major_formatter("{x:+g}")
    axes.yaxis.set_minor_formatter("")
    axes.legend(loc="upper right", fontsize="small")
    return render(axes.figure, f"Gain of {classifier} in points: {'; '.join(told)}", dpi)


def _axes(rows: Sequence[Row], classifier: str, arms: Sequence[str]) -> tuple[Axes, list[int]]:
    """Axes over the sizes at which every arm has rows."""
    if not arms:
        raise ValueError("a figure needs at least one arm")
    of = [{row.size for row in rows if (row.arm, row.classifier) == (arm, classifier)} for arm in arms]
    sizes = sorted(set.intersection(*of))
    if not sizes:
        raise ValueError(f"no size has rows of {classifier!r} in each of the arms {', '.join(arms)}")
    axes = Figure(figsize=(8, 4)).subplots()
    axes.set(xlabel="real images", xscale="log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    return axes, sizes
