//! Host vectors conform: laws, accuracy, every storage.

use gnr_core::{Vector, testing::conformance::check_vector};
use ndarray::{Array1, s};
use proptest::prelude::*;

#[test]
fn every_host_vector_conforms() {
    let to = |x: &[f64]| x.iter().map(|&x| x as f32).collect::<Vec<f32>>();
    let from = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    check_vector(|x| x.to_vec(), |v| v.clone(), f64::EPSILON);
    check_vector(to, |v| from(v), f32::EPSILON.into());
    check_vector(|x| x.to_vec().into_boxed_slice(), |v| v.to_vec(), f64::EPSILON);
    check_vector(|x| to(x).into_boxed_slice(), |v| from(v), f32::EPSILON.into());
    check_vector(|x| Array1::from(x.to_vec()), |v| v.to_vec(), f64::EPSILON);
    check_vector(|x| Array1::from(to(x)), |v| from(&v.to_vec()), f32::EPSILON.into());
    // Strided storage: every second element of a longer array.
    let strided = |x: &[f64]| {
        let twice: Array1<f64> = x.iter().flat_map(|&x| [x, 99.0]).collect();
        twice.slice_move(s![..;2])
    };
    assert!(strided(&[1.0, 2.0]).as_slice().is_none());
    check_vector(strided, |v| v.to_vec(), f64::EPSILON);
}

#[test]
fn arrays_of_fixed_length_are_vectors() {
    let (mut x, y) = ([1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]);
    x.axpy(2.0, &y).unwrap();
    assert_eq!(x, [9.0, 12.0, 15.0]);
    assert_eq!(x.dot(&y).unwrap(), 186.0);
}

/// The dot product of 20 million f32 is off by less than one ulp of f32; a sequential sum would be off by per cents.
#[test]
fn a_dot_product_of_twenty_million_f32_is_accurate() {
    let n = 20_000_000;
    let x = vec![0.1_f32; n];
    let exact = n as f64 * f64::from(0.1_f32) * f64::from(0.1_f32);
    assert!((x.dot(&x).unwrap() / exact - 1.0).abs() < 1e-13);
}

proptest! {
    #[test]
    fn dot_is_bilinear(x in prop::collection::vec(-1e3..1e3_f64, 0..3000), a in -10.0..10.0_f64, seed: u64) {
        let mut random = gnr_core::random::SplitMix64::new(seed);
        let (y, z) = (random.normals(x.len()), random.normals(x.len()));
        let mut combination = y.clone();
        combination.axpy(a, &z).unwrap();
        let magnitude: f64 = x.iter().zip(y.iter().zip(&z)).map(|(x, (y, z))| (x * y).abs() + (a * x * z).abs()).sum();
        let (left, right) = (x.dot(&combination).unwrap(), x.dot(&y).unwrap() + a * x.dot(&z).unwrap());
        // Tolerance: lanes hold up to 128 terms, so there are at most some 150 roundings each way.
        prop_assert!((left - right).abs() <= 300.0 * f64::EPSILON * magnitude);
    }
}
