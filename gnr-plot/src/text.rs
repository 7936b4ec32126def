//! Words in the embedded font: their lengths and their pixels.

use std::sync::OnceLock;

use ab_glyph::{Font, FontRef, Glyph, Point, PxScale, ScaleFont};

/// The embedded font, DejaVu Sans: Latin, Greek and mathematics.
fn font() -> Option<&'static FontRef<'static>> {
    static FONT: OnceLock<Option<FontRef<'static>>> = OnceLock::new();
    FONT.get_or_init(|| FontRef::try_from_slice(dejavu::sans::regular()).ok()).as_ref()
}

/// Every glyph at its place on a baseline that starts at (0, 0), and the length of the line; `em` in pixels.
fn line(text: &str, em: f32) -> (Vec<Glyph>, f32) {
    let Some(font) = font() else { return (Vec::new(), 0.0) };
    let height = font.height_unscaled() / font.units_per_em().unwrap_or(2048.0);
    let scaled = font.as_scaled(PxScale::from(em * height));
    let (mut glyphs, mut x, mut previous) = (Vec::new(), 0.0, None);
    for character in text.chars() {
        let mut glyph = scaled.scaled_glyph(character);
        if let Some(previous) = previous {
            x += scaled.kern(previous, glyph.id);
        }
        glyph.position = Point { x, y: 0.0 };
        x += scaled.h_advance(glyph.id);
        previous = Some(glyph.id);
        glyphs.push(glyph);
    }
    (glyphs, x)
}

/// Length of `text` in the unit of `em`.
pub(crate) fn width(text: &str, em: f64) -> f64 {
    f64::from(line(text, em as f32).1)
}

/// Calls `pixel` with (x, y, coverage) for the pixels of `text`, y downwards from the baseline, x from its start.
pub(crate) fn pixels(text: &str, em: f64, mut pixel: impl FnMut(i32, i32, f32)) {
    let Some(font) = font() else { return };
    for glyph in line(text, em as f32).0 {
        if let Some(outline) = font.outline_glyph(glyph) {
            let bounds = outline.px_bounds();
            let (left, top) = (bounds.min.x as i32, bounds.min.y as i32);
            outline.draw(|x, y, coverage| pixel(left + x as i32, top + y as i32, coverage));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_a_length_and_pixels() {
        let (short, long) = (width("λ", 10.0), width("λλλ", 10.0));
        assert!(short > 4.0 && short < 8.0 && (long - 3.0 * short).abs() < 0.5, "{short} {long}");
        assert!((width("abc", 20.0) - 2.0 * width("abc", 10.0)).abs() < 1e-3);
        let mut covered = 0.0;
        pixels("∇²L‖θ‖·ρ≤−×", 40.0, |_, _, coverage| covered += coverage);
        assert!(covered > 500.0);
    }

    /// What figures write is in the font: a missing glyph would be an empty box.
    #[test]
    fn symbols_exist() {
        let font = font().unwrap();
        for symbol in "∇²³⁻¹⁰L‖θλρπαξ·≤≥−×±√Σ₁₂–|°σ".chars() {
            assert_ne!(font.glyph_id(symbol).0, 0, "{symbol}");
        }
    }
}
