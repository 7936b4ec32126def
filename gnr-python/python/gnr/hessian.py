"""Spectra of symmetric operators that are known by their products alone.

Every function takes a callable ``hvp``, which maps an array ``v`` of shape ``(dim,)`` to ``H @ v`` of that shape. H is
any symmetric matrix: the Hessian of a network's loss, a Gauss-Newton matrix, a kernel. The callable gets NumPy arrays
of ``dtype``, which it may keep and change. It may return whatever NumPy makes an array of floating-point numbers of: a
NumPy array, a PyTorch tensor on any device, a JAX array.

Common keywords:

``seed``
    The seed of random vectors, 0 by default. Equal seeds give equal results.
``dtype``
    The precision of the vectors: ``float64`` (default), or ``float32`` in half the memory.
``progress``
    A callable that gets a :class:`Progress` after each product, after each block of products in :func:`eigenpairs`, and
    after each pair of products in XTrace. When it returns ``False``, the work ends and the result so far is returned.
    :func:`check` takes no ``progress``.

Every function raises ``TypeError`` and ``ValueError`` for arguments and products that do not fit, and
``FloatingPointError`` for products that are not finite. Exceptions of the callables pass through unchanged. Ctrl-C ends
the work at the next product. Other threads of Python run between products.

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
    """The state of a computation that is under way."""

    #: The number of products so far.
    num_matvecs: int
    #: The largest number of products.
    budget: int
    #: The estimates of :func:`eigenpairs` or :func:`trace` so far; empty for other functions.
    values: Array
    #: The residuals of the eigenvalues, or the standard error of the trace; empty for other functions.
    residuals: Array


@dataclass(frozen=True)
class Eigenpairs:
    """Approximate eigenpairs. Row ``i`` of ``vectors`` belongs to ``values[i]``.

    The number n of pairs is ``k``, or ``2·k`` for ``which="both"``. A run that ends before n products has fewer pairs.
    """

    #: Rayleigh quotients, shape ``(n,)``.
    values: Array
    #: Eigenvectors of norm 1, shape ``(n, dim)``.
    vectors: Array
    #: Residuals ``‖H v - λ v‖``, shape ``(n,)``. H has an eigenvalue within this distance of each value.
    residuals: Array
    #: Whether each residual is within the tolerance, shape ``(n,)``.
    converged: Array
    #: The number of products.
    num_matvecs: int
    #: The number of thick restarts; 0 for :func:`power_iteration`.
    restarts: int
    #: The reason of the end: ``"converged"``, ``"budget"`` or ``"stopped"``.
    end: str


@dataclass(frozen=True)
class Trace:
    """An estimated trace with its confidence interval."""

    #: The estimate of the trace.
    value: float
    #: The standard error of ``value``; NaN for fewer than three samples.
    standard_error: float
    #: The lower end of the confidence interval.
    low: float
    #: The upper end of the confidence interval.
    high: float
    #: The confidence of the interval, over all looks of the stopping rule.
    confidence: float
    #: The number of products.
    num_matvecs: int
    #: The trace over the random subspace of Hutch++, which is computed; 0 for other methods.
    exact_part: float
    #: An estimate from each test vector: of the trace, or of its rest for Hutch++.
    samples: Array
    #: The reason of the end: ``"tolerance"``, ``"budget"``, ``"exact"`` or ``"stopped"``.
    end: str


@dataclass(frozen=True)
class Diagonal:
    """An estimated diagonal."""

    #: The mean of ``v * (H @ v)``, shape ``(dim,)``.
    value: Array
    #: The standard error of each entry, shape ``(dim,)``; NaN after one product.
    standard_error: Array
    #: ``v @ H @ v`` of each product, shape ``(num_matvecs,)``. These are samples of the trace.
    samples: Array
    #: The number of products.
    num_matvecs: int


@dataclass(frozen=True)
class SpectralDensity:
    """The density ``(1/dim) Σ δ(λ - λᵢ)``, as one quadrature for each random start that was finished."""

    #: The dimension of the operator.
    dim: int
    #: The nodes of each quadrature, which approximate eigenvalues.
    nodes: Tuple[Array, ...]
    #: The weights of each quadrature, which add up to 1.
    weights: Tuple[Array, ...]
    #: The number of products, with those of a start that was stopped.
    num_matvecs: int
    #: The reason of the end: ``"finished"`` or ``"stopped"``.
    end: str

    def range(self) -> Tuple[float, float]:
        """The smallest and the largest node; NaN for both if no start was finished."""
        nodes = np.concatenate(self.nodes) if self.nodes else np.array([np.nan])
        return float(nodes.min()), float(nodes.max())

    def functional(self, f: Callable[[Array], Array]) -> Array:
        """The estimates of ``(1/dim) tr f(H)`` from the starts, shape ``(starts,)``. Their mean is the best estimate.

        ``f`` maps an array of eigenvalues to an array of that shape.
        """
        return np.array([float(np.sum(w * f(x))) for x, w in zip(self.nodes, self.weights)])

    def smoothed(self, points: Any, sigma: float) -> Tuple[Array, Array]:
        """The density convolved with a normal distribution of standard deviation ``sigma``.

        Returns the mean over the starts and its standard error, two arrays with one element for each point. The
        standard error of a single start is NaN. Raises ``ValueError`` unless ``sigma`` is positive and finite.
        """
        flat = np.asarray(points, dtype=np.float64).reshape(-1)
        nodes, weights = [x.tolist() for x in self.nodes], [w.tolist() for w in self.weights]
        mean, error = _native.smoothed(nodes, weights, flat.tolist(), float(sigma))
        return mean, error


@dataclass(frozen=True)
class Determinism:
    """The deviations of an operator from one fixed symmetric matrix."""

    #: The norm of the difference of two products with one vector ``u``, relative to ``‖H u‖``.
    repeat: float
    #: The difference of ``u @ H @ v`` and ``v @ H @ u``, relative to the larger of ``‖u‖·‖H v‖`` and ``‖v‖·‖H u‖``.
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

    ``which`` is ``"top"`` (the ``k`` largest, falling), ``"bottom"`` (the smallest, rising), ``"dominant"`` (largest
    modulus) or ``"both"`` (``k`` from either end, the top ones first).

    A pair has converged when its residual ``‖Hv - λv‖`` is at most ``tolerance·|λ|`` or ``floor·max |λ|``. By default
    ``floor`` is 1e-7 in float32 and 1e-12 in float64. The eigenvalue is then off by about ``residual²/gap``, where the
    gap is the distance to the nearest other eigenvalue. The work ends when all wanted pairs have converged, or after
    ``num_matvecs`` products, rounded up to whole blocks.

    An eigenvalue of multiplicity m is found with certainty up to ``block`` times. The basis is restarted when
    ``max_basis`` vectors are in it: by default three for each wanted pair, plus 40. The least that ``max_basis`` counts
    for is the number of wanted pairs plus ``2·block + 2``. ``reorthogonalization="selective"`` takes fewer inner
    products than ``"full"``, but keeps the basis orthogonal only to the square root of the rounding error.

    Raises ``ValueError`` if more than ``dim`` pairs are wanted.

    Cost: at most ``num_matvecs`` products, rounded up to whole blocks. ``max_basis`` vectors and two blocks; a restart
    needs a second copy of the vectors that it keeps.
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
    """The ``k`` eigenpairs of largest modulus, one after the other, by power iteration.

    :func:`eigenpairs` takes fewer products. A pair takes products until its residual is at most ``tolerance·|λ₁|``, and
    ``num_matvecs`` at most. A ``progress`` that returns ``False`` ends the work with a ``ValueError``, because a power
    iteration has no result before its end.

    Cost: at most ``k·num_matvecs`` products; ``k + 2`` vectors.
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

    - ``"hutchinson"`` is the mean of ``v @ H @ v`` over random ``v``, with one product a sample. The entries of ``v``
      have the ``distribution`` ``"rademacher"`` or ``"gaussian"``. ``samples`` of an earlier call with equal ``seed``
      and ``distribution`` are taken over, and count as products.
    - ``"hutch++"`` computes the trace over a random subspace of ``sketch`` vectors, with two products each, and samples
      the rest. This is better where few eigenvalues dominate.
    - ``"xtrace"`` uses every test vector for the subspace and as a sample, with two products each. The result is exact
      once the vectors span the range of H. The coverage of its interval is measured, not proved.

    With a ``tolerance`` the work ends at the first look that finds the half width of the interval at most
    ``tolerance·|value|``. There are few looks, at growing numbers of samples, so that the interval keeps its
    confidence.

    Raises ``ValueError`` for a budget of fewer than 3 (Hutchinson), ``2·sketch + 3`` (Hutch++) or 6 (XTrace) products.

    Cost: at most ``num_matvecs`` products. Two vectors for Hutchinson, ``sketch + 2`` for Hutch++, and as many as
    products for XTrace.
    References: Hutchinson 1990; Meyer et al., SOSA 2021; Epperly, Tropp and Webber, SIAM J. Matrix Anal. Appl. 45,
    2024.
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
    """The diagonal, estimated by the mean of ``v * (H @ v)`` over ``num_matvecs`` vectors of random signs.

    Cost: ``num_matvecs`` products, 4 vectors.
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
    """The spectral density by stochastic Lanczos quadrature.

    From each of ``starts`` random vectors, ``steps`` Lanczos steps are made, ``dim`` at most. The ``distribution`` of
    the vectors is ``"rademacher"`` or ``"gaussian"``.

    Cost: at most ``starts·steps`` products, ``steps`` vectors.
    References: Ubaru, Chen and Saad, SIAM J. Matrix Anal. Appl. 38, 2017; Ghorbani, Krishnan and Xiao, ICML 2019.
    """
    task = _task(hvp, dim, seed, dtype, progress)
    told = _native.density(task, count("starts", starts, 1), count("steps", steps, 1), distribution)
    nodes, weights = tuple(told["nodes"]), tuple(told["weights"])
    return SpectralDensity(task["dim"], nodes, weights, told["num_matvecs"], told["end"])


def check(hvp: Any, dim: int, *, tolerance: float = 1e-5, seed: int = 0, dtype: Any = np.float64) -> Determinism:
    """Checks that ``hvp`` multiplies with one fixed symmetric matrix.

    The check pays before expensive work: it finds dropout, batches drawn anew and BatchNorm statistics that move.

    Raises ``ValueError`` when a number of :class:`Determinism` exceeds ``tolerance``. An asymmetry up to 1e-12 passes.

    Cost: three products.
    """
    task = _task(hvp, dim, seed, dtype, None)
    return Determinism(*_native.check(task, number("tolerance", tolerance)))
