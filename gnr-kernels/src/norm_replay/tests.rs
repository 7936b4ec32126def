//! The second order of a normalisation against central differences of the first.

use super::*;
use crate::norm::{Affine, Last, apply, backward_input, backward_sums};
use crate::testing::{max_abs_diff, noise, same_bits};

const MAPS: Maps = Maps { n: 4, c: 3, hw: 21 };

struct Point {
    x: Vec<f64>,
    gamma: Vec<f64>,
    beta: Vec<f64>,
    r: Vec<f64>,
}

fn moved(p: &Point, t: &Point, h: f64) -> Point {
    let along = |a: &[f64], t: &[f64]| a.iter().zip(t).map(|(a, t)| a + h * t).collect();
    let (x, gamma) = (along(&p.x, &t.x), along(&p.gamma, &t.gamma));
    Point { x, gamma, beta: along(&p.beta, &t.beta), r: along(&p.r, &t.r) }
}

/// Compares the closed forms of ẏ and of the second-order adjoints for b = ẇ with central differences of step 1e-5:
/// derivatives of the (tested) first-order kernels along a tangent, with the adjoint `w` moving along `wt`.
#[test]
fn closed_forms_match_differences_of_the_gradient() {
    let n = MAPS.size();
    let relu = Some(f64::INFINITY);
    for (source, top, x_moves) in [
        (Source::Batch, relu, true),
        (Source::Batch, None, true),
        (Source::Fixed, relu, true),
        (Source::Batch, relu, false),
        (Source::Batch, Some(0.5), true),
    ] {
        let stats = |x: &[f64]| match source {
            Source::Batch => Stats::of_batch(MAPS, x, 1e-3),
            Source::Fixed => Stats::new(vec![0.1, -0.2, 0.3], vec![1.0, 0.5, 2.0], 1e-3, Source::Fixed),
        };
        let point = |seed: u64| Point {
            x: noise(n, seed),
            gamma: noise(3, seed + 1),
            beta: noise(3, seed + 2),
            r: noise(n, seed + 3),
        };
        let (p, mut t) = (point(1), point(10));
        if !x_moves {
            t.x.fill(0.0);
        }
        let (w, wt) = (noise::<f64>(n, 20), noise::<f64>(n, 21));
        let output = |p: &Point| {
            let mut y = vec![0.0; n];
            let last = top.map_or(Last::Nothing, Last::Clip);
            apply(
                MAPS,
                &p.x,
                &Affine::new(&stats(&p.x), &p.gamma, &p.beta),
                Some((&p.r).into()),
                last,
                &mut y,
            );
            y
        };
        let gradient = |h: f64| {
            let p = moved(&p, &t, h);
            let (y, st) = (output(&p), stats(&p.x));
            let mut a: Vec<f64> = w.iter().zip(&wt).map(|(w, t)| w + h * t).collect();
            let sums =
                backward_sums(MAPS, &mut a, &p.x, &st, top.map(|top| Mask::Output { of: &y[..], top }));
            let mut gx = vec![0.0; n];
            backward_input(MAPS, &a, &p.x, &st, &p.gamma, &sums, &mut gx, Accum::Replace);
            [y, gx, sums.gamma, sums.beta]
        };
        let slopes: Vec<Vec<f64>> = gradient(1e-5)
            .iter()
            .zip(gradient(-1e-5))
            .map(|(p, m)| p.iter().zip(m).map(|(p, m)| (p - m) / 2e-5).collect())
            .collect();

        let (st, y) = (stats(&p.x), output(&p));
        let (xt, mask) = (x_moves.then_some(&t.x[..]), top.map(|top| Mask::Output { of: &y[..], top }));
        let stt = tangent_stats(MAPS, &p.x, xt, &st);
        let at = Tangent { x: &p.x, xt, gamma: &p.gamma, gamma_t: Some(&t.gamma), stats: &st, stats_t: &stt };
        let mut yt = vec![0.0; n];
        tangent_apply(MAPS, at, Some(&t.beta), Some((&t.r).into()), mask, &mut yt);
        assert!(max_abs_diff(&yt, &slopes[0]) < 1e-7, "tangent, {source:?}");

        let mut a = w.clone();
        let first = backward_sums(MAPS, &mut a, &p.x, &st, mask);
        for accum in Accum::BOTH {
            let (mut b, mut gx, mut by_product) = (wt.clone(), vec![1.0; n], vec![f64::NAN; n]);
            let sums = second_sums(MAPS, at, &a, &first, Some(&mut b), mask);
            second_input(MAPS, at, (&a, Some(&b)), (&first, &sums), &mut gx, accum, Some(&mut by_product));
            let second = sums.gradients(at, &first);
            let mut want = vec![0.0; n];
            backward_input(MAPS, &a, &p.x, &st, &p.gamma, &first, &mut want, Accum::Replace);
            assert!(same_bits(&by_product, &want), "what the gradient pass gives");
            if accum.adds() {
                gx.iter_mut().for_each(|v| *v -= 1.0);
            }
            assert!(max_abs_diff(&gx, &slopes[1]) < 1e-7, "x, {source:?}");
            assert!(max_abs_diff(&second.gamma, &slopes[2]) < 1e-7, "gamma, {source:?}");
            assert!(max_abs_diff(&second.beta, &slopes[3]) < 1e-7, "beta, {source:?}");
        }
        // `None` gives what a zero `b` gives.
        let (mut zero, mut with, mut without) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
        let s0 = second_sums(MAPS, at, &a, &first, Some(&mut zero), mask);
        second_input(MAPS, at, (&a, Some(&zero)), (&first, &s0), &mut with, Accum::Replace, None);
        let s1 = second_sums(MAPS, at, &a, &first, None, mask);
        second_input(MAPS, at, (&a, None), (&first, &s1), &mut without, Accum::Replace, None);
        assert!(max_abs_diff(&with, &without) < 1e-14 && s0 == s1);
    }
}
