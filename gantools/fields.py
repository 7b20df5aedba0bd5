"""The fields of a recipe as a file and the shell know them: their names, the types of their values, their networks."""

import difflib
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from types import NoneType, UnionType
from typing import Any, NoReturn, get_args, get_origin

from torch import nn


class RecipeError(TypeError):
    """A field or a name that does not exist, or a value of the wrong type; the message names the nearest."""


def unknown(what: str, name: str, known: Collection[str]) -> NoReturn:
    """Raise `RecipeError` for a name that is not known, with those that hold it, or the nearest."""
    near = [one for one in known if name and name in one] or difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known are {', '.join(known)}"
    raise RecipeError(f"{what} {name!r}: {hint}")


def name_of(network: Callable[..., nn.Module]) -> str:
    """By which a file knows a network; of a `functools.partial` with what it sets: CGANSNGenerator(width=32).

    Raises `RecipeError` for an object that has none.
    """
    if isinstance(network, partial):
        set_here = [
            *map(_shown, network.args),
            *(f"{name}={_shown(value)}" for name, value in sorted(network.keywords.items())),
        ]
        return f"{name_of(network.func)}({', '.join(set_here)})"
    if not hasattr(network, "__qualname__"):
        raise RecipeError(f"{network!r} has no name to be known by: give a class, a function or a functools.partial")
    return network.__qualname__


def _shown(value: Any) -> str:
    """A setting as its text; a function or class by its name, for its repr holds an address that the next run lacks."""
    if isinstance(value, partial):
        return name_of(value)
    if isinstance(value, (list, tuple)) and any(map(callable, value)):
        return f"[{', '.join(map(_shown, value))}]"
    return getattr(value, "__qualname__", None) or repr(value)


def typed(name: str, value: Any, annotation: Any) -> Any:
    """The value as the field's type, forgiving what YAML and the shell do to numbers, lists and None.

    Raises `RecipeError` where it is of another type.
    """
    union = isinstance(annotation, UnionType)
    kinds = get_args(annotation) if union else (get_origin(annotation) or annotation,)
    if isinstance(value, list):
        value = tuple(value)
    elif value == "None" and NoneType in kinds:
        value = None
    elif float in kinds and type(value) in (int, str):
        with suppress(ValueError, OverflowError):
            value = float(value)  # YAML reads 1e-4 as text
    if type(value) not in kinds:
        expected = " or ".join(kind.__name__.replace("NoneType", "None") for kind in kinds)
        raise RecipeError(f"{name}={value!r} is of type {type(value).__name__}; expected {expected}")
    if isinstance(value, tuple) and not all(type(number) is int for number in value):
        raise RecipeError(f"{name}={list(value)!r} must hold whole numbers")
    return value
