"""gnr.hessian against NumPy's dense eigenvalues and closed forms, its errors, Ctrl-C and threads."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from conftest import symmetric

from gnr import hessian

#: A spectrum like a network's: a few large eigenvalues, some negative ones, a bulk near zero.
VALUES = np.concatenate([[20.0, 12.0, 7.0, 5.0, 4.0], [-9.0, -6.0, -3.0], np.linspace(-0.5, 0.5, 72)])
MATRIX, VECTORS = symmetric(VALUES)
DIM = len(VALUES)
ASCENDING = np.linalg.eigvalsh(MATRIX)


def product(v):
    return MATRIX @ v


@pytest.mark.parametrize(
    "which, expected",
    [
        ("top", ASCENDING[::-1][:4]),
        ("bottom", ASCENDING[:4]),
        ("dominant", sorted(ASCENDING, key=lambda x: -abs(x))[:4]),
        ("both", np.concatenate([ASCENDING[::-1][:4], ASCENDING[:4]])),
    ],
)
@pytest.mark.parametrize(
    # The recurrence gives residuals that are exact up to the rounding of products and the loss of orthogonality. These
    # are ε of the norm, and √ε with selective reorthogonalisation.
    "options, exact",
    [({}, 1e-11), ({"block": 3}, 1e-11), ({"reorthogonalization": "selective"}, 20 * 1.1e-8)],
)
def test_eigenpairs_are_those_of_the_dense_matrix(which, expected, options, exact):
    k = 4
    found = hessian.eigenpairs(product, DIM, k, which=which, tolerance=1e-8, **options)
    assert found.end == "converged" and found.converged.all()
    # An eigenvalue is off by residual² over its gap, at most 1e-13. Rounding adds some ulps of the norm, which is 20.
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-11)
    for value, vector, residual in zip(found.values, found.vectors, found.residuals):
        own = np.linalg.norm(MATRIX @ vector - value * vector)
        assert abs(own - residual) < exact
        assert abs(np.linalg.norm(vector) - 1.0) < 1e-12
    assert found.vectors.shape == (len(expected), DIM)


def test_single_precision_takes_and_gives_float32():
    seen = set()

    def single(v):
        seen.add(v.dtype)
        return (MATRIX @ v.astype(float)).astype(np.float32)

    found = hessian.eigenpairs(single, DIM, 3, dtype=np.float32, tolerance=1e-4)
    assert seen == {np.dtype(np.float32)} and found.vectors.dtype == np.float32
    # An eigenvalue is off by residual² over its gap, at most 1e-6. Products round to 6e-8 of the norm.
    np.testing.assert_allclose(found.values, ASCENDING[::-1][:3], rtol=1e-5)


def test_power_iteration_finds_the_dominant_pairs():
    found = hessian.power_iteration(product, DIM, 2, num_matvecs=400, tolerance=1e-7)
    assert found.converged.all()
    np.testing.assert_allclose(found.values, [20.0, 12.0], atol=1e-6)


def test_the_budget_is_kept_and_told():
    calls = []
    found = hessian.eigenpairs(lambda v: calls.append(1) or product(v), DIM, 4, num_matvecs=7, tolerance=1e-12)
    assert found.num_matvecs == len(calls) == 7
    assert found.end == "budget" and not found.converged.all()


@pytest.mark.parametrize("method", ["hutchinson", "hutch++", "xtrace"])
def test_the_interval_of_a_trace_covers_it(method):
    truth = VALUES.sum()
    covered = 0
    for seed in range(40):
        found = hessian.trace(product, DIM, 60, method=method, sketch=8, seed=seed)
        covered += found.low <= truth <= found.high
        assert found.num_matvecs <= 60 and found.confidence == 0.95
        assert found.low <= found.value <= found.high
    # With Binomial(40, 0.95) fewer than 32 have probability 1.3e-4.
    assert covered >= 32


def test_traces_that_are_exact():
    # Random signs give the trace of a diagonal matrix exactly: vᵀDv = tr D.
    found = hessian.trace(lambda v: np.arange(50.0) * v, 50, 5)
    np.testing.assert_allclose([found.value, found.low, found.high], 49 * 25, rtol=1e-13)
    # A sketch that spans the range leaves nothing to estimate.
    low_rank, _ = symmetric([3.0, -1.0, 2.0] + [0.0] * 27)
    found = hessian.trace(lambda v: low_rank @ v, 30, 60, method="xtrace")
    assert found.end == "exact" and abs(found.value - 4.0) < 1e-9


def test_a_tolerance_ends_the_sampling_early():
    loose = hessian.trace(lambda v: v + 0.01 * product(v), DIM, 10_000, tolerance=0.05)
    assert loose.end == "tolerance" and loose.num_matvecs < 1000
    assert (loose.high - loose.low) / 2 <= 0.05 * abs(loose.value) * (1 + 1e-12)


def test_samples_of_an_earlier_trace_are_taken_over():
    whole = hessian.trace(product, DIM, 50, seed=3)
    first = hessian.trace(product, DIM, 20, seed=3)
    calls = []
    rest = hessian.trace(lambda v: calls.append(1) or product(v), DIM, 50, seed=3, samples=first.samples)
    assert len(calls) == 30
    assert rest.value == whole.value and np.array_equal(rest.samples, whole.samples)


def test_the_diagonal_of_a_diagonal_matrix_is_exact():
    truth = np.linspace(-2, 3, 40)
    found = hessian.diagonal(lambda v: truth * v, 40, 4)
    np.testing.assert_allclose(found.value, truth, atol=1e-15)
    np.testing.assert_allclose(found.standard_error, 0.0, atol=1e-8)


def test_the_diagonal_is_within_its_standard_errors():
    found = hessian.diagonal(product, DIM, 400)
    z = (found.value - np.diag(MATRIX)) / found.standard_error
    # The mean square of 80 standard normal numbers is 1 ± 0.16.
    assert 0.4 < np.mean(z**2) < 1.8
    np.testing.assert_allclose(found.samples.mean(), found.value.sum(), rtol=1e-12)


def test_the_density_has_the_moments_of_the_spectrum():
    found = hessian.density(product, DIM, starts=200, steps=20)
    assert found.num_matvecs <= 200 * 20 and len(found.nodes) == 200
    for weights in found.weights:
        assert abs(weights.sum() - 1.0) < 1e-12
    for power in (1, 2):
        moments = found.functional(lambda x, power=power: x**power)
        error = moments.std(ddof=1) / np.sqrt(len(moments))
        assert abs(moments.mean() - np.mean(VALUES**power)) < 4 * error
    low, high = found.range()
    assert abs(low + 9.0) < 1e-6 and abs(high - 20.0) < 1e-6
    points = np.linspace(-12, 24, 721)
    mean, error = found.smoothed(points, 0.3)
    normal = np.exp(-0.5 * ((points[:, None] - VALUES) / 0.3) ** 2).mean(1) / (0.3 * np.sqrt(2 * np.pi))
    assert abs(mean.sum() * (points[1] - points[0]) - 1.0) < 1e-3
    # At 721 points five standard errors are allowed, and 1e-4 for the tails, where the density is tiny.
    assert (np.abs(mean - normal) <= 5 * error + 1e-4).all()


def test_equal_seeds_give_equal_bits_and_others_do_not():
    runs = [hessian.trace(product, DIM, 10, seed=seed).value for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    first, again = (hessian.eigenpairs(product, DIM, 2, seed=5) for _ in range(2))
    assert np.array_equal(first.vectors, again.vectors)


def test_progress_hears_of_every_product_and_may_end_the_work():
    heard = []
    hessian.eigenpairs(product, DIM, 3, progress=lambda p: heard.append(p))
    assert [p.num_matvecs for p in heard] == list(range(1, len(heard) + 1))
    assert heard[-1].budget == 1000 and abs(heard[-1].values[0] - 20.0) < 1e-2
    found = hessian.eigenpairs(product, DIM, 3, progress=lambda p: p.num_matvecs < 5)
    assert (found.end, found.num_matvecs) == ("stopped", 5)
    found = hessian.trace(product, DIM, 90, progress=lambda p: p.num_matvecs < 9)
    assert (found.end, found.num_matvecs, len(found.samples)) == ("stopped", 9, 9)
    assert hessian.diagonal(product, DIM, 90, progress=lambda p: p.num_matvecs < 9).num_matvecs == 9
    found = hessian.density(product, DIM, starts=3, steps=10, progress=lambda p: p.num_matvecs < 15)
    assert (found.end, len(found.nodes), found.num_matvecs) == ("stopped", 1, 15)
    with pytest.raises(ValueError, match="stopped after 4 matvecs"):
        hessian.power_iteration(product, DIM, progress=lambda p: p.num_matvecs < 4)


class Own(Exception):
    """An exception that only these tests raise."""


EVERY = {
    "eigenpairs": lambda f, **k: hessian.eigenpairs(f, DIM, **k),
    "power_iteration": lambda f, **k: hessian.power_iteration(f, DIM, **k),
    "hutchinson": lambda f, **k: hessian.trace(f, DIM, **k),
    "hutch++": lambda f, **k: hessian.trace(f, DIM, method="hutch++", **k),
    "xtrace": lambda f, **k: hessian.trace(f, DIM, method="xtrace", **k),
    "diagonal": lambda f, **k: hessian.diagonal(f, DIM, **k),
    "density": lambda f, **k: hessian.density(f, DIM, **k),
    "check": lambda f, **k: hessian.check(f, DIM, **k),
}


def failing_at(n, failure):
    calls = []

    def hvp(v):
        calls.append(1)
        return failure(v) if len(calls) == n else MATRIX @ v

    return hvp


def throw(error):
    raise error


@pytest.mark.parametrize("name", EVERY)
def test_exceptions_of_the_callable_come_through_unchanged(name):
    error = Own("mine")
    with pytest.raises(Own) as raised:
        EVERY[name](failing_at(3, lambda v: throw(error)))
    assert raised.value is error
    assert any(entry.name == "throw" for entry in raised.traceback)


@pytest.mark.parametrize("name", [name for name in EVERY if name != "check"])
def test_exceptions_of_progress_come_through_unchanged(name):
    error = Own("mine")
    with pytest.raises(Own) as raised:
        EVERY[name](product, progress=lambda p: throw(error))
    assert raised.value is error


@pytest.mark.parametrize(
    "answer, error, words",
    [
        (lambda v: v[:-1], ValueError, r"hvp, product 2: expected shape \(80,\), found shape \(79,\)"),
        (lambda v: v[None], ValueError, r"expected shape \(80,\), found shape \(1, 80\)"),
        (lambda v: None, TypeError, "expected an array of float32 or float64, found NoneType"),
        (lambda v: np.ones(DIM, int), TypeError, "expected an array of float32 or float64, found an array of int64"),
        (lambda v: v + 0j, TypeError, "found an array of complex128"),
        (lambda v: np.where(np.arange(DIM) == 7, np.nan, v), FloatingPointError, "found 1 of 80 .* element 7 is NaN"),
        (lambda v: v * np.inf, FloatingPointError, "found 80 of 80"),
    ],
)
@pytest.mark.parametrize("name", EVERY)
def test_answers_that_are_no_product_are_told(name, answer, error, words):
    with pytest.raises(error, match=words):
        EVERY[name](failing_at(2, answer))


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: hessian.eigenpairs(MATRIX, DIM), TypeError, "hvp: expected a callable v -> H @ v, found ndarray"),
        (lambda: hessian.eigenpairs(product, 0), ValueError, "dim: expected at least 1, found 0"),
        (lambda: hessian.eigenpairs(product, 3.5), TypeError, "dim: expected a whole number, found float"),
        (lambda: hessian.eigenpairs(product, DIM, 81), ValueError, "81 eigenpairs of an operator of dimension 80"),
        (lambda: hessian.eigenpairs(product, DIM, which="largest"), ValueError, 'expected one of "top", .*"largest"'),
        (lambda: hessian.eigenpairs(product, DIM, tolerance=-1), ValueError, "tolerance: .*found -1.0"),
        (lambda: hessian.eigenpairs(product, DIM, dtype="int8"), ValueError, "dtype: expected float32 or float64"),
        (lambda: hessian.eigenpairs(product, DIM, seed=-1), ValueError, "seed: expected at least 0, found -1"),
        (lambda: hessian.eigenpairs(product, DIM, progress=3), TypeError, "progress: expected a callable"),
        (lambda: hessian.trace(product, DIM, 2), ValueError, "hutchinson needs at least 3, found 2"),
        (lambda: hessian.trace(product, DIM, 40, method="hutch++"), ValueError, "needs at least 43, found 40"),
        (lambda: hessian.trace(product, DIM, method="exact"), ValueError, "method: expected one of .*found 'exact'"),
        (lambda: hessian.trace(product, DIM, confidence=1.0), ValueError, "confidence must be in"),
        (lambda: hessian.trace(product, DIM, distribution="cauchy"), ValueError, "distribution: expected one of"),
        (lambda: hessian.density(product, DIM, steps=2).smoothed([0.0], 0.0), ValueError, "sigma: expected a positive"),
    ],
)
def test_arguments_out_of_range_are_told(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_operators_that_are_none_are_found():
    assert hessian.check(product, DIM).asymmetry < 1e-12
    skew = np.triu(np.ones((DIM, DIM)))
    with pytest.raises(ValueError, match="not symmetric"):
        hessian.check(lambda v: skew @ v, DIM)
    random = np.random.default_rng(0)
    with pytest.raises(ValueError, match="not deterministic"):
        hessian.check(lambda v: v * random.random(), DIM)


def test_answers_may_be_views_other_precisions_and_other_byte_orders():
    reference = hessian.eigenpairs(product, DIM, 2).values

    class Arrayish:
        def __init__(self, x):
            self.x = x

        def __array__(self, dtype=None, copy=None):
            return np.array(self.x, dtype=dtype)

    for answer in (
        lambda v: np.repeat(MATRIX @ v, 2)[::2],
        lambda v: (MATRIX @ v).astype(">f8"),
        lambda v: Arrayish(MATRIX @ v),
        lambda v: (MATRIX @ v).tolist(),
    ):
        assert np.array_equal(hessian.eigenpairs(answer, DIM, 2).values, reference)


def test_the_callable_may_keep_and_change_what_it_gets():
    kept = []

    def rough(v):
        answer = MATRIX @ v
        v[:] = np.nan
        kept.append(v)
        return answer

    assert np.array_equal(
        hessian.eigenpairs(rough, DIM, 2).values, hessian.eigenpairs(product, DIM, 2).values
    )
    assert len({v.ctypes.data for v in kept}) == len(kept)


@pytest.mark.parametrize("name", EVERY)
def test_ctrl_c_ends_the_work_at_the_next_product(name):
    calls = []

    def hvp(v):
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return MATRIX @ v

    with pytest.raises(KeyboardInterrupt):
        EVERY[name](hvp)
    assert len(calls) == 2


def test_ctrl_c_while_rust_computes_is_heard():
    # The callable is a C function that never looks for signals. A thread sends one while the work is under way.
    dim = 400_000
    diagonal = np.linspace(1, 2, dim)
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        hessian.eigenpairs(diagonal.__mul__, dim, 5, num_matvecs=100_000, tolerance=0.0, floor=0.0)
    timer.join()


def test_other_threads_run_while_rust_computes():
    # With 2·10⁶ elements Rust computes for milliseconds between two products. The counter moves in that time only if
    # the interpreter is free. Its moves while the callable runs are left out.
    dim, counted, stop = 2_000_000, [0], threading.Event()
    moved, last = [], [None]

    def count():
        while not stop.is_set():
            counted[0] += 1
            time.sleep(0)

    def hvp(v):
        before = counted[0]
        if last[0] is not None:
            moved.append(before - last[0])
        answer = v * 2.0
        answer[0] = 3.0 * v[0]
        last[0] = counted[0]
        return answer

    thread = threading.Thread(target=count)
    thread.start()
    try:
        hessian.trace(hvp, dim, 12)
    finally:
        stop.set()
        thread.join()
    assert len(moved) == 11 and sum(moved) > 0, moved
