//! Colours: a palette for groups, a map for values.

use plotters_backend::BackendColor;

/// A colour without transparency.
pub(crate) type Rgb = (u8, u8, u8);

pub(crate) const INK: Rgb = (30, 30, 30);
pub(crate) const GREY: Rgb = (110, 110, 110);
pub(crate) const PALE: Rgb = (225, 225, 225);
pub(crate) const WHITE: Rgb = (255, 255, 255);
/// The black of the palette.
const BLACK: Rgb = (60, 60, 60);

/// Colours that stand for a share of the page's ink, and would not be seen on a dark page, with that share.
pub(crate) const INKS: [(Rgb, f64); 4] = [(INK, 1.0), (GREY, 0.6), (PALE, 0.15), (BLACK, 0.8)];

/// Okabe and Ito's colours, which can be told apart with any colour vision: blue, vermilion, green, orange, purple,
/// sky, black, yellow. Black is lighter and yellow darker than theirs.
const PALETTE: [Rgb; 8] = [
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (230, 159, 0),
    (204, 121, 167),
    (86, 180, 233),
    BLACK,
    (190, 180, 30),
];

/// Colour of group number `index`.
pub(crate) fn palette(index: usize) -> Rgb {
    PALETTE[index % PALETTE.len()]
}

/// Colour of a series, which is number `index` of its panel.
pub(crate) fn of_series(series: &crate::Series, index: usize) -> Rgb {
    series.rgb.map_or_else(|| palette(series.colour.unwrap_or(index)), |[r, g, b]| (r, g, b))
}

/// Ten equidistant colours of matplotlib's Viridis from dark to light, readable in grey.
const VIRIDIS: [Rgb; 10] = [
    (68, 1, 84),
    (72, 40, 120),
    (62, 73, 137),
    (49, 104, 142),
    (38, 130, 142),
    (31, 158, 137),
    (53, 183, 121),
    (110, 206, 88),
    (181, 222, 43),
    (253, 231, 37),
];

/// The colour of `t` in [0, 1], interpolated in `VIRIDIS`.
pub(crate) fn viridis(t: f64) -> Rgb {
    let t = t.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f64;
    let low = (t as usize).min(VIRIDIS.len() - 2);
    mix(VIRIDIS[low], VIRIDIS[low + 1], t - low as f64)
}

/// Interpolates colours: `a` at t = 0, `b` at t = 1.
pub(crate) fn mix(a: Rgb, b: Rgb, t: f64) -> Rgb {
    let of = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * t).round() as u8;
    (of(a.0, b.0), of(a.1, b.1), of(a.2, b.2))
}

pub(crate) fn backend(rgb: Rgb, alpha: f64) -> BackendColor {
    BackendColor { alpha, rgb }
}
