//! [`ModuleOracle`]: any tch or TorchScript model and one mini-batch as an oracle with exact products.

use gnr_core::{Evaluation, GradOracle, HvpOracle, Order, Pass, Use};
use gnr_nn::{Error, ParamVector, Result};
use tch::{Kind, TchError, Tensor, nn::VarStore};

use crate::{
    device::{Device, Precision, Ready},
    tensor::{Torch, TorchTensor, shape_of},
};

type CoreResult<T> = gnr_core::Result<T>;

/// The variables of a model: what is trained, and what else it changes in a forward pass (running statistics).
///
/// The order is that of their names.
#[derive(Debug)]
pub struct Variables {
    backend: Torch,
    trained: Vec<Tensor>,
    statistics: Vec<Tensor>,
    /// Counts the points that were written into the variables.
    written: u64,
}

impl Variables {
    /// The variables of a `VarStore`. Frozen ones are not trained.
    ///
    /// # Errors
    /// When nothing is trained; when trained variables differ in device or precision; when LibTorch cannot compute
    /// there.
    pub fn of(store: &VarStore) -> Result<Self> {
        let mut named: Vec<_> = store.variables().into_iter().collect();
        named.sort_by(|(a, _), (b, _)| a.cmp(b));
        let (trained, statistics): (Vec<_>, Vec<_>) = named.into_iter().partition(|(_, t)| t.requires_grad());
        let Some((_, first)) = trained.first() else {
            return Err(Error::Invalid("the VarStore has no variable that is trained".into()));
        };
        let precision = match first.kind() {
            Kind::Float => Precision::F32,
            Kind::Double => Precision::F64,
            other => {
                return Err(Error::Invalid(format!("variables of kind {other:?}, expected Float or Double")));
            }
        };
        let device = match first.device() {
            tch::Device::Cpu => Device::Cpu,
            tch::Device::Cuda(index) => Device::Cuda(index),
            other => return Err(Error::Invalid(format!("variables on {other:?}, expected Cpu or Cuda"))),
        };
        let place = |t: &Tensor| (t.kind(), t.device());
        if let Some((name, other)) = trained.iter().find(|(_, t)| place(t) != place(first)) {
            let (found, expected) = (place(other), place(first));
            return Err(Error::Invalid(format!("variable {name}: {found:?}, others are {expected:?}")));
        }
        let tensors = |named: Vec<(String, Tensor)>| named.into_iter().map(|(_, tensor)| tensor).collect();
        device.present()?;
        Ok(Self {
            // The program that made the model chooses whether a card multiplies in TF32.
            backend: Torch::on(Ready { device, precision, multiplier: None }),
            trained: tensors(trained),
            statistics: tensors(statistics),
            written: 0,
        })
    }

    fn copied_statistics(&self) -> Result<Vec<Tensor>> {
        let copies = self.statistics.iter().map(Tensor::f_detach_copy).collect::<Result<_, _>>();
        self.backend.checked("running statistics", &[], copies)
    }

    fn restore_statistics(&self, before: &[Tensor]) -> Result<()> {
        for (own, before) in self.statistics.iter().zip(before) {
            // A handle from `data` does not change the variable's version, so the graph of a pass stays valid.
            let restored = own.f_data().and_then(|mut data| data.f_copy_(before));
            self.backend.checked("running statistics", &[], restored)?;
        }
        Ok(())
    }

    /// A copy of what is trained, as the point at which training starts.
    ///
    /// # Errors
    /// A failure of LibTorch.
    pub fn parameters(&self) -> Result<ParamVector<Torch>> {
        let copies = self.trained.iter().map(|t| {
            let copy = self.backend.checked("parameters", &[], t.f_detach_copy())?;
            Ok(TorchTensor::owning(copy))
        });
        Ok(ParamVector::new(self.backend.clone(), copies.collect::<Result<_>>()?))
    }

    /// Gives the model the parameters `theta`.
    ///
    /// # Errors
    /// Other shapes than the model's, and then the model is unchanged; a failure of LibTorch.
    pub fn write_back(&mut self, theta: &ParamVector<Torch>) -> Result<()> {
        let given = theta.tensors();
        let fits = given.len() == self.trained.len()
            && given.iter().zip(&self.trained).all(|(new, own)| new.shape() == &*shape_of(own));
        if !fits {
            let shapes = |shapes: Vec<Vec<usize>>| {
                shapes.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>().join(", ")
            };
            return Err(Error::Invalid(format!(
                "a point of shapes {} for variables of shapes {}",
                shapes(given.iter().map(|t| t.shape().to_vec()).collect()),
                shapes(self.trained.iter().map(|t| shape_of(t).to_vec()).collect())
            )));
        }
        self.written += 1;
        // The copy changes the variable's version, so ATen refuses to use a graph of the previous point.
        let copied = tch::no_grad(|| {
            given.iter().zip(&mut self.trained).try_for_each(|(new, own)| own.f_copy_(new.t()))
        });
        self.backend.checked("write_back", &[], copied)
    }
}

/// A tch model and one mini-batch as an oracle whose points live on the model's device.
///
/// `loss` runs the model on the batch and gives the mean loss, shape `[]`. The oracle writes each point that it is
/// asked about into the model's variables; [`Variables::write_back`] leaves the trained ones there. Running statistics
/// move in a [`Pass::Commit`] evaluation only, and not where it fails or its numbers are not finite, as far as they are
/// in the `VarStore`: those inside a TorchScript file are not, so put such a model into eval mode.
///
/// Note that tch's `cross_entropy_for_logits` computes in single precision whatever the logits are; for a model in
/// double precision take `log_softmax(-1, Kind::Double).nll_loss(…)`.
///
/// A model that draws random numbers (dropout) is not a function of its parameters, and its products are noise.
///
/// # Cost
/// `evaluate`: one forward and one reverse pass, twice as much memory with [`Order::Second`], and a copy of all
/// variables that are not trained: running statistics and frozen parameters. A product: one reverse pass through the
/// reverse pass.
///
/// # Example
/// ```
/// use gnr_core::{Clip, Gnr, Method, Sgd};
/// use gnr_torch::{ModuleOracle, Variables};
/// use tch::{Device, Kind, Tensor, nn, nn::Module};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // What a tch user already has: a model and a batch.
/// let store = nn::VarStore::new(Device::Cpu);
/// let root = store.root();
/// let net = nn::seq()
///     .add(nn::linear(&root / "1", 2, 8, Default::default()))
///     .add_fn(|x| x.tanh())
///     .add(nn::linear(&root / "2", 8, 2, Default::default()));
/// let x = Tensor::from_slice2(&[[0.0_f32, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]);
/// let y = Tensor::from_slice(&[0_i64, 1, 1, 0]);
///
/// let mut method = Method {
///     regularizer: Gnr::new(0.05, 0.1)?,
///     optimizer: Sgd::new().with_momentum(0.9)?,
///     learning_rate: 0.2,
///     clip: Clip::None,
/// };
/// let mut variables = Variables::of(&store)?;
/// let mut theta = variables.parameters()?;
/// let mut loss = f64::INFINITY;
/// for t in 0..300 {
///     let batch = || Ok(net.forward(&x).cross_entropy_for_logits(&y));
///     loss = method.step(t, &mut theta, &mut ModuleOracle::new(&mut variables, batch))?.loss;
/// }
/// variables.write_back(&theta)?;
/// assert!(loss < 0.05);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ModuleOracle<'a, F> {
    variables: &'a mut Variables,
    loss: F,
}

impl<'a, F: FnMut() -> Result<Tensor, TchError>> ModuleOracle<'a, F> {
    /// The mean of `loss` over one batch.
    pub fn new(variables: &'a mut Variables, loss: F) -> Self {
        Self { variables, loss }
    }

    /// Calls `f`, and gives the model its running statistics back unless the pass is a commit that succeeds.
    fn with_statistics<T, E: From<Error>>(
        &mut self,
        pass: Pass,
        f: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let before = self.variables.copied_statistics()?;
        let done = f(self);
        if pass != Pass::Commit || done.is_err() {
            self.variables.restore_statistics(&before)?;
        }
        done
    }

    /// Loss and gradient at a point; with `graph` the gradient can be differentiated again.
    fn gradient_at(&mut self, at: &ParamVector<Torch>, graph: bool) -> Result<(f64, Vec<Option<Tensor>>)> {
        self.variables.write_back(at)?;
        let Variables { backend, trained, .. } = &*self.variables;
        let loss = backend.checked("the model", &[], (self.loss)())?;
        if loss.numel() != 1 {
            return crate::tensor::invalid("the model's loss", "a single element", &shape_of(&loss));
        }
        let differentiate = || -> Result<(f64, Vec<Tensor>), TchError> {
            let gradient = Tensor::f_run_backward(&[&loss], trained, graph, graph)?;
            Ok((loss.f_detach()?.f_reshape([1_i64].as_slice())?.f_double_value(&[0])?, gradient))
        };
        let (value, gradient) = backend.checked("the gradient of the model's loss", &[], differentiate())?;
        Ok((value, gradient.into_iter().map(|g| Some(g).filter(Tensor::defined)).collect()))
    }

    /// A point of the gradient's tensors without their graph; zeros for variables that the loss does not depend on.
    fn point(&self, gradient: &[Option<Tensor>]) -> Result<ParamVector<Torch>> {
        let Variables { backend, trained, .. } = &*self.variables;
        let tensors = gradient.iter().zip(trained).map(|(g, own)| {
            let tensor = g.as_ref().map_or_else(|| own.f_detach()?.f_zeros_like(), Tensor::f_detach);
            backend.new_tensor("a gradient", &[], tensor)
        });
        Ok(ParamVector::new(backend.clone(), tensors.collect::<Result<_>>()?))
    }

    /// ∂⟨∇L̂, v⟩/∂θ through the graph of the gradient.
    fn product(
        &self,
        gradient: &[Option<Tensor>],
        v: &ParamVector<Torch>,
        keep: bool,
    ) -> Result<ParamVector<Torch>> {
        let Variables { backend, trained, .. } = &*self.variables;
        let along = || -> Result<Vec<Option<Tensor>>, TchError> {
            let mut sum: Option<Tensor> = None;
            // A gradient without a graph is a constant.
            for (g, v) in gradient.iter().zip(v.tensors()) {
                let Some(g) = g.as_ref().filter(|g| g.requires_grad()) else { continue };
                let part = g.f_mul(v.t())?.f_sum(None::<Kind>)?;
                sum = Some(match sum {
                    Some(sum) => sum.f_add(&part)?,
                    None => part,
                });
            }
            let Some(sum) = sum else { return Ok(trained.iter().map(|_| None).collect()) };
            let product = Tensor::f_run_backward(&[sum], trained, keep, false)?;
            Ok(product.into_iter().map(|p| Some(p).filter(Tensor::defined)).collect())
        };
        self.point(&backend.checked("a Hessian-vector product", &[], along())?)
    }
}

/// The graph of a gradient, valid while the variables hold its point.
#[derive(Debug)]
pub struct Graph {
    written: u64,
    gradient: Vec<Option<Tensor>>,
}

impl<F: FnMut() -> Result<Tensor, TchError>> GradOracle for ModuleOracle<'_, F> {
    type Vector = ParamVector<Torch>;
    type Record = Option<Graph>;

    fn evaluate<'t>(
        &mut self,
        at: &'t ParamVector<Torch>,
        pass: Pass,
        order: Order,
    ) -> CoreResult<Evaluation<'t, ParamVector<Torch>, Option<Graph>>> {
        let second = order == Order::Second;
        self.with_statistics(pass, |oracle| {
            let (loss, gradient) = oracle.gradient_at(at, second)?;
            let point = oracle.point(&gradient)?;
            let graph = second.then_some(Graph { written: oracle.variables.written, gradient });
            Evaluation::new(at, loss, point, graph)
        })
    }
}

impl<F: FnMut() -> Result<Tensor, TchError>> HvpOracle for ModuleOracle<'_, F> {
    /// # Cost
    /// One gradient more if there is no valid graph: `here` is a first-order evaluation, or another point was asked
    /// about since.
    fn hvp(
        &mut self,
        here: &Evaluation<'_, ParamVector<Torch>, Option<Graph>>,
        v: &ParamVector<Torch>,
        record: Use,
    ) -> CoreResult<ParamVector<Torch>> {
        let same = v.tensors().len() == self.variables.trained.len()
            && v.tensors().iter().zip(&self.variables.trained).all(|(v, own)| v.shape() == &*shape_of(own));
        if !same {
            use gnr_core::Vector as _;
            let (expected, found) = (here.at.dim(), v.dim());
            return Err(gnr_core::Error::DimensionMismatch { operation: "hvp", expected, found });
        }
        let kept = here.record.as_ref().filter(|graph| graph.written == self.variables.written);
        Ok(match kept {
            // The graph is kept even with `Use::Last`, because `here` may be asked again. It takes memory until `here`
            // is dropped.
            Some(graph) => self.product(&graph.gradient, v, true)?,
            None => {
                let at_point = |oracle: &mut Self| oracle.gradient_at(&here.at, true);
                let (_, gradient) = self.with_statistics(Pass::Probe, at_point)?;
                self.product(&gradient, v, record == Use::Again)?
            }
        })
    }
}
