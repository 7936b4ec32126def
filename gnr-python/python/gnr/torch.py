"""Callables of a PyTorch model, for :mod:`gnr.hessian` and :mod:`gnr.core`.

>>> import torch
>>> from gnr import hessian
>>> from gnr.torch import Objective
>>> _ = torch.manual_seed(0)
>>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
>>> x, y = torch.randn(8, 3), torch.tensor([0, 1] * 4)
>>> objective = Objective(model, lambda m: torch.nn.functional.cross_entropy(m(x), y))
>>> pairs = hessian.eigenpairs(objective.matvec(), objective.dim, k=2, dtype="float32")
>>> bool(pairs.values[0] > pairs.values[1] > 0)
True
"""

from __future__ import annotations

from typing import Any, Callable, List, Tuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["Objective"]

_Array = npt.NDArray[Any]
_T = TypeVar("_T")


class Objective:
    """The loss of a model on one batch, as a function of all its parameters that require gradients, one after the other in one array.

    ``loss(model)`` returns the mean loss of the batch as a scalar tensor. It must do the same thing whenever it is called: set
    dropout's seed in it, or leave dropout out.

    The model's parameters are those of the last point that was asked for. Running statistics of BatchNorm layers in training mode move
    in :meth:`commit` and nowhere else.
    """

    def __init__(self, model: torch.nn.Module, loss: Callable[[torch.nn.Module], torch.Tensor]) -> None:
        if not isinstance(model, torch.nn.Module):
            raise TypeError(f"model: expected a torch.nn.Module, found {type(model).__name__}")
        if not callable(loss):
            raise TypeError(f"loss: expected a callable model -> scalar tensor, found {type(loss).__name__}")
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        if not named:
            raise ValueError("model: expected parameters that require gradients, found none")
        self._model, self._loss = model, loss
        self._parameters: List[torch.nn.Parameter] = [parameter for _, parameter in named]
        #: The names of the parameters, in order.
        self.names = [name for name, _ in named]
        #: Their axes: ``shapes`` of a :class:`gnr.core.Method`.
        self.shapes = [tuple(parameter.shape) for parameter in self._parameters]
        #: The number of elements.
        self.dim = sum(parameter.numel() for parameter in self._parameters)
        layers = (torch.nn.modules.batchnorm._NormBase, torch.nn.LayerNorm, torch.nn.GroupNorm)
        of_layers = {id(p) for m in model.modules() if isinstance(m, layers) for p in m.parameters(recurse=False)}
        #: Whether each belongs to a normalisation layer: ``normalisation`` of a :class:`gnr.core.Method`.
        self.normalisation = [id(parameter) in of_layers for parameter in self._parameters]

    def theta(self) -> _Array:
        """The parameters as they are now, copied into one array of float64 if any of them is, else of float32."""
        double = any(parameter.dtype == torch.float64 for parameter in self._parameters)
        flat = [parameter.detach().reshape(-1).cpu() for parameter in self._parameters]
        return np.array(torch.cat([x.to(torch.float64 if double else torch.float32) for x in flat]).numpy())

    def set(self, theta: _Array) -> None:
        """Copies an array into the parameters."""
        with torch.no_grad():
            for parameter, leaf in zip(self._parameters, self._leaves(theta)):
                parameter.copy_(leaf)

    def __call__(self, theta: _Array) -> Tuple[float, torch.Tensor]:
        """The loss and its gradient at a point; running statistics stay."""
        return self._keeping_statistics(lambda: self.commit(theta))

    def commit(self, theta: _Array) -> Tuple[float, torch.Tensor]:
        """The loss and its gradient at a point; running statistics move."""
        self.set(theta)
        with torch.enable_grad():
            loss = self._value()
            grads = torch.autograd.grad(loss, self._parameters, allow_unused=True)
        return float(loss.detach()), self._flat(grads)

    def hvp(self, theta: _Array, v: _Array) -> torch.Tensor:
        """The Hessian at a point times a vector, by double backward."""
        return self.matvec(theta)(v)

    def matvec(self, theta: Any = None) -> Callable[[_Array], torch.Tensor]:
        """``v -> H @ v`` at a point, or at the parameters as they are now. The gradient's graph is made once and kept."""
        if theta is not None:
            self.set(theta)

        def gradient() -> Tuple[Any, ...]:
            with torch.enable_grad():
                return torch.autograd.grad(self._value(), self._parameters, create_graph=True, allow_unused=True)

        grads = self._keeping_statistics(gradient)

        def product(v: _Array) -> torch.Tensor:
            # A gradient that does not depend on the parameters (a linear loss) is no part of a graph, and its derivative is 0.
            pairs = [(g, leaf) for g, leaf in zip(grads, self._leaves(v)) if g is not None and g.requires_grad]
            if not pairs:
                return self._flat([None] * len(self._parameters))
            outputs, vectors = zip(*pairs)
            hv = torch.autograd.grad(outputs, self._parameters, vectors, retain_graph=True, allow_unused=True)
            return self._flat(hv)

        return product

    def _value(self) -> torch.Tensor:
        loss = self._loss(self._model)
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            found = f"shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
            raise TypeError(f"loss: expected a scalar tensor, found {found}")
        scalar: torch.Tensor = loss.reshape(())
        return scalar

    def _leaves(self, flat: _Array) -> List[torch.Tensor]:
        if np.shape(flat) != (self.dim,):
            raise ValueError(f"expected an array of shape ({self.dim},), found shape {np.shape(flat)}")
        pieces = np.split(np.ascontiguousarray(flat), np.cumsum([p.numel() for p in self._parameters])[:-1])
        return [torch.from_numpy(piece).reshape(p.shape).to(p) for piece, p in zip(pieces, self._parameters)]

    def _flat(self, leaves: Any) -> torch.Tensor:
        whole = [torch.zeros_like(p) if leaf is None else leaf for leaf, p in zip(leaves, self._parameters)]
        return torch.cat([leaf.detach().reshape(-1).cpu() for leaf in whole])

    def _keeping_statistics(self, work: Callable[[], _T]) -> _T:
        # The work gets copies of the buffers: a graph that it makes may hold on to them, so the originals cannot be written back.
        originals = [(m._buffers, dict(m._buffers)) for m in self._model.modules() if m._buffers]
        try:
            for buffers, before in originals:
                buffers.update({name: None if b is None else b.detach().clone() for name, b in before.items()})
            return work()
        finally:
            for buffers, before in originals:
                buffers.update(before)
