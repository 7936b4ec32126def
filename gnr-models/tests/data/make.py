"""Writes the checkpoints beside this file and expected.json, with PyTorch 2.15: python make.py

Objects of every kind beside weights, whole modules, TorchScript, views. expected.json has the numbers that PyTorch gives.
Needs: torch, numpy, yacs, easydict, addict.
"""

import argparse
import collections
import datetime
import enum
import functools
import json
import os
import pathlib
import zipfile

import addict
import easydict
import numpy as np
import torch
import yacs.config

os.chdir(os.path.dirname(os.path.abspath(__file__)))
torch.manual_seed(0)
# The format before 1.6 keeps the source of modules' classes, with its path; that there is one is enough.
torch.serialization.get_source_lines_and_file = lambda *_, **__: (["class Module: pass\n"], 1, "module.py")
LEGACY = {"_use_new_zipfile_serialization": False}
expected = {}


def save(name, tree, tensors, **options):
    torch.save(tree, name, **options)
    number = lambda x: x if x == x and abs(x) != float("inf") else str(x)
    expected[name] = {
        key: {
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "shape": list(tensor.shape),
            "values": [number(x) for x in tensor.detach().resolve_neg().to(torch.float64).flatten().tolist()],
        }
        for key, tensor in tensors.items()
    }


class Colour(enum.Enum):
    RED = 1


class Plain:
    def __init__(self):
        self.tensor, self.self = torch.ones(2), self


class SubDict(dict):
    pass


class SubList(list):
    pass


Pair = collections.namedtuple("Pair", "x y")

weights = collections.OrderedDict([("fc.weight", torch.tensor([[1.0, 2.0], [3.0, 4.0]])), ("fc.bias", torch.tensor([5.0, 6.0]))])
linear = torch.nn.Linear(2, 2)
optimizer = torch.optim.Adam(linear.parameters())
linear(torch.ones(1, 2)).sum().backward()
optimizer.step()
config = yacs.config.CfgNode()
config.MODEL = yacs.config.CfgNode()
config.MODEL.TYPE = "swin"
objects = {
    "addict": addict.Dict(lr=0.1, sub=dict(a=1)),
    "array": np.arange(6).reshape(2, 3),
    "class": torch.nn.Linear,
    "complex": torch.ones(2, dtype=torch.complex64),
    "counter": collections.Counter("abca"),
    "date": datetime.datetime(2026, 1, 2),
    "defaultdict": collections.defaultdict(list, loss=[1.0, 2.0]),
    "deque": collections.deque([1.0, 2.0], maxlen=3),
    "easydict": easydict.EasyDict(lr=0.1, sub=dict(a=1)),
    "enum": Colour.RED,
    "function": torch.nn.functional.relu,
    "loss": torch.nn.CrossEntropyLoss(),
    "namedtuple": Pair(1, 2),
    "namespace": argparse.Namespace(lr=0.1),
    "optimizer": optimizer,
    "partial": functools.partial(int, base=2),
    "path": pathlib.PurePosixPath("a/b"),
    "plain": Plain(),
    "quantised": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    "scalar": np.float64(1.5),
    "sparse": torch.eye(2).to_sparse(),
    "storage": torch.FloatStorage([1.0, 2.0]),
    "subdict": SubDict(a=SubDict(b=2)),
    "sublist": SubList([1, 2]),
    "yacs": config,
    # Plain data, of which nothing is said.
    "data": [None, True, 1, -5, 10**40, 1.5, 1 + 2j, "é\n'", b"bytes", {1, 2}, frozenset("ab"), (1, 2), {"a": {3: [4]}}, torch.float16, torch.Size([1]), torch.device("cpu"), bytearray(b"x"), collections.OrderedDict(a=1)],
}
tree = {"model": weights, **objects}
tensors = {f"model.{name}": tensor for name, tensor in weights.items()}
save("objects.pth", tree, tensors)
save("objects_legacy.pth", tree, tensors, **LEGACY)
save("objects_protocol3.pth", tree, tensors, pickle_protocol=3)
save("objects_protocol5.pth", tree, tensors, pickle_protocol=5)
save("subclasses.pth", SubDict(model=addict.Dict(weights), cfg=config, list=SubList([torch.ones(1)])), {**tensors, "list.0": torch.ones(1)})
save("holder.pth", argparse.Namespace(model=weights, epoch=3), tensors)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.act, self.bn = torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.BatchNorm1d(2)
        self.register_buffer("kept", torch.arange(2.0))
        self.register_buffer("transient", torch.arange(3.0), persistent=False)
        self.register_parameter("absent", None)
        self.attribute = torch.zeros(2)

    def forward(self, x):
        return self.bn(self.act(self.fc(x)))


net = Net()
save("module.pth", net, net.state_dict())
save("module_legacy.pth", {"net": torch.nn.DataParallel(net), "epoch": 1}, {f"net.module.{name}": tensor for name, tensor in net.state_dict().items()}, **LEGACY)
script = torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2))
script.save("script.pt")
expected["script.pt"] = {name: {"dtype": "float32", "shape": list(tensor.shape), "values": tensor.flatten().tolist()} for name, tensor in script.state_dict().items()}

base = torch.arange(24.0)
attribute = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
attribute.note = "attributes make another call of it"
views = {
    "whole": base.view(2, 3, 4),
    "tied": base.view(2, 3, 4),
    "transposed": base.view(2, 3, 4).transpose(0, 2),
    "permuted": base.view(2, 3, 4).permute(1, 2, 0),
    "strided": base[3:20:4],
    "offset": base.view(2, 3, 4)[1, 1:, 2:],
    "expanded": torch.tensor([[1.0], [2.0]]).expand(2, 5),
    "overlapping": base.unfold(0, 5, 3),
    "diagonal": base.view(4, 6).diagonal(),
    "channels_last": torch.arange(16.0).view(1, 2, 2, 4).contiguous(memory_format=torch.channels_last),
    "odd_stride_of_one": torch.as_strided(base, (1, 4), (999, 1), 2),
    "scalar": torch.tensor(3.5),
    "empty": torch.empty(0),
    "empty_axis": torch.empty(3, 0, 2),
    "empty_at_end": base[24:],
    "negated": (torch.arange(4) * (1 + 2j)).conj().imag,
    "attribute": attribute,
    "buffer": torch.nn.Buffer(torch.arange(2.0)),
    "special": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
}
for dtype in "float64 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split():
    views[dtype] = torch.tensor([0, 1, 2, 127]).to(getattr(torch, dtype))
save("views.pth", views, views)
save("views_legacy.pth", views, views, **LEGACY)
new = {dtype: torch.tensor([0, 1, 2]).to(getattr(torch, dtype)) for dtype in "uint16 uint32 uint64 float8_e4m3fn float8_e5m2".split()}
save("new_numbers.pth", new, new)
torch.serialization.set_crc32_options(False)
save("without_checksums.pth", weights, weights)

# Archives of more than 4 GiB have other records: here for a small one.
zipfile.ZIP64_LIMIT = zipfile.ZIP_FILECOUNT_LIMIT = 0
with zipfile.ZipFile("without_checksums.pth") as plain, zipfile.ZipFile("zip64.pth", "w") as large:
    for member in ("data.pkl", "data/0", "data/1", "version"):
        content = plain.open(f"without_checksums/{member}")
        content._expected_crc = None
        large.writestr(f"zip64/{member}", content.read())
assert torch.equal(torch.load("zip64.pth")["fc.weight"], weights["fc.weight"])
expected["zip64.pth"] = expected["without_checksums.pth"]

with open("expected.json", "w") as file:
    json.dump(expected, file, indent=0, separators=(",", ":"))
    file.write("\n")
