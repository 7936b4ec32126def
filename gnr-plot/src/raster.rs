//! PNG pictures: plotters-bitmap draws them large, with words in the embedded font, and they are averaged down to twice
//! the nominal size.

use std::collections::HashMap;

use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
    FontTransform,
    text_anchor::{HPos, VPos},
};
use plotters_bitmap::BitMapBackend;

use crate::{
    PlotError, Result,
    canvas::{Canvas, DENSITY},
    text,
};

/// Pixels of the picture in a nominal pixel.
const SHOWN: u32 = 2;

/// A bitmap that writes words in the embedded font.
pub(crate) struct Raster<'a>(BitMapBackend<'a>);

type Drawn<E, T = ()> = std::result::Result<T, DrawingErrorKind<E>>;

impl<'a> DrawingBackend for Raster<'a> {
    type ErrorType = <BitMapBackend<'a> as DrawingBackend>::ErrorType;

    fn get_size(&self) -> (u32, u32) {
        self.0.get_size()
    }
    fn ensure_prepared(&mut self) -> Drawn<Self::ErrorType> {
        self.0.ensure_prepared()
    }
    fn present(&mut self) -> Drawn<Self::ErrorType> {
        self.0.present()
    }
    fn draw_pixel(&mut self, point: BackendCoord, color: BackendColor) -> Drawn<Self::ErrorType> {
        self.0.draw_pixel(point, color)
    }
    fn draw_rect<S: BackendStyle>(
        &mut self,
        upper_left: BackendCoord,
        bottom_right: BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn<Self::ErrorType> {
        self.0.draw_rect(upper_left, bottom_right, style, fill)
    }

    /// Places words as SVG does: the em is 1/1.24 of the size, the middle half the height of an x above the baseline.
    fn draw_text<T: BackendTextStyle>(
        &mut self,
        words: &str,
        style: &T,
        (x0, y0): BackendCoord,
    ) -> Drawn<Self::ErrorType> {
        const HALF_X_HEIGHT: f64 = 0.27;
        let em = style.size() / 1.24;
        let left = match style.anchor().h_pos {
            HPos::Left => 0.0,
            HPos::Center => -text::width(words, em) / 2.0,
            HPos::Right => -text::width(words, em),
        };
        let baseline = match style.anchor().v_pos {
            VPos::Top => 0.76 * em,
            VPos::Center => HALF_X_HEIGHT * em,
            VPos::Bottom => -HALF_X_HEIGHT * em,
        };
        let (left, baseline) = (left.round() as i32, baseline.round() as i32);
        let color = style.color();
        let mut outcome = Ok(());
        text::pixels(words, em, |x, y, coverage| {
            let (x, y) = (x + left, y + baseline);
            let (x, y) = match style.transform() {
                FontTransform::Rotate90 => (-y, x),
                FontTransform::Rotate180 => (-x, -y),
                FontTransform::Rotate270 => (y, -x),
                _ => (x, y),
            };
            let color = BackendColor { alpha: color.alpha * f64::from(coverage), ..color };
            if color.alpha > 0.0 && outcome.is_ok() {
                outcome = self.0.draw_pixel((x0 + x, y0 + y), color);
            }
        });
        outcome
    }
}

/// A PNG of that nominal size.
pub(crate) fn png(
    size: (u32, u32),
    draw: impl FnOnce(&mut Canvas<'_, Raster<'_>>) -> Result<()>,
) -> Result<Vec<u8>> {
    let told = |error: &dyn std::fmt::Display| PlotError::Drawing(error.to_string());
    let (width, height) = (size.0 * DENSITY as u32, size.1 * DENSITY as u32);
    let mut buffer = vec![255; 3 * width as usize * height as usize];
    {
        let bitmap = BitMapBackend::with_buffer(&mut buffer, (width, height));
        let mut raster = Raster(bitmap);
        draw(&mut Canvas::new(&mut raster, (f64::from(size.0), f64::from(size.1))))?;
        raster.present().map_err(|error| told(&error))?;
    }
    let shown = (size.0 * SHOWN, size.1 * SHOWN);
    let pixels = averaged(&buffer, width as usize, DENSITY as usize / SHOWN as usize);
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, shown.0, shown.1);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let (colours, indices) = indexed(&pixels);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_palette(colours);
    encoder.set_filter(png::Filter::NoFilter);
    let mut writer = encoder.write_header().map_err(|error| told(&error))?;
    writer.write_image_data(&indices).map_err(|error| told(&error))?;
    writer.finish().map_err(|error| told(&error))?;
    Ok(file)
}

/// Means over squares of `n` × `n` pixels.
fn averaged(buffer: &[u8], width: usize, n: usize) -> Vec<u8> {
    let row = 3 * width;
    let mut out = Vec::with_capacity(buffer.len() / (n * n));
    for rows in buffer.chunks_exact(n * row) {
        for x in 0..width / n {
            for channel in 0..3 {
                let mut sum = 0_usize;
                for dy in 0..n {
                    for dx in 0..n {
                        sum += usize::from(rows[dy * row + 3 * (x * n + dx) + channel]);
                    }
                }
                out.push((sum / (n * n)) as u8);
            }
        }
    }
    out
}

/// The picture as a palette of at most 256 colours and an index for each pixel, a third of the size. Rare shades of
/// edges become the nearest frequent one.
fn indexed(pixels: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let shades = pixels.as_chunks::<3>().0;
    let mut counts: HashMap<[u8; 3], usize> = HashMap::new();
    for shade in shades {
        *counts.entry(*shade).or_default() += 1;
    }
    let mut frequent: Vec<_> = counts.into_iter().collect();
    // Shades are ordered by frequency, then by colour, so that equal pictures are equal files.
    frequent.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let palette: Vec<[u8; 3]> = frequent.iter().take(256).map(|(colour, _)| *colour).collect();
    let distance = |a: &[u8; 3], b: &[u8; 3]| -> i32 {
        a.iter().zip(b).map(|(a, b)| (i32::from(*a) - i32::from(*b)).pow(2)).sum()
    };
    let nearest: HashMap<[u8; 3], u8> = (frequent.iter())
        .map(|(colour, _)| {
            let index = (0..palette.len()).min_by_key(|i| distance(&palette[*i], colour));
            (*colour, index.unwrap_or_default() as u8)
        })
        .collect();
    (palette.concat(), shades.iter().map(|shade| nearest[shade]).collect())
}
