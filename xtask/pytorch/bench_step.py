"""PyTorch's time for one step of each method, beside `gnr bench` (see `cargo xtask bench`).

Prints one JSON line per method and memory layout: model, method, layout, median_ms, min_ms, rounds, idle_rss_mb (models built), peak_rss_mb (of the
method's first round; of all of them where there is one method of one layout).
Methods are timed in turn, round by round, so that a change of load falls on all of them. Random data, f32, train mode.

With `--compile` the model goes through torch.compile, and products are jvp(grad(loss)), compiled as well; BatchNorm then uses the batch's
statistics and keeps no running ones, since torch.func allows no writing. Compiling counts as warming up.

    forward    loss without a graph            sgd        gradient and a momentum step
    gradient   loss and gradient               sam        two gradients and a step
    hvp        gradient and H v, from scratch   gnr_exact  Algorithm 1 with double backward
    hvp_4      the same with four products
                                               gnr_fd     Algorithm 1 with forward differences: four gradients
"""

import argparse
import contextlib
import ctypes
import gc
import json
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

LR, MOMENTUM, RHO, ALPHA, XI, STEP = 1e-3, 0.9, 0.1, 0.1, 1e-12, 1e-2


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; a 1x1 projection where the shape changes."""

    def __init__(self, channels, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """CIFAR stem (3x3, no pooling), stages of basic blocks, global average pool, classifier."""

    def __init__(self, blocks, widths, classes=10):
        super().__init__()
        layers = [nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()]
        channels = widths[0]
        for stage, (count, width) in enumerate(zip(blocks, widths)):
            for block in range(count):
                layers.append(BasicBlock(channels, width, 2 if stage > 0 and block == 0 else 1))
                channels = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x):
        return self.classifier(self.features(x).mean(dim=(2, 3)))


class PreActBlock(nn.Module):
    """Wide ResNet: BatchNorm and ReLU before each 3x3 convolution; the projection sees the activated input."""

    def __init__(self, channels, width, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.project = None
        if stride != 1 or channels != width:
            self.project = nn.Conv2d(channels, width, 1, stride, bias=False)

    def forward(self, x):
        y = F.relu(self.bn1(x))
        x = x if self.project is None else self.project(y)
        return self.conv2(F.relu(self.bn2(self.conv1(y)))) + x


class WideResNet(nn.Module):
    """WRN-d-k: (d - 4)/6 blocks a stage, widths 16k, 32k, 64k."""

    def __init__(self, depth, widen, classes=10):
        super().__init__()
        layers, channels = [nn.Conv2d(3, 16, 3, 1, 1, bias=False)], 16
        for stage, base in enumerate((16, 32, 64)):
            for block in range((depth - 4) // 6):
                layers.append(PreActBlock(channels, base * widen, 2 if stage > 0 and block == 0 else 1))
                channels = base * widen
        self.features = nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU())
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x):
        return self.classifier(self.features(x).mean(dim=(2, 3)))


class VitBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        # Written out: PyTorch's fused attention has no double backward on the CPU.
        a = ((q * (d // self.heads) ** -0.5) @ k.transpose(-2, -1)).softmax(-1) @ v
        x = x + self.proj(a.transpose(1, 2).reshape(b, n, d))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Vit(nn.Module):
    """ViT-Tiny on 32x32 images in 4x4 patches: width 192, 3 heads, class token."""

    def __init__(self, depth=6, width=192, heads=3, classes=10):
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        self.pos = nn.Parameter(torch.randn(1, 65, width) * 0.02)
        self.blocks = nn.Sequential(*[VitBlock(width, heads) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, classes)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.pos
        return self.head(self.norm(self.blocks(x))[:, 0])


def build(name):
    """The model and the shape of an image."""
    if name == "mlp":
        model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
        return model, (784,)
    if name == "resnet20_projection":
        return ResNet([3, 3, 3], [16, 32, 64]), (3, 32, 32)
    if name == "resnet18":
        return ResNet([2, 2, 2, 2], [64, 128, 256, 512]), (3, 32, 32)
    if name == "wrn28_2":
        return WideResNet(28, 2), (3, 32, 32)
    if name == "vit_tiny_patch4_32":
        return Vit(), (3, 32, 32)
    raise SystemExit(f"no model {name}")


def norm(tensors):
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)))


class Steps:
    """One batch, one model, every method."""

    def __init__(self, model, x, y):
        self.model, self.x, self.y = model, x, y
        self.theta = list(model.parameters())
        self.norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        self.optimizer = torch.optim.SGD(self.theta, lr=LR, momentum=MOMENTUM)
        generator = torch.Generator().manual_seed(7)
        self.v = [torch.randn(t.shape, generator=generator) for t in self.theta]

    def loss(self):
        return F.cross_entropy(self.model(self.x), self.y)

    @contextlib.contextmanager
    def probe(self):
        """Batch statistics are used, running statistics stay."""
        momenta = [m.momentum for m in self.norms]
        for m in self.norms:
            m.momentum = 0.0
        try:
            yield
        finally:
            for m, momentum in zip(self.norms, momenta):
                m.momentum = momentum

    def move(self, direction):
        for t, d in zip(self.theta, direction):
            t.grad = d
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def perturb(self, direction, length):
        scale = length / (norm(direction) + XI)
        torch._foreach_add_(self.theta, torch._foreach_mul(direction, scale))

    @torch.no_grad()
    def copy(self):
        return [t.clone() for t in self.theta]

    @torch.no_grad()
    def restore(self, theta):
        torch._foreach_copy_(self.theta, theta)

    def gradient_and_f(self):
        """The gradient g and H g / (|g| + xi)."""
        g = torch.autograd.grad(self.loss(), self.theta, create_graph=True)
        detached = [t.detach() for t in g]
        unit = torch._foreach_mul(detached, 1.0 / (norm(detached) + XI))
        return detached, torch.autograd.grad(g, self.theta, grad_outputs=unit)

    def forward(self):
        with torch.no_grad():
            self.loss()

    def gradient(self):
        return torch.autograd.grad(self.loss(), self.theta)

    def hvp(self):
        g = torch.autograd.grad(self.loss(), self.theta, create_graph=True)
        return torch.autograd.grad(g, self.theta, grad_outputs=self.v)

    def hvp_4(self):
        g = torch.autograd.grad(self.loss(), self.theta, create_graph=True)
        for last in (False, False, False, True):
            torch.autograd.grad(g, self.theta, grad_outputs=self.v, retain_graph=not last)

    def sgd(self):
        self.optimizer.zero_grad(set_to_none=True)
        self.loss().backward()
        self.optimizer.step()

    def sam(self):
        g, theta = self.gradient(), self.copy()
        self.perturb(g, RHO)
        with self.probe():
            h = self.gradient()
        self.restore(theta)
        self.move(h)

    def gnr_exact(self):
        g, f = self.gradient_and_f()
        theta = self.copy()
        self.perturb(f, RHO)
        del f
        with self.probe():
            _, h = self.gradient_and_f()
        self.restore(theta)
        self.move(torch._foreach_add(g, h, alpha=ALPHA * RHO))

    def gnr_fd(self):
        g, theta = self.gradient(), self.copy()
        with self.probe():
            self.perturb(g, STEP)
            f = torch._foreach_sub(self.gradient(), g)
            self.restore(theta)
            self.perturb(f, RHO)
            there = self.gradient()
            self.perturb(there, STEP)
            h = torch._foreach_sub(self.gradient(), there)
        self.restore(theta)
        self.move(torch._foreach_add(g, h, alpha=ALPHA * RHO / STEP))


class CompiledSteps(Steps):
    """The same steps with compiled passes."""

    def __init__(self, model, x, y):
        for m in model.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.track_running_stats, m.running_mean, m.running_var = False, None, None
        super().__init__(model, x, y)
        self.names = [name for name, _ in model.named_parameters()]
        plain = lambda theta: F.cross_entropy(torch.func.functional_call(model, dict(zip(self.names, theta)), (x,)), y)
        self.product = torch.compile(lambda theta, v: torch.func.jvp(torch.func.grad(plain), (theta,), (v,)))
        self.model = torch.compile(model)

    def gradient_and_product(self, v):
        return self.product(tuple(t.detach() for t in self.theta), tuple(v))

    def gradient_and_f(self):
        g = self.gradient()
        unit = torch._foreach_mul(g, 1.0 / (norm(g) + XI))
        return g, list(self.gradient_and_product(unit)[1])

    def hvp(self):
        return self.gradient_and_product(self.v)

    def hvp_4(self):
        for _ in range(4):
            self.gradient_and_product(self.v)


METHODS = ["forward", "gradient", "hvp", "hvp_4", "sgd", "sam", "gnr_exact", "gnr_fd"]


def memory(field):
    """VmRSS or VmHWM of this process in MB, or None where there is no /proc."""
    try:
        with open("/proc/self/status") as status:
            return next(float(line.split()[1]) / 1024 for line in status if line.startswith(field))
    except (OSError, StopIteration):
        return None


def release_idle():
    """Gives back what building and earlier methods left and the allocator keeps: it is no method's own."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        pass  # not glibc


def reset_peak():
    try:
        with open("/proc/self/clear_refs", "w") as control:
            control.write("5")
    except OSError:
        pass  # peaks are then those of the process so far


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--methods", default=",".join(METHODS), help="others than these are ignored")
    parser.add_argument("--layouts", default="nchw,channels_last")
    parser.add_argument("--compile", action="store_true", help="through torch.compile")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    # A step of the MLP takes about a millisecond: time several, or the clock and the caches are what is measured.
    inner = 20 if arguments.model == "mlp" else 1

    layouts = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
    if arguments.model == "mlp":
        layouts.pop("channels_last")
    layouts = {layout: layouts[layout] for layout in arguments.layouts.split(",") if layout in layouts}
    steps = {}
    for layout, memory_format in layouts.items():
        torch.manual_seed(0)
        model, shape = build(arguments.model)
        x, y = torch.randn(arguments.batch, *shape), torch.randint(0, 10, (arguments.batch,))
        if len(shape) == 3:
            model, x = model.to(memory_format=memory_format), x.to(memory_format=memory_format)
        steps[layout] = (CompiledSteps if arguments.compile else Steps)(model.train(), x, y)

    wanted = [method for method in METHODS if method in arguments.methods.split(",")]
    times = {(method, layout): [] for method in wanted for layout in layouts}
    release_idle()
    peaks, idle = {}, memory("VmRSS")
    for round in range(-1, arguments.rounds):  # the first warms up
        for (method, layout), samples in times.items():
            step = getattr(steps[layout], method)
            if round < 0:
                release_idle()
                reset_peak()
            start = time.perf_counter()
            for _ in range(inner):
                step()
            if round >= 0:
                samples.append((time.perf_counter() - start) * 1e3 / inner)
            if round < 0 or len(times) == 1:
                peaks[method, layout] = memory("VmHWM")
    for (method, layout), samples in times.items():
        line = {
            "model": arguments.model,
            "method": method,
            "layout": layout,
            "median_ms": statistics.median(samples),
            "min_ms": min(samples),
            "rounds": arguments.rounds,
            "idle_rss_mb": idle,
            "peak_rss_mb": peaks[method, layout],
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
