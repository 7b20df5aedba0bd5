"""The committed results: each row is one that the plans of today would write."""

import csv
import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from gantools import ASSETS, judge, train, trials
from gantools.plan import MAIN, REPLICATION, find
from gantools.study import EXAMPLE, SHIPPED

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def rows():
    return trials.read(SHIPPED)


def test_the_study_has_each_row_of_its_plan_once(rows):
    found = Counter(row.trial for row in rows if row.size in MAIN.sizes)
    assert found == Counter(MAIN.trials())


def test_the_replication_has_each_row_of_its_plan_once(rows):
    assert Counter(row.trial for row in rows if row.size not in MAIN.sizes) == Counter(REPLICATION.trials())


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


# The tables of generators, and those of the collapse at 62 classes


def table(name):
    with (ASSETS / "results" / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_shipped_generator_of_images_has_a_row_that_is_of_this_very_run():
    rows = {row["run"]: row for row in table("generators.csv") if row["parameters"]}
    runs = {name: train.load(name) for name in train.shipped()}
    assert set(rows) == {name for name, run in runs.items() if len(run.recipe.image_shape) == 3}
    for name, row in rows.items():
        run = runs[name]
        assert int(row["trained_on"]) == run.data["count"], name
        assert float(row["minutes"]) == pytest.approx(run.seconds / 60, abs=0.06), name
        assert int(row["parameters"]) == sum(p.numel() for net in run.recipe.build() for p in net.parameters()), name


def test_readme_tells_of_each_generator_what_was_measured():
    rows = {row["run"]: row for row in table("generators.csv")}
    lines = (Path(__file__).parents[1] / "README.md").read_text().splitlines()
    found = [
        [cell.strip(" *") for cell in line.split("|")[1:-1]]
        for line in lines
        if line.startswith("| `") and "(0" in line
    ]
    told = {cells[0].split("`")[1]: cells[3:] for cells in found if len(cells) == 7}
    assert told.keys() == {name for name in rows if rows[name]["parameters"]} - {"rgan-mnist-10k-no-penalty"}
    for name, cells in told.items():
        keys = ("frechet_distance", "coverage", "label_agreement", "classification_accuracy")
        for key, cell in zip(keys, cells, strict=True):
            digits = len(cell.partition(".")[2])
            assert (cell or None) == (f"{float(rows[name][key]):.{digits}f}" if rows[name][key] else None), (name, key)


def test_the_best_generator_of_the_reduced_digits_meets_the_bounds_that_were_set_for_it():
    rows = {row["run"]: row for row in table("generators.csv")}
    real, best = (
        {key: float(value or 0) for key, value in rows[name].items() if key not in ("run", "dataset")}
        for name in ("real mnist", "rgan-pose-mnist-10k")
    )
    assert best["classification_accuracy"] >= 0.975
    assert best["label_agreement"] >= real["label_agreement"] - 0.005
    assert best["density"] >= 0.9 * real["density"]
    assert best["coverage"] >= 0.9 * real["coverage"]
    assert best["memorisation"] >= 0.9
    assert best["frechet_distance"] <= 3 * real["frechet_distance"]


def test_copies_of_the_training_digits_are_given_away_by_memorisation_alone():
    rows = {row["run"]: row for row in table("generators.csv")}
    copies, real = rows["copies mnist-10k"], rows["real mnist"]
    for key in ("coverage", "density", "label_agreement", "classification_accuracy"):
        assert float(copies[key]) == pytest.approx(float(real[key]), abs=0.01)
    assert float(copies["frechet_distance"]) > 2 * float(real["frechet_distance"])
    assert float(copies["memorisation"]) < 0.01


def test_all_62_classes_come_back():
    """The bounds that were set for the cured recipe, over all classes and for the worst."""
    rows = {(row["variant"], int(row["steps"])): row for row in table("collapse.csv")}
    shipped = train.load("rgan-pose-emnist-byclass")
    real, cured = rows["real", 0], rows["shipped", shipped.step]
    assert float(cured["modes"]) == 62
    assert float(cured["coverage"]) >= 0.85 * float(real["coverage"])
    assert float(cured["label_agreement"]) >= float(real["label_agreement"]) - 0.03
    covered = {(row["variant"], row["name"]): float(row["coverage"]) for row in table("collapse-classes.csv")}
    ratios = {name: covered["shipped", name] / covered["real", name] for _, name in covered}
    assert min(ratios.values()) >= 0.6
    assert {name for name, _ in rows} <= {"real", "shipped", *benchmark("collapse").VARIANTS}


def test_all_variants_are_measured_and_the_class_head_is_in_all_that_collapse():
    variants = benchmark("collapse").VARIANTS
    assert {row["variant"] for row in table("collapse.csv") if row["steps"] == "5000"} == set(variants)
    variance = {
        (row["variant"], row["name"]): float(row["within_class_variance"])
        for row in table("collapse-classes.csv")
        if row["steps"] in ("0", "5000")
    }
    names = [name for variant, name in variance if variant == "real"]
    kept = {name: np.median([variance[name, each] / variance["real", each] for each in names]) for name in variants}
    named = {name for name, recipe in variants.items() if recipe.class_weight}
    assert max(kept[name] for name in named) < 0.5 < min(kept[name] for name in kept.keys() - named)
    assert named == kept.keys() - {"projection for the class head", "rgan", "rgan, balanced batches"}


def test_held_out_letters_are_told_as_well_as_the_judge_is_right():
    """Class by class, the mean over the test images is the accuracy that is on record for all of them."""
    rows = [row for row in table("collapse-classes.csv") if row["variant"] == "held-out"]
    counts = np.array([sum(map(int, row["named"].split())) for row in rows])
    right = np.array([float(row["label_agreement"]) for row in rows])
    assert (counts @ right) / counts.sum() == pytest.approx(judge.load("emnist-byclass").accuracy, abs=1e-4)


def test_time_to_quality_is_on_record_for_two_threads():
    rows = [row for row in table("time-to-quality.csv") if (row["run"], row["threads"]) == ("rgan-mnist-10k", "2")]
    real = next(float(row["frechet_distance"]) for row in table("generators.csv") if row["run"] == "real mnist")
    assert [int(row["seconds"]) for row in rows] == sorted({int(row["seconds"]) for row in rows})
    assert min(int(row["seconds"]) for row in rows if float(row["classification_accuracy"] or 0) >= 0.95) == 441
    assert min(int(row["seconds"]) for row in rows if float(row["frechet_distance"]) <= 10 * real) == 784


def test_the_worst_of_a_variant_is_that_of_its_classes():
    classes = table("collapse-classes.csv")
    for row in table("collapse.csv"):
        of = [each for each in classes if (each["variant"], each["steps"]) == (row["variant"], row["steps"])]
        assert len({each["name"] for each in of}) == len(of) == 62
        assert min(float(each["coverage"]) for each in of) == float(row["worst_coverage"])
        assert min(float(each["label_agreement"]) for each in of) == float(row["worst_agreement"])
        assert min(float(each["within_class_variance"]) for each in of) == float(row["worst_variance"])


def test_each_row_of_the_search_is_of_a_variant():
    found = {row["variant"] for row in table("search.csv")}
    assert "plain" in found and found <= {"real images", *benchmark("search").VARIANTS}


def test_each_row_of_the_ablation_is_of_a_variant_after_all_its_steps():
    rows, ablation = table("cgan-sn-ablation.csv"), benchmark("ablation")
    assert {row["variant"] for row in rows} <= set(ablation.VARIANTS)
    assert {int(row["step"]) for row in rows} == {ablation.STEPS}


def benchmark(name):
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def their_folder(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)  # they share `results`


@pytest.mark.parametrize("script", sorted(path.stem for path in BENCHMARKS.glob("*.py") if path.stem != "results"))
def test_a_benchmark_says_what_it_does(script, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [script, "--help"])
    with pytest.raises(SystemExit, match=r"^0$"):
        benchmark(script).main()
    assert "usage: " in capsys.readouterr().out


def test_the_poses_teach_more_up_to_their_shipped_strength_where_fd_is_lowest():
    rows = {float(row["strength"]): row for row in table("pose.csv")}
    assert list(rows) == list(benchmark("pose").STRENGTHS)
    at_rest, half, shipped, *stronger = (float(row["classification_accuracy"]) for row in rows.values())
    assert at_rest < half < shipped and shipped - at_rest > 0.01
    assert stronger == pytest.approx([shipped] * 2, abs=0.002)
    assert min(rows, key=lambda strength: float(rows[strength]["frechet_distance"])) == 1
