//! The trained parameters of a burn module as a point, and a module with the parameters of a point.

use std::collections::HashSet;

use burn_backend::TensorMetadata as _;
use burn_core::{
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    tensor::{DType, Gradients, Tensor},
};
use burn_dispatch::Dispatch;
use burn_optim::GradientsParams;
use gnr_burn::{Burn, BurnTensor, Precision};
use gnr_nn::{Error, ParamVector, Result};

/// Points of a module's parameter space, on whatever device burn has them.
pub type Point = ParamVector<Burn<Dispatch>>;

/// Converts a tensor of burn to a tensor of a point, outside burn's graph.
fn of_point<const D: usize>(tensor: Tensor<D>) -> BurnTensor<Dispatch> {
    BurnTensor::plain(tensor.without_autodiff().into_dispatch())
}

/// The trained parameters of a module, in the order in which burn visits them, and the backend of such points.
///
/// # Errors
/// When nothing is trained, or when parameters are neither all `f32` nor all `f64`.
pub(crate) fn point<M: Module>(module: &M) -> Result<(Burn<Dispatch>, Point)> {
    let mut read = Read::default();
    module.visit(&mut read);
    let Some((first, device)) = read.place else {
        return Err(Error::Invalid(
            "the module has no parameter that is trained: expected one on a device with autodiff, as of \
             `Device::default().autodiff()`, found none that requires a gradient"
                .into(),
        ));
    };
    let precision = match first {
        DType::F32 => Precision::F32,
        DType::F64 => Precision::F64,
        other => return Err(Error::Invalid(format!("parameters of type {other:?}, expected F32 or F64"))),
    };
    if let Some(other) = read.types.iter().find(|dtype| **dtype != first) {
        return Err(Error::Invalid(format!(
            "parameters of types {first:?} and {other:?}, expected one type"
        )));
    }
    let backend = Burn::on(device, precision)?;
    Ok((backend.clone(), ParamVector::new(backend, read.tensors)))
}

/// Reads every trained parameter.
#[derive(Default)]
struct Read {
    tensors: Vec<BurnTensor<Dispatch>>,
    types: Vec<DType>,
    place: Option<(DType, burn_dispatch::DispatchDevice)>,
}

impl ModuleVisitor for Read {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.is_require_grad() {
            let tensor = of_point(param.val());
            let dtype = param.val().dtype();
            self.place.get_or_insert((dtype, tensor.values().device()));
            self.types.push(dtype);
            self.tensors.push(tensor);
        }
    }
}

/// Makes the module with the parameters of a point, each a new leaf of burn's graph.
///
/// # Errors
/// A point of other shapes than the module's parameters.
pub(crate) fn with_point<M: Module>(module: M, point: &Point) -> Result<M> {
    let mut write = Write { tensors: point.tensors().iter(), misfit: None };
    let module = module.map(&mut write);
    let Write { mut tensors, misfit } = write;
    let misfit = misfit.or_else(|| tensors.next().map(|_| ": more tensors than it has parameters".into()));
    match misfit {
        None => Ok(module),
        Some(misfit) => {
            Err(Error::Invalid(format!("a point of other shapes than the module's parameters{misfit}")))
        }
    }
}

/// Overwrites every trained parameter.
struct Write<'p> {
    tensors: std::slice::Iter<'p, BurnTensor<Dispatch>>,
    misfit: Option<String>,
}

impl ModuleMapper for Write<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !param.is_require_grad() {
            return param;
        }
        let own = param.val().shape();
        match self.tensors.next().map(|tensor| Tensor::<D>::from_dispatch(tensor.values())) {
            Some(tensor) if tensor.shape() == own => param.map(|_| tensor.autodiff().require_grad()),
            found => {
                let found = found.map_or("nothing".into(), |tensor| format!("{:?}", tensor.shape()));
                self.misfit.get_or_insert(format!(": expected {own:?}, found {found}"));
                param
            }
        }
    }
}

/// The gradients of a module's trained parameters, and the set of those that the loss depends on.
pub(crate) fn gradient<M: Module>(
    module: &M,
    gradients: Gradients,
) -> (Vec<BurnTensor<Dispatch>>, HashSet<ParamId>) {
    let mut read = ReadGradient { gradients, tensors: Vec::new(), touched: HashSet::new() };
    module.visit(&mut read);
    (read.tensors, read.touched)
}

/// Reads the gradient of every trained parameter; zeros where the loss does not depend on one.
struct ReadGradient {
    gradients: Gradients,
    tensors: Vec<BurnTensor<Dispatch>>,
    touched: HashSet<ParamId>,
}

impl ModuleVisitor for ReadGradient {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !param.is_require_grad() {
            return;
        }
        let value = param.val();
        let gradient = match value.grad_remove(&mut self.gradients) {
            Some(gradient) => {
                self.touched.insert(param.id);
                gradient
            }
            None => value.without_autodiff().zeros_like(),
        };
        self.tensors.push(of_point(gradient));
    }
}

/// Converts a direction to gradients for burn's optimisers. Parameters outside of `touched` get none, as in burn, whose
/// optimisers then leave them alone, weight decay included.
pub(crate) fn gradients_of<M: Module>(
    module: &M,
    direction: &Point,
    touched: &HashSet<ParamId>,
) -> GradientsParams {
    let mut give = Give { tensors: direction.tensors().iter(), touched, given: GradientsParams::new() };
    module.visit(&mut give);
    give.given
}

/// Registers a tensor of a direction for every trained parameter.
struct Give<'p> {
    tensors: std::slice::Iter<'p, BurnTensor<Dispatch>>,
    touched: &'p HashSet<ParamId>,
    given: GradientsParams,
}

impl ModuleVisitor for Give<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.is_require_grad()
            && let Some(tensor) = self.tensors.next()
            && self.touched.contains(&param.id)
        {
            self.given.register(param.id, Tensor::<D>::from_dispatch(tensor.values()));
        }
    }
}
