import pickle
from dataclasses import replace

import pytest
import torch

from gantools import arms, checkpoint, plan, recipes
from gantools.plan import MAIN, REPLICATION, SMOKE, SMOKE_REPLICATION
from gantools.trials import StudyError, Trial

PLANS = [MAIN, REPLICATION, SMOKE, SMOKE_REPLICATION]


def test_the_plan_has_every_arm_size_dose_subset_classifier_and_seed():
    trials = MAIN.trials()
    assert len(set(trials)) == len(trials) == 2_040
    per_arm = {arm: sum(trial.arm == arm for trial in trials) for arm in arms.ARMS}
    every = 5 * 5 * 2 * 2
    plain, dosed, sanity = ({"real", "classical"}, set(arms.DOSED), set(arms.SANITY))
    assert all(per_arm[arm] == every for arm in plain)
    assert all(per_arm[arm] == 3 * every for arm in dosed)
    assert all(per_arm[arm] == every / 5 for arm in sanity)
    assert {trial.dose for trial in trials if trial.arm == "noisy"} == {0.25, 1.0, 4.0}
    assert {trial.size for trial in trials} == {100, 300, 1_000, 3_000, 10_000}


def test_each_subset_has_a_generator_of_its_own_and_the_oracle_one_for_all():
    trials = MAIN.trials()
    assert {t.gan for t in trials if t.arm in ("gan", "classical+gan", "gan only")} == {
        f"rgan-{size}-{subset}" for size in MAIN.sizes for subset in range(5)
    }
    assert all(t.gan == f"rgan-{t.size}-{t.subset}" for t in trials if t.arm == "gan")
    assert {t.gan for t in trials if t.arm == "gan60k"} == {"rgan-all"}
    assert {t.gan for t in trials if t.arm not in arms.GENERATED} == {""}
    assert len(MAIN.gans(trials)) == 26
    assert MAIN.gans([t for t in trials if t.arm == "real"]) == []


def test_a_part_of_the_plan_is_a_part_of_it():
    part = MAIN.trials(sizes=[1_000, 100], subsets=2)
    assert set(part) < set(MAIN.trials())
    assert MAIN.trials(sizes=[100, 100]) == MAIN.trials(sizes=[100])
    assert {(t.size, t.subset) for t in part} == {(100, 0), (100, 1), (1_000, 0), (1_000, 1)}


@pytest.mark.parametrize(
    ("part", "complaint"),
    [
        ({"sizes": [100, 500]}, "size 500 is not in the plan: choose of 100, 300"),
        ({"subsets": 6}, "subsets=6: the plan has 1 to 5"),
        ({"subsets": 0}, "subsets=0"),
    ],
)
def test_what_the_plan_does_not_have_is_refused(part, complaint):
    with pytest.raises(StudyError, match=complaint):
        MAIN.trials(**part)


@pytest.mark.parametrize(
    ("ask", "complaint"),
    [
        (
            lambda: MAIN.subset(20_000, 0),
            "no subset 0 of 20000 images: sizes are 100, 300, 1000, 3000, 10000, subsets 5",
        ),
        (lambda: MAIN.subset(100, 5), "no subset 5 of 100 images"),
        (lambda: MAIN.subset(100, -1), "no subset -1 of 100 images"),
        (lambda: MAIN.learner("tree"), "no classifier 'tree': cnn, mlp"),
        (lambda: MAIN.place("rgan-100-7"), "'rgan-100-7' is no generator that this study trains; one is 'rgan-100-0'"),
        (lambda: MAIN.recipe("x"), "'x' is no generator"),
    ],
)
def test_what_the_plan_does_not_know_is_named(ask, complaint):
    with pytest.raises(StudyError, match=complaint):
        ask()


@pytest.mark.parametrize("study", PLANS)
def test_subsets_are_nested_apart_from_each_other_and_from_the_held_out_images(study):
    blocks = []
    for subset in range(study.subsets):
        larger = None
        for size in reversed(study.sizes):
            places = study.subset(size, subset)
            assert places.shape == (size,) and places.dtype == torch.int64
            assert len(places.unique()) == size and torch.equal(places, places.sort().values)
            assert places.min() >= 0 and places.max() < study.images - study.held_out
            assert larger is None or set(places.tolist()) < larger
            larger = set(places.tolist())
        blocks.append(set(study.subset(study.block, subset).tolist()))
    assert len(set.union(*blocks)) == study.block * study.subsets, "blocks share images"


def test_the_first_block_is_the_published_reduced_set():
    assert torch.equal(MAIN.subset(10_000, 0), torch.arange(10_000))
    assert torch.equal(REPLICATION.subset(8_000, 0), torch.arange(8_000))
    assert not torch.equal(MAIN.subset(100, 0), torch.arange(100)), "smaller ones are drawn inside it"


@pytest.mark.parametrize("study", PLANS)
def test_steps_belong_to_classifier_and_size_and_no_arm(study):
    for learner in study.learners:
        assert len(learner.steps) == len(study.sizes)
    lengths = {}
    for trial in study.trials():
        lengths.setdefault((trial.classifier, trial.size), set()).add(study.steps(trial))
    assert all(len(steps) == 1 for steps in lengths.values())


def test_a_generators_recipe_follows_from_its_name():
    small, large = MAIN.recipe("rgan-100-3"), MAIN.recipe("rgan-10000-3")
    assert (small.name, small.seed, small.steps) == ("rgan", 3, MAIN.gan_steps[0])
    assert large.steps == MAIN.gan_steps[-1] == MAIN.recipe("rgan-all").steps
    assert max(MAIN.gan_steps) <= 1_900 and len(MAIN.gan_steps) == len(MAIN.sizes)
    assert MAIN.place("rgan-1000-3") == (1_000, 3)
    assert MAIN.place("rgan-all") is None
    assert min(MAIN.sizes) >= MAIN.gan.batch and min(SMOKE.sizes) >= SMOKE.gan.batch


def test_the_hash_of_a_row_is_that_of_its_generators_recipe():
    trials = {trial.arm: trial for trial in MAIN.trials(sizes=[300], subsets=1)}
    assert MAIN.recipe_hash(trials["gan"]) == MAIN.recipe("rgan-300-0").digest()[: plan.HASH]
    assert MAIN.recipe_hash(trials["real"]) == MAIN.recipe_hash(trials["noisy"]) == ""
    shipped = next(trial for trial in REPLICATION.trials() if trial.gan == "rgan-mnist-10k")
    assert REPLICATION.recipe_hash(shipped) == checkpoint.load("rgan-mnist-10k").recipe.digest()[: plan.HASH]


def test_the_replication_is_the_published_comparison():
    trials = REPLICATION.trials()
    assert {t.gan for t in trials} == {""} | (set(REPLICATION.shipped) & set(checkpoint.shipped()))
    assert {"rgan-mnist-10k", "cgan-mlp-mnist-10k"} < {t.gan for t in trials}
    assert {(t.arm, round(t.dose * t.size)) for t in trials} == {
        ("real", 0),
        ("gan", 10_000),
        ("gan only", 10_000),
        ("published mistake", 0),
    }
    assert {REPLICATION.steps(t) for t in trials} == {50 * (8_000 // 64)}
    assert REPLICATION.gans(trials) == []


def test_plans_survive_the_way_to_a_worker_as_themselves():
    """What a worker has cached for a plan is found again under the copy that comes with its next job."""
    for study in PLANS:
        copy = pickle.loads(pickle.dumps(study))
        assert copy == study and hash(copy) == hash(study)


def test_a_smoke_run_needs_no_more_than_the_bundled_images():
    for study in (SMOKE, SMOKE_REPLICATION):
        assert study.images <= 10_000
        assert study.subsets * study.block <= study.images - study.held_out
    assert SMOKE.arms == MAIN.arms and SMOKE_REPLICATION.arms == REPLICATION.arms


def test_another_recipe_makes_other_generators():
    other = replace(MAIN, gan=recipes.get("cgan-mlp"))
    assert {t.gan for t in other.trials(sizes=[100], subsets=1) if t.gan} == {"cgan-mlp-100-0", "cgan-mlp-all"}
    assert other.place("cgan-mlp-100-0") == (100, 0)
    assert other.recipe("cgan-mlp-100-4").name == "cgan-mlp"
    assert isinstance(other.trials()[0], Trial)


def test_the_subsets_are_those_of_the_shipped_rows():
    """With others no row could be trained again."""
    assert MAIN.subset(100, 0)[:5].tolist() == [127, 137, 167, 297, 321]
    assert MAIN.subset(100, 1)[:5].tolist() == [10130, 10514, 10726, 10943, 11044]
