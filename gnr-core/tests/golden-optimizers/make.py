"""Golden values of optimisers, in float64: `python make.py` writes one file an optimiser beside this script.

Needs torch, pytorch_optimizer 4.1.0 and schedulefree 1.4.1. A file has one block a case: its settings as `key=value`, then the parameters after
each step, whatever the gradients were asked at, and for schedule-free methods the averaged parameters at the end. All use the same start and the same gradients:

    theta_0[i] = ((3 i) mod 5 - 2) / 2,   g_t[i] = ((7 t + 5 i) mod 11 - 5) / 4,   i = 0..5, t = 1..12,

and the learning rate of step t is lr * RATES[t - 1] with lr of the settings, for schedule-free methods lr * WARM[t - 1].
"""

import math
from pathlib import Path

import pytorch_optimizer
import schedulefree
import torch

# NAdam keeps a product of numbers in the default type.
torch.set_default_dtype(torch.float64)
SIZE, STEPS = 6, 12
RATES = [1.0] * 4 + [0.5] * 4 + [0.25] * 4
WARM = [0.25, 0.5, 0.75] + [1.0] * 9


def start():
    return torch.tensor([((3 * i) % 5 - 2) / 2 for i in range(SIZE)], dtype=torch.float64)


def gradient(t):
    return torch.tensor([((7 * t + 5 * i) % 11 - 5) / 4 for i in range(SIZE)], dtype=torch.float64)


def run(make, lr, rates=RATES):
    """A torch.optim.Optimizer. `make` takes a list of parameters and keyword arguments."""
    theta = torch.nn.Parameter(start())
    optimizer = make([theta], lr=lr)
    if hasattr(optimizer, "train"):
        optimizer.train()
    rows = []
    for t in range(1, STEPS + 1):
        for group in optimizer.param_groups:
            group["lr"] = lr * rates[t - 1]
        theta.grad = gradient(t)
        optimizer.step()
        rows.append(theta.detach().clone())
    if hasattr(optimizer, "eval"):
        optimizer.eval()
        rows.append(theta.detach().clone())
    return rows


def worked_out(rule, lr):
    """A formula of a paper: `rule(t, theta, g, lr, state)` gives the new theta; `state` starts empty."""
    theta, state, rows = start(), {}, []
    for t in range(1, STEPS + 1):
        theta = rule(t, theta, gradient(t), lr * RATES[t - 1], state)
        rows.append(theta.clone())
    return rows


def words(value):
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(repr(x) for x in value) if isinstance(value, (list, tuple)) else repr(value)


def write(name, source, cases):
    lines = [f"# {source}"]
    for settings, rows in cases:
        lines.append("case " + " ".join(f"{key}={words(value)}" for key, value in settings.items()))
        lines += [" ".join(repr(float(x)) for x in row) for row in rows[:STEPS]]
        lines += ["solution " + " ".join(repr(float(x)) for x in row) for row in rows[STEPS:]]
    Path(__file__).with_name(f"{name}.txt").write_text("\n".join(lines) + "\n")


def torch_cases(name, optimizer, cases, rename=None, rates=RATES, **fixed):
    """Cases of an optimiser whose keywords are ours, but for those that `rename` maps."""
    rename = rename or {}
    rows = []
    for settings in cases:
        keywords = {rename.get(k, k): v for k, v in settings.items() if k != "lr"}
        rows.append((settings, run(lambda p, lr: optimizer(p, lr=lr, **keywords, **fixed), settings["lr"], rates)))
    module = optimizer.__module__.split(".")[0]
    version = {"torch": torch.__version__, "pytorch_optimizer": "4.1.0", "schedulefree": "1.4.1"}[module]
    fixed = "".join(f", {k}={v}" for k, v in fixed.items())
    write(name, f"{module} {version}: {optimizer.__name__}(..{fixed})", rows)


def yogi(t, theta, g, lr, state, betas=(0.9, 0.999), eps=1e-3, initial=1e-6, weight_decay=0.0):
    """Zaheer et al. 2018, Algorithm 2. pytorch_optimizer corrects bias and starts m at 1e-6 too, so it cannot be the reference."""
    d = g + weight_decay * theta
    m = betas[0] * state.get("m", torch.zeros_like(g)) + (1 - betas[0]) * d
    v = state.get("v", torch.full_like(g, initial))
    v = v - (1 - betas[1]) * torch.sign(v - d * d) * d * d
    state.update(m=m, v=v)
    return theta - lr * m / (torch.sqrt(v) + eps)


def padam(t, theta, g, lr, state, betas=(0.9, 0.999), eps=1e-8, power=0.125, weight_decay=5e-4):
    """Chen et al. 2020, the authors' program (github.com/uclaml/Padam). pytorch_optimizer lacks the maximum of the second moments."""
    d = g + weight_decay * theta
    zero = torch.zeros_like(g)
    m = betas[0] * state.get("m", zero) + (1 - betas[0]) * d
    v = betas[1] * state.get("v", zero) + (1 - betas[1]) * d * d
    largest = torch.maximum(state.get("largest", zero), v)
    state.update(m=m, v=v, largest=largest)
    size = lr * math.sqrt(1 - betas[1] ** t) / (1 - betas[0] ** t)
    return theta - size * m / (torch.sqrt(largest) + eps) ** (2 * power)


def muon(t, theta, g, lr, state, shapes, peak, momentum=0.95, adam_lr=3e-4, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.0):
    """github.com/KellerJordan/Muon (muon_update and adam_update) in float64, with the factor of the flattened matrix. PyTorch and
    pytorch_optimizer orthogonalise in bfloat16."""
    m, v = (state.get(name, torch.zeros_like(g)) for name in "mv")
    parts, at = [], 0
    for shape in shapes.split(","):
        axes = [int(axis) for axis in shape.split("x")]
        part = slice(at, at + math.prod(axes))
        at = part.stop
        if len(axes) == 1:
            m[part] = betas[0] * m[part] + (1 - betas[0]) * g[part]
            v[part] = betas[1] * v[part] + (1 - betas[1]) * g[part] ** 2
            rate = lr * adam_lr / peak
            step = (m[part] / (1 - betas[0] ** t)) / (torch.sqrt(v[part] / (1 - betas[1] ** t)) + eps)
        else:
            m[part] = momentum * m[part] + (1 - momentum) * g[part]
            update = (momentum * m[part] + (1 - momentum) * g[part]).reshape(axes[0], -1)
            rows, columns = update.shape
            x = update.T if rows > columns else update
            x = x / (x.norm() + 1e-7)
            for _ in range(5):
                a = x @ x.T
                x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
            step = (x.T if rows > columns else x).reshape(-1) * max(1, rows / columns) ** 0.5
            rate = lr
        parts.append(theta[part] * (1 - rate * weight_decay) - rate * step)
    state.update(m=m, v=v)
    return torch.cat(parts)


def formula_cases(name, rule, cases):
    rows = []
    for settings in cases:
        keywords = {k: v for k, v in settings.items() if k != "lr"}
        rows.append((settings, worked_out(lambda *a: rule(*a, **keywords), settings["lr"])))
    write(name, f"{rule.__name__} of make.py: {' '.join(rule.__doc__.split())}", rows)


def main():
    decay, quick = {"weight_decay": 0.1}, {"betas": (0.5, 0.75)}
    adams = [{"lr": 0.1}, {"lr": 0.1, **decay, **quick, "eps": 0.01}]
    torch_cases(
        "sgd",
        torch.optim.SGD,
        [
            {"lr": 0.1, "momentum": 0.0, "weight_decay": 0.0},
            {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1},
            {"lr": 0.1, "momentum": 0.5, "nesterov": True, "weight_decay": 0.1},
        ],
    )
    torch_cases("adam", torch.optim.Adam, adams)
    torch_cases("adamw", torch.optim.AdamW, adams)
    torch_cases("amsgrad", torch.optim.Adam, adams, amsgrad=True)
    torch_cases("nadam", torch.optim.NAdam, adams + [{"lr": 0.1, "momentum_decay": 0.5}])
    torch_cases("radam", torch.optim.RAdam, adams + [{"lr": 0.1, "betas": (0.9, 0.9)}], decoupled_weight_decay=True)
    torch_cases("adagrad", torch.optim.Adagrad, [{"lr": 0.1}, {"lr": 0.1, "eps": 0.01, **decay}])
    torch_cases(
        "rmsprop",
        torch.optim.RMSprop,
        [{"lr": 0.01}, {"lr": 0.01, "momentum": 0.9, "alpha": 0.8, "eps": 0.01, **decay}],
    )
    formula_cases("yogi", yogi, [{"lr": 0.1}, {"lr": 0.1, "initial": 0.5, "eps": 0.01, **decay, **quick}])
    torch_cases(
        "adabound",
        pytorch_optimizer.AdaBound,
        [{"lr": 0.01}, {"lr": 0.01, "final_lr": 0.03, "gamma": 0.2, "eps": 1e-3, **decay, **quick}],
        weight_decouple=False,
        foreach=False,
    )
    formula_cases("padam", padam, [{"lr": 0.1}, {"lr": 0.1, "power": 0.25, "eps": 0.01, **decay, **quick}])
    adai = []
    for ours in [{"lr": 0.1, "weight_decay": 0.0}, {"lr": 0.1, "beta0": 0.5, "beta2": 0.9, "eps": 0.01, **decay}]:
        betas = (ours.get("beta0", 0.1), ours.get("beta2", 0.99))
        theirs = dict(betas=betas, eps=ours.get("eps", 1e-3), weight_decay=ours["weight_decay"], foreach=False)
        make = lambda p, lr: pytorch_optimizer.Adai(p, lr=lr, weight_decouple=False, dampening=1.0, **theirs)
        adai.append((ours, run(make, ours["lr"])))
    write("adai", "pytorch_optimizer 4.1.0: Adai(.., dampening=1.0, weight_decouple=False)", adai)
    rows = []
    for shapes, settings in [("2x3", {}), ("3x2", decay), ("2x1x2,2", {"momentum": 0.5, "adam_lr": 0.05, "eps": 0.01, **decay, **quick})]:
        rule = lambda *a: muon(*a, shapes=shapes, peak=0.02, **settings)
        rows.append(({"shapes": shapes, "lr": 0.02, **settings}, worked_out(rule, 0.02)))
    write("muon", f"muon of make.py: {' '.join(muon.__doc__.split())}", rows)
    torch_cases(
        "schedule-free-sgd",
        schedulefree.SGDScheduleFreeReference,
        [{"lr": 0.1}, {"lr": 0.1, "momentum": 0.5, **decay}],
        rates=WARM,
    )
    free = []
    for ours in [{"lr": 0.1}, {"lr": 0.1, "beta1": 0.5, "beta2": 0.75, "eps": 0.01, **decay}]:
        theirs = {k: v for k, v in ours.items() if k in ("eps", "weight_decay")}
        theirs["betas"] = (ours.get("beta1", 0.9), ours.get("beta2", 0.999))
        make = lambda p, lr: schedulefree.AdamWScheduleFreePaper(p, lr=lr, foreach=False, **theirs)
        free.append((ours, run(make, ours["lr"], WARM)))
    write("schedule-free-adamw", "schedulefree 1.4.1: AdamWScheduleFreePaper(.., foreach=False)", free)
    torch_cases("lion", pytorch_optimizer.Lion, [{"lr": 0.01}, {"lr": 0.01, **decay, **quick}], foreach=False)


if __name__ == "__main__":
    main()
