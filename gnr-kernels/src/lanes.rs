//! [`Lanes`]: a vector register of `f32`, so that one kernel body serves AVX-512, AVX2 and portable code.
//!
//! Bodies are `#[inline(always)]` functions generic over [`Lanes`]. The `lanes!` macro wraps each in functions that
//! enable an instruction set, and picks one by [`Level`](crate::simd::Level).
#![allow(unsafe_code)]
// SAFETY of every block in this file: the contract of [`Lanes`] gives the instruction set and valid pointers.

/// A vector of [`Lanes::N`] floats.
///
/// # Safety
/// Callers of every method run on a machine that has the instruction set of the implementing type. Pointers are valid
/// for [`Lanes::N`] floats (`2 N` for [`Lanes::load_pairs`]), without any alignment.
pub(super) trait Lanes: Copy {
    /// Number of floats in one vector.
    const N: usize;
    /// Rows of a register tile: [`Self::ROWS`] x [`Self::COLUMNS`] accumulators leave registers for operands.
    const ROWS: usize;
    /// Vectors in a row of a register tile.
    const COLUMNS: usize;
    unsafe fn load(p: *const f32) -> Self;
    /// Prefetches a cache line; `p` may point anywhere.
    #[inline(always)]
    fn prefetch(p: *const f32) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch of any address has no effect but on caches; SSE is part of x86-64.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(p.cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = p;
    }
    unsafe fn store(self, p: *mut f32);
    unsafe fn splat(x: f32) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    /// Computes `self * b + c`.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// Loads 2 N floats and separates those at even positions from those at odd ones.
    unsafe fn load_pairs(p: *const f32) -> (Self, Self);
    /// Stores `even` and `odd` interleaved: the inverse of [`Lanes::load_pairs`].
    unsafe fn store_pairs(even: Self, odd: Self, p: *mut f32);
    /// Moves each float to the next lane. The first lane becomes 0.
    unsafe fn shift_up(self) -> Self;
    /// Moves each float to the lane before. The last lane becomes 0.
    unsafe fn shift_down(self) -> Self;
    /// Keeps the first `count` floats. The others become 0.
    unsafe fn keep(self, count: usize) -> Self;
}

/// Eight floats in plain Rust.
#[derive(Clone, Copy)]
pub(super) struct Portable([f32; 8]);

impl Lanes for Portable {
    const N: usize = 8;
    const ROWS: usize = 4;
    const COLUMNS: usize = 1;
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: by the trait's contract, p is valid for 8 floats.
        Portable(unsafe { p.cast::<[f32; 8]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: by the trait's contract, p is valid for 8 floats.
        unsafe { p.cast::<[f32; 8]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Portable([x; 8])
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Portable(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Portable(std::array::from_fn(|i| self.0[i] - other.0[i]))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Portable(std::array::from_fn(|i| self.0[i] * other.0[i]))
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        Portable(std::array::from_fn(|i| self.0[i] * b.0[i] + c.0[i]))
    }
    #[inline(always)]
    unsafe fn load_pairs(p: *const f32) -> (Self, Self) {
        // SAFETY: by the trait's contract, p is valid for 16 floats.
        let x = unsafe { p.cast::<[f32; 16]>().read_unaligned() };
        (Portable(std::array::from_fn(|i| x[2 * i])), Portable(std::array::from_fn(|i| x[2 * i + 1])))
    }
    #[inline(always)]
    unsafe fn store_pairs(even: Self, odd: Self, p: *mut f32) {
        let x: [f32; 16] = std::array::from_fn(|i| if i % 2 == 0 { even.0[i / 2] } else { odd.0[i / 2] });
        // SAFETY: by the trait's contract, p is valid for 16 floats.
        unsafe { p.cast::<[f32; 16]>().write_unaligned(x) }
    }
    #[inline(always)]
    unsafe fn shift_up(self) -> Self {
        Portable(std::array::from_fn(|i| if i == 0 { 0.0 } else { self.0[i - 1] }))
    }
    #[inline(always)]
    unsafe fn shift_down(self) -> Self {
        Portable(std::array::from_fn(|i| if i == 7 { 0.0 } else { self.0[i + 1] }))
    }
    #[inline(always)]
    unsafe fn keep(self, count: usize) -> Self {
        Portable(std::array::from_fn(|i| if i < count { self.0[i] } else { 0.0 }))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    /// Needs AVX2 and FMA, as [`__m256`] does.
    impl Lanes for __m128 {
        const N: usize = 4;
        const ROWS: usize = 4;
        const COLUMNS: usize = 2;
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            unsafe { _mm_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            unsafe { _mm_storeu_ps(p, self) }
        }
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            unsafe { _mm_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            unsafe { _mm_add_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            unsafe { _mm_sub_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            unsafe { _mm_mul_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            unsafe { _mm_fmadd_ps(self, b, c) }
        }
        #[inline(always)]
        unsafe fn load_pairs(p: *const f32) -> (Self, Self) {
            unsafe {
                let (a, b) = (_mm_loadu_ps(p), _mm_loadu_ps(p.add(4)));
                (_mm_shuffle_ps::<0x88>(a, b), _mm_shuffle_ps::<0xDD>(a, b))
            }
        }
        #[inline(always)]
        unsafe fn store_pairs(even: Self, odd: Self, p: *mut f32) {
            unsafe {
                _mm_storeu_ps(p, _mm_unpacklo_ps(even, odd));
                _mm_storeu_ps(p.add(4), _mm_unpackhi_ps(even, odd));
            }
        }
        #[inline(always)]
        unsafe fn shift_up(self) -> Self {
            unsafe { _mm_castsi128_ps(_mm_slli_si128::<4>(_mm_castps_si128(self))) }
        }
        #[inline(always)]
        unsafe fn shift_down(self) -> Self {
            unsafe { _mm_castsi128_ps(_mm_srli_si128::<4>(_mm_castps_si128(self))) }
        }
        #[inline(always)]
        unsafe fn keep(self, count: usize) -> Self {
            unsafe {
                let kept = _mm_cmpgt_epi32(_mm_set1_epi32(count as i32), _mm_setr_epi32(0, 1, 2, 3));
                _mm_and_ps(self, _mm_castsi128_ps(kept))
            }
        }
    }

    impl Lanes for __m256 {
        const N: usize = 8;
        const ROWS: usize = 4;
        // Eight accumulators just hide the latency of two FMA units; with 4 x 3 the compiler runs out of 16 registers
        // and spills.
        const COLUMNS: usize = 2;
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            unsafe { _mm256_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            unsafe { _mm256_storeu_ps(p, self) }
        }
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            unsafe { _mm256_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            unsafe { _mm256_add_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            unsafe { _mm256_sub_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            unsafe { _mm256_mul_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            unsafe { _mm256_fmadd_ps(self, b, c) }
        }
        #[inline(always)]
        unsafe fn load_pairs(p: *const f32) -> (Self, Self) {
            unsafe {
                let (a, b) = (_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8)));
                let (lo, hi) = (_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b));
                (_mm256_shuffle_ps::<0x88>(lo, hi), _mm256_shuffle_ps::<0xDD>(lo, hi))
            }
        }
        #[inline(always)]
        unsafe fn store_pairs(even: Self, odd: Self, p: *mut f32) {
            unsafe {
                let (lo, hi) = (_mm256_unpacklo_ps(even, odd), _mm256_unpackhi_ps(even, odd));
                _mm256_storeu_ps(p, _mm256_permute2f128_ps::<0x20>(lo, hi));
                _mm256_storeu_ps(p.add(8), _mm256_permute2f128_ps::<0x31>(lo, hi));
            }
        }
        #[inline(always)]
        unsafe fn shift_up(self) -> Self {
            unsafe {
                let before = _mm256_setr_epi32(7, 0, 1, 2, 3, 4, 5, 6);
                _mm256_blend_ps::<0x01>(_mm256_permutevar8x32_ps(self, before), _mm256_setzero_ps())
            }
        }
        #[inline(always)]
        unsafe fn shift_down(self) -> Self {
            unsafe {
                let next = _mm256_setr_epi32(1, 2, 3, 4, 5, 6, 7, 0);
                _mm256_blend_ps::<0x80>(_mm256_permutevar8x32_ps(self, next), _mm256_setzero_ps())
            }
        }
        #[inline(always)]
        unsafe fn keep(self, count: usize) -> Self {
            unsafe {
                let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
                let kept = _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lane);
                _mm256_and_ps(self, _mm256_castsi256_ps(kept))
            }
        }
    }

    impl Lanes for __m512 {
        const N: usize = 16;
        const ROWS: usize = 8;
        const COLUMNS: usize = 2;
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            unsafe { _mm512_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            unsafe { _mm512_storeu_ps(p, self) }
        }
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            unsafe { _mm512_add_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            unsafe { _mm512_sub_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            unsafe { _mm512_mul_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            unsafe { _mm512_fmadd_ps(self, b, c) }
        }
        #[inline(always)]
        unsafe fn load_pairs(p: *const f32) -> (Self, Self) {
            unsafe {
                let (a, b) = (_mm512_loadu_ps(p), _mm512_loadu_ps(p.add(16)));
                let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
                let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
                (_mm512_permutex2var_ps(a, even, b), _mm512_permutex2var_ps(a, odd, b))
            }
        }
        #[inline(always)]
        unsafe fn store_pairs(even: Self, odd: Self, p: *mut f32) {
            unsafe {
                let lo = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
                let hi = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
                _mm512_storeu_ps(p, _mm512_permutex2var_ps(even, lo, odd));
                _mm512_storeu_ps(p.add(16), _mm512_permutex2var_ps(even, hi, odd));
            }
        }
        #[inline(always)]
        unsafe fn shift_up(self) -> Self {
            unsafe {
                let before = _mm512_setr_epi32(15, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14);
                _mm512_maskz_permutexvar_ps(0xFFFE, before, self)
            }
        }
        #[inline(always)]
        unsafe fn shift_down(self) -> Self {
            unsafe {
                let next = _mm512_setr_epi32(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0);
                _mm512_maskz_permutexvar_ps(0x7FFF, next, self)
            }
        }
        #[inline(always)]
        unsafe fn keep(self, count: usize) -> Self {
            unsafe {
                let lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
                let kept = _mm512_cmplt_epi32_mask(lane, _mm512_set1_epi32(count as i32));
                _mm512_maskz_mov_ps(kept, self)
            }
        }
    }
}

/// Defines `fn $name(level, …)` from the generic body `$body::<V>(…)`. `wide` bodies get the widest vectors of the
/// level, `eight` bodies vectors of eight floats, `four` bodies vectors of four, or of eight without AVX2.
macro_rules! lanes {
    (wide $vis:vis fn $name:ident($($a:ident: $t:ty),* $(,)?) = $body:ident) => {
        $crate::lanes::lanes!(@define $vis $name, $body, ($($a: $t),*), "avx512f,avx2,fma", __m512, __m256);
    };
    (eight $vis:vis fn $name:ident($($a:ident: $t:ty),* $(,)?) = $body:ident) => {
        $crate::lanes::lanes!(@define $vis $name, $body, ($($a: $t),*), "avx2,fma", __m256, __m256);
    };
    (four $vis:vis fn $name:ident($($a:ident: $t:ty),* $(,)?) = $body:ident) => {
        $crate::lanes::lanes!(@define $vis $name, $body, ($($a: $t),*), "avx2,fma", __m128, __m128);
    };
    (@define $vis:vis $name:ident, $body:ident, ($($a:ident: $t:ty),*), $features:literal, $best:ident, $avx2:ident) => {
        /// Runs the body with vectors of `level`.
        ///
        /// # Safety
        /// The conditions of the body hold, and the machine has `level`.
        #[allow(clippy::too_many_arguments)]
        $vis unsafe fn $name(level: $crate::simd::Level, $($a: $t),*) {
            #[cfg(target_arch = "x86_64")]
            {
                use $crate::simd::Level;
                #[target_feature(enable = $features)]
                #[allow(clippy::too_many_arguments)]
                unsafe fn best($($a: $t),*) {
                    // SAFETY: the caller upholds the conditions of the body.
                    unsafe { $body::<std::arch::x86_64::$best>($($a),*) }
                }
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                unsafe fn avx2($($a: $t),*) {
                    // SAFETY: the caller upholds the conditions of the body.
                    unsafe { $body::<std::arch::x86_64::$avx2>($($a),*) }
                }
                match level {
                    // SAFETY: the caller upholds the conditions of the body, and the machine has this level.
                    Level::Avx512 => return unsafe { best($($a),*) },
                    // SAFETY: the caller upholds the conditions of the body, and the machine has this level.
                    Level::Avx2 => return unsafe { avx2($($a),*) },
                    Level::Baseline => {}
                }
            }
            let _ = level;
            // SAFETY: the caller upholds the conditions of the body; plain Rust runs everywhere.
            unsafe { $body::<$crate::lanes::Portable>($($a),*) }
        }
    };
}
pub(super) use lanes;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Level, detected};

    /// Separates and interleaves 32 floats.
    ///
    /// # Safety
    /// All slices have 32 floats.
    #[inline(always)]
    unsafe fn round_trip_body<V: Lanes>(x: &[f32], even_first: &mut [f32], rejoined: &mut [f32]) {
        // SAFETY: the caller upholds this function's conditions.
        unsafe {
            for i in (0..32).step_by(2 * V::N) {
                let (even, odd) = V::load_pairs(x.as_ptr().add(i));
                even.store(even_first.as_mut_ptr().add(i / 2));
                odd.store(even_first.as_mut_ptr().add(16 + i / 2));
                V::store_pairs(even, odd, rejoined.as_mut_ptr().add(i));
            }
        }
    }
    lanes!(wide fn round_trip(x: &[f32], even_first: &mut [f32], rejoined: &mut [f32]) = round_trip_body);

    #[test]
    fn pairs_separate_and_rejoin_in_order() {
        let x: Vec<f32> = (0..32).map(|i| i as f32).collect();
        for level in [Level::Baseline, Level::Avx2, Level::Avx512] {
            let (mut parts, mut rejoined) = ([0.0; 32], [0.0; 32]);
            // SAFETY: the slices have 32 elements, and the machine has this level.
            unsafe { round_trip(level.min(detected()), &x, &mut parts, &mut rejoined) };
            assert_eq!(rejoined[..], x[..], "{level:?}");
            assert!((0..16).all(|i| parts[i] == x[2 * i] && parts[16 + i] == x[2 * i + 1]), "{level:?}");
        }
    }

    /// Shifts the first vector of `x` and keeps its first `count` floats. Says how many floats a vector has.
    ///
    /// # Safety
    /// All slices have 16 floats.
    #[inline(always)]
    unsafe fn moved_body<V: Lanes>(x: &[f32], count: usize, out: &mut [[f32; 16]; 3], lanes: &mut usize) {
        *lanes = V::N;
        // SAFETY: the caller upholds this function's conditions; no vector is longer than 16 floats.
        unsafe {
            let x = V::load(x.as_ptr());
            x.shift_up().store(out[0].as_mut_ptr());
            x.shift_down().store(out[1].as_mut_ptr());
            x.keep(count).store(out[2].as_mut_ptr());
        }
    }
    lanes!(wide fn moved_wide(x: &[f32], count: usize, out: &mut [[f32; 16]; 3], lanes: &mut usize) = moved_body);
    lanes!(eight fn moved_eight(x: &[f32], count: usize, out: &mut [[f32; 16]; 3], lanes: &mut usize) = moved_body);
    lanes!(four fn moved_four(x: &[f32], count: usize, out: &mut [[f32; 16]; 3], lanes: &mut usize) = moved_body);

    #[test]
    fn shifts_and_kept_floats_leave_zeros_behind() {
        let x: Vec<f32> = (1..=16).map(|i| i as f32).collect();
        for level in [Level::Baseline, Level::Avx2, Level::Avx512].map(|level| level.min(detected())) {
            for (moved, count) in
                [moved_wide, moved_eight, moved_four].into_iter().flat_map(|f| (0..=4).map(move |c| (f, c)))
            {
                let (mut out, mut n) = ([[0.0; 16]; 3], 0);
                // SAFETY: the slices have 16 elements, and the machine has this level.
                unsafe { moved(level, &x, count, &mut out, &mut n) };
                assert_eq!(out[0][..n], [&[0.0], &x[..n - 1]].concat(), "{level:?}");
                assert_eq!(out[1][..n], [&x[1..n], &[0.0]].concat(), "{level:?}");
                assert_eq!(out[2][..n], [&x[..count], &vec![0.0; n - count]].concat(), "{level:?}, {count}");
            }
        }
    }
}
