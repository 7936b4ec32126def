# %% [markdown]
# The spectrum of my PyTorch model
#
# This script trains a small network for a moment. It then measures the Hessian of the loss: largest eigenvalues, trace,
# density. Put your own model and loss into the cell that asks for them. Run the script as a program, or cell by cell in
# an editor that knows `# %%`. From the root of the repository:
#
#     pip install ./gnr-python torch matplotlib
#     python gnr-python/examples/spectrum_of_my_model.py

# %%
from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

from gnr import core, hessian
from gnr.torch import Objective

arguments = argparse.ArgumentParser(description="The Hessian's spectrum of a PyTorch model.")
arguments.add_argument("--eigenvalues", type=int, default=5, help="how many of the largest (default 5)")
arguments.add_argument("--matvecs", type=int, default=400, help="Hessian-vector products for each part (default 400)")
arguments.add_argument("--steps", type=int, default=200, help="training steps before (default 200)")
arguments.add_argument("--picture", default="spectrum.png", help="where the picture goes if matplotlib is there")
options = arguments.parse_args()
torch.manual_seed(0)

# %% Put your own model and batch here. The whole data set, or a large fixed sample, tells more than a mini-batch.
x = torch.randn(512, 10)
y = (x[:, 0] * x[:, 1] > 0).long() + (x[:, 2] > 1).long()
model = torch.nn.Sequential(
    torch.nn.Linear(10, 32), torch.nn.Tanh(), torch.nn.Linear(32, 32), torch.nn.Tanh(), torch.nn.Linear(32, 3)
)
objective = Objective(model, lambda model: F.cross_entropy(model(x), y))

# %% A little training, with the gradient norm regulariser. Skip this cell if your model is trained.
theta = objective.theta()
method = core.Method(core.gnr(rho=0.05, alpha=0.1), core.adam(), 3e-3, shapes=objective.shapes)
for _ in range(options.steps):
    report = method.step(theta, objective)
objective.set(theta)
print(f"{objective.dim} parameters, loss {objective(theta)[0]:.4f}")

# %% A check that products are those of one fixed symmetric matrix. Dropout or a batch drawn anew raises an error here.
matvec = objective.matvec()
hessian.check(matvec, objective.dim, dtype=np.float32)


# %% The largest eigenvalues. Ctrl-C stops.
def progress(p: hessian.Progress) -> None:
    if sys.stderr.isatty():
        print(f"\r{p.num_matvecs} of at most {p.budget} products", end="", file=sys.stderr)


started = time.perf_counter()
pairs = hessian.eigenpairs(
    matvec, objective.dim, options.eigenvalues, num_matvecs=options.matvecs, dtype=np.float32, progress=progress
)
print(f"largest eigenvalues ({pairs.num_matvecs} products, {time.perf_counter() - started:.1f} s, {pairs.end}):")
for value, residual in zip(pairs.values, pairs.residuals):
    print(f"  {value:10.4f} ± {residual:.1e}")

# %% The trace, with its 95 % confidence interval.
trace = hessian.trace(matvec, objective.dim, options.matvecs, method="hutch++", dtype=np.float32)
print(f"trace {trace.value:.3f}, between {trace.low:.3f} and {trace.high:.3f} ({trace.confidence:.0%} confidence)")

# %% The density: how many eigenvalues lie where.
starts = 4
density = hessian.density(matvec, objective.dim, starts=starts, steps=options.matvecs // starts, dtype=np.float32)
low, high = density.range()
sigma = 0.01 * (high - low)
points = np.linspace(low - 4 * sigma, high + 4 * sigma, 400)
mean, error = density.smoothed(points, sigma)
near_zero = density.functional(lambda node: (np.abs(node) < sigma).astype(float)).mean()
print(f"eigenvalues from {low:.4f} to {high:.4f}; {near_zero:.0%} of them within {sigma:.4f} of zero")

# %% The picture.
try:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
except ImportError:
    print("matplotlib is not installed: no picture")
else:
    figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
    axes.semilogy(points, np.maximum(mean, 1e-6))
    axes.fill_between(points, np.maximum(mean - error, 1e-6), mean + error, alpha=0.3)
    for value in pairs.values:
        axes.axvline(float(value), color="tab:red", linewidth=0.7, linestyle=":")
    axes.set(xlabel="eigenvalue of the Hessian", ylabel="density", ylim=(1e-5, None))
    figure.savefig(options.picture, dpi=150)
    print(f"picture: {options.picture}")
