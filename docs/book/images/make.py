"""Figures of the curvature laboratory that show two runs: from the CSV files of `gnr spectrum` and `gnr density` to a description that `gnr plot` draws.

`python make.py RUN RUN > spectrum.figure.json`, then `gnr plot spectrum.figure.json --out spectrum`.
"""

import csv
import json
import sys
from pathlib import Path


def columns(path, *names):
    with open(path) as file:
        rows = list(csv.DictReader(file))
    return [[float(row[name]) for row in rows] for name in names]


def main():
    spectrum, density = [], []
    for run in map(Path, sys.argv[1:]):
        label = run.name.upper() if run.name == "sgd" else "SGD + " + run.name.upper()
        x, y = columns(run / "spectrum" / "spectrum.csv", "rank", "eigenvalue")
        spectrum.append({"label": label, "x": [rank + 1 for rank in x], "y": y, "style": "both"})
        x, y = columns(run / "density" / "density.csv", "lambda", "density")
        density.append({"label": "", "x": x, "y": [max(value, 1e-6) for value in y], "colour": len(density)})
    axis = lambda label, scale="linear": {"label": label, "scale": scale}
    panels = [
        {"title": "Largest eigenvalues", "kind": "lines", "x": axis("rank"), "y": axis("eigenvalue"), "series": spectrum},
        {"title": "Density", "kind": "lines", "x": axis("eigenvalue"), "y": axis("density", "log"), "series": density},
    ]
    json.dump({"title": "The Hessian after training", "panels": panels}, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
