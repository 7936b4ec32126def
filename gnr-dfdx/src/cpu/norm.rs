//! Batch normalisation fused with residual and ReLU: by batch statistics, and by given ones.
//!
//! With x̂ = (x − m)·s, s = 1/√(var + ε) and per-channel scale γ, shift β: y = relu(γ x̂ + β + r). All reductions are per channel,
//! in a fixed order, merged in f64; a variance is Chan's merge of the variances of the feature maps, so it does not cancel.
//!
//! Replay, with q = mean(x̂ (ẋ − ṁ)), adjoints masked by y > 0 first:
//! ẏ = γ s (ẋ − ṁ) + (γ̇ − γ s q) x̂ + β̇ + ṙ, and with b, a the second-order and the recorded adjoint of y
//! X = γ b + γ̇ a − s q γ a − s γ mean(a x̂)(ẋ − ṁ),
//! x̄ += s (X − mean X − x̂ (mean(X x̂) + γ s (mean(a (ẋ − ṁ)) − q mean(a x̂)))),
//! γ̄ += Σ b x̂ + s (Σ a (ẋ − ṁ) − q Σ a x̂), β̄ += Σ b.

use std::{cell::RefCell, sync::Arc};

use gnr_nn::{BatchStats, Dual, Duals, Error, Fused, Result, composed};
use rayon::prelude::*;

use super::{
    Cpu,
    buffer::Buf,
    kernels::elem::Elem,
    norm_loops as loops,
    session::Extra,
    tensor::{Tensor, image, same_shape},
};

/// Feature maps that one parallel task handles at least.
const MAPS: usize = 32;

/// Per-channel statistics.
pub(super) struct Statistics {
    mean: Vec<f64>,
    /// Biased.
    var: Vec<f64>,
    /// 1/√(var + ε).
    istd: Vec<f64>,
}

/// Per-channel sums over a masked adjoint a: (Σ a, Σ a x̂).
pub(super) type Reductions = Vec<[f64; 2]>;

/// Sizes of `[N, C, H·W]`.
#[derive(Clone, Copy)]
struct Maps {
    channels: usize,
    plane: usize,
    /// N·H·W.
    count: f64,
}

impl Maps {
    fn new<E: Elem>(
        op: &'static str,
        x: &Tensor<E>,
        vectors: &[&Tensor<E>],
        residual: Option<&Tensor<E>>,
    ) -> Result<Self> {
        let [n, channels, h, w] = image(op, x)?;
        for v in vectors {
            if v.shape[..] != [channels] {
                return Err(Error::ShapeMismatch { op, lhs: x.shape.to_vec(), rhs: v.shape.to_vec() });
            }
        }
        if let Some(residual) = residual {
            same_shape(op, x, residual)?;
        }
        if n * channels * h * w == 0 {
            return Err(Error::InvalidShape {
                op,
                expected: "at least one element".into(),
                found: x.shape.to_vec(),
            });
        }
        Ok(Self { channels, plane: h * w, count: (n * h * w) as f64 })
    }
    /// `f(map index, channel)` for every feature map, collected in order.
    fn collect<R: Send>(self, len: usize, f: impl Fn(usize, usize) -> R + Sync) -> Vec<R> {
        let maps = len / self.plane;
        (0..maps).into_par_iter().with_min_len(MAPS).map(|i| f(i, i % self.channels)).collect()
    }
    /// `f(map of y, range of the map, channel)` for every feature map.
    fn each<E: Elem>(self, y: &mut [E], f: impl Fn(&mut [E], std::ops::Range<usize>, usize) + Sync) {
        let plane = self.plane;
        y.par_chunks_mut(plane).enumerate().with_min_len(MAPS).for_each(|(i, y)| {
            f(y, i * plane..(i + 1) * plane, i % self.channels);
        });
    }
    /// Per-map sums added up per channel, in order.
    fn per_channel<const K: usize>(self, maps: &[[f64; K]]) -> Vec<[f64; K]> {
        let mut sums = vec![[0.0; K]; self.channels];
        for (i, map) in maps.iter().enumerate() {
            for (sum, part) in sums[i % self.channels].iter_mut().zip(map) {
                *sum += part;
            }
        }
        sums
    }

    fn statistics<E: Elem>(self, x: &[E], eps: f64) -> Statistics {
        let plane = self.plane as f64;
        let parts = self.collect(x.len(), |i, _| {
            let x = &x[i * self.plane..][..self.plane];
            let mean = loops::sum(x) / plane;
            let m = E::of(mean);
            // Deviations are taken from the rounded mean; the second term corrects for the rounding.
            let shift = mean - m.wide();
            [mean, loops::product(x, m, x, m) - plane * shift * shift]
        });
        let images = parts.len() as f64 / self.channels as f64;
        let mean: Vec<f64> = self.per_channel(&parts).iter().map(|[sum, _]| sum / images).collect();
        let deviations: Vec<[f64; 1]> = parts
            .iter()
            .enumerate()
            .map(|(i, [m, v])| [v + plane * (m - mean[i % self.channels]).powi(2)])
            .collect();
        let var: Vec<f64> =
            self.per_channel(&deviations).iter().map(|[sum]| (sum / self.count).max(0.0)).collect();
        // `max` would hide a NaN.
        let var: Vec<f64> = var.iter().zip(&mean).map(|(v, m)| if m.is_nan() { *m } else { *v }).collect();
        let istd = var.iter().map(|var| (var + eps).sqrt().recip()).collect();
        Statistics { mean, var, istd }
    }
}

/// Per-channel values as a tensor.
fn vector<E: Elem>(values: impl ExactSizeIterator<Item = f64>) -> Buf<E> {
    Buf::from(values.map(E::of).collect::<Vec<_>>())
}

/// ṁ and q of a tangent.
struct TangentStatistics {
    mean: Vec<f64>,
    q: Vec<f64>,
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
        let maps = Maps::new("batch_norm", x, &[scale, shift], fused.residual)?;
        let stats = Arc::new(maps.statistics(&x.data, eps));
        let report = self.report(&stats);
        let y = self.normalise("batch_norm", maps, x, scale, shift, stats, fused, true)?;
        Ok((y, report))
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
        let maps = Maps::new("batch_norm_eval", x, &vectors, fused.residual)?;
        let stats = Arc::new(Self::given(given, eps));
        self.normalise("batch_norm_eval", maps, x, scale, shift, stats, fused, false)
    }

    fn given(given: &BatchStats<Tensor<E>>, eps: f64) -> Statistics {
        let host = |t: &Tensor<E>| t.data.iter().map(|v| v.wide()).collect::<Vec<_>>();
        let (mean, var) = (host(&given.mean), host(&given.var));
        let istd = var.iter().map(|var| (var + eps).sqrt().recip()).collect();
        Statistics { mean, var, istd }
    }

    fn report(&self, stats: &Statistics) -> BatchStats<Tensor<E>> {
        let tensor = |v: &[f64]| Tensor::new(vector(v.iter().copied()), &[v.len()]);
        BatchStats { mean: tensor(&stats.mean), var: tensor(&stats.var) }
    }

    /// y = relu(γ x̂ + β + r); derivatives flow through the statistics when `batch`.
    #[allow(clippy::too_many_arguments)]
    fn normalise(
        &self,
        op: &'static str,
        maps: Maps,
        x: &Tensor<E>,
        scale: &Tensor<E>,
        shift: &Tensor<E>,
        stats: Arc<Statistics>,
        fused: Fused<'_, Tensor<E>>,
        batch: bool,
    ) -> Result<Tensor<E>> {
        let mut y = Buf::new(x.data.len());
        {
            let coefficients: Vec<[E; 2]> = (0..maps.channels)
                .map(|c| {
                    let k = scale.data[c].wide() * stats.istd[c];
                    [E::of(k), E::of(shift.data[c].wide() - k * stats.mean[c])]
                })
                .collect();
            let (x, residual) = (&x.data[..], fused.residual.map(Tensor::as_slice));
            maps.each(&mut y, |y, at, c| {
                let residual = residual.map(|r| &r[at.clone()]);
                loops::apply(y, &x[at], coefficients[c], residual, fused.relu);
            });
        }
        let operands: Vec<_> = [x, scale, shift].into_iter().chain(fused.residual).collect();
        let (x_, scale_, to_shift) = (x.clone(), scale.clone(), shift.target());
        let (to_residual, relu) = (fused.residual.and_then(Tensor::target), fused.relu);
        let kept = Arc::clone(&stats);
        let extra = move || Extra::Norm(kept, RefCell::new(None));
        self.nonlinear_op(op, y, &x.shape, &operands, extra, move |y, mut g, saved, adjoints| {
            let (x, y) = (&x_.data[..], &y[..]);
            let sums: Vec<[f64; 2]> = g
                .par_chunks_mut(maps.plane)
                .enumerate()
                .with_min_len(MAPS)
                .map(|(i, g)| {
                    let at = i * maps.plane..(i + 1) * maps.plane;
                    let m = E::of(stats.mean[i % maps.channels]);
                    loops::masked_sums(g, &x[at.clone()], m, relu.then(|| &y[at]))
                })
                .collect();
            let sums: Reductions = normalised_sums(maps.per_channel(&sums), &stats, E::of);
            adjoints.write(&scale_.target(), |out, more| put(out, more, sums.iter().map(|s| s[1])))?;
            adjoints.write(&to_shift, |out, more| put(out, more, sums.iter().map(|s| s[0])))?;
            let coefficients: Vec<[E; 3]> = (0..maps.channels)
                .map(|c| {
                    let (s, m) = (stats.istd[c], stats.mean[c]);
                    let k = scale_.data[c].wide() * s;
                    let (mean_g, mean_gx) = (sums[c][0] / maps.count, sums[c][1] / maps.count);
                    let (of_x, one) = if batch { (-k * s * mean_gx, -k * mean_g) } else { (0.0, 0.0) };
                    [k, of_x, one - of_x * m].map(E::of)
                })
                .collect();
            adjoints.write(&x_.target(), |out, more| {
                maps.each(out, |out, at, c| {
                    loops::combine2(out, more, &g[at.clone()], &x[at], coefficients[c]);
                });
            })?;
            match saved {
                Some(saved) => {
                    adjoints.add_copy(&to_residual, &g)?;
                    if let Extra::Norm(_, reductions) = &saved.extra {
                        *reductions.borrow_mut() = Some(sums);
                    }
                    Ok(Some(g))
                }
                None => {
                    adjoints.add(&to_residual, g)?;
                    Ok(None)
                }
            }
        })
    }

    pub(super) fn batch_norm_dual_op(
        &self,
        x: Dual<&Tensor<E>>,
        scale: Dual<&Tensor<E>>,
        shift: Dual<&Tensor<E>>,
        eps: f64,
        residual: Option<Dual<&Tensor<E>>>,
        relu: bool,
    ) -> Result<(Dual<Tensor<E>>, BatchStats<Dual<Tensor<E>>>)> {
        let maps =
            Maps::new("batch_norm", x.primal, &[scale.primal, shift.primal], residual.map(|r| r.primal))?;
        match self.normalise_dual("batch_norm", maps, x, scale, shift, residual, relu, true)? {
            Some((y, stats)) => {
                let BatchStats { mean, var } = self.report(&stats);
                Ok((y, BatchStats { mean: Dual::constant(mean), var: Dual::constant(var) }))
            }
            None => {
                let residual = residual.map(Dual::cloned);
                let fused = Fused { residual: residual.as_ref(), relu };
                let duals = Duals(self.clone());
                composed::batch_norm(&duals, &x.cloned(), &scale.cloned(), &shift.cloned(), eps, fused)
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
        let maps = Maps::new("batch_norm_eval", x.primal, &vectors, residual.map(|r| r.primal))?;
        match self.normalise_dual("batch_norm_eval", maps, x, scale, shift, residual, relu, false)? {
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
        op: &'static str,
        maps: Maps,
        x: Dual<&Tensor<E>>,
        scale: Dual<&Tensor<E>>,
        shift: Dual<&Tensor<E>>,
        residual: Option<Dual<&Tensor<E>>>,
        relu: bool,
        batch: bool,
    ) -> Result<Option<(Dual<Tensor<E>>, Arc<Statistics>)>> {
        let operands: Vec<_> = [x, scale, shift].into_iter().chain(residual).collect();
        let Some(replayed) = self.replayed(op, &x.primal.shape, &operands)? else { return Ok(None) };
        let Extra::Norm(stats, _) = replayed.extra() else { return Err(replayed.corrupt()) };
        let stats = Arc::clone(stats);
        let channels = maps.channels;
        let y = Arc::clone(replayed.output());
        // Missing tangents are zeros.
        let vector_tangent = |v: Dual<&Tensor<E>>| {
            let zeros = || vec![0.0; channels];
            v.tangent.map_or_else(zeros, |t| t.data.iter().map(|v| v.wide()).collect::<Vec<_>>())
        };
        let (scale_t, shift_t) = (vector_tangent(scale), vector_tangent(shift));
        let gamma: Vec<f64> = scale.primal.data.iter().map(|v| v.wide()).collect();
        let residual_t = residual.and_then(|r| r.tangent);
        let x_t = x.tangent.cloned();
        let tangent_stats = match &x_t {
            Some(x_t) if batch => {
                let (x, x_t) = (&x.primal.data[..], &x_t.data[..]);
                let parts = maps.collect(x.len(), |i, c| {
                    let at = i * maps.plane..(i + 1) * maps.plane;
                    let t = &x_t[at.clone()];
                    [loops::sum(t), loops::product(&x[at], E::of(stats.mean[c]), t, E::zero())]
                });
                let sums = maps.per_channel(&parts);
                // Σ (x − m̃) ẋ with m̃ the rounded mean: correct to x̂ with the exact one.
                let q = |c: usize| {
                    let off = stats.mean[c] - E::of(stats.mean[c]).wide();
                    (sums[c][1] - off * sums[c][0]) / maps.count * stats.istd[c]
                };
                TangentStatistics {
                    mean: sums.iter().map(|s| s[0] / maps.count).collect(),
                    q: (0..channels).map(q).collect(),
                }
            }
            _ => TangentStatistics { mean: vec![0.0; channels], q: vec![0.0; channels] },
        };
        let any = x_t.is_some() || scale.tangent.is_some() || shift.tangent.is_some() || residual_t.is_some();
        let tangent = any.then(|| {
            let coefficients: Vec<[E; 3]> = (0..channels)
                .map(|c| {
                    let (s, m) = (stats.istd[c], stats.mean[c]);
                    let k = gamma[c] * s;
                    let of_x = (scale_t[c] - k * tangent_stats.q[c]) * s;
                    [k, of_x, shift_t[c] - k * tangent_stats.mean[c] - of_x * m].map(E::of)
                })
                .collect();
            let mut out = Buf::new(y.len());
            let (x, x_t) = (&x.primal.data[..], x_t.as_ref().map(Tensor::as_slice));
            let (y, residual_t) = (&y[..], residual_t.map(Tensor::as_slice));
            maps.each(&mut out, |out, at, c| {
                let x_t = x_t.map(|t| &t[at.clone()]);
                let r = residual_t.map(|r| &r[at.clone()]);
                let mask = relu.then(|| &y[at.clone()]);
                loops::apply_tangent(out, mask, &x[at], x_t, coefficients[c], r);
            });
            out
        });
        let (x, to_scale, to_shift) = (x.primal.clone(), scale.primal.target(), shift.primal.target());
        let to_residual = residual.and_then(|r| r.primal.target());
        let (result_stats, y_) = (Arc::clone(&stats), y);
        let saved_reductions = match replayed.extra() {
            Extra::Norm(_, reductions) => reductions.borrow().clone(),
            _ => None,
        };
        let y = replayed.finish(tangent, move |mut second, first, adjoints| {
            let (xd, yd) = (&x.data[..], &y_[..]);
            let t = x_t.as_ref().map(Tensor::as_slice);
            let a = first.map(|a| &a[..]);
            let second_sums = match second.as_mut() {
                None => vec![[0.0; 2]; channels],
                Some(b) => {
                    let parts: Vec<[f64; 2]> = b
                        .par_chunks_mut(maps.plane)
                        .enumerate()
                        .with_min_len(MAPS)
                        .map(|(i, b)| {
                            let at = i * maps.plane..(i + 1) * maps.plane;
                            let m = E::of(stats.mean[i % channels]);
                            loops::masked_sums(b, &xd[at.clone()], m, relu.then(|| &yd[at]))
                        })
                        .collect();
                    normalised_sums(maps.per_channel(&parts), &stats, E::of)
                }
            };
            let first_sums = match (a, saved_reductions) {
                (Some(_), Some(sums)) => sums,
                _ => vec![[0.0; 2]; channels],
            };
            // Σ a (ẋ − ṁ)
            let cross: Vec<f64> = match (a, t) {
                (Some(a), Some(t)) => {
                    let parts = maps.collect(a.len(), |i, _| {
                        let at = i * maps.plane..(i + 1) * maps.plane;
                        [loops::product(&a[at.clone()], E::zero(), &t[at], E::zero())]
                    });
                    let sums = maps.per_channel(&parts);
                    (0..channels).map(|c| sums[c][0] - tangent_stats.mean[c] * first_sums[c][0]).collect()
                }
                _ => vec![0.0; channels],
            };
            let q = &tangent_stats.q;
            adjoints.write(&to_scale, |out, more| {
                put(
                    out,
                    more,
                    (0..channels)
                        .map(|c| second_sums[c][1] + stats.istd[c] * (cross[c] - q[c] * first_sums[c][1])),
                );
            })?;
            adjoints.write(&to_shift, |out, more| put(out, more, second_sums.iter().map(|s| s[0])))?;
            let coefficients: Vec<[E; 5]> = (0..channels)
                .map(|c| {
                    let (s, m, m_t) = (stats.istd[c], stats.mean[c], tangent_stats.mean[c]);
                    let (g, g_t, q) = (gamma[c], scale_t[c], q[c]);
                    if !batch {
                        return [s * g, s * g_t, 0.0, 0.0, 0.0].map(E::of);
                    }
                    let of = |sum: f64| sum / maps.count;
                    let [mean_a, mean_ax] = first_sums[c].map(of);
                    let [mean_b, mean_bx] = second_sums[c].map(of);
                    // mean X, and mean(X x̂) + γ s (mean(a (ẋ − ṁ)) − q mean(a x̂))
                    let mean_x = g * mean_b + (g_t - s * q * g) * mean_a;
                    let slope = g * mean_bx
                        + (g_t - 2.0 * s * q * g) * mean_ax
                        + g * s * (of(cross[c]) - q * mean_ax);
                    let of_b = s * g;
                    let of_a = s * (g_t - s * q * g);
                    let of_x = -s * s * slope;
                    let of_t = -s * s * g * mean_ax;
                    [of_b, of_a, of_x, of_t, -s * mean_x - of_x * m - of_t * m_t].map(E::of)
                })
                .collect();
            let b = second.as_deref();
            adjoints.write(&x.target(), |out, more| {
                maps.each(out, |out, at, c| {
                    loops::combine4(
                        out,
                        more,
                        b.map(|b| &b[at.clone()]),
                        a.map(|a| &a[at.clone()]),
                        &xd[at.clone()],
                        t.map(|t| &t[at.clone()]),
                        coefficients[c],
                    );
                });
            })?;
            match second {
                Some(b) => adjoints.add(&to_residual, b),
                None => Ok(()),
            }
        })?;
        Ok(Some((y, result_stats)))
    }
}

/// Writes or adds one value a channel.
fn put<E: Elem>(out: &mut [E], accumulate: bool, values: impl Iterator<Item = f64>) {
    for (out, value) in out.iter_mut().zip(values) {
        *out = E::of(value + if accumulate { out.wide() } else { 0.0 });
    }
}

/// (Σ g, Σ g (x − m̃)) with m̃ the rounded mean → (Σ g, Σ g x̂).
fn normalised_sums<E: Elem>(
    mut sums: Vec<[f64; 2]>,
    stats: &Statistics,
    round: impl Fn(f64) -> E,
) -> Reductions {
    for (c, [total, product]) in sums.iter_mut().enumerate() {
        let off = stats.mean[c] - round(stats.mean[c]).wide();
        *product = (*product - off * *total) * stats.istd[c];
    }
    sums
}
