//! Pooling over [N, C, H, W]: maximum (with the positions of the maxima), average, global average, and their adjoints.

use super::elem::Elem;
use super::norm::Maps;
use super::reduce::sum_run;
use super::simd::{CHUNK, simd};
use crate::Accum;
use crate::parallel::{chunk, each, each_chunk, each_pair};
use std::ops::Range;
use thiserror::Error;

/// Why a pooling window does not fit.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "pooling: window {kernel}, stride {stride}, padding {padding} does not fit an input of {height}x{width} (the window must fit the padded input, the padding be at most half the window, the stride at least 1)"
)]
pub struct WindowError {
    /// Side of the window.
    pub kernel: usize,
    /// Stride in both directions.
    pub stride: usize,
    /// Padding on every side.
    pub padding: usize,
    /// Height of the input.
    pub height: usize,
    /// Width of the input.
    pub width: usize,
}

/// The validated shape of a pooling over feature maps of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    h: usize,
    w: usize,
    oh: usize,
    ow: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
}

impl Window {
    /// Square windows of side `kernel` over maps of `height` x `width`.
    ///
    /// # Errors
    /// [`WindowError`] when the window does not fit.
    pub fn new(
        height: usize,
        width: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> Result<Self, WindowError> {
        let error = WindowError { kernel, stride, padding, height, width };
        let (h, w) = (height + 2 * padding, width + 2 * padding);
        if kernel == 0
            || stride == 0
            || 2 * padding > kernel
            || kernel > h
            || kernel > w
            || height * width == 0
        {
            return Err(error);
        }
        let (oh, ow) = ((h - kernel) / stride + 1, (w - kernel) / stride + 1);
        Ok(Window { h: height, w: width, oh, ow, kernel, stride, padding })
    }

    /// Shape of an output map, [OH, OW].
    pub fn output(&self) -> [usize; 2] {
        [self.oh, self.ow]
    }

    fn check(&self, input: usize, output: usize) {
        let maps = input / (self.h * self.w);
        assert!(input == maps * self.h * self.w && output == maps * self.oh * self.ow, "pooling of {self:?}");
    }

    /// Number of maps that one parallel task computes.
    fn batch(&self) -> usize {
        (CHUNK / 4).div_ceil(self.h * self.w)
    }

    /// The part of the window at `out` that lies inside an axis of length `size`.
    fn span(&self, out: usize, size: usize) -> Range<usize> {
        let start = out * self.stride;
        start.saturating_sub(self.padding)..(start + self.kernel).saturating_sub(self.padding).min(size)
    }
}

/// Computes the maximum of each window; `argmax` receives its position inside the map. As in PyTorch, the first of
/// equal maxima (row by row) wins, and a NaN is a maximum.
pub fn max<E: Elem>(window: Window, x: &[E], y: &mut [E], argmax: &mut [u32]) {
    window.check(x.len(), y.len());
    assert_eq!(y.len(), argmax.len());
    let Window { h, w, oh, ow, kernel, stride, padding } = window;
    let squares = (kernel, stride, padding) == (2, 2, 0);
    each_pair((y, argmax), [oh * ow; 2], window.batch(), |i, y, at| {
        let x = chunk(x, h * w, i);
        if squares {
            return max_of_squares(w, x, ow, y, at);
        }
        for oy in 0..oh {
            let rows = window.span(oy, h);
            for ox in 0..ow {
                let columns = window.span(ox, w);
                let mut best = rows.start * w + columns.start;
                for iy in rows.clone() {
                    for i in iy * w + columns.start..iy * w + columns.end {
                        if x[i] > x[best] || (x[i].is_nan() && !x[best].is_nan()) {
                            best = i;
                        }
                    }
                }
                y[oy * ow + ox] = x[best];
                at[oy * ow + ox] = best as u32;
            }
        }
    });
}

simd! {
    /// Does the work of [`max`] on one map of width `w`, in windows of 2 x 2 side by side: `ow` in a row of outputs. No
    /// branches, so the compiler can vectorise.
    fn max_of_squares<E: Elem>(w: usize, x: &[E], ow: usize, y: &mut [E], argmax: &mut [u32]) {
        let rows = x.chunks_exact(2 * w).zip(y.chunks_exact_mut(ow).zip(argmax.chunks_exact_mut(ow)));
        for (r, (x, (y, argmax))) in rows.enumerate() {
            let (upper, lower) = x.split_at(w);
            let windows = upper.chunks_exact(2).zip(lower.chunks_exact(2));
            for (c, ((upper, lower), (y, argmax))) in windows.zip(y.iter_mut().zip(argmax)).enumerate() {
                let first = (2 * r * w + 2 * c) as u32;
                let mut best = (upper[0], first);
                for next in [(upper[1], first + 1), (lower[0], first + w as u32), (lower[1], first + w as u32 + 1)] {
                    let larger = (next.0 > best.0) | (next.0.is_nan() & !best.0.is_nan());
                    best = if larger { next } else { best };
                }
                (*y, *argmax) = best;
            }
        }
    }
}

/// Adds each `gy` at the position of its maximum: the adjoint of [`max`].
pub fn max_backward<E: Elem>(window: Window, gy: &[E], argmax: &[u32], gx: &mut [E], accum: Accum) {
    window.check(gx.len(), gy.len());
    assert_eq!(gy.len(), argmax.len());
    let l = window.oh * window.ow;
    each_chunk(gx, window.h * window.w, window.batch(), |i, gx| {
        if !accum.adds() {
            gx.fill(E::zero());
        }
        let (gy, at) = (chunk(gy, l, i), chunk(argmax, l, i));
        gy.iter().zip(at).for_each(|(g, &i)| gx[i as usize] += *g);
    });
}

/// Copies `xt` at the positions of the maxima: the tangent of [`max`] at a recorded point.
pub fn max_tangent<E: Elem>(window: Window, xt: &[E], argmax: &[u32], yt: &mut [E]) {
    window.check(xt.len(), yt.len());
    assert_eq!(yt.len(), argmax.len());
    let l = window.oh * window.ow;
    each_chunk(yt, l, window.batch(), |i, yt| {
        let (xt, at) = (chunk(xt, window.h * window.w, i), chunk(argmax, l, i));
        yt.iter_mut().zip(at).for_each(|(y, &i)| *y = xt[i as usize]);
    });
}

/// Computes the mean of each window, with padding counted as zeros (PyTorch's default). The operation is linear, so it
/// computes its own tangent.
pub fn average<E: Elem>(window: Window, x: &[E], y: &mut [E]) {
    window.check(x.len(), y.len());
    let Window { h, w, oh, ow, kernel, .. } = window;
    let scale = E::of(1.0 / (kernel * kernel) as f64);
    each_chunk(y, oh * ow, window.batch(), |i, y| {
        let x = chunk(x, h * w, i);
        for oy in 0..oh {
            for ox in 0..ow {
                let columns = window.span(ox, w);
                let rows = window.span(oy, h);
                let sum: E = rows.map(|iy| x[iy * w..][columns.clone()].iter().copied().sum::<E>()).sum();
                y[oy * ow + ox] = scale * sum;
            }
        }
    });
}

/// Computes the adjoint of [`average`].
pub fn average_backward<E: Elem>(window: Window, gy: &[E], gx: &mut [E], accum: Accum) {
    window.check(gx.len(), gy.len());
    let Window { h, w, oh, ow, kernel, .. } = window;
    let scale = E::of(1.0 / (kernel * kernel) as f64);
    each_chunk(gx, h * w, window.batch(), |i, gx| {
        let gy = chunk(gy, oh * ow, i);
        if !accum.adds() {
            gx.fill(E::zero());
        }
        for oy in 0..oh {
            for ox in 0..ow {
                let g = scale * gy[oy * ow + ox];
                for iy in window.span(oy, h) {
                    gx[iy * w..][window.span(ox, w)].iter_mut().for_each(|v| *v += g);
                }
            }
        }
    });
}

/// Computes the mean `y` [N, C] of each map of `x` [N, C, HW]. The operation is linear, so it computes its own tangent.
pub fn global_average<E: Elem>(maps: Maps, x: &[E], y: &mut [E]) {
    maps.assert(&[Some(x)]);
    assert_eq!(y.len(), maps.n * maps.c);
    each(y, maps.batch(), |i, y| *y = E::of(sum_run(maps.map(x, i)) / maps.hw as f64));
}

/// Computes the adjoint of [`global_average`].
pub fn global_average_backward<E: Elem>(maps: Maps, gy: &[E], gx: &mut [E], accum: Accum) {
    maps.assert(&[Some(gx)]);
    assert_eq!(gy.len(), maps.n * maps.c);
    let scale = E::of(1.0 / maps.hw as f64);
    each_chunk(gx, maps.hw, maps.batch(), |i, gx| {
        let g = scale * gy[i];
        if accum.adds() { gx.iter_mut().for_each(|v| *v += g) } else { gx.fill(g) }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reduce::dot;
    use crate::testing::noise;

    /// Windows as (height, width, kernel, stride, padding).
    const CASES: [(usize, usize, usize, usize, usize); 8] = [
        (8, 8, 2, 2, 0),
        (9, 7, 2, 2, 0),
        (6, 71, 2, 2, 0),
        (9, 7, 3, 2, 1),
        (5, 6, 3, 1, 1),
        (4, 4, 4, 4, 0),
        (7, 7, 2, 3, 1),
        (1, 1, 1, 1, 0),
    ];

    #[test]
    fn maxima_are_found_and_adjoints_are_transposes() {
        for (h, w, k, s, p) in CASES {
            let window = Window::new(h, w, k, s, p).expect("fits");
            let [oh, ow] = window.output();
            let x = noise::<f64>(3 * h * w, 1);
            let (mut y, mut at) = (vec![0.0; 3 * oh * ow], vec![0; 3 * oh * ow]);
            max(window, &x, &mut y, &mut at);
            let mut mean = y.clone();
            average(window, &x, &mut mean);
            for (i, (y, mean)) in y.iter().zip(&mean).enumerate() {
                let (m, oy, ox) = (i / (oh * ow), i / ow % oh, i % ow);
                let inside = (0..h * w).filter(|j| {
                    let (iy, ix) = (j / w + p, j % w + p);
                    (oy * s..oy * s + k).contains(&iy) && (ox * s..ox * s + k).contains(&ix)
                });
                let values: Vec<f64> = inside.map(|j| x[m * h * w + j]).collect();
                assert_eq!(*y, values.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b)));
                assert!((mean - values.iter().sum::<f64>() / (k * k) as f64).abs() < 1e-15);
            }
            let (xt, gy) = (noise::<f64>(x.len(), 2), noise::<f64>(y.len(), 3));
            let (mut yt, mut gx) = (y.clone(), vec![1.0; x.len()]);
            max_tangent(window, &xt, &at, &mut yt);
            max_backward(window, &gy, &at, &mut gx, Accum::Add);
            let ones: f64 = xt.iter().sum();
            assert!((dot(&yt, &gy) - (dot(&xt, &gx) - ones)).abs() < 1e-13);
            average(window, &xt, &mut yt);
            average_backward(window, &gy, &mut gx, Accum::Replace);
            assert!((dot(&yt, &gy) - dot(&xt, &gx)).abs() < 1e-13);
        }
    }

    #[test]
    fn the_first_of_equal_maxima_wins_and_nan_is_a_maximum() {
        let window = Window::new(2, 4, 2, 2, 0).expect("fits");
        let x = [1.0_f32, 1.0, 0.0, 5.0, 1.0, 1.0, f32::NAN, 5.0];
        let (mut y, mut at) = ([0.0; 2], [9; 2]);
        max(window, &x, &mut y, &mut at);
        assert_eq!(at, [0, 6]);
        assert!(y[0] == 1.0 && y[1].is_nan());
    }

    /// Windows of 2 x 2 side by side have a kernel of their own; single windows with another stride go to the general
    /// one.
    #[test]
    fn both_kernels_find_the_same_maxima() {
        let (h, w) = (10, 46);
        let few = |x: f64| if x > 0.4 { f64::NAN } else { (2.0 * x).round() };
        let x: Vec<f64> = noise::<f64>(3 * h * w, 4).into_iter().map(few).collect();
        let (mut y, mut at) = (vec![0.0; 3 * h * w / 4], vec![0; 3 * h * w / 4]);
        max(Window::new(h, w, 2, 2, 0).expect("fits"), &x, &mut y, &mut at);
        let (mut general, mut places) = (y.clone(), at.clone());
        for (m, x) in x.chunks_exact(h * w).enumerate() {
            for (row, x) in x.chunks_exact(2 * w).enumerate() {
                for c in 0..w / 2 {
                    let to = m * h * w / 4 + row * w / 2 + c;
                    let window = Window::new(2, 2, 2, 1, 0).expect("fits");
                    let square = [x[2 * c], x[2 * c + 1], x[w + 2 * c], x[w + 2 * c + 1]];
                    max(window, &square, &mut general[to..=to], &mut places[to..=to]);
                    places[to] = places[to] / 2 * w as u32 + places[to] % 2 + (2 * row * w + 2 * c) as u32;
                }
            }
        }
        assert!(y.iter().any(|y| y.is_nan()) && y.iter().any(|y| !y.is_nan()));
        assert_eq!(at, places);
        assert!(y.iter().zip(&general).all(|(a, b)| a.to_bits() == b.to_bits()));
    }

    #[test]
    fn the_global_average_and_its_adjoint() {
        let maps = Maps { n: 2, c: 3, hw: 35 };
        let (x, gy) = (noise::<f64>(maps.size(), 1), noise::<f64>(6, 2));
        let (mut y, mut gx) = (vec![0.0; 6], vec![0.0; maps.size()]);
        global_average(maps, &x, &mut y);
        global_average_backward(maps, &gy, &mut gx, Accum::Replace);
        assert!((y[4] - x[4 * 35..5 * 35].iter().sum::<f64>() / 35.0).abs() < 1e-15);
        assert!((dot(&y, &gy) - dot(&x, &gx)).abs() < 1e-14);
    }

    #[test]
    fn windows_that_do_not_fit_are_refused() {
        for (h, w, k, s, p) in [(2, 2, 3, 1, 0), (4, 4, 2, 0, 0), (4, 4, 2, 1, 2), (4, 4, 0, 1, 0)] {
            assert!(Window::new(h, w, k, s, p).is_err());
        }
    }
}
