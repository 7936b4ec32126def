//! Batch normalisation fused with residual and ReLU, by batch statistics or given ones, and its replay.
//!
//! Both forms are one operation: [`Source`] says whether derivatives flow through the statistics. The arithmetic and the formulas
//! are in [`kernels::norm`](super::kernels::norm) and [`kernels::norm_replay`](super::kernels::norm_replay).

use std::{cell::RefCell, rc::Rc, sync::Arc};

use gnr_nn::{BatchStats, Dual, Duals, Error, Fused, Result, composed};

use super::{
    Cpu,
    buffer::Buf,
    kernels::{
        elem::Elem,
        norm::{self, Maps, Source, Stats, Sums},
        norm_replay::{self, Tangent},
    },
    session::Extra,
    tensor::{Adjoints, DeviceError, Target, Tensor, image, same_shape},
};

/// What a normalisation leaves for its replay.
pub(super) struct Normalised {
    stats: Stats,
    /// Sums over the recorded adjoint, once the reverse pass has made them.
    sums: RefCell<Option<Sums>>,
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
    if x.data.is_empty() {
        let expected = "at least one element".into();
        return Err(Error::InvalidShape { op, expected, found: x.shape.to_vec() });
    }
    Ok(Maps { n, c, hw: h * w })
}

/// Adds one value a channel.
fn put<E: Elem>(
    adjoints: &mut Adjoints<'_, E>,
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
    let host = |t: &Tensor<E>| t.data.iter().map(|v| v.wide()).collect();
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
        let stats = Stats::of_batch(maps, &x.data, eps);
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
        let mut y = Buf::new(x.data.len());
        let residual = fused.residual.map(Tensor::as_slice);
        norm::apply(maps, &x.data, &stats, &scale.data, &shift.data, residual, fused.relu, &mut y);
        let op = name(stats.source);
        let operands: Vec<_> = [x, scale, shift].into_iter().chain(fused.residual).collect();
        let left = Rc::new(Normalised { stats, sums: RefCell::new(None) });
        let (x_, scale_, to_shift) = (x.clone(), scale.clone(), shift.target());
        let (to_residual, relu) = (fused.residual.and_then(Tensor::target), fused.relu);
        let kept = Rc::clone(&left);
        self.nonlinear_op(
            op,
            y,
            &x.shape,
            &operands,
            || Extra::Norm(kept),
            move |y, mut g, saved, adjoints| {
                let stats = &left.stats;
                let sums = norm::backward_sums(maps, &mut g, &x_.data, stats, relu.then_some(&y[..]));
                put(adjoints, &scale_.target(), &sums.gamma)?;
                put(adjoints, &to_shift, &sums.beta)?;
                adjoints.write(&x_.target(), |out, more| {
                    norm::backward_input(maps, &g, &x_.data, stats, &scale_.data, &sums, out, more);
                })?;
                if saved.is_none() {
                    adjoints.add(&to_residual, g)?;
                    return Ok(None);
                }
                adjoints.add_copy(&to_residual, &g)?;
                *left.sums.borrow_mut() = Some(sums);
                Ok(Some(g))
            },
        )
    }

    #[allow(clippy::type_complexity)]
    pub(super) fn batch_norm_dual_op(
        &self,
        x: Dual<&Tensor<E>>,
        scale: Dual<&Tensor<E>>,
        shift: Dual<&Tensor<E>>,
        eps: f64,
        residual: Option<Dual<&Tensor<E>>>,
        relu: bool,
    ) -> Result<(Dual<Tensor<E>>, BatchStats<Dual<Tensor<E>>>)> {
        let vectors = [scale.primal, shift.primal];
        let maps = maps("batch_norm", x.primal, &vectors, residual.map(|r| r.primal))?;
        match self.normalise_dual(Source::Batch, maps, x, scale, shift, residual, relu)? {
            Some((y, left)) => {
                let BatchStats { mean, var } = report(&left.stats);
                Ok((y, BatchStats { mean: Dual::constant(mean), var: Dual::constant(var) }))
            }
            None => {
                let residual = residual.map(Dual::cloned);
                let fused = Fused { residual: residual.as_ref(), relu };
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
        relu: bool,
    ) -> Result<Dual<Tensor<E>>> {
        let vectors = [scale.primal, shift.primal, &given.mean, &given.var];
        let maps = maps("batch_norm_eval", x.primal, &vectors, residual.map(|r| r.primal))?;
        match self.normalise_dual(Source::Fixed, maps, x, scale, shift, residual, relu)? {
            Some((y, _)) => Ok(y),
            None => {
                let residual = residual.map(Dual::cloned);
                let fused = Fused { residual: residual.as_ref(), relu };
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
        relu: bool,
    ) -> Result<Option<(Dual<Tensor<E>>, Rc<Normalised>)>> {
        let operands: Vec<_> = [x, scale, shift].into_iter().chain(residual).collect();
        let Some(replayed) = self.replayed(name(source), &x.primal.shape, &operands)? else {
            return Ok(None);
        };
        let Extra::Norm(left) = replayed.extra() else { return Err(replayed.corrupt()) };
        let (left, y) = (Rc::clone(left), Arc::clone(replayed.output()));
        let mask = relu.then_some(&y[..]);
        let stats_t =
            norm_replay::tangent_stats(maps, &x.primal.data, x.tangent.map(Tensor::as_slice), &left.stats);
        let moves = operands.iter().any(|operand| operand.tangent.is_some());
        let tangent = moves.then(|| {
            let at = Tangent {
                x: &x.primal.data[..],
                xt: x.tangent.map(|t| &t.data[..]),
                gamma: &scale.primal.data[..],
                gamma_t: scale.tangent.map(|t| &t.data[..]),
                stats: &left.stats,
                stats_t: &stats_t,
            };
            let residual_t = residual.and_then(|r| r.tangent);
            let mut out = Buf::new(y.len());
            norm_replay::tangent_apply(
                maps,
                at,
                shift.tangent.map(Tensor::as_slice),
                residual_t.map(Tensor::as_slice),
                mask,
                &mut out,
            );
            out
        });
        let (x, scale, to_shift) = (x.cloned(), scale.cloned(), shift.primal.target());
        let to_residual = residual.and_then(|r| r.primal.target());
        let (point, kept) = (Rc::clone(&left), Arc::clone(&y));
        let y = replayed.finish(tangent, move |mut second, first, adjoints| {
            let mask = relu.then_some(&kept[..]);
            let (to_x, to_scale, stats) = (x.primal.target(), scale.primal.target(), &point.stats);
            let recorded = point.sums.borrow();
            let sums = match (first, recorded.as_ref(), second.as_mut()) {
                (Some(a), Some(first), b) => {
                    let at = Tangent {
                        x: &x.primal.data[..],
                        xt: x.tangent.as_ref().map(|t| &t.data[..]),
                        gamma: &scale.primal.data[..],
                        gamma_t: scale.tangent.as_ref().map(|t| &t.data[..]),
                        stats,
                        stats_t: &stats_t,
                    };
                    let mut b = b.map(|b| &mut b[..]);
                    let mut sums = None;
                    adjoints.write(&to_x, |out, more| {
                        let b = b.as_deref_mut();
                        sums =
                            Some(norm_replay::second_backward(maps, at, a, first, b, mask, Some(out), more));
                    })?;
                    sums.unwrap_or_else(|| {
                        norm_replay::second_backward(maps, at, a, first, b, mask, None, false)
                    })
                }
                // The loss did not depend on y, so there is no second term.
                (_, _, Some(b)) => {
                    let sums = norm::backward_sums(maps, b, &x.primal.data, stats, mask);
                    adjoints.write(&to_x, |out, more| {
                        let (x, gamma) = (&x.primal.data, &scale.primal.data);
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
        Ok(Some((y, left)))
    }
}
