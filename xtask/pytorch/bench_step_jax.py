"""JAX's time for one step of each method, beside `gnr bench` (see `cargo xtask bench`): whole steps compiled by XLA on the CPU.

Prints one JSON line per method: model, method, median_ms, min_ms, rounds. The nets and the arithmetic are those of bench_step.py, images in
NHWC; BatchNorm uses the batch's statistics and keeps no running ones. Exact products are linearisations of the gradient (`jax.linearize`).
Compiling counts as warming up. Random data, f32.
"""

import argparse
import json
import os
import statistics
import time

LR, MOMENTUM, RHO, ALPHA, XI, STEP = 1e-3, 0.9, 0.1, 0.1, 1e-12, 1e-2


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--methods", default="", help="others than those of METHODS are ignored; default: all")
    return parser.parse_args()


ARGUMENTS = parse()
# Read when JAX is imported.
os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen=true intra_op_parallelism_threads={ARGUMENTS.threads}"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from jax import lax  # noqa: E402

tree = jax.tree_util


class Parameters:
    """Initial values by name, from one stream of keys."""

    def __init__(self):
        self.values, self.key = {}, jax.random.PRNGKey(0)

    def weight(self, name, *shape):
        self.key, key = jax.random.split(self.key)
        inputs = 1
        for length in shape[:-1]:
            inputs *= length
        self.values[name] = jax.random.normal(key, shape) * (2 / inputs) ** 0.5

    def constant(self, name, value, *shape):
        self.values[name] = jnp.full(shape, value)

    def norm(self, name, channels):
        self.constant(name + ".scale", 1.0, channels)
        self.constant(name + ".shift", 0.0, channels)

    def linear(self, name, inputs, outputs):
        self.weight(name + ".weight", inputs, outputs)
        self.constant(name + ".bias", 0.0, outputs)


def convolve(x, w, stride=1, padding=1):
    sizes = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, w, (stride, stride), [(padding, padding)] * 2, dimension_numbers=sizes)


def normalise(p, name, x, axes, eps=1e-5):
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) * lax.rsqrt(var + eps) * p[name + ".scale"] + p[name + ".shift"]


def batch_norm(p, name, x):
    return normalise(p, name, x, (0, 1, 2))


def linear(p, name, x):
    return x @ p[name + ".weight"] + p[name + ".bias"]


def mlp(p):
    sizes = (784, 256, 128, 10)
    for i, (inputs, outputs) in enumerate(zip(sizes, sizes[1:])):
        p.linear(str(i), inputs, outputs)

    def forward(p, x):
        x = jax.nn.relu(linear(p, "0", x))
        return linear(p, "2", jax.nn.relu(linear(p, "1", x)))

    return forward


def resnet(p, blocks, widths):
    plan, channels = [], widths[0]
    p.weight("stem", 3, 3, 3, channels)
    p.norm("stem_norm", channels)
    for stage, (count, width) in enumerate(zip(blocks, widths)):
        for block in range(count):
            name, stride = f"{stage}.{block}", 2 if stage > 0 and block == 0 else 1
            p.weight(name + ".conv1", 3, 3, channels, width)
            p.norm(name + ".norm1", width)
            p.weight(name + ".conv2", 3, 3, width, width)
            p.norm(name + ".norm2", width)
            projects = stride != 1 or channels != width
            if projects:
                p.weight(name + ".shortcut", 1, 1, channels, width)
                p.norm(name + ".shortcut_norm", width)
            plan.append((name, stride, projects))
            channels = width
    p.linear("head", channels, 10)

    def forward(p, x):
        x = jax.nn.relu(batch_norm(p, "stem_norm", convolve(x, p["stem"])))
        for name, stride, projects in plan:
            y = jax.nn.relu(batch_norm(p, name + ".norm1", convolve(x, p[name + ".conv1"], stride)))
            y = batch_norm(p, name + ".norm2", convolve(y, p[name + ".conv2"]))
            if projects:
                x = batch_norm(p, name + ".shortcut_norm", convolve(x, p[name + ".shortcut"], stride, 0))
            x = jax.nn.relu(y + x)
        return linear(p, "head", x.mean((1, 2)))

    return forward


def wide_resnet(p, depth, widen):
    plan, channels = [], 16
    p.weight("stem", 3, 3, 3, channels)
    for stage, base in enumerate((16, 32, 64)):
        width = base * widen
        for block in range((depth - 4) // 6):
            name, stride = f"{stage}.{block}", 2 if stage > 0 and block == 0 else 1
            p.norm(name + ".norm1", channels)
            p.weight(name + ".conv1", 3, 3, channels, width)
            p.norm(name + ".norm2", width)
            p.weight(name + ".conv2", 3, 3, width, width)
            projects = stride != 1 or channels != width
            if projects:
                p.weight(name + ".project", 1, 1, channels, width)
            plan.append((name, stride, projects))
            channels = width
    p.norm("last_norm", channels)
    p.linear("head", channels, 10)

    def forward(p, x):
        x = convolve(x, p["stem"])
        for name, stride, projects in plan:
            y = jax.nn.relu(batch_norm(p, name + ".norm1", x))
            if projects:
                x = convolve(y, p[name + ".project"], stride, 0)
            y = jax.nn.relu(batch_norm(p, name + ".norm2", convolve(y, p[name + ".conv1"], stride)))
            x = convolve(y, p[name + ".conv2"]) + x
        x = jax.nn.relu(batch_norm(p, "last_norm", x))
        return linear(p, "head", x.mean((1, 2)))

    return forward


def vit(p, depth=6, width=192, heads=3, patch=4):
    p.linear("patch", patch * patch * 3, width)
    p.constant("class", 0.0, 1, 1, width)
    p.weight("position", 1, 65, width)
    for block in map(str, range(depth)):
        p.norm(block + ".norm1", width)
        p.linear(block + ".qkv", width, 3 * width)
        p.linear(block + ".project", width, width)
        p.norm(block + ".norm2", width)
        p.linear(block + ".fc1", width, 4 * width)
        p.linear(block + ".fc2", 4 * width, width)
    p.norm("norm", width)
    p.linear("head", width, 10)

    def forward(p, x):
        n, side = x.shape[0], x.shape[1] // patch
        x = x.reshape(n, side, patch, side, patch, 3).transpose(0, 1, 3, 2, 4, 5).reshape(n, side * side, -1)
        x = jnp.concatenate([jnp.broadcast_to(p["class"], (n, 1, width)), linear(p, "patch", x)], 1) + p["position"]
        for block in map(str, range(depth)):
            y = linear(p, block + ".qkv", normalise(p, block + ".norm1", x, -1, 1e-6))
            q, k, v = y.reshape(n, -1, 3, heads, width // heads).transpose(2, 0, 3, 1, 4)
            a = jax.nn.softmax((q * (width // heads) ** -0.5) @ k.swapaxes(-1, -2), -1) @ v
            x = x + linear(p, block + ".project", a.transpose(0, 2, 1, 3).reshape(n, -1, width))
            y = linear(p, block + ".fc1", normalise(p, block + ".norm2", x, -1, 1e-6))
            x = x + linear(p, block + ".fc2", jax.nn.gelu(y, approximate=False))
        return linear(p, "head", normalise(p, "norm", x, -1, 1e-6)[:, 0])

    return forward


def build(name):
    """Initial parameters, the network, and the shape of an image."""
    p = Parameters()
    if name == "mlp":
        return mlp(p), p.values, (784,)
    image = (32, 32, 3)
    if name == "resnet20_projection":
        return resnet(p, [3, 3, 3], [16, 32, 64]), p.values, image
    if name == "resnet18":
        return resnet(p, [2, 2, 2, 2], [64, 128, 256, 512]), p.values, image
    if name == "wrn28_2":
        return wide_resnet(p, 28, 2), p.values, image
    if name == "vit_tiny_patch4_32":
        return vit(p), p.values, image
    raise SystemExit(f"no model {name}")


def norm(t):
    return jnp.sqrt(sum(jnp.vdot(x, x) for x in tree.tree_leaves(t)))


def axpy(a, x, y):
    """y + a x"""
    return tree.tree_map(lambda x, y: y + a * x, x, y)


def methods(loss, v):
    """Functions of (parameters, momentum)."""
    gradient = jax.grad(loss)

    def move(p, m, direction):
        m = axpy(MOMENTUM, m, direction)
        return axpy(-LR, m, p), m

    def towards(direction, length, p):
        return axpy(length / (norm(direction) + XI), direction, p)

    def gradient_and_f(p):
        g, product = jax.linearize(gradient, p)
        scale = 1 / (norm(g) + XI)
        return g, product(tree.tree_map(lambda t: t * scale, g))

    def hvp_4(p, m):
        g, product = jax.linearize(gradient, p)
        return g, [product(axpy(float(i), v, v)) for i in range(4)]

    def sam(p, m):
        return move(p, m, gradient(towards(gradient(p), RHO, p)))

    def gnr_exact(p, m):
        g, f = gradient_and_f(p)
        _, h = gradient_and_f(towards(f, RHO, p))
        return move(p, m, axpy(ALPHA * RHO, h, g))

    def gnr_fd(p, m):
        g = gradient(p)
        adv = towards(axpy(-1.0, g, gradient(towards(g, STEP, p))), RHO, p)
        there = gradient(adv)
        h = axpy(-1.0, there, gradient(towards(there, STEP, adv)))
        return move(p, m, axpy(ALPHA * RHO / STEP, h, g))

    return {
        "forward": lambda p, m: loss(p),
        "gradient": lambda p, m: gradient(p),
        "hvp": lambda p, m: jax.jvp(gradient, (p,), (v,)),
        "hvp_4": hvp_4,
        "sgd": lambda p, m: move(p, m, gradient(p)),
        "sam": sam,
        "gnr_exact": gnr_exact,
        "gnr_fd": gnr_fd,
    }


def main():
    forward, p, shape = build(ARGUMENTS.model)
    keys = jax.random.split(jax.random.PRNGKey(1), 3)
    x = jax.random.normal(keys[0], (ARGUMENTS.batch, *shape))
    y = jax.random.randint(keys[1], (ARGUMENTS.batch,), 0, 10)
    v = tree.tree_map(lambda t: jax.random.normal(keys[2], t.shape), p)
    momentum = tree.tree_map(jnp.zeros_like, p)

    def loss(p):
        return -jnp.take_along_axis(jax.nn.log_softmax(forward(p, x)), y[:, None], 1).mean()

    wanted = [method for method in ARGUMENTS.methods.split(",") if method]
    steps = {name: jax.jit(step) for name, step in methods(loss, v).items() if not wanted or name in wanted}
    # A step of the MLP takes about a millisecond: time several, or the clock and the caches are what is measured.
    inner = 20 if ARGUMENTS.model == "mlp" else 1
    times = {name: [] for name in steps}
    for round in range(-1, ARGUMENTS.rounds):  # the first compiles and warms up
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(inner):
                jax.block_until_ready(step(p, momentum))
            if round >= 0:
                times[name].append((time.perf_counter() - start) * 1e3 / inner)
    for name, samples in times.items():
        if samples:
            median, least = statistics.median(samples), min(samples)
            line = {"model": ARGUMENTS.model, "method": name, "median_ms": median, "min_ms": least}
            print(json.dumps({**line, "rounds": ARGUMENTS.rounds}), flush=True)


if __name__ == "__main__":
    main()
