//! Statistics against the definition, gradients against central differences, bits against outputs.

use super::*;
use crate::Accum;
use crate::elementwise::clip;
use crate::operand::Operand;
use crate::testing::{max_abs_diff, noise, on_threads, same_bits};

const MAPS: Maps = Maps { n: 5, c: 3, hw: 37 };

fn channel(x: &[f64], maps: Maps, ch: usize) -> Vec<f64> {
    (0..maps.n).flat_map(|n| x[(n * maps.c + ch) * maps.hw..][..maps.hw].to_vec()).collect()
}

#[test]
fn statistics_match_the_definition() {
    let x = noise::<f64>(MAPS.size(), 1);
    let stats = Stats::of_batch(MAPS, &x, 1e-5);
    for ch in 0..MAPS.c {
        let v = channel(&x, MAPS, ch);
        let mean = v.iter().sum::<f64>() / v.len() as f64;
        let var = v.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / v.len() as f64;
        assert!((stats.mean[ch] - mean).abs() < 1e-15 && (stats.var[ch] - var).abs() < 1e-15);
        assert!((stats.istd[ch] - 1.0 / (var + 1e-5).sqrt()).abs() < 1e-14);
    }
}

/// With mean 1000 and standard deviation 0.01 in f32, sums of squares would lose every digit of the variance.
#[test]
fn variance_survives_a_large_mean() {
    let maps = Maps { n: 64, c: 1, hw: 256 };
    let x: Vec<f32> = noise::<f64>(maps.size(), 2).iter().map(|v| (1000.0 + 0.01 * v) as f32).collect();
    let exact: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
    let (got, want) = (Stats::of_batch(maps, &x, 0.0), Stats::of_batch(maps, &exact, 0.0));
    assert!((got.var[0] / want.var[0] - 1.0).abs() < 1e-5, "{} {}", got.var[0], want.var[0]);
}

/// Compares the gradient of Σ w y with central differences (step 1e-5: truncation 1e-10, rounding 1e-10).
#[test]
fn gradients_match_central_differences() {
    let (relu, relu6) = (Some(f64::INFINITY), Some(0.5));
    for (source, top) in
        [(Source::Batch, relu), (Source::Batch, None), (Source::Fixed, relu), (Source::Batch, relu6)]
    {
        let n = MAPS.size();
        let (x, r, w) = (noise::<f64>(n, 1), noise::<f64>(n, 2), noise::<f64>(n, 3));
        let (gamma, beta) = (noise::<f64>(3, 4), noise::<f64>(3, 5));
        let stats = |x: &[f64]| match source {
            Source::Batch => Stats::of_batch(MAPS, x, 1e-3),
            Source::Fixed => Stats::new(vec![0.1, -0.2, 0.3], vec![1.0, 0.5, 2.0], 1e-3, Source::Fixed),
        };
        let value = |x: &[f64], gamma: &[f64], beta: &[f64], r: &[f64]| {
            let mut y = vec![0.0; n];
            let last = top.map_or(Last::Nothing, Last::Clip);
            apply(MAPS, x, &Affine::new(&stats(x), gamma, beta), Some(Operand::Whole(r)), last, &mut y);
            y
        };
        let loss = |x: &[f64], g: &[f64], b: &[f64], r: &[f64]| -> f64 {
            value(x, g, b, r).iter().zip(&w).map(|(y, w)| y * w).sum()
        };
        let y = value(&x, &gamma, &beta, &r);
        let mut a = w.clone();
        let mask = top.map(|top| Mask::Output { of: &y[..], top });
        let sums = backward_sums(MAPS, &mut a, &x, &stats(&x), mask);
        let mut gx = vec![1.0; n];
        backward_input(MAPS, &a, &x, &stats(&x), &gamma, &sums, &mut gx, Accum::Add);
        let slope = |at: &[f64], f: &dyn Fn(&[f64]) -> f64| -> Vec<f64> {
            let moved = |i: usize, d: f64| {
                let mut p = at.to_vec();
                p[i] += d;
                f(&p)
            };
            (0..at.len()).map(|i| (moved(i, 1e-5) - moved(i, -1e-5)) / 2e-5).collect()
        };
        let want: Vec<f64> = slope(&x, &|x| loss(x, &gamma, &beta, &r)).iter().map(|v| v + 1.0).collect();
        assert!(max_abs_diff(&gx, &want) < 1e-7, "{source:?}");
        assert!(max_abs_diff(&sums.gamma, &slope(&gamma, &|g| loss(&x, g, &beta, &r))) < 1e-7);
        assert!(max_abs_diff(&sums.beta, &slope(&beta, &|b| loss(&x, &gamma, b, &r))) < 1e-7);
        assert!(max_abs_diff(&a, &slope(&r, &|r| loss(&x, &gamma, &beta, r))) < 1e-7);
    }
}

#[test]
fn single_precision_is_close_and_independent_of_threads() {
    let maps = Maps { n: 40, c: 7, hw: 100 };
    let (x, a) = (noise::<f32>(maps.size(), 1), noise::<f32>(maps.size(), 2));
    let (gamma, beta) = (noise::<f32>(7, 3), noise::<f32>(7, 4));
    let run = |threads| {
        on_threads(threads, || {
            let stats = Stats::of_batch(maps, &x, 1e-5);
            let (mut y, mut a, mut gx) = (vec![0.0; x.len()], a.clone(), vec![0.0; x.len()]);
            let (affine, top) = (Affine::new(&stats, &gamma, &beta), f32::INFINITY);
            apply(maps, &x, &affine, None, Last::Clip(top), &mut y);
            let sums = backward_sums(maps, &mut a, &x, &stats, Some(Mask::Output { of: &y, top }));
            backward_input(maps, &a, &x, &stats, &gamma, &sums, &mut gx, Accum::Replace);
            (y, gx, sums)
        })
    };
    let (one, two) = (run(1), run(2));
    assert!(same_bits(&one.0, &two.0) && same_bits(&one.1, &two.1) && one.2 == two.2);
}

/// Covers whole words, parts of one, and several; values on both bounds; NaN, whose derivative is 0.
#[test]
fn bits_mask_as_the_output_does() {
    for (hw, top) in [(1, 1.0), (16, f64::INFINITY), (37, 0.5), (64, 1.0), (1000, f64::INFINITY)] {
        let maps = Maps { n: 2, c: 3, hw };
        let mut y: Vec<f64> = noise(maps.size(), 3);
        y.iter_mut().for_each(|y| *y = clip(*y, top));
        y[maps.size() / 2] = f64::NAN;
        let bits = clip_bits(maps, &y, top);
        let (x, stats) =
            (noise::<f64>(maps.size(), 1), Stats::new(vec![0.0; 3], vec![1.0; 3], 0.0, Source::Fixed));
        let masked = |mask| {
            let mut a = noise::<f64>(maps.size(), 2);
            let sums = backward_sums(maps, &mut a, &x, &stats, Some(mask));
            (a, sums)
        };
        let (by_output, by_bits) = (masked(Mask::Output { of: &y, top }), masked(Mask::Bits(&bits)));
        assert_eq!(by_output, by_bits, "{hw}");
        assert!(by_bits.0.contains(&0.0) && by_bits.0.iter().any(|a| *a != 0.0));
    }
}
