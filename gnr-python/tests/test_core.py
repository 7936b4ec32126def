"""gnr.core: every registered method against golden values and closed forms, resuming, failures, arguments."""

import importlib.util
import inspect
import math
import os
import signal

import numpy as np
import pytest
from conftest import ROOT

from gnr import core

REGULARIZERS = [entry.name for entry in core.methods("regularizer")]
OPTIMIZERS = [entry.name for entry in core.methods("optimizer")]
SCHEDULES = [entry.name for entry in core.methods("schedule")]

spec = importlib.util.spec_from_file_location("make", ROOT / "gnr-core/tests/golden/regularizers/make.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)

#: The leaves of the net of the golden values: W₁ by rows, b₁, w₂, b₂. The second one stands for a normalisation layer.
SHAPES = [(make.HIDDEN, make.INPUTS), (make.HIDDEN,), (make.HIDDEN,), (1,)]
DIM = sum(int(np.prod(shape)) for shape in SHAPES)


def normalisation():
    """For each leaf, whether its elements are those that make.py takes for a normalisation layer."""
    taken = np.zeros(DIM, bool)
    taken[make.NORMALISATION] = True
    ends = np.cumsum([int(np.prod(shape)) for shape in SHAPES])
    return [bool(part.all()) for part in np.split(taken, ends[:-1])]


class Problem:
    """A mini-batch of make.py's net, with everything that an objective may have."""

    def __init__(self, examples):
        self.examples, self.batch = np.asarray(examples), make.Batch(examples)
        self.commits, self.looks, self.products = 0, 0, 0

    def __call__(self, theta):
        self.looks += 1
        return self.batch.losses(theta).mean(), self.batch.gradient(theta)

    def commit(self, theta):
        self.commits += 1
        return self.batch.losses(theta).mean(), self.batch.gradient(theta)

    def hvp(self, theta, v):
        self.products += 1
        return self.batch.product(theta, v)

    def restrict(self, sample):
        self.batch = make.Batch(self.examples[core.sample_rows(len(self.examples), sample)])


def step_batch(t):
    return Problem(np.arange(make.BATCH * t, make.BATCH * (t + 1)))


def start():
    return 0.5 * np.sin(1.0 + 2.0 * np.arange(DIM))


def built(entry, settings):
    names = {setting.name: setting.argument for setting in entry.settings}
    return getattr(core, entry.function)(**{names[name]: value for name, value in settings.items()})


def parse(entry, text):
    """Reads the settings of a golden case, which are written `key=value key=value`."""
    settings = {}
    for word in text.split():
        name, value = word.split("=")
        default = next(setting.default for setting in entry.settings if setting.name == name)
        if isinstance(default, bool):
            settings[name] = value == "true"
        elif isinstance(default, str):
            settings[name] = value
        elif isinstance(default, tuple):
            settings[name] = [float(x) for x in value.split(",")]
        elif isinstance(default, int):
            settings[name] = int(value)
        else:
            settings[name] = float(value)
    return settings


def entry_of(kind, name):
    return next(entry for entry in core.methods(kind) if entry.name == name)


@pytest.mark.parametrize("name", REGULARIZERS)
def test_regularizers_have_the_golden_values(name, golden):
    entry = entry_of("regularizer", name)
    cases = (golden / "golden/regularizers" / f"{name}.txt").read_text().split("case")[1:]
    assert len(cases) >= 2
    for case in cases:
        settings, *points = case.rstrip("\n").split("\n")
        regularizer = built(entry, parse(entry, settings))
        # In make.py theta moves by RATE, and so do the fast weights of Lookbehind-SAM.
        method = core.Method(
            regularizer, None, make.RATE, shapes=SHAPES, normalisation=normalisation()
        )
        theta = start()
        for t, point in enumerate(points):
            problem = step_batch(t)
            report = method.step(theta, problem)
            assert (problem.commits, report.products) == (1, "exact")
            expected = np.array(point.split()[1:], float)
            # The order of the operations differs from make.py's, which changes some ulps a step.
            np.testing.assert_allclose(theta, expected, rtol=0, atol=1e-12, err_msg=f"{settings}, step {t}")
        assert method.t == len(points) >= 5


@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if not any(s.name == "hessian_every" for s in entry_of("optimizer", n).settings)])
def test_optimizers_have_the_golden_values(name, golden):
    entry = entry_of("optimizer", name)
    lines = (golden / "golden-optimizers" / f"{name}.txt").read_text().splitlines()[1:]
    starts = [i for i, line in enumerate(lines) if line.startswith("case ")] + [len(lines)]
    assert len(starts) > 2
    for begin, end in zip(starts, starts[1:]):
        words, shapes = lines[begin].split()[1:], [(6,)]
        if words[0].startswith("shapes="):
            shapes = [tuple(int(n) for n in shape.split("x")) for shape in words.pop(0)[7:].split(",")]
        settings = parse(entry, " ".join(words))
        default = next(setting.default for setting in entry.settings if setting.name == "lr")

        def rate(t, lr=settings.get("lr", default)):
            share = min((t + 1) / 4, 1) if name.startswith("schedule-free") else [1, 0.5, 0.25][t // 4]
            return lr * share

        method = core.Method(None, built(entry, settings), rate, shapes=shapes)
        theta = ((3.0 * np.arange(6)) % 5 - 2.0) / 2.0
        for t in range(1, 13):
            gradient = ((7.0 * t + 5.0 * np.arange(6)) % 11 - 5.0) / 4.0
            method.step(theta, lambda x, gradient=gradient: (0.0, gradient))
            expected = np.array(lines[begin + t].split(), float)
            # Roots and quotients are off by a few ulps each, in each of twelve steps.
            np.testing.assert_allclose(theta, expected, rtol=1e-13, atol=1e-13, err_msg=f"{lines[begin]}, step {t}")
        if begin + 13 < end:
            expected = np.array(lines[begin + 13].split()[1:], float)
            np.testing.assert_allclose(method.solution(theta), expected, rtol=1e-13, atol=1e-13)
        else:
            assert method.solution(theta) is theta


def parts():
    """Every regulariser over SGD, and every optimiser alone."""
    for name in REGULARIZERS:
        yield name, lambda name=name: (built(entry_of("regularizer", name), {}), core.sgd(momentum=0.9))
    for name in OPTIMIZERS:
        yield name, lambda name=name: (None, built(entry_of("optimizer", name), {}))


PARTS = dict(parts())


def method_of(name, dtype=np.float64, **options):
    regularizer, optimizer = PARTS[name]()
    return core.Method(
        regularizer, optimizer, 0.01, shapes=SHAPES, normalisation=normalisation(), **options
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", PARTS)
def test_every_method_resumes_bit_for_bit(name, dtype, tmp_path):
    whole, theta = method_of(name), start().astype(dtype)
    seen = []
    for t in range(8):
        whole.step(theta, step_batch(t))
        seen.append(theta.copy())
    assert theta.dtype == dtype and len({point.tobytes() for point in seen}) > 1
    for stop in (1, 3, 5):
        before, point = method_of(name), start().astype(dtype)
        for t in range(stop):
            before.step(point, step_batch(t))
        before.save(tmp_path / "state.npz")
        after = method_of(name)
        after.load(tmp_path / "state.npz")
        assert after.t == stop
        for t in range(stop, 8):
            after.step(point, step_batch(t))
            assert point.tobytes() == seen[t].tobytes(), f"stopped at {stop}, step {t}"


def test_a_scaled_optimiser_without_a_state_of_its_own_continues():
    made = lambda: core.Method(None, core.scaled(core.sgd(momentum=0.0, weight_decay=0.0), 0.5), 0.1)  # noqa: E731
    method, theta = made(), np.ones(3)
    method.step(theta, quadratic)
    after = made()
    after.load_state_dict(method.state_dict())
    other = theta.copy()
    method.step(theta, quadratic)
    after.step(other, quadratic)
    assert theta.tobytes() == other.tobytes()


@pytest.mark.parametrize("name", PARTS)
def test_a_step_that_fails_changes_neither_theta_nor_the_state(name):
    method, theta = method_of(name), start()
    for t in range(3):
        method.step(theta, step_batch(t))
    before, state = theta.copy(), method.state_dict()
    calls = Problem(np.arange(4))
    method.step(theta.copy(), calls)
    method.load_state_dict(state)
    for n in range(1, calls.commits + calls.looks + calls.products + 1):
        error, made = RuntimeError("mine"), [0]

        class Failing(Problem):
            def count(self):
                made[0] += 1
                if made[0] == n:
                    raise error

            def __call__(self, theta):
                self.count()
                return super().__call__(theta)

            def commit(self, theta):
                self.count()
                return super().commit(theta)

            def hvp(self, theta, v):
                self.count()
                return super().hvp(theta, v)

        with pytest.raises(RuntimeError) as raised:
            method.step(theta, Failing(np.arange(4)))
        assert raised.value is error
        assert np.array_equal(theta, before) and method.t == 3
        after = method.state_dict()
        assert after.keys() == state.keys()
        assert all(np.array_equal(after[name], state[name]) for name in state)


@pytest.mark.parametrize("name", REGULARIZERS)
def test_the_cost_is_what_the_registry_says(name):
    entry = entry_of("regularizer", name)
    method, theta = core.Method(
        built(entry, {}), core.sgd(), 0.01, shapes=SHAPES, normalisation=normalisation()
    ), start()
    problems = [step_batch(t) for t in range(10)]
    for problem in problems:
        method.step(theta, problem)
    # The costs are means over ten steps, because LookSAM takes its second gradient on every fifth step only.
    assert np.mean([p.products for p in problems]) == pytest.approx(entry.products, abs=0.05)
    assert np.mean([p.looks for p in problems]) == pytest.approx(entry.gradients, abs=0.15)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_warm_up_to_their_peak(name):
    entry = entry_of("schedule", name)
    required = {"factor": 0.1, "milestones": [5]}
    settings = {s.argument: required[s.name] for s in entry.settings if s.required}
    rate = getattr(core, entry.function)(0.5, 10, 4, warmup_epochs=1, **settings)
    values = [rate(t) for t in range(40)]
    assert max(values) == 0.5 and values[4] == 0.5 and values[0] < values[1] < values[2] < values[3]
    assert all(x > 0 for x in values)


def test_the_cosine_has_its_closed_form():
    rate = core.cosine(0.1, 30, floor=0.01)
    # The cosine is math's, because NumPy's is off by some ulps in some versions.
    expected = [0.01 + 0.09 * (1 + math.cos(math.pi * t / 30)) / 2 for t in range(31)]
    np.testing.assert_allclose([rate(t) for t in range(31)], expected, rtol=1e-15)


PLAIN = core.sgd(momentum=0, weight_decay=0)
QUADRATIC = np.array([1.0, 4.0, 9.0])


def quadratic(theta):
    return 0.5 * float(theta @ (QUADRATIC * theta)), QUADRATIC * theta


def test_algorithm_1_on_a_quadratic_has_its_closed_form():
    theta = np.array([0.3, -0.2, 0.1])
    rho, alpha, eta = 0.2, 0.7, 0.05
    g = QUADRATIC * theta
    f = QUADRATIC * g / np.linalg.norm(g)
    adv = theta + rho * f / np.linalg.norm(f)
    g_adv = QUADRATIC * adv
    expected = theta - eta * (g + alpha * rho * QUADRATIC * g_adv / np.linalg.norm(g_adv))
    # The closed form has no ξ, so ξ is set to almost 0.
    gnr = core.gnr(rho=rho, alpha=alpha, xi=1e-300)
    report = core.Method(gnr, PLAIN, eta).step(theta, quadratic, lambda x, v: QUADRATIC * v)
    np.testing.assert_allclose(theta, expected, rtol=0, atol=1e-16)
    penalty = report.penalties["gnr"]
    assert penalty.value == pytest.approx(rho * np.linalg.norm(g_adv), rel=1e-14)
    assert report.loss == pytest.approx(0.5 * (QUADRATIC * [0.09, 0.04, 0.01]).sum(), rel=1e-14)
    # Differences of a linear gradient are exact but for rounding, 1e-16/1e-3 a product.
    other = np.array([0.3, -0.2, 0.1])
    report = core.Method(gnr, PLAIN, eta).step(other, quadratic)
    np.testing.assert_allclose(other, expected, rtol=0, atol=1e-12)
    assert list(report.penalties) == ["gnr (forward-difference)"]


def test_what_products_are_is_told():
    hvp = lambda x, v: QUADRATIC * v  # noqa: E731
    method = core.Method(core.gnr())
    assert (method.products(), method.products(hvp)) == ("forward-difference", "exact")
    for kind in ("gauss-newton", "central-difference", "forward-difference"):
        for method in (core.Method(core.gnr(hvp=kind)), core.Method(core.gnr(), products=kind)):
            report = method.step(np.ones(3), quadratic, hvp)
            assert (report.products, list(report.penalties)) == (kind, [f"gnr ({kind})"])
    report = core.Method([core.sam(), core.gnr()]).step(np.ones(3), quadratic)
    assert list(report.penalties) == ["sam", "gnr (forward-difference)"]
    with pytest.raises(ValueError, match=r"exact products: expected a callable hvp\(theta, v\), found none"):
        core.Method(core.gnr(hvp="exact")).step(np.ones(3), quadratic)
    with pytest.raises(ValueError, match="products of one kind"):
        core.Method(core.gnr(hvp="exact"), products="central-difference")


def test_differences_take_the_steps_that_are_asked_for():
    points = []

    def cubic(x):
        points.append(x.copy())
        return float((x**4).sum()), 4 * x**3

    core.Method(core.gnr(), difference_step=0.01).step(np.ones(2), cubic)
    assert np.linalg.norm(points[1] - points[0]) == pytest.approx(0.01, rel=1e-12)
    points.clear()
    core.Method(core.gnr(hvp="central-difference", step=0.05)).step(np.ones(2), cubic)
    assert np.linalg.norm(points[2] - points[1]) == pytest.approx(0.1, rel=1e-12)
    points.clear()
    core.Method(core.gnr(hvp="forward-difference"), difference_step=0.02).step(np.ones(2), cubic)
    assert np.linalg.norm(points[1] - points[0]) == pytest.approx(0.02, rel=1e-12)
    forward = lambda step: core.gnr(hvp="forward-difference", step=step)  # noqa: E731
    core.Method([forward(0.05), core.gnr(hvp="forward-difference")])
    core.Method([forward(0.05), forward(0.05)], difference_step=0.05)
    for given in (dict(regularizers=[forward(0.05), forward(0.1)]), dict(regularizers=forward(0.05), difference_step=0.1)):
        with pytest.raises(ValueError, match="differences of one length"):
            core.Method(**given)
    with pytest.raises(ValueError, match=r"expected hvp=.* beside it, or Method\(difference_step=...\)"):
        core.gnr(step=0.05)


def test_wrappers_say_when_a_regulariser_acts():
    def acting(regularizer, steps=12):
        method, theta = core.Method(regularizer, core.sgd(), 1e-3), np.ones(3)
        return [t for t in range(steps) if method.step(theta, quadratic).penalties]

    assert acting(core.sam()) == list(range(12))
    assert acting(core.every(core.sam(), 5)) == [0, 5, 10]
    assert acting(core.every(core.sam(), 5, offset=2)) == [2, 7]
    assert acting(core.from_step(core.sam(), 9)) == [9, 10, 11]
    assert acting(core.from_step(core.every(core.sam(every=2), 3), 1)) == [6]


def test_regularisers_add_up():
    def moved(regularizers):
        theta = np.array([0.3, -0.2, 0.1])
        core.Method(regularizers, core.sgd(), 1.0).step(theta, quadratic, lambda x, v: QUADRATIC * v)
        return theta

    plain, sam, gnr = moved(None), moved(core.sam()), moved(core.gnr())
    np.testing.assert_allclose(moved([core.sam(), core.gnr()]), sam + gnr - plain, rtol=1e-13)


def test_groups_have_an_optimiser_each():
    theta = np.ones(3)
    method = core.Method(
        None,
        [PLAIN, core.scaled(core.sgd(momentum=0, weight_decay=0.5), 2.0)],
        0.1,
        shapes=[(1,), (1,), (1,)],
        groups=[0, 1, 0],
    )
    method.step(theta, lambda x: (0.0, np.array([1.0, 1.0, 1.0])))
    np.testing.assert_allclose(theta, [0.9, 1 - 0.2 * 1.5, 0.9], rtol=1e-15)


def test_clipping_bounds_the_direction():
    theta = np.array([3.0, 0.0, 0.0])
    report = core.Method(None, PLAIN, 1.0, clip_norm=0.5).step(theta, quadratic)
    assert report.direction_norm == 3.0 and theta[0] == 2.5


def test_a_sample_of_the_batch_is_asked_for_and_taken_back():
    asked = []

    class Sampled(Problem):
        def restrict(self, sample):
            asked.append(sample)
            super().restrict(sample)

    method = core.Method(core.sam(batch_fraction=0.5), core.sgd(), 0.1, seed=4)
    method.step(start(), Sampled(np.arange(8)))
    (fraction, seed), whole = asked
    assert fraction == 0.5 and isinstance(seed, int) and whole is None
    assert len(core.sample_rows(8, (fraction, seed))) == 4 and list(core.sample_rows(3, None)) == [0, 1, 2]
    with pytest.raises(ValueError, match=r"method `restrict\(sample\)` of loss_and_grad, found none"):
        core.Method(core.sam(batch_fraction=0.5)).step(np.ones(3), quadratic)


def test_theta_may_be_a_view():
    whole = np.ones((3, 2))
    core.Method(None, PLAIN, 0.1).step(whole[:, 1], quadratic)
    np.testing.assert_allclose(whole, [[1, 0.9], [1, 0.6], [1, 0.1]], rtol=1e-15)


@pytest.mark.parametrize(
    "theta, error, words",
    [
        ([1.0, 2.0, 3.0], TypeError, "theta: expected a numpy.ndarray, .*found list"),
        (np.ones(3, int), TypeError, "theta: expected an array of float32 or float64, found int64"),
        (np.ones(3, np.float16), TypeError, "found float16"),
        (np.ones((3, 1)), ValueError, r"theta: expected one axis, found shape \(3, 1\)"),
        (np.broadcast_to(1.0, 3), ValueError, "theta: expected a writeable array"),
        (np.ones(4), ValueError, "theta: expected 3 elements, those of 1 shape, found 4"),
    ],
)
def test_arrays_that_cannot_be_theta_are_told(theta, error, words):
    with pytest.raises(error, match=words):
        core.Method(shapes=[(3,)]).step(theta, quadratic)


@pytest.mark.parametrize(
    "answer, error, words",
    [
        (None, TypeError, r"expected it to return a tuple \(loss, grad\), found NoneType"),
        ((1.0,), TypeError, "found a tuple of 1"),
        ((1.0, np.ones(2)), ValueError, r"loss_and_grad, grad: expected shape \(3,\), found shape \(2,\)"),
        (("x", np.ones(3)), TypeError, "loss_and_grad, loss: expected a number, found str"),
        ((1j, np.ones(3)), TypeError, "loss_and_grad, loss: expected a number, found complex"),
        ((1.0, "x"), TypeError, "grad: expected an array of float32 or float64"),
        ((np.nan, np.ones(3)), FloatingPointError, "the loss is NaN; the parameters were left unchanged"),
        ((1.0, np.array([1, np.inf, 0])), FloatingPointError, "the gradient norm is inf"),
    ],
)
def test_answers_that_are_no_gradient_are_told(answer, error, words):
    theta = np.ones(3)
    with pytest.raises(error, match=words):
        core.Method().step(theta, lambda x: answer)
    assert (theta == 1).all()


def test_products_and_perturbed_points_that_are_not_finite_are_named():
    with pytest.raises(FloatingPointError, match="the norm of a Hessian-vector product is NaN"):
        core.Method(core.gnr()).step(np.ones(3), quadratic, lambda x, v: v * np.nan)
    bounded = lambda x: (np.nan if x[0] > 1 else 0.5, np.ones(3))  # noqa: E731
    with pytest.raises(FloatingPointError, match="the loss at the perturbed point is NaN"):
        core.Method(core.sam()).step(np.ones(3), bounded)


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda: core.gnr(rho=-1), ValueError, "gnr: `rho` = -1.0: must be positive and finite"),
        (lambda: core.gnr(rho="big"), ValueError, "gnr: `rho` = 'big': expected a number"),
        (lambda: core.gnr(rho=True), ValueError, "expected a number"),
        (lambda: core.gnr(radius=1), ValueError, "gnr: `radius` = .*its keys are rho, alpha"),
        (lambda: core.gnr(hvp="magic"), ValueError, "expected one of exact, gauss-newton"),
        (lambda: core.adam(betas=(0.9, 1.0)), ValueError, r"adam: `betas` = .*must lie in \[0, 1\)"),
        (lambda: core.adam(betas=(0.9,)), ValueError, "expected two numbers"),
        (lambda: core.cosine(0.1, 0), ValueError, "epochs: expected at least 1, found 0"),
        (lambda: core.cosine(0.1, 10, floor=0.2), ValueError, "floor"),
        (lambda: core.every(core.sam(), 0), ValueError, "period: expected at least 1, found 0"),
        (lambda: core.Method(core.every(core.sam(), 2, offset=2)), ValueError, "offset"),
        (lambda: core.Method(core.gnr), TypeError, r"found the function gnr \(call it\)"),
        (lambda: core.Method(core.sgd()), TypeError, "regularizers: expected a Regularizer .*found Optimizer"),
        (lambda: core.Method(learning_rate=-0.1), ValueError, "learning_rate: expected .*found -0.1"),
        (lambda: core.Method(products="magic"), ValueError, "products: expected one of exact"),
        (lambda: core.Method(optimizer=[core.sgd()] * 2), ValueError, "groups: expected the group of each leaf"),
        (lambda: core.Method(shapes=[(2,)], groups=[0, 0]), ValueError, "groups: expected one entry for each of 1"),
        (lambda: core.Method(core.sam_on()), ValueError, "sam-on: `normalisation layers` = none in 1 leaves"),
        (lambda: core.methods("colour"), ValueError, "kind: expected one of optimizer, regularizer, schedule"),
    ],
)
def test_settings_out_of_range_are_told(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_states_of_other_methods_are_refused():
    adam, theta = core.Method(None, core.adam(), 0.1), np.ones(3)
    adam.step(theta, quadratic)
    state = adam.state_dict()
    other = core.Method(None, PLAIN, 0.1)
    for broken, words in [
        (state, 'leaf "optimizer.exp_avg": this method has no such leaf'),
        ({"t": 1, "mine": 3}, 'leaf "mine": expected a name that begins with "regularizer." or "optimizer."'),
        ({"t": 0, "optimizer.step": 1}, "expected no leaves before the first step, found 'optimizer.step'"),
        ({"t": -1}, "'t': expected at least 0, found -1"),
    ]:
        with pytest.raises(ValueError, match=words):
            other.load_state_dict(broken)
        assert other.t == 0
    with pytest.raises(ValueError, match="'t': expected the number of steps, found nothing"):
        adam.load_state_dict({})
    broken = {name: leaf for name, leaf in state.items() if not name.endswith("exp_avg")}
    with pytest.raises(ValueError, match="checkpoint leaf `exp_avg`: missing after 1 steps"):
        adam.load_state_dict(broken)
    with pytest.raises(ValueError, match=r"leaf .*: expected shape \(4,\), found shape \(3,\)"):
        adam.step(np.ones(4), lambda x: (1.0, x))
    assert adam.t == 1


def test_ctrl_c_ends_a_step_and_changes_nothing():
    def slow(theta):
        os.kill(os.getpid(), signal.SIGINT)
        return quadratic(theta)

    method, theta = core.Method(core.gnr(), core.sgd(), 0.1), np.ones(3)
    with pytest.raises(KeyboardInterrupt):
        method.step(theta, slow)
    assert (theta == 1).all() and method.t == 0


def test_every_function_documents_what_the_registry_says():
    for entry in core.methods():
        function = getattr(core, entry.function)
        assert entry.function in core.__all__ and function.__name__ == entry.function
        text = inspect.getdoc(function)
        assert entry.equation in text and entry.reference in text and entry.doc in text
        signature = inspect.signature(function)
        for setting in entry.settings:
            assert f"{setting.argument}: {setting.domain}" in text and setting.doc in text
            default = inspect.Parameter.empty if setting.required else setting.default
            assert signature.parameters[setting.argument].default == default
        assert f"{entry.products:g} Hessian-vector products" in text or entry.kind == "schedule"
    assert "SAM" in core.gnr.__doc__ or "gradient norm" in core.gnr.__doc__


def test_methods_of_single_examples_are_refused_with_what_has_them():
    assert not {"esam", "saf", "mesa"} & set(REGULARIZERS)
    for name in ("esam", "saf", "mesa"):
        with pytest.raises(ValueError, match=f"{name}.*single examples.*gnr train"):
            core._native.resolve("regularizer", name, {})
