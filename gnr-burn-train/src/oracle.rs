//! [`ModuleOracle`]: a burn module and one mini-batch as an oracle.

use std::collections::HashSet;

use burn_core::{
    module::{Module, ParamId},
    tensor::Tensor,
};
use burn_dispatch::Dispatch;
use gnr_burn::Burn;
use gnr_core::{Evaluation, GradOracle, Order, Pass};
use gnr_nn::{Error, ParamVector, Result};

use crate::parameters::{Point, gradient, point, with_point};

/// A burn module and one mini-batch as a [`GradOracle`] whose points live on the module's devices.
///
/// `loss` runs the module of its argument on the batch. It returns the mean loss, shape `[1]`, and an item of the
/// caller's choice. The oracle calls `loss` once for every point, with a module that has the point's parameters.
///
/// Running statistics of BatchNorm belong to all clones of a burn module, which share them. A [`Pass::Commit`]
/// evaluation moves them; a [`Pass::Probe`] runs a copy of the module that has statistics of its own. A commit moves
/// them in its forward pass, before its loss is known: after one that is refused because a number is not finite, go
/// back to a saved module rather than on with the next batch.
///
/// Products with the Hessian come from differences of gradients, because burn differentiates once: wrap the oracle in
/// [`ForwardDiff`](gnr_core::ForwardDiff) or [`CentralDiff`](gnr_core::CentralDiff).
///
/// A module that draws random numbers (dropout) is not a function of its parameters, and differences of its gradients
/// are noise, unless `loss` seeds the device (`device.seed(…)`) with one number for the whole step.
///
/// # Cost
/// `evaluate`: one forward and one backward pass of burn. Parameters stay where they are.
pub struct ModuleOracle<M, F, O> {
    module: M,
    backend: Burn<Dispatch>,
    /// A copy of the module with running statistics of its own, made by the first probe.
    apart: Option<M>,
    loss: F,
    /// The item of `loss` in the last [`Pass::Commit`] evaluation, and the parameters that the loss depends on.
    seen: Option<(O, HashSet<ParamId>)>,
}

impl<M, F, O> ModuleOracle<M, F, O>
where
    M: Module,
    F: FnMut(&M) -> (Tensor<1>, O),
{
    /// Makes the oracle of `module` and `loss`. Also returns the trained parameters, in the order of burn's visits.
    ///
    /// # Errors
    /// When nothing is trained, or when parameters are neither all `f32` nor all `f64`.
    pub fn new(module: &M, loss: F) -> Result<(Self, Point)> {
        let (backend, parameters) = point(module)?;
        Ok((Self { module: module.clone(), backend, apart: None, loss, seen: None }, parameters))
    }

    /// The item of `loss` in the last [`Pass::Commit`] evaluation, and the parameters that the loss depends on.
    pub(crate) fn into_seen(self) -> Option<(O, HashSet<ParamId>)> {
        self.seen
    }

    /// Loss and gradient at a point.
    fn gradient_at(&mut self, at: &Point, pass: Pass) -> Result<(f64, Point)> {
        let module = match pass {
            Pass::Commit => self.module.clone(),
            // `valid` copies the statistics, and the module that `train` makes keeps the copy.
            Pass::Probe => self.apart.get_or_insert_with(|| self.module.valid().train()).clone(),
        };
        let module = with_point(module, at)?;
        let (loss, output) = (self.loss)(&module);
        if loss.shape().num_elements() != 1 {
            let (op, found) = ("the module's loss", loss.shape().to_vec());
            return Err(Error::InvalidShape { op, expected: "a single element".into(), found });
        }
        let independent = || {
            Error::Invalid(
                "the loss depends on no trained parameter: expected a tensor computed from the module that the closure \
                 is given, and not detached"
                    .into(),
            )
        };
        if !loss.is_tracked() {
            return Err(independent());
        }
        let (tensors, touched) = gradient(&module, loss.backward());
        if touched.is_empty() {
            return Err(independent());
        }
        let value = loss.try_into_scalar::<f64>();
        let value = value.map_err(|error| Error::Library(format!("burn: the loss: {error}").into()))?;
        if pass == Pass::Commit {
            self.seen = Some((output, touched));
        }
        Ok((value, ParamVector::new(self.backend.clone(), tensors)))
    }
}

impl<M, F, O> GradOracle for ModuleOracle<M, F, O>
where
    M: Module,
    F: FnMut(&M) -> (Tensor<1>, O),
{
    type Vector = Point;
    type Record = ();

    fn evaluate<'t>(
        &mut self,
        at: &'t Point,
        pass: Pass,
        _: Order,
    ) -> gnr_core::Result<Evaluation<'t, Point, ()>> {
        let (loss, gradient) = self.gradient_at(at, pass)?;
        Evaluation::new(at, loss, gradient, ())
    }
}
