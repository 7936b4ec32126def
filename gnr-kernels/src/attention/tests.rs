//! Attention against central differences, in both precisions, and with several numbers of threads.

use super::*;
use crate::testing::{max_abs_diff, noise, on_threads, same_bits};

const SHAPE: Shape = Shape { samples: 20, tokens: 5, heads: 2, width: 3, biases: 2 };

fn lens() -> [usize; 3] {
    Sizes::new(SHAPE).lens()
}

fn run(qkv: &[f64], bias: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let [_, output, square] = lens();
    let (mut y, mut p) = (vec![0.0; 20 * output], vec![0.0; 20 * square]);
    forward(SHAPE, qkv, Some(bias), &mut y, Some(&mut p));
    let mut alone = vec![0.0; y.len()];
    forward(SHAPE, qkv, Some(bias), &mut alone, None);
    assert!(same_bits(&y, &alone), "the same with and without keeping the probabilities");
    (y, p)
}

#[test]
fn rows_of_probabilities_sum_to_one_and_huge_scores_stay_finite() {
    let [whole, _, square] = lens();
    let qkv: Vec<f64> = noise::<f64>(20 * whole, 1).iter().map(|x| 1e3 * x).collect();
    let (y, p) = run(&qkv, &vec![0.0; 2 * square]);
    assert!(p.chunks(5).all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-12));
    assert!(y.iter().all(|y| y.is_finite()));
}

/// Central differences of step 1e-5 are off by about 1e-9 times a third derivative.
#[test]
fn derivatives_match_central_differences() {
    let [whole, output, square] = lens();
    let (qkv, bias) = (noise::<f64>(20 * whole, 1), noise::<f64>(2 * square, 2));
    let (qkv_t, bias_t) = (noise::<f64>(20 * whole, 3), noise::<f64>(2 * square, 4));
    let (w, wt) = (noise::<f64>(20 * output, 5), noise::<f64>(20 * output, 6));
    let along = |a: &[f64], t: &[f64], h: f64| a.iter().zip(t).map(|(a, t)| a + h * t).collect::<Vec<_>>();
    let gradient = |h: f64| {
        let qkv = along(&qkv, &qkv_t, h);
        let (y, p) = run(&qkv, &along(&bias, &bias_t, h));
        let (mut gx, mut gb) = (vec![0.0; 20 * whole], vec![0.0; 2 * square]);
        let to = Adjoint {
            qkv: Some((&mut gx, Accum::Replace)),
            bias: Some((&mut gb, Accum::Replace)),
            first: None,
        };
        backward(SHAPE, &qkv, &p, &along(&w, &wt, h), to);
        [y, gx, gb]
    };
    let (plus, minus) = (gradient(1e-5), gradient(-1e-5));
    let slopes: Vec<Vec<f64>> = plus
        .iter()
        .zip(&minus)
        .map(|(p, m)| p.iter().zip(m).map(|(p, m)| (p - m) / 2e-5).collect())
        .collect();
    let (_, p) = run(&qkv, &bias);
    let (mut yt, mut pt) = (vec![0.0; 20 * output], vec![0.0; 20 * square]);
    tangent(SHAPE, &qkv, Some(&qkv_t), Some(&bias_t), &p, &mut yt, &mut pt);
    assert!(max_abs_diff(&yt, &slopes[0]) < 1e-7);
    let at = Moving { qkv: &qkv, qkv_t: Some(&qkv_t), probabilities: &p, probabilities_t: &pt };
    for accum in Accum::BOTH {
        let start = if accum.adds() { 1.0 } else { 0.0 };
        let (mut gx, mut gb) = (vec![start; 20 * whole], vec![start; 2 * square]);
        let mut first = vec![f64::NAN; gx.len()];
        let to =
            Adjoint { qkv: Some((&mut gx, accum)), bias: Some((&mut gb, accum)), first: Some(&mut first) };
        second(SHAPE, at, &w, Some(&wt), to);
        let mut want = vec![0.0; gx.len()];
        let to = Adjoint { qkv: Some((&mut want, Accum::Replace)), bias: None, first: None };
        backward(SHAPE, &qkv, &p, &w, to);
        assert!(same_bits(&first, &want), "what the gradient pass gives");
        gx.iter_mut().chain(&mut gb).for_each(|g| *g -= start);
        assert!(max_abs_diff(&gx, &slopes[1]) < 1e-7 && max_abs_diff(&gb, &slopes[2]) < 1e-7);
    }
}

/// Runs all four kernels in `E` and returns every result.
fn all<E: Elem>(shape: Shape) -> Vec<Vec<f64>> {
    let (n, [whole, output, square]) = (shape.samples, Sizes::new(shape).lens());
    let (squares, biases) = (n * square, shape.biases * square);
    // Rounded to single precision, so both precisions start from the same values.
    let values =
        |len, seed| noise::<f32>(len, seed).into_iter().map(|v| E::of(f64::from(v))).collect::<Vec<E>>();
    let (qkv, qkv_t) = (values(n * whole, 1), values(n * whole, 2));
    let (bias, bias_t) = (values(biases, 3), values(biases, 4));
    let (a, b) = (values(n * output, 5), values(n * output, 6));
    let zeros = |len| vec![E::zero(); len];
    let (mut y, mut p, mut yt, mut pt) =
        (zeros(n * output), zeros(squares), zeros(n * output), zeros(squares));
    forward(shape, &qkv, Some(&bias), &mut y, Some(&mut p));
    tangent(shape, &qkv, Some(&qkv_t), Some(&bias_t), &p, &mut yt, &mut pt);
    let [mut g1, mut g2, mut first] = [0, 1, 2].map(|_| zeros(n * whole));
    let [mut b1, mut b2] = [0, 1].map(|_| zeros(biases));
    let to =
        Adjoint { qkv: Some((&mut g1, Accum::Replace)), bias: Some((&mut b1, Accum::Replace)), first: None };
    backward(shape, &qkv, &p, &a, to);
    let at = Moving { qkv: &qkv, qkv_t: Some(&qkv_t), probabilities: &p, probabilities_t: &pt };
    let to = Adjoint {
        qkv: Some((&mut g2, Accum::Replace)),
        bias: Some((&mut b2, Accum::Replace)),
        first: Some(&mut first),
    };
    second(shape, at, &a, Some(&b), to);
    let wide = |values: Vec<E>| values.into_iter().map(|v| v.wide()).collect();
    [y, p, yt, pt, g1, b1, g2, b2, first].map(wide).into()
}

/// Covers widths for the micro-kernel and for `gemm`, and numbers of tokens with and without a remainder.
#[test]
fn single_precision_agrees_with_double() {
    for (tokens, width) in [(17, 32), (65, 64), (16, 16), (3, 48), (9, 5)] {
        let shape = Shape { samples: 4, tokens, heads: 2, width, biases: 2 };
        for (i, (single, double)) in all::<f32>(shape).iter().zip(all::<f64>(shape)).enumerate() {
            let size = double.iter().fold(0.0f64, |size, v| size.max(v.abs()));
            let error = single.iter().zip(&double).fold(0.0f64, |e, (s, d)| e.max((s - d).abs()));
            assert!(error < 2e-6 * size, "result {i} of {shape:?}: {error:e} of {size}");
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let [whole, output, square] = lens();
    let (qkv, bias) = (noise::<f32>(20 * whole, 1), noise::<f32>(2 * square, 2));
    let run = |threads| {
        on_threads(threads, || {
            let (mut y, mut p) = (vec![0.0; 20 * output], vec![0.0; 20 * square]);
            forward(SHAPE, &qkv, Some(&bias), &mut y, Some(&mut p));
            let (mut gx, mut gb) = (vec![0.0; 20 * whole], vec![0.0; 2 * square]);
            let to = Adjoint {
                qkv: Some((&mut gx, Accum::Replace)),
                bias: Some((&mut gb, Accum::Replace)),
                first: None,
            };
            backward(SHAPE, &qkv, &p, &y, to);
            [y, gx, gb]
        })
    };
    let (one, two) = (run(1), run(2));
    assert!(one.iter().zip(&two).all(|(a, b)| same_bits(a, b)));
}
