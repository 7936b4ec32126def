"""Checks of arguments that several modules share. Errors say what was expected and what was found."""

import math
import operator
from typing import Any, Callable, Optional

import numpy as np

#: The largest number that counts and seeds may be.
_LARGEST = 2**63 - 1


def count(name: str, value: Any, least: int) -> int:
    """Returns ``value`` as an ``int``, which must be at least ``least`` and less than 2⁶³."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"{name}: expected a whole number, found {type(value).__name__}")
    if not least <= number <= _LARGEST:
        raise ValueError(f"{name}: expected at least {least}, found {number}" if number < least else f"{name}: {number} is too large")
    return number


def number(name: str, value: Any, *, positive: bool = False) -> float:
    """Returns ``value`` as a finite ``float``, which must be 0 or larger, with ``positive`` larger than 0."""
    if isinstance(value, (bool, str)):
        raise TypeError(f"{name}: expected a number, found {type(value).__name__}")
    try:
        found = float(value)
    except TypeError:
        raise TypeError(f"{name}: expected a number, found {type(value).__name__}") from None
    except OverflowError:
        found = math.inf
    if not math.isfinite(found) or found < 0.0 or (positive and found == 0.0):
        expected = "a positive finite number" if positive else "a finite number that is 0 or larger"
        raise ValueError(f"{name}: expected {expected}, found {found}")
    return found


def function(name: str, value: Any, signature: str) -> Callable[..., Any]:
    """Returns ``value``, which must be callable. ``signature`` describes the callable in the error."""
    if not callable(value):
        raise TypeError(f"{name}: expected a callable {signature}, found {type(value).__name__}")
    return value  # type: ignore[no-any-return]


def optional_function(name: str, value: Any, signature: str) -> Optional[Callable[..., Any]]:
    """Returns ``value``, which must be callable or ``None``."""
    return None if value is None else function(name, value, signature)


def precision(value: Any) -> str:
    """Returns ``float32`` or ``float64`` from anything that NumPy takes for one of these dtypes."""
    try:
        name: str = np.dtype(value).name
    except TypeError:
        name = repr(value)
    if name not in ("float32", "float64"):
        raise ValueError(f"dtype: expected float32 or float64, found {name}")
    return name
