//! Batch normalisation fused with residual and activation, by batch statistics or given ones, and its replay.
//!
//! Both kinds of statistics are one operation: [`Source`] says whether derivatives flow through them. If ranks share a
//! batch, [`ranks`] pools their statistics and sums; nothing else differs. The activation decides how values are held
//! and differentiated: none, ReLU and ReLU6 are in [`clip`], SiLU is in [`silu`]. Other activations are operations of
//! their own. The arithmetic and the formulas are in [`norm`](gnr_kernels::norm) and
//! [`norm_replay`](gnr_kernels::norm_replay).

mod clip;
mod ranks;
mod silu;

use std::{cell::RefCell, rc::Rc, sync::Arc};

use gnr_kernels::{
    buffer::Buf,
    elem::Elem,
    norm::{self, Affine, Last, Maps, Mask, Source, Stats, Sums},
    norm_replay::{self, Tangent, TangentStats},
};
use gnr_macros::each_precision;
use gnr_nn::{
    AcrossRanks, Arithmetic, BatchStats, Dual, Duals, Error, Fused, Normalisation, Result, Unary, composed,
};

use super::{
    Cpu,
    adjoints::Target,
    session::{Extra, Replayed},
    tensor::{Tensor, image, same_shape},
    value::OpId,
};
use ranks::{Peers, Pooled};

/// The record of a normalisation for its replay.
pub(super) struct Normalised {
    stats: Stats,
    /// The ranks that share the batch.
    peers: Peers,
    /// Sums over the recorded adjoint, once the reverse pass has formed them.
    sums: RefCell<Option<Pooled<Sums>>>,
    /// Bits of the elements at which a clip lets derivatives pass, if a residual is added before the clip. Without a
    /// residual the mask follows from x, which the kernels read anyway.
    bits: Option<Arc<Buf<u32>>>,
}

impl Normalised {
    fn new((stats, peers): (Stats, Peers), bits: Option<Arc<Buf<u32>>>) -> Rc<Self> {
        Rc::new(Self { stats, peers, sums: RefCell::new(None), bits })
    }
    fn bits(&self) -> Option<&[u32]> {
        self.bits.as_deref().map(|bits| &bits[..])
    }
}

/// The operands of a normalisation: x `[N, C, H, W]`, scale and shift `[C]`, and the residual that is added before the
/// activation.
#[derive(Clone, Copy)]
struct Operands<T> {
    x: T,
    scale: T,
    shift: T,
    residual: Option<T>,
}

impl<T: Copy> Operands<T> {
    fn all(self) -> Vec<T> {
        [self.x, self.scale, self.shift].into_iter().chain(self.residual).collect()
    }
    fn map<U>(self, f: impl Fn(T) -> U) -> Operands<U> {
        let Self { x, scale, shift, residual } = self;
        Operands { x: f(x), scale: f(scale), shift: f(shift), residual: residual.map(f) }
    }
}

impl<E: Elem> Operands<&Tensor<E>> {
    /// Checks the shapes; `given` are further vectors of one value a channel.
    fn maps(&self, op: &'static str, given: &[&Tensor<E>]) -> Result<Maps> {
        let [n, c, h, w] = image(op, self.x)?;
        let mut vectors = [self.scale, self.shift].into_iter().chain(given.iter().copied());
        if let Some(v) = vectors.find(|v| v.shape[..] != [c]) {
            return Err(Error::ShapeMismatch { op, lhs: self.x.shape.to_vec(), rhs: v.shape.to_vec() });
        }
        if let Some(residual) = self.residual {
            same_shape(op, self.x, residual)?;
        }
        if self.x.is_empty() {
            let expected = "at least one element".into();
            return Err(Error::InvalidShape { op, expected, found: self.x.shape.to_vec() });
        }
        Ok(Maps { n, c, hw: h * w })
    }
    fn affine(&self, stats: &Stats) -> Affine<E> {
        Affine::new(stats, self.scale.data(), self.shift.data())
    }
    /// Computes the output. A residual that was not computed yet is produced piece by piece.
    fn apply(&self, maps: Maps, affine: &Affine<E>, last: Last<E>) -> Buf<E> {
        let mut y = Buf::new(maps.size());
        let residual = self.residual.map(|residual| residual.operand(true));
        norm::apply(maps, self.x.data(), affine, residual, last, &mut y);
        y
    }
}

/// Splits an activation into the part that is fused and the part that is not.
fn split_activation<E: Elem>(activation: Option<Unary>) -> (Last<E>, Option<Unary>) {
    match activation {
        None => (Last::Nothing, None),
        Some(Unary::Relu) => (Last::Clip(E::infinity()), None),
        Some(Unary::Relu6) => (Last::Clip(E::of(6.0)), None),
        Some(Unary::Silu) => (Last::Silu, None),
        other => (Last::Nothing, other),
    }
}

fn name(source: Source) -> &'static str {
    match source {
        Source::Batch => "batch_norm",
        Source::Fixed => "batch_norm_eval",
    }
}

/// Adds one value a channel to an adjoint.
pub(super) fn add_per_channel<E: Elem>(target: &Target<E>, values: &[f64]) {
    target.write(|out, accum| {
        for (out, value) in out.iter_mut().zip(values) {
            *out = E::of(value + if accum.adds() { out.wide() } else { 0.0 });
        }
    });
}

fn target<E: Elem>(tensor: Option<&Tensor<E>>) -> Target<E> {
    tensor.map_or_else(|| Target::new(None, 0), Tensor::target)
}

fn fixed<E: Elem>(given: &BatchStats<Tensor<E>>, eps: f64) -> Stats {
    let host = |t: &Tensor<E>| t.data().iter().map(|v| v.wide()).collect();
    Stats::new(host(&given.mean), host(&given.var), eps, Source::Fixed)
}

/// Mean and biased variance as detached tensors.
fn report<E: Elem>(stats: &Stats) -> BatchStats<Tensor<E>> {
    let tensor = |values: &[f64]| {
        let values: Vec<E> = values.iter().map(|v| E::of(*v)).collect();
        let shape = [values.len()];
        Tensor::new(Buf::from(values), &shape)
    };
    BatchStats { mean: tensor(&stats.mean), var: tensor(&stats.var) }
}

#[each_precision]
impl Normalisation for Cpu<E> {
    fn batch_norm(
        &self,
        x: &Tensor<E>,
        scale: &Tensor<E>,
        shift: &Tensor<E>,
        eps: f64,
        fused: Fused<'_, Tensor<E>>,
    ) -> Result<(Tensor<E>, BatchStats<Tensor<E>>)> {
        let operands = Operands { x, scale, shift, residual: fused.residual };
        let maps = operands.maps("batch_norm", &[])?;
        let stats = Stats::of_batch(maps, x.data(), eps);
        let report = report(&stats);
        Ok((self.normalise(maps, operands, (stats, Peers::default()), fused.activation)?, report))
    }

    fn batch_norm_over_ranks(
        &self,
        x: &Tensor<E>,
        [scale, shift]: [&Tensor<E>; 2],
        eps: f64,
        fused: Fused<'_, Tensor<E>>,
        across: &AcrossRanks,
    ) -> Result<(Tensor<E>, BatchStats<Tensor<E>>)> {
        let operands = Operands { x, scale, shift, residual: fused.residual };
        let maps = operands.maps("batch_norm", &[])?;
        let peers = Peers::new(across);
        let stats = peers.statistics(Stats::moments(maps, x.data()), eps)?;
        let report = report(&stats);
        Ok((self.normalise(maps, operands, (stats, peers), fused.activation)?, report))
    }

    fn batch_norm_eval(
        &self,
        x: &Tensor<E>,
        scale: &Tensor<E>,
        shift: &Tensor<E>,
        given: &BatchStats<Tensor<E>>,
        eps: f64,
        fused: Fused<'_, Tensor<E>>,
    ) -> Result<Tensor<E>> {
        let operands = Operands { x, scale, shift, residual: fused.residual };
        let maps = operands.maps("batch_norm_eval", &[&given.mean, &given.var])?;
        self.normalise(maps, operands, (fixed(given, eps), Peers::default()), fused.activation)
    }

    fn batch_norm_dual(
        &self,
        x: &Dual<Tensor<E>>,
        scale: &Dual<Tensor<E>>,
        shift: &Dual<Tensor<E>>,
        eps: f64,
        fused: Fused<'_, Dual<Tensor<E>>>,
    ) -> Result<(Dual<Tensor<E>>, BatchStats<Dual<Tensor<E>>>)> {
        match self.batch_dual(x, [scale, shift], fused)? {
            Some(replayed) => Ok(replayed),
            None => composed::batch_norm(&Duals(self.clone()), x, scale, shift, eps, fused),
        }
    }

    fn batch_norm_over_ranks_dual(
        &self,
        x: &Dual<Tensor<E>>,
        affine: [&Dual<Tensor<E>>; 2],
        eps: f64,
        fused: Fused<'_, Dual<Tensor<E>>>,
        across: &AcrossRanks,
    ) -> Result<(Dual<Tensor<E>>, BatchStats<Dual<Tensor<E>>>)> {
        match self.batch_dual(x, affine, fused)? {
            Some(replayed) => Ok(replayed),
            None => composed::batch_norm_over_ranks(&Duals(self.clone()), x, affine, eps, fused, across),
        }
    }

    fn batch_norm_eval_dual(
        &self,
        x: &Dual<Tensor<E>>,
        scale: &Dual<Tensor<E>>,
        shift: &Dual<Tensor<E>>,
        given: &BatchStats<Dual<Tensor<E>>>,
        eps: f64,
        fused: Fused<'_, Dual<Tensor<E>>>,
    ) -> Result<Dual<Tensor<E>>> {
        let operands = Operands { x, scale, shift, residual: fused.residual }.map(Dual::as_ref);
        let primals = operands.map(|operand| operand.primal);
        let maps = primals.maps("batch_norm_eval", &[&given.mean.primal, &given.var.primal])?;
        match self.normalise_dual(Source::Fixed, maps, operands, fused.activation)? {
            Some((y, _)) => Ok(y),
            None => composed::batch_norm_eval(&Duals(self.clone()), x, scale, shift, given, eps, fused),
        }
    }

    fn layer_norm(&self, x: &Tensor<E>, scale: &Tensor<E>, shift: &Tensor<E>, eps: f64) -> Result<Tensor<E>> {
        self.layer_norm_op(x, scale, shift, eps)
    }

    fn layer_norm_dual(
        &self,
        x: &Dual<Tensor<E>>,
        scale: &Dual<Tensor<E>>,
        shift: &Dual<Tensor<E>>,
        eps: f64,
    ) -> Result<Dual<Tensor<E>>> {
        self.layer_norm_dual_op(x, scale, shift, eps)
    }
}

impl<E: Elem> Cpu<E>
where
    Self: Arithmetic<Tensor = Tensor<E>>,
{
    fn normalise(
        &self,
        maps: Maps,
        operands: Operands<&Tensor<E>>,
        stats: (Stats, Peers),
        activation: Option<Unary>,
    ) -> Result<Tensor<E>> {
        let (last, rest) = split_activation(activation);
        let y = match last {
            Last::Silu => self.normalise_silu(maps, operands, stats)?,
            last => self.normalise_clip(maps, operands, stats, last)?,
        };
        match rest {
            Some(activation) => self.unary(activation, &y),
            None => Ok(y),
        }
    }

    /// Replays a normalisation by statistics of the batch; `None` if there is nothing to replay. The ranks that share
    /// the batch are those of the record.
    #[allow(clippy::type_complexity)]
    fn batch_dual(
        &self,
        x: &Dual<Tensor<E>>,
        [scale, shift]: [&Dual<Tensor<E>>; 2],
        fused: Fused<'_, Dual<Tensor<E>>>,
    ) -> Result<Option<(Dual<Tensor<E>>, BatchStats<Dual<Tensor<E>>>)>> {
        let operands = Operands { x, scale, shift, residual: fused.residual }.map(Dual::as_ref);
        let maps = operands.map(|operand| operand.primal).maps("batch_norm", &[])?;
        let replayed = self.normalise_dual(Source::Batch, maps, operands, fused.activation)?;
        Ok(replayed.map(|(y, normalised)| {
            let BatchStats { mean, var } = report(&normalised.stats);
            (y, BatchStats { mean: Dual::constant(mean), var: Dual::constant(var) })
        }))
    }

    /// Replays a normalisation with either kind of statistics; `None` if there is nothing to replay.
    #[allow(clippy::type_complexity)]
    fn normalise_dual(
        &self,
        source: Source,
        maps: Maps,
        operands: Operands<Dual<&Tensor<E>>>,
        activation: Option<Unary>,
    ) -> Result<Option<(Dual<Tensor<E>>, Rc<Normalised>)>> {
        let Some(replayed) = self.replayed(name(source), &operands.x.primal.shape, &operands.all())? else {
            return Ok(None);
        };
        let Extra::Norm(normalised) = replayed.extra() else { return Err(replayed.corrupt()) };
        let normalised = Rc::clone(normalised);
        let (last, rest) = split_activation(activation);
        let replay = Replay::new(maps, operands, &normalised, replayed.id())?;
        let y = match last {
            Last::Silu => silu::replay(replayed, replay, operands)?,
            last => clip::replay(replayed, replay, operands, last)?,
        };
        let y = match rest {
            Some(activation) => self.unary_dual(activation, &y)?,
            None => y,
        };
        Ok(Some((y, normalised)))
    }
}

/// A normalisation under replay, without its activation.
struct Replay<E: Elem> {
    maps: Maps,
    x: Dual<Tensor<E>>,
    scale: Dual<Tensor<E>>,
    shift_tangent: Option<Tensor<E>>,
    to_shift: Target<E>,
    to_residual: Target<E>,
    /// Whether any operand has a tangent.
    moves: bool,
    normalised: Rc<Normalised>,
    affine: Arc<Affine<E>>,
    stats_tangent: TangentStats,
    id: OpId,
}

impl<E: Elem> Replay<E> {
    fn new(
        maps: Maps,
        operands: Operands<Dual<&Tensor<E>>>,
        normalised: &Rc<Normalised>,
        id: OpId,
    ) -> Result<Self> {
        let Operands { x, scale, shift, residual } = operands;
        let tangent = x.tangent.map(Tensor::as_slice);
        let mut stats_tangent = norm_replay::tangent_stats(maps, x.primal.data(), tangent, &normalised.stats);
        if tangent.is_some() {
            stats_tangent = normalised.peers.tangent(stats_tangent)?;
        }
        Ok(Self {
            maps,
            x: x.cloned(),
            scale: scale.cloned(),
            shift_tangent: shift.tangent.cloned(),
            to_shift: shift.primal.target(),
            to_residual: target(residual.map(|residual| residual.primal)),
            moves: operands.all().iter().any(|operand| operand.tangent.is_some()),
            normalised: Rc::clone(normalised),
            affine: Arc::new(operands.map(|operand| operand.primal).affine(&normalised.stats)),
            stats_tangent,
            id,
        })
    }
    /// The point and direction for the kernels.
    fn at(&self) -> Tangent<'_, E> {
        Tangent {
            x: self.x.primal.data(),
            xt: self.x.tangent.as_ref().map(Tensor::as_slice),
            gamma: self.scale.primal.data(),
            gamma_t: self.scale.tangent.as_ref().map(Tensor::as_slice),
            stats: &self.normalised.stats,
            stats_t: &self.stats_tangent,
        }
    }
    /// Computes the tangent of the normalisation plus that of the residual, masked.
    fn tangent(&self, residual: Option<&Tensor<E>>, mask: Option<Mask<'_, E>>) -> Buf<E> {
        let mut out = Buf::new(self.maps.size());
        let shift = self.shift_tangent.as_ref().map(Tensor::as_slice);
        let residual = residual.map(|residual| residual.operand(true));
        norm_replay::tangent_apply(self.maps, self.at(), shift, residual, mask, &mut out);
        out
    }
    /// Runs the reverse step from the normalisation's output, before an activation. `a` is the recorded adjoint of that
    /// output, `b` the incoming derivative of that adjoint. With a `mask`, `b` belongs to the clip's output and is
    /// masked first.
    fn step_back(&self, a: Option<&[E]>, mut b: Option<Buf<E>>, mask: Option<Mask<'_, E>>) {
        let (maps, to_x) = (self.maps, self.x.primal.target());
        let Normalised { stats, peers, .. } = &*self.normalised;
        let recorded = self.normalised.sums.borrow();
        let sums = match (a, recorded.as_ref(), b.as_deref_mut()) {
            (Some(a), Some(first), mut b) => {
                let at = self.at();
                let second = peers.second_sums(norm_replay::second_sums(
                    maps,
                    at,
                    a,
                    &first.own,
                    b.as_deref_mut(),
                    mask,
                ));
                let mut by_product = to_x.by_product_buffer(&self.id);
                to_x.write(|out, accum| {
                    let sums = (first.of_batch(), second.of_batch());
                    norm_replay::second_input(
                        maps,
                        at,
                        (a, b.as_deref()),
                        sums,
                        out,
                        accum,
                        by_product.as_deref_mut(),
                    );
                });
                to_x.give_by_product(by_product);
                second.own.gradients(at, &first.own)
            }
            // The loss did not depend on y, so there is no second term.
            (_, _, Some(b)) => {
                let (x, gamma) = (self.x.primal.data(), self.scale.primal.data());
                let sums = peers.sums(norm::backward_sums(maps, b, x, stats, mask));
                to_x.write(|out, accum| {
                    norm::backward_input(maps, b, x, stats, gamma, sums.of_batch(), out, accum);
                });
                sums.own
            }
            (_, _, None) => return,
        };
        add_per_channel(&self.scale.primal.target(), &sums.gamma);
        add_per_channel(&self.to_shift, &sums.beta);
        if let Some(b) = b {
            self.to_residual.add(b);
        }
    }
}
