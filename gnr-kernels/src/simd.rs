//! Choice of the instruction set at run time.
//!
//! Leaf loops are written once as plain Rust. The `simd!` macro compiles them three times: for the build's baseline,
//! for AVX2+FMA and for AVX-512. AVX-512 has twice the registers: the constants of an exponential stay in them.
//! Closures that remain calls do not inherit `#[target_feature]`, so the dispatch is at the leaf, below rayon.
//! Reductions keep explicit arrays of [`LANES`] partial sums: their result does not depend on how the compiler
//! vectorises.
#![allow(unsafe_code)]

/// Number of partial sums of a vectorised reduction.
pub const LANES: usize = 16;

/// Elements that one parallel task of a memory-bound kernel handles. The number is fixed, so partial sums have the same
/// bits on any machine.
pub const CHUNK: usize = 1 << 15;

/// An instruction set for which kernels are compiled, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The instruction set that the crate was compiled for (SSE2 on x86-64).
    Baseline = 1,
    /// AVX2 and FMA.
    Avx2 = 2,
    /// AVX-512 F, in addition to AVX2 and FMA.
    Avx512 = 3,
}

/// The highest level that this machine can run.
pub fn detected() -> Level {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
        return if std::is_x86_feature_detected!("avx512f") { Level::Avx512 } else { Level::Avx2 };
    }
    Level::Baseline
}

/// Prefetches `count` elements from `p` to the second-level cache; `p` may point anywhere.
#[inline(always)]
pub(super) fn prefetch<E>(p: *const E, count: usize) {
    #[cfg(target_arch = "x86_64")]
    for byte in (0..count * size_of::<E>()).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a prefetch of any address has no effect but on caches; SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast::<i8>().wrapping_add(byte)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (p, count);
}

/// Computes `a b + c`, rounded once if the instruction set can (`FUSED`), else twice. Without the instruction, rounding
/// once would be a call into the C library.
#[inline(always)]
pub fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Whether the crate was compiled for machines with fused multiply-add.
pub(crate) const FUSED_BASELINE: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));

/// Defines functions that run the copy of their body for the widest instruction set of the machine. In the body,
/// `FUSED` says whether that instruction set has fused multiply-add.
macro_rules! simd {
    ($($(#[$m:meta])* $vis:vis fn $name:ident<$($g:ident: $b:path),*>($($a:ident: $t:ty),* $(,)?) $(-> $r:ty)? $body:block)*) => { $(
        $(#[$m])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name<$($g: $b),*>($($a: $t),*) $(-> $r)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body<$($g: $b,)* const FUSED: bool>($($a: $t),*) $(-> $r)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn fast<$($g: $b),*>($($a: $t),*) $(-> $r)? {
                    body::<$($g,)* true>($($a),*)
                }
                #[target_feature(enable = "avx512f,avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn fastest<$($g: $b),*>($($a: $t),*) $(-> $r)? {
                    body::<$($g,)* true>($($a),*)
                }
                match $crate::runtime::runtime().level() {
                    // SAFETY: the level never exceeds what was detected at run time, so AVX-512 F, AVX2 and FMA are
                    // available.
                    #[allow(unsafe_code)]
                    $crate::simd::Level::Avx512 => return unsafe { fastest::<$($g),*>($($a),*) },
                    // SAFETY: the level never exceeds what was detected at run time, so AVX2 and FMA are available.
                    #[allow(unsafe_code)]
                    $crate::simd::Level::Avx2 => return unsafe { fast::<$($g),*>($($a),*) },
                    $crate::simd::Level::Baseline => {}
                }
            }
            body::<$($g,)* { $crate::simd::FUSED_BASELINE }>($($a),*)
        }
    )* };
}
pub(crate) use simd;
