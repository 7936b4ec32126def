//! Scaling with antialiasing, bit for bit equal to Pillow's (and so to torchvision's on Pillow images). Published
//! weights are therefore evaluated on the pixels on which they were validated.
//!
//! The scaling is a separable convolution, first horizontally, then vertically. Each output pixel samples the filter,
//! stretched by the scale when shrinking. The weights are normalised in f64 and rounded to 22 bits, the products summed
//! in 32-bit integers. Each pass rounds to bytes.

use std::borrow::Cow;
use std::ops::Range;

use crate::dataset::Image;
use crate::error::{DataError, Result};

/// The filter of a scaling. Both filters widen with the scale when shrinking (antialiasing).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Interpolation {
    /// A triangle of half-width 1.
    #[default]
    Bilinear,
    /// Keys' cubic of half-width 2, a = −½.
    Bicubic,
}

impl Interpolation {
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    fn value(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let x = x.abs();
        match self {
            Self::Bilinear if x < 1.0 => 1.0 - x,
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            _ => 0.0,
        }
    }
}

/// Bits after the point of a weight. An i32 has room for 8 bits of pixel and 2 of overshoot beside them.
const PRECISION: u32 = 22;
const HALF: i32 = 1 << (PRECISION - 1);

/// The weights along one axis, for a range of output positions.
struct Axis {
    /// For each output position, the first input position and the offset into `weights`.
    starts: Vec<(usize, usize)>,
    weights: Vec<i32>,
}

impl Axis {
    /// The weights that scale `input` positions to `output`, of which only `keep` are wanted.
    fn new(input: usize, output: usize, keep: Range<usize>, filter: Interpolation) -> Self {
        let scale = input as f64 / output as f64;
        let stretch = scale.max(1.0);
        let support = filter.support() * stretch;
        let mut axis = Self { starts: Vec::with_capacity(keep.len()), weights: Vec::new() };
        let mut row = Vec::new();
        for position in keep {
            let centre = (position as f64 + 0.5) * scale;
            // Casts saturate, so that negative positions become 0.
            let start = (centre - support + 0.5) as usize;
            let end = ((centre + support + 0.5) as usize).min(input);
            row.clear();
            row.extend((start..end).map(|at| filter.value((at as f64 - centre + 0.5) / stretch)));
            let sum: f64 = row.iter().sum();
            axis.starts.push((start, axis.weights.len()));
            let fixed = |weight: &f64| {
                let scaled = weight / sum * f64::from(1u32 << PRECISION);
                (scaled + if *weight < 0.0 { -0.5 } else { 0.5 }) as i32
            };
            axis.weights.extend(row.iter().map(fixed));
        }
        axis
    }

    /// The first input position and the weights of output position `index`.
    fn at(&self, index: usize) -> (usize, &[i32]) {
        let (start, offset) = self.starts[index];
        let end = self.starts.get(index + 1).map_or(self.weights.len(), |next| next.1);
        (start, &self.weights[offset..end])
    }

    /// The range of input positions that the output positions need.
    fn needed(&self) -> Range<usize> {
        let end = (0..self.starts.len()).map(|index| self.at(index).0 + self.at(index).1.len()).max();
        self.starts.first().map_or(0, |first| first.0)..end.unwrap_or(0)
    }
}

fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// A rectangle of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) top: usize,
    pub(crate) left: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Window {
    pub(crate) fn whole(image: &Image<'_>) -> Self {
        Self { top: 0, left: 0, height: image.height, width: image.width }
    }
}

/// Scales `window` of `image` to `scaled` (height, width) and returns `cut` of the result; nothing outside `window`
/// contributes. Both windows must lie inside what they are cut from, and `scaled` must not be empty.
pub(crate) fn resample(
    image: &Image<'_>,
    window: Window,
    scaled: (usize, usize),
    cut: Window,
    filter: Interpolation,
) -> Image<'static> {
    let rows = (window.height != scaled.0)
        .then(|| Axis::new(window.height, scaled.0, cut.top..cut.top + cut.height, filter));
    let columns = (window.width != scaled.1)
        .then(|| Axis::new(window.width, scaled.1, cut.left..cut.left + cut.width, filter));
    // Rows of the window that the second pass will read.
    let needed = rows.as_ref().map_or(cut.top..cut.top + cut.height, Axis::needed);
    let plane = image.height * image.width;
    let mut pixels = Vec::with_capacity(image.channels * cut.height * cut.width);
    let mut between = Vec::new();
    for channel in image.pixels.chunks_exact(plane).take(image.channels) {
        let source = needed.clone().map(|row| {
            let start = (window.top + row) * image.width + window.left;
            &channel[start..start + window.width]
        });
        between.clear();
        match &columns {
            Some(axis) => convolve_rows(source, needed.len(), axis, &mut between),
            None => source.for_each(|row| between.extend_from_slice(&row[cut.left..cut.left + cut.width])),
        }
        match &rows {
            Some(axis) => combine_rows(&between, cut.width, needed.start, axis, &mut pixels),
            None => pixels.extend_from_slice(&between),
        }
    }
    Image { channels: image.channels, height: cut.height, width: cut.width, pixels: Cow::Owned(pixels) }
}

/// Number of rows at a time in [`convolve_rows`]: one vector register of sums.
const LANES: usize = 16;

/// Makes the horizontal pass: convolves each of `count` rows. [`LANES`] rows are convolved together, so that their sums
/// of an output column are one vector.
fn convolve_rows<'a>(mut rows: impl Iterator<Item = &'a [u8]>, count: usize, axis: &Axis, out: &mut Vec<u8>) {
    let width = axis.starts.len();
    out.resize(count * width, 0);
    let mut columns: Vec<[u8; LANES]> = Vec::new();
    for block in out.chunks_mut(LANES * width) {
        for (lane, row) in rows.by_ref().take(block.len() / width).enumerate() {
            columns.resize(row.len(), [0; LANES]);
            for (column, &byte) in columns.iter_mut().zip(row) {
                column[lane] = byte;
            }
        }
        for x in 0..width {
            let (start, weights) = axis.at(x);
            let mut sums = [HALF; LANES];
            for (column, &weight) in columns[start..].iter().zip(weights) {
                for (sum, &byte) in sums.iter_mut().zip(column) {
                    *sum += i32::from(byte) * weight;
                }
            }
            for (row, &sum) in block.chunks_exact_mut(width).zip(&sums) {
                row[x] = to_byte(sum);
            }
        }
    }
}

/// Makes the vertical pass over rows of `width` bytes, which start with row number `first`, and appends to `out`.
fn combine_rows(rows: &[u8], width: usize, first: usize, axis: &Axis, out: &mut Vec<u8>) {
    let mut sums = vec![0i32; width];
    for y in 0..axis.starts.len() {
        let (start, weights) = axis.at(y);
        sums.fill(HALF);
        for (row, &weight) in rows[(start - first) * width..].chunks_exact(width).zip(weights) {
            for (sum, &byte) in sums.iter_mut().zip(row) {
                *sum += i32::from(byte) * weight;
            }
        }
        out.extend(sums.iter().map(|&sum| to_byte(sum)));
    }
}

/// Scales an image to `height` x `width` with antialiasing, as Pillow's `Image.resize((width, height), filter)` does.
///
/// # Errors
/// [`DataError::Config`] for a size of 0 or above 16,384, [`DataError::BufferLength`] when the pixels do not fit the
/// shape.
///
/// ```
/// use gnr_data::{Image, Interpolation, resize};
/// let image = Image { channels: 1, height: 1, width: 4, pixels: vec![0, 0, 90, 90].into() };
/// assert_eq!(resize(&image, 1, 2, Interpolation::Bilinear)?.pixels[..], [13, 77]);
/// # Ok::<(), gnr_data::DataError>(())
/// ```
pub fn resize(
    image: &Image<'_>,
    height: usize,
    width: usize,
    filter: Interpolation,
) -> Result<Image<'static>> {
    if !(1..=MAX_SIDE).contains(&height) || !(1..=MAX_SIDE).contains(&width) {
        let value = format!("{height}x{width}");
        return Err(DataError::config("size", value, format!("both sides must be in 1..={MAX_SIDE}")));
    }
    image.check()?;
    let cut = Window { top: 0, left: 0, height, width };
    Ok(resample(image, Window::whole(image), (height, width), cut, filter))
}

/// The largest side to which images are scaled.
pub(crate) const MAX_SIDE: usize = 1 << 14;
