"""Spectra of symmetric operators that are known by their products alone.

Every function takes a callable ``hvp`` that maps an array of shape ``(dim,)`` to ``H @ v`` of the same shape. H is any symmetric matrix:
the Hessian of a network's loss, a Gauss-Newton matrix, a kernel. The callable gets NumPy arrays of ``dtype`` that it may keep and change,
and may answer with whatever NumPy makes an array of: a NumPy array, a PyTorch tensor on any device, a JAX array.

Common keywords:

``seed``
    Random vectors are functions of the seed and their number: equal seeds give equal results.
``dtype``
    The precision of the vectors: ``float64`` (default) or ``float32``, in half the memory.
``progress``
    Called with a :class:`Progress` after each product. When it returns ``False`` the work ends and what there is so far is returned.

Exceptions of the callables come through unchanged. Ctrl-C ends the work at the next product. The interpreter is free for other threads
between products.

**Dominant** eigenvalues are those of largest modulus, **top** ones the largest algebraically.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Optional, Tuple

import numpy as np
import numpy.typing as npt

from gnr import _native
from gnr._arguments import count, function, number, optional_function, precision

__all__ = [
    "Determinism",
    "Diagonal",
    "Eigenpairs",
    "Progress",
    "SpectralDensity",
    "Trace",
    "check",
    "density",
    "diagonal",
    "eigenpairs",
    "power_iteration",
    "trace",
]

#: An array of float32 or float64.
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Progress:
    """How far the work is."""

    #: Products so far.
    num_matvecs: int
    #: Products at most.
    budget: int
    #: Estimates so far: eigenvalues, or the trace.
    values: Array
    #: Their residuals, or the trace's standard error.
    residuals: Array


@dataclass(frozen=True)
class Eigenpairs:
    """Approximate eigenpairs. Row ``i`` of ``vectors`` goes with ``values[i]``."""

    #: Rayleigh quotients, shape ``(k,)``.
    values: Array
    #: Eigenvectors of norm 1, shape ``(k, dim)``.
    vectors: Array
    #: ``‖H v - λ v‖``: H has an eigenvalue within this of each value.
    residuals: Array
    #: Whether each residual is within the tolerance.
    converged: Array
    #: Products made.
    num_matvecs: int
    #: Thick restarts made.
    restarts: int
    #: ``"converged"``, ``"budget"`` or ``"stopped"``.
    end: str


@dataclass(frozen=True)
class Trace:
    """An estimated trace with its confidence interval."""

    #: The estimate.
    value: float
    standard_error: float
    #: The ends of the confidence interval.
    low: float
    high: float
    #: Its confidence, over all looks of the stopping rule.
    confidence: float
    #: Products made.
    num_matvecs: int
    #: What was computed without randomness (Hutch++); the samples estimate the rest.
    exact_part: float
    #: One estimate a test vector.
    samples: Array
    #: ``"tolerance"``, ``"budget"``, ``"exact"`` or ``"stopped"``.
    end: str


@dataclass(frozen=True)
class Diagonal:
    """An estimated diagonal."""

    #: The mean of ``v * (H @ v)``, shape ``(dim,)``.
    value: Array
    #: The standard error of each entry; NaN after one product.
    standard_error: Array
    #: ``v @ H @ v`` of each product: samples of the trace.
    samples: Array
    #: Products made.
    num_matvecs: int


@dataclass(frozen=True)
class SpectralDensity:
    """The density ``(1/dim) Σ δ(λ - λᵢ)`` as quadratures: one of nodes and weights for each random start. Weights of a start add up to 1."""

    #: The operator's dimension.
    dim: int
    nodes: Tuple[Array, ...]
    weights: Tuple[Array, ...]
    #: Products made for these.
    num_matvecs: int
    #: ``"finished"`` or ``"stopped"``.
    end: str

    def range(self) -> Tuple[float, float]:
        """The smallest and the largest node."""
        nodes = np.concatenate(self.nodes) if self.nodes else np.array([np.nan])
        return float(nodes.min()), float(nodes.max())

    def functional(self, f: Callable[[Array], Array]) -> Array:
        """``(1/dim) tr f(H)`` of each start; their mean estimates it."""
        return np.array([float(np.sum(w * f(x))) for x, w in zip(self.nodes, self.weights)])

    def smoothed(self, points: Any, sigma: float) -> Tuple[Array, Array]:
        """The density convolved with a normal of standard deviation ``sigma``, at each point: mean and standard error over starts."""
        flat = np.asarray(points, dtype=np.float64).reshape(-1)
        nodes, weights = [x.tolist() for x in self.nodes], [w.tolist() for w in self.weights]
        mean, error = _native.smoothed(nodes, weights, flat.tolist(), float(sigma))
        return mean, error


@dataclass(frozen=True)
class Determinism:
    """How far the operator is from one fixed symmetric matrix."""

    #: The relative difference of two products with the same vector.
    repeat: float
    #: The relative difference of ``u @ H @ v`` and ``v @ H @ u``.
    asymmetry: float


def _task(hvp: Any, dim: Any, seed: Any, dtype: Any, progress: Any) -> dict[str, Any]:
    function("hvp", hvp, "v -> H @ v")
    optional_function("progress", progress, "(Progress) -> bool or None")

    def tell(told: dict[str, Any]) -> Any:
        empty = np.empty(0)
        values, residuals = told.get("values", empty), told.get("residuals", empty)
        return progress(Progress(told["num_matvecs"], told["budget"], values, residuals))

    return {
        "hvp": hvp,
        "dim": count("dim", dim, 1),
        "seed": count("seed", seed, 0),
        "dtype": precision(dtype),
        "progress": None if progress is None else tell,
    }


def eigenpairs(
    hvp: Any,
    dim: int,
    k: int = 5,
    *,
    which: str = "top",
    num_matvecs: int = 1000,
    tolerance: float = 1e-3,
    floor: Optional[float] = None,
    block: int = 1,
    max_basis: Optional[int] = None,
    reorthogonalization: str = "full",
    seed: int = 0,
    dtype: Any = np.float64,
    progress: Optional[Callable[[Progress], Optional[bool]]] = None,
) -> Eigenpairs:
    """Eigenpairs by (block) Lanczos with thick restart.

    ``which`` is ``"top"`` (the ``k`` largest, falling), ``"bottom"`` (the smallest, rising), ``"dominant"`` (largest modulus) or ``"both"``
    (``k`` from either end, the top ones first).

    A pair has converged when its residual ``‖Hv - λv‖`` is at most ``tolerance·|λ|``, or ``floor·max |λ|`` (default 1e-7 in float32, 1e-12 in
    float64). The eigenvalue is then off by about ``tolerance²·|λ|/gap``. The work ends when all have, or after ``num_matvecs`` products.

    An eigenvalue of multiplicity m is found with certainty up to ``block`` times. ``max_basis`` vectors are kept at most (default
    ``3·k + 40``); ``reorthogonalization="selective"`` takes fewer inner products.

    Cost: at most ``num_matvecs`` products, ``max_basis`` vectors.
    Reference: Wu and Simon, SIAM J. Matrix Anal. Appl. 22, 2000.
    """
    task = _task(hvp, dim, seed, dtype, progress)
    limit = None if max_basis is None else count("max_basis", max_basis, 1)
    default = 1e-12 if task["dtype"] == "float64" else 1e-7
    options = {
        "which": which,
        "k": count("k", k, 1),
        "num_matvecs": count("num_matvecs", num_matvecs, 1),
        "tolerance": number("tolerance", tolerance),
        "floor": default if floor is None else number("floor", floor),
        "block": count("block", block, 1),
        "max_basis": limit,
        "reorthogonalization": reorthogonalization,
    }
    return Eigenpairs(**_native.lanczos(task, options))


def power_iteration(
    hvp: Any,
    dim: int,
    k: int = 1,
    *,
    num_matvecs: int = 100,
    tolerance: float = 1e-6,
    seed: int = 0,
    dtype: Any = np.float64,
    progress: Optional[Callable[[Progress], Optional[bool]]] = None,
) -> Eigenpairs:
    """The ``k`` eigenpairs of largest modulus, one after the other by power iteration; :func:`eigenpairs` takes fewer products.

    Each takes at most ``num_matvecs`` products, until its residual is at most ``tolerance·|λ₁|``. A ``progress`` that returns ``False`` ends
    the work with a ``ValueError``: a power iteration has no result before its end.

    Reference: Golub and Van Loan, "Matrix Computations", 4th ed., Section 8.2.1.
    """
    task = _task(hvp, dim, seed, dtype, progress)
    pairs = count("k", k, 1), count("num_matvecs", num_matvecs, 1)
    return Eigenpairs(**_native.power_iteration(task, *pairs, number("tolerance", tolerance)))


def trace(
    hvp: Any,
    dim: int,
    num_matvecs: int = 100,
    *,
    method: str = "hutchinson",
    tolerance: Optional[float] = None,
    confidence: float = 0.95,
    sketch: int = 20,
    distribution: str = "rademacher",
    samples: Any = None,
    seed: int = 0,
    dtype: Any = np.float64,
    progress: Optional[Callable[[Progress], Optional[bool]]] = None,
) -> Trace:
    """The trace with a confidence interval, from at most ``num_matvecs`` products.

    ``method``:

    - ``"hutchinson"``: the mean of ``v @ H @ v`` over random ``v`` (``distribution``: ``"rademacher"`` or ``"gaussian"``), a product a sample.
      ``samples`` of an earlier call with the same seed are taken over, and count as products.
    - ``"hutch++"``: exact on a random subspace of ``sketch`` vectors (two products each), the rest by sampling. Better where few
      eigenvalues dominate.
    - ``"xtrace"``: every test vector serves for both (two products each); exact once they span the range.

    With a ``tolerance`` the work ends as soon as the interval's half width is at most ``tolerance·|value|``; the looks are few, and the interval
    keeps its confidence.

    References: Hutchinson 1990; Meyer et al., SOSA 2021; Epperly, Tropp and Webber, SIAM J. Matrix Anal. Appl. 45, 2024.
    """
    task = _task(hvp, dim, seed, dtype, progress)
    budget, vectors = count("num_matvecs", num_matvecs, 1), count("sketch", sketch, 1)
    if method == "hutch++":
        least, most = 2 * min(vectors, task["dim"]) + 3, budget - 2 * min(vectors, task["dim"])
    elif method == "xtrace":
        least, most = 6, budget // 2
    elif method == "hutchinson":
        least, most = 3, budget
    else:
        raise ValueError(f"method: expected one of 'hutchinson', 'hutch++', 'xtrace', found {method!r}")
    if budget < least:
        raise ValueError(f"num_matvecs: {method} needs at least {least}, found {budget}")
    if samples is not None and method != "hutchinson":
        raise ValueError(f"samples: only 'hutchinson' takes samples over, the method is {method!r}")
    earlier = [] if samples is None else np.asarray(samples, dtype=np.float64).reshape(-1).tolist()
    options = {
        "method": method,
        "max_samples": most,
        "min_samples": min(16, most),
        "tolerance": None if tolerance is None else number("tolerance", tolerance, positive=True),
        "confidence": number("confidence", confidence, positive=True),
        "sketch": vectors,
        "distribution": distribution,
        "samples": earlier,
    }
    return Trace(**_native.trace(task, options))


def diagonal(
    hvp: Any,
    dim: int,
    num_matvecs: int = 100,
    *,
    seed: int = 0,
    dtype: Any = np.float64,
    progress: Optional[Callable[[Progress], Optional[bool]]] = None,
) -> Diagonal:
    """The diagonal: the mean of ``v * (H @ v)`` over vectors of random signs.

    Reference: Bekas, Kokiopoulou and Saad, Applied Numerical Mathematics 57, 2007.
    """
    task = _task(hvp, dim, seed, dtype, progress)
    return Diagonal(**_native.diagonal(task, count("num_matvecs", num_matvecs, 1)))


def density(
    hvp: Any,
    dim: int,
    *,
    starts: int = 10,
    steps: int = 100,
    distribution: str = "rademacher",
    seed: int = 0,
    dtype: Any = np.float64,
    progress: Optional[Callable[[Progress], Optional[bool]]] = None,
) -> SpectralDensity:
    """The spectral density by stochastic Lanczos quadrature: ``steps`` Lanczos steps from each of ``starts`` random vectors.

    Cost: at most ``starts·steps`` products, ``steps`` vectors.
    References: Ubaru, Chen and Saad, SIAM J. Matrix Anal. Appl. 38, 2017; Ghorbani, Krishnan and Xiao, ICML 2019.
    """
    task = _task(hvp, dim, seed, dtype, progress)
    told = _native.density(task, count("starts", starts, 1), count("steps", steps, 1), distribution)
    nodes, weights = tuple(told["nodes"]), tuple(told["weights"])
    return SpectralDensity(task["dim"], nodes, weights, told["num_matvecs"], told["end"])


def check(hvp: Any, dim: int, *, tolerance: float = 1e-5, seed: int = 0, dtype: Any = np.float64) -> Determinism:
    """Whether ``hvp`` is one fixed symmetric matrix, from three products. Worth it before expensive work: dropout, a batch that is drawn
    anew and moving BatchNorm statistics show here.

    Raises ``ValueError`` when two equal products differ by more than ``tolerance``, or a form is not symmetric within it.
    """
    task = _task(hvp, dim, seed, dtype, None)
    return Determinism(*_native.check(task, number("tolerance", tolerance)))
