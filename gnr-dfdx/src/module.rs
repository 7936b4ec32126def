//! [`ModuleOracle`]: any dfdx nn model and one mini-batch as an oracle, so that an existing dfdx model trains with GNR.

use std::fmt;

use dfdx::prelude::{
    Backward, Device, Dtype, Gradients, HasShape, ModuleMut, NoneTape, OwnedTape, Rank0, RecursiveWalker,
    Shape, Storage, Tensor, TensorCollection, TensorOptions, TensorVisitor, Trace, ViewTensorMut,
    ViewTensorRef, ZeroGrads,
};
use gnr_core::{Error, Evaluation, GradOracle, Order, Pass, Real, Result, Vector};

/// A dfdx model and one mini-batch as a [`GradOracle`] whose points are flat host vectors.
///
/// `loss` takes the model's output and the targets and gives the mean loss, as dfdx's own loss functions do. The
/// model's parameters are read once, by [`parameters`], and changed only by [`write_back`]: the oracle runs a copy of
/// the model at the point it is asked about. What else the model updates in a forward pass (running statistics of
/// BatchNorm) moves in a [`Pass::Commit`] evaluation only.
///
/// Products with the Hessian come from differences of gradients: wrap the oracle in
/// [`ForwardDiff`](gnr_core::ForwardDiff) or [`CentralDiff`](gnr_core::CentralDiff). For exact ones write the network
/// over [`gnr_nn::Backend`].
///
/// A model that draws random numbers (dfdx's `Dropout`) is not a function of its parameters: differences of its
/// gradients are noise.
///
/// # Cost
/// `evaluate`: one forward and one backward pass of dfdx, and the parameters once to the device and once back.
///
/// # Example
/// ```
/// use dfdx::prelude::*;
/// use gnr_core::{Clip, ForwardDiff, Gnr, Method, Sgd};
/// use gnr_dfdx::module::{self, ModuleOracle};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // What a dfdx user already has: a model and a batch.
/// type Mlp = ((Linear<2, 8>, Tanh), Linear<8, 2>);
/// let device = Cpu::default();
/// let mut model = device.build_module::<Mlp, f32>();
/// let x = device.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]);
/// let y = device.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]);
///
/// let mut method = Method {
///     regularizer: Gnr::new(0.05, 0.1)?,
///     optimizer: Sgd::new().with_momentum(0.9)?,
///     learning_rate: 0.2,
///     clip: Clip::None,
/// };
/// let mut theta = module::parameters(&model)?;
/// let mut loss = f64::INFINITY;
/// for t in 0..300 {
///     let oracle = ModuleOracle::new(&mut model, x.clone(), y.clone(), cross_entropy_with_logits_loss);
///     loss = method.step(t, &mut theta, &mut ForwardDiff::new(oracle))?.loss;
/// }
/// module::write_back(&mut model, &theta)?;
/// assert!(loss < 0.05);
/// # Ok(())
/// # }
/// ```
/// A batch of another width than the model's input does not compile:
/// ```compile_fail
/// # use dfdx::prelude::*;
/// # use gnr_core::{GradOracle, Order, Pass};
/// # use gnr_dfdx::module::{self, ModuleOracle};
/// # let device = Cpu::default();
/// let mut model = device.build_module::<Linear<2, 2>, f32>();
/// let x: Tensor<Rank2<4, 3>, f32, _> = device.zeros();
/// let y: Tensor<Rank2<4, 2>, f32, _> = device.zeros();
/// let theta = module::parameters(&model).unwrap();
/// let mut oracle = ModuleOracle::new(&mut model, x, y, cross_entropy_with_logits_loss);
/// oracle.evaluate(&theta, Pass::Probe, Order::First);
/// ```
pub struct ModuleOracle<'a, M, S: Shape, E: Dtype, D: Storage<E>, Y, L> {
    model: &'a mut M,
    input: Tensor<S, E, D>,
    targets: Y,
    loss: L,
}

impl<'a, M, S: Shape, E: Dtype, D: Storage<E>, Y, L> ModuleOracle<'a, M, S, E, D, Y, L> {
    /// The mean of `loss` over one batch; `targets` are whatever `loss` takes as its second argument.
    pub fn new(model: &'a mut M, input: Tensor<S, E, D>, targets: Y, loss: L) -> Self {
        Self { model, input, targets, loss }
    }
}

/// The trainable parameters of a dfdx model as one vector, in the order in which dfdx visits them.
///
/// # Errors
/// A failure of the device.
pub fn parameters<E: Dtype + Real, D: Device<E>, M: TensorCollection<E, D>>(model: &M) -> Result<Vec<E>> {
    let mut read = Read(Vec::new());
    M::iter_tensors(&mut RecursiveWalker { m: model, f: &mut read }).map_err(device_error)?;
    Ok(read.0)
}

/// Gives a model the parameters `theta`, in the order of [`parameters`].
///
/// # Errors
/// [`Error::DimensionMismatch`], and then the model is unchanged; a failure of the device.
pub fn write_back<E: Dtype + Real, D: Device<E>, M: TensorCollection<E, D>>(
    model: &mut M,
    theta: &[E],
) -> Result<()> {
    let mut count = Count(0);
    M::iter_tensors(&mut RecursiveWalker { m: &*model, f: &mut count }).map_err(device_error::<D::Err>)?;
    if count.0 != theta.len() {
        let (expected, found) = (count.0, theta.len());
        return Err(Error::DimensionMismatch { operation: "write_back", expected, found });
    }
    let mut write = Write { rest: theta };
    M::iter_tensors(&mut RecursiveWalker { m: model, f: &mut write }).map_err(device_error::<D::Err>)?;
    Ok(())
}

/// Turns an error of dfdx into one of ours. dfdx's errors are `Debug` only.
fn device_error<Err: fmt::Debug>(error: Err) -> Error {
    Error::backend(format!("dfdx: {error:?}"))
}

impl<M, S, E, D, Y, L> GradOracle for ModuleOracle<'_, M, S, E, D, Y, L>
where
    S: Shape,
    E: Dtype + Real,
    D: Device<E>,
    M: TensorCollection<E, D> + ModuleMut<Tensor<S, E, D, OwnedTape<E, D>>> + Clone,
    Y: Clone,
    L: Fn(M::Output, Y) -> Tensor<Rank0, E, D, OwnedTape<E, D>>,
    Vec<E>: Vector,
{
    type Vector = Vec<E>;
    type Record = ();

    fn evaluate<'t>(&mut self, at: &'t Vec<E>, pass: Pass, _: Order) -> Result<Evaluation<'t, Vec<E>, ()>> {
        let mut scratch = self.model.clone();
        write_back(&mut scratch, at)?;
        let gradients = scratch.try_alloc_grads().map_err(device_error)?;
        let output = scratch.try_forward_mut(self.input.clone().traced(gradients)).map_err(device_error)?;
        let loss = (self.loss)(output, self.targets.clone());
        let value = loss.as_vec().first().map_or(f64::NAN, |&value| value.as_());
        let gradients = loss.try_backward().map_err(device_error)?;
        let mut read = ReadGradient { gradients, values: Vec::with_capacity(at.len()) };
        M::iter_tensors(&mut RecursiveWalker { m: &scratch, f: &mut read }).map_err(device_error)?;
        let evaluation = Evaluation::new(at, value, read.values, ())?;
        if pass == Pass::Commit {
            M::iter_tensors(&mut RecursiveWalker { m: (&mut *self.model, &scratch), f: &mut CopyBuffers })
                .map_err(device_error::<D::Err>)?;
        }
        Ok(evaluation)
    }
}

/// Appends every trainable tensor.
struct Read<E>(Vec<E>);

impl<E: Dtype, D: Device<E>> TensorVisitor<E, D> for Read<E> {
    type Viewer = ViewTensorRef;
    type Err = D::Err;
    type E2 = E;
    type D2 = D;
    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, D>,
        tensor: &Tensor<S, E, D>,
    ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
        if options.do_gradient_update {
            append(&mut self.0, tensor);
        }
        Ok(None)
    }
}

/// Appends the gradient of every trainable tensor.
struct ReadGradient<E: Dtype, D: Storage<E>> {
    gradients: Gradients<E, D>,
    values: Vec<E>,
}

impl<E: Dtype, D: Device<E>> TensorVisitor<E, D> for ReadGradient<E, D> {
    type Viewer = ViewTensorRef;
    type Err = D::Err;
    type E2 = E;
    type D2 = D;
    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, D>,
        tensor: &Tensor<S, E, D>,
    ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
        if options.do_gradient_update {
            // A tensor that the loss does not depend on has no gradient yet.
            self.gradients.try_alloc_for(tensor)?;
            append(&mut self.values, &self.gradients.get(tensor));
        }
        Ok(None)
    }
}

/// Appends a tensor's physical data.
fn append<S: Shape, E: Dtype, D: Device<E>>(to: &mut Vec<E>, tensor: &Tensor<S, E, D, NoneTape>) {
    let start = to.len();
    to.resize(start + tensor.shape().num_elements(), E::default());
    tensor.copy_into(&mut to[start..]);
}

/// Counts the trainable scalars.
struct Count(usize);

impl<E: Dtype, D: Device<E>> TensorVisitor<E, D> for Count {
    type Viewer = ViewTensorRef;
    type Err = D::Err;
    type E2 = E;
    type D2 = D;
    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, D>,
        tensor: &Tensor<S, E, D>,
    ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
        if options.do_gradient_update {
            self.0 += tensor.shape().num_elements();
        }
        Ok(None)
    }
}

/// Overwrites every trainable tensor.
struct Write<'t, E> {
    rest: &'t [E],
}

impl<E: Dtype, D: Device<E>> TensorVisitor<E, D> for Write<'_, E> {
    type Viewer = ViewTensorMut;
    type Err = D::Err;
    type E2 = E;
    type D2 = D;
    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, D>,
        tensor: &mut Tensor<S, E, D>,
    ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
        if options.do_gradient_update {
            let (now, rest) = self.rest.split_at(tensor.shape().num_elements());
            tensor.copy_from(now);
            self.rest = rest;
        }
        Ok(None)
    }
}

/// Copies the tensors that are not trained: running statistics.
struct CopyBuffers;

impl<E: Dtype, D: Device<E>> TensorVisitor<E, D> for CopyBuffers {
    type Viewer = (ViewTensorMut, ViewTensorRef);
    type Err = D::Err;
    type E2 = E;
    type D2 = D;
    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, D>,
        (to, from): (&mut Tensor<S, E, D>, &Tensor<S, E, D>),
    ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
        if !options.do_gradient_update {
            to.clone_from(from);
        }
        Ok(None)
    }
}
