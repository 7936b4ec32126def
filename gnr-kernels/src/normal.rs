//! The standard normal distribution and GELU, x·Φ(x), without an error function from the C library: loops vectorise in
//! `f32`.

use super::elem::Elem;
use super::sigmoid::exp_sum_f32;
use super::simd::multiply_add;

/// Scale of t = [`NORMAL_SCALE`]/([`NORMAL_SCALE`] + a), which maps the tail a ≥ 0 to (0, 1].
pub const NORMAL_SCALE: f64 = 3.75;

/// Coefficients of P by ascending powers, where Φ(−a) = exp(−a²/2)·t·P(2t − 1) for a ≥ 0.
///
/// Computed from the Chebyshev expansion of exp(a²/2)·Φ(−a)/t in 60-digit arithmetic. The relative error is below 1e-16
/// everywhere.
pub const NORMAL_TAIL: [f64; 26] = [
    0.200_078_419_270_906_42,
    0.156_850_244_756_341_02,
    0.094_117_295_327_487_12,
    0.040_404_497_447_160_36,
    0.009_997_153_445_024_994,
    -0.000_311_560_525_126_578_73,
    -0.001_110_098_201_601_859_2,
    -0.000_162_642_905_506_432_05,
    0.000_125_286_368_737_709_07,
    3.125_605_171_479_468_5e-5,
    -1.868_695_321_269_435_4e-5,
    -4.551_129_249_776_776e-6,
    3.549_363_779_867_046e-6,
    4.387_437_258_513_315e-7,
    -7.380_107_025_034_037e-7,
    4.445_132_626_270_883_4e-8,
    1.431_672_500_284_196e-7,
    -4.336_181_820_736_384e-8,
    -2.120_398_454_929_033_5e-8,
    1.568_846_765_429_247e-8,
    1.214_240_452_656_772_3e-9,
    -3.840_812_488_963_698_4e-9,
    3.363_267_170_580_522_6e-10,
    6.208_989_761_308_434e-10,
    -7.072_734_325_858_626e-11,
    -5.064_578_336_458_481_4e-11,
];

/// Coefficients of P to the precision of `f32`: the expansion cut off after 11 terms, with an error of 3e-8.
const TAIL: [f32; 11] = [
    0.200_078_41,
    0.156_850_2,
    0.094_117_366,
    0.040_405_203,
    0.009_996_344,
    -0.000_315_610_8,
    -0.001_106_511,
    -0.000_153_032_63,
    0.000_117_902_34,
    2.092_793_5e-5,
    -1.121_402_1e-5,
];

/// Where the tails of the normal distribution end in `f32`: from here on Φ(−a) < 1e-23 and exp(−a²/2) < 2e-22 are 0.
///
/// Otherwise the products of such tails with gradients are subnormal numbers, each of which costs the processor some
/// hundred cycles. Activations grow in training, and with them the number of such inputs: a run of LeNet took four
/// times as long. (GELU by an error function, as 1 + erf(x/√2), is 0 below −5.6.)
const TAIL_ENDS: f32 = 10.0;

/// Computes Φ(x) to 8 units in the last place, and exp(−x²/2) to 4; 0, or 1, for |x| ≥ 10; NaN for NaN.
#[inline(always)]
pub fn normal_f32<const FUSED: bool>(x: f32) -> (f32, f32) {
    // Comparisons with NaN are false.
    let at = if x > TAIL_ENDS { TAIL_ENDS } else { x };
    let at = if at < -TAIL_ENDS { -TAIL_ENDS } else { at };
    // The square of the leading 12 bits is exact, and the rest of x² is small.
    let high = f32::from_bits(at.to_bits() & 0xffff_f000);
    let power = exp_sum_f32::<FUSED>(-0.5 * high * high, -0.5 * (at - high) * (at + high));
    let size = if at < 0.0 { -at } else { at };
    let power = if size >= TAIL_ENDS { 0.0 } else { power };
    let t = 1.0 / multiply_add::<FUSED>(size, 1.0 / NORMAL_SCALE as f32, 1.0);
    let u = multiply_add::<FUSED>(2.0, t, -1.0);
    let mut p = TAIL[10];
    for i in (0..10).rev() {
        p = multiply_add::<FUSED>(p, u, TAIL[i]);
    }
    let tail = power * (t * p);
    (if at > 0.0 { 1.0 - tail } else { tail }, power)
}

/// Computes Φ(x) and exp(−x²/2), each to 3 units in the last place down to the smallest normal number; NaN for NaN.
#[inline(always)]
pub fn normal_f64(x: f64) -> (f64, f64) {
    // Beyond 39, exp(−x²/2) is 0. Comparisons with NaN are false.
    let at = if x > 39.0 { 39.0 } else { x };
    let at = if at < -39.0 { -39.0 } else { at };
    // Rounding x² would cost x²/4 units of the exponential. The square of the leading 26 bits is exact. The rest of x²
    // is at most 5e-5, where four terms of the series are enough.
    let high = f64::from_bits(at.to_bits() & 0xffff_ffff_f800_0000);
    let low = -0.5 * (at - high) * (at + high);
    let power = (-0.5 * high * high).exp();
    let power = power + power * (low * (1.0 + low * (0.5 + low * (1.0 / 6.0))));
    let t = 1.0 / (1.0 + at.abs() * (1.0 / NORMAL_SCALE));
    let u = 2.0 * t - 1.0;
    let mut p = 0.0;
    for i in (0..NORMAL_TAIL.len()).rev() {
        p = p * u + NORMAL_TAIL[i];
    }
    let tail = power * (t * p);
    (if at > 0.0 { 1.0 - tail } else { tail }, power)
}

/// Computes the distribution function Φ(x).
#[inline(always)]
pub fn normal_cdf<E: Elem, const FUSED: bool>(x: E) -> E {
    x.normal::<FUSED>().0
}

/// Computes the density φ(x) = exp(−x²/2)/√2π.
#[inline(always)]
pub fn density<E: Elem, const FUSED: bool>(x: E) -> E {
    x.normal::<FUSED>().1 * E::of(std::f64::consts::TAU.sqrt().recip())
}

/// Computes GELU(x) = x Φ(x).
#[inline(always)]
pub fn gelu<E: Elem, const FUSED: bool>(x: E) -> E {
    x * normal_cdf::<E, FUSED>(x)
}

/// Computes GELU′(x) = Φ(x) + x φ(x) and GELU″(x) = φ(x) (2 − x²).
#[inline(always)]
pub fn gelu_derivatives<E: Elem, const FUSED: bool>(x: E) -> [E; 2] {
    gelu_with_derivatives::<E, FUSED>(x).1
}

/// Computes [`gelu`] and its [derivatives](gelu_derivatives).
#[inline(always)]
pub fn gelu_with_derivatives<E: Elem, const FUSED: bool>(x: E) -> (E, [E; 2]) {
    let (cdf, power) = x.normal::<FUSED>();
    let density = power * E::of(std::f64::consts::TAU.sqrt().recip());
    (x * cdf, [cdf + x * density, density * (E::of(2.0) - x * x)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computes Φ(x) to x² units of double precision.
    fn exact(x: f64) -> f64 {
        0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
    }

    #[test]
    fn single_precision_is_right_to_a_few_units() {
        single_precision::<false>();
        single_precision::<true>();
    }

    fn single_precision<const FUSED: bool>() {
        let (mut cdf_worst, mut power_worst) = (0.0f64, 0.0f64);
        let relative = |found: f32, exact: f64| (f64::from(found) - exact).abs() / exact;
        for i in -1_500_000..=1_500_000 {
            let x = i as f32 * 1e-5;
            let (cdf, power) = normal_f32::<FUSED>(x);
            let wide = f64::from(x);
            if x.abs() >= TAIL_ENDS {
                assert_eq!((cdf, power), (if x > 0.0 { 1.0 } else { 0.0 }, 0.0), "{x}");
            } else {
                cdf_worst = cdf_worst.max(relative(cdf, exact(wide)));
                power_worst = power_worst.max(relative(power, (-0.5 * wide * wide).exp()));
            }
            let slope = exact(wide) + wide * (-0.5 * wide * wide).exp() / std::f64::consts::TAU.sqrt();
            assert!((f64::from(gelu_derivatives::<f32, FUSED>(x)[0]) - slope).abs() < 3e-7, "slope at {x}");
        }
        let unit = f64::from(f32::EPSILON);
        assert!(
            cdf_worst < 8.0 * unit && power_worst < 4.0 * unit,
            "{:?}",
            (cdf_worst / unit, power_worst / unit)
        );
    }

    /// Computes Φ(x) to 2 units in the last place (checked against 45 digits at 4700 points). The error function is
    /// evaluated at −x/√2. The tail magnifies the rounding of that argument x² times, so it is corrected to first
    /// order.
    fn exact_to_the_last(x: f64) -> f64 {
        use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};
        const FRAC_1_SQRT_2_REST: f64 = -4.833_646_656_726_457e-17;
        let z = -x * FRAC_1_SQRT_2;
        let rounding = (-x).mul_add(FRAC_1_SQRT_2, -z) - x * FRAC_1_SQRT_2_REST;
        0.5 * (libm::erfc(z) - FRAC_2_SQRT_PI * (-z * z).exp() * rounding)
    }

    /// The kernel's error against 45 digits is 2.6 units; with the reference's 2 units it is below 5.
    #[test]
    fn double_precision_is_right_to_a_few_units_in_both_tails() {
        let (mut worst, mut worst_power) = (0.0f64, 0.0f64);
        // Φ(−37.5) is the last normal number.
        for i in -125_000..=125_000 {
            let x = f64::from(i) * 3e-4;
            let (cdf, power) = normal_f64(x);
            let expected = exact_to_the_last(x);
            worst = worst.max((cdf - expected).abs() / expected);
            // x = k + r with k of few bits: k² and k·r are exact enough for the product of two exponentials of moderate
            // arguments.
            let k = (x * 8.0).round() / 8.0;
            let expected = (-0.5 * k * k).exp() * (-(x - k) * (k + 0.5 * (x - k))).exp();
            worst_power = worst_power.max((power - expected).abs() / expected);
        }
        let unit = f64::EPSILON;
        assert!(worst < 5.0 * unit && worst_power < 4.0 * unit, "{:?}", (worst / unit, worst_power / unit));
    }

    #[test]
    fn limits_and_nan() {
        limits::<false>();
        limits::<true>();
    }

    fn limits<const FUSED: bool>() {
        let single = normal_f32::<FUSED>;
        assert_eq!((single(0.0).0, single(-0.0).0), (0.5, 0.5));
        assert_eq!((single(f32::INFINITY).0, single(f32::NEG_INFINITY).0), (1.0, 0.0));
        assert_eq!((normal_f64(f64::INFINITY).0, normal_f64(f64::NEG_INFINITY).0), (1.0, 0.0));
        assert!(single(f32::NAN).0.is_nan() && normal_f64(f64::NAN).0.is_nan());
        let [first, second] = gelu_derivatives::<f32, FUSED>(f32::NAN);
        assert!(first.is_nan() && second.is_nan());
    }
}
