"""Settings of a method that depend on each other: they act together, or are refused."""

import numpy as np
import pytest

from gnr import core

PLAIN = core.sgd(momentum=0, weight_decay=0)
CURVATURE = np.array([1.0, 2.0, 3.0])


def quadratic(x):
    return float(x @ (CURVATURE * x)) / 2, CURVATURE * x


@pytest.mark.parametrize("shapes", [None, [(1,), (2,)]])
def test_one_optimiser_may_have_a_scaled_rate(shapes):
    theta = np.ones(3)
    method = core.Method(None, core.scaled(PLAIN, 2.0), 0.1, shapes=shapes)
    for _ in range(2):
        method.step(theta, lambda x: (0.0, np.ones(3)))
    np.testing.assert_allclose(theta, np.full(3, 0.6), rtol=1e-15)


def test_groups_share_one_estimate_of_the_diagonal():
    two = lambda a, b: core.Method(None, [a, b], shapes=[(1,), (2,)], groups=[0, 1])  # noqa: E731
    two(core.sophia_h(hessian_every=5), core.sophia_h(hessian_every=5, weight_decay=0.5))
    two(core.sophia_h(hessian_every=5), PLAIN)
    with pytest.raises(ValueError, match="sophia-h and adahessian share one estimate of the Hessian's diagonal"):
        two(core.sophia_h(hessian_every=5), core.adahessian(hessian_every=1))


def test_a_radius_that_follows_a_callable_rate_needs_its_peak():
    follows = core.sam(rho=0.5, rho_schedule="proportional-to-lr")
    with pytest.raises(ValueError, match="a callable with an attribute `peak`"):
        core.Method(follows, PLAIN, lambda t: 0.01 * t)

    class WarmUp:
        peak = 0.1

        def __call__(self, t):
            return min(0.01 * (t + 1), self.peak)

    def moved(regularizer, rate):
        theta = np.array([1.0, 2.0, 3.0])
        core.Method(regularizer, PLAIN, rate).step(theta, quadratic)
        return theta

    np.testing.assert_array_equal(moved(follows, WarmUp()), moved(core.sam(rho=0.05), 0.01))
    moved(core.sam(), lambda t: 0.01)


def test_the_hessian_is_taken_at_the_point_of_sam_where_sam_acts():
    def cubic(x):
        return float((x**3).sum()), 3 * x**2

    def moved(regularizer, **settings):
        theta = np.array([0.5, 1.0, -1.5])
        method = core.Method(regularizer, core.sassha(lr=0.1, hessian_every=1, **settings))
        method.step(theta, cubic, lambda x, v: 6 * x * v)
        return theta

    sam = core.sam(rho=0.5)
    late, other = core.from_step(sam, 1), core.every(sam, 2, offset=1)
    here = moved(late, hessian_at="theta")
    np.testing.assert_array_equal(moved(late), here)
    np.testing.assert_array_equal(moved(other), here)
    assert (moved(core.from_step(sam, 0)) != moved(sam, hessian_at="theta")).any(), "the test could not fail"
