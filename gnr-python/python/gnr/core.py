"""Training steps over a callable ``theta -> (loss, grad)``: SAM, GNR and every other registered method.

A :class:`Method` is made of regularisers, an optimiser and a learning rate; :meth:`Method.step` changes ``theta`` in place:

>>> import numpy as np
>>> from gnr import core
>>> curvature = np.array([1.0, 10.0])
>>> method = core.Method([core.sam(rho=0.01), core.every(core.gnr(rho=0.1, alpha=0.1), 5)], core.sgd(momentum=0.5), 0.05)
>>> theta = np.array([1.0, 1.0])
>>> for _ in range(100):
...     report = method.step(theta, lambda x: (0.5 * x @ (curvature * x), curvature * x), hvp=lambda x, v: curvature * v)
>>> bool(report.loss < 1e-3)
True

There is a function for each method, with its settings as keywords: ``core.gnr(...)``, ``core.adamw(...)``, ``core.cosine(...)``. They are read
from the Rust registry: :func:`methods` lists them, all but ESAM, SAF and MESA, which ask about single examples. ``help(core.gnr)`` shows equation, settings, cost and reference.

**Products.** GNR and some others multiply with the Hessian. They take the callable ``hvp(theta, v)`` where one is given; else they take
differences of gradients, which is another method on networks with kinks (ReLU), and :attr:`Report.products` and the names of the
penalties say so.

**Arrays.** ``theta`` is a NumPy array of one axis, float32 or float64. The callables get arrays of its dtype that they may keep, and may
answer with NumPy arrays, PyTorch tensors or JAX arrays. ``shapes`` tells which matrices lie in it, one after the other, for methods of
matrices (Muon), of normalisation layers (SAM-ON) and of groups.

**Failures.** When a callable raises, or a norm is not finite (``FloatingPointError``), neither ``theta`` nor the method has changed.
"""

from __future__ import annotations

import inspect
import keyword
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import numpy.typing as npt

from gnr import _native
from gnr._arguments import count, function, number, optional_function

#: An array of float32 or float64.
Array = npt.NDArray[Any]
#: ``theta -> (loss, grad)``. It may have methods ``commit`` and ``restrict``: see :meth:`Method.step`.
LossAndGrad = Callable[[Array], Tuple[Any, Any]]
#: ``(theta, v) -> H @ v``.
Hvp = Callable[[Array, Array], Any]


@dataclass(frozen=True)
class Setting:
    """A setting of a method, as the registry describes it."""

    name: str
    doc: str
    #: The values that it takes, in words.
    domain: str
    #: ``None``: not set, or what the other settings decide.
    default: Any
    #: Whether it must be given.
    required: bool

    @property
    def argument(self) -> str:
        """The name of the argument: with an underscore behind words that Python reserves (``lambda_``)."""
        return f"{self.name}_" if keyword.iskeyword(self.name) else self.name


@dataclass(frozen=True)
class Entry:
    """What the registry says of a method."""

    #: ``"regularizer"``, ``"optimizer"`` or ``"schedule"``.
    kind: str
    #: The name in recipes (``sam-on``); the function's has underscores.
    name: str
    title: str
    doc: str
    equation: str
    reference: str
    settings: Tuple[Setting, ...]
    #: Gradients and Hessian-vector products that a step needs beside the gradient at theta, with the default settings.
    gradients: float
    products: float
    #: Vectors like theta that are kept from step to step.
    vectors: int

    @property
    def function(self) -> str:
        """The name of its function in this module."""
        return self.name.replace("-", "_")


@dataclass(frozen=True)
class Regularizer:
    """A regulariser with its settings. Made by its function, wrapped by :func:`every` and :func:`from_step`."""

    name: str
    settings: Dict[str, Any]
    acts: Tuple[Tuple[str, int, int], ...] = ()


@dataclass(frozen=True)
class Optimizer:
    """An optimiser with its settings. Made by its function."""

    name: str
    settings: Dict[str, Any]
    #: Factor of the learning rate, in a list of groups.
    lr_scale: float = 1.0


@dataclass(frozen=True)
class Schedule:
    """A learning rate over time. Made by its function; calling it with a step gives the rate."""

    name: str
    settings: Dict[str, Any]
    #: The largest rate, after the warm-up.
    peak: float
    #: The length of the run.
    epochs: int
    steps_per_epoch: int = 1

    def __call__(self, t: int) -> float:
        """The rate of step ``t``, from 0."""
        step = count("t", t, 0)
        return _native.schedule_at(self.name, self.settings, self.peak, self.epochs, self.steps_per_epoch, step)


@dataclass(frozen=True)
class Penalty:
    """What a regulariser learnt in a step."""

    #: Its value at theta, to first order and before its coefficient.
    value: float
    #: The norm of what it added to the direction.
    added_norm: float


@dataclass(frozen=True)
class Report:
    """What a step saw at theta before it moved."""

    loss: float
    grad_norm: float
    #: The direction's norm, before clipping.
    direction_norm: float
    learning_rate: float
    #: One for each regulariser that acted. Names of those that multiply tell products that are not exact: ``"gnr (forward-difference)"``.
    penalties: Dict[str, Penalty]
    #: ``"exact"``, ``"gauss-newton"``, ``"forward-difference"`` or ``"central-difference"``.
    products: str


#: What ``learning_rate`` may be.
Rate = Union[float, Schedule, Callable[[int], float]]


def every(regularizer: Regularizer, period: int, offset: int = 0) -> Regularizer:
    """``regularizer`` on the steps ``offset``, ``offset + period``, …; it costs nothing on the others."""
    acts = ("every", count("period", period, 1), count("offset", offset, 0))
    return Regularizer(regularizer.name, regularizer.settings, (*regularizer.acts, acts))


def from_step(regularizer: Regularizer, start: int) -> Regularizer:
    """``regularizer`` from step ``start`` on; it costs nothing before."""
    return Regularizer(regularizer.name, regularizer.settings, (*regularizer.acts, ("from", count("start", start, 0), 0)))


def scaled(optimizer: Optimizer, lr_scale: float) -> Optimizer:
    """``optimizer`` with so many times the learning rate, as a member of a list of groups."""
    return Optimizer(optimizer.name, optimizer.settings, number("lr_scale", lr_scale))


def sample_rows(n: int, sample: Optional[Tuple[float, int]]) -> Array:
    """The rows of a batch of ``n`` examples that a sample takes, ascending: what ``restrict`` of an objective is to look at (``None``: all)."""
    rows = count("n", n, 0)
    return np.arange(rows) if sample is None else np.array(_native.sample_rows(rows, *sample), dtype=np.intp)


class Method:
    """What a training step is made of, and what it remembers.

    Parameters
    ----------
    regularizers
        One regulariser or several; their gradients add up. ``None`` for plain training. A base objective such as SAM and GNR together is
        the paper's "SAM + GNR".
    optimizer
        How theta moves; plain SGD, without momentum and weight decay, if it is not given. A list of them, with the group of each leaf in ``groups``, for parameter groups (:func:`scaled`).
    learning_rate
        A number, a schedule of this module, or a callable ``t -> rate``.
    clip_norm
        The largest norm of the direction.
    shapes
        The axes of each leaf (layer) in theta, one after the other; one leaf where it is not given.
    groups, normalisation
        For each leaf its group, and whether it belongs to a normalisation layer.
    products, difference_step
        How Hessian-vector products are made, and the norm of a difference's perturbation (1e-3 forward, 1e-2 central unless given). By
        default ``"exact"`` with a callable ``hvp`` and ``"forward-difference"`` without.
    steps_per_epoch
        For settings that count epochs; with the default of 1 an epoch is a step.
    seed
        Of samples and random directions.
    """

    def __init__(
        self,
        regularizers: Union[None, Regularizer, Sequence[Regularizer]] = None,
        optimizer: Union[None, Optimizer, Sequence[Optimizer]] = None,
        learning_rate: Rate = 0.1,
        *,
        clip_norm: Optional[float] = None,
        shapes: Optional[Sequence[Sequence[int]]] = None,
        groups: Optional[Sequence[int]] = None,
        normalisation: Optional[Sequence[bool]] = None,
        products: Optional[str] = None,
        difference_step: Optional[float] = None,
        steps_per_epoch: int = 1,
        seed: int = 0,
    ) -> None:
        self._regularizers = _listed("regularizers", regularizers, Regularizer)
        self._optimizers = _listed("optimizer", optimizer, Optimizer) or [Optimizer("sgd", {"momentum": 0.0, "weight_decay": 0.0})]
        if not callable(learning_rate):
            learning_rate = number("learning_rate", learning_rate)
        self._rate = learning_rate
        if len(self._optimizers) > 1 and groups is None:
            raise ValueError(f"groups: expected the group of each leaf, for {len(self._optimizers)} optimisers")
        self._plan = _native.Plan(
            {
                "regularizers": [{"name": r.name, "settings": r.settings, "acts": list(r.acts)} for r in self._regularizers],
                "optimizers": [
                    {"name": o.name, "settings": o.settings, "lr_scale": o.lr_scale} for o in self._optimizers
                ],
                "groups": None if groups is None else [count("groups", group, 0) for group in groups],
                "shapes": None if shapes is None else [[count("shapes", n, 0) for n in shape] for shape in shapes],
                "normalisation": None if normalisation is None else [bool(is_one) for is_one in normalisation],
                "clip_norm": None if clip_norm is None else number("clip_norm", clip_norm, positive=True),
                "steps_per_epoch": count("steps_per_epoch", steps_per_epoch, 1),
                "seed": count("seed", seed, 0),
                "products": products,
                "difference_step": None if difference_step is None else number("difference_step", difference_step, positive=True),
            }
        )
        self._t = 0
        self._state: Optional[Dict[str, Any]] = None

    @property
    def t(self) -> int:
        """Steps done."""
        return self._t

    def products(self, hvp: Optional[Hvp] = None) -> str:
        """What the products of a step are, with this callable or without one."""
        return self._plan.products(hvp is not None)

    def learning_rate(self, t: int) -> float:
        """The learning rate of step ``t``."""
        return float(self._rate(t)) if callable(self._rate) else self._rate

    def step(self, theta: Array, loss_and_grad: LossAndGrad, hvp: Optional[Hvp] = None) -> Report:
        """One step on one mini-batch; ``theta`` changes in place, once everything has succeeded.

        ``loss_and_grad(theta)`` returns the mean loss of the batch and its gradient, without weight decay; ``hvp(theta, v)`` the product with
        the Hessian at theta (or the Gauss-Newton matrix, if ``products`` says so). Both must answer for the same batch at any theta, and
        repeatably. ``hvp`` defaults to ``loss_and_grad.hvp`` where there is one.

        Objectives that are more than a function may have two methods. ``commit(theta)`` is called in place of ``loss_and_grad`` for the one
        evaluation of a step at theta itself: BatchNorm statistics move there and nowhere else. ``restrict(sample)`` is called for settings
        ``batch_fraction`` below 1: until the next call the loss is that of ``sample_rows(n, sample)``.

        The state is copied twice a step.
        """
        function("loss_and_grad", loss_and_grad, "theta -> (loss, grad)")
        if hvp is None:
            hvp = getattr(loss_and_grad, "hvp", None)
        optional_function("hvp", hvp, "(theta, v) -> H @ v")
        peak = self._rate.peak if isinstance(self._rate, Schedule) else self.learning_rate(0)
        told, state = self._plan.step(
            {
                "theta": theta,
                "loss_and_grad": loss_and_grad,
                "hvp": hvp,
                "t": self._t,
                "rate": self.learning_rate(self._t),
                "peak": peak,
                "state": self._state,
            }
        )
        self._t, self._state = self._t + 1, state
        penalties: Dict[str, Penalty] = {}
        for name, value, added_norm in told["penalties"]:
            penalties[_unused(name, penalties)] = Penalty(value, added_norm)
        return Report(**{**told, "penalties": penalties})

    def solution(self, theta: Array) -> Array:
        """The point to evaluate and to keep: theta, but for the schedule-free optimisers, whose theta is only where gradients are taken."""
        found = self._plan.solution(theta, self._state)
        return theta if found is None else found

    def state_dict(self) -> Dict[str, Any]:
        """Everything that the method remembers: the number of steps ``t`` and named leaves, counts and arrays."""
        leaves = self._state or {}
        copied = {name: leaf if isinstance(leaf, int) else leaf.copy() for name, leaf in leaves.items()}
        return {"t": self._t, **copied}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Goes on from a :meth:`state_dict` of a method with the same parts. Raises ``ValueError`` and changes nothing for another one."""
        if "t" not in state:
            raise ValueError("state, leaf 't': expected the number of steps, found nothing")
        t = count("state, leaf 't'", state["t"], 0)
        leaves = {name: leaf for name, leaf in state.items() if name != "t"}
        if t > 0:
            self._plan.check_state(leaves)
        elif leaves:
            raise ValueError(f"state: expected no leaves before the first step, found {', '.join(map(repr, leaves))}")
        copied = {name: leaf if isinstance(leaf, int) else np.array(leaf) for name, leaf in leaves.items()}
        self._t, self._state = t, copied if t > 0 else None

    def save(self, file: Any) -> None:
        """Writes :meth:`state_dict` to a file (NumPy's ``.npz``)."""
        leaves: Dict[str, Any] = {
            name: np.uint64(leaf) if isinstance(leaf, int) else leaf for name, leaf in self.state_dict().items()
        }
        np.savez(file, **leaves)

    def load(self, file: Any) -> None:
        """Goes on from a file that :meth:`save` wrote."""
        with np.load(file, allow_pickle=False) as leaves:
            self.load_state_dict({name: int(leaf) if leaf.ndim == 0 else leaf for name, leaf in leaves.items()})


def _listed(name: str, given: Any, of: type) -> List[Any]:
    if given is None:
        return []
    members = [given] if isinstance(given, of) else given
    try:
        members = list(members)
    except TypeError:
        members = [given]
    for member in members:
        if not isinstance(member, of):
            found = f"the function {member.__name__} (call it)" if inspect.isfunction(member) else type(member).__name__
            raise TypeError(f"{name}: expected a {of.__name__} of this module, such as {_EXAMPLES[of]}, found {found}")
    return members


_EXAMPLES = {Regularizer: "core.gnr()", Optimizer: "core.sgd()"}


def _unused(name: str, taken: Dict[str, Any]) -> str:
    """The name, with a number where two regularisers of one name act."""
    return name if name not in taken else next(n for n in (f"{name} {i}" for i in range(2, len(taken) + 3)) if n not in taken)


def _entry(told: Dict[str, Any]) -> Entry:
    settings = tuple(Setting(**key) for key in told.pop("keys"))
    return Entry(settings=settings, **told)


_ENTRIES: Tuple[Entry, ...] = tuple(_entry(told) for told in _native.entries())


def methods(kind: Optional[str] = None) -> Tuple[Entry, ...]:
    """Every registered method, or those of a kind: ``"regularizer"``, ``"optimizer"``, ``"schedule"``."""
    kinds = sorted({entry.kind for entry in _ENTRIES})
    if kind is not None and kind not in kinds:
        raise ValueError(f"kind: expected one of {', '.join(kinds)}, found {kind!r}")
    return tuple(entry for entry in _ENTRIES if kind in (None, entry.kind))


def _documentation(entry: Entry) -> str:
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


def _function(entry: Entry) -> Callable[..., Any]:
    kind = {"regularizer": Regularizer, "optimizer": Optimizer, "schedule": Schedule}[entry.kind]
    named, either = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    missing = inspect.Parameter.empty
    parameters = [
        inspect.Parameter(s.argument, named, default=missing if s.required else s.default) for s in entry.settings
    ]
    names = {s.argument: s.name for s in entry.settings}

    def checked(settings: Dict[str, Any]) -> Dict[str, Any]:
        given = {names.get(name, name): value for name, value in settings.items() if value is not None}
        _native.resolve(entry.kind, entry.name, given)
        return given

    if entry.kind == "schedule":
        own = [
            inspect.Parameter("peak", either),
            inspect.Parameter("epochs", either),
            inspect.Parameter("steps_per_epoch", either, default=1),
        ]

        def make(peak: float, epochs: int, steps_per_epoch: int = 1, **settings: Any) -> Any:
            span = number("peak", peak), count("epochs", epochs, 1), count("steps_per_epoch", steps_per_epoch, 1)
            schedule = Schedule(entry.name, checked(settings), *span)
            schedule(0)
            return schedule

    else:
        own = []

        def make(**settings: Any) -> Any:  # type: ignore[misc]
            return kind(entry.name, checked(settings))

    make.__name__ = make.__qualname__ = entry.function
    make.__doc__ = _documentation(entry)
    make.__module__ = __name__
    make.__signature__ = inspect.Signature([*own, *parameters], return_annotation=kind)  # type: ignore[attr-defined]
    return make


if TYPE_CHECKING:

    def __getattr__(name: str) -> Callable[..., Any]:
        """The functions of registered methods are made below, so a type checker cannot see which there are."""


for _one in _ENTRIES:
    if _one.function in globals():
        raise ImportError(f"two methods are called {_one.function}")
    globals()[_one.function] = _function(_one)

__all__ = [
    "Entry",
    "Method",
    "Optimizer",
    "Penalty",
    "Regularizer",
    "Report",
    "Schedule",
    "Setting",
    "every",
    "from_step",
    "methods",
    "sample_rows",
    "scaled",
]
__all__ += [_one.function for _one in _ENTRIES]
del _one
