"""Every example in the documents runs, and a type checker accepts the package and its use."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gnr.core
import gnr.hessian
import gnr.torch

CRATE = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("module", [gnr, gnr.core, gnr.hessian, gnr.torch], ids=lambda module: module.__name__)
def test_examples_in_docstrings(module):
    result = doctest.testmod(module)
    assert result.failed == 0 and (result.attempted > 0 or module is gnr.hessian)


def test_examples_in_the_readme(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (CRATE / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    monkeypatch.chdir(tmp_path)
    # The blocks share their names and run one after the other, as a reader would run them.
    names = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "with 95 % confidence between" in printed and "Penalty(" in printed
    assert abs(names["pairs"].values[0] - 9.0) < 1e-2 and (tmp_path / "method.npz").exists()


def test_the_number_of_regularisers_in_the_readme():
    count = len(gnr.core.methods("regularizer"))
    assert f"(SAM, GNR and {count - 2} more)" in (CRATE / "README.md").read_text(encoding="utf-8")


def test_the_spectrum_script(tmp_path):
    script = CRATE / "examples/spectrum_of_my_model.py"
    command = [sys.executable, str(script), "--matvecs=80", "--steps=20", "--eigenvalues=2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONUTF8": "1"})
    assert done.returncode == 0, done.stderr
    assert re.search(r"largest eigenvalues \(\d+ products", done.stdout), done.stdout
    found = re.search(r"trace ([\d.]+), between (-?[\d.]+) and ([\d.]+)", done.stdout)
    value, low, high = (float(x) for x in found.groups())
    assert low < value < high
    assert "picture: spectrum.png" in done.stdout or "no picture" in done.stdout
    assert (tmp_path / "spectrum.png").exists() == ("picture: spectrum.png" in done.stdout)


TYPED = '''
from typing import Any, Tuple
import numpy as np
import numpy.typing as npt
from gnr import core, hessian

def loss(theta: npt.NDArray[Any]) -> Tuple[float, npt.NDArray[Any]]:
    return float(theta @ theta), 2 * theta

method = core.Method(core.gnr(rho=0.1), core.adamw(), core.cosine(0.1, 10))
report = method.step(np.ones(3), loss)
number: float = report.loss
pairs = hessian.eigenpairs(lambda v: v, 3, progress=lambda p: p.num_matvecs < 4)
restarts: int = pairs.restarts
'''


def mypy(*arguments, cwd):
    command = [sys.executable, "-m", "mypy", "--config-file", str(CRATE / "pyproject.toml"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def test_types_of_the_package_and_of_the_example(tmp_path):
    (tmp_path / "use.py").write_text(TYPED)
    done = mypy(CRATE / "python/gnr", CRATE / "examples/spectrum_of_my_model.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    # A user's file is checked against the installed package, whose types mypy finds by py.typed.
    done = mypy("use.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_types_that_are_wrong_are_found(tmp_path):
    wrong = TYPED + "text: str = report.loss\nhessian.eigenpairs(lambda v: v, '3')\ncore.gnr(rho=0.1) + 1\n"
    (tmp_path / "use.py").write_text(wrong)
    done = mypy("use.py", cwd=tmp_path)
    lines = [line for line in done.stdout.splitlines() if "error:" in line]
    assert done.returncode == 1 and len(lines) >= 2, done.stdout + done.stderr
