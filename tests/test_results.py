"""The committed results: each row is one that the plans of today would write."""

from collections import Counter

import numpy as np
import pytest

from gantools import ASSETS, trials
from gantools.plan import MAIN, REPLICATION, find
from gantools.study import EXAMPLE, SHIPPED


@pytest.fixture(scope="module")
def rows():
    return trials.read(SHIPPED)


def test_the_study_has_each_row_of_its_plan_once(rows):
    found = Counter(row.trial for row in rows if row.size in MAIN.sizes)
    assert found == Counter(MAIN.trials())


def test_the_rows_of_the_replication_are_of_its_plan(rows):
    found = [row.trial for row in rows if row.size not in MAIN.sizes]
    assert len(set(found)) == len(found) > 0
    assert set(found) <= set(REPLICATION.trials())


def test_every_row_has_the_steps_and_the_recipe_of_its_plan(rows):
    """Else a study that goes on from this file would refuse it."""
    for row in rows:
        plan = MAIN if row.size in MAIN.sizes else REPLICATION
        assert (row.steps, row.recipe_hash) == (plan.steps(row.trial), plan.recipe_hash(row.trial)), row.trial


def test_accuracies_are_those_of_their_classes(rows):
    """Test images of each class of MNIST."""
    counts = np.array([980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009])
    for row in rows:
        assert np.array(row.per_class) @ counts / counts.sum() == pytest.approx(row.accuracy, abs=1e-5), row.trial


def test_real_images_through_the_output_path_of_a_generator_change_nothing(rows):
    def of(arm):
        return {(row.size, row.classifier, row.seed): row.accuracy for row in rows if row.arm == arm and not row.subset}

    assert of("through") == {key: value for key, value in of("real").items() if key[0] in MAIN.sizes}


def test_generated_digits_alone_teach_our_cnn(rows):
    """The bound that was set for 10,000 real digits to learn from; the published figure is 0.811."""
    alone = [row for row in rows if (row.arm, row.classifier) == ("gan only", "our cnn")]
    assert max(row.accuracy for row in alone) >= 0.975


def test_the_places_that_mcnemars_test_reads_give_the_accuracies_of_their_rows(rows):
    known = {
        (row.arm, row.size, row.seed, row.dose, row.subset): row.accuracy for row in rows if row.classifier == "cnn"
    }
    with np.load(ASSETS / "results" / "wrong.npz") as wrong:
        assert len(wrong.files) == 30
        for name in wrong.files:
            arm, size, seed = name.split(" ")
            places = wrong[name]
            assert len(set(places.tolist())) == len(places) and places.max() < 10_000
            key = (arm, int(size), int(seed), 1.0 if arm == "gan" else 0.0, 4)
            assert known[key] == pytest.approx(1 - len(places) / 10_000, abs=1e-9)


def test_the_example_of_a_row_is_one():
    assert find(EXAMPLE, (MAIN, REPLICATION))[0] is MAIN
