"""Enlarge a small labelled set with generated images, and find out on held-out images whether that was worth it.

A fifth of the set is held out: neither the GAN nor a classifier trains on it. No judge exists for a reader's own set,
so labels are named, and features made, by a classifier that was trained on the rest of the real images. What has to be
beaten is not only these images alone: bending them (`augment.warped`) needs no GAN.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from gantools import classify, data, metrics, plots, recipes, train
from gantools.augment import warped
from gantools.data import DataError, ImageSet
from gantools.nets import ConvClassifier, SmallConvClassifier
from gantools.run import Run
from gantools.runtime import is_whole, mix_seed
from gantools.verdict import Check, likeness, reach

STEPS = 2_400  # of the GAN
HELD_OUT, LEAST_HELD_OUT, LEAST = 0.2, 3, 10  # share of a class, images of a class; images that a class must have
CLASSIFIERS, CLASSIFIER_STEPS = 5, 600  # in each arm; each so many updates, whatever the size of its set
CLASSIFIER_RATE = 3e-3
MOST = 4_000_000_000  # pixels of all images drawn, which is 16 GB
TRIES = 5  # draws, each of all that a class should have, before the filter gives up


@dataclass(frozen=True)
class Enlarged:
    """The reader's images, all of them and in their order, then the generated ones class by class."""

    images: ImageSet
    generated: Tensor  # bool [N]
    run: Run
    check: Check

    @property
    def verdict(self) -> str:
        return self.check.verdict

    def __str__(self) -> str:
        """The report, in Markdown."""
        made = int(self.generated.sum())
        return f"""# {self.images.name}: {len(self.images) - made:,} real and {made:,} generated images

**{self.verdict}**

{self.check}

- The GAN ({self.run.step:,} steps, seed {self.run.recipe.seed}, {"mirrored" if self.run.recipe.flip else "unmirrored"}
  images) and the classifiers trained on the other {self.run.data["count"]:,} real images.
- Accuracy: mean of {CLASSIFIERS} classifiers of {CLASSIFIER_STEPS} updates each, with the generated images or without.
  The interval allows for other held-out images and other classifiers, not for another GAN.
- Bent: the real images alone, each batch turned, stretched and bent a little (`gantools.augment.warped`).
- There is no judge for this set: labels are named, and features made, by one more classifier of the real images.
- Label agreement, the mean of the classes, counts every image drawn, before any filter; the numbers below it are of
  what the filter left.
  Coverage and memorisation compare as many images of each class as were held out.
- Test later models on images that are not in this file.
"""

    def save(self, path: str | Path) -> Path:
        """Write the set as `path`, an .npz that `data.load` reads, with `generated` as one more array.

        Beside it: the report (.md), and a sheet (.png) with a row for each class, real left and generated right.
        """
        path = Path(path)
        pixels = data.to_uint8(self.images.images)
        data.save(path, pixels, self.images.labels, generated=self.generated.numpy())
        rows = [_row_of_each(self.images[part]) for part in (~self.generated, self.generated)]
        sheet = plots.compare(*rows).save(path.with_suffix(".png"))
        path.with_suffix(".md").write_text(f"{self}\n![Left: real; right: generated]({sheet.name})\n", encoding="utf-8")
        return path


def enlarge(
    images: ImageSet,
    per_class: int,
    *,
    folder: str | Path | None = None,
    steps: int = STEPS,
    filtered: bool = False,
    flip: bool = False,
    resume: bool = False,
    seed: int = 0,
) -> Enlarged:
    """Train `rgan` on four fifths of the images, draw `per_class` images of every class, and measure them.

    `filtered` replaces images that the classifier of the real images does not name as asked. `flip` mirrors what D
    sees: never for letters or digits. With `folder`, the GAN is saved there every minute, and `resume` goes on with it.
    Raises `DataError` for a set that cannot be enlarged, ValueError for numbers that make no sense (`RecipeError` for
    steps and seeds that are no whole numbers), `CheckpointError` for a folder that holds another run; Ctrl-C in the
    training saves and raises KeyboardInterrupt.
    """
    _check_count(per_class)
    _check_set(images)
    if (pixels := per_class * len(images.classes) * images.images[0].numel()) > MOST:
        raise DataError(
            f"per_class={per_class} are {pixels / 1e9:,.0f} billion pixels; above {MOST / 1e9:g} nothing holds"
        )
    recipe = recipes.get("rgan", steps=steps, flip=flip, seed=seed)
    rest, held_out = split(images, seed)
    recipe = recipe.change(batch=min(recipe.batch, len(rest) // 2))
    try:
        recipe.suited_to(images.images.shape, images.classes).build()
    except ValueError as error:  # what it cannot draw: now, without a folder
        raise DataError(f"{images.name}: {error}; pad or scale yours") from error
    _check_copies(rest, held_out)
    run = train.fit(recipe, rest, folder, resume=resume)

    namer = classify.train_classifier(rest.images, rest.labels, len(rest.classes), seed, steps=CLASSIFIER_STEPS)
    pool, agreement, counts = draw(run, namer, max(per_class, metrics.PER_CLASS), filtered=filtered, seed=seed)
    alike = likeness(namer, pool, rest, held_out)
    generated = pool.first_of_each([per_class] * len(images.classes))
    with tqdm(None, "classifiers", 3 * CLASSIFIERS, file=sys.stdout) as bar:
        real_right = _right(rest, held_out, seed, bar)
        bent_right = _right(rest, held_out, seed, bar, augment=warped)
        right = _right(_joined(rest, generated), held_out, seed, bar)
    named = classify.predictions(namer, held_out.images) == held_out.labels
    real_agreement = classify.accuracy_per_class(named, held_out.labels, len(run.classes))
    worst = int((agreement / real_agreement).nan_to_num(1).argmin())  # no real one is named so: nothing is lost
    check = Check(
        held_out=len(held_out),
        real_accuracy=float(real_right.mean()),
        bent_accuracy=float(bent_right.mean()),
        accuracy=float(right.mean()),
        reach=reach(right - real_right),
        bent_reach=reach(right - bent_right),
        real_agreement=float(real_agreement.mean()),
        agreement=float(agreement.mean()),
        worst_class=run.classes[worst],
        worst_agreement=float(agreement[worst]),
        real_worst_agreement=float(real_agreement[worst]),
        filtered=filtered,
        missing=per_class * len(images.classes) - len(generated),
        **counts,
        **alike,
    )
    both = _joined(images, generated)
    return Enlarged(both, torch.arange(len(both)) >= len(images), run, check)


def split(images: ImageSet, seed: int = 0) -> tuple[ImageSet, ImageSet]:
    """The part to train on and the part held out: of each class a fifth, at least three images, drawn by `seed`.

    Raises `DataError` for a class of which nothing would be left to train on.
    """
    if (few := int(images.class_counts().min())) <= LEAST_HELD_OUT:
        raise DataError(f"{images.name}: a class has {few} images, and {LEAST_HELD_OUT} of each are held out")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    out = torch.zeros(len(images), dtype=torch.bool)
    for label in range(len(images.classes)):
        members = order[images.labels[order] == label]
        out[members[: max(LEAST_HELD_OUT, round(HELD_OUT * len(members)))]] = True
    return images[~out], images[out]


def draw(
    run: Run, classifier: ConvClassifier, per_class: int, *, filtered: bool = False, seed: int = 0
) -> tuple[ImageSet, Tensor, dict[str, int]]:
    """`per_class` images of each class, sorted by class; the label agreement of each; `Check`'s `drawn` and `dropped`.

    Label agreement, float64 [K], is the share of all images drawn for a class that the classifier names so. With
    `filtered` only those are kept, and others drawn, up to five times: a class may end short. Raises ValueError for
    less than one image of a class.
    """
    _check_count(per_class)
    classes = len(run.classes)
    (right, total), kept = torch.zeros(2, classes, dtype=torch.float64), []
    wanted = torch.arange(classes)
    for attempt in range(TRIES if filtered else 1):
        asked = wanted.repeat_interleave(per_class)
        images = data.quantised(run.sample(labels=asked, seed=mix_seed(seed, attempt)))
        fits = classify.predictions(classifier, images) == asked
        right += asked[fits].bincount(minlength=classes)
        total += asked.bincount(minlength=classes)
        kept.append((images[fits], asked[fits]) if filtered else (images, asked))
        wanted = torch.nonzero(right < per_class).flatten()
        if not len(wanted):
            break
    made = ImageSet(*(torch.cat(parts) for parts in zip(*kept, strict=True)), run.classes, run.data["name"])
    counts = {"drawn": int(total.sum()), "dropped": int((total - right).sum()) if filtered else 0}
    return made.first_of_each([per_class] * classes), right / total, counts


def ready(path: str | Path, source: str | Path = "", *, resume: bool = False) -> Path:
    """`path`, if an enlarged set may be saved there: to be asked before the training, when nothing is lost yet.

    Raises `DataError` where it is not an .npz, lies in no folder, is the `source` itself, or where it, its report or
    its sheet is a folder, or is there already and not to be replaced (`resume`). `enlarge` refuses a `folder` that
    cannot be written.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise DataError(f"{path}: the enlarged set is an .npz file")
    if not path.parent.is_dir():
        raise DataError(f"{path}: there is no folder {path.parent}; make it first")
    if path.exists() and Path(source).exists() and path.samefile(source):
        raise DataError(f"{path} is the set itself; choose another file, so that your images stay as they are")
    for written in (path, path.with_suffix(".md"), path.with_suffix(".png")):
        if written.is_dir():
            raise DataError(f"{written} is a folder; choose another file")
        if written.exists() and not resume:
            raise DataError(f"{written} is there already; choose another file, or replace it (resume=True, --resume)")
    return path


def _check_count(per_class: int) -> None:
    if not is_whole(per_class) or per_class < 1:
        raise ValueError(f"per_class={per_class!r} must be at least 1, and a whole number")


def _check_set(images: ImageSet) -> None:
    if images.images.ndim != 4:
        raise DataError(f"{images.name} holds points, not images")
    images.check()
    if (channels := images.images.shape[1]) not in (1, 3):
        raise DataError(f"{images.name} has {channels} channels; a set that can be saved and shown has 1 or 3")
    if len(images.classes) < 2:
        raise DataError(f"{images.name} has one class only; a classifier, and so this check, needs two")
    counts = images.class_counts()
    if counts.min() < LEAST:
        label = int(counts.argmin())
        hint = "; number the labels from 0 without gaps" if not counts[label] else ""
        few = f"class {images.classes[label]} has {counts[label]} images"
        raise DataError(f"{images.name}: {few}; every class needs at least {LEAST}{hint}")


def _check_copies(rest: ImageSet, held_out: ImageSet) -> None:
    """Copies in both parts would make the held-out images no test, and the ruler of memorisation zero."""
    known = {image.numpy().tobytes() for image in rest.images}
    copies = sum(image.numpy().tobytes() in known for image in held_out.images)
    if 2 * copies >= len(held_out):
        raise DataError(f"{rest.name}: {copies} of {len(held_out)} held-out images are copies of others; keep one each")


def _right(
    images: ImageSet, held_out: ImageSet, seed: int, bar: tqdm, augment: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Which held-out images each classifier that learned from `images` names right: float64 [CLASSIFIERS, N], 0 or 1.

    The seeds are the same in every arm.
    """
    found = []
    for number in range(CLASSIFIERS):
        network = classify.train_classifier(
            images.images,
            images.labels,
            len(images.classes),
            mix_seed(seed, number),
            network=SmallConvClassifier,
            steps=CLASSIFIER_STEPS,
            rate=CLASSIFIER_RATE,
            augment=augment,
        )
        found.append(classify.predictions(network, held_out.images) == held_out.labels)
        bar.update()
    return torch.stack(found).double()


def _joined(one: ImageSet, other: ImageSet) -> ImageSet:
    return replace(one, images=torch.cat([one.images, other.images]), labels=torch.cat([one.labels, other.labels]))


def _row_of_each(images: ImageSet, columns: int = 8) -> Tensor:
    """The first images of each class in a row of their own; white where there are not enough."""
    rows = images.images.new_ones(len(images.classes), columns, *images.images.shape[1:])
    for label, row in enumerate(rows):
        some = images.of_class(label).images[:columns]
        row[: len(some)] = some
    return rows.flatten(0, 1)
