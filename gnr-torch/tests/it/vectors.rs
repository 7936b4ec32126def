//! Arithmetic of vectors that are longer than the block that a sum takes at a time.

use gnr_nn::{Arithmetic, Autodiff};
use gnr_torch::Precision;

use crate::torch;

/// Two blocks, one of them not full.
const LEN: usize = 70_001;

/// Numbers that single precision holds exactly.
fn numbers(factor: usize) -> Vec<f64> {
    (0..LEN).map(|i| ((i * factor) % 4099) as f64 / 4096.0 - 0.5).collect()
}

#[test]
fn inner_products_are_those_of_double_precision() {
    let (x, y) = (numbers(7), numbers(13));
    let exact: f64 = x.iter().zip(&y).map(|(x, y)| x * y).sum();
    let norm: f64 = x.iter().map(|x| x * x).sum();
    for precision in [Precision::F32, Precision::F64] {
        let b = torch(precision);
        let [x, y] = [&x, &y].map(|v| b.constant(v, &[LEN]).unwrap());
        let [xy, xx] = b.dots(&x, &[&y, &x]).unwrap()[..] else { panic!("two products were asked for") };
        // Products of such numbers are exact in double precision, so only the order of the sum differs. Single
        // precision would be off by about 1e-4.
        assert!((xy - exact).abs() < 1e-9, "{xy} is not {exact}");
        assert!((xx - norm).abs() < 1e-9, "{xx} is not {norm}");
    }
}

#[test]
fn sums_are_equal_in_place_and_beside_another_holder() {
    let (x, y) = (numbers(7), numbers(13));
    for precision in [Precision::F32, Precision::F64] {
        let b = torch(precision);
        let [x, y] = [&x, &y].map(|v| b.constant(v, &[LEN]).unwrap());
        for a in [1.0, -1.0, 0.3, 0.0] {
            let mut shared = y.clone();
            b.axpy(&mut shared, a, &x).unwrap();
            // Scaled by 1, the copy is nobody else's.
            let (mut alone, mut reversed, mut product) = (y.clone(), x.clone(), x.clone());
            b.scale(&mut alone, 1.0).unwrap();
            b.axpy(&mut alone, a, &x).unwrap();
            b.scale(&mut reversed, 1.0).unwrap();
            b.aypx(&mut reversed, a, &y).unwrap();
            b.scale(&mut product, a).unwrap();
            let [shared, alone, reversed, product] =
                [shared, alone, reversed, product].map(|v| b.to_host(&v).unwrap());
            assert_eq!(shared, alone, "a = {a}, {precision}");
            assert_eq!(shared, reversed, "a = {a}, {precision}");
            // One rounding of numbers below 1, or two.
            let bound = if precision == Precision::F64 { 1e-15 } else { 1e-6 };
            let (x, y) = (numbers(7), numbers(13));
            for k in 0..LEN {
                assert!((shared[k] - (y[k] + a * x[k])).abs() < bound, "a = {a}, element {k}");
                assert!((product[k] - a * x[k]).abs() < bound, "a = {a}, element {k}");
            }
        }
        // Other holders kept their values.
        assert_eq!(b.to_host(&x).unwrap(), numbers(7));
        assert_eq!(b.to_host(&y).unwrap(), numbers(13));
    }
}
