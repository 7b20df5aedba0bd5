import math
import re
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchmetrics.image.fid
import torchmetrics.image.inception
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore

from gantools import checkpoint, data, judge, metrics, recipes, train
from gantools.data import DataError
from gantools.inception import MetricError
from gantools.judge import JudgeError
from gantools.report import NUMBERS

# evaluate


@pytest.fixture
def untrained(start, recipe):
    """A run that claims to know the first forty digits."""
    run = start(recipe)
    run.data |= {"name": "mnist", "count": 40, "digest": data.load("mnist", limit=40).digest()}
    return run


def test_evaluate_takes_every_number_of_an_unconditional_run(untrained):
    report = metrics.evaluate(untrained, "mnist", count=200)
    assert (report.name, report.dataset, report.count, report.note) == ("mlp-gan", "mnist", 200, "")
    unmeasured = set(NUMBERS) - set(report.numbers())
    assert unmeasured == {"label_agreement", "worst_class", "classification_accuracy"}
    assert report.frechet_distance > 50
    assert report.coverage < 0.1
    assert report.modes < 5
    assert report.real.numbers() == judge.load("mnist").real
    assert (report.real.name, report.real.count) == ("real training images", 10_000)


def test_the_numbers_are_those_of_the_runs_samples(untrained, mnist):
    report = metrics.evaluate(untrained, "mnist", count=150, seed=3)
    images = untrained.sample(150, seed=3)
    assert report.frechet_distance == metrics.frechet_distance(images, "mnist")
    assert report.memorisation == metrics.memorisation(images, "mnist", mnist.train[:40])  # the run has seen forty
    assert metrics.evaluate(untrained, "mnist", count=150, seed=3) == report
    assert metrics.evaluate(untrained, "mnist", count=150, seed=4).numbers() != report.numbers()


def test_the_shipped_run_draws_new_digits_of_every_class():
    report = metrics.evaluate(train.load("mlp-gan-mnist"), count=500)
    assert (report.name, report.dataset) == ("mlp-gan-mnist", "mnist")
    assert report.note == (
        "memorisation against 10,000 of its 60,000 training images; copies of the others would not be seen"
    )
    assert report.modes == 10
    assert 1 < report.frechet_distance < 30
    assert 0.2 < report.coverage < 0.9
    assert report.memorisation > 0.6


def test_evaluate_leaves_the_run_and_torchs_random_state_as_they_were(untrained):
    untrained.player.train()
    before = {key: value.clone() for key, value in untrained.player.state_dict().items()}
    state = torch.get_rng_state()
    metrics.evaluate(untrained, "mnist", count=100)
    assert torch.equal(torch.get_rng_state(), state)
    assert untrained.player.training
    assert all(torch.equal(value, before[key]) for key, value in untrained.player.state_dict().items())
    assert (untrained.step, untrained.rows, untrained.open_row) == (0, [], {})


def test_a_conditional_run_is_asked_for_classes(start, conditional, monkeypatch):
    monkeypatch.setattr(metrics, "PER_CLASS", 20)
    run = start(conditional)
    run.player.greys.data[[1, 8]] = torch.tensor([1.0, -0.6])  # greys that the judge names so
    report = metrics.evaluate(run, "mnist", count=200)
    labels = judge.load("mnist").labels(200)
    seen = metrics.see(run.sample(labels=labels), "mnist")
    assert report.label_agreement == metrics.label_agreement(seen, labels, "mnist")
    assert 0.15 < report.label_agreement < 0.25
    assert report.worst_class == 0
    assert report.classification_accuracy is None


def test_cas_is_measured_when_asked_for(start, conditional, monkeypatch):
    monkeypatch.setattr(metrics, "PER_CLASS", 10)
    given = []
    monkeypatch.setattr(metrics, "classification_accuracy", lambda *arguments: given.append(arguments) or 0.25)
    run = start(conditional)
    assert metrics.evaluate(run, "mnist", count=100, cas=True).classification_accuracy == 0.25
    ((images, labels, dataset),) = given
    assert torch.equal(labels, judge.load("mnist").labels(100))
    assert torch.equal(images, run.sample(labels=labels))
    assert dataset == "mnist"


def test_a_data_set_without_a_judge_is_refused_with_those_that_have_one(start, recipe):
    with pytest.raises(JudgeError, match=r"there is no judge for 'tiny'; judges exist for .*mnist") as refusal:
        metrics.evaluate(start(recipe))
    assert str(refusal.value).endswith(", ".join(judge.available()))


def test_images_that_the_judge_cannot_see_are_refused(start):
    run = start(recipes.get("mlp-gan", image_shape=(3, 32, 32)))
    with pytest.raises(JudgeError, match=r"the judge of mnist sees images of the shape \[N, 1, 28, 28\], not"):
        metrics.evaluate(run, "mnist", count=100)


@pytest.mark.parametrize("known", ["first", "drawn"])
def test_memorisation_is_measured_against_what_the_run_was_trained_on_or_not_at_all(untrained, mnist, known):
    train = mnist.train[:40] if known == "first" else mnist.train.stratified(per_class=4)
    untrained.data["digest"] = train.digest()
    report = metrics.evaluate(untrained, count=100)
    assert (report.memorisation is not None) == (known == "first")
    missing = "no memorisation: it was not trained on the first 40 images of mnist"
    assert report.note == ("" if known == "first" else missing)


def test_a_run_of_another_data_set_has_no_memorisation(untrained):
    untrained.data["name"] = "fashion-mnist"
    report = metrics.evaluate(untrained, "mnist", count=100)
    assert (report.memorisation, report.note) == (None, "no memorisation: it was trained on fashion-mnist")


def test_the_ring_is_counted_without_a_judge():
    report = metrics.evaluate(train.load("ring"), count=2_000)
    assert (report.modes, report.real.modes, report.dataset) == (8, 8, "ring")
    shares = [float(share) for share in re.findall(r"([0-9.]+)%", report.note)]
    assert 40 < shares[0] < 90
    assert shares[1] == pytest.approx(100 * (1 - math.exp(-4.5)), abs=0.3)
    assert "modes (classes present)" in str(report)


def test_cas_and_inception_are_refused_together(untrained):
    with pytest.raises(ValueError, match="cas=True goes with the judge's numbers"):
        metrics.evaluate(untrained, "mnist", count=100, cas=True, extractor="inception")


def test_another_number_of_classes_is_refused(start, conditional):
    with pytest.raises(JudgeError, match="shades draws 7 classes, but mnist has 10"):
        metrics.evaluate(start(conditional.change(classes=7)), "mnist", count=100)


def test_too_small_a_count_is_refused(untrained):
    with pytest.raises(JudgeError, match="99 images are too few"):
        metrics.evaluate(untrained, "mnist", count=99)


def test_without_images_there_is_no_memorisation_and_a_note_says_so(untrained, monkeypatch):
    def missing(*_, **__):
        raise DataError("not here")

    monkeypatch.setattr(data, "load", missing)
    report = metrics.evaluate(untrained, "mnist", count=100)
    assert report.memorisation is None
    assert report.note == "no memorisation: not here"
    assert report.frechet_distance is not None


def test_another_extractor_is_refused(untrained):
    with pytest.raises(ValueError, match="extractor='inceptoin': choose judge or inception"):
        metrics.evaluate(untrained, "mnist", count=100, extractor="inceptoin")


# Inception-v3


def test_without_torch_fidelity_inception_is_refused_with_a_cure(untrained, monkeypatch):
    monkeypatch.setattr(torchmetrics.image.fid, "_TORCH_FIDELITY_AVAILABLE", False)
    with pytest.raises(MetricError, match=r"Inception-v3 cannot be had here .*pip install torch-fidelity") as refusal:
        metrics.evaluate(untrained, "mnist", count=100, extractor="inception")
    assert "\n" not in str(refusal.value)
    assert "extractor='judge'" in str(refusal.value)
    project = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    (package,) = re.findall(r'^inception = \["([\w-]+)>=[\d.]+"\]$', project, flags=re.M)
    assert f"pip install {package}`" in str(refusal.value), "the extra and the cure name one package"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (URLError("Temporary failure in name resolution"), "<urlopen error Temporary failure in name resolution>"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (RuntimeError('invalid hash value\n(expected "6726825d", got "0")'), "invalid hash value (expected"),
    ],
)
def test_without_its_weights_inception_is_refused_with_another_cure(untrained, monkeypatch, error, reason):
    def refuse(**_):
        raise error

    monkeypatch.setattr(torchmetrics.image.fid, "FrechetInceptionDistance", refuse)
    with pytest.raises(MetricError) as refusal:
        metrics.evaluate(untrained, "mnist", count=100, extractor="inception")
    message = str(refusal.value)
    assert message.startswith(f"The weights of Inception-v3 cannot be had here ({reason}")
    assert "torch-fidelity downloads them once: try again where the network is there" in message
    assert "extractor='judge', needs no download" in message
    assert "pip install" not in message, "the package is there"
    assert "\n" not in message
    assert refusal.value.__cause__ is error


class Thumbnail(nn.Module):
    """Stands for Inception-v3: the 16 means of an image's parts."""

    num_features = 16
    shapes: set[tuple[int, ...]] = set()  # noqa: RUF012

    def forward(self, images: Tensor) -> Tensor:
        assert images.dtype == torch.uint8
        self.shapes.add(tuple(images.shape[1:]))
        return nn.functional.adaptive_avg_pool2d(images.float().mean(1) / 255, 4).flatten(1)


@pytest.fixture
def thumbnails(monkeypatch):
    """torchmetrics' FD and IS with `Thumbnail` where they would take Inception-v3."""

    class Distance(FrechetInceptionDistance):
        def __init__(self, **options):
            super().__init__(feature=Thumbnail(), **options)

    class Score(InceptionScore):
        def __init__(self, **options):
            super().__init__(feature=Thumbnail(), **options)

    monkeypatch.setattr(torchmetrics.image.fid, "FrechetInceptionDistance", Distance)
    monkeypatch.setattr(torchmetrics.image.inception, "InceptionScore", Score)


def test_with_inception_a_report_has_fd_and_is_of_generated_and_of_real_images(untrained, thumbnails, mnist):
    report = metrics.evaluate(untrained, "mnist", count=150, extractor="inception")
    assert Thumbnail.shapes == {(3, 28, 28)}
    assert set(report.numbers()) == set(report.real.numbers()) == {"frechet_distance", "inception_score"}
    assert report.note == "Inception-v3, against 10,000 test images"
    assert (report.name, report.count, report.real.count) == ("mlp-gan", 150, 150)
    assert report.real.frechet_distance < 0.1 * report.frechet_distance
    assert 1 <= report.inception_score < report.real.inception_score
    distance = torchmetrics.image.fid.FrechetInceptionDistance()
    distance.update(data.to_uint8(mnist.test.images), real=True)
    distance.update(data.to_uint8(untrained.sample(150)), real=False)
    assert report.frechet_distance == pytest.approx(float(distance.compute()), rel=1e-3)


def test_with_inception_the_same_seed_gives_the_same_report_and_torchs_random_state_stays(untrained, thumbnails):
    state = torch.get_rng_state()
    report = metrics.evaluate(untrained, "mnist", count=150, extractor="inception")
    assert torch.equal(torch.get_rng_state(), state)
    assert metrics.evaluate(untrained, "mnist", count=150, extractor="inception") == report


def test_what_is_measured_during_a_training_joins_the_rows_of_whole_epochs(recipe, make_set, tmp_path):
    digits = replace(make_set(40), name="mnist")
    run = train.fit(recipe.change(steps=7), digits, on_epoch=metrics.during(100))
    whole, rest = run.history
    assert train.load(checkpoint.save(run, tmp_path / "saved")).history == run.history
    assert rest["frechet_distance"] == pytest.approx(metrics.frechet_distance(run.sample(100), "mnist"))
    assert whole["step"] == 5
    assert whole["frechet_distance"] > 1
    assert 1 <= whole["inception_score"] <= 10
    again = train.fit(recipe.change(steps=5), digits, on_epoch=metrics.during(100))
    seen = metrics.see(again.sample(100), "mnist")
    assert again.history[0]["frechet_distance"] == pytest.approx(metrics.frechet_distance(seen, "mnist"))
    assert again.history[0]["inception_score"] == pytest.approx(metrics.inception_score(seen, "mnist"))
    assert whole["frechet_distance"] == pytest.approx(again.history[0]["frechet_distance"])


def test_a_conditional_run_is_measured_on_the_label_counts_of_the_reference(conditional, make_set, monkeypatch):
    asked = []
    monkeypatch.setattr(metrics, "frechet_distance", lambda seen, dataset: 1.0)
    run = train.fit(conditional.change(batch=8, steps=5), replace(make_set(40), name="mnist"))
    sample = type(run).sample
    monkeypatch.setattr(type(run), "sample", lambda run, *a, **k: asked.append(k["labels"]) or sample(run, *a, **k))
    metrics.during(100)(run)
    assert torch.equal(asked[0], judge.load("mnist").labels(100))
    assert run.history[-1]["frechet_distance"] == 1.0


def test_too_few_images_an_epoch_are_refused():
    with pytest.raises(ValueError, match=r"during\(99\): take at least 100"):
        metrics.during(99)


def test_a_run_on_data_without_a_judge_cannot_be_measured(recipe, tiny, start):
    with pytest.raises(JudgeError, match="no judge for 'tiny'"):
        train.fit(recipe.change(steps=5), tiny, on_epoch=metrics.during(100))


def test_inception_has_no_use_for_points():
    with pytest.raises(ValueError, match="ring draws points: Inception has no use for them"):
        metrics.evaluate(train.load("ring"), count=100, extractor="inception")


def test_a_name_is_no_run():
    with pytest.raises(ValueError, match=r"not 'rgan-mnist': see train.load"):
        metrics.evaluate("rgan-mnist")
