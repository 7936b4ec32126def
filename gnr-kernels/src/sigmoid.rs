//! The exponential, the logistic function and SiLU, written so that loops over them vectorise in `f32`.

use super::elem::Elem;
use super::simd::multiply_add;

/// Computes e^x in `f32` to 2 units in the last place; 0 below −87, ∞ above 88.7, NaN for NaN.
///
/// Below −87.3, e^x is a subnormal number: computing with it takes some hundred cycles, and no sum would notice it.
/// The cut is at n = −126, where p·2^n may already be subnormal.
///
/// The arithmetic has no branches, unlike the C library's. With x = n ln 2 + r and |r| ≤ (ln 2)/2, e^r is computed by
/// p, its Taylor polynomial of degree 7 (error 1e-8). 2^n is applied as two factors, because 2^128 is no `f32`.
#[inline(always)]
pub fn exp_f32<const FUSED: bool>(x: f32) -> f32 {
    exp_sum_f32::<FUSED>(x, 0.0)
}

/// Computes e^(x + low) in `f32`, where `low` is the rounding error of x, at most 0.06 in size.
#[inline(always)]
pub fn exp_sum_f32<const FUSED: bool>(x: f32, low: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // A NaN passes, because comparisons with it are false.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -105.0 { -105.0 } else { x };
    // Adding 3·2²² rounds to an integer and leaves it in the low bits. `as i32` saturates, which costs a branch for
    // each element.
    const SHIFT: f32 = 12_582_912.0;
    let shifted = multiply_add::<FUSED>(x, std::f32::consts::LOG2_E, SHIFT);
    let n = shifted - SHIFT;
    let r = multiply_add::<FUSED>(-n, LN2_LOW, multiply_add::<FUSED>(-n, LN2_HIGH, x)) + low;
    let mut p = 1.0 / 5040.0;
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = multiply_add::<FUSED>(p, r, c);
    }
    let n = shifted.to_bits() as i32 - SHIFT.to_bits() as i32;
    let half = n >> 1;
    let bits = |n: i32| ((n + 127) << 23) as u32;
    // The factor vanishes, not the product: a compiler may compute the product first.
    let rest = if n < -125 { 0 } else { bits(n - half) };
    p * f32::from_bits(bits(half)) * f32::from_bits(rest)
}

/// Computes the logistic function 1/(1 + e⁻ˣ).
#[inline(always)]
pub fn sigmoid<E: Elem, const FUSED: bool>(x: E) -> E {
    E::one() / (E::one() + (-x).natural_exp::<FUSED>())
}

/// Computes SiLU(x) = x/(1 + e⁻ˣ).
#[inline(always)]
pub fn silu<E: Elem, const FUSED: bool>(x: E) -> E {
    x / (E::one() + (-x).natural_exp::<FUSED>())
}

/// Computes σ(x) from x and y = SiLU(x), by a division instead of an exponential.
#[inline(always)]
fn gate<E: Elem>(x: E, y: E) -> E {
    // Where y is 0 or has lost digits, σ is 1/2 or vanishes.
    let tiny = E::of(1e-30);
    let ratio = y / x;
    if x > -tiny && x < tiny { E::of(0.5) } else { ratio }
}

/// Computes SiLU′(x) from x and y = SiLU(x).
#[inline(always)]
pub fn silu_first<E: Elem>(x: E, y: E) -> E {
    let s = gate(x, y);
    s + y * (E::one() - s)
}

/// Computes SiLU″(x) from x and y = SiLU(x).
#[inline(always)]
pub fn silu_second<E: Elem>(x: E, y: E) -> E {
    let (s, one) = (gate(x, y), E::one());
    let two = one + one;
    s * (one - s) * (two + x * (one - two * s))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn the_exponential<const FUSED: bool>() {
        let mut worst = 0.0f64;
        for i in -1_030_000..=880_000 {
            let x = i as f32 * 1e-4;
            let (found, exact) = (exp_f32::<FUSED>(x), f64::from(x).exp());
            if x < -87.0 {
                assert_eq!(found, 0.0, "{x}");
            } else if x > -86.98 {
                worst = worst.max((f64::from(found) - exact).abs() / exact);
            }
            assert!(found == 0.0 || found.is_normal(), "{x}");
        }
        assert!(worst < 2.0 * f64::from(f32::EPSILON), "{worst:e}");
    }

    #[test]
    fn the_exponential_is_right_to_two_units() {
        the_exponential::<false>();
        the_exponential::<true>();
    }

    #[test]
    fn limits_and_nan() {
        limits::<false>();
        limits::<true>();
    }

    fn limits<const FUSED: bool>() {
        let (exp, silu) = (exp_f32::<FUSED>, silu::<f32, FUSED>);
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan() && silu(f32::NAN).is_nan() && silu_first(f32::NAN, f32::NAN).is_nan());
        assert_eq!((silu(-200.0), silu(200.0)), (0.0, 200.0));
        for x in [0.0f32, 1e-38, -1e-38, 200.0, -200.0] {
            let y = silu(x);
            let expected = if x > 1.0 {
                1.0
            } else if x < -1.0 {
                0.0
            } else {
                0.5
            };
            assert_eq!(silu_first(x, y), expected, "{x}");
            assert!(silu_second(x, y).is_finite(), "{x}");
        }
    }

    #[test]
    fn derivatives_of_silu_by_its_value_are_those_by_the_logistic_function() {
        for i in -4000..=4000 {
            let x = f64::from(i) * 5e-3;
            let (s, y) = (sigmoid::<f64, false>(x), silu::<f64, false>(x));
            assert!((silu_first(x, y) - s * (1.0 + x * (1.0 - s))).abs() < 1e-14, "{x}");
            let second = s * (1.0 - s) * (2.0 + x * (1.0 - 2.0 * s));
            assert!((silu_second(x, y) - second).abs() < 1e-14, "{x}");
        }
    }
}
