import math
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from gantools import classify, data, distances, judge, metrics, scores
from gantools.judge import Judge, JudgeError, Seen
from gantools.nets import SmallConvClassifier
from gantools.report import NUMBERS


@pytest.fixture(scope="module")
def whole_test_set(mnist):
    return mnist.judge.see(mnist.test.images)


@pytest.fixture(scope="module")
def real(mnist):
    """2,000 real training images."""
    return mnist.judge.see(mnist.train.images[:2_000])


def made(features: Tensor, logits: Tensor | None = None, reference: Tensor | None = None) -> Seen:
    """Features [N, D] as a judge of ten classes sees them whose reference set has the features `reference`."""
    reference = features if reference is None else reference
    by = Judge(
        dataset="made",
        network=nn.Identity(),
        image_shape=(1, 28, 28),
        classes=tuple("0123456789"),
        width=32,
        accuracy=1.0,
        trained_on="nothing",
        mean=reference.double().mean(0),
        covariance=reference.double().T.cov(),
        features=reference.float(),
        counts=torch.full((10,), len(reference) // 10),
        variances=torch.ones(10, dtype=torch.float64),
    )
    return Seen(by, features.float(), torch.zeros(len(features), 10) if logits is None else logits)


def named(*counts: int) -> Seen:
    """As many images as the sum of ten counts, in which the judge names class 0, 1, … so often."""
    logits = torch.eye(10)[torch.arange(10).repeat_interleave(torch.tensor(counts))]
    return made(torch.zeros(len(logits), 64), logits)


@pytest.fixture
def appoint(monkeypatch) -> Callable[[Seen], Seen]:
    """Makes the judge of what is seen the one that `judge.load` gives."""

    def appoint_judge(seen: Seen) -> Seen:
        monkeypatch.setattr(judge, "load", lambda dataset: seen.judge)
        return seen

    return appoint_judge


def normal(count: int, size: int = 64, seed: int = 0) -> Tensor:
    """Correlated Gaussian features."""
    source = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=source) @ (0.3 * torch.randn(size, size, generator=source))


# Fréchet distance


def reference_distance(features: Tensor, by: Judge) -> float:
    """By the symmetric product S1^½ S2 S1^½, which has the eigenvalues of S1 S2."""
    values, vectors = torch.linalg.eigh(by.covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    covariance = features.double().T.cov()
    product = torch.linalg.eigvalsh(root @ covariance @ root).clamp(min=0)
    shift = (features.double().mean(0) - by.mean).square().sum()
    return float(shift + by.covariance.trace() + covariance.trace() - 2 * product.sqrt().sum())


def test_the_frechet_distance_is_that_of_another_way_to_take_the_root(real):
    assert metrics.frechet_distance(real, "mnist") == pytest.approx(reference_distance(real.features, real.judge), 1e-6)


def test_the_frechet_distance_of_made_gaussians_is_that_of_another_way(appoint):
    seen = appoint(made(normal(300, seed=1), reference=normal(300)))
    expected = reference_distance(seen.features, seen.judge)
    assert metrics.frechet_distance(seen, "made") == pytest.approx(expected, 1e-6)
    assert expected > 10


def test_equal_gaussians_have_the_distance_zero(appoint):
    seen = appoint(made(normal(300)))
    assert metrics.frechet_distance(seen, "made") == pytest.approx(0, abs=1e-5)


def test_a_shift_of_the_mean_has_its_square_as_distance(appoint):
    features, shift = normal(300), torch.linspace(-1, 2, 64)
    seen = appoint(made(features + shift, reference=features))
    assert metrics.frechet_distance(seen, "made") == pytest.approx(float(shift.square().sum()), 1e-4)


def test_twice_the_spread_has_the_variance_as_distance(appoint):
    features = normal(300)
    features -= features.mean(0)
    seen = appoint(made(2 * features, reference=features))  # tr(S + 4S - 2·2S)
    assert metrics.frechet_distance(seen, "made") == pytest.approx(float(seen.judge.covariance.trace()), 1e-4)


# torchmetrics, used in the ordinary way, says the same


class Ordinary(nn.Module):
    """A judge's network for images that torchmetrics hands in: floats in [0, 1], or uint8."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.arrived = network, set()

    def forward(self, images: Tensor) -> Tensor:
        self.arrived.add(images.dtype)
        return self.network(data.from_uint8(images) if images.dtype == torch.uint8 else 2 * images - 1)


@pytest.mark.filterwarnings("ignore:Metric .* will save all extracted features:UserWarning")
def test_fd_kid_and_is_are_those_of_torchmetrics_used_in_the_ordinary_way(mnist, appoint, monkeypatch):
    monkeypatch.setattr(distances, "KERNEL_SUBSET", 200)
    known, images = (data.to_uint8(part.images[:400]).float() / 255 for part in (mnist.test, mnist.train))
    reference = mnist.judge.see(2 * known - 1)
    covariance, mean = reference.features.double().T.cov(), reference.features.double().mean(0)
    counts = torch.full((10,), 40)
    by = replace(mnist.judge, mean=mean, covariance=covariance, features=reference.features, counts=counts)
    seen = appoint(by.see(2 * images - 1))

    features, logits = Ordinary(by.network.features), Ordinary(by.network)
    distance = FrechetInceptionDistance(feature=features, normalize=True, input_img_size=(1, 28, 28))
    kernel = KernelInceptionDistance(feature=features, normalize=True, subsets=50, subset_size=200)
    for metric in (distance, kernel):
        metric.update(known, real=True)
        metric.update(images, real=False)
    score = InceptionScore(feature=logits, normalize=True)
    score.update(images)
    # A module of one's own gets floats from FID and KID even with normalize=True, but uint8 from IS.
    assert features.arrived == {torch.float32}
    assert logits.arrived == {torch.uint8}

    assert metrics.frechet_distance(seen, "mnist") == pytest.approx(float(distance.compute()), rel=1e-4)
    torch.manual_seed(0)
    assert metrics.kernel_distance(seen, "mnist") == pytest.approx(float(kernel.compute()[0]), abs=1e-5)
    torch.manual_seed(0)
    assert metrics.inception_score(seen, "mnist") == pytest.approx(float(score.compute()[0]), rel=1e-5)


# Real images


def test_a_copy_of_the_test_set_reaches_the_best_of_every_number(mnist, whole_test_set):
    numbers = metrics.numbers_of(whole_test_set)
    assert numbers["frechet_distance"] < 1e-3
    assert abs(numbers["kernel_distance"]) < 0.005
    assert numbers["inception_score"] == pytest.approx(mnist.judge.real["inception_score"], abs=0.1)
    assert numbers["density"] == pytest.approx(1, abs=0.15)
    assert numbers["coverage"] == 1
    assert numbers["modes"] == 10
    assert numbers["entropy"] == pytest.approx(math.log(10), abs=0.01)
    assert numbers["within_class_variance"] == pytest.approx(1, abs=1e-3)
    agreement = metrics.label_agreement(whole_test_set, mnist.test.labels, "mnist")
    assert agreement == pytest.approx(mnist.judge.accuracy, abs=1e-9)
    per_class = metrics.label_agreement_per_class(whole_test_set, mnist.test.labels, "mnist")
    assert float(per_class.min()) == pytest.approx(mnist.judge.real["worst_class"], abs=1e-9)


def test_real_training_images_come_near_what_the_judge_says_of_them(real):
    numbers, expected = metrics.numbers_of(real), real.judge.real
    assert expected["frechet_distance"] < numbers["frechet_distance"] < 0.2  # higher: these are fewer
    for name, near in [
        ("kernel_distance", 0.005),
        ("inception_score", 0.3),
        ("density", 0.05),
        ("coverage", 0.02),
        ("modes", 0),
        ("entropy", 0.01),
        ("within_class_variance", 0.05),
    ]:
        assert numbers[name] == pytest.approx(expected[name], abs=near), name


# What each number sees, and what it is blind to

COUNT = 500


def blur(images: Tensor, sigma: float) -> Tensor:
    reach = torch.arange(-6, 7)
    kernel = (-reach.square() / (2 * sigma**2)).exp()
    kernel = kernel.outer(kernel) / kernel.sum() ** 2
    return conv2d(images + 1, kernel[None, None], padding=6).clamp(0, 2) - 1


def noise(images: Tensor, sigma: float) -> Tensor:
    return (images + sigma * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))).clamp(-1, 1)


def damaged(mnist, damage: str, strength: float) -> tuple[Tensor, Tensor]:
    """Images and labels. The first 5,000 training images are those that the generator knew, the others are new."""
    known, new = mnist.train[:5_000], mnist.train[5_000:]
    chosen = new[:COUNT]
    if damage == "dropped classes":
        chosen = new[new.labels < 10 - strength][:COUNT]
    if damage == "few pictures":
        pictures = known.stratified(strength)
        chosen = pictures[torch.arange(COUNT) % len(pictures)]
    if damage == "memorised":
        places = torch.arange(COUNT)
        chosen = mnist.train[places + len(known) * (places >= strength * COUNT)]
    change = {"blur": blur, "noise": noise}.get(damage, lambda images, strength: images)
    return change(chosen.images, strength), chosen.labels


STRENGTHS = {
    "blur": [0.6, 0.8, 1.0],
    "noise": [0.1, 0.2, 0.3],
    "dropped classes": [1, 3, 6],
    "few pictures": [10, 3, 1],  # different ones of each class
    "memorised": [0.25, 0.5, 1],  # share of copies
}

# Where each number goes as the damage grows; "blind": it stays where it was, within TOLERANCE; "late": so it does at
# the lightest damage.
SEES = {
    "blur": {
        "frechet_distance": "up",
        "kernel_distance": "up",
        "inception_score": "blind",
        "density": "late down",
        "coverage": "down",
        "modes": "blind",
        "entropy": "blind",
        "within_class_variance": "blind",
        "label_agreement": "blind",
        "worst_class": "blind",
        "classification_accuracy": "blind",
        "memorisation": "blind",
    },
    "noise": {
        "frechet_distance": "up",
        "kernel_distance": "up",
        "inception_score": "down",
        "density": "down",
        "coverage": "down",
        "modes": "down",
        "entropy": "late down",
        "within_class_variance": "blind",
        "label_agreement": "down",
        "worst_class": "down",
        "classification_accuracy": "blind",
        "memorisation": "blind",
    },
    "dropped classes": {
        "frechet_distance": "up",
        "kernel_distance": "up",
        "inception_score": "down",
        "density": "blind",
        "coverage": "down",
        "modes": "down",
        "entropy": "down",
        "within_class_variance": "blind",
        "label_agreement": "blind",
        "worst_class": "blind",
        "classification_accuracy": "down",
        "memorisation": "blind",
    },
    "few pictures": {
        "frechet_distance": "late up",
        "kernel_distance": "late up",
        "inception_score": "blind",
        "density": "blind",
        "coverage": "down",
        "modes": "blind",
        "entropy": "blind",
        "within_class_variance": "late down",
        "label_agreement": "blind",
        "worst_class": "blind",
        "classification_accuracy": "down",
        "memorisation": "down",
    },
    "memorised": {
        "frechet_distance": "blind",
        "kernel_distance": "blind",
        "inception_score": "blind",
        "density": "blind",
        "coverage": "blind",
        "modes": "blind",
        "entropy": "blind",
        "within_class_variance": "blind",
        "label_agreement": "blind",
        "worst_class": "blind",
        "classification_accuracy": "blind",
        "memorisation": "down",
    },
}
TOLERANCE = {
    "frechet_distance": 0.3,
    "kernel_distance": 0.01,
    "inception_score": 0.5,
    "density": 0.1,
    "coverage": 0.03,
    "modes": 0,
    "entropy": 0.03,
    "within_class_variance": 0.1,
    "label_agreement": 0.01,
    "worst_class": 0.05,
    "classification_accuracy": 0.06,
    "memorisation": 0.15,
}


def small_cas(images: Tensor, labels: Tensor, test: data.ImageSet) -> float:
    """CAS of the study's small CNN on 1,000 test images: a second where the usual one takes a minute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classify, "train_classifier", partial(classify.train_classifier, network=SmallConvClassifier))
        patch.setattr(data, "load", lambda dataset, split: test[:1_000])
        return metrics.classification_accuracy(images, labels, "mnist")


@pytest.fixture(scope="module")
def measured(mnist):
    """The numbers of as many undamaged images, then of each damage by growing strength."""

    def measure(damage: str, strength: float) -> dict[str, float]:
        images, labels = damaged(mnist, damage, strength)
        seen = mnist.judge.see(images)
        per_class = metrics.label_agreement_per_class(seen, labels, "mnist")
        memorisation = metrics.memorisation(images, "mnist", mnist.train[:5_000])
        return metrics.numbers_of(seen) | {
            "label_agreement": metrics.label_agreement(seen, labels, "mnist"),
            "worst_class": float(per_class[~per_class.isnan()].min()),
            "classification_accuracy": small_cas(images, labels, mnist.test),
            "memorisation": round(memorisation, 2),  # rounding errors put copies a thousandth away
        }

    clean = measure("nothing", 0)
    return {
        damage: [clean, *(measure(damage, strength) for strength in strengths)]
        for damage, strengths in STRENGTHS.items()
    }


@pytest.mark.parametrize(
    ("damage", "number", "direction"),
    [(damage, number, direction) for damage, row in SEES.items() for number, direction in row.items()],
)
def test_a_number_moves_with_the_damage_that_it_sees(measured, damage, number, direction):
    values = [numbers[number] for numbers in measured[damage]]
    if direction == "blind":
        assert values == pytest.approx([values[0]] * len(values), abs=TOLERANCE[number])
    else:
        if direction.startswith("late"):
            assert values[1] == pytest.approx(values[0], abs=TOLERANCE[number])
        moving = values[1:] if direction.startswith("late") else values
        assert moving == sorted(moving, reverse=direction.endswith("down"))
        assert abs(values[-1] - values[0]) > TOLERANCE[number]


def test_every_number_is_tried_with_every_damage():
    assert list(TOLERANCE) == list(NUMBERS)
    assert all(list(row) == list(NUMBERS) for row in SEES.values())
    assert SEES.keys() == STRENGTHS.keys()


def test_the_table_in_the_docstring_of_metrics_is_this_one():
    short = "FD KID IS density coverage modes entropy variance agreement worst CAS memorisation".split()
    marks = {"up": "↑", "down": "↓", "late up": "(↑)", "late down": "(↓)", "blind": "·"}
    lines = [re.split(r"\s{2,}", line.strip()) for line in metrics.__doc__.splitlines()]
    start = lines.index(short)
    assert {row[0]: row[1:] for row in lines[start + 1 : start + 1 + len(SEES)]} == {
        damage: [marks[row[number]] for number in NUMBERS] for damage, row in SEES.items()
    }
    assert lines[start + 1 + len(SEES)] == [""], "the table ends there"


def test_one_picture_of_each_class_has_no_variety_and_is_a_copy(measured):
    clean, *_, numbers = measured["few pictures"]
    assert numbers["within_class_variance"] < 1e-3
    assert numbers["coverage"] < 0.15
    assert numbers["label_agreement"] == 1
    assert numbers["frechet_distance"] > 8 * clean["frechet_distance"]
    assert numbers["memorisation"] < 0.01


def test_dropped_classes_are_counted(measured):
    assert [numbers["modes"] for numbers in measured["dropped classes"]] == [10, 9, 7, 4]


def test_a_classifier_names_no_class_that_it_was_not_taught(mnist, measured):
    """CAS is at most the share of the test images whose class was drawn; one class after the other, it falls by it."""
    for classes, numbers in zip([10, 9, 7, 4], measured["dropped classes"], strict=True):
        share = float((mnist.test.labels[:1_000] < classes).float().mean())
        assert share - 0.15 < numbers["classification_accuracy"] <= share


def test_ten_pictures_of_each_class_are_seen_by_coverage_cas_and_memorisation_only(measured):
    clean, ten, *_ = measured["few pictures"]
    moved = {number for number in NUMBERS if abs(ten[number] - clean[number]) > TOLERANCE[number]}
    assert moved == {"coverage", "classification_accuracy", "memorisation"}


def test_memorisation_falls_a_little_with_some_copies_and_to_nothing_where_they_are_half(measured):
    """It is a ratio of medians."""
    quarter, half, whole = (numbers["memorisation"] for numbers in measured["memorised"][1:])
    assert 0.8 < quarter < 0.95
    assert half == whole == 0


# Density and coverage


def counted(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """Density and coverage by their definition, one distance after the other."""
    inside = torch.zeros(len(real), len(fake))
    for i, centre in enumerate(real):
        others = sorted(float((centre - other).norm()) for j, other in enumerate(real) if j != i)
        for j, point in enumerate(fake):
            inside[i, j] = float((centre - point).norm()) <= others[4]
    return float(inside.sum()) / (5 * len(fake)), float(inside.any(1).float().mean())


@pytest.mark.parametrize(("shift", "spread"), [(0, 1), (1, 1), (0, 0.3), (0, 3)])
def test_density_and_coverage_are_what_counting_gives(appoint, shift, spread):
    real, fake = normal(120, 3), shift + spread * normal(120, 3, seed=1)
    seen = appoint(made(fake, reference=real))
    assert metrics.density_coverage(seen, "made") == pytest.approx(counted(real, fake))


def cloud(count: int, seed: int = 0) -> Tensor:
    """Draws from one Gaussian in three dimensions."""
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))


def test_points_far_from_all_others_have_neither_density_nor_coverage(appoint):
    seen = appoint(made(cloud(120, seed=1) + 1_000, reference=cloud(120)))
    assert metrics.density_coverage(seen, "made") == (0, 0)


def test_one_point_in_the_middle_has_density_but_no_coverage(appoint):
    real = cloud(1_000)
    seen = appoint(made(real.mean(0).expand(1_000, 3), reference=real))
    density, coverage = metrics.density_coverage(seen, "made")
    assert density > 0.5
    assert coverage < 0.02


@pytest.mark.parametrize("count", [200, 2_000])
def test_density_and_coverage_compare_equally_many(appoint, count):
    """As many as there are of both: five times as many images as the judge has kept would lie in five times as many."""
    seen = appoint(made(cloud(count, seed=1), reference=cloud(400)))
    density, coverage = metrics.density_coverage(seen, "made")
    assert density == pytest.approx(1, abs=0.2)
    assert coverage == pytest.approx(0.96, abs=0.03)


def test_the_order_of_the_images_is_no_matter(real):
    order = torch.randperm(len(real), generator=torch.Generator().manual_seed(5))
    shuffled = Seen(real.judge, real.features[order], real.logits[order])
    one, other = metrics.numbers_of(real), metrics.numbers_of(shuffled)
    assert one.pop("inception_score") == pytest.approx(other.pop("inception_score"), abs=0.1)  # of random tenths
    assert one.pop("kernel_distance") == pytest.approx(other.pop("kernel_distance"), abs=1e-3)  # of random subsets
    assert one == pytest.approx(other, rel=1e-6)


def test_sorted_images_are_taken_from_all_classes(mnist, whole_test_set):
    """More images than the judge has kept: the first of them would be the small digits only."""
    order = whole_test_set.named.argsort(stable=True)
    by_class = Seen(mnist.judge, whole_test_set.features[order], whole_test_set.logits[order])
    assert metrics.density_coverage(by_class, "mnist")[1] > 0.93


# Classes


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([20] * 10, math.log(10)), ([200] + [0] * 9, 0), ([100, 100] + [0] * 8, math.log(2))],
)
def test_entropy_is_that_of_the_named_classes(appoint, counts, expected):
    assert metrics.entropy(appoint(named(*counts)), "made") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([100] * 10, 10),
        ([1_000] + [0] * 9, 1),
        ([100] * 8 + [190, 10], 10),  # a tenth of the fair share is present
        ([100] * 8 + [191, 9], 9),  # below it is lost
    ],
)
def test_a_class_is_present_from_a_tenth_of_its_share(appoint, counts, expected):
    assert metrics.modes(appoint(named(*counts)), "made") == expected


def test_the_fair_share_is_that_of_the_reference_set(appoint):
    seen = named(*[100] * 9, 2)
    rare = torch.tensor([100] * 9 + [10])
    assert metrics.modes(appoint(seen), "made") == 9
    assert metrics.modes(appoint(Seen(replace(seen.judge, counts=rare), seen.features, seen.logits)), "made") == 10


@pytest.mark.parametrize("sure", [0.0, 100.0])
def test_the_inception_score_goes_from_one_to_the_number_of_classes(appoint, sure):
    seen = named(*[200] * 10)
    score = metrics.inception_score(appoint(replace(seen, logits=sure * seen.logits)), "made")
    assert score == pytest.approx(10 if sure else 1, rel=0.05)


def test_the_variance_within_a_class_is_that_of_its_features_over_the_reference(appoint):
    features = normal(200, 4)
    logits = torch.eye(10)[torch.arange(200) % 2]
    seen = made(features, logits)
    seen = appoint(Seen(replace(seen.judge, variances=torch.arange(1, 11).double()), features, logits))
    per_class = metrics.within_class_variance_per_class(seen, "made")
    expected = [features[place::2].double().var(0).sum() / (place + 1) for place in (0, 1)]
    assert per_class[:2].tolist() == pytest.approx([float(value) for value in expected])
    assert per_class[2:].isnan().all()
    assert metrics.within_class_variance(seen, "made") == pytest.approx(float(sum(expected)) / 2)


def test_a_class_with_one_image_has_no_variance(appoint):
    per_class = metrics.within_class_variance_per_class(appoint(named(99, 1, *[0] * 8)), "made")
    assert per_class[0] == 0
    assert per_class[1].isnan()


def test_label_agreement_is_the_share_of_images_named_as_asked(appoint):
    seen = appoint(named(50, 50, *[0] * 8))
    labels = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)
    assert metrics.label_agreement(seen, labels, "made") == pytest.approx(0.8)
    assert metrics.label_agreement(seen, labels.tolist(), "made") == pytest.approx(0.8)
    per_class = metrics.label_agreement_per_class(seen, labels, "made")
    assert per_class[:3].tolist() == [1, 1, 0]
    assert per_class[3:].isnan().all()


def test_confusion_counts_what_is_named_in_the_place_of_what_was_asked_for(appoint):
    counts = metrics.confusion(appoint(named(50, 50, *[0] * 8)), [0] * 50 + [1] * 30 + [2] * 20, "made")
    expected = torch.zeros(10, 10, dtype=torch.int64)
    expected[0, 0], expected[1, 1], expected[2, 1] = 50, 30, 20
    assert torch.equal(counts, expected)


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        (torch.zeros(99, dtype=torch.int64), r"100 images need as many whole numbers as labels, not \[99\]"),
        (torch.zeros(100), "100 images need as many whole numbers"),
        (torch.arange(100), "labels must lie in 0 to 9, not 0 to 99"),
        (torch.arange(100) % 10 - 1, "labels must lie in 0 to 9, not -1 to 8"),
    ],
)
@pytest.mark.parametrize(
    "number",
    [metrics.label_agreement, metrics.label_agreement_per_class, metrics.confusion, metrics.coverage_per_class],
)
def test_labels_that_do_not_fit_are_refused(appoint, number, labels, complaint):
    with pytest.raises(JudgeError, match=complaint):
        number(appoint(named(*[10] * 10)), labels, "made")


def test_the_classifier_learns_from_what_a_png_would_hold_and_is_scored_on_the_test_images(mnist, monkeypatch):
    taught = []

    def learn(images, labels, classes, seed):
        taught.append((images, labels, classes, seed))
        return mnist.judge.network

    monkeypatch.setattr(classify, "train_classifier", learn)
    monkeypatch.setattr(data, "load", lambda dataset, split="train": vars(mnist)[split][:300])
    part = mnist.train[:100]
    labels = part.labels.tolist()
    score = metrics.classification_accuracy(part.images + 1e-3, labels, "mnist", seed=7)
    assert score == metrics.label_agreement(mnist.test.images[:300], mnist.test.labels[:300], "mnist")
    ((images, labels, classes, seed),) = taught
    assert torch.equal(images, part.images)
    assert torch.equal(labels, part.labels)
    assert (classes, seed) == (10, 7)


# Memorisation


def test_copies_of_training_images_are_memorised_and_others_are_not(mnist):
    train = mnist.train[:1_000]
    assert metrics.memorisation(train.images[:100], "mnist", train) < 0.01
    assert metrics.memorisation(mnist.train.images[1_000:1_500], "mnist", train) == pytest.approx(1, abs=0.1)


def test_images_unlike_any_real_one_lie_further_away(mnist):
    assert metrics.memorisation(torch.ones(100, 1, 28, 28), "mnist", mnist.train[:500]) > 2


def test_memorisation_is_a_ratio_of_medians_of_distances_between_rounded_pixels(mnist, monkeypatch):
    train, test, new = mnist.train[:120], mnist.test[:150], mnist.train[200:301].images
    monkeypatch.setattr(data, "load", lambda dataset, split="train": {"train": train, "test": test}[split])

    def median(images):
        nearest = [float((train.images - image).flatten(1).double().norm(dim=1).min()) for image in images]
        return torch.tensor(nearest).median()

    expected = float(median(new) / median(test.images))
    assert metrics.memorisation(new * 0.998, "mnist") == pytest.approx(expected, rel=1e-5)


def test_images_of_another_shape_cannot_be_memorised(mnist):
    with pytest.raises(JudgeError, match=r"\[100, 3, 32, 32\] cannot be compared with \[10000, 1, 28, 28\]"):
        metrics.memorisation(torch.zeros(100, 3, 32, 32), "mnist", mnist.train[:100])


# The ring


def test_points_of_the_ring_lie_in_its_eight_gaussians():
    found, share = metrics.ring_modes(data.ring(8_000).images)
    assert found == 8
    assert share == pytest.approx(1 - math.exp(-4.5), abs=0.005)  # within three standard deviations, in the plane


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        (data.ring_centres(), (8, 1)),
        (data.ring_centres()[:3], (3, 1)),
        (data.ring_centres()[[0] * 50], (1, 1)),
        (torch.zeros(50, 2), (0, 0)),
        (torch.cat([data.ring_centres()[:2], torch.zeros(2, 2)]), (2, 0.5)),
        (1.19 * data.ring_centres(), (8, 1)),  # 0.1425 away from the centre, of 0.15
        (1.21 * data.ring_centres(), (0, 0)),  # 0.1575
        (data.ring_centres()[[0] * 79 + [1]], (2, 1)),  # a tenth of N / 8
        (data.ring_centres()[[0] * 80 + [1]], (1, 1)),  # less
    ],
)
def test_a_gaussian_is_found_where_points_are_near_its_centre(points, expected):
    assert metrics.ring_modes(points) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(10,), (10, 3), (0, 2), (2, 10, 2)])
def test_the_ring_has_points_of_two_numbers(shape):
    with pytest.raises(ValueError, match="the ring has points"):
        metrics.ring_modes(torch.zeros(shape))


# The numbers of one class


def test_coverage_is_taken_within_a_class_and_needs_six_of_either_kind(appoint, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(23, 10, generator=generator)
    seen = made(features)
    head = nn.Identity()  # the judge names the place of the largest feature
    for label, count in ((0, 10), (1, 8), (2, 5)):
        start = {0: 0, 1: 10, 2: 18}[label]
        features[start : start + count, label] = 10
    monkeypatch.setattr(seen.judge.network, "head", head, raising=False)
    labels = torch.tensor([0] * 10 + [1] * 8 + [2] * 5)
    monkeypatch.setattr(scores, "LEAST", 1)
    seen = appoint(replace(seen, judge=replace(seen.judge, features=features), features=features))
    shares = metrics.coverage_per_class(seen, labels, "made")
    assert shares[:2].tolist() == [1, 1], "the reference images themselves"
    assert shares[2:].isnan().all(), "five are too few for a fifth neighbour, none even more so"
    moved = replace(seen, features=torch.cat([features[:10], features[10:] + 100]))
    assert metrics.coverage_per_class(moved, labels, "made")[:2].tolist() == [1, 0]


@pytest.mark.parametrize(("count", "expected"), [(24, {0.75}), (23, {0.5, 1.0})])
def test_coverage_of_a_class_is_the_mean_over_parts_as_large_as_its_reference(appoint, monkeypatch, count, expected):
    far = torch.zeros(12, 10)
    far[6:, 5] = 100  # two heaps of six, so that a ball reaches over its heap
    features = torch.rand(12, 10, generator=torch.Generator().manual_seed(0)) + far
    features[:, 0] += 1_000  # the judge names all of them class 0
    monkeypatch.setattr(scores, "LEAST", 1)
    seen = made(features)
    monkeypatch.setattr(seen.judge.network, "head", nn.Identity(), raising=False)
    appoint(seen)
    fakes = features[[0] * (count - 1) + [6]]  # one alone in the second heap: it is in one part of the two, at most
    share = metrics.coverage_per_class(replace(seen, features=fakes), [0] * count, "made")[0]
    assert float(share) in expected


# What is refused


def test_too_few_images_are_refused(mnist):
    few = mnist.test.images[:99]
    for number in (metrics.frechet_distance, metrics.modes, metrics.memorisation):
        with pytest.raises(JudgeError, match=r"99 images are too few for a number: take at least 100, better 10,000"):
            number(few, "mnist")


def test_images_and_what_the_judge_saw_of_them_give_the_same(mnist):
    images = mnist.test.images[:100]
    seen = metrics.see(images, "mnist")
    assert metrics.see(seen, "mnist") is seen
    assert metrics.entropy(images, "mnist") == metrics.entropy(seen, "mnist")


def test_what_another_judge_saw_is_refused(real):
    other = Seen(replace(real.judge, dataset="other"), real.features, real.logits)
    with pytest.raises(JudgeError, match="these images were seen by the judge of other, not of mnist"):
        metrics.entropy(other, "mnist")


@pytest.mark.parametrize("value", [math.nan, math.inf, 255.0])
def test_images_that_are_no_pixels_have_neither_memorisation_nor_cas(value):
    images, labels = torch.full((100, 1, 28, 28), value), torch.arange(100) % 10
    complaint = r"images of mnist must be finite floats in \[-1, 1\]"
    with pytest.raises(JudgeError, match=complaint):
        scores.memorisation(images, "mnist")
    with pytest.raises(JudgeError, match=complaint):
        scores.classification_accuracy(images, labels, "mnist")


def test_cas_of_images_of_another_shape_is_refused_before_the_training(monkeypatch):
    monkeypatch.setattr(classify, "train_classifier", None)
    with pytest.raises(JudgeError, match="cannot be compared"):
        scores.classification_accuracy(torch.zeros(100, 3, 32, 32), torch.arange(100) % 10, "mnist")


def test_no_training_images_are_not_all_of_them(mnist):
    with pytest.raises(JudgeError, match="trained on, and there is none"):
        scores.memorisation(mnist.test.images[:200], "mnist", mnist.train[:0])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int64])
def test_labels_may_be_whole_numbers_of_any_size(dtype):
    letters = data.load("glyphs-letters", split="test")[:500]
    labels = letters.labels.to(dtype)
    agreement = metrics.label_agreement(letters.images, labels, letters.name)
    counts = metrics.confusion(letters.images, labels, letters.name)
    assert agreement > 0.98 and counts.diagonal().sum() / 500 == pytest.approx(agreement)


def test_booleans_are_no_labels(mnist):
    with pytest.raises(JudgeError, match=r"not \[200\] of torch.bool"):
        metrics.label_agreement(mnist.test.images[:200], mnist.test.labels[:200] > 3, "mnist")


def test_the_inception_score_is_smaller_where_fewer_images_show_all_classes():
    """Perfect answers: a tenth of 620 images cannot show all of 62 classes equally often."""
    perfect = 50 * torch.eye(62)
    assert (
        distances.inception_score(perfect.repeat(10, 1)) < 45 < 57 < distances.inception_score(perfect.repeat(100, 1))
    )


@pytest.mark.parametrize("count", [1e3, True, "many"])
def test_a_count_is_a_whole_number(count):
    with pytest.raises(JudgeError, match=f"count={count!r} must be a whole number"):
        scores.check_count(count)
