import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from gantools.data import DataError, ImageSet
from gantools.verdict import Check, likeness, paired_error, reach

GOOD = Check(
    held_out=200,
    real_accuracy=0.9,
    accuracy=0.95,
    bent_accuracy=0.92,
    reach=0.02,
    bent_reach=0.02,
    real_agreement=0.9,
    agreement=0.9,
    worst_class="b",
    worst_agreement=0.8,
    real_worst_agreement=0.9,
    memorisation=1.0,
    coverage=0.8,
    real_coverage=0.9,
    variance=1.0,
    drawn=1_000,
    filtered=False,
)


def test_the_interval_lies_around_the_gain():
    assert GOOD.gain == pytest.approx(0.05)
    assert GOOD.interval == pytest.approx((0.03, 0.07))


@pytest.mark.parametrize(
    ("gain", "reach", "verdict"),
    [
        (0.05, 0.02, "worth using: accuracy 0.5000 → 0.5500 (+0.0500)"),
        (0.05, 0.048, "worth using"),
        (0.05, 0.052, "not worth using: no measurable gain (+0.0500, from -0.0020 to +0.1020)"),
        (0.0, 0.0, "not worth using: no measurable gain"),
        (-0.05, 0.052, "not worth using: no measurable gain"),
        (-0.05, 0.048, "do not use: classifiers get worse with them (-0.0500)"),
    ],
)
def test_the_interval_of_the_gain_decides(gain, reach, verdict):
    check = replace(GOOD, real_accuracy=0.5, accuracy=0.5 + gain, reach=reach, bent_accuracy=0.5)
    assert check.verdict.startswith(verdict)


@pytest.mark.parametrize(("bent", "worth"), [(0.929, True), (0.931, False), (0.96, False)])
def test_a_gain_that_bending_gives_too_is_not_worth_a_gan(bent, worth):
    verdict = replace(GOOD, bent_accuracy=bent).verdict
    assert verdict.startswith("worth using") == worth
    instead = f"bend your images instead: accuracy 0.9000 → 0.9500 (+0.0500), bent real images give {bent:.4f}"
    assert (verdict == instead) == (not worth)
    assert replace(GOOD, bent_accuracy=bent, reach=0.2).verdict.startswith("not worth using: no measurable gain")


@pytest.mark.parametrize(
    ("fine", "bad", "reason"),
    [
        ({"memorisation": 0.91}, {"memorisation": 0.89}, "close to training images (memorisation 0.89; new: 1)"),
        ({"coverage": 0.46}, {"coverage": 0.44}, "too little variety (coverage 0.44; real images: 0.90)"),
        ({"variance": 0.51}, {"variance": 0.49}, "too little variety (variance within a class 0.49; real images: 1)"),
        ({"agreement": 0.81}, {"agreement": 0.79}, "too many wrong labels (agreement 0.79; real: 0.90)"),
        ({"worst_agreement": 0.46}, {"worst_agreement": 0.44}, "class b fits its label in 44% only (real: 90%)"),
        (
            {"worst_agreement": 0.3, "real_worst_agreement": 0.59},
            {"worst_agreement": 0.3, "real_worst_agreement": 0.61},
            "class b fits its label in 30% only (real: 61%)",
        ),
        (
            {"filtered": True},
            {"filtered": True, "missing": 7},
            "the filter left 7 too few; class b fits its label worst",
        ),
    ],
)
def test_each_rule_forbids_by_itself_even_where_there_is_a_gain(fine, bad, reason):
    assert replace(GOOD, **fine).verdict.startswith("worth using")
    verdict = replace(GOOD, **bad).verdict
    assert verdict.startswith("do not use: ")
    assert reason in verdict
    assert ";" not in verdict.replace(reason, "").replace("its label", "")  # no other reason


def test_all_reasons_are_given():
    verdict = replace(GOOD, memorisation=0.1, coverage=0.1, agreement=0.1, worst_agreement=0.0, accuracy=0.1).verdict
    for part in ("memorisation", "variety", "wrong labels", "get worse"):
        assert part in verdict


def test_what_the_filter_removed_is_no_reason():
    low = {"agreement": 0.5, "worst_agreement": 0.2}
    assert replace(GOOD, **low).verdict.startswith("do not use")
    assert replace(GOOD, **low, filtered=True).verdict.startswith("worth using")


def test_the_table_is_markdown_with_as_many_cells_in_each_row():
    lines = str(replace(GOOD, filtered=True, dropped=123)).splitlines()
    assert {line.count("|") for line in lines} == {4}
    assert lines[0] == "| measured | generated | real |"
    assert "| gain (95 % interval) | +0.0500 (+0.0300 to +0.0700) |  |" in lines
    assert lines[-1] == "| dropped by the filter | 123 of 1,000 drawn |  |"
    assert "dropped" not in str(GOOD)


class Sees(nn.Module):
    """A classifier whose features are the pixels of the first row, and which names the class by the first of them."""

    def features(self, x):
        return x[:, 0, 0]

    def forward(self, x):
        return nn.functional.one_hot((x[:, 0, 0, 0] > 0).long(), 2).float()


def clouds(counts, spread=0.2, seed=0):
    """Images of one row of eight pixels, around one point for each class."""
    labels = torch.arange(2).repeat_interleave(torch.tensor(counts))
    noise = torch.randn(len(labels), 1, 1, 8, generator=torch.Generator().manual_seed(seed))
    return ImageSet((2 * labels - 1).view(-1, 1, 1, 1) + spread * noise, labels, ("a", "b"), "clouds")


def test_images_like_the_held_out_ones_score_as_real_ones():
    numbers = likeness(Sees(), clouds((500, 500), seed=1), clouds((400, 100)), clouds((100, 25), seed=2))
    assert numbers["memorisation"] == pytest.approx(1, abs=0.05)
    assert numbers["coverage"] == pytest.approx(numbers["real_coverage"], abs=0.06)
    assert numbers["real_coverage"] > 0.9
    assert numbers["variance"] == pytest.approx(1, abs=0.15)


def test_copies_and_pictures_all_alike_are_seen():
    rest, held_out = clouds((400, 100)), clouds((100, 25), seed=2)
    copies = likeness(Sees(), rest, rest, held_out)
    assert copies["memorisation"] < 0.01
    alike = likeness(Sees(), clouds((200, 200), spread=0.02, seed=1), rest, held_out)
    assert alike["variance"] == pytest.approx(0.01, rel=0.2)
    assert alike["coverage"] > 0.5 * alike["real_coverage"]  # among so few it overlooks this


def test_wrong_labels_are_no_variety():
    made = clouds((200, 200), spread=0.02, seed=1)
    mixed = ImageSet(made.images, made.labels[torch.randperm(400)], made.classes, made.name)
    numbers = likeness(Sees(), mixed, clouds((400, 100)), clouds((100, 25), seed=2))
    assert numbers["variance"] == pytest.approx(0.01, rel=0.2)


def test_a_class_spread_wide_does_not_hide_one_that_is_a_single_picture():
    """The mean of 1 and 0.01, class by class; a ratio of means would be near 1."""
    wide, narrow = clouds((0, 200), seed=1), clouds((200, 0), spread=0.005, seed=2)
    made = ImageSet(torch.cat([narrow.images, wide.images]), torch.arange(2).repeat_interleave(200), ("a", "b"), "made")
    wide, narrow = clouds((0, 100), seed=3), clouds((100, 0), spread=0.05, seed=4)
    held_out = ImageSet(
        torch.cat([narrow.images, wide.images]), torch.arange(2).repeat_interleave(100), ("a", "b"), "new"
    )
    numbers = likeness(Sees(), made, clouds((400, 100)), held_out)
    assert numbers["variance"] == pytest.approx(0.505, abs=0.06)


def test_next_to_nothing_cannot_be_compared():
    with pytest.raises(DataError, match="drops nearly all"):
        likeness(Sees(), clouds((5, 0)), clouds((40, 10)), clouds((10, 5)))


def test_the_error_of_one_table_is_that_of_bonett_and_price():
    """Eight images gained and two lost of 100, in each of three classifiers: their adjusted Wald interval."""
    differences = torch.tensor([1.0] * 8 + [-1] * 2 + [0] * 90).repeat(3, 1)
    n, gained, lost = 102, 9 / 102, 3 / 102
    error, freedom = paired_error(differences)
    assert error == pytest.approx(math.sqrt((gained + lost - (gained - lost) ** 2) / (n - 1)))
    assert freedom == pytest.approx(101)


def test_the_error_grows_where_classifiers_disagree():
    alike = torch.tensor([1.0] * 4 + [0] * 96).repeat(3, 1)
    apart = torch.zeros(3, 100)
    apart[0, :12] = 1  # the same mean, all of it from one classifier
    assert paired_error(apart)[0] > 1.5 * paired_error(alike)[0]
    assert 2 < paired_error(apart)[1] < 4 < paired_error(alike)[1]


def test_the_interval_of_few_classifiers_is_students():
    differences = torch.zeros(2, 100)
    differences[0, :30] = 1  # all that is gained comes from one of two seeds: one degree of freedom, nearly
    error, freedom = paired_error(differences)
    assert 1 < freedom < 1.1
    assert reach(differences) == pytest.approx(12.706 * error)


@pytest.mark.parametrize("seeds", [0, 1])
def test_one_classifier_does_not_say_how_much_a_seed_matters(seeds):
    with pytest.raises(ValueError, match=f"differences of {seeds} seeds"):
        paired_error(torch.zeros(seeds, 100))


def test_of_100_intervals_of_no_gain_five_miss_0_where_seeds_matter_most():
    source = torch.Generator().manual_seed(0)
    missed = 0
    for _ in range(1_000):
        shift = 0.02 * torch.randn(5, 1, generator=source)  # what a seed gains or loses on all images
        drawn = torch.rand(5, 5_000, generator=source)
        differences = (drawn < 0.1 + shift / 2).double() - (drawn > 0.9 + shift / 2).double()
        missed += float(differences.mean().abs()) > reach(differences)
    assert 30 <= missed <= 70


@pytest.mark.parametrize(("gained", "clear"), [(5, False), (6, True)])
def test_few_differences_are_no_certainty(gained, clear):
    """McNemar's exact test takes six of six for significant at 5 %, not five of five."""
    differences = torch.zeros(3, 200)
    differences[:, :gained] = 1
    assert (gained / 200 > reach(differences)) is clear


def test_no_difference_at_all_is_no_certainty_either():
    assert paired_error(torch.zeros(3, 200))[0] == pytest.approx(math.sqrt(2 / 201 / 202))


@pytest.mark.parametrize("field", ["memorisation", "coverage", "variance", "agreement", "worst_agreement", "reach"])
def test_what_could_not_be_measured_is_no_praise(field):
    assert not replace(GOOD, **{field: math.nan}).verdict.startswith(("worth using", "bend"))
