"""The callables of a PyTorch model that :mod:`gnr.hessian` and :mod:`gnr.core` ask for.

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
#: PyTorch has the layer from version 2.4 on.
_RMS_NORM = tuple(getattr(torch.nn, name) for name in ("RMSNorm",) if hasattr(torch.nn, name))


class Objective:
    """The loss of a model on one batch, as a function of its parameters.

    The parameters that require gradients lie one after the other in one array of shape ``(dim,)``. ``loss(model)``
    returns the mean loss of the batch as a scalar tensor. ``loss`` must repeat its answer, so set dropout's seed in it,
    or leave dropout out.

    Every method with an argument ``theta`` writes that point into the model, where it stays. Running statistics of
    BatchNorm layers in training mode move in :meth:`commit` and nowhere else.

    Raises ``TypeError`` for another ``model`` or ``loss``, and ``ValueError`` if no parameter requires gradients.
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
        #: The axes of each parameter: ``shapes`` of a :class:`gnr.core.Method`.
        self.shapes = [tuple(parameter.shape) for parameter in self._parameters]
        #: The number of elements of all parameters.
        self.dim = sum(parameter.numel() for parameter in self._parameters)
        layers = (torch.nn.modules.batchnorm._NormBase, torch.nn.LayerNorm, torch.nn.GroupNorm, *_RMS_NORM)
        of_layers = {id(p) for m in model.modules() if isinstance(m, layers) for p in m.parameters(recurse=False)}
        #: Whether each parameter belongs to a batch, instance, layer, group or RMS normalisation: ``normalisation`` of
        #: a :class:`gnr.core.Method`.
        self.normalisation = [id(parameter) in of_layers for parameter in self._parameters]

    def theta(self) -> _Array:
        """The parameters as they are now, copied into one array of shape ``(dim,)``.

        The array is of float64 if any parameter is, and otherwise of float32.
        """
        double = any(parameter.dtype == torch.float64 for parameter in self._parameters)
        flat = [parameter.detach().reshape(-1).cpu() for parameter in self._parameters]
        return np.array(torch.cat([x.to(torch.float64 if double else torch.float32) for x in flat]).numpy())

    def set(self, theta: _Array) -> None:
        """Copies an array of shape ``(dim,)`` into the parameters. Raises ``ValueError`` for another shape."""
        with torch.no_grad():
            for parameter, leaf in zip(self._parameters, self._leaves(theta)):
                parameter.copy_(leaf)

    def __call__(self, theta: _Array) -> Tuple[float, torch.Tensor]:
        """The loss at a point and its gradient, of shape ``(dim,)`` on the CPU. Running statistics do not move."""
        return self._keeping_statistics(lambda: self._evaluated(theta))

    def commit(self, theta: _Array) -> Tuple[float, torch.Tensor]:
        """The loss at a point and its gradient, of shape ``(dim,)`` on the CPU.

        Running statistics move, unless the evaluation raises or a number is not finite.
        """
        before = [(own, own.detach().clone()) for own in self._model.buffers()]
        moves = False
        try:
            value, flat = self._evaluated(theta)
            moves = bool(np.isfinite(value)) and bool(torch.isfinite(flat).all())
            return value, flat
        finally:
            if not moves:
                with torch.no_grad():
                    for own, old in before:
                        own.copy_(old)

    def _evaluated(self, theta: _Array) -> Tuple[float, torch.Tensor]:
        self.set(theta)
        with torch.enable_grad():
            loss = self._value()
            grads = torch.autograd.grad(loss, self._parameters, allow_unused=True)
        return float(loss.detach()), self._flat(grads)

    def hvp(self, theta: _Array, v: _Array) -> torch.Tensor:
        """The Hessian at a point times a vector, of shape ``(dim,)``, by double backward.

        Cost: a forward and two backward passes. :meth:`matvec` saves the first two for further products at one point.
        """
        return self.matvec(theta)(v)

    def matvec(self, theta: Any = None) -> Callable[[_Array], torch.Tensor]:
        """The callable ``v -> H @ v`` at a point, or at the parameters as they are now.

        The graph of the gradient is made once and kept, so a product costs one backward pass. The callable serves only
        until the parameters change, by ``theta`` of another call, an optimiser or anything else. Afterwards it raises
        ``RuntimeError``.
        """
        if theta is not None:
            self.set(theta)

        def gradient() -> Tuple[Any, ...]:
            with torch.enable_grad():
                return torch.autograd.grad(self._value(), self._parameters, create_graph=True, allow_unused=True)

        grads = self._keeping_statistics(gradient)
        # PyTorch counts the changes in place of a tensor.
        versions = [parameter._version for parameter in self._parameters]

        def product(v: _Array) -> torch.Tensor:
            if [parameter._version for parameter in self._parameters] != versions:
                raise RuntimeError("matvec: expected the parameters of the point it was made for, found changed ones; call matvec() again")
            # A gradient that does not depend on the parameters (a linear loss) is in no graph, and its derivative is 0.
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
        # NumPy has no bfloat16.
        wide = [leaf.detach().float() if leaf.dtype == torch.bfloat16 else leaf.detach() for leaf in whole]
        return torch.cat([leaf.reshape(-1).cpu() for leaf in wide])

    def _keeping_statistics(self, work: Callable[[], _T]) -> _T:
        # The work runs on copies of the buffers, and the originals return to their places afterwards. Values could not
        # be written back into the buffers instead, because the graph of the work may hold on to these.
        originals = [(m._buffers, dict(m._buffers)) for m in self._model.modules() if m._buffers]
        try:
            for buffers, before in originals:
                buffers.update({name: None if b is None else b.detach().clone() for name, b in before.items()})
            return work()
        finally:
            for buffers, before in originals:
                buffers.update(before)
