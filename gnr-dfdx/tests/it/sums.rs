//! Inner products of points, which the device adds in rows and the host in f64.

use gnr_dfdx::Generic;
use gnr_nn::{Arithmetic, Autodiff};

/// Lengths around those of rows and of vectors that the host adds, and one with a remainder at every level.
const LENGTHS: [usize; 8] = [1, 63, 64, 512, 513, 4096, 32_833, 100_003];

fn numbers(len: usize, seed: usize) -> Vec<f64> {
    (0..len).map(|i| ((i * 37 + seed * 11) % 101) as f64 / 16.0 - 3.0).collect()
}

/// The numbers have few bits, so that f64 adds their products without rounding, in any order.
#[test]
fn several_points_are_multiplied_with_one_in_every_length() {
    let backend = Generic::<f64>::default();
    let tensors = |seed: usize| -> Vec<_> {
        let one = |len: &usize| backend.constant(&numbers(*len, seed), &[*len]).unwrap();
        LENGTHS.iter().map(one).collect()
    };
    let host = |a: usize, b: usize| -> f64 {
        let one =
            |len: &usize| -> f64 { numbers(*len, a).iter().zip(numbers(*len, b)).map(|(x, y)| x * y).sum() };
        LENGTHS.iter().map(one).sum()
    };
    let (x, y, z) = (tensors(1), tensors(2), tensors(3));
    let found = backend.dots_of_points(&x, &[&y, &z, &x]).unwrap();
    assert_eq!(found, [host(1, 2), host(1, 3), host(1, 1)]);
    assert_eq!(backend.dots_of_points(&x, &[]).unwrap(), [0.0; 0]);
    assert_eq!(backend.dots_of_points(&[], &[&[], &[]]).unwrap(), [0.0; 2]);
    for (k, len) in LENGTHS.iter().enumerate() {
        let expected: f64 = numbers(*len, 1).iter().zip(numbers(*len, 2)).map(|(x, y)| x * y).sum();
        assert_eq!(backend.dot(&x[k], &y[k]).unwrap(), expected, "{len}");
    }
}

/// Rows of 64 equal numbers are added on the device: three levels of 63 additions each round 189 times at most.
#[test]
fn single_precision_loses_no_more_than_its_rows_round() {
    let backend = Generic::<f32>::default();
    let (len, value) = (100_003, 0.1_f32);
    let x = backend.constant(&vec![f64::from(value); len], &[len]).unwrap();
    let expected = len as f64 * f64::from(value).powi(2);
    let error = (backend.dot(&x, &x).unwrap() - expected).abs() / expected;
    assert!(error < 190.0 * f64::from(f32::EPSILON) / 2.0, "{error:e}");
}

#[test]
fn a_nan_reaches_the_sum_and_points_of_unequal_length_are_refused() {
    let backend = Generic::<f64>::default();
    let mut poisoned = numbers(5_000, 1);
    poisoned[4_321] = f64::NAN;
    let [x, y] = [poisoned, numbers(5_000, 2)].map(|x| backend.constant(&x, &[5_000]).unwrap());
    assert!(backend.dot(&x, &y).unwrap().is_nan());
    let two = [x.clone(), x];
    let error = backend.dots_of_points(&two, &[&two[..1]]).unwrap_err().to_string();
    assert!(error.contains("points of 2 and 1 tensors"), "{error}");
}
