from dataclasses import replace
from types import SimpleNamespace

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from test_verdict import GOOD
from torch import nn

from gantools import augment as augment_module
from gantools import cli, data, enlarge, metrics, plots, recipes, train
from gantools.checkpoint import CheckpointError
from gantools.data import DataError, ImageSet
from gantools.nets import SmallConvClassifier
from gantools.verdict import reach

QUICK = {"CLASSIFIERS": 2, "CLASSIFIER_STEPS": 2}


def striped(count: int = 24, seed: int = 0) -> ImageSet:
    """Noise with rows in class 0, columns in class 1, as whole grey levels."""
    labels = torch.arange(count) % 2
    images = 0.3 * torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(seed))
    images[labels == 0, :, ::4] += 1
    images[labels == 1, :, :, ::4] += 1
    return ImageSet(data.from_uint8(data.to_uint8(images)), labels, ("rows", "columns"), "striped")


def plain(*counts: int) -> ImageSet:
    """So many images of each class; each is unlike all others."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    images = torch.linspace(-1, 1, len(labels)).view(-1, 1, 1, 1).expand(-1, 1, 28, 28)
    return ImageSet(images, labels, tuple(str(label) for label in range(len(counts))), "plain")


@pytest.fixture
def quick(monkeypatch):
    """Two classifiers of two updates in each arm, eight images of a class to measure."""
    for name, value in QUICK.items():
        monkeypatch.setattr(enlarge, name, value)
    monkeypatch.setattr(metrics, "PER_CLASS", 8)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """24 striped images enlarged by the command line, and the folder of what it wrote."""
    folder = tmp_path_factory.mktemp("made")
    own = striped()
    data.save(folder / "own.npz", data.to_uint8(own.images), own.labels)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUICK.items():
            patch.setattr(enlarge, name, value)
        patch.setattr(metrics, "PER_CLASS", 8)
        given = [str(folder / "own.npz"), "--per-class", "6", "--out", str(folder / "more.npz")]
        assert cli.main(["augment", *given, "--steps", "3"]) == 0
    return folder


# The whole way


def test_the_file_holds_all_real_images_and_then_the_generated_ones(made):
    own, more = data.load(made / "own.npz"), data.load(made / "more.npz")
    assert torch.equal(more.images[:24], own.images)
    assert more.labels.tolist() == own.labels.tolist() + [0] * 6 + [1] * 6
    with np.load(made / "more.npz") as archive:
        assert archive["generated"].tolist() == [False] * 24 + [True] * 12


def test_the_generated_images_are_drawn_by_the_gan_that_saw_the_training_part_only(made):
    run, own = train.load(made / "more.gan"), data.load(made / "own.npz")
    assert (run.recipe.name, run.step, run.recipe.flip, run.recipe.batch) == ("rgan", 3, False, 9)
    assert run.data["digest"] == enlarge.split(own)[0].digest()
    drawn, *_ = enlarge.draw(run, Names(0), 8)
    of_each = torch.cat([drawn.images[:6], drawn.images[8:14]])
    assert torch.equal(data.load(made / "more.npz").images[24:], of_each)


def test_report_and_sheet_lie_beside_the_file(made):
    report = (made / "more.md").read_text()
    assert report.startswith("# own: 24 real and 12 generated images\n\n**")
    for part in (
        "| accuracy on 6 held-out images |",
        "label agreement, worst class",
        "3 steps",
        "the other 18 real images",
        "seed 0, unmirrored",
        "| accuracy with real images bent instead |",
    ):
        assert part in report
    assert imageio.imread(made / "more.png").ndim == 3


def test_the_command_prints_the_report_and_ends_with_the_verdict(made, capsys, quick):
    """Resumed: the finished GAN is not trained again, and the file is replaced."""
    given = [str(made / "own.npz"), "--per-class", "2", "--out", str(made / "more.npz"), "--steps", "3", "--resume"]
    before = (made / "more.npz").read_bytes()
    assert cli.main(["augment", *given]) == 0
    out = capsys.readouterr().out
    report, sheet = (made / "more.md").read_text().rsplit("\n![", 1)
    assert report in out and sheet == "Left: real; right: generated](more.png)\n"
    verdict = (made / "more.md").read_text().split("**")[1]
    assert out.endswith(f"{made / 'more.npz'}: {verdict}\n")
    assert len(data.load(made / "more.npz")) == 24 + 4
    (made / "more.npz").write_bytes(before)


def test_all_arms_take_as_many_updates_from_the_same_seeds_and_never_see_what_is_held_out(monkeypatch, quick):
    taught = []

    def learn(images, labels, classes, seed, *, steps, network=None, rate=None, augment=None):
        taught.append((images, labels, classes, seed, steps, augment))
        return Names(0)

    monkeypatch.setattr(enlarge.classify, "train_classifier", learn)
    own = striped()
    enlarged = enlarge.enlarge(own, 6, steps=1, seed=5)
    rest, held_out = enlarge.split(own, 5)
    namer, real, bent, both = taught[:1], taught[1:3], taught[3:5], taught[5:]
    seeds = [[arm[3] for arm in group] for group in (real, bent, both)]
    assert seeds[0] == seeds[1] == seeds[2] and len(set(seeds[0])) == 2
    assert {(classes, steps) for _, _, classes, _, steps, _ in taught} == {(2, 2)}
    assert [augment for *_, augment in taught] == [None] * 3 + [augment_module.warped] * 2 + [None] * 2
    generated = enlarged.images[enlarged.generated]
    for images, labels, *_ in namer + real + bent:
        assert torch.equal(images, rest.images)
        assert torch.equal(labels, rest.labels)
    for images, labels, *_ in both:
        assert torch.equal(images, torch.cat([rest.images, generated.images]))
        assert torch.equal(labels, torch.cat([rest.labels, generated.labels]))
    check = enlarged.check
    assert (check.held_out, check.real_accuracy, check.accuracy, check.gain) == (len(held_out), 0.5, 0.5, 0)
    assert check.bent_accuracy == 0.5
    assert (check.agreement, check.real_agreement, check.drawn) == (0.5, 0.5, 16)
    assert (check.worst_agreement, check.real_worst_agreement) == (1, 1), "no class falls below the real one"


def test_every_arm_is_scored_by_its_own_classifiers(monkeypatch, quick):
    """On the six held-out images the classifiers answer as these tables say: which are named right."""
    tables = {
        "real": [[1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0]],
        "bent": [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0]],
        "more": [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0]],
    }
    rest, held_out = enlarge.split(striped())
    left = {arm: list(table) for arm, table in tables.items()}

    class Answers(Names):
        def __init__(self, right):
            super().__init__(0)
            self.right = torch.tensor(right) == 1

        def forward(self, x):
            if len(x) != len(held_out):
                return super().forward(x)
            return nn.functional.one_hot(torch.where(self.right, held_out.labels, 1 - held_out.labels), 2).float()

    def learn(images, labels, classes, seed, *, steps, network=None, rate=None, augment=None):
        if network is None:  # the one that names labels
            return Names(0)
        assert (network, rate) == (SmallConvClassifier, enlarge.CLASSIFIER_RATE)
        arm = "bent" if augment else "more" if len(images) > len(rest) else "real"
        return Answers(left[arm].pop(0))

    monkeypatch.setattr(enlarge.classify, "train_classifier", learn)
    check = enlarge.enlarge(striped(), 6, steps=1).check
    assert not any(left.values())
    real, bent, more = (torch.tensor(table, dtype=torch.float64) for table in tables.values())
    assert (check.real_accuracy, check.bent_accuracy, check.accuracy) == pytest.approx((5 / 12, 9 / 12, 11 / 12))
    assert (check.reach, check.bent_reach) == pytest.approx((reach(more - real), reach(more - bent)))
    assert check.reach != pytest.approx(check.bent_reach)


def test_agreement_of_generated_and_of_real_images_is_the_mean_of_the_classes(monkeypatch, quick):
    """Nine of ten images are of a class that the classifier names; a generator as good as they are is no worse."""
    monkeypatch.setattr(enlarge.classify, "train_classifier", lambda *given, **options: Names(0))
    own = striped(200)
    few = own[torch.cat([torch.nonzero(own.labels == 0).flatten(), torch.nonzero(own.labels == 1).flatten()[:11]])]
    check = enlarge.enlarge(few, 6, steps=1).check
    assert check.real_accuracy > 0.85
    assert (check.agreement, check.real_agreement) == (0.5, 0.5)
    assert "wrong labels" not in check.verdict and "fits its label" not in check.verdict


def test_the_worst_class_is_the_one_that_falls_furthest_below_real_images(monkeypatch, quick):
    """ "rows" fit least, but no real one is named so either; of "columns" all real ones are."""
    monkeypatch.setattr(enlarge.classify, "train_classifier", lambda *given, **options: Names(1))
    asked = torch.tensor([0.0, 0.2], dtype=torch.float64), {"drawn": 16, "dropped": 0}
    draw = enlarge.draw
    monkeypatch.setattr(enlarge, "draw", lambda *given, **options: (draw(*given, **options)[0], *asked))
    check = enlarge.enlarge(striped(), 6, steps=1).check
    assert (check.worst_class, check.worst_agreement, check.real_worst_agreement) == ("columns", 0.2, 1)


def test_the_worst_class_is_the_one_that_keeps_the_smallest_share_of_its_real_agreement(monkeypatch, quick):
    """A class of which real images seldom fit loses few points when it loses half of them."""
    monkeypatch.setattr(enlarge.classify, "train_classifier", lambda *given, **options: Names(1))
    monkeypatch.setattr(
        enlarge.classify, "accuracy_per_class", lambda *given: torch.tensor([0.3, 0.99], dtype=torch.float64)
    )
    asked = torch.tensor([0.14, 0.8], dtype=torch.float64), {"drawn": 16, "dropped": 0}
    draw = enlarge.draw
    monkeypatch.setattr(enlarge, "draw", lambda *given, **options: (draw(*given, **options)[0], *asked))
    check = enlarge.enlarge(striped(), 6, steps=1).check
    assert (check.worst_class, check.worst_agreement, check.real_worst_agreement) == ("rows", 0.14, 0.3)


def test_a_filter_that_leaves_nothing_says_what_to_do(monkeypatch, quick):
    monkeypatch.setattr(enlarge.classify, "train_classifier", lambda *given, **options: Names(2))
    with pytest.raises(DataError, match="the filter drops nearly all that the GAN draws; train it longer"):
        enlarge.enlarge(striped(), 6, steps=1, filtered=True)


# Labels and the filter


class Names(nn.Module):
    """A classifier that names one class whatever it sees; its features are a few pixels."""

    def __init__(self, label: int) -> None:
        super().__init__()
        self.label = label

    def features(self, x):
        return x.flatten(1)[:, :64]

    def forward(self, x):
        return nn.functional.one_hot(torch.full((len(x),), self.label), 3).float()


class Reads(nn.Module):
    """A classifier that reads the class off the first pixel: 0 below the middle grey, else 1."""

    def forward(self, x):
        return nn.functional.one_hot((x[:, 0, 0, 0] > 0).long(), 2).float()


def painter(share: float) -> SimpleNamespace:
    """A run of two classes: the first `share` of each class asked for is drawn as asked, the others as class 0."""
    seeds = []

    def sample(labels, seed):
        seeds.append(seed)
        place = torch.stack([(labels[:i] == label).sum() for i, label in enumerate(labels)])
        right = place < share * labels.bincount(minlength=2)[labels]
        grey = torch.where(right & (labels == 1), 0.5, -0.5)
        return grey.view(-1, 1, 1, 1).expand(-1, 1, 28, 28)

    return SimpleNamespace(classes=("a", "b"), data={"name": "painted"}, sample=sample, seeds=seeds)


def test_label_agreement_is_counted_by_class():
    made, agreement, counts = enlarge.draw(painter(0.7), Reads(), 10)
    assert made.labels.tolist() == [0] * 10 + [1] * 10
    assert agreement.tolist() == pytest.approx([1, 0.7])
    assert counts == {"drawn": 20, "dropped": 0}


def test_the_filter_replaces_what_does_not_fit():
    made, agreement, counts = enlarge.draw(painter(0.7), Reads(), 10, filtered=True)
    assert made.labels.tolist() == [0] * 10 + [1] * 10
    assert ((made.images[:, 0, 0, 0] > 0).long() == made.labels).all()
    assert counts == {"drawn": 30, "dropped": 6}
    assert agreement.tolist() == pytest.approx([1, 0.7])  # drawing more of the worse class changes nothing


def test_the_filter_gives_up_after_five_draws_each_of_other_z():
    run = painter(0.1)
    made, _, counts = enlarge.draw(run, Reads(), 10, filtered=True)
    assert len(run.seeds) == len(set(run.seeds)) == 5
    assert made.labels.bincount().tolist() == [10, 5]
    assert counts == {"drawn": 60, "dropped": 45}


def test_drawn_images_went_through_uint8():
    made, *_ = enlarge.draw(painter(1), Reads(), 3)
    assert torch.equal(made.images, data.from_uint8(data.to_uint8(made.images)))


@pytest.mark.parametrize("per_class", [0, -1, 2.5])
def test_less_than_an_image_of_a_class_is_refused_before_anything_is_trained(per_class):
    complaint = f"per_class={per_class} must be at least 1, and a whole number"
    with pytest.raises(ValueError, match=complaint):
        enlarge.draw(painter(1), Reads(), per_class)
    with pytest.raises(ValueError, match=complaint):
        enlarge.enlarge(striped(), per_class)


@pytest.mark.parametrize("per_class", [np.int64(3), 3])
def test_any_whole_number_will_do(per_class):
    assert len(enlarge.draw(painter(1), Reads(), per_class)[0]) == 6


def test_true_is_no_number_of_images():
    with pytest.raises(ValueError, match="per_class=True must be at least 1, and a whole number"):
        enlarge.draw(painter(1), Reads(), True)


@pytest.mark.parametrize(("option", "field"), [("--filter", "filtered"), ("--flip", "flip"), ("--resume", "resume")])
def test_the_command_hands_each_option_on(tmp_path, monkeypatch, option, field):
    asked = {}

    def stand_in(images, per_class, **options):
        asked.update(options)
        raise DataError("enough")

    monkeypatch.setattr(enlarge, "enlarge", stand_in)
    own = striped()
    data.save(tmp_path / "own.npz", data.to_uint8(own.images), own.labels)
    given = [str(tmp_path / "own.npz"), "--out", str(tmp_path / "more.npz"), "--steps", "7", "--seed", "5", option]
    assert cli.main(["augment", *given]) == 2
    assert (asked["steps"], asked["seed"], asked["folder"]) == (7, 5, tmp_path / "more.gan")
    assert {name for name in ("filtered", "flip", "resume") if asked[name]} == {field}


# What is held out


@pytest.mark.parametrize(("counts", "expected"), [((10, 100), [3, 20]), ((14, 23, 16), [3, 5, 3])])
def test_a_fifth_of_each_class_is_held_out_and_at_least_three_images(counts, expected):
    images = plain(*counts)
    rest, held_out = enlarge.split(images)
    assert held_out.labels.bincount().tolist() == expected
    together = torch.cat([rest.images, held_out.images]).flatten(1)[:, 0]
    assert torch.equal(together.sort().values, images.images.flatten(1)[:, 0])
    assert rest.labels.tolist() == sorted(rest.labels.tolist())  # in file order


@pytest.mark.parametrize("count", [0, 3])
def test_a_class_must_be_left_to_train_on(count):
    with pytest.raises(DataError, match=f"plain: a class has {count} images, and 3 of each are held out"):
        enlarge.split(plain(20, count))


def test_the_seed_decides_what_is_held_out():
    images = plain(30, 30)
    first, again, other = (enlarge.split(images, seed)[1] for seed in (0, 0, 1))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)


# What cannot be


def refusal(capsys, *arguments):
    """The one line of an error."""
    assert cli.main(["augment", *map(str, arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["own.npz", "--per-class", "0"], "per_class=0 must be at least 1"),
        (["own.npz", "--per-class", "many"], "invalid int value: 'many'"),
        (["own.npz", "--steps", "0"], "steps=0 must be above 0"),
        (["own.npz", "--seed", "-1"], "'-1': expected a whole number from 0 to 2**63 - 1"),
        (["own.npz", "--seed", str(2**64)], "expected a whole number from 0 to 2**63 - 1"),
        (["own.npz", "--out", "folder.npz"], "folder.npz is a folder"),
        (["own.npz", "--out", "sheet.npz", "--resume"], "sheet.png is a folder"),
        (["own.npz", "--limit", "18"], "class 0 has 9 images; every class needs at least 10"),
        (["own.npz", "--out", "more.txt"], "more.txt: the enlarged set is an .npz file"),
        (["own.npz", "--out", "own.npz", "--resume"], "own.npz is the set itself"),
        (["own.npz", "--out", "there.npz"], "there.npz is there already"),
        (["own.npz", "--out", "told.npz"], "told.md is there already"),
        (["own.npz", "--out", "shown.npz"], "shown.png is there already"),
        (["own.npz", "--out", "nowhere/more.npz"], "there is no folder nowhere"),
        (["own.npz", "--out", "closed.npz"], "cannot write into closed.gan"),
        (["missing.npz"], "missing.npz does not exist"),
        (["ring"], "ring holds points, not images"),
        (["unlabelled.npz"], "expected the arrays `images` and `labels`"),
        (["floats.npz"], "expected `images` of dtype uint8"),
        (["one.npz"], "one has one class only"),
        (["gap.npz"], "class 0 has 0 images; every class needs at least 10; number the labels from 0 without gaps"),
        (["wide.npz"], "square images whose side 4 divides, not 28×32"),
        (["odd.npz"], "square images whose side 4 divides, not 30×30"),
        (["copies.npz"], "6 of 6 held-out images are copies of others"),
    ],
)
def test_an_error_is_one_line_and_nothing_is_written(tmp_path, monkeypatch, capsys, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    own = data.to_uint8(striped().images)
    labels = torch.arange(24) % 2
    data.save("own.npz", own, labels)
    data.save("there.npz", own, labels)
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "sheet.png").mkdir()
    (tmp_path / "told.md").write_text("mine")
    (tmp_path / "shown.png").write_bytes(b"mine")
    data.save("one.npz", own, labels * 0)
    data.save("gap.npz", own, labels + 1)
    data.save("wide.npz", nn.functional.pad(own, (2, 2)), labels)
    data.save("odd.npz", nn.functional.pad(own, (1, 1, 1, 1)), labels)
    data.save("copies.npz", own[:2].repeat(12, 1, 1, 1), labels)
    np.savez("unlabelled.npz", images=own)
    np.savez("floats.npz", images=striped().images, labels=labels)
    (tmp_path / "closed.gan").write_text("a file where the folder should be")
    before = sorted(tmp_path.iterdir())
    assert complaint in refusal(capsys, *arguments)
    assert sorted(tmp_path.iterdir()) == before


def test_a_gan_of_other_images_is_not_gone_on_with(made, capsys):
    other = striped(seed=1)
    data.save(made / "other.npz", data.to_uint8(other.images), other.labels)
    given = [made / "other.npz", "--out", made / "more.npz", "--steps", "3", "--resume"]
    assert "digest was" in refusal(capsys, *given)
    (made / "other.npz").unlink()


def test_a_gan_of_another_seed_is_not_gone_on_with(made, capsys):
    given = [made / "own.npz", "--out", made / "more.npz", "--steps", "3", "--resume", "--seed", "1"]
    assert "was trained otherwise (seed was 0, is 1" in refusal(capsys, *given)


def test_a_gan_that_is_there_is_not_trained_over(made):
    with pytest.raises(CheckpointError, match="already holds a run"):
        enlarge.enlarge(striped(), 6, folder=made / "more.gan", steps=3)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.5])
def test_images_that_are_no_pixels_are_refused(value):
    images = striped()
    images.images[3, 0, 5, 5] = value
    with pytest.raises(DataError, match=r"finite floats in \[-1, 1\]"):
        enlarge.enlarge(images, 6)


def test_what_could_not_be_saved_is_refused_before_the_training():
    images = striped()
    two = replace(images, images=images.images.repeat(1, 2, 1, 1))
    with pytest.raises(DataError, match="has 2 channels; a set that can be saved and shown has 1 or 3"):
        enlarge.enlarge(two, 6, steps=3)


# The sheet


def test_the_sheet_has_a_row_for_each_class_and_white_where_images_are_missing(tmp_path, monkeypatch):
    shown = []
    compare = plots.compare
    monkeypatch.setattr(plots, "compare", lambda *given: shown.extend(given) or compare(*given))
    images = plain(10, 11, 3)
    generated = torch.arange(24) >= 12
    run = SimpleNamespace(step=3, data={"count": 18}, recipe=recipes.get("rgan"))
    enlarge.Enlarged(images, generated, run, GOOD).save(tmp_path / "more.npz")
    real, drawn = shown
    assert torch.equal(real[:8], images.images[:8])
    assert torch.equal(real[8:10], images.images[10:12])
    assert (real[10:] == 1).all()
    assert (drawn[:8] == 1).all()
    assert torch.equal(drawn[8:16], images.images[12:20])
    assert torch.equal(drawn[16:19], images.images[21:])
    assert (tmp_path / "more.md").read_text().startswith("# plain: 12 real and 12 generated images")


def test_more_images_than_any_memory_holds_are_refused_before_the_training(make_set, tmp_path):
    with pytest.raises(DataError, match=r"per_class=1000000000 are .* billion pixels"):
        enlarge.enlarge(make_set(40, classes=2), 1_000_000_000, folder=tmp_path / "gan")
    assert not (tmp_path / "gan").exists()
