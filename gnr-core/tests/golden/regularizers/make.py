"""Golden values of regularisers: NAME.txt holds the points that plain SGD passes through with the regulariser NAME.

Written from the papers' formulas in float64, independently of the Rust code: each method is a function of the batch that returns the
direction of a step. Its keyword arguments are its settings, with the defaults of the paper. Run: `python make.py` (needs NumPy).

A file holds cases. `case rho=0.3` opens one with the settings that differ from the defaults; each `theta` line is θ after one step.
"""

from copy import copy
from pathlib import Path

import numpy as np

INPUTS, HIDDEN, BATCH, STEPS, RATE, XI = 3, 4, 4, 6, 0.5, 1e-12


class Batch:
    """Mean over the examples of (w₂ᵀ tanh(W₁x + b₁) + b₂ − y)²/2 with θ = (W₁ by rows, b₁, w₂, b₂)."""

    def __init__(self, examples):
        i, j = np.asarray(examples)[:, None], np.arange(INPUTS)[None, :]
        self.x = np.sin(1.0 + 3.0 * i + 5.0 * j)
        self.y = np.sin(2.0 + 7.0 * i[:, 0])

    def _forward(self, theta):
        w1, b1 = theta[: INPUTS * HIDDEN].reshape(HIDDEN, INPUTS), theta[INPUTS * HIDDEN :][:HIDDEN]
        w2, b2 = theta[-HIDDEN - 1 : -1], theta[-1]
        a = np.tanh(self.x @ w1.T + b1)
        return w2, a, a @ w2 + b2 - self.y

    def outputs(self, theta):
        """The output for each example."""
        return self._forward(theta)[2] + self.y

    def losses(self, theta):
        """The loss of each example."""
        return self._forward(theta)[2] ** 2 / 2.0

    def gradient(self, theta):
        w2, a, residual = self._forward(theta)
        r = residual / len(self.y)
        pre = r[:, None] * w2 * (1.0 - a * a)
        return np.concatenate([(pre.T @ self.x).ravel(), pre.sum(0), r @ a, [r.sum()]])

    def product(self, theta, v):
        """Hessian times v: the gradient is analytic, so its derivative along v is the imaginary part of a tiny complex step."""
        h = 1e-30
        return self.gradient(theta + 1j * h * v).imag / h


    def part(self, rows):
        """The batch of some of the examples."""
        part = copy(self)
        part.x, part.y = self.x[rows], self.y[rows]
        return part


class SplitMix64:
    """Steele, Lea and Flood, OOPSLA 2014: the generator that random choices are drawn from."""

    MASK = (1 << 64) - 1

    def __init__(self, seed):
        self.state = seed & self.MASK

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & self.MASK
        z = self.state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & self.MASK
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & self.MASK
        return z ^ (z >> 31)

    def uniform(self):
        return (self.next() >> 11) / (1 << 53)


SEED = 5  # of a run's random choices

METHODS = {}


def method(name, *cases, steps=STEPS):
    """Registers a method with the settings of its cases."""

    def register(function):
        METHODS[name] = (function, cases, steps)
        return function

    return register


def norm(v):
    return np.sqrt(np.sum(v * v))


def along(batch, theta, radius, d):
    """The gradient at distance `radius` from θ along d."""
    return batch.gradient(theta + radius * d / (norm(d) + XI))


@method("gnr", {}, {"rho": 0.3, "alpha": 0.7}, {"rho": 0.3, "alpha": 0.7, "xi": 0.1})
def gnr(batch, theta, t, state, rho=0.1, alpha=0.1, xi=1e-12):
    """Algorithm 1 of the paper."""
    g = batch.gradient(theta)
    f = batch.product(theta, g) / (norm(g) + xi)
    there = theta + rho * f / (norm(f) + xi)
    g_there = batch.gradient(there)
    h = rho * batch.product(there, g_there) / (norm(g_there) + xi)
    return g + alpha * h


@method("asam", {}, {"rho": 1.0, "eta": 0.0}, {"rho": 0.2, "eta": 0.5})
def asam(batch, theta, t, state, rho=0.5, eta=0.01):
    """Kwon et al., ICML 2021, with the diagonal matrix T_w written out."""
    g = batch.gradient(theta)
    scale = np.diag(np.abs(theta) + eta)
    return batch.gradient(theta + rho * scale @ scale @ g / (norm(scale @ g) + XI))


@method("gsam", {}, {"rho": 0.3, "alpha": 0.6}, {"rho": 0.3, "rho_min": 0.3, "alpha": 1.5})
def gsam(batch, theta, t, state, rho=0.04, rho_min=0.02, alpha=0.01):
    """Zhuang et al., ICLR 2022, Algorithm 1; at a constant learning rate ρ_t is ρ_max."""
    g = batch.gradient(theta)
    g_p = along(batch, theta, rho, g)
    unit = g_p / norm(g_p)
    g_vertical = g - np.dot(g, unit) * unit
    return g_p - alpha * g_vertical


@method("sam", {}, {"rho": 0.3})
def sam(batch, theta, t, state, rho=0.05):
    """Foret et al., ICLR 2021, Algorithm 1."""
    return along(batch, theta, rho, batch.gradient(theta))


def norm_ascent(batch, theta, rho, step):
    """g₀ … g₃ of lines 5 to 12 of Algorithm 2 of Zhang et al., CVPR 2023."""
    g0 = batch.gradient(theta)
    g1 = along(batch, theta, step, g0)
    h0 = g1 - g0
    theta2 = theta + rho * h0 / (norm(h0) + XI)
    g2 = batch.gradient(theta2)
    return g0, g1, g2, along(batch, theta2, step, g2)


@method(
    "gam",
    {},
    {"rho": 0.3, "rho_prime": 0.1, "alpha": 0.3, "beta": 0.8, "gamma": 0.4},
    {"rho_schedule": "inverse-sqrt"},
)
def gam(batch, theta, t, state, rho=0.2, rho_prime=0.02, alpha=0.6, beta=0.5, gamma=0.03, rho_schedule="constant"):
    """Zhang et al., CVPR 2023, Algorithm 2, lines 5 to 16."""
    fall = 1.0 / np.sqrt(t + 1) if rho_schedule == "inverse-sqrt" else 1.0
    g0, g1, g2, g3 = norm_ascent(batch, theta, fall * rho, fall * rho_prime)
    plus, minus = alpha * g1 + (1 - alpha) * g3, beta * g0 + (1 - beta) * g2
    unit = plus / norm(plus)
    return plus - gamma * (minus - (minus @ unit) * unit)


@method("msam", {}, {"rho": 1.5, "momentum": 0.5})
def msam(batch, theta, t, state, rho=0.3, momentum=0.9):
    """Becker et al., 2024, Algorithm 1: the gradient at the perturbed point and the momentum that it goes into."""
    v = state.get("v", np.zeros_like(theta))
    g = along(batch, theta, -rho, v)
    state["v"] = momentum * v + g
    return g


# The biases of the hidden units stand for the leaves of normalisation layers.
NORMALISATION = np.arange(INPUTS * HIDDEN, (INPUTS + 1) * HIDDEN)


@method("sam-on", {}, {"rho": 0.1})
def sam_on(batch, theta, t, state, rho=0.5):
    """Mueller et al., NeurIPS 2023: SAM with the perturbation restricted to the leaves of normalisation layers."""
    g = batch.gradient(theta)[NORMALISATION]
    there = theta.copy()
    there[NORMALISATION] += rho * g / (norm(g) + XI)
    return batch.gradient(there)


@method("lookbehind-sam", {}, {"rho": 0.3}, {"rho": 0.3, "k": 4, "alpha": 0.2})
def lookbehind_sam(batch, theta, t, state, rho=0.05, k=2, alpha=None):
    """Mordido et al., ICML 2024, with an inner SGD: fast weights that step by RATE, slow weights that follow by α."""
    fast, climb, steps = theta, theta, []
    for _ in range(k):
        g = batch.gradient(climb)
        climb = climb + rho * g / (norm(g) + XI)
        fast = fast - RATE * batch.gradient(climb)
        steps.append(fast - theta)
    if alpha is None:
        alpha = (steps[0] @ steps[-1] / (norm(steps[0]) * norm(steps[-1])) + 1) / 2
    return -alpha * steps[-1] / RATE


@method("cr-sam", {}, {"rho": 0.4, "gamma": 0.5, "beta": 0.3})
def cr_sam(batch, theta, t, state, rho=0.1, gamma=0.1, beta=0.01):
    """Wu et al., AAAI 2024, by the update of the authors' code: original, worst and best are g₀, g₊ and g₋."""
    g = batch.gradient(theta)
    e = rho * g / (norm(g) + XI)
    worst, best = batch.gradient(theta + e), batch.gradient(theta - e)
    return worst + gamma * (worst + best - 2 * g) + beta * (worst - best)


@method("c-flat", {}, {"rho": 0.4, "lambda": 0.7})
def c_flat(batch, theta, t, state, rho=0.2, **settings):
    """Bian et al., NeurIPS 2024."""
    _, g1, g2, g3 = norm_ascent(batch, theta, rho, rho)
    return g1 + settings.get("lambda", 0.2) * (g3 - g2)


@method("looksam", {}, {"rho": 0.3, "k": 2, "alpha": 0.5}, {"rho": 0.3, "k": 1})
def looksam(batch, theta, t, state, rho=0.1, k=5, alpha=0.7):
    """Liu et al., CVPR 2022, Algorithm 1: by angles, as there."""
    g = batch.gradient(theta)
    if t % k == 0:
        g_s = along(batch, theta, rho, g)
        cosine = np.dot(g, g_s) / (norm(g) * norm(g_s))
        state["g_v"] = g_s - norm(g_s) * cosine * g / norm(g)
        return g_s
    return g + alpha * norm(g) / (norm(state["g_v"]) + XI) * state["g_v"]


@method("esam", {}, {"rho": 0.3, "beta": 0.3, "gamma": 0.75}, {"rho": 0.2, "beta": 1.0, "gamma": 1.0}, {"gamma": 0.1})
def esam(batch, theta, t, state, rho=0.05, beta=0.6, gamma=0.5):
    """Du et al., ICLR 2022, by the authors' code; every element is a tensor of its own. At the threshold, see the Rust file."""
    g = batch.gradient(theta)
    draws = SplitMix64(SplitMix64(SEED).next() + t)
    g_drawn = np.where([draws.uniform() < beta for _ in theta], g, 0.0)
    there = theta + g_drawn * (rho / (norm(g_drawn) + XI) / beta)
    sharpness = batch.losses(there) - batch.losses(theta)
    position = max(int(BATCH * gamma), 1)
    cutoff = np.sort(sharpness)[::-1][position - 1]
    return batch.part(sharpness >= cutoff).gradient(there)


def log_softmax(z, tau):
    """Of one output that is the logit of a class against another whose logit is 0."""
    z = np.stack([z / tau, np.zeros_like(z)], axis=1)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def trajectory(batch, theta, earlier, compared, lambda_, tau):
    """The gradient of λτ²·KL(softmax(earlier/τ) ‖ softmax(outputs/τ)), the mean over the batch of the rows that are compared.

    Its derivative along each coordinate is the imaginary part of a tiny complex step through the whole loss."""
    p = log_softmax(earlier, tau)

    def loss(theta):
        kl = (np.exp(p) * (p - log_softmax(batch.outputs(theta), tau))).sum(axis=1)
        return lambda_ * tau**2 * np.where(compared, kl, 0.0).sum() / BATCH

    h = 1e-30
    return np.array([loss(theta + 1j * h * unit).imag / h for unit in np.eye(len(theta))])


EPOCH = 3  # steps


def examples(t):
    """Which examples of the data set the rows of step t are: each comes back in every epoch, in another order."""
    return (np.arange(BATCH) + BATCH * (t % EPOCH) + 5 * (t // EPOCH)) % (BATCH * EPOCH)


@method(
    "saf",
    {},
    {"lambda": 2.0, "tau": 2.0, "epochs": 1, "from_epoch": 0},
    {"lambda": 0.7, "epochs": 2, "from_epoch": 3},
    steps=15,
)
def saf(batch, theta, t, state, tau=5.0, epochs=3, from_epoch=6, **settings):
    """Du et al., NeurIPS 2022, by the authors' code, whose kl_start_epoch is from_epoch − 1."""
    train_logits = state.setdefault("logits", {})
    rows, epoch, now = examples(t), t // EPOCH, batch.outputs(theta)
    for row, z in zip(rows, now):
        train_logits[row, epoch] = np.float64(np.float32(z))
    h = batch.gradient(theta)
    if epoch >= from_epoch:
        before = [train_logits.get((row, epoch - epochs)) for row in rows]
        compared = np.array([z is not None for z in before])
        earlier = np.array([0.0 if z is None else z for z in before])
        h = h + trajectory(batch, theta, earlier, compared, settings.get("lambda", 0.3), tau)
    return h


@method("mesa", {}, {"from_epoch": 0, "beta": 0.6}, {"lambda": 3.0, "tau": 2.0, "beta": 0.9, "from_epoch": 2}, steps=15)
def mesa(batch, theta, t, state, tau=5.0, beta=0.9998, from_epoch=6, **settings):
    """Du et al., NeurIPS 2022, by the authors' code, whose kl_start_epoch is from_epoch − 1. They update v after the step."""
    v = state.setdefault("v", theta)
    if t > 0:
        v = state["v"] = beta * v + (1.0 - beta) * theta
    h = batch.gradient(theta)
    if t // EPOCH >= from_epoch:
        everything = np.full(BATCH, True)
        h = h + trajectory(batch, theta, batch.outputs(v), everything, settings.get("lambda", 0.8), tau)
    return h


@method("pgn", {}, {"rho": 0.3, "alpha": 1.5})
def pgn(batch, theta, t, state, rho=0.1, alpha=0.8):
    """Zhao, Zhang and Hu, ICML 2022; α = λ/r, and ρ is their r."""
    g = batch.gradient(theta)
    return (1.0 - alpha) * g + alpha * along(batch, theta, rho, g)


@method("wsam", {}, {"rho": 0.3, "gamma": 0.3})
def wsam(batch, theta, t, state, rho=0.05, gamma=0.9):
    """Yue et al., KDD 2023: the loss (1 − 2γ)/(1 − γ)·L + γ/(1 − γ)·L_SAM."""
    g = batch.gradient(theta)
    return (1.0 - 2.0 * gamma) / (1.0 - gamma) * g + gamma / (1.0 - gamma) * along(batch, theta, rho, g)


@method("friendly-sam", {}, {"rho": 0.2, "lambda": 0.6}, {"rho": 0.3, "sigma": 0.5, "lambda": 0.8})
def friendly_sam(batch, theta, t, state, rho=0.05, sigma=1.0, **decay):
    """Li et al., CVPR 2024, in the order of the authors' code: the mean of the steps before is subtracted."""
    decay = decay.get("lambda", 0.9)
    g = batch.gradient(theta)
    before = state.get("m")
    state["m"] = g if before is None else decay * before + (1.0 - decay) * g
    return along(batch, theta, rho, g if before is None else g - sigma * before)


@method("vasso", {}, {"rho": 0.3, "theta": 0.2})
def vasso(batch, point, t, state, rho=0.05, theta=0.9):
    """Li and Giannakis, NeurIPS 2023, Algorithm 1. Its θ is the rate of the mean; the point is `point`."""
    g = batch.gradient(point)
    state["d"] = (1.0 - theta) * state["d"] + theta * g if "d" in state else g
    return along(batch, point, rho, state["d"])


def run(function, settings, steps):
    """The points after each step, on a batch of its own each."""
    theta, state = 0.5 * np.sin(1.0 + 2.0 * np.arange(HIDDEN * (INPUTS + 2) + 1)), {}
    for t in range(steps):
        batch = Batch(np.arange(BATCH * t, BATCH * (t + 1)))
        theta = theta - RATE * function(batch, theta, t, state, **settings)
        yield theta


def word(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


def main():
    for name, (function, cases, steps) in METHODS.items():
        lines = []
        for settings in cases:
            lines.append(" ".join(["case"] + [f"{key}={word(value)}" for key, value in settings.items()]))
            lines += [" ".join(["theta"] + [repr(float(x)) for x in theta]) for theta in run(function, settings, steps)]
        (Path(__file__).parent / f"{name}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
