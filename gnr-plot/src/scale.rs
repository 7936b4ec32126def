//! The scales of axes: from values to positions, and the values that get ticks.

use crate::figure::{Axis, Scale};

/// The scale and the range of an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span {
    scale: Scale,
    /// The ends of the range on the scale: values, or their logarithms to base 10.
    low: f64,
    high: f64,
    /// Ticks at whole numbers only.
    whole: bool,
}

/// A value that gets a tick, and its name, which is empty for small ticks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tick {
    pub(crate) value: f64,
    pub(crate) label: String,
}

impl Span {
    /// The axis' own range, or the range of `values` with a margin of `margin` times their spread on both sides.
    pub(crate) fn new(axis: &Axis, values: impl IntoIterator<Item = f64>, margin: f64) -> Self {
        let scale = axis.scale;
        if let Some([low, high]) = axis.range {
            return Self { scale, low: on(scale, low), high: on(scale, high), whole: false };
        }
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.into_iter().map(|value| on(scale, value)).filter(|value| value.is_finite()) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        // A constant gets an interval around it; otherwise its rounding errors would fill the axis.
        let least = match scale {
            Scale::Linear => (1e-9 * low.abs().max(high.abs())).max(1e-300),
            Scale::Log => 1e-6,
        };
        if high - low < least {
            let around = match scale {
                Scale::Log => 0.5,
                Scale::Linear if low == 0.0 => 1.0,
                Scale::Linear => (0.5 * low.abs()).max(least),
            };
            (low, high) = (low - around, high + around);
        }
        let by = margin * (high - low);
        Self { scale, low: low - by, high: high + by, whole: false }
    }

    /// The scale with ticks at whole numbers only.
    pub(crate) fn of_whole_numbers(self) -> Self {
        Self { whole: true, ..self }
    }

    /// The position of a value: 0 at the low end, 1 at the high end, and not finite for values without one.
    pub(crate) fn at(&self, value: f64) -> f64 {
        (on(self.scale, value) - self.low) / (self.high - self.low)
    }

    /// The value at position `t`.
    pub(crate) fn value(&self, t: f64) -> f64 {
        let on_scale = self.low + t * (self.high - self.low);
        if self.scale == Scale::Log { 10_f64.powf(on_scale) } else { on_scale }
    }

    /// Ticks at about `count` round values.
    pub(crate) fn ticks(&self, count: usize) -> Vec<Tick> {
        match self.scale {
            Scale::Linear if self.whole => {
                linear(self.low, self.high, count.min((self.high - self.low) as usize).max(1))
                    .into_iter()
                    .filter(|tick| tick.value.fract() == 0.0)
                    .collect()
            }
            Scale::Linear => linear(self.low, self.high, count),
            Scale::Log => logarithmic(self.low, self.high, count),
        }
    }
}

fn on(scale: Scale, value: f64) -> f64 {
    match scale {
        Scale::Linear => value,
        Scale::Log if value > 0.0 => value.log10(),
        Scale::Log => f64::NAN,
    }
}

/// Ticks at the multiples of a step: the smallest of 1, 2, 5 times a power of ten that makes at most `count` + 1 ticks.
fn linear(low: f64, high: f64, count: usize) -> Vec<Tick> {
    let rough = (high - low) / count.max(1) as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|m| m * power)
        .find(|step| *step >= rough * (1.0 - 1e-9))
        .unwrap_or(10.0 * power);
    let (first, last) = ((low / step - 1e-6).ceil(), (high / step + 1e-6).floor());
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    let large = low.abs().max(high.abs());
    (0..)
        .map(|i| first + f64::from(i))
        .take_while(|i| *i <= last)
        .map(|i| {
            let value = i * step;
            let label = if large >= 1e5 || decimals > 5 {
                scientific(value, step)
            } else {
                minus(format!("{value:.decimals$}"))
            };
            Tick { value, label }
        })
        .collect()
}

/// A number as `1.5×10⁻⁶`, with the digits that a step needs.
fn scientific(value: f64, step: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let exponent = (value.abs() * (1.0 + 1e-12)).log10().floor();
    let digits = (exponent - step.log10().floor()).max(0.0) as usize;
    let mantissa = minus(format!("{:.digits$}", value / 10_f64.powf(exponent)));
    if mantissa == "1" {
        format!("10{}", superscript(exponent as i32))
    } else {
        format!("{mantissa}×10{}", superscript(exponent as i32))
    }
}

/// Ticks at powers of ten, with unnamed ticks in between. If the range has fewer than two powers, ticks are at round
/// values.
fn logarithmic(low: f64, high: f64, count: usize) -> Vec<Tick> {
    let (first, last) = ((low - 1e-9).ceil() as i32, (high + 1e-9).floor() as i32);
    if last - first < 1 {
        let values = linear(10_f64.powf(low), 10_f64.powf(high), count);
        return values.into_iter().filter(|tick| tick.value > 0.0).collect();
    }
    // Over fewer than 2.5 decades, twos and fives are named, too.
    let fine = high - low < 2.5;
    let every = ((last - first) as usize).div_ceil(count.max(1)).max(1) as i32;
    let mut ticks = Vec::new();
    for power in first - 1..=last {
        for digit in 1..10 {
            let position = f64::from(power) + f64::from(digit).log10();
            if position < low - 1e-9 || position > high + 1e-9 {
                continue;
            }
            let named = digit == 1 && (power - first) % every == 0;
            if digit == 1 || every == 1 {
                let label = match power {
                    -3..=3 if fine && (digit == 2 || digit == 5) => {
                        minus(format!("{}", 10_f64.powi(power) * f64::from(digit)))
                    }
                    -3..=-1 if fine && named => format!("{}", 10_f64.powi(power)),
                    _ if !named => String::new(),
                    0 => "1".into(),
                    1 => "10".into(),
                    power => format!("10{}", superscript(power)),
                };
                ticks.push(Tick { value: 10_f64.powf(position), label });
            }
        }
    }
    ticks
}

fn superscript(number: i32) -> String {
    number
        .to_string()
        .chars()
        .map(|c| match c {
            '-' => '⁻',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            digit => char::from_u32(0x2070 + digit.to_digit(10).unwrap_or(0)).unwrap_or(digit),
        })
        .collect()
}

/// Writes a minus sign that is as long as a plus, and zero without a sign.
fn minus(text: String) -> String {
    match text.strip_prefix('-') {
        Some(zero) if zero.chars().all(|c| c == '0' || c == '.') => zero.to_owned(),
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(axis: &Axis, low: f64, high: f64, count: usize) -> Vec<String> {
        let span = Span::new(&axis.clone().within(low, high), [], 0.0);
        span.ticks(count).into_iter().map(|tick| tick.label).filter(|label| !label.is_empty()).collect()
    }

    #[test]
    fn ticks_are_round() {
        let linear = Axis::linear("");
        assert_eq!(labels(&linear, 0.0, 1.0, 5), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&linear, -1.0, 1.0, 4), ["−1.0", "−0.5", "0.0", "0.5", "1.0"]);
        assert_eq!(labels(&linear, 3.0, 97.0, 5), ["20", "40", "60", "80"]);
        assert_eq!(labels(&linear, 0.0, 2e6, 2), ["0", "10⁶", "2×10⁶"]);
        assert_eq!(labels(&linear, 0.0, 3e-7, 3), ["0", "10⁻⁷", "2×10⁻⁷", "3×10⁻⁷"]);
        let log = Axis::log("");
        assert_eq!(labels(&log, 1e-2, 1e3, 6), ["10⁻²", "10⁻¹", "1", "10", "10²", "10³"]);
        assert_eq!(labels(&log, 1e-8, 1e8, 4), ["10⁻⁸", "10⁻⁴", "1", "10⁴", "10⁸"]);
        assert_eq!(labels(&log, 2.0, 8.0, 3), ["2", "4", "6", "8"]);
        assert_eq!(labels(&log, 0.09, 3.5, 5), ["0.1", "0.2", "0.5", "1", "2"]);
        let whole = Span::new(&linear.within(-0.5, 1.5), [], 0.0).of_whole_numbers();
        assert_eq!(whole.ticks(5).into_iter().map(|tick| tick.label).collect::<Vec<_>>(), ["0", "1"]);
    }

    proptest! {
        #[test]
        fn ticks_lie_within_and_are_not_too_many(low in -1e6..1e6_f64, size in 1e-6..1e6_f64, count in 1..12_usize) {
            let span = Span::new(&Axis::linear("").within(low, low + size), [], 0.0);
            let ticks = span.ticks(count);
            prop_assert!(ticks.len() <= count + 1, "{ticks:?}");
            for tick in &ticks {
                let t = span.at(tick.value);
                prop_assert!((-1e-3..=1.001).contains(&t), "{tick:?} at {t}");
            }
        }

        #[test]
        fn positions_and_values_are_inverse(low in 1e-6..1.0_f64, factor in 1.1..1e6_f64, t in 0.0..1.0_f64) {
            for axis in [Axis::linear(""), Axis::log("")] {
                let span = Span::new(&axis.within(low, low * factor), [], 0.0);
                prop_assert!((span.at(span.value(t)) - t).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn data_decide_where_nothing_is_said() {
        let span = Span::new(&Axis::linear(""), [1.0, f64::NAN, 3.0], 0.05);
        assert_eq!((span.value(0.0), span.value(1.0)), (0.9, 3.1));
        let log = Span::new(&Axis::log(""), [-1.0, 0.0, 10.0, 1000.0], 0.0);
        assert!((log.value(0.5) - 100.0).abs() < 1e-9 && log.at(0.0).is_nan());
        let constant = Span::new(&Axis::linear(""), [5.0, 5.0], 0.0);
        assert!(constant.value(0.0) < 5.0 && constant.value(1.0) > 5.0);
        let nothing = Span::new(&Axis::linear(""), [0.0, 0.0], 0.0);
        assert_eq!((nothing.value(0.0), nothing.value(1.0)), (-1.0, 1.0));
    }
}
