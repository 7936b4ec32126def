//! Batch normalisation fused with residual and activation, by batch statistics or given ones, and its replay.
//!
//! Both forms are one operation: [`Source`] says whether derivatives flow through the statistics. ReLU, ReLU6 and SiLU are fused; after a
//! SiLU its input is not stored but computed again (and the adjoint that is recorded is that of the SiLU's output). The arithmetic and the formulas
//! are in [`kernels::norm`](super::kernels::norm) and [`kernels::norm_replay`](super::kernels::norm_replay).

use std::{cell::RefCell, rc::Rc, sync::Arc};

use gnr_nn::{BatchStats, Dual, Duals, Error, Fused, Result, Unary, composed};

use super::{
    Cpu,
    adjoints::{Adjoints, DeviceError, Target},
    again::Again,
    buffer::Buf,
    kernels::{
        elem::Elem,
        elementwise,
        norm::{self, Affine, Last, Maps, Mask, Source, Stats, Sums},
        norm_made::{Applied, InputAdjoint, TangentApplied, TangentMask},
        norm_replay::{self, Tangent, TangentStats},
        norm_silu::Point,
    },
    session::{Extra, Output},
    tensor::{Tensor, image, same_shape},
};

/// What a normalisation leaves for its replay.
pub(super) struct Normalised {
    stats: Stats,
    /// Sums over the recorded adjoint, once the reverse pass has made them.
    sums: RefCell<Option<Sums>>,
    /// Where a clip lets derivatives pass, when it follows a residual; without one the input, which is read anyway, tells.
    bits: Option<Arc<Buf<u32>>>,
}

impl Normalised {
    fn bits(&self) -> Option<&[u32]> {
        self.bits.as_deref().map(|bits| &bits[..])
    }
}

/// The fused part of an activation, and the activation where it is none of those.
fn fused_part<E: Elem>(activation: Option<Unary>) -> (Last<E>, Option<Unary>) {
    match activation {
        None => (Last::Nothing, None),
        Some(Unary::Relu) => (Last::Clip(E::infinity()), None),
        Some(Unary::Relu6) => (Last::Clip(E::of(6.0)), None),
        Some(Unary::Silu) => (Last::Silu, None),
        other => (Last::Nothing, other),
    }
}

/// What a clip leaves of derivatives: by bits where there are some, else by the input.
fn mask<'a, E: Elem>(
    last: Last<E>,
    bits: Option<&'a [u32]>,
    (of, affine): (&'a [E], &'a Affine<E>),
) -> Option<Mask<'a, E>> {
    match (last, bits) {
        (Last::Clip(_), Some(bits)) => Some(Mask::Bits(bits)),
        (Last::Clip(top), None) => Some(Mask::Input { of, affine, top }),
        _ => None,
    }
}

/// Whether making a residual again, too, costs little beside the convolutions that read the output: their work grows with the
/// channels, that of a pass does not.
fn is_cheap_again(maps: Maps) -> bool {
    maps.c >= 64
}

fn name(source: Source) -> &'static str {
    match source {
        Source::Batch => "batch_norm",
        Source::Fixed => "batch_norm_eval",
    }
}

fn maps<E: Elem>(
    op: &'static str,
    x: &Tensor<E>,
    vectors: &[&Tensor<E>],
    residual: Option<&Tensor<E>>,
) -> Result<Maps> {
    let [n, c, h, w] = image(op, x)?;
    if let Some(v) = vectors.iter().find(|v| v.shape[..] != [c]) {
        return Err(Error::ShapeMismatch { op, lhs: x.shape.to_vec(), rhs: v.shape.to_vec() });
    }
    if let Some(residual) = residual {
        same_shape(op, x, residual)?;
    }
    if x.is_empty() {
        let expected = "at least one element".into();
        return Err(Error::InvalidShape { op, expected, found: x.shape.to_vec() });
    }
    Ok(Maps { n, c, hw: h * w })
}

/// Adds one value a channel.
pub(super) fn put<E: Elem>(
    adjoints: &mut Adjoints<E>,
    target: &Option<Target<E>>,
    values: &[f64],
) -> Result<(), DeviceError> {
    adjoints.write(target, |out, accumulate| {
        for (out, value) in out.iter_mut().zip(values) {
            *out = E::of(value + if accumulate { out.wide() } else { 0.0 });
        }
    })
}

fn fixed<E: Elem>(given: &BatchStats<Tensor<E>>, eps: f64) -> Stats {
    let host = |t: &Tensor<E>| t.data().iter().map(|v| v.wide()).collect();
    Stats::fixed(host(&given.mean), host(&given.var), eps)
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

impl<E: Elem> Cpu<E> {
    pub(super) fn batch_norm_op(
        &self,
        x: &Tensor<E>,
        scale: &Tensor<E>,
        shift: &Tensor<E>,
        eps: f64,
        fused: Fused<'_, Tensor<E>>,
    ) -> Result<(Tensor<E>, BatchStats<Tensor<E>>)> {
        let maps = maps("batch_norm", x, &[scale, shift], fused.residual)?;
        let stats = Stats::of_batch(maps, x.data(), eps);
        let report = report(&stats);
        Ok((self.normalise(maps, x, scale, shift, stats, fused)?, report))
    }

    pub(super) fn batch_norm_eval_op(
        &self,
        x: &Tensor<E>,
        scale: &Tensor<E>,
        shift: &Tensor<E>,
        given: &BatchStats<Tensor<E>>,
        eps: f64,
        fused: Fused<'_, Tensor<E>>,
    ) -> Result<Tensor<E>> {
        let vectors = [scale, shift, &given.mean, &given.var];
        let maps = maps("batch_norm_eval", x, &vectors, fused.residual)?;
        self.normalise(maps, x, scale, shift, fixed(given, eps), fused)
    }

    fn normalise(
        &self,
        maps: Maps,
        x: &Tensor<E>,
        scale: &Tensor<E>,
        shift: &Tensor<E>,
        stats: Stats,
        fused: Fused<'_, Tensor<E>>,
    ) -> Result<Tensor<E>> {
        let (last, rest) = fused_part(fused.activation);
        let affine = Arc::new(Affine::new(&stats, scale.data(), shift.data()));
        // A pass over x, which is held anyway, makes y again, after the residual if there is one.
        let before = match fused.residual {
            Some(residual) => residual.again.clone().filter(|_| is_cheap_again(maps)).map(Some),
            None => Some(None),
        };
        let again = before.filter(|_| last != Last::Silu).and_then(|before| {
            let (x, affine) = (Arc::clone(x.data()), Arc::clone(&affine));
            Again::of_maps(maps.hw, before, |residual| Applied { maps, x, affine, residual, last })
        });
        let y = match again {
            Some(again) if again.is_light() => Output::Lazy(again),
            again => {
                let mut y = Buf::new(x.len());
                norm::apply(maps, x.data(), &affine, fused.residual.map(|r| r.ready(true)), last, &mut y);
                Output::There(y, again)
            }
        };
        let op = name(stats.source);
        let operands: Vec<_> = [x, scale, shift].into_iter().chain(fused.residual).collect();
        let tracked = operands.iter().any(|operand| operand.is_tracked());
        let bits = match (last, &y) {
            (Last::Clip(top), Output::There(y, _)) if fused.residual.is_some() && tracked => {
                Some(Arc::new(norm::clip_bits(maps, y, top)))
            }
            _ => None,
        };
        let left = Rc::new(Normalised { stats, sums: RefCell::new(None), bits });
        let (x_, scale_, to_shift) = (x.clone(), scale.clone(), shift.target());
        let to_residual = fused.residual.and_then(Tensor::target);
        let residual = fused.residual.filter(|_| last == Last::Silu).map(Tensor::detached);
        let kept = Rc::clone(&left);
        let by_output = fused.residual.is_some() && left.bits.is_none();
        let y = self.nonlinear_op(
            op,
            y,
            &x.shape,
            &operands,
            || Extra::Norm(kept),
            move |y, mut g, saved, adjoints| {
                let stats = &left.stats;
                let mut of_output = None;
                let y = (by_output || last == Last::Silu).then(|| y.get());
                if let (Last::Silu, Some(y)) = (last, &y) {
                    of_output = saved.map(|_| g.clone());
                    let residual = residual.as_ref().map(Tensor::as_slice);
                    Point { maps, x: x_.data(), affine: &affine, residual, y }.first(&mut g);
                }
                let mask = match (last, &y) {
                    (Last::Clip(top), Some(y)) => Some(Mask::Output { of: &y[..], top }),
                    _ => mask(last, left.bits(), (x_.data(), &affine)),
                };
                let sums = norm::backward_sums(maps, &mut g, x_.data(), stats, mask);
                put(adjoints, &scale_.target(), &sums.gamma)?;
                put(adjoints, &to_shift, &sums.beta)?;
                let to_x = x_.target();
                let input = |a: &[E], sums: &Sums, out: &mut [E], more| {
                    norm::backward_input(maps, a, x_.data(), stats, scale_.data(), sums, out, more);
                };
                if saved.is_none() || of_output.is_some() {
                    adjoints.write(&to_x, |out, more| input(&g, &sums, out, more))?;
                    adjoints.add(&to_residual, g)?;
                    *left.sums.borrow_mut() = saved.map(|_| sums);
                    return Ok(of_output.map(Arc::new));
                }
                // The masked adjoint is kept; that of x follows from it, so a convolution that made x need not keep its own.
                let masked = Arc::new(g);
                let again = || {
                    let values = [Arc::clone(&masked), Arc::clone(x_.data())];
                    let (stats, gamma) = (&left.stats, scale_.data());
                    Again::of_maps(maps.hw, None, |_| InputAdjoint::new(maps, values, stats, gamma, &sums))
                };
                let maker = saved.map(|saved| &saved.maker);
                adjoints.write_again(&to_x, maker, again, |out, more| input(&masked, &sums, out, more))?;
                *left.sums.borrow_mut() = Some(sums);
                adjoints.add_copy(&to_residual, &masked)?;
                Ok(Some(masked))
            },
        )?;
        match rest {
            Some(activation) => self.unary_op(activation, &y),
            None => Ok(y),
        }
    }

    #[allow(clippy::type_complexity)]
    pub(super) fn batch_norm_dual_op(
        &self,
        x: Dual<&Tensor<E>>,
        scale: Dual<&Tensor<E>>,
        shift: Dual<&Tensor<E>>,
        eps: f64,
        residual: Option<Dual<&Tensor<E>>>,
        activation: Option<Unary>,
    ) -> Result<(Dual<Tensor<E>>, BatchStats<Dual<Tensor<E>>>)> {
        let vectors = [scale.primal, shift.primal];
        let maps = maps("batch_norm", x.primal, &vectors, residual.map(|r| r.primal))?;
        match self.normalise_dual(Source::Batch, maps, x, scale, shift, residual, activation)? {
            Some((y, left)) => {
                let BatchStats { mean, var } = report(&left.stats);
                Ok((y, BatchStats { mean: Dual::constant(mean), var: Dual::constant(var) }))
            }
            None => {
                let residual = residual.map(Dual::cloned);
                let fused = Fused { residual: residual.as_ref(), activation };
                let (x, scale, shift) = (x.cloned(), scale.cloned(), shift.cloned());
                composed::batch_norm(&Duals(self.clone()), &x, &scale, &shift, eps, fused)
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn batch_norm_eval_dual_op(
        &self,
        x: Dual<&Tensor<E>>,
        scale: Dual<&Tensor<E>>,
        shift: Dual<&Tensor<E>>,
        given: &BatchStats<Tensor<E>>,
        eps: f64,
        residual: Option<Dual<&Tensor<E>>>,
        activation: Option<Unary>,
    ) -> Result<Dual<Tensor<E>>> {
        let vectors = [scale.primal, shift.primal, &given.mean, &given.var];
        let maps = maps("batch_norm_eval", x.primal, &vectors, residual.map(|r| r.primal))?;
        match self.normalise_dual(Source::Fixed, maps, x, scale, shift, residual, activation)? {
            Some((y, _)) => Ok(y),
            None => {
                let residual = residual.map(Dual::cloned);
                let fused = Fused { residual: residual.as_ref(), activation };
                let (mean, var) = (given.mean.clone(), given.var.clone());
                let stats = BatchStats { mean: Dual::constant(mean), var: Dual::constant(var) };
                let (x, scale, shift) = (x.cloned(), scale.cloned(), shift.cloned());
                composed::batch_norm_eval(&Duals(self.clone()), &x, &scale, &shift, &stats, eps, fused)
            }
        }
    }

    /// The replay of either form; `None` when there is nothing to replay.
    #[allow(clippy::too_many_arguments, clippy::type_complexity)]
    fn normalise_dual(
        &self,
        source: Source,
        maps: Maps,
        x: Dual<&Tensor<E>>,
        scale: Dual<&Tensor<E>>,
        shift: Dual<&Tensor<E>>,
        residual: Option<Dual<&Tensor<E>>>,
        activation: Option<Unary>,
    ) -> Result<Option<(Dual<Tensor<E>>, Rc<Normalised>)>> {
        let operands: Vec<_> = [x, scale, shift].into_iter().chain(residual).collect();
        let Some(replayed) = self.replayed(name(source), &x.primal.shape, &operands)? else {
            return Ok(None);
        };
        let Extra::Norm(left) = replayed.extra() else { return Err(replayed.corrupt()) };
        let left = Rc::clone(left);
        let (last, rest) = fused_part(activation);
        let affine = Arc::new(Affine::new(&left.stats, scale.primal.data(), shift.primal.data()));
        let y = (last == Last::Silu).then(|| replayed.output());
        // The residual is here, so it need not be made again first.
        let made = residual.filter(|residual| last != Last::Silu && residual.primal.again.is_some()).map(
            |residual| {
                let mut y = Buf::new(maps.size());
                let residual = Some(residual.primal.ready(true));
                norm::apply(maps, x.primal.data(), &affine, residual, last, &mut y);
                y
            },
        );
        let replayed = replayed.with_output(made);
        let stats_t =
            norm_replay::tangent_stats(maps, x.primal.data(), x.tangent.map(Tensor::as_slice), &left.stats);
        let moves = operands.iter().any(|operand| operand.tangent.is_some());
        let residual_t = residual.and_then(|residual| residual.tangent);
        // A pass over x and its tangent, which are held anyway, makes ẏ again, after the residual's tangent if there is one.
        let before = match residual_t {
            Some(residual_t) => residual_t.again.clone().filter(|_| is_cheap_again(maps)).map(Some),
            None => Some(None),
        };
        let again = before.filter(|_| moves && last != Last::Silu).and_then(|before| {
            let values = (Arc::clone(x.primal.data()), x.tangent.map(|t| Arc::clone(t.data())));
            let mask = match (last, &left.bits) {
                (Last::Clip(_), Some(bits)) => TangentMask::Bits(Arc::clone(bits)),
                (Last::Clip(top), None) => TangentMask::Input(Arc::clone(&affine), top),
                _ => TangentMask::Nothing,
            };
            let (x, scale) = (x.cloned(), scale.cloned());
            let at = tangent(&x, &scale, &left.stats, &stats_t);
            let shift_t = shift.tangent.map(Tensor::as_slice);
            Again::of_maps(maps.hw, before, |before| {
                TangentApplied::new(maps, at, values, shift_t, before, mask)
            })
        });
        // Before a SiLU: the tangent of its input.
        let linear_tangent = {
            let (x, scale, shift_t) = (x.cloned(), scale.cloned(), shift.tangent.cloned());
            let (left, affine, stats_t) = (Rc::clone(&left), Arc::clone(&affine), stats_t.clone());
            let residual_t = residual_t.cloned();
            move || {
                let mut out = Buf::new(maps.size());
                norm_replay::tangent_apply(
                    maps,
                    tangent(&x, &scale, &left.stats, &stats_t),
                    shift_t.as_ref().map(Tensor::as_slice),
                    residual_t.as_ref().map(|residual_t| residual_t.ready(true)),
                    mask(last, left.bits(), (x.primal.data(), &affine)),
                    &mut out,
                );
                out
            }
        };
        let residual_value = residual.filter(|_| last == Last::Silu).map(|r| r.primal.detached());
        let yt = match again {
            Some(again) if again.is_light() => Some(Tensor::lazy(again, &x.primal.shape)),
            again => moves.then(|| {
                let mut out = linear_tangent();
                if let (Last::Silu, Some(y)) = (last, &y) {
                    let residual = residual_value.as_ref().map(Tensor::as_slice);
                    Point { maps, x: x.primal.data(), affine: &affine, residual, y }.first(&mut out);
                }
                let mut yt = Tensor::new(out, &x.primal.shape);
                yt.again = again;
                yt
            }),
        };
        // Only the second derivative of a SiLU needs it once more.
        let linear_tangent = (last == Last::Silu && moves).then_some(linear_tangent);
        let (x, scale, to_shift) = (x.cloned(), scale.cloned(), shift.primal.target());
        let to_residual = residual.and_then(|r| r.primal.target());
        let (point, kept, maker) = (Rc::clone(&left), y, replayed.maker());
        let y = replayed.finish_with(yt, move |mut second, first, adjoints| {
            let first = first.map(|a| a.get());
            let first = first.as_ref();
            let mut of_input = None;
            if let (Last::Silu, Some(kept)) = (last, &kept) {
                // From the adjoints of y and ẏ to those of the SiLU's input u and of u̇.
                let residual = residual_value.as_ref().map(Tensor::as_slice);
                let silu = Point { maps, x: x.primal.data(), affine: &affine, residual, y: kept };
                if let Some(b) = &mut second {
                    silu.first(b);
                }
                if let Some(g) = first {
                    let mut a: Buf<E> = (**g).clone();
                    silu.first(&mut a);
                    of_input = Some(a);
                    if let Some(linear_tangent) = linear_tangent {
                        let mut more = linear_tangent();
                        silu.second(&mut more, g);
                        match &mut second {
                            Some(b) => elementwise::add_assign(b, &more),
                            None => second = Some(more),
                        }
                    }
                }
            }
            let first = of_input.as_deref().or(first.map(|a| &a[..]));
            let mask = mask(last, point.bits(), (x.primal.data(), &affine));
            let (to_x, to_scale, stats) = (x.primal.target(), scale.primal.target(), &point.stats);
            let recorded = point.sums.borrow();
            let sums = match (first, recorded.as_ref(), second.as_mut()) {
                (Some(a), Some(first), b) => {
                    let at = tangent(&x, &scale, stats, &stats_t);
                    let mut b = b.map(|b| &mut b[..]);
                    let mut run = |out: Option<(&mut [E], bool)>, made: Option<&mut [E]>| {
                        norm_replay::second_backward(maps, at, a, first, b.as_deref_mut(), mask, out, made)
                    };
                    let mut made = adjoints.buffer_for_first(&to_x, &maker);
                    let mut sums = None;
                    adjoints.write(&to_x, |out, more| {
                        sums = Some(run(Some((out, more)), made.as_deref_mut()));
                    })?;
                    adjoints.give_first(&to_x, made);
                    sums.unwrap_or_else(|| run(None, None))
                }
                // The loss did not depend on y, so there is no second term.
                (_, _, Some(b)) => {
                    let sums = norm::backward_sums(maps, b, x.primal.data(), stats, mask);
                    adjoints.write(&to_x, |out, more| {
                        let (x, gamma) = (x.primal.data(), scale.primal.data());
                        norm::backward_input(maps, b, x, stats, gamma, &sums, out, more);
                    })?;
                    sums
                }
                (_, _, None) => return Ok(()),
            };
            put(adjoints, &to_scale, &sums.gamma)?;
            put(adjoints, &to_shift, &sums.beta)?;
            match second {
                Some(b) => adjoints.add(&to_residual, b),
                None => Ok(()),
            }
        })?;
        let y = match rest {
            Some(activation) => self.unary_dual_op(activation, y.as_ref())?,
            None => y,
        };
        Ok(Some((y, left)))
    }
}

/// The point and direction that the replay's kernels work at.
fn tangent<'a, E: Elem>(
    x: &'a Dual<Tensor<E>>,
    scale: &'a Dual<Tensor<E>>,
    stats: &'a Stats,
    stats_t: &'a TangentStats,
) -> Tangent<'a, E> {
    Tangent {
        x: x.primal.data(),
        xt: x.tangent.as_ref().map(Tensor::as_slice),
        gamma: scale.primal.data(),
        gamma_t: scale.tangent.as_ref().map(Tensor::as_slice),
        stats,
        stats_t,
    }
}
