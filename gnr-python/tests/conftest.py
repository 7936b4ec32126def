"""The fixtures and helpers that several test files use."""

import json
import signal
import struct
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]

# A shell without job control starts background processes with SIGINT ignored, and Python keeps it ignored. The tests of
# Ctrl-C need the handler.
signal.signal(signal.SIGINT, signal.default_int_handler)


def read_safetensors(path):
    """The tensors and the metadata of a safetensors file, read without a further library."""
    raw = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    metadata = header.pop("__metadata__", {})
    dtypes = {"F64": np.float64, "F32": np.float32, "I64": np.int64}
    tensors = {}
    for name, told in header.items():
        begin, end = told["data_offsets"]
        tensors[name] = np.frombuffer(data[begin:end], dtypes[told["dtype"]]).reshape(told["shape"])
    return tensors, metadata


def symmetric(values, seed=0):
    """A dense symmetric matrix with these eigenvalues, and its eigenvectors as columns."""
    values = np.asarray(values, dtype=float)
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))
    return (q * values) @ q.T, q


@pytest.fixture
def golden():
    """The folder of gnr-core's golden values."""
    return ROOT / "gnr-core" / "tests"
