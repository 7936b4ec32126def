"""What several tests use."""

import json
import signal
import struct
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]

# A shell without job control starts what runs in the background with SIGINT ignored, and Python leaves that so.
signal.signal(signal.SIGINT, signal.default_int_handler)


def read_safetensors(path):
    """The tensors of a safetensors file and its metadata, without a dependency."""
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
