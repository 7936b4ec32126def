//! Helpers of the kernels' unit tests: noise, comparisons, thread pools.

use super::elem::Elem;

/// Uniform noise on [-1, 1): splitmix64 of (seed, index).
pub(crate) fn noise<E: Elem>(len: usize, seed: u64) -> Vec<E> {
    (0..len as u64)
        .map(|i| {
            let mut z = ((seed << 40) + i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            E::of((z >> 11) as f64 / (1u64 << 52) as f64 - 1.0)
        })
        .collect()
}

/// The largest absolute difference; a NaN counts as infinite.
pub(crate) fn max_abs_diff<E: Elem, F: Elem>(a: &[E], b: &[F]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |worst, (a, b)| {
        let d = (a.wide() - b.wide()).abs();
        if d.is_nan() { f64::INFINITY } else { worst.max(d) }
    })
}

/// Runs `f` on a pool of `threads` threads.
pub(crate) fn on_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("thread pool").install(f)
}

/// Whether `a` and `b` have equal bits.
pub(crate) fn same_bits<E: Elem>(a: &[E], b: &[E]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.wide().to_bits() == b.wide().to_bits())
}
