import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as dump_tensors

from gantools import data, judge, metrics
from gantools.judge import JudgeError
from gantools.report import NUMBERS

ACCURACY = {"mnist": 0.995, "fashion-mnist": 0.92, "cifar10": 0.85, "emnist-letters": 0.94, "emnist-byclass": 0.80}
ACCURACY |= {"glyphs-letters": 0.99, "glyphs-byclass": 0.94}


@pytest.fixture(scope="module")
def images():
    """2,000 real test images."""
    return data.load("mnist", split="test", limit=2_000)


@pytest.fixture(scope="module")
def seen(images):
    return judge.load("mnist").see(images.images)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the judge of MNIST, the only one in assets of its own."""
    copy = tmp_path / "checkpoints" / "judge-mnist"
    shutil.copytree(judge.ASSETS / "checkpoints" / "judge-mnist", copy)
    monkeypatch.setattr(judge, "ASSETS", tmp_path)
    judge.load.cache_clear()
    yield copy
    judge.load.cache_clear()


def edit(folder, **changes):
    """Rewrite fields of judge.json; None removes one."""
    about = json.loads((folder / "judge.json").read_text()) | changes
    (folder / "judge.json").write_text(json.dumps({name: value for name, value in about.items() if value is not None}))


# What is shipped


def test_mnist_has_a_judge_and_every_judge_belongs_to_a_data_set():
    assert "mnist" in judge.available()
    assert judge.available() == sorted(set(judge.available()) & set(data.CLASSES))


@pytest.mark.parametrize("name", judge.available())
def test_a_shipped_judge_knows_its_data_set(name):
    by = judge.load(name)
    assert by.dataset == name
    assert by.classes == data.CLASSES[name]
    assert by.image_shape == ((3, 32, 32) if name == "cifar10" else (1, 28, 28))
    assert ACCURACY[name] <= by.accuracy < 1
    assert by.trained_on.endswith("training images")
    assert not by.network.training
    assert not any(parameter.requires_grad for parameter in by.network.parameters())


@pytest.mark.parametrize("name", judge.available())
def test_what_a_shipped_judge_saw_of_the_reference_set_is_consistent(name):
    by = judge.load(name)
    count, classes = int(by.counts.sum()), len(by.classes)
    assert (by.counts.dtype, by.counts.shape) == (torch.int64, (classes,))
    assert 4_000 < count <= 10_000
    assert (by.counts > 0).all()
    assert (by.mean.dtype, by.mean.shape) == (torch.float64, (64,))
    assert (by.covariance.dtype, by.covariance.shape) == (torch.float64, (64, 64))
    assert torch.allclose(by.covariance, by.covariance.T, atol=1e-12)
    assert torch.linalg.eigvalsh(by.covariance).min() > -1e-9
    assert by.features.dtype == torch.float32
    assert by.features.shape == (min(count, 5_000), 64)
    assert (by.variances.dtype, by.variances.shape) == (torch.float64, (classes,))
    assert (by.variances > 0).all()
    deviation = by.covariance.diagonal().sqrt()
    assert ((by.features.double().mean(0) - by.mean).abs() <= 5 * deviation / len(by.features) ** 0.5).all()
    assert torch.allclose(by.features.double().std(0), deviation, rtol=0.1)
    assert (by.variances / by.covariance.trace()).max() < 1


@pytest.mark.parametrize("name", judge.available())
def test_a_shipped_judge_says_what_real_images_score(name):
    by = judge.load(name)
    assert by.real.keys() == NUMBERS.keys()
    assert by.real["label_agreement"] == pytest.approx(by.accuracy, abs=1e-3)
    assert by.real["worst_class"] <= by.accuracy
    assert 0 <= by.real["frechet_distance"] < 1
    assert abs(by.real["kernel_distance"]) < 0.01
    assert 1 < by.real["inception_score"] <= len(by.classes)
    assert by.real["density"] == pytest.approx(1, abs=0.15)
    assert 0.9 < by.real["coverage"] <= 1
    assert by.real["modes"] <= len(by.classes)
    assert by.real["within_class_variance"] == pytest.approx(1, abs=0.1)
    assert by.real["memorisation"] == 1


@pytest.mark.parametrize("name", judge.available())
def test_a_shipped_judge_names_the_bundled_test_images_as_often_right_as_it_says(name):
    try:
        test = data.load(name, split="test", limit=500)
    except data.DataError:
        pytest.skip("no images of this set are bundled")
    by = judge.load(name)
    right = (by.see(test.images).named == test.labels).double().mean()
    assert float(right) == pytest.approx(by.accuracy, abs=4 * (by.accuracy * (1 - by.accuracy) / 500) ** 0.5)


def test_the_accuracy_of_the_judge_of_mnist_is_what_it_says(images, seen):
    right = (seen.named == images.labels).double().mean()
    assert float(right) == pytest.approx(seen.judge.accuracy, abs=0.004)  # three deviations of 2,000 draws


def test_the_counts_of_mnist_are_those_of_its_test_images():
    labels = data.load("mnist", split="test").labels
    assert torch.equal(judge.load("mnist").counts, labels.bincount())


def test_the_kept_features_are_those_of_the_test_images_in_the_order_of_the_script(images, seen):
    order = torch.randperm(10_000, generator=torch.Generator().manual_seed(0))[:5_000]
    kept = (order < 2_000).nonzero().squeeze(1)
    assert torch.allclose(seen.judge.features[kept], seen.features[order[kept]], atol=0.01)


def test_with_all_test_images_as_reference_a_judge_is_the_shipped_one():
    test, by = data.load("mnist", split="test"), judge.load("mnist")
    made = by.see(test.images).as_reference(test.labels, kept=100)
    assert torch.allclose(made.mean, by.mean, atol=1e-4)
    assert torch.allclose(made.covariance, by.covariance, atol=1e-3)
    assert torch.allclose(made.variances, by.variances, rtol=1e-3)
    assert torch.equal(made.counts, by.counts)
    assert made.features.shape == (100, 64)
    assert (made.dataset, made.accuracy, made.real) == (by.dataset, by.accuracy, by.real)


def test_a_part_of_what_was_seen_keeps_its_judge(seen):
    part = seen[1_990:]
    assert part.judge is seen.judge
    assert torch.equal(part.features, seen.features[-10:])
    assert torch.equal(seen[torch.tensor([5, 3])].named, seen.named[[5, 3]])


def test_the_variance_of_a_class_is_the_trace_of_its_covariance():
    features = torch.tensor([[0.0, 0], [2, 4], [5, 5], [1, 1], [1, 1]])
    found = judge.class_variances(features, torch.tensor([0, 0, 1, 2, 2]), 4)
    assert found[[0, 2]].tolist() == [2 + 8, 0]
    assert found[[1, 3]].isnan().all(), "one image, and none"


# Looking


def test_what_is_seen_are_features_logits_and_a_name(seen):
    assert len(seen) == 2_000
    assert (seen.features.shape, seen.features.dtype) == ((2_000, 64), torch.float32)
    assert (seen.logits.shape, seen.logits.dtype) == ((2_000, 10), torch.float32)
    assert torch.equal(seen.named, seen.logits.argmax(1))
    assert torch.allclose(seen.judge.network.head(seen.features), seen.logits)


def test_an_image_is_seen_alone_as_among_others(images, seen):
    part = seen.judge.see(images.images[240:260])  # across the border of two batches
    assert torch.allclose(part.features, seen.features[240:260], atol=1e-4)
    assert torch.allclose(part.logits, seen.logits[240:260], atol=1e-3)


def test_two_images_that_round_alike_are_seen_alike(images):
    by, part = judge.load("mnist"), images.images[:20]
    finer = part + 5e-4
    assert not torch.equal(finer, part)
    assert torch.equal(by.see(finer).features, by.see(part).features)
    assert not torch.equal(by.see((part + 0.02).clamp(-1, 1)).features, by.see(part).features)


def test_other_kinds_of_floats_are_seen_alike(images):
    by, part = judge.load("mnist"), images.images[:20]
    assert torch.equal(by.see(part.double()).features, by.see(part).features)


@pytest.mark.parametrize("shape", [(5, 1, 32, 32), (5, 3, 28, 28), (1, 28, 28), (5, 784)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(JudgeError, match=r"the judge of mnist sees images of the shape \[N, 1, 28, 28\], not") as error:
        judge.load("mnist").see(torch.zeros(shape))
    assert str(list(shape)) in str(error.value)


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(2, 1, 28, 28, dtype=torch.uint8),
        torch.zeros(2, 1, 28, 28, dtype=torch.int64),
        torch.full((2, 1, 28, 28), torch.nan),
        torch.full((2, 1, 28, 28), torch.inf),
        torch.full((2, 1, 28, 28), 1.01),
        torch.full((2, 1, 28, 28), -1.01),
        torch.full((2, 1, 28, 28), 255.0),
    ],
)
def test_what_are_no_floats_from_minus_one_to_one_is_refused(images):
    with pytest.raises(JudgeError, match=r"the judge of mnist takes finite floats in \[-1, 1\]"):
        judge.load("mnist").see(images)


def test_looking_keeps_no_graph(images):
    part = images.images[:2].clone().requires_grad_()
    assert not judge.load("mnist").see(part).features.requires_grad


# Labels in the proportions of the reference set


def with_counts(*counts):
    return replace(judge.load("mnist"), counts=torch.tensor(counts), classes=tuple("0123456789"[: len(counts)]))


@pytest.mark.parametrize(
    ("counts", "count", "expected"),
    [
        ([50, 30, 20], 10, [5, 3, 2]),
        ([50, 30, 20], 11, [6, 3, 2]),  # 5.5, 3.3, 2.2
        ([1, 1, 1], 10, [4, 3, 3]),  # a tie goes to the first
        ([1, 1, 1], 11, [4, 4, 3]),
        ([7, 2, 1], 3, [2, 1, 0]),  # 2.1, 0.6, 0.3
        ([10, 0, 10], 5, [3, 0, 2]),
        ([1, 2], 0, [0, 0]),
    ],
)
def test_labels_follow_the_counts_by_the_largest_remainder(counts, count, expected):
    assert with_counts(*counts).labels(count).bincount(minlength=len(counts)).tolist() == expected


@pytest.mark.parametrize("count", [100, 999, 10_000, 12_345])
def test_labels_are_as_many_as_asked_for_and_each_class_within_one_of_its_share(count):
    by = judge.load("mnist")
    labels = by.labels(count)
    assert (labels.shape, labels.dtype) == ((count,), torch.int64)
    assert (labels.bincount(minlength=10) - by.counts * count / 10_000).abs().max() < 1


def test_the_first_labels_are_mixed_and_always_the_same():
    by = judge.load("mnist")
    labels = by.labels(10_000)
    assert (labels[:500].bincount(minlength=10) - 50).abs().max() < 25
    assert torch.equal(by.labels(10_000), labels)


# There and back


def test_a_loaded_judge_is_the_saved_one(folder):
    by = judge.load("mnist")
    twin = replace(by, dataset="fashion-mnist", accuracy=0.5, trained_on="7 images", real={"modes": 3})
    assert judge.save(twin) == folder.with_name("judge-fashion-mnist")
    assert judge.available() == ["fashion-mnist", "mnist"]
    loaded = judge.load("fashion-mnist")
    fields = ("dataset", "image_shape", "classes", "width", "accuracy", "trained_on", "real")
    assert [getattr(loaded, field) for field in fields] == [getattr(twin, field) for field in fields]
    for field in ("mean", "covariance", "features", "counts", "variances"):
        assert torch.equal(getattr(loaded, field), getattr(by, field)), field
    for name, value in loaded.network.state_dict().items():
        assert torch.equal(value, by.network.state_dict()[name]), name
    images = data.load("mnist", split="test", limit=5).images
    assert torch.equal(loaded.see(images).logits, by.see(images).logits)


def test_a_saved_judge_replaces_the_one_in_memory(folder):
    judge.save(replace(judge.load("mnist"), accuracy=0.25))
    assert judge.load("mnist").accuracy == 0.25


def test_a_judge_is_loaded_once():
    assert judge.load("mnist") is judge.load("mnist")


def test_a_judge_takes_little_room():
    for name in judge.available():
        folder = judge.ASSETS / "checkpoints" / f"judge-{name}"
        assert sum(path.stat().st_size for path in folder.iterdir()) < 3_000_000


# What cannot be loaded


@pytest.mark.parametrize("name", ["mnst", "", "mnist/../judge-mnist"])
def test_a_judge_that_does_not_exist_is_refused_with_those_that_do(folder, name):
    with pytest.raises(JudgeError, match=f"^there is no judge for '{name}'; judges exist for mnist$"):
        judge.load(name)


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    "damage",
    [
        flip,
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
    ],
)
def test_a_damaged_or_missing_weight_file_is_refused(folder, damage):
    damage(folder / "judge.safetensors")
    with pytest.raises(JudgeError, match="is damaged: ") as refusal:
        judge.load("mnist")
    assert str(folder) in str(refusal.value)


def test_other_weights_than_the_listed_are_refused(folder):
    flip(folder / "judge.safetensors")
    with pytest.raises(JudgeError, match=r"the SHA-256 of judge\.safetensors is not the one in judge\.json"):
        judge.load("mnist")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b"{}", b"3", b"null"],
)
def test_a_judge_json_that_is_none_is_refused(folder, content):
    (folder / "judge.json").write_bytes(content)
    with pytest.raises(JudgeError, match="is damaged: ") as refusal:
        judge.load("mnist")
    assert str(folder) in str(refusal.value)


@pytest.mark.parametrize("field", ["dataset", "image_shape", "classes", "width", "accuracy", "trained_on", "sha256"])
def test_a_judge_json_without_one_of_its_fields_is_refused(folder, field):
    edit(folder, **{field: None})
    with pytest.raises(JudgeError, match=f"is damaged: .*{field}"):
        judge.load("mnist")


@pytest.mark.parametrize("changes", [{"width": 16}, {"classes": list("abc")}, {"width": "wide"}, {"colour": "red"}])
def test_a_judge_json_that_does_not_fit_the_weights_is_refused(folder, changes):
    edit(folder, **changes)
    with pytest.raises(JudgeError, match="is damaged: ") as refusal:
        judge.load("mnist")
    assert str(folder) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["mean", "covariance", "features", "counts", "variances", "network.head.2.weight"])
def test_weights_without_one_of_their_tensors_are_refused(folder, name):
    tensors = parse_tensors((folder / "judge.safetensors").read_bytes())
    del tensors[name]
    raw = dump_tensors(tensors)
    (folder / "judge.safetensors").write_bytes(raw)
    edit(folder, sha256=judge.hashlib.sha256(raw).hexdigest())
    with pytest.raises(JudgeError, match=f"is damaged: .*{name.removeprefix('network.')}"):
        judge.load("mnist")


def test_without_any_judge_the_list_is_empty(tmp_path, monkeypatch):
    monkeypatch.setattr(judge, "ASSETS", tmp_path)
    assert judge.available() == []
    (tmp_path / "checkpoints" / "judge-mnist").mkdir(parents=True)
    assert judge.available() == []


def test_what_was_seen_stays_good_while_other_judges_are_used(folder):
    by = judge.load("mnist")
    for name in ("fashion-mnist", "emnist-letters"):
        judge.save(replace(by, dataset=name))
    images = data.load("mnist", split="test", limit=100).images
    seen = metrics.see(images, "mnist")
    for name in ("fashion-mnist", "emnist-letters"):
        metrics.see(images, name)
    assert metrics.see(seen, "mnist") is seen
