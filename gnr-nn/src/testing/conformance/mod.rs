//! The conformance suite of backends, which any crate runs on its own.

mod arithmetic;
mod case;
mod cases;
mod frozen;
mod network;
mod refusals;

use super::Reference;
use crate::Autodiff;

/// Checks that a backend computes what [`Reference`](super::Reference) computes.
///
/// - Every primitive and every provided operation: value, gradient, and H·v through a record and its replay. Operands
///   are active, constant, or active without a tangent; shapes are awkward (strides, groups, odd sizes, ties, padding).
/// - In-place arithmetic changes no other holder of the data; inner products are accurate; scaling by 0 gives 0.
/// - What cannot be computed is an error: shapes that do not go together, labels that name no class.
/// - A network through [`BatchOracle`](crate::BatchOracle): gradients, products (repeated bit for bit), running
///   statistics of `Commit`, `Probe` and eval mode, the masks of dropout. A model that runs differently the second time
///   is an error, and NaN stays NaN.
/// - The network with frozen parts.
///
/// `tolerance` is relative to the largest element of each result. 1e-10 suits f64; in f32, 2e-4: second derivatives of
/// a BatchNorm over a few elements lose three digits. All inputs are exact in f32.
///
/// Gradients and products are compared with f64 references, never with differences. The points are those where every
/// ReLU, ReLU6 and maximum is clear of its kinks: nearer than rounding, one flip would change derivatives by any
/// amount. The suite asserts on the reference ([`Reference::kink_distance`](super::Reference::kink_distance)) that the
/// distance is a hundred times the rounding of f32.
///
/// # Panics
/// When the backend does not conform.
pub fn check_backend<B: Autodiff>(backend: &B, tolerance: f64) {
    for case in cases::all() {
        case::check(backend, &case, tolerance);
    }
    arithmetic::check(backend, tolerance);
    refusals::check(backend);
    network::check(backend, tolerance);
    frozen::check(backend, tolerance);
}

pub use network::check_network;

/// Asserts that the reference was clear of kinks: values of order 1 in f32 are off by 1e-6 after a few layers.
fn assert_clear(what: &str, reference: &Reference) {
    let distance = reference.kink_distance();
    assert!(distance > 1e-4, "{what} comes within {distance:e} of a kink: derivatives there prove nothing");
}

/// Numbers that every precision holds exactly.
fn noise(k: u64, len: usize) -> Vec<f64> {
    (0..len as u64).map(|i| f64::from(super::noise(k, i) as f32)).collect()
}

/// Asserts that two lists agree, on the scale of the largest expected element.
fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: number of elements");
    let scale = expected.iter().fold(1e-3, |max: f64, x| max.max(x.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs() / scale;
        assert!(
            error <= tolerance,
            "{what}: element {i} is {found}, expected {expected}: {error:.1e} of the largest, {tolerance:.1e} allowed"
        );
    }
}

/// Returns the value, or panics with a message that says what failed.
fn must<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what} failed: {error}"),
    }
}
