"""Golden values of optimisers that hear of the Hessian's diagonal, in float64: `python hutchinson.py` writes their files beside this script.

Needs NumPy alone. The files are as those of make.py, with its start, gradients and learning rates. The estimate before step t is made on the
steps 1, 1 + k, 1 + 2k, .. with k = hessian_every, from given signs and an exact product (all numbers are short binary fractions):

    H_t[i][j] = ((3 (i + j) + i j + t) mod 7 - 3) / 4,   z_t[i] = 1 if (5 t + 3 i + t i) mod 4 < 2 else -1,   estimate = z_t * (H_t z_t).

The rules are those of the papers' algorithms and the authors' programs, in the order of operations that is written there.
"""

from pathlib import Path

import numpy as np

SIZE, STEPS = 6, 12
RATES = [1.0] * 4 + [0.5] * 4 + [0.25] * 4


def start():
    return np.array([((3 * i) % 5 - 2) / 2 for i in range(SIZE)])


def gradient(t):
    return np.array([((7 * t + 5 * i) % 11 - 5) / 4 for i in range(SIZE)])


def estimate(t):
    hessian = np.array([[((3 * (i + j) + i * j + t) % 7 - 3) / 4 for j in range(SIZE)] for i in range(SIZE)])
    assert (hessian == hessian.T).all()
    z = np.array([1.0 if (5 * t + 3 * i + t * i) % 4 < 2 else -1.0 for i in range(SIZE)])
    return z * (hessian @ z)


class SophiaH:
    """Liu et al. 2024, Algorithm 3 with Algorithm 1, as in github.com/Liuhong99/Sophia but for max(γh, ε), which the estimates' signs need."""

    def __init__(self, betas=(0.96, 0.99), gamma=0.01, eps=1e-12, weight_decay=0.1):
        self.beta1, self.beta2 = betas
        self.gamma, self.eps, self.weight_decay = gamma, eps, weight_decay
        self.m, self.h = np.zeros(SIZE), np.zeros(SIZE)

    def hear(self, t, estimate):
        self.h = self.beta2 * self.h + (1 - self.beta2) * estimate

    def step(self, t, theta, g, lr):
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        theta = theta - lr * self.weight_decay * theta
        return theta - lr * np.clip(self.m / np.maximum(self.gamma * self.h, self.eps), -1, 1)


class AdaHessian:
    """Yao et al. 2021, Algorithm 1 without spatial averaging, as in github.com/amirgholami/adahessian; bias corrected by the estimates."""

    def __init__(self, betas=(0.9, 0.999), eps=1e-4, hessian_power=1.0, weight_decay=0.0):
        self.beta1, self.beta2 = betas
        self.eps, self.power, self.weight_decay = eps, hessian_power, weight_decay
        self.m, self.v, self.n = np.zeros(SIZE), np.zeros(SIZE), 0

    def hear(self, t, estimate):
        self.v = self.beta2 * self.v + (1 - self.beta2) * np.abs(estimate) * np.abs(estimate)
        self.n += 1

    def step(self, t, theta, g, lr):
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        correction1, correction2 = 1 - self.beta1**t, 1 - self.beta2**self.n
        denominator = np.sqrt(self.v) ** self.power / np.sqrt(correction2) ** self.power + self.eps
        return theta - lr * (self.m / correction1 / denominator + self.weight_decay * theta)


class Sassha:
    """Shin et al. 2025, the step after the perturbation, as in github.com/LOG-postech/Sassha with a constant power."""

    def __init__(self, betas=(0.9, 0.999), eps=1e-4, hessian_power=0.5, weight_decay=0.0):
        self.beta1, self.beta2 = betas
        self.eps, self.power, self.weight_decay = eps, hessian_power, weight_decay
        self.m, self.d, self.correction2 = np.zeros(SIZE), np.zeros(SIZE), None

    def hear(self, t, estimate):
        self.d = self.beta2 * self.d + (1 - self.beta2) * np.abs(estimate)
        self.correction2 = (1 - self.beta2**t) ** self.power

    def step(self, t, theta, g, lr):
        theta = theta * (1 - lr * self.weight_decay)
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        denominator = self.d**self.power / self.correction2 + self.eps
        return theta - lr / (1 - self.beta1**t) * self.m / denominator


def run(rule, settings):
    keywords = dict(settings)
    lr, every = keywords.pop("lr"), keywords.pop("hessian_every")
    optimizer, theta, rows = rule(**keywords), start(), []
    for t in range(1, STEPS + 1):
        if (t - 1) % every == 0:
            optimizer.hear(t, estimate(t))
        theta = optimizer.step(t, theta, gradient(t), lr * RATES[t - 1])
        rows.append(theta)
    return rows


def words(value):
    return ",".join(repr(x) for x in value) if isinstance(value, tuple) else repr(value)


def write(name, rule, cases):
    lines = [f"# {rule.__name__} of hutchinson.py: {rule.__doc__}"]
    for settings in cases:
        lines.append("case " + " ".join(f"{key}={words(value)}" for key, value in settings.items()))
        lines += [" ".join(repr(float(x)) for x in row) for row in run(rule, settings)]
    Path(__file__).with_name(f"{name}.txt").write_text("\n".join(lines) + "\n")


def main():
    other = {"betas": (0.5, 0.75), "eps": 0.05, "weight_decay": 0.2}
    write(
        "sophia-h",
        SophiaH,
        [{"lr": 0.01, "hessian_every": 10}, {"lr": 0.1, "gamma": 0.5, "hessian_every": 3, **other}],
    )
    write(
        "adahessian",
        AdaHessian,
        [
            {"lr": 0.15, "hessian_every": 1},
            {"lr": 0.1, "hessian_power": 0.5, "hessian_every": 1, **other},
            {"lr": 0.1, "hessian_every": 4, "weight_decay": 0.1},
        ],
    )
    write(
        "sassha",
        Sassha,
        [{"lr": 0.15, "hessian_every": 10}, {"lr": 0.1, "hessian_power": 0.75, "hessian_every": 3, **other}],
    )


if __name__ == "__main__":
    main()
