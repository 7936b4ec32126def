//! The passes of one model over one batch at one point: gradient, Hessian-vector product, Gauss–Newton product.

use std::borrow::{Borrow, Cow};

use gnr_core::{Error as CoreError, Order, Products, Result as CoreResult, Vector};

use crate::{
    AcrossRanks, Autodiff, Backend, Batch, Context, CrossEntropy, Dual, Duals, Entry, Error, Frozen, Layout,
    MaskSeed, MixedLabels, Mode, Model, ParamVector, Result, composed, context::Collected,
};

/// The matrix with which an oracle of a network multiplies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Curvature {
    /// The Hessian ∇²L̂.
    #[default]
    Hessian,
    /// The generalised Gauss–Newton matrix: see [`Products::GaussNewton`]. A product costs one tangent pass and one
    /// plain backward pass. That is less than with the Hessian, whose backward pass also carries the tangents; the
    /// record is as large.
    GaussNewton,
}

impl Curvature {
    pub(crate) fn products(self) -> Products {
        match self {
            Self::Hessian => Products::Exact,
            Self::GaussNewton => Products::GaussNewton,
        }
    }
}

/// The inputs of the passes: model, backend, batch and their settings.
pub(crate) struct Passes<'a, M, B: Autodiff> {
    pub(crate) model: &'a M,
    pub(crate) backend: &'a B,
    pub(crate) batch: &'a Batch<B>,
    pub(crate) buffers: &'a [B::Tensor],
    pub(crate) loss: CrossEntropy,
    pub(crate) mode: Mode,
    pub(crate) frozen: Option<&'a Frozen<B>>,
    /// Parameters whose normalisations use their running statistics in every mode; empty if there are none.
    pub(crate) fixed_norms: &'a [bool],
    /// The output of the model's body on the batch; if given, only the head runs.
    pub(crate) features: Option<&'a Features<B>>,
    /// The seed from which dropout draws its masks.
    pub(crate) masks: Option<MaskSeed>,
    /// The place of each sample in the whole batch, if the batch is a selection of some.
    pub(crate) places: Option<&'a [usize]>,
    /// The ranks over which BatchNorm takes its statistics.
    pub(crate) across: Option<&'a AcrossRanks>,
}

/// The output of a model's frozen body on a batch.
pub(crate) struct Features<B: Backend> {
    pub(crate) output: B::Tensor,
    /// Number of masks that the body drew; the head's come after them.
    pub(crate) drawn: u64,
}

/// The results of a gradient pass.
pub(crate) struct Gradient<B: Autodiff> {
    pub(crate) loss: f64,
    pub(crate) grad: ParamVector<B>,
    /// The record for products, after a pass with [`Order::Second`].
    pub(crate) record: Option<B::Record>,
    /// The logits `[N, K]`, detached.
    pub(crate) logits: B::Tensor,
    pub(crate) collected: Vec<Collected<B::Tensor>>,
}

/// Refuses a point or tangent of another model, before an index is out of range deep inside a layer.
pub(crate) fn check_point<B: Autodiff>(
    operation: &'static str,
    backend: &B,
    layout: &Layout,
    frozen: Option<&Frozen<B>>,
    vector: &ParamVector<B>,
) -> CoreResult<()> {
    let expected: Vec<&Entry> = match frozen {
        Some(frozen) => frozen.learned(layout.parameters()).collect(),
        None => layout.parameters().collect(),
    };
    let fits = vector.tensors().len() == expected.len()
        && (expected.iter().zip(vector.tensors()))
            .all(|(entry, tensor)| backend.shape(tensor) == entry.shape);
    if fits {
        return Ok(());
    }
    let (expected, found) = (expected.iter().map(|entry| entry.len()).sum(), vector.dim());
    Err(CoreError::DimensionMismatch { operation, expected, found })
}

/// Refuses running statistics of another model.
pub(crate) fn check_buffers(layout: &Layout, found: usize) -> CoreResult<()> {
    let expected = layout.num_buffers();
    if expected == found {
        return Ok(());
    }
    Err(Error::Invalid(format!("{found} running statistics given, the model has {expected}")).into())
}

impl<M: Model, B: Autodiff> Passes<'_, M, B> {
    /// All parameters in layout order: the point's leaves, and the frozen ones as `constant` converts them.
    fn parameters<T>(&self, leaves: Vec<T>, constant: impl Fn(&B::Tensor) -> T) -> Result<Vec<T>> {
        match self.frozen {
            Some(frozen) => frozen.assemble(leaves, constant),
            None => Ok(leaves),
        }
    }

    /// The context of a pass with these parameters and running statistics.
    fn context<'c, C: Backend>(
        &'c self,
        backend: &'c C,
        params: &'c [C::Tensor],
        buffers: &'c [C::Tensor],
    ) -> Context<'c, C> {
        Context::new(backend, params, buffers, self.mode)
            .with_frozen(self.fixed_norms)
            .with_masks(self.masks)
            .with_places(self.places)
            .with_drawn(self.features.map_or(0, |features| features.drawn))
            .with_ranks(self.across)
    }

    /// The logits of the batch; `constant` converts what does not depend on θ.
    fn logits<C: Backend>(
        &self,
        cx: &mut Context<'_, C>,
        constant: impl Fn(&B::Tensor) -> C::Tensor,
    ) -> Result<C::Tensor> {
        match self.features {
            Some(features) => self.model.classify(cx, &constant(&features.output)),
            None => self.model.forward(cx, &constant(&self.batch.images)),
        }
    }

    /// The loss L̂ of the logits. For a blended batch it is the mean of the losses at the two labels, by their weights.
    fn loss_of<C: Backend>(&self, b: &C, logits: &C::Tensor) -> Result<C::Tensor> {
        let at = |labels: &[usize]| b.cross_entropy(logits, labels, self.loss.label_smoothing);
        let own = at(&self.batch.labels)?;
        let Some(MixedLabels { labels, weight }) = &self.batch.mixed else { return Ok(own) };
        b.add(&b.affine(&own, *weight, 0.0)?, &b.affine(&at(labels)?, 1.0 - weight, 0.0)?)
    }

    /// Runs a forward pass on the plain backend, which keeps nothing for derivatives.
    fn forward(&self, at: &ParamVector<B>) -> Result<B::Tensor> {
        let params = self.parameters(at.tensors().to_vec(), B::Tensor::clone)?;
        let mut cx = self.context(self.backend, &params, self.buffers);
        self.logits(&mut cx, B::Tensor::clone)
    }

    /// The loss L̂, without its gradient.
    pub(crate) fn loss(&self, at: &ParamVector<B>) -> Result<f64> {
        let loss = self.loss_of(self.backend, &self.forward(at)?)?;
        self.backend.item(&loss)
    }

    /// The logits without derivatives, row by row.
    pub(crate) fn outputs(&self, at: &ParamVector<B>) -> Result<Vec<f64>> {
        self.backend.to_host(&self.forward(at)?)
    }

    /// The product Jᵀ·u for factors u of the logits. `u` is row-major and has the given shape.
    pub(crate) fn pull_back(
        &self,
        at: &ParamVector<B>,
        u: &[f64],
        shape: [usize; 2],
    ) -> Result<ParamVector<B>> {
        let session = self.backend.gradient_session(false);
        let leaves = leaves(&session, at)?;
        let params = self.parameters(leaves.clone(), B::Tensor::clone)?;
        let mut cx = self.context(&session, &params, self.buffers);
        let logits = self.logits(&mut cx, B::Tensor::clone)?;
        drop(params);
        if self.backend.shape(&logits) != shape {
            let (expected, found) = (self.backend.shape(&logits), shape);
            return Err(Error::Invalid(format!("factors of shape {found:?} for logits {expected:?}")));
        }
        let cotangent = self.backend.constant(u, &shape)?;
        Ok(ParamVector::new(self.backend.clone(), session.vjp(&logits, &cotangent, leaves)?))
    }

    /// The loss L̂ and its gradient. If nobody else holds the point, its tensors are freed during the backward pass.
    pub(crate) fn gradient(&self, at: Cow<'_, ParamVector<B>>, order: Order) -> Result<Gradient<B>> {
        let session = self.backend.gradient_session(order == Order::Second);
        let leaves = leaves(&session, &at)?;
        drop(at);
        let params = self.parameters(leaves.clone(), B::Tensor::clone)?;
        let mut cx = self.context(&session, &params, self.buffers);
        let logits = self.logits(&mut cx, B::Tensor::clone)?;
        let collected = cx.into_collected();
        let loss = self.loss_of(&session, &logits)?;
        drop(params);
        let grad = ParamVector::new(self.backend.clone(), session.backward(&loss, leaves)?);
        // The loss is read last, because a device would have to wait for the read between the passes.
        let value = session.item(&loss)?;
        let record = (order == Order::Second).then(|| session.take_record()).transpose()?;
        let logits = session.detach(&logits)?;
        Ok(Gradient { loss: value, grad, record, logits, collected })
    }

    /// Runs a [`gradient`](Self::gradient) pass for its record.
    pub(crate) fn record(&self, at: &ParamVector<B>) -> Result<B::Record> {
        let record = self.gradient(Cow::Borrowed(at), Order::Second)?.record;
        record.ok_or_else(|| Error::Invalid("a recording pass left no record".into()))
    }

    /// Runs the model on dual numbers along `v`. Returns the logits and the leaves.
    #[allow(clippy::type_complexity)]
    fn tangent(
        &self,
        session: &B,
        at: &ParamVector<B>,
        v: &ParamVector<B>,
    ) -> Result<(Vec<B::Tensor>, Dual<B::Tensor>)> {
        let leaves = leaves(session, at)?;
        let moving = (leaves.iter().zip(v.tensors()))
            .map(|(leaf, v)| Dual { primal: leaf.clone(), tangent: Some(v.clone()) });
        let constant = |tensor: &B::Tensor| Dual::constant(tensor.clone());
        let params = self.parameters(moving.collect(), constant)?;
        let duals = Duals(session.clone());
        let buffers: Vec<_> = self.buffers.iter().cloned().map(Dual::constant).collect();
        let mut cx = self.context(&duals, &params, &buffers);
        let logits = self.logits(&mut cx, constant)?;
        Ok((leaves, logits))
    }

    /// The product of v with the Hessian or the Gauss–Newton matrix at the record's point. A record that is passed by
    /// value belongs to the session: its entries are freed as they are used. If nobody else holds the point or v, their
    /// tensors are freed during the backward pass.
    pub(crate) fn product(
        &self,
        curvature: Curvature,
        record: impl Borrow<B::Record>,
        at: Cow<'_, ParamVector<B>>,
        v: ParamVector<B>,
    ) -> Result<ParamVector<B>> {
        let session = match curvature {
            Curvature::Hessian => self.backend.replay_session(record.borrow())?,
            Curvature::GaussNewton => self.backend.linear_session(record.borrow())?,
        };
        drop(record);
        match curvature {
            Curvature::Hessian => self.hvp(session, at, v),
            Curvature::GaussNewton => self.ggn(session, at, v),
        }
    }

    /// The product ∇²L̂·v, in a replay of the record of this point.
    fn hvp(&self, session: B, at: Cow<'_, ParamVector<B>>, v: ParamVector<B>) -> Result<ParamVector<B>> {
        let (leaves, logits) = self.tangent(&session, &at, &v)?;
        drop((at, v));
        let duals = Duals(session.clone());
        let loss = self.loss_of(&duals, &logits)?;
        drop(logits);
        let Some(tangent) = loss.tangent else { return Err(independent()) };
        session.finish_replay()?;
        Ok(ParamVector::new(self.backend.clone(), session.backward(&tangent, leaves)?))
    }

    /// The product Jᵀ·∇²ℓ·J·v, in a linear session of the record of this point: the tangent of the logits, times the
    /// loss's Hessian in them, pulled back.
    fn ggn(&self, session: B, at: Cow<'_, ParamVector<B>>, v: ParamVector<B>) -> Result<ParamVector<B>> {
        let (leaves, logits) = self.tangent(&session, &at, &v)?;
        drop((at, v));
        // The loss's entry of the record belongs to the replay, so it must be used; no derivative flows through it.
        self.loss_of(&Duals(session.clone()), &logits)?;
        session.finish_replay()?;
        let Some(tangent) = logits.tangent else { return Err(independent()) };
        let (z, tangent) = (session.detach(&logits.primal)?, session.detach(&tangent)?);
        let cotangent = composed::cross_entropy_hessian(self.backend, &z, &tangent)?;
        Ok(ParamVector::new(self.backend.clone(), session.vjp(&logits.primal, &cotangent, leaves)?))
    }
}

/// The leaves of the session at a point.
fn leaves<B: Autodiff>(session: &B, at: &ParamVector<B>) -> Result<Vec<B::Tensor>> {
    at.tensors().iter().map(|tensor| session.variable(tensor)).collect()
}

fn independent() -> Error {
    Error::Invalid("the loss does not depend on any parameter".into())
}
