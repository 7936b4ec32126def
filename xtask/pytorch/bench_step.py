"""PyTorch's time for one step of each method, beside `gnr bench` (see `cargo xtask bench`).

Prints one JSON line per method and memory layout: model, method, layout, median_ms, min_ms, rounds, idle_rss_mb (models built), peak_rss_mb (of the
method's first round; of all of them where there is one method of one layout).
Methods are timed in turn, round by round, so that a change of load falls on all of them. Random data, f32, train mode.

With `--compile` the model goes through torch.compile, and products are jvp(grad(loss)), compiled as well; BatchNorm then uses the batch's
statistics and keeps no running ones, since torch.func allows no writing. Compiling counts as warming up. `--variant func` has the same passes
without compiling. On a CUDA device every timing ends with a synchronisation.

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


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride) and 1x1 convolutions to 4 times the width; a 1x1 projection where the shape changes."""

    def __init__(self, channels, width, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != 4 * width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x):
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """Stem, stages of blocks, global average pool, classifier.

    Images with a side below 64 have the CIFAR stem (3x3, no pooling), larger ones that of ImageNet (7x7 and pooling, stride 2 each).
    """

    def __init__(self, blocks, widths, classes=10, block=BasicBlock, side=32):
        super().__init__()
        window, stride = (3, 1) if side < 64 else (7, 2)
        stem = nn.Conv2d(3, widths[0], window, stride, window // 2, bias=False)
        layers = [stem, nn.BatchNorm2d(widths[0]), nn.ReLU()]
        if side >= 64:
            layers.append(nn.MaxPool2d(3, 2, 1))
        channels = widths[0]
        for stage, (count, width) in enumerate(zip(blocks, widths)):
            for index in range(count):
                layers.append(block(channels, width, 2 if stage > 0 and index == 0 else 1))
                channels = 4 * width if block is Bottleneck else width
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
    # Whether attention is PyTorch's fused kernel, which has no double backward.
    fused = False

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        if VitBlock.fused:
            a = F.scaled_dot_product_attention(q, k, v)
        else:
            a = ((q * (d // self.heads) ** -0.5) @ k.transpose(-2, -1)).softmax(-1) @ v
        x = x + self.proj(a.transpose(1, 2).reshape(b, n, d))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Vit(nn.Module):
    """Square patches, class token; by default ViT-Tiny on 32x32 images in 4x4 patches, cut to depth 6."""

    def __init__(self, depth=6, width=192, heads=3, classes=10, patch=4, side=32):
        super().__init__()
        self.patch = nn.Conv2d(3, width, patch, patch)
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        self.pos = nn.Parameter(torch.randn(1, (side // patch) ** 2 + 1, width) * 0.02)
        self.blocks = nn.Sequential(*[VitBlock(width, heads) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, classes)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.pos
        return self.head(self.norm(self.blocks(x))[:, 0])


def build(name, side=32, classes=10, depth=None):
    """The model and the shape of an image."""
    if name == "mlp":
        model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
        return model, (784,)
    image = (3, side, side)
    if name == "resnet20_projection":
        return ResNet([3, 3, 3], [16, 32, 64], classes), image
    if name == "resnet18":
        return ResNet([2, 2, 2, 2], [64, 128, 256, 512], classes, side=side), image
    if name == "resnet50":
        return ResNet([3, 4, 6, 3], [64, 128, 256, 512], classes, Bottleneck, side), image
    if name == "wrn28_2":
        return WideResNet(28, 2, classes), image
    if name == "vit_tiny_patch4_32":
        return Vit(depth or 6, classes=classes), image
    if name == "vit_small_patch16_224":
        return Vit(depth or 12, 384, 6, classes, 16, side), image
    raise SystemExit(f"no model {name}")


def norm(tensors):
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)))


class Steps:
    """One batch, one model, every method; `half` runs the model under autocast to bfloat16."""

    def __init__(self, model, x, y, half=False):
        self.model, self.x, self.y, self.half = model, x, y, half
        self.theta = list(model.parameters())
        self.norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        self.optimizer = torch.optim.SGD(self.theta, lr=LR, momentum=MOMENTUM)
        generator = torch.Generator().manual_seed(7)
        self.v = [torch.randn(t.shape, generator=generator).to(t.device) for t in self.theta]

    def loss(self):
        return self.loss_of(self.model)

    def loss_of(self, model):
        with torch.autocast(self.x.device.type, torch.bfloat16, enabled=self.half):
            logits = model(self.x)
        return F.cross_entropy(logits.float(), self.y)

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


class FuncSteps(Steps):
    """The same steps with torch.func: gradients by `grad`, products by `jvp` of it."""

    def __init__(self, model, x, y, half=False):
        for m in model.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.track_running_stats, m.running_mean, m.running_var = False, None, None
        super().__init__(model, x, y, half)
        names = [name for name, _ in model.named_parameters()]
        call = lambda theta: lambda x: torch.func.functional_call(model, dict(zip(names, theta)), (x,))
        self.slope = torch.func.grad(lambda theta: self.loss_of(call(theta)))
        self.product = lambda theta, v: torch.func.jvp(self.slope, (theta,), (v,))

    def point(self):
        return tuple(t.detach() for t in self.theta)

    def gradient(self):
        return list(self.slope(self.point()))

    def gradient_and_product(self, v):
        return self.product(self.point(), tuple(v))

    def gradient_and_f(self):
        g = self.gradient()
        unit = torch._foreach_mul(g, 1.0 / (norm(g) + XI))
        return g, list(self.gradient_and_product(unit)[1])

    def hvp(self):
        return self.gradient_and_product(self.v)

    def hvp_4(self):
        for _ in range(4):
            self.gradient_and_product(self.v)


class CompiledSteps(FuncSteps):
    """The same steps with compiled passes: gradients by the compiled model's backward, products by `jvp(grad)`."""

    def __init__(self, model, x, y, half=False):
        super().__init__(model, x, y, half)
        self.product = torch.compile(self.product)
        self.model = torch.compile(model)

    def gradient(self):
        return Steps.gradient(self)


VARIANTS = {"eager": Steps, "func": FuncSteps, "compile": CompiledSteps}
# What fused attention can compute: no second derivative is asked for.
FIRST_ORDER = {"forward", "gradient", "sgd", "sam", "gnr_fd"}
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
    parser.add_argument("--variant", choices=VARIANTS, help="eager (default), func (torch.func), compile")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["f32", "tf32", "bf16"], default="f32", help="tf32: on CUDA devices")
    parser.add_argument("--input", default="3,32,32", help="channels (3), height and width (equal) of an image")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--depth", type=int, help="blocks of a ViT")
    parser.add_argument("--fused", action="store_true", help="fused attention where no second derivative is asked for")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = arguments.precision == "tf32"
    settle = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    variant = VARIANTS[arguments.variant or ("compile" if arguments.compile else "eager")]
    # A step of the MLP takes about a millisecond: time several, or the clock and the caches are what is measured.
    inner = 20 if arguments.model == "mlp" else 1

    layouts = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
    if arguments.model == "mlp":
        layouts.pop("channels_last")
    layouts = {layout: layouts[layout] for layout in arguments.layouts.split(",") if layout in layouts}
    steps = {}
    for layout, memory_format in layouts.items():
        torch.manual_seed(0)
        side = int(arguments.input.split(",")[-1])
        model, shape = build(arguments.model, side, arguments.classes, arguments.depth)
        x, y = torch.randn(arguments.batch, *shape), torch.randint(0, arguments.classes, (arguments.batch,))
        model, x, y = model.to(device), x.to(device), y.to(device)
        if len(shape) == 3:
            model, x = model.to(memory_format=memory_format), x.to(memory_format=memory_format)
        steps[layout] = variant(model.train(), x, y, arguments.precision == "bf16")

    wanted = [method for method in METHODS if method in arguments.methods.split(",")]
    times = {(method, layout): [] for method in wanted for layout in layouts}
    release_idle()
    peaks, idle = {}, memory("VmRSS")
    for round in range(-1, arguments.rounds):  # the first warms up
        for (method, layout), samples in times.items():
            step = getattr(steps[layout], method)
            VitBlock.fused = arguments.fused and method in FIRST_ORDER
            if round < 0:
                release_idle()
                reset_peak()
            settle()
            start = time.perf_counter()
            for _ in range(inner):
                step()
            settle()
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
