//! Transposes between feature maps [channels, pixels] and pixel-major copies [pixels, channels].
#![allow(unsafe_code)]

use crate::simd::Level;

/// Copies `y[p, c] = x[c, p]` for `channels` x `pixels`. Rows of x start `x_row` apart, rows of y `y_row` apart.
pub(super) fn transpose(
    level: Level,
    x: &[f32],
    x_row: usize,
    channels: usize,
    pixels: usize,
    y: &mut [f32],
    y_row: usize,
) {
    transpose_with::<false>(level, x, x_row, channels, pixels, y, y_row);
}

/// Adds `y[p, c] += x[c, p]`.
pub(super) fn transpose_add(
    level: Level,
    x: &[f32],
    x_row: usize,
    channels: usize,
    pixels: usize,
    y: &mut [f32],
    y_row: usize,
) {
    transpose_with::<true>(level, x, x_row, channels, pixels, y, y_row);
}

#[inline(always)]
fn transpose_with<const ADD: bool>(
    level: Level,
    x: &[f32],
    x_row: usize,
    channels: usize,
    pixels: usize,
    y: &mut [f32],
    y_row: usize,
) {
    if channels == 0 || pixels == 0 {
        return;
    }
    assert!(x.len() >= (channels - 1) * x_row + pixels && y.len() >= (pixels - 1) * y_row + channels);
    // The part that whole 8x8 squares cover, and within it the part of whole 16x16 squares: whole cache lines on both
    // sides.
    #[allow(unused_mut)]
    let (mut whole_c, mut whole_p) = (0, 0);
    #[cfg(target_arch = "x86_64")]
    if level >= Level::Avx2 {
        (whole_c, whole_p) = (channels / 8 * 8, pixels / 8 * 8);
        let wide = level >= Level::Avx512;
        let (wide_c, wide_p) = if wide { (channels / 16 * 16, pixels / 16 * 16) } else { (0, 0) };
        for c in (0..wide_c).step_by(16) {
            for p in (0..wide_p).step_by(16) {
                // SAFETY: the squares lie inside the arrays by the assertion above, and the level includes AVX-512.
                unsafe {
                    sixteen::<ADD>(
                        x.as_ptr().add(c * x_row + p),
                        x_row,
                        y.as_mut_ptr().add(p * y_row + c),
                        y_row,
                    )
                };
            }
        }
        // Most calls end here: a row of an image, a few squares.
        if (wide_c, wide_p) == (channels, pixels) {
            return;
        }
        for c in (0..whole_c).step_by(8) {
            for p in (if c < wide_c { wide_p } else { 0 }..whole_p).step_by(8) {
                // SAFETY: the 8x8 squares lie inside the arrays by the assertion above, and the level includes AVX2.
                unsafe {
                    eight::<ADD>(
                        x.as_ptr().add(c * x_row + p),
                        x_row,
                        y.as_mut_ptr().add(p * y_row + c),
                        y_row,
                    )
                };
            }
        }
    }
    let _ = level;
    if (whole_c, whole_p) == (channels, pixels) {
        return;
    }
    for c in 0..channels {
        let from = if c < whole_c { whole_p } else { 0 };
        for p in from..pixels {
            let to = &mut y[p * y_row + c];
            *to = if ADD { *to + x[c * x_row + p] } else { x[c * x_row + p] };
        }
    }
}

/// Transposes a 16x16 square.
///
/// # Safety
/// The machine has AVX-512 F; both squares are valid.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn sixteen<const ADD: bool>(x: *const f32, x_row: usize, y: *mut f32, y_row: usize) {
    use std::arch::x86_64::*;
    // SAFETY: the caller upholds this function's conditions.
    unsafe {
        let r: [__m512; 16] = std::array::from_fn(|i| _mm512_loadu_ps(x.add(i * x_row)));
        // `q[k][j]` holds rows 4k..4k + 4; its quarter q is column 4q + j.
        let mut q = [[_mm512_setzero_ps(); 4]; 4];
        for k in 0..4 {
            let double = |i: usize, high: bool| {
                let (a, b) = (r[4 * k + i], r[4 * k + i + 1]);
                _mm512_castps_pd(if high { _mm512_unpackhi_ps(a, b) } else { _mm512_unpacklo_ps(a, b) })
            };
            let (low, high) = ([double(0, false), double(2, false)], [double(0, true), double(2, true)]);
            q[k] = [
                _mm512_unpacklo_pd(low[0], low[1]),
                _mm512_unpackhi_pd(low[0], low[1]),
                _mm512_unpacklo_pd(high[0], high[1]),
                _mm512_unpackhi_pd(high[0], high[1]),
            ]
            .map(|values| _mm512_castpd_ps(values));
        }
        for j in 0..4 {
            // Quarters 0 and 2, then 1 and 3, of all rows.
            let even = [0, 2].map(|k| _mm512_shuffle_f32x4::<0x88>(q[k][j], q[k + 1][j]));
            let odd = [0, 2].map(|k| _mm512_shuffle_f32x4::<0xDD>(q[k][j], q[k + 1][j]));
            let rows = [
                (j, _mm512_shuffle_f32x4::<0x88>(even[0], even[1])),
                (j + 4, _mm512_shuffle_f32x4::<0x88>(odd[0], odd[1])),
                (j + 8, _mm512_shuffle_f32x4::<0xDD>(even[0], even[1])),
                (j + 12, _mm512_shuffle_f32x4::<0xDD>(odd[0], odd[1])),
            ];
            for (column, row) in rows {
                let to = y.add(column * y_row);
                _mm512_storeu_ps(to, if ADD { _mm512_add_ps(_mm512_loadu_ps(to), row) } else { row });
            }
        }
    }
}

/// Transposes an 8x8 square.
///
/// # Safety
/// The machine has AVX2; both squares are valid.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn eight<const ADD: bool>(x: *const f32, x_row: usize, y: *mut f32, y_row: usize) {
    use std::arch::x86_64::*;
    // SAFETY: the caller upholds this function's conditions.
    unsafe {
        let r: [__m256; 8] = std::array::from_fn(|i| _mm256_loadu_ps(x.add(i * x_row)));
        let pair = |i: usize| (_mm256_unpacklo_ps(r[i], r[i + 1]), _mm256_unpackhi_ps(r[i], r[i + 1]));
        let (a, b, c, d) = (pair(0), pair(2), pair(4), pair(6));
        // Columns k and k + 4 of the rows 0..4 (low) and 4..8 (high).
        let low = [
            _mm256_shuffle_ps::<0x44>(a.0, b.0),
            _mm256_shuffle_ps::<0xEE>(a.0, b.0),
            _mm256_shuffle_ps::<0x44>(a.1, b.1),
            _mm256_shuffle_ps::<0xEE>(a.1, b.1),
        ];
        let high = [
            _mm256_shuffle_ps::<0x44>(c.0, d.0),
            _mm256_shuffle_ps::<0xEE>(c.0, d.0),
            _mm256_shuffle_ps::<0x44>(c.1, d.1),
            _mm256_shuffle_ps::<0xEE>(c.1, d.1),
        ];
        for k in 0..4 {
            let rows = [
                (y.add(k * y_row), _mm256_permute2f128_ps::<0x20>(low[k], high[k])),
                (y.add((k + 4) * y_row), _mm256_permute2f128_ps::<0x31>(low[k], high[k])),
            ];
            for (to, row) in rows {
                _mm256_storeu_ps(to, if ADD { _mm256_add_ps(_mm256_loadu_ps(to), row) } else { row });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::detected;
    use crate::testing::noise;

    #[test]
    fn transposes_of_every_size() {
        for (channels, pixels) in [(1, 1), (8, 8), (16, 32), (3, 20), (19, 9), (24, 7), (33, 41), (40, 24)] {
            let (x_row, y_row) = (pixels + 3, channels + 5);
            let x = noise::<f32>(channels * x_row, 1);
            for level in [Level::Baseline, Level::Avx2, Level::Avx512] {
                let mut y = vec![f32::NAN; pixels * y_row];
                transpose(level.min(detected()), &x, x_row, channels, pixels, &mut y, y_row);
                assert!((0..channels * pixels).all(|i| {
                    let (c, p) = (i / pixels, i % pixels);
                    y[p * y_row + c] == x[c * x_row + p]
                }));
                transpose_add(level.min(detected()), &x, x_row, channels, pixels, &mut y, y_row);
                assert!((0..channels * pixels).all(|i| {
                    let (c, p) = (i / pixels, i % pixels);
                    y[p * y_row + c] == 2.0 * x[c * x_row + p]
                }));
            }
        }
    }
}
