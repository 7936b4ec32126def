"""Writes golden files: image classifiers in float64, up to second order, as README.md describes them.

    python make.py                 compares every full record with what PyTorch computes here
    python make.py --write NAME…   replaces these files

torch 2.15, torchvision 0.29.2, timm for the ViTs. Records with `"reduced": true` hold names and shapes only; they are not made here.
"""

import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

HERE = Path(__file__).parent
XI = 1e-12
# Of the step that `algorithm1` records.
STEP = {"eta": 0.1, "rho": 0.1, "alpha": 0.1, "xi": XI}


def conv3(i, o, stride=1):
    return nn.Conv2d(i, o, 3, stride, 1, bias=False)


class OptionABlock(nn.Module):
    """The shortcut takes every second row and column and pads the new channels with zeros, half before and half after."""

    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1, self.bn1 = conv3(i, o, stride), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = conv3(o, o), nn.BatchNorm2d(o)
        self.stride, self.pad = stride, (o - i) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(y + x)


class ResNet20(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1, self.bn1, i = conv3(3, 16), nn.BatchNorm2d(16), 16
        for stage, o in enumerate([16, 32, 64], 1):
            blocks = [OptionABlock(i, o, 1 + (o != i))] + [OptionABlock(o, o, 1) for _ in range(2)]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            i = o
        self.linear = nn.Linear(64, classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean(dim=(2, 3)))


class WideBlock(nn.Module):
    """BN-ReLU-conv twice; a shortcut of another width is a convolution of the activated input."""

    def __init__(self, i, o, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(i), conv3(i, o, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(o), conv3(o, o)
        self.downsample = nn.Conv2d(i, o, 1, stride, bias=False) if i != o else None

    def forward(self, x):
        a = F.relu(self.bn1(x))
        y = self.conv2(F.relu(self.bn2(self.conv1(a))))
        return y + (x if self.downsample is None else self.downsample(a))


class WideResNet28(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.conv1, i = conv3(3, 16), 16
        for stage, o in enumerate([16 * width, 32 * width, 64 * width], 1):
            blocks = [WideBlock(i, o, 1 if stage == 1 else 2)] + [WideBlock(o, o, 1) for _ in range(3)]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            i = o
        self.bn1, self.fc = nn.BatchNorm2d(i), nn.Linear(i, classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        return self.fc(F.relu(self.bn1(x)).mean(dim=(2, 3)))


class ResNeXt29(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1, self.bn1, i = conv3(3, 64), nn.BatchNorm2d(64), 64
        for stage, planes in enumerate([64, 128, 256], 1):
            stride, o = 1 if stage == 1 else 2, 4 * planes
            shortcut = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))
            Block = torchvision.models.resnet.Bottleneck
            blocks = [Block(i, planes, stride, shortcut, groups=32, base_width=4)]
            blocks += [Block(o, planes, groups=32, base_width=4) for _ in range(2)]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            i = o
        self.fc = nn.Linear(1024, classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.fc(x.mean(dim=(2, 3)))


def resnet18(classes):
    """torchvision's with the stem for small images."""
    net = torchvision.models.resnet18(num_classes=classes)
    net.conv1, net.maxpool = conv3(3, 64), nn.Identity()
    return net


def vit(classes, image, patch):
    return timm.models.VisionTransformer(
        img_size=image, patch_size=patch, embed_dim=192, depth=12, num_heads=3, num_classes=classes
    )


# file: net of a number of classes, classes, the other number of classes, batch, whether a step of Algorithm 1 is recorded.
NETS = {
    "resnet20": (ResNet20, 10, 100, (4, 3, 32, 32), True),
    "resnet18": (resnet18, 10, 100, (4, 3, 32, 32), False),
    "resnet18_c100": (resnet18, 100, 10, (4, 3, 32, 32), False),
    "resnet50": (lambda c: torchvision.models.resnet50(num_classes=c), 1000, None, (2, 3, 224, 224), False),
    "wrn28_2": (lambda c: WideResNet28(2, c), 10, 100, (4, 3, 32, 32), True),
    "resnext29_32x4d": (ResNeXt29, 10, 100, (4, 3, 32, 32), False),
    "efficientnet_b0": (lambda c: torchvision.models.efficientnet_b0(num_classes=c), 1000, None, (2, 3, 224, 224), False),
    "vit_tiny_patch4_32": (lambda c: vit(c, 32, 4), 10, 100, (4, 3, 32, 32), True),
    "vit_tiny_patch16_224": (lambda c: vit(c, 224, 16), 1000, None, (2, 3, 224, 224), False),
}
# Smaller images for backends that take too much memory with those above.
for arch, samples, size in [
    ("resnet18", 4, 16),
    ("resnet18_c100", 4, 16),
    ("wrn28_2", 4, 16),
    ("resnext29_32x4d", 2, 20),
    ("resnet50_imagenet", 2, 48),
    ("efficientnet_b0", 2, 64),
]:
    net, classes, other, _, _ = NETS[arch.removesuffix("_imagenet")]
    NETS[f"{arch}_{size}x{size}"] = (net, classes, other, (samples, 3, size, size), False)
NETS["vit_tiny_patch16_224_96x96"] = (lambda c: vit(c, 96, 16), 1000, None, (2, 3, 96, 96), False)


def noise(k, count):
    with np.errstate(over="ignore"):
        i = np.arange(1, count + 1, dtype=np.uint64)
        z = (np.uint64(k << 32) + i) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return torch.from_numpy((z >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0)


def fill(name, shape, k):
    last, r = name.rsplit(".", 1)[-1], noise(k, math.prod(shape))
    if last in ("cls_token", "pos_embed", "relative_position_bias_table"):
        values = 0.02 * r
    elif len(shape) >= 2:
        values = math.sqrt(6 / math.prod(shape[1:])) * r
    elif last == "weight":
        values = 1 + 0.1 * r
    elif last == "running_var":
        values = 1 + 0.2 * r
    else:
        values = 0.1 * r
    return values.reshape(shape)


def filled(net, classes):
    """The net in float64 with every tensor filled, and the names and shapes of these in their order."""
    model = net(classes).double()
    for module in model.modules():
        if isinstance(module, torchvision.ops.StochasticDepth | nn.Dropout):
            module.p = 0.0
    set_momentum(model, 0.0)
    state = model.state_dict()
    tensors = [name for name in state if name.rsplit(".", 1)[-1] not in ("num_batches_tracked", "relative_position_index")]
    for k, name in enumerate(tensors):
        state[name].copy_(fill(name, tuple(state[name].shape), k))
    return model, [[name, list(state[name].shape)] for name in tensors]


def batch_norms(model):
    return [(name, m) for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)]


def set_momentum(model, momentum):
    """With 0, the running statistics stay where they are."""
    for _, m in batch_norms(model):
        m.momentum = momentum


def entries(names, tensors):
    return [[n, t.norm().item(), t.flatten()[:3].tolist()] for n, t in zip(names, tensors)]


def logits(y):
    return {"first10": y[:, :10].tolist(), "l2": y.norm(dim=1).tolist()}


def norm(tensors):
    return math.sqrt(sum((t * t).sum().item() for t in tensors))


def dot(a, b):
    return sum((x * y).sum().item() for x, y in zip(a, b))


def grads(model, x, y, create_graph=False):
    """Loss and gradient in train mode."""
    loss = F.cross_entropy(model.train()(x), y)
    return loss, torch.autograd.grad(loss, list(model.parameters()), create_graph=create_graph)


def product(model, x, y):
    """Loss, gradient, and H·v with v = gradient/(its norm + XI)."""
    loss, grad = grads(model, x, y, create_graph=True)
    size = norm([g.detach() for g in grad])
    v = [g.detach() / (size + XI) for g in grad]
    hv = torch.autograd.grad(grad, list(model.parameters()), grad_outputs=v)
    return loss.item(), [g.detach() for g in grad], v, hv


def moved(model, a, direction):
    with torch.no_grad():
        for p, d in zip(model.parameters(), direction):
            p.add_(d, alpha=a)


def algorithm1(model, names, x, y):
    eta, rho, alpha = STEP["eta"], STEP["rho"], STEP["alpha"]
    theta = [p.detach().clone() for p in model.parameters()]

    def reset():
        with torch.no_grad():
            for p, t in zip(model.parameters(), theta):
                p.copy_(t)

    _, grad, _, f = product(model, x, y)
    f_norm = norm(f)
    moved(model, rho / (f_norm + XI), f)
    loss_adv, grad_adv, _, h = product(model, x, y)
    h = [rho * t for t in h]
    losses = {}
    for field, direction in [("loss_sgd", grad), ("loss_new", [g + alpha * t for g, t in zip(grad, h)])]:
        reset()
        moved(model, -eta, direction)
        losses[field] = grads(model, x, y)[0].item()
    reset()
    return {
        **STEP,
        "grad_norm": norm(grad),
        "f_norm": f_norm,
        "loss_adv": loss_adv,
        "grad_adv_norm": norm(grad_adv),
        "h_norm_norm": norm(h),
        "h_norm_dot_grad": dot(h, grad),
        "h_norm_cos_grad": dot(h, grad) / (norm(h) * norm(grad)),
        **losses,
        "h_norm": entries(names, h),
    }


def central_difference(model, x, y, v, hv):
    """Relative error of the central difference of the gradient along v against H·v, at the best of several steps."""
    best = math.inf
    for step in [1e-5, 1e-6, 1e-7, 1e-8, 1e-9]:
        moved(model, step, v)
        ahead = grads(model, x, y)[1]
        moved(model, -2 * step, v)
        behind = grads(model, x, y)[1]
        moved(model, step, v)
        error = norm([(a - b) / (2 * step) - h for a, b, h in zip(ahead, behind, hv)]) / norm(hv)
        best = min(best, error)
    return best


def record(file):
    net, classes, other, shape, step = NETS[file]
    model, tensors = filled(net, classes)
    names = [name for name, _ in model.named_parameters()]
    j = torch.arange(math.prod(shape), dtype=torch.float64)
    x = torch.sin(0.013 * j + 0.1 * (j // math.prod(shape[1:]))).reshape(shape)
    labels = [(3 * n + 1) % classes for n in range(shape[0])]
    y = torch.tensor(labels)
    norms = batch_norms(model)
    out = {
        "arch": re.sub(r"_\d+x\d+$", "", file),
        "reduced": False,
        "dtype": "f64",
        "num_classes": classes,
        "input_shape": list(shape),
        "labels": labels,
        "param_count": sum(p.numel() for p in model.parameters()),
        "tensors": tensors,
    }
    if other:
        out["param_count_other"] = {str(other): sum(p.numel() for p in net(other).parameters())}
    out["param_l2"] = norm([p.detach() for p in model.parameters()])
    with torch.no_grad():
        out["logits_eval"] = logits(model.eval()(x))
        out["logits_train"] = logits(model.train()(x))
        if norms:
            statistics = {name: b.clone() for name, b in model.named_buffers()}
            set_momentum(model, 0.1)
            model.train()(x)
            out["bn_after_one_forward"] = {"momentum": 0.1}
            for which, (name, m) in [("first", norms[0]), ("last", norms[-1])]:
                means, variances = m.running_mean[:4].tolist(), m.running_var[:4].tolist()
                out["bn_after_one_forward"][which] = {"name": name, "running_mean": means, "running_var": variances}
            set_momentum(model, 1.0)
            model.train()(x)
            out["logits_eval_calibrated"] = logits(model.eval()(x))
            set_momentum(model, 0.0)
            for name, b in model.named_buffers():
                b.copy_(statistics[name])
        smoothed = F.cross_entropy(model.train()(x), y, label_smoothing=0.1).item()
    loss, grad, v, hv = product(model, x, y)
    size = norm(grad)
    out["loss"] = loss
    out["loss_label_smoothing_0.1"] = smoothed
    out["grad_norm"] = size
    out["grad"] = entries(names, grad)
    out["hvp"] = {"norm": norm(hv), "v_hv": dot(v, hv), "tensors": entries(names, hv)}
    # Zero in exact arithmetic, so rounding of the whole gradient: gradients of weights are at least 1e-7 of it.
    out["zero_grad_tensors"] = [n for n, g in zip(names, grad) if g.norm().item() < 1e-12 * size]
    if step:
        out["algorithm1"] = algorithm1(model, names, x, y)
    out["checks"] = {"hvp_central_rel": central_difference(model, x, y, v, hv)}
    assert out["checks"]["hvp_central_rel"] < 1e-5, f"{file}: {out['checks']}: is the point too close to a kink?"
    out["f32_deviation"] = f32_deviation(model, x, y, grad, hv)
    out["made_with"] = {"torch": torch.__version__, "torchvision": torchvision.__version__, "timm": timm.__version__}
    return out


def f32_deviation(model, x, y, grad, hv):
    """How far PyTorch's own float32 run lands: logits over the largest logit, gradients and products over their norm."""
    with torch.no_grad():
        wide = {mode: model.train(mode)(x) for mode in (False, True)}
    single, xs = model.float(), x.float()
    _, g, v, _ = product(single, xs, y)
    with torch.no_grad():
        narrow = {mode: single.train(mode)(xs) for mode in (False, True)}
    off = {mode: ((narrow[mode] - wide[mode]).abs().max() / wide[mode].abs().max()).item() for mode in wide}
    h = product(single, xs, y)[3]
    distance = lambda a, b: norm([s - t for s, t in zip(a, b)]) / norm(b)
    return {
        "logits_eval": off[False],
        "logits_train": off[True],
        "grad": distance(g, grad),
        "hvp": distance(h, hv),
    }


def off(found, expected, path=""):
    """Relative differences of all numbers, on the scale of the list they are in, with where they are."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            if key in found and key not in ("checks", "f32_deviation", "made_with", "zero_grad_tensors"):
                yield from off(found[key], value, f"{path}/{key}")
    elif isinstance(expected, list) and all(isinstance(e, float) for e in expected) and expected:
        scale = max(map(abs, expected)) or 1.0
        yield max(abs(f - e) for f, e in zip(found, expected)) / scale, path
    elif isinstance(expected, list):
        for i, (f, e) in enumerate(zip(found, expected)):
            yield from off(f, e, f"{path}/{e[0] if isinstance(e, list) and e and isinstance(e[0], str) else i}")
    elif isinstance(expected, float):
        yield abs(found - expected) / (abs(expected) or 1.0), path
    elif found != expected:
        yield math.inf, path


def text(record):
    """One line a field, one line a tensor."""
    lines = []
    for key, value in record.items():
        if isinstance(value, list) and value and isinstance(value[0], list):
            rows = ",\n  ".join(json.dumps(row) for row in value)
            lines.append(f' "{key}": [\n  {rows}\n ]')
        else:
            lines.append(f' "{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main():
    assert noise(7, 1001)[-1].item() == 0.5315901416833237
    assert noise(100, 2359296)[-1].item() == 0.8662526137018043
    torch.set_num_threads(1)
    timm.layers.set_fused_attn(False)  # the fused form has no second derivative on a CPU
    write = sys.argv[1:2] == ["--write"]
    for file in sys.argv[2 if write else 1 :] or NETS:
        path, made = HERE / f"{file}.json", record(file)
        if write:
            path.write_text(text(made))
        worst = sorted(off(made, json.loads(path.read_text())), reverse=True)[:3]
        print(file, made["checks"], made["f32_deviation"], "largest differences from the file:", worst, flush=True)


if __name__ == "__main__":
    main()
