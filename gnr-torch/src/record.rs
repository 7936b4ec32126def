//! The record of a gradient pass, from which Hessian-vector products at its point are computed, and the sessions that
//! make and use it.
//!
//! H·v is the gradient of ℓ̇, the derivative of the loss along v. A reverse pass from ℓ̇ through the tangents of
//! all layers would compute the adjoint of each layer's tangent ẏ. That adjoint equals the adjoint a of the layer's
//! output y, which the gradient pass computed. So the record keeps a, and y with its graph. A product then
//!
//! - takes y from the record instead of computing it;
//! - cuts each ẏ off from its graph and continues with its values;
//! - runs one reverse pass from ℓ̇ and from ⟨a, ẏ⟩ of every cut layer. The graph of such a ẏ has the
//!   parameters and activations of that layer alone.
//!
//! Convolutions, dense layers and BatchNorm are recorded so; of activations the record has the output y alone. Other
//! operations are computed again. Tangents that are not cut are differentiated back to the nearest cuts before them.
//! The product is exact.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use gnr_nn::{BatchStats, Dual, Error, Result};
use tch::{TchError, Tensor};

use crate::tensor::{Torch, TorchTensor};

/// The use of a handle of the backend.
#[derive(Clone, Debug, Default)]
pub(crate) enum Session {
    /// A session that records nothing.
    #[default]
    Plain,
    /// A gradient pass that records.
    Recording(Rc<RefCell<Tape>>),
    /// A product at a recorded point.
    Replaying(Rc<Replay>),
}

/// The record of a pass that may be under way.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    recorded: Recorded,
    /// Whether the reverse pass has run.
    reversed: bool,
}

/// Leaves and layers in the order in which the model asked for them.
#[derive(Debug, Default)]
struct Recorded {
    leaves: Vec<TorchTensor>,
    layers: Vec<Layer>,
}

/// A recorded layer.
#[derive(Debug)]
pub(crate) struct Layer {
    operation: &'static str,
    /// The output of the layer and of what is fused with it, with its graph.
    pub(crate) value: TorchTensor,
    /// The output whose tangent is cut: `value`, or for a BatchNorm its output before residual and activation. `None`
    /// if the tangent is not cut.
    cut: Option<TorchTensor>,
    /// The adjoint of `cut`; `None` if the loss does not depend on it.
    pub(crate) adjoint: Option<Tensor>,
    /// The moments of a BatchNorm's input; `None` for other layers.
    pub(crate) moments: Option<Moments>,
}

/// Moments of the channels of a BatchNorm's input.
#[derive(Debug)]
pub(crate) struct Moments {
    /// The mean, `[C]`.
    pub(crate) mean: Tensor,
    /// The reciprocal of the standard deviation, `[C]`.
    pub(crate) istd: Tensor,
    /// Mean and biased variance, as the layer returned them to the model.
    pub(crate) stats: BatchStats<TorchTensor>,
}

/// A record, and the next leaf and layer of it that a pass will ask for.
#[derive(Debug)]
pub(crate) struct Replay {
    recorded: Rc<Recorded>,
    leaf: Cell<usize>,
    layer: Cell<usize>,
    /// Whether the reverse pass differentiates the tangents (a Hessian-vector product). If not, it differentiates the
    /// outputs, and tangents are computed without a graph.
    second: bool,
    /// Further roots of the reverse pass: ⟨a, ẏ⟩ of the cut layers, or for a BatchNorm numbers with the gradient
    /// of ⟨a, ẏ⟩.
    sums: RefCell<Vec<Tensor>>,
}

/// The record of a gradient pass, for products at its point.
#[derive(Debug)]
pub struct Record(Rc<Recorded>);

impl Session {
    pub(crate) fn recording() -> Self {
        Self::Recording(Rc::default())
    }
    pub(crate) fn replaying(record: &Record, second: bool) -> Self {
        let recorded = record.0.clone();
        let (leaf, layer, sums) = (Cell::new(0), Cell::new(0), RefCell::default());
        Self::Replaying(Rc::new(Replay { recorded, leaf, layer, second, sums }))
    }
}

impl Layer {
    /// An operation whose tangent is not cut.
    pub(crate) fn new(operation: &'static str, value: &TorchTensor) -> Self {
        Self { operation, value: value.clone(), cut: None, adjoint: None, moments: None }
    }
    /// A layer whose tangent is cut at its output.
    fn cut(operation: &'static str, value: &TorchTensor) -> Self {
        Self { cut: Some(value.clone()), ..Self::new(operation, value) }
    }
    /// A BatchNorm with the output `cut`, at which its tangent is cut. What is fused with it turns `cut` into `value`.
    pub(crate) fn batch_norm(value: &TorchTensor, cut: TorchTensor, moments: Moments) -> Self {
        Self { cut: Some(cut), moments: Some(moments), ..Self::new("batch_norm", value) }
    }
    /// The layer's output before a fused residual and activation.
    pub(crate) fn before(&self) -> &TorchTensor {
        self.cut.as_ref().unwrap_or(&self.value)
    }
    /// The tensor whose adjoint the gradient pass records; `None` if nothing is cut or no variable takes part.
    fn tracked(&self) -> Option<&Tensor> {
        self.cut.as_ref().map(TorchTensor::t).filter(|cut| cut.requires_grad())
    }
}

impl Replay {
    /// The next recorded layer, which must be of this operation.
    pub(crate) fn next(&self, operation: &'static str) -> Result<&Layer> {
        let position = self.layer.replace(self.layer.get() + 1);
        let recorded = self.recorded.layers.len();
        let layer = self.recorded.layers.get(position);
        let layer = layer.ok_or(Error::RecordExhausted { position, asked_op: operation, recorded })?;
        if layer.operation == operation {
            return Ok(layer);
        }
        Err(self.mismatch(position, operation, &[]))
    }

    fn mismatch(&self, position: usize, asked_op: &'static str, asked_shape: &[usize]) -> Error {
        let layer = self.recorded.layers.get(position);
        Error::RecordMismatch {
            position,
            recorded_op: layer.map_or("nothing", |layer| layer.operation),
            recorded_shape: layer.map_or(Vec::new(), |layer| layer.value.shape().to_vec()),
            asked_op,
            asked_shape: asked_shape.to_vec(),
        }
    }

    /// Whether the reverse pass differentiates the tangents, as in a Hessian-vector product.
    pub(crate) fn is_second(&self) -> bool {
        self.second
    }

    /// Adds a root of the reverse pass: a number whose gradient is a term of the product.
    pub(crate) fn add(&self, sum: Tensor) {
        self.sums.borrow_mut().push(sum);
    }

    /// Returns a layer's tangent without its graph. In a Hessian-vector product, adds ⟨a, ẏ⟩ to the roots of the
    /// reverse pass.
    fn cut(&self, b: &Torch, layer: &Layer, tangent: TorchTensor) -> Result<TorchTensor> {
        if tangent.shape() != layer.before().shape() {
            return Err(self.mismatch(self.layer.get().saturating_sub(1), layer.operation, tangent.shape()));
        }
        if let Some(adjoint) = layer.adjoint.as_ref().filter(|_| self.second && tangent.t().requires_grad()) {
            self.add(b.checked(layer.operation, &[&tangent], inner(adjoint, tangent.t()))?);
        }
        b.checked(layer.operation, &[&tangent], tangent.t().f_detach()).map(TorchTensor::sharing)
    }
}

/// Σ x·y, shape `[]`, in the precision of the tensors, because only its gradient is used.
pub(crate) fn inner(x: &Tensor, y: &Tensor) -> Result<Tensor, TchError> {
    let [x, y] = flattened(x, y)?;
    x.f_dot(&y)
}

/// Flattens two tensors of one shape, both in one order of elements, which depends on their layout.
pub(crate) fn flattened(x: &Tensor, y: &Tensor) -> Result<[Tensor; 2], TchError> {
    // Images in the channels-last layout are flattened in the order of memory, which saves a copy.
    let channels_last = x.stride() == y.stride() && x.dim() == 4 && !x.is_contiguous();
    let flat = |t: &Tensor| match channels_last {
        true => t.f_permute([0_i64, 2, 3, 1].as_slice())?.f_reshape([-1_i64].as_slice()),
        false => t.f_reshape([-1_i64].as_slice()),
    };
    Ok([flat(x)?, flat(y)?])
}

impl Torch {
    /// Returns a layer's output: in a gradient pass computed and recorded, in a product taken from the record, else
    /// computed.
    pub(crate) fn recorded(
        &self,
        operation: &'static str,
        compute: impl FnOnce() -> Result<TorchTensor>,
    ) -> Result<TorchTensor> {
        match &self.session {
            Session::Plain => compute(),
            Session::Recording(_) => {
                let value = compute()?;
                self.record(Layer::cut(operation, &value));
                Ok(value)
            }
            Session::Replaying(replay) => Ok(replay.next(operation)?.value.clone()),
        }
    }

    /// Returns a layer's output on dual numbers. In a product, the output comes from the record and the tangent is cut.
    pub(crate) fn recorded_dual(
        &self,
        operation: &'static str,
        compute: impl FnOnce() -> Result<TorchTensor>,
        tangent: impl FnOnce() -> Result<Option<TorchTensor>>,
    ) -> Result<Dual<TorchTensor>> {
        let Session::Replaying(replay) = &self.session else {
            return Ok(Dual { primal: compute()?, tangent: tangent()? });
        };
        let layer = replay.next(operation)?;
        let tangent = if replay.second { tangent() } else { tch::no_grad(tangent) };
        let tangent = tangent?.map(|tangent| replay.cut(self, layer, tangent)).transpose()?;
        Ok(Dual { primal: layer.value.clone(), tangent })
    }

    /// A handle for the parts of an operation that is recorded as a whole, or not at all.
    pub(crate) fn inside(&self) -> Self {
        self.within(Session::Plain)
    }

    /// Adds a layer to the record of a pass that records.
    pub(crate) fn record(&self, layer: Layer) {
        if let Session::Recording(tape) = &self.session {
            tape.borrow_mut().recorded.layers.push(layer);
        }
    }

    /// The leaf that a session makes of x: a new one, or in a product the record's.
    pub(crate) fn leaf(
        &self,
        x: &TorchTensor,
        new: impl FnOnce() -> Result<TorchTensor>,
    ) -> Result<TorchTensor> {
        match &self.session {
            Session::Plain => new(),
            Session::Recording(tape) => {
                let leaf = new()?;
                tape.borrow_mut().recorded.leaves.push(leaf.clone());
                Ok(leaf)
            }
            Session::Replaying(replay) => {
                let position = replay.leaf.replace(replay.leaf.get() + 1);
                let leaf = replay.recorded.leaves.get(position);
                match leaf.filter(|leaf| leaf.shape() == x.shape()) {
                    Some(leaf) => Ok(leaf.clone()),
                    None => Err(Error::Invalid(format!(
                        "a product asked for variable {position} of shape {:?}; its gradient pass had {}",
                        x.shape(),
                        leaf.map_or("no such".into(), |leaf| format!("{:?}", leaf.shape()))
                    ))),
                }
            }
        }
    }

    /// Returns the gradient of the sum of `roots` in each input; `None` where there is none. With `keep`, the graph can
    /// be used again.
    fn reverse(&self, roots: &[&Tensor], inputs: &[&Tensor], keep: bool) -> Result<Vec<Option<Tensor>>> {
        let gradients = Tensor::f_run_backward(roots, inputs, keep, false);
        let gradients = self.checked("backward", &[], gradients)?;
        Ok(gradients.into_iter().map(|gradient| Some(gradient).filter(Tensor::defined)).collect())
    }

    /// The gradients of a session's loss, `None` where it does not depend on a leaf.
    pub(crate) fn gradients(&self, loss: &Tensor, leaves: &[TorchTensor]) -> Result<Vec<Option<Tensor>>> {
        let mut roots: Vec<&Tensor> = Some(loss).filter(|loss| loss.requires_grad()).into_iter().collect();
        let inputs = leaves.iter().map(TorchTensor::t);
        let nothing = || Ok(leaves.iter().map(|_| None).collect());
        match &self.session {
            Session::Plain if roots.is_empty() => nothing(),
            Session::Plain => self.reverse(&roots, &inputs.collect::<Vec<_>>(), false),
            Session::Recording(tape) => {
                let mut tape = tape.borrow_mut();
                tape.reversed = true;
                if roots.is_empty() {
                    return nothing();
                }
                let layers = &mut tape.recorded.layers;
                let all: Vec<&Tensor> = inputs.chain(layers.iter().filter_map(Layer::tracked)).collect();
                let mut gradients = self.reverse(&roots, &all, true)?;
                let mut adjoints = gradients.split_off(leaves.len()).into_iter();
                for layer in layers.iter_mut().filter(|layer| layer.tracked().is_some()) {
                    layer.adjoint = adjoints.next().flatten();
                }
                Ok(gradients)
            }
            Session::Replaying(replay) => {
                let sums = replay.sums.take();
                roots.extend(&sums);
                if roots.is_empty() {
                    return nothing();
                }
                // The graph is kept while another holder of the record may ask for a further product.
                let keep = Rc::strong_count(&replay.recorded) > 1;
                self.reverse(&roots, &inputs.collect::<Vec<_>>(), keep)
            }
        }
    }

    /// Takes the record out of a recording session, after its reverse pass.
    pub(crate) fn taken(&self) -> Result<Record> {
        match &self.session {
            Session::Recording(tape) if tape.borrow().reversed => {
                Ok(Record(Rc::new(std::mem::take(&mut tape.borrow_mut().recorded))))
            }
            Session::Recording(_) => {
                Err(Error::Invalid("a record was asked for before the reverse pass has run".into()))
            }
            _ => Err(Error::Invalid("a record was asked for of a session that does not record".into())),
        }
    }

    /// Checks that a product has asked for all layers of its record.
    pub(crate) fn finished(&self) -> Result<()> {
        match &self.session {
            Session::Replaying(replay) if replay.layer.get() < replay.recorded.layers.len() => {
                Err(replay.mismatch(replay.layer.get(), "nothing more", &[]))
            }
            _ => Ok(()),
        }
    }
}
