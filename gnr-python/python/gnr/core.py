"""Training steps over a callable ``theta -> (loss, grad)``: SAM, GNR and every other registered method.

A :class:`Method` has regularisers, an optimiser and a learning rate. :meth:`Method.step` changes ``theta`` in place:

>>> import numpy as np
>>> from gnr import core
>>> curvature = np.array([1.0, 10.0])
>>> method = core.Method([core.sam(rho=0.01), core.every(core.gnr(rho=0.1, alpha=0.1), 5)], core.sgd(momentum=0.5), 0.05)
>>> theta = np.array([1.0, 1.0])
>>> for _ in range(100):
...     report = method.step(theta, lambda x: (0.5 * x @ (curvature * x), curvature * x), hvp=lambda x, v: curvature * v)
>>> bool(report.loss < 1e-3)
True

Each method has a function whose keywords are its settings: ``core.gnr(...)``, ``core.adamw(...)``,
``core.cosine(...)``. The functions come from the Rust registry, and :func:`methods` lists them. ESAM, SAF and MESA are
missing, because they ask for losses or outputs of single examples. ``help(core.gnr)`` shows equation, settings, cost
and reference.

**Products.** GNR and some other methods multiply with the Hessian. They use the callable ``hvp(theta, v)`` if there is
one, and differences of gradients otherwise. A forward difference costs one gradient a product, a central difference
two. On networks with kinks (ReLU) differences make another method. :attr:`Report.products` therefore tells the kind,
and so do the names of penalties.

**Arrays.** ``theta`` is a NumPy array of shape ``(dim,)``, float32 or float64. The callables get copies in the dtype of
``theta``, and may return NumPy arrays, PyTorch tensors or JAX arrays. ``shapes`` gives the axes of the leaves that lie
in ``theta`` one after the other. Muon (for matrices), SAM-ON (for normalisation layers) and groups need ``shapes``.

**Failures.** When a callable raises, neither ``theta`` nor the method changes. A loss or a norm that is not finite
raises ``FloatingPointError``, and changes nothing either.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import numpy.typing as npt

from gnr import _native
from gnr._arguments import count, function, number, optional_function
from gnr._registry import ENTRIES, Entry, Setting, documentation, methods

#: An array of float32 or float64.
Array = npt.NDArray[Any]
#: ``theta -> (loss, grad)``. It may have methods ``commit`` and ``restrict``: see :meth:`Method.step`.
LossAndGrad = Callable[[Array], Tuple[Any, Any]]
#: ``(theta, v) -> H @ v``.
Hvp = Callable[[Array, Array], Any]


@dataclass(frozen=True)
class Regularizer:
    """A regulariser with its settings, made by its function. :func:`every` and :func:`from_step` limit its steps."""

    name: str
    settings: Dict[str, Any]
    #: The limits, innermost first: ``("every", period, offset)`` or ``("from", start, 0)``.
    acts: Tuple[Tuple[str, int, int], ...] = ()


@dataclass(frozen=True)
class Optimizer:
    """An optimiser with its settings, made by its function."""

    name: str
    settings: Dict[str, Any]
    #: Factor of the learning rate.
    lr_scale: float = 1.0


@dataclass(frozen=True)
class Schedule:
    """A learning rate over time, made by its function. Calling the schedule with a step gives the rate."""

    name: str
    settings: Dict[str, Any]
    #: The largest rate, reached at the end of the warm-up.
    peak: float
    #: The length of the run, in epochs.
    epochs: int
    #: The length of an epoch, in steps.
    steps_per_epoch: int = 1

    def __call__(self, t: int) -> float:
        """The learning rate of step ``t``, which counts from 0."""
        step = count("t", t, 0)
        return _native.schedule_at(self.name, self.settings, self.peak, self.epochs, self.steps_per_epoch, step)


@dataclass(frozen=True)
class Penalty:
    """The measurements of a regulariser in a step."""

    #: The first-order estimate of the regulariser's value at theta, before its coefficient.
    value: float
    #: The norm of the vector that the regulariser added to the direction.
    added_norm: float


@dataclass(frozen=True)
class Report:
    """The measurements of a step, taken at theta before the step moved it."""

    #: The loss of the batch.
    loss: float
    #: The norm of the gradient of the loss.
    grad_norm: float
    #: The norm of the direction, before clipping.
    direction_norm: float
    learning_rate: float
    #: A penalty for each regulariser that acted. The name of one that multiplies tells the kind of products that are
    #: not exact: ``"gnr (forward-difference)"``. A second regulariser of one name is numbered: ``"gnr 2"``.
    penalties: Dict[str, Penalty]
    #: The kind of products, even of a step without any: ``"exact"``, ``"gauss-newton"``, ``"forward-difference"`` or
    #: ``"central-difference"``.
    products: str


#: The types of ``learning_rate`` of a :class:`Method`.
Rate = Union[float, Schedule, Callable[[int], float]]


def every(regularizer: Regularizer, period: int, offset: int = 0) -> Regularizer:
    """``regularizer`` on the steps ``offset``, ``offset + period``, … only. The other steps have no cost for it.

    Raises ``ValueError`` for a ``period`` below 1. :class:`Method` refuses an ``offset`` that is not below ``period``.
    """
    acts = ("every", count("period", period, 1), count("offset", offset, 0))
    return Regularizer(regularizer.name, regularizer.settings, (*regularizer.acts, acts))


def from_step(regularizer: Regularizer, start: int) -> Regularizer:
    """``regularizer`` from step ``start`` on, counted from 0. The steps before have no cost for it."""
    return Regularizer(regularizer.name, regularizer.settings, (*regularizer.acts, ("from", count("start", start, 0), 0)))


def scaled(optimizer: Optimizer, lr_scale: float) -> Optimizer:
    """``optimizer`` with ``lr_scale`` times the learning rate, for one of the groups of a :class:`Method`, or all of theta."""
    return Optimizer(optimizer.name, optimizer.settings, number("lr_scale", lr_scale))


def sample_rows(n: int, sample: Optional[Tuple[float, int]]) -> Array:
    """The rows of a batch of ``n`` examples that a sample takes, as an ascending array of integers.

    ``sample`` is what ``restrict`` of an objective gets: ``None`` for all rows, or a fraction in (0, 1] and a seed. The
    number of rows is ``fraction·n``, rounded, and at least 1. Raises ``ValueError`` for a fraction out of range.
    """
    rows = count("n", n, 0)
    return np.arange(rows) if sample is None else np.array(_native.sample_rows(rows, *sample), dtype=np.intp)


class Method:
    """A training method: the parts of its steps, and the state that it keeps from step to step.

    Parameters
    ----------
    regularizers
        One regulariser, or several whose gradients add up; ``None`` for plain training. ``[core.sam(), core.gnr()]`` is
        the paper's "SAM + GNR".
    optimizer
        The rule that moves theta, by default SGD without momentum and weight decay. Parameter groups have a list of
        optimisers (:func:`scaled`), and ``groups`` assigns each leaf to one of them.
    learning_rate
        A number (default 0.1), a schedule of this module, or a callable ``t -> rate``. A callable needs an attribute
        ``peak``, its largest rate, if a radius follows the learning rate (``rho_schedule="proportional-to-lr"``, GSAM).
    clip_norm
        The largest norm of the direction, with what regularisers add. By default there is no limit.
    shapes
        The axes of each leaf (layer) in theta, one leaf after the other. By default theta is one leaf of one axis.
    groups, normalisation
        For each leaf, the index of its optimiser, and whether the leaf belongs to a normalisation layer.
    products, difference_step
        The kind of Hessian-vector products (:attr:`Report.products`), and the norm of the perturbation of a difference
        (default 1e-3 forward, 1e-2 central). By default a callable ``hvp`` is taken for ``"exact"``, and without one
        products are ``"forward-difference"``. A regulariser's settings ``hvp`` and ``step`` must not contradict them.
    steps_per_epoch
        The number of steps of an epoch (default 1), for settings that count epochs.
    seed
        The seed (default 0) of samples and random directions.

    Raises ``TypeError`` and ``ValueError`` for settings that a method does not take.
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
                "peak": _peak(learning_rate),
            }
        )
        self._t = 0
        self._state: Optional[Dict[str, Any]] = None

    @property
    def t(self) -> int:
        """The number of steps done."""
        return self._t

    def products(self, hvp: Optional[Hvp] = None) -> str:
        """The kind of the products of a step with this callable, or without one.

        Raises ``ValueError`` for a method whose products need a callable, if there is none.
        """
        return self._plan.products(hvp is not None)

    def learning_rate(self, t: int) -> float:
        """The learning rate of step ``t``."""
        return float(self._rate(t)) if callable(self._rate) else self._rate

    def step(self, theta: Array, loss_and_grad: LossAndGrad, hvp: Optional[Hvp] = None) -> Report:
        """Makes one step on one mini-batch. ``theta`` changes in place, once everything has succeeded.

        ``loss_and_grad(theta)`` returns the mean loss of the batch and its gradient, of shape ``(dim,)`` and without
        weight decay. ``hvp(theta, v)`` returns ``H @ v``, also of shape ``(dim,)``. H is the Hessian at theta, or the
        Gauss-Newton matrix if ``products`` says so. Both must answer for one batch at any theta, and repeatably.
        ``hvp`` defaults to the method ``loss_and_grad.hvp``, if there is one.

        An objective that is more than a function may have two methods. ``commit(theta)`` is called in place of
        ``loss_and_grad`` for the one evaluation of a step at theta itself. BatchNorm statistics should move there and
        nowhere else. ``restrict(sample)`` is called for a setting ``batch_fraction`` below 1. Until its next call the
        loss must be that of the examples ``sample_rows(n, sample)``.

        Raises ``TypeError`` and ``ValueError`` for arrays that do not fit, and ``FloatingPointError`` for a loss or a
        norm that is not finite. Exceptions of the callables pass through unchanged.

        Cost beside the callables and the arithmetic of the method: the state and ``theta`` are copied twice.
        """
        function("loss_and_grad", loss_and_grad, "theta -> (loss, grad)")
        if hvp is None:
            hvp = getattr(loss_and_grad, "hvp", None)
        optional_function("hvp", hvp, "(theta, v) -> H @ v")
        told, state = self._plan.step(
            {
                "theta": theta,
                "loss_and_grad": loss_and_grad,
                "hvp": hvp,
                "t": self._t,
                "rate": self.learning_rate(self._t),
                "state": self._state,
            }
        )
        self._t, self._state = self._t + 1, state
        penalties: Dict[str, Penalty] = {}
        for name, value, added_norm in told["penalties"]:
            penalties[_unused(name, penalties)] = Penalty(value, added_norm)
        return Report(**{**told, "penalties": penalties})

    def solution(self, theta: Array) -> Array:
        """The point to evaluate and to keep, of shape ``(dim,)``.

        For schedule-free optimisers this is a new array, because their theta is only where gradients are taken. For the
        others it is ``theta`` itself.
        """
        found = self._plan.solution(theta, self._state)
        return theta if found is None else found

    def state_dict(self) -> Dict[str, Any]:
        """A copy of everything that the method remembers: the number of steps ``t``, and named counts and arrays."""
        leaves = self._state or {}
        copied = {name: leaf if isinstance(leaf, int) else leaf.copy() for name, leaf in leaves.items()}
        return {"t": self._t, **copied}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continues from the :meth:`state_dict` of a method with the same parts.

        Raises ``ValueError`` or ``TypeError`` for another state, and then changes nothing.
        """
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
        """Writes :meth:`state_dict` to a file. NumPy appends ``.npz`` to a name without that ending."""
        leaves: Dict[str, Any] = {
            name: np.uint64(leaf) if isinstance(leaf, int) else leaf for name, leaf in self.state_dict().items()
        }
        np.savez(file, **leaves)

    def load(self, file: Any) -> None:
        """Continues from a file that :meth:`save` wrote. Raises errors as :meth:`load_state_dict` does."""
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


def _peak(rate: Rate) -> Optional[float]:
    """The largest learning rate; ``None`` for a callable that does not tell it."""
    peak = getattr(rate, "peak", None) if callable(rate) else rate
    return None if peak is None else number("the peak of learning_rate", peak)


_EXAMPLES = {Regularizer: "core.gnr()", Optimizer: "core.sgd()"}


def _unused(name: str, taken: Dict[str, Any]) -> str:
    """The name, followed by a number from 2 on if the name is taken."""
    return name if name not in taken else next(n for n in (f"{name} {i}" for i in range(2, len(taken) + 3)) if n not in taken)


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
        if "step" in given and "hvp" not in given and "hvp" in names.values():
            raise ValueError(
                f"{entry.function}: step is the length of a difference; expected hvp=\"forward-difference\" or "
                "hvp=\"central-difference\" beside it, or Method(difference_step=...) in its place, found no hvp"
            )
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
    make.__doc__ = documentation(entry)
    make.__module__ = __name__
    make.__signature__ = inspect.Signature([*own, *parameters], return_annotation=kind)  # type: ignore[attr-defined]
    return make


if TYPE_CHECKING:

    def __getattr__(name: str) -> Callable[..., Any]:
        """Stands for the functions of methods, which are made below, so that a type checker does not miss them."""


for _one in ENTRIES:
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
__all__ += [_one.function for _one in ENTRIES]
del _one
