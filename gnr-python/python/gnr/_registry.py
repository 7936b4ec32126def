"""The registry of methods in Python's terms: what :func:`gnr.core.methods` lists and the functions are made from."""

from __future__ import annotations

import keyword
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

from gnr import _native


@dataclass(frozen=True)
class Setting:
    """A setting of a method, as the registry describes it."""

    #: The name in recipes.
    name: str
    #: The meaning, with the symbol in the equation.
    doc: str
    #: The values that the setting takes, in words.
    domain: str
    #: The default; ``None`` for a setting that has none, or whose default depends on the other settings.
    default: Any
    #: Whether the setting must be given.
    required: bool

    @property
    def argument(self) -> str:
        """The keyword of the function: the name, followed by an underscore if Python reserves it (``lambda_``)."""
        return f"{self.name}_" if keyword.iskeyword(self.name) else self.name


@dataclass(frozen=True)
class Entry:
    """A method's description in the registry."""

    #: ``"regularizer"``, ``"optimizer"`` or ``"schedule"``.
    kind: str
    #: The name in recipes (``sam-on``). The name of the function has underscores.
    name: str
    #: The name in reports (``AdamW``).
    title: str
    doc: str
    equation: str
    reference: str
    settings: Tuple[Setting, ...]
    #: Gradients of the batch in a step beside the gradient at theta, with the default settings.
    gradients: float
    #: Hessian-vector products of the batch in a step, with the default settings.
    products: float
    #: Vectors of the size of theta that are kept from step to step.
    vectors: int

    @property
    def function(self) -> str:
        """The name of the method's function in this module."""
        return self.name.replace("-", "_")


def _setting(name: str, doc: str, default: Any, **rest: Any) -> Setting:
    # A recipe's products are exact by default. Here a step's products depend on whether it gets a callable.
    if name == "hvp":
        default, doc = None, f"{doc}. Unset: exact with a callable ``hvp``, forward differences without one"
    return Setting(name=name, doc=doc, default=default, **rest)


def _entry(told: Dict[str, Any]) -> Entry:
    settings = tuple(_setting(**key) for key in told.pop("keys"))
    return Entry(settings=settings, **told)


#: Every method that Python has, in the order of listings.
ENTRIES: Tuple[Entry, ...] = tuple(_entry(told) for told in _native.entries())


def methods(kind: Optional[str] = None) -> Tuple[Entry, ...]:
    """Every method of :mod:`gnr.core`, or those of a kind: ``"regularizer"``, ``"optimizer"`` or ``"schedule"``.

    Raises ``ValueError`` for another kind.
    """
    kinds = sorted({entry.kind for entry in ENTRIES})
    if kind is not None and kind not in kinds:
        raise ValueError(f"kind: expected one of {', '.join(kinds)}, found {kind!r}")
    return tuple(entry for entry in ENTRIES if kind in (None, entry.kind))


def documentation(entry: Entry) -> str:
    """The text of ``help`` on the function of a method."""
    lines = [f"{entry.title}. {entry.doc}", "", f"    {entry.equation}", "", "Settings:", ""]
    for setting in entry.settings:
        default = "required" if setting.required else "unset" if setting.default is None else f"default {setting.default!r}"
        lines.append(f"{setting.argument}: {setting.domain}, {default}")
        lines.append(f"    {setting.doc}")
    if entry.kind == "schedule":
        lines += ["", "``peak`` is the largest rate, ``epochs`` (of ``steps_per_epoch`` steps, 1 by default) the length of the run."]
    else:
        cost = f"{entry.gradients:g} gradients and {entry.products:g} Hessian-vector products a step"
        lines += ["", f"Cost: {cost} beside the gradient at theta, with the default settings; {entry.vectors} vectors of state."]
    return "\n".join([*lines, f"Reference: {entry.reference}", ""])
