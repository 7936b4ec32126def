"""Flat-minima training and Hessian spectra over NumPy callables.

- :mod:`gnr.hessian`: eigenpairs, trace, diagonal and spectral density of anything that multiplies, ``v -> Hv``.
- :mod:`gnr.core`: SAM, GNR and every other registered method over a callable ``theta -> (loss, grad)``.
- :mod:`gnr.torch`: the callables of a PyTorch model. This module needs ``torch``, so ``import gnr`` does not import it.

>>> import numpy as np
>>> from gnr import hessian
>>> a = np.diag([5.0, 2.0, 1.0, -4.0])
>>> [round(float(x), 6) for x in hessian.eigenpairs(lambda v: a @ v, 4, k=2).values]
[5.0, 2.0]
"""

from importlib.metadata import version as _version

from gnr import core, hessian

__all__ = ["core", "hessian"]
__version__ = _version("gnr")
