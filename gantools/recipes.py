"""Recipes by name and from files, and the profiles of the lessons."""

import os
from pathlib import Path
from typing import Any

import yaml

from gantools.catalogue import RECIPES
from gantools.fields import unknown
from gantools.recipe import Recipe


def get(name: str, /, **changes: Any) -> Recipe:
    """A named recipe with these fields changed; `RecipeError` names the nearest where there is none."""
    if name not in RECIPES:
        unknown("there is no recipe", name, RECIPES)
    return RECIPES[name].change(**changes)


def read(path: str | Path) -> Recipe:
    """A recipe from a YAML file: `recipe:` names it, every other line changes a field (`Recipe.to_yaml` writes one).

    Raises ValueError for what is no such file, and for a field that stands there twice.
    """
    try:
        content = yaml.load(Path(path).read_bytes(), Loader=_EachOnce)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, or a date that is none
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or "recipe" not in content:
        raise ValueError(f"{path}: expected a line `recipe: NAME`; `python -m gantools recipe NAME` prints such a file")
    return get(str(content.pop("recipe"))).with_text({str(name): value for name, value in content.items()})


class _EachOnce(yaml.SafeLoader):
    """YAML in which a key stands once; the library takes the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in lines:
                raise yaml.YAMLError(f"`{name}` stands twice (lines {lines[name]} and {line})")
            lines[name] = line
        return super().construct_mapping(node, deep)


# The profiles: how much of a training a lesson runs live. The only place that looks at GANTOOLS_PROFILE.
PROFILES = ("smoke", "quick", "full")
QUICK_STEPS = {"ring": 1_500, "mlp-gan": 2_184, "dcgan-mnist": 600, "dcgan-cifar10": 100}
QUICK_STEPS |= {"cgan-mlp": 624, "cdcgan": 312, "cgan-sn": 156, "acgan": 150, "rgan": 312, "rgan-pose": 312}
SMOKE_STEPS, SMOKE_IMAGES = 20, 500
SMOKE_RING = 468  # twelve epochs of 39 steps, a second: the film of lesson 00 needs its frames


def profile() -> str:
    """`smoke` (seconds: proves the path), `quick` (the default: minutes) or `full` (as published)."""
    name = os.environ.get("GANTOOLS_PROFILE") or "quick"
    if name not in PROFILES:
        raise ValueError(f"GANTOOLS_PROFILE={name!r}: choose one of {', '.join(PROFILES)}")
    return name


def lesson_steps(steps: int) -> int:
    """The length of a lesson's own loop: `steps`, or a handful in the smoke profile."""
    return min(steps, SMOKE_STEPS) if profile() == "smoke" else steps


def lesson_images(count: int) -> int:
    """How many images a lesson measures: `count`, or a few hundred in the smoke profile."""
    return min(count, SMOKE_IMAGES) if profile() == "smoke" else count


def lesson(name: str, /, **changes: Any) -> Recipe:
    """A named recipe, cut to what a lesson trains live in this profile; `full` leaves it as published.

    Raises ValueError for `epochs`: a lesson counts steps.
    """
    if "epochs" in changes:
        raise ValueError(f"lesson({name!r}, epochs={changes['epochs']!r}): give its length as steps")
    recipe, where = get(name, **changes), profile()
    if where == "full":
        return recipe
    steps = changes.get("steps") or QUICK_STEPS[name]
    return recipe.change(steps=min(steps, SMOKE_RING) if (where, name) == ("smoke", "ring") else lesson_steps(steps))
