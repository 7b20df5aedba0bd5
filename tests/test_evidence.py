from math import inf, isnan

import numpy as np
import pytest

from gantools import evidence
from gantools.evidence import McNemar
from gantools.trials import Row


def row(arm="real", size=100, dose=0.0, subset=0, accuracy=0.8, validation=0.8, seed=0, gan="", per_class=(0.8, 0.8)):
    return Row(arm, size, dose, subset, "cnn", gan, seed, 400, accuracy, validation, "", 1.0, per_class)


def rows_of(arm, values, **fields):
    """A row for each subset."""
    return [row(arm, subset=subset, accuracy=value, **fields) for subset, value in enumerate(values)]


# Intervals


def test_equal_values_have_an_interval_without_width():
    assert evidence.interval([0.3] * 5) == pytest.approx((0.3, 0.3))


def test_the_interval_is_students():
    """Of 1 and 3 the mean is 2 with a standard error of 1, and Student's 97.5 % point for two values is 12.706."""
    assert evidence.interval([1.0, 3.0]) == pytest.approx((-10.706, 14.706))
    assert evidence.interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 4.303 / np.sqrt(3), 2 + 4.303 / np.sqrt(3)))


@pytest.mark.parametrize("count", [2, 3, 5, 10, 15])
def test_the_interval_holds_the_true_mean_in_95_of_100(count):
    draws = np.random.default_rng(0).normal(size=(2_000, count))
    held = np.mean([low <= 0 <= high for low, high in map(evidence.interval, draws)])
    assert 0.935 < held < 0.965


def test_one_value_has_no_interval_and_none_is_refused():
    assert all(isnan(bound) for bound in evidence.interval([0.5]))
    with pytest.raises(ValueError, match="at least one value"):
        evidence.interval([])


@pytest.mark.parametrize(
    ("freedom", "reach"), [(1, 12.706), (2, 4.303), (2.9, 4.303), (4, 2.776), (11, 2.228), (60, 2.0), (1e9, 1.98)]
)
def test_students_point_is_that_of_the_next_fewer_degrees_of_freedom(freedom, reach):
    assert evidence.student(freedom) == reach


@pytest.mark.parametrize("freedom", [0, 0.99, -1, float("nan")])
def test_without_a_degree_of_freedom_there_is_no_interval(freedom):
    with pytest.raises(ValueError, match="from 1 degree of freedom on"):
        evidence.student(freedom)


# Gains


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ([0.010, 0.012, 0.009, 0.011, 0.010], "gain"),
        ([-0.010, -0.012, -0.009, -0.011, -0.010], "loss"),
        ([0.010, -0.012, 0.009, -0.011, 0.001], "no difference shown"),
        ([0.0] * 5, "no difference shown"),
    ],
)
def test_a_gain_a_loss_and_a_null_are_told_apart(gains, verdict):
    base = [0.5, 0.9, 0.6, 0.8, 0.7]  # subsets differ far more than arms do: pairs see through it
    rows = rows_of("real", base) + rows_of("gan", np.add(base, gains), dose=1.0)
    found = evidence.gain(rows, "gan", 100, "cnn")
    assert found.mean == pytest.approx(np.mean(gains))
    assert found.values == pytest.approx(gains)
    assert found.verdict == verdict
    assert str(found).endswith(f"): {verdict}")


def test_a_difference_is_printed_in_points():
    assert str(evidence.difference([0.02, 0.02, 0.02])) == "+2.00 points (+2.00 to +2.00): gain"
    assert str(evidence.difference([0.01, 0.03])) == "+2.00 points (-10.71 to +14.71): no difference shown"
    assert evidence.difference([0.01]).verdict == "no difference shown", "one subset shows nothing"
    with pytest.raises(ValueError, match="at least one subset"):
        evidence.difference([])


def test_seeds_are_averaged_before_subsets_are_counted():
    rows = [row(seed=seed, accuracy=value) for seed, value in enumerate((0.7, 0.9))]
    rows += [row(seed=seed, accuracy=value, subset=1) for seed, value in enumerate((0.5, 0.5))]
    rows += rows_of("gan", [0.9, 0.6], dose=1.0)
    assert evidence.gain(rows, "gan", 100, "cnn").values == pytest.approx((0.1, 0.1))
    assert evidence.mean_accuracy(rows, "real", 100, "cnn") == pytest.approx(0.65)


def test_only_subsets_that_both_arms_have_are_compared():
    rows = rows_of("real", [0.5, 0.6]) + rows_of("gan", [0.6, 0.8, 0.9], dose=1.0)
    assert evidence.gain(rows, "gan", 100, "cnn").values == pytest.approx((0.1, 0.2))


def test_a_subset_that_is_not_finished_is_left_out():
    seeds = [row(subset=subset, seed=seed, accuracy=0.5) for subset in (0, 1) for seed in (0, 1)]
    ours = [row("gan", dose=1.0, subset=subset, seed=seed, accuracy=0.6) for subset in (0, 1) for seed in (0, 1)]
    ours[-1] = row("gan", dose=1.0, subset=1, seed=1, accuracy=0.9)
    assert evidence.gain(seeds + ours, "gan", 100, "cnn").values == pytest.approx((0.1, 0.25))
    assert evidence.gain(seeds + ours[:-1], "gan", 100, "cnn").values == pytest.approx((0.1,))
    doses = [row("gan", dose=dose, subset=subset, validation=dose) for subset in (0, 1) for dose in (1.0, 4.0)]
    assert evidence.chosen_doses(doses[:-1], "gan", 100, "cnn") == {0: 4.0}
    assert evidence.common_subsets(doses[:-1], ["gan"], [100], "cnn") == {0}


@pytest.mark.parametrize(("arms", "sizes"), [([], [100]), (["gan"], [])])
def test_common_subsets_of_nothing_are_refused(arms, sizes):
    with pytest.raises(ValueError, match="at least one arm and one size"):
        evidence.common_subsets([row("gan")], arms, sizes, "cnn")


def test_arms_without_a_common_subset_cannot_be_compared():
    rows = [*rows_of("real", [0.5]), row("gan", dose=1.0, subset=1)]
    for compare in (evidence.gain, evidence.class_gains):
        with pytest.raises(ValueError, match="at least one subset"):
            compare(rows, "gan", 100, "cnn")
    with pytest.raises(ValueError, match="no subset has arm 'gan' at size 100 and 'real' at every size"):
        evidence.labels_worth(rows, "gan", 100, "cnn")


def test_a_mean_over_some_subsets():
    rows = rows_of("real", [0.5, 0.6, 0.9])
    assert evidence.mean_accuracy(rows, "real", 100, "cnn", subsets=[0, 2, 7]) == pytest.approx(0.7)
    with pytest.raises(ValueError, match="none of the subsets asked for"):
        evidence.mean_accuracy(rows, "real", 100, "cnn", subsets=[7])


def test_a_gain_over_another_arm():
    rows = rows_of("classical", [0.9, 0.8]) + rows_of("classical+gan", [0.91, 0.83], dose=1.0)
    found = evidence.gain(rows, "classical+gan", 100, "cnn", base="classical")
    assert found.values == pytest.approx((0.01, 0.03))


# The dose


def test_the_dose_is_chosen_by_validation_and_never_by_test():
    best_on_test = row("gan", dose=4.0, accuracy=0.99, validation=0.70)
    best_on_validation = row("gan", dose=0.25, accuracy=0.60, validation=0.75)
    rows = [row(accuracy=0.5), best_on_test, best_on_validation]
    assert evidence.chosen_doses(rows, "gan", 100, "cnn") == {0: 0.25}
    assert evidence.gain(rows, "gan", 100, "cnn").mean == pytest.approx(0.1)
    assert evidence.gain(rows, "gan", 100, "cnn", dose=4.0).mean == pytest.approx(0.49)


def test_each_subset_chooses_its_dose_over_the_mean_of_its_seeds():
    rows = [
        row("gan", dose=dose, subset=subset, seed=seed, validation=value)
        for (dose, subset), values in {
            (1.0, 0): (0.9, 0.5),
            (4.0, 0): (0.8, 0.7),
            (1.0, 1): (0.6, 0.6),
            (4.0, 1): (0.6, 0.6),
        }.items()
        for seed, value in enumerate(values)
    ]
    assert evidence.chosen_doses(rows, "gan", 100, "cnn") == {0: 4.0, 1: 1.0}, "of equals the smaller"


# Classes, labels, pairs


def test_gains_of_classes_come_one_by_one():
    rows = rows_of("real", [0.5, 0.5], per_class=(0.4, 0.6)) + rows_of(
        "gan", [0.5, 0.5], dose=1.0, per_class=(0.5, 0.3)
    )
    first, second = evidence.class_gains(rows, "gan", 100, "cnn")
    assert (first.mean, second.mean) == pytest.approx((0.1, -0.3))
    assert (first.verdict, second.verdict) == ("gain", "loss")


@pytest.mark.parametrize(
    ("reached", "worth"),
    [(0.6, 100), (0.7, 10**2.5), (0.8, 1_000), (0.85, 10**3.5), (0.9, 10_000), (0.59, 0), (0.91, inf)],
)
def test_an_arm_is_worth_the_labels_at_which_real_images_alone_do_as_well(reached, worth):
    rows = [row(size=size, accuracy=value) for size, value in ((100, 0.6), (1_000, 0.8), (10_000, 0.9))]
    rows.append(row("gan", dose=1.0, accuracy=reached))
    found = evidence.labels_worth(rows, "gan", 100, "cnn")
    assert found.labels == pytest.approx(worth)
    assert isnan(found.low) and isnan(found.high), "of one subset"


def test_what_an_arm_is_worth_has_the_interval_of_its_gain_on_the_subsets_of_the_whole_curve():
    rows = [
        row(size=size, subset=subset, accuracy=value - 0.02 * subset)
        for size, value in ((100, 0.6), (1_000, 0.8), (10_000, 0.9))
        for subset in range(3)
    ]
    rows += rows_of("gan", [0.69, 0.68, 0.67], dose=1.0)  # gains of 0.09, 0.10 and 0.11 over 0.60, 0.58 and 0.56
    found = evidence.labels_worth(rows, "gan", 100, "cnn")
    half = 4.303 * 0.01 / np.sqrt(3)
    exponents = [2 + 5 * (0.1 + place * half) for place in (0, -1, 1)]
    assert (found.labels, found.low, found.high) == pytest.approx([10**each for each in exponents])
    assert str(found) == "316 labels (238 to 421)"
    lone = [row(size=100, subset=9, accuracy=0.1), row("gan", dose=1.0, subset=9, accuracy=0.99)]
    assert evidence.labels_worth(rows + lone, "gan", 100, "cnn") == found, "a subset without a whole curve"


def test_a_dip_in_the_learning_curve_is_filled_and_of_a_plateau_its_start_counts():
    rows = [row(size=size, accuracy=value) for size, value in ((100, 0.6), (300, 0.8), (1_000, 0.7), (3_000, 0.9))]
    assert evidence.labels_worth(
        [*rows, row("gan", dose=1.0, accuracy=0.8)], "gan", 100, "cnn"
    ).labels == pytest.approx(300)
    assert evidence.labels_worth(rows, "real", 1_000, "cnn").labels == pytest.approx(10 ** (2 + np.log10(3) / 2))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([], [], (0, 0, 1.0)),
        ([1, 2, 3], [1, 2, 3], (0, 0, 1.0)),
        ([1, 2, 9], [9], (2, 0, 0.5)),  # 2 · ½²
        ([9], list(range(10)), (0, 9, 2 / 512)),
        (list(range(8)), [100, 101], (8, 2, 2 * (1 + 10 + 45) / 1024)),
        ([1], [2], (1, 1, 1.0)),
    ],
)
def test_mcnemars_exact_test(first, second, expected):
    found = evidence.mcnemar(first, second)
    assert (found.only_first, found.only_second) == expected[:2]
    assert found.p == pytest.approx(expected[2])


def test_mcnemar_takes_arrays_and_thousands():
    wrong = np.arange(4_000, dtype=np.uint16)
    assert evidence.mcnemar(wrong, wrong[:1_000]) == McNemar(3_000, 0, 0.0)


# What is not there


def test_missing_rows_and_doses_are_named():
    rows = rows_of("real", [0.5]) + rows_of("gan", [0.6], dose=1.0)
    with pytest.raises(ValueError, match="no row of arm 'noisy', size 100, classifier 'cnn'"):
        evidence.gain(rows, "noisy", 100, "cnn")
    with pytest.raises(ValueError, match="size 300"):
        evidence.mean_accuracy(rows, "real", 300, "cnn")
    with pytest.raises(ValueError, match="at dose 4"):
        evidence.gain(rows, "gan", 100, "cnn", dose=4)


def test_rows_of_two_generators_are_not_mixed():
    rows = [row("gan", dose=1.25, gan="rgan-mnist-10k"), row("gan", dose=1.25, gan="cgan-mlp-mnist-10k")]
    with pytest.raises(ValueError, match="several generators"):
        evidence.mean_accuracy(rows, "gan", 100, "cnn")
    assert evidence.mean_accuracy(rows[:1], "gan", 100, "cnn") == 0.8


def test_without_rows_of_real_there_is_no_learning_curve():
    with pytest.raises(ValueError, match="no row of arm 'real', classifier 'cnn': there is no learning curve"):
        evidence.labels_worth([row("gan", dose=1.0, accuracy=0.8)], "gan", 100, "cnn")


@pytest.mark.parametrize("places", [[3, 3], np.array([True, False, True, False])])
def test_mcnemar_takes_places_not_masks_and_each_once(places):
    with pytest.raises(ValueError, match="places of wrong answers, each once; of a mask"):
        evidence.mcnemar([1, 2], places)
