//! Pooling over square windows, and over all of space.

use std::sync::Arc;

use gnr_nn::{Dual, Duals, Error, PoolSpec, Result, composed};
use rayon::prelude::*;

use super::{
    Cpu,
    buffer::Buf,
    kernels::elem::Elem,
    session::Extra,
    tensor::{Tensor, image},
};

/// Feature maps that one parallel task handles at least.
const MAPS: usize = 32;

/// A window sweep over the feature maps of an image tensor.
#[derive(Clone, Copy)]
struct Sweep {
    maps: usize,
    input: [usize; 2],
    output: [usize; 2],
    spec: PoolSpec,
}

impl Sweep {
    fn new<E: Elem>(op: &'static str, x: &Tensor<E>, spec: PoolSpec) -> Result<(Self, [usize; 4])> {
        let [n, c, h, w] = image(op, x)?;
        let PoolSpec { window, stride, padding } = spec;
        if padding * 2 > window {
            return Err(Error::Invalid(format!(
                "{op}: padding {padding} is more than half of the window {window}"
            )));
        }
        let out = |length| composed::swept(op, length, window, stride, padding);
        let (oh, ow) = (out(h)?, out(w)?);
        if n * c * h * w == 0 {
            return Err(Error::InvalidShape {
                op,
                expected: "at least one element".into(),
                found: x.shape.to_vec(),
            });
        }
        Ok((Self { maps: n * c, input: [h, w], output: [oh, ow], spec }, [n, c, oh, ow]))
    }
    fn input_len(self) -> usize {
        self.input[0] * self.input[1]
    }
    fn output_len(self) -> usize {
        self.output[0] * self.output[1]
    }
    /// Positions of the window of output `i`, row-major, padding left out.
    fn window(self, i: usize) -> impl Iterator<Item = usize> {
        let PoolSpec { window, stride, padding } = self.spec;
        let [h, w] = self.input;
        let (y, x) = (i / self.output[1] * stride, i % self.output[1] * stride);
        let rows = y.max(padding) - padding..(y + window).saturating_sub(padding).min(h);
        let columns = x.max(padding) - padding..(x + window).saturating_sub(padding).min(w);
        rows.flat_map(move |row| columns.clone().map(move |column| row * w + column))
    }
    /// Positions of the maxima; the first one among equals, and NaN before everything else.
    fn argmax<E: Elem>(self, x: &[E]) -> Buf<u32> {
        let mut best = Buf::<u32>::new(self.maps * self.output_len());
        let input = x.par_chunks(self.input_len());
        best.par_chunks_mut(self.output_len()).zip(input).with_min_len(MAPS).for_each(|(best, x)| {
            for (i, best) in best.iter_mut().enumerate() {
                let larger = |top: usize, at: usize| {
                    if x[at] > x[top] || (x[at].is_nan() && !x[top].is_nan()) { at } else { top }
                };
                *best = self.window(i).reduce(larger).unwrap_or(0) as u32;
            }
        });
        best
    }
    /// y = x at the given positions.
    fn pick<E: Elem>(self, x: &[E], at: &[u32]) -> Buf<E> {
        let mut y = Buf::new(self.maps * self.output_len());
        let parts = x.par_chunks(self.input_len()).zip(at.par_chunks(self.output_len()));
        y.par_chunks_mut(self.output_len()).zip(parts).with_min_len(MAPS).for_each(|(y, (x, at))| {
            y.iter_mut().zip(at).for_each(|(y, at)| *y = x[*at as usize]);
        });
        y
    }
    /// The adjoint of [`pick`](Self::pick).
    fn unpick<E: Elem>(self, g: &[E], at: &[u32], out: &mut [E], accumulate: bool) {
        let parts = g.par_chunks(self.output_len()).zip(at.par_chunks(self.output_len()));
        out.par_chunks_mut(self.input_len()).zip(parts).with_min_len(MAPS).for_each(|(out, (g, at))| {
            if !accumulate {
                out.fill(E::zero());
            }
            g.iter().zip(at).for_each(|(g, at)| out[*at as usize] += *g);
        });
    }
}

impl<E: Elem> Cpu<E> {
    pub(super) fn max_pool2d_op(&self, x: &Tensor<E>, spec: PoolSpec) -> Result<Tensor<E>> {
        let (sweep, shape) = Sweep::new("max_pool2d", x, spec)?;
        let at = Arc::new(sweep.argmax(&x.data));
        let y = sweep.pick(&x.data, &at);
        let (to_x, kept) = (x.target(), Arc::clone(&at));
        let extra = move || Extra::Argmax(kept);
        self.nonlinear_op("max_pool2d", y, &shape, &[x], extra, move |_, g, _, adjoints| {
            adjoints.write(&to_x, |out, more| sweep.unpick(&g, &at, out, more))?;
            // Piecewise linear: no second term, so the adjoint need not be kept.
            Ok(None)
        })
    }

    pub(super) fn max_pool2d_dual_op(&self, x: Dual<&Tensor<E>>, spec: PoolSpec) -> Result<Dual<Tensor<E>>> {
        let (sweep, shape) = Sweep::new("max_pool2d", x.primal, spec)?;
        let Some(replayed) = self.replayed("max_pool2d", &shape, &[x])? else {
            return composed::max_pool2d(&Duals(self.clone()), &x.cloned(), spec);
        };
        let Extra::Argmax(at) = replayed.extra() else { return Err(replayed.corrupt()) };
        let at = Arc::clone(at);
        let tangent = x.tangent.map(|t| sweep.pick(&t.data, &at));
        let to_x = x.primal.target();
        replayed.finish(tangent, move |second, _, adjoints| match second {
            Some(g) => adjoints.write(&to_x, |out, more| sweep.unpick(&g, &at, out, more)),
            None => Ok(()),
        })
    }

    pub(super) fn avg_pool2d_op(&self, x: &Tensor<E>, spec: PoolSpec) -> Result<Tensor<E>> {
        let (sweep, shape) = Sweep::new("avg_pool2d", x, spec)?;
        let factor = E::of(((spec.window * spec.window) as f64).recip());
        let mut y = Buf::new(shape.iter().product());
        {
            let x = x.data.par_chunks(sweep.input_len());
            y.par_chunks_mut(sweep.output_len()).zip(x).with_min_len(MAPS).for_each(|(y, x)| {
                for (i, y) in y.iter_mut().enumerate() {
                    *y = factor * sweep.window(i).map(|at| x[at]).sum::<E>();
                }
            });
        }
        let to_x = x.target();
        self.linear_op("avg_pool2d", y, &shape, &[x], move |g, adjoints| {
            adjoints.write(&to_x, |out, more| {
                let g = g.par_chunks(sweep.output_len());
                out.par_chunks_mut(sweep.input_len()).zip(g).with_min_len(MAPS).for_each(|(out, g)| {
                    if !more {
                        out.fill(E::zero());
                    }
                    for (i, g) in g.iter().enumerate() {
                        sweep.window(i).for_each(|at| out[at] += factor * *g);
                    }
                });
            })
        })
    }

    pub(super) fn global_avg_pool_op(&self, x: &Tensor<E>) -> Result<Tensor<E>> {
        let [n, c, h, w] = image("global_avg_pool", x)?;
        let plane = h * w;
        if plane == 0 {
            return Err(Error::InvalidShape {
                op: "global_avg_pool",
                expected: "at least one pixel".into(),
                found: x.shape.to_vec(),
            });
        }
        let mut y = Buf::new(n * c);
        for (y, x) in y.iter_mut().zip(x.data.chunks(plane)) {
            *y = E::of(super::kernels::reduce::sum_run(x) / plane as f64);
        }
        let (to_x, factor) = (x.target(), E::of((plane as f64).recip()));
        self.linear_op("global_avg_pool", y, &[n, c], &[x], move |g, adjoints| {
            adjoints.write(&to_x, |out, more| {
                for (out, g) in out.chunks_mut(plane).zip(g.iter()) {
                    let g = factor * *g;
                    if more {
                        out.iter_mut().for_each(|out| *out += g);
                    } else {
                        out.fill(g);
                    }
                }
            })
        })
    }
}
