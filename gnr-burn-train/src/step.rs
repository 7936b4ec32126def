//! [`Regularized`], which takes the place of `loss.backward()` in burn's training steps.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use burn_core::{
    module::{Module, ParamId},
    tensor::Tensor,
};
use burn_train::TrainOutput;
use gnr_core::{
    CentralDiff, Checkpoint, Clip, ForwardDiff, GradOracle, Method, Optimizer, Regularizer, Result,
    StateSink, StateSource,
};

use crate::{
    oracle::ModuleOracle,
    parameters::{Point, gradients_of},
};

/// The finite differences that give products with the Hessian, since burn differentiates only once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Differences {
    /// One gradient a product, error O(ε); see [`ForwardDiff`].
    Forward {
        /// ε, the norm of the perturbation.
        step: f64,
    },
    /// Two gradients a product, error O(ε²); see [`CentralDiff`].
    Central {
        /// ε, the norm of the perturbation.
        step: f64,
    },
}

impl Default for Differences {
    /// Forward differences with ε = 1e-3, the best in `f32`.
    fn default() -> Self {
        Self::Forward { step: 1e-3 }
    }
}

/// A regulariser of gnr-core (SAM, GNR, a list of them) for the steps of burn modules.
///
/// [`step`](Self::step) is gnr-core's own step up to the direction; burn's optimiser, scheduler and checkpoints do the
/// rest. Clones share one state: the number of steps and the regulariser's memory. The value may therefore be a field
/// of the module (`#[module(skip)]`). Regularisers without memory that act on every step, such as SAM and GNR, may also
/// be made anew for every step.
///
/// Checkpoints of burn do not hold this state.
///
/// # Example
/// ```
/// use burn::{module::Module, tensor::{Device, Tensor}};
/// use burn::nn::{Linear, LinearConfig};
/// use burn::optim::{GradientsParams, SgdConfig};
/// use gnr_burn_train::Regularized;
/// use gnr_core::Gnr;
///
/// # fn main() -> gnr_core::Result<()> {
/// let device = Device::flex().autodiff();
/// let mut model: Linear = LinearConfig::new(2, 1).init(&device);
/// let x = Tensor::<2>::from_floats([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], &device);
/// let y = Tensor::<2>::from_floats([[1.0], [2.0], [3.0]], &device);
///
/// let method = Regularized::new(Gnr::new(0.05, 0.1)?);
/// let mut sgd = SgdConfig::new().init();
/// for _ in 0..200 {
///     let output = method.step(&model, |model| ((model.forward(x.clone()) - y.clone()).powi_scalar(2).mean(), ()))?;
///     model = sgd.step(0.1, model, output.grads);
/// }
/// let error: f32 = (model.forward(x) - y).abs().max().into_scalar();
/// assert!(error < 0.1, "{error}");
/// # Ok(())
/// # }
/// ```
pub struct Regularized<R> {
    differences: Differences,
    state: Arc<Mutex<State<R>>>,
}

struct State<R> {
    method: Method<R, Kept, f64>,
    steps: u64,
}

impl<R> Clone for Regularized<R> {
    fn clone(&self) -> Self {
        Self { differences: self.differences, state: Arc::clone(&self.state) }
    }
}

impl<R> fmt::Debug for Regularized<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Regularized").field("differences", &self.differences).finish_non_exhaustive()
    }
}

impl<R> Regularized<R> {
    /// Wraps a regulariser; `()` gives plain training.
    pub fn new(regularizer: R) -> Self {
        let method = Method { regularizer, optimizer: Kept(None), learning_rate: 1.0, clip: Clip::None };
        Self { differences: Differences::default(), state: Arc::new(Mutex::new(State { method, steps: 0 })) }
    }

    /// Replaces the differences for products.
    #[must_use]
    pub fn with_differences(mut self, differences: Differences) -> Self {
        self.differences = differences;
        self
    }

    /// Number of steps that have succeeded.
    pub fn steps(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).steps
    }

    /// Computes the regularised gradient of a module at its parameters. The result suits
    /// [`TrainStep::step`](burn_train::TrainStep::step) as it is, or a loop of one's own.
    ///
    /// `loss` runs the module of its argument, not another one, on the batch. It returns the mean loss, shape `[1]`,
    /// and the item of the output. The output gets the item of the pass at the module's own parameters. That pass alone
    /// moves the running statistics.
    ///
    /// # Errors
    /// [`Error::NonFinite`](gnr_core::Error::NonFinite) with the name of the norm; a module without trained parameters;
    /// a loss that does not depend on them; differences whose step is not positive; a failure of burn's device.
    ///
    /// # Cost
    /// One gradient and those of the regulariser: one more for SAM, three more for GNR by forward differences. Steps of
    /// several threads with clones of one value take turns.
    pub fn step<M, F, O>(&self, module: &M, loss: F) -> Result<TrainOutput<O>>
    where
        M: Module,
        F: FnMut(&M) -> (Tensor<1>, O),
        R: Regularizer<ForwardDiff<ModuleOracle<M, F, O>>> + Regularizer<CentralDiff<ModuleOracle<M, F, O>>>,
    {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (oracle, theta) = ModuleOracle::new(module, loss)?;
        let (direction, seen) = match self.differences {
            Differences::Forward { step } => {
                let mut oracle = ForwardDiff::new(oracle).with_step(step)?;
                (state.direction(theta, &mut oracle)?, oracle.into_inner().into_seen())
            }
            Differences::Central { step } => {
                let mut oracle = CentralDiff::new(oracle).with_step(step)?;
                (state.direction(theta, &mut oracle)?, oracle.into_inner().into_seen())
            }
        };
        let (item, touched): (O, HashSet<ParamId>) = seen
            .ok_or_else(|| gnr_core::Error::Oracle("the step evaluated nothing at its own point".into()))?;
        Ok(TrainOutput { grads: gradients_of(module, &direction, &touched), item })
    }
}

impl<R> State<R> {
    /// The direction of gnr-core's step.
    fn direction<O>(&mut self, mut theta: Point, oracle: &mut O) -> Result<Point>
    where
        O: GradOracle<Vector = Point>,
        R: Regularizer<O>,
    {
        self.method.step(self.steps, &mut theta, oracle)?;
        self.steps += 1;
        self.method
            .optimizer
            .0
            .take()
            .ok_or_else(|| gnr_core::Error::Oracle("the step came to no direction".into()))
    }
}

/// Takes an optimiser's place: keeps the direction for burn's optimiser and leaves θ alone.
struct Kept(Option<Point>);

impl Optimizer<Point> for Kept {
    fn step(&mut self, _: &mut Point, direction: &Point, _: f64) -> Result<()> {
        self.0 = Some(direction.clone());
        Ok(())
    }
}

/// Saves and loads nothing, because no state outlives a step.
impl Checkpoint<Point> for Kept {
    fn save(&self, _: &mut dyn StateSink<Point>) -> Result<()> {
        Ok(())
    }
    fn load(&mut self, _: &mut dyn StateSource<Point>) -> Result<()> {
        Ok(())
    }
}
