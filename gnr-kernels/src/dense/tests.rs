//! Layers against the definition in f64, with streamed operands, and with several numbers of threads.

use super::*;
use crate::buffer::Buf;
use crate::operand::{InMemory, materialise};
use crate::testing::{max_abs_diff, noise, on_threads, same_bits};
use crate::unary::Unary;
use crate::unary_producers::{FunctionDerivative, FunctionValue};
use std::sync::Arc;

const LAYERS: [Layer; 8] = [
    Layer { rows: 3, inputs: 5, outputs: 7 },
    Layer { rows: 19, inputs: 32, outputs: 48 },
    Layer { rows: 600, inputs: 16, outputs: 80 },
    Layer { rows: 300, inputs: 48, outputs: 136 },
    Layer { rows: 1030, inputs: 48, outputs: 16 },
    Layer { rows: 530, inputs: 33, outputs: 64 },
    Layer { rows: 2, inputs: 0, outputs: 16 },
    Layer { rows: 600, inputs: 0, outputs: 16 },
];

fn operands<E: Elem>(Layer { rows, inputs, outputs }: Layer) -> [[Vec<E>; 2]; 3] {
    let two = |len, seed| [noise(len, seed), noise(len, seed + 1)];
    [two(rows * inputs, 1), two(outputs * inputs, 3), two(rows * outputs, 5)]
}

fn pairs<'a, E>(a: &'a [Vec<E>; 2], b: &'a [Vec<E>; 2], count: usize) -> Vec<Pair<'a, E>> {
    a.iter().zip(b).take(count).map(|(a, b)| (a.into(), &b[..])).collect()
}

fn row_pairs<'a, E>(a: &'a [Vec<E>; 2], b: &'a [Vec<E>; 2], count: usize) -> Vec<RowPair<'a, E>> {
    a.iter().zip(b).take(count).map(|(a, b)| (a.into(), b.into())).collect()
}

#[test]
fn streamed_rows_change_no_bit() {
    for layer in LAYERS {
        let Layer { rows, inputs, outputs } = layer;
        let [x, w, g] = operands::<f32>(layer);
        let [xs, gs] = [&x[0], &g[0]].map(|values| Arc::new(Buf::from(values.clone())));
        // Rows of the layer, and rows of half that length.
        for parts in [1, 2] {
            if inputs % parts > 0 || outputs % parts > 0 || inputs == 0 {
                continue;
            }
            let producer =
                |values: &Arc<Buf<f32>>, row| InMemory { values: Arc::clone(values), pixels: row / parts };
            let (x_producer, g_producer) = (producer(&xs, inputs), producer(&gs, outputs));
            let run = |x_: Operand<'_, f32>, g_: Operand<'_, f32>| {
                let [mut y, mut gx, mut gw] = [&g[0], &x[0], &w[0]].map(|like| vec![0.0; like.len()]);
                layer.forward(&[(x_, &w[0]), ((&x[1]).into(), &w[1])], &mut y, Onto::Nothing);
                layer.to_input(&[((&g[1]).into(), &w[1]), (g_, &w[0])], &mut gx, Accum::Replace);
                layer.to_weight(&[(g_, x_), ((&g[1]).into(), x_)], &mut gw, Accum::Replace);
                [y, gx, gw]
            };
            let want = run((&x[0]).into(), (&g[0]).into());
            let got = run(Operand::Streamed(&x_producer), Operand::Streamed(&g_producer));
            assert!(want.iter().zip(&got).all(|(a, b)| same_bits(a, b)), "{layer:?} {rows}");
        }
    }
}

#[test]
fn an_activation_and_its_tangent_from_one_evaluation_change_no_bit() {
    for layer in LAYERS.into_iter().filter(|layer| layer.inputs > 0) {
        let Layer { rows, inputs, outputs } = layer;
        let [x, w, g] = operands::<f32>(layer);
        let [x, xt] = x.map(|values| Arc::new(Buf::from(values)));
        let (f, row) = (Unary::Gelu, inputs);
        let value = FunctionValue { f, x: Arc::clone(&x), row };
        let tangent = FunctionDerivative { f, g: xt, x: Arc::clone(&x), y: x, row };
        let (value_all, tangent_all) = (materialise(&value), materialise(&tangent));
        let run = |x: Operand<'_, f32>, xt: Operand<'_, f32>| {
            let [mut y, mut gw, mut other_order] = [&g[0], &w[0], &w[0]].map(|like| vec![0.0; like.len()]);
            layer.forward(&[(xt, &w[0]), (x, &w[1])], &mut y, Onto::Nothing);
            layer.to_weight(&[((&g[0]).into(), x), ((&g[1]).into(), xt)], &mut gw, Accum::Replace);
            layer.to_weight(&[((&g[0]).into(), xt), ((&g[1]).into(), x)], &mut other_order, Accum::Replace);
            [y, gw, other_order]
        };
        let want = run((&value_all).into(), (&tangent_all).into());
        let got = run(Operand::Streamed(&value), Operand::Streamed(&tangent));
        assert!(want.iter().zip(&got).all(|(a, b)| same_bits(a, b)), "{layer:?} {rows} {outputs}");
    }
}

fn agrees_with_the_definition<E: Elem>() {
    for layer in LAYERS {
        let Layer { rows, inputs, outputs } = layer;
        let [x, w, g] = operands::<E>(layer);
        let row: Vec<E> = noise(outputs, 9);
        for count in [1, 2] {
            let sum = |f: &dyn Fn(usize) -> f64| (0..count).map(f).sum::<f64>();
            let close = |got: &[E], want: Vec<f64>, what: &str| {
                let most = want.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
                let error = max_abs_diff(got, &want) / most;
                assert!(error < 32.0 * E::epsilon().wide(), "{what} {layer:?} {count}: {error:e}");
            };
            for onto in [Onto::Nothing, Onto::Values, Onto::Row(&row[..])] {
                let mut y =
                    vec![if matches!(onto, Onto::Values) { E::one() } else { E::nan() }; rows * outputs];
                layer.forward(&pairs(&x, &w, count), &mut y, onto);
                let want = (0..rows * outputs).map(|at| {
                    let (r, o) = (at / outputs, at % outputs);
                    let start = match onto {
                        Onto::Nothing => 0.0,
                        Onto::Values => 1.0,
                        Onto::Row(row) => row[o].wide(),
                    };
                    start
                        + sum(&|p| {
                            (0..inputs)
                                .map(|i| x[p][r * inputs + i].wide() * w[p][o * inputs + i].wide())
                                .sum()
                        })
                });
                close(&y, want.collect(), "forward");
            }
            for accum in Accum::BOTH {
                let (start, add) = if accum.adds() { (E::one(), 1.0) } else { (E::nan(), 0.0) };
                let mut gx = vec![start; rows * inputs];
                layer.to_input(&pairs(&g, &w, count), &mut gx, accum);
                let want = (0..rows * inputs).map(|at| {
                    let (r, i) = (at / inputs, at % inputs);
                    add + sum(&|p| {
                        (0..outputs).map(|o| g[p][r * outputs + o].wide() * w[p][o * inputs + i].wide()).sum()
                    })
                });
                close(&gx, want.collect(), "input");
                let mut gw = vec![start; outputs * inputs];
                layer.to_weight(&row_pairs(&g, &x, count), &mut gw, accum);
                let want = (0..outputs * inputs).map(|at| {
                    let (o, i) = (at / inputs, at % inputs);
                    add + sum(&|p| {
                        (0..rows).map(|r| g[p][r * outputs + o].wide() * x[p][r * inputs + i].wide()).sum()
                    })
                });
                close(&gw, want.collect(), "weight");
            }
        }
    }
}

#[test]
fn layers_agree_with_the_definition() {
    agrees_with_the_definition::<f64>();
    agrees_with_the_definition::<f32>();
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for layer in LAYERS {
        let [x, w, g] = operands::<f32>(layer);
        let run = |threads| {
            on_threads(threads, || {
                let [mut y, mut gx, mut gw] = [&g[0], &x[0], &w[0]].map(|like| vec![0.0; like.len()]);
                layer.forward(&pairs(&x, &w, 2), &mut y, Onto::Nothing);
                layer.to_input(&pairs(&g, &w, 2), &mut gx, Accum::Replace);
                layer.to_weight(&row_pairs(&g, &x, 2), &mut gw, Accum::Replace);
                [y, gx, gw]
            })
        };
        let one = run(1);
        for threads in [2, 3] {
            assert!(one.iter().zip(run(threads)).all(|(a, b)| same_bits(a, &b)), "{layer:?}");
        }
    }
}

#[test]
#[should_panic(expected = "operand lengths")]
fn a_short_operand_is_refused() {
    let layer = Layer { rows: 2, inputs: 3, outputs: 2 };
    layer.forward(&[(Operand::Whole(&[0.0_f32; 6]), &[0.0; 5])], &mut [0.0; 4], Onto::Nothing);
}
