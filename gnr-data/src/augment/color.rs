//! Changes of colour, equal byte for byte to Pillow's `ImageEnhance` and `ImageOps`.

use crate::dataset::Image;

/// Pillow's `Image.blend`: `from + factor·(to − from)`, truncated; clipped where the factor extrapolates.
fn blend(from: u8, to: u8, factor: f32) -> u8 {
    // A cast from float to u8 saturates, which is Pillow's clipping.
    (f32::from(from) + factor * (f32::from(to) - f32::from(from))) as u8
}

/// The grey value of a pixel by Rec. 601.
fn luma(red: u8, green: u8, blue: u8) -> u8 {
    ((u32::from(red) * 19595 + u32::from(green) * 38470 + u32::from(blue) * 7471 + 0x8000) >> 16) as u8
}

/// The grey image: the luma of an RGB image, else the first channel.
fn grey(image: &Image<'_>) -> Vec<u8> {
    let plane = image.height * image.width;
    match image.channels {
        3 => (0..plane)
            .map(|at| luma(image.pixels[at], image.pixels[plane + at], image.pixels[2 * plane + at]))
            .collect(),
        _ => image.pixels[..plane].to_vec(),
    }
}

pub(super) fn brightness(image: &mut Image<'static>, factor: f64) {
    image.pixels.to_mut().iter_mut().for_each(|pixel| *pixel = blend(0, *pixel, factor as f32));
}

pub(super) fn contrast(image: &mut Image<'static>, factor: f64) {
    let grey = grey(image);
    let sum: u64 = grey.iter().map(|&pixel| u64::from(pixel)).sum();
    let mean = (sum as f64 / grey.len().max(1) as f64 + 0.5) as u8;
    image.pixels.to_mut().iter_mut().for_each(|pixel| *pixel = blend(mean, *pixel, factor as f32));
}

pub(super) fn saturation(image: &mut Image<'static>, factor: f64) {
    if image.channels != 3 {
        return;
    }
    let grey = grey(image);
    for plane in image.pixels.to_mut().chunks_exact_mut(grey.len()) {
        for (pixel, &grey) in plane.iter_mut().zip(&grey) {
            *pixel = blend(grey, *pixel, factor as f32);
        }
    }
}

pub(super) fn sharpness(image: &mut Image<'static>, factor: f64) {
    let (height, width) = (image.height, image.width);
    let source = image.pixels.clone();
    let planes =
        image.pixels.to_mut().chunks_exact_mut(height * width).zip(source.chunks_exact(height * width));
    for (plane, source) in planes {
        for y in 0..height {
            for x in 0..width {
                let at = y * width + x;
                let inside =
                    (1..height.saturating_sub(1)).contains(&y) && (1..width.saturating_sub(1)).contains(&x);
                let smooth = if inside { smooth(source, at, width) } else { source[at] };
                plane[at] = blend(smooth, source[at], factor as f32);
            }
        }
    }
}

/// Pillow's `SMOOTH` filter: 3x3 ones around a five, over 13. The sum is in f32, with rows from the bottom up.
fn smooth(plane: &[u8], at: usize, width: usize) -> u8 {
    const ONE: f32 = 1.0 / 13.0;
    const FIVE: f32 = 5.0 / 13.0;
    let row = |centre: usize, middle: f32| {
        let [a, b, c] = [centre - 1, centre, centre + 1].map(|at| f32::from(plane[at]));
        a * ONE + b * middle + c * ONE
    };
    (0.5 + row(at + width, ONE) + row(at, FIVE) + row(at - width, ONE)) as u8
}

pub(super) fn posterize(image: &mut Image<'static>, bits: u32) {
    let mask = u8::MAX.checked_shl(8u32.saturating_sub(bits)).unwrap_or(0);
    image.pixels.to_mut().iter_mut().for_each(|pixel| *pixel &= mask);
}

pub(super) fn solarize(image: &mut Image<'static>, threshold: f64) {
    for pixel in image.pixels.to_mut() {
        if f64::from(*pixel) >= threshold {
            *pixel = 255 - *pixel;
        }
    }
}

/// Maps the bytes of each channel by a table made of the channel's histogram; `None` leaves the channel as it is.
fn by_histogram(image: &mut Image<'static>, table: impl Fn(&[usize; 256]) -> Option<[u8; 256]>) {
    let plane = image.height * image.width;
    for channel in image.pixels.to_mut().chunks_exact_mut(plane) {
        let mut histogram = [0; 256];
        channel.iter().for_each(|&pixel| histogram[usize::from(pixel)] += 1);
        if let Some(table) = table(&histogram) {
            channel.iter_mut().for_each(|pixel| *pixel = table[usize::from(*pixel)]);
        }
    }
}

pub(super) fn autocontrast(image: &mut Image<'static>) {
    by_histogram(image, |histogram| {
        let low = histogram.iter().position(|&count| count > 0)?;
        let high = histogram.iter().rposition(|&count| count > 0)?;
        if high <= low {
            return None;
        }
        let scale = 255.0 / (high - low) as f64;
        let offset = -(low as f64) * scale;
        Some(std::array::from_fn(|byte| (byte as f64 * scale + offset) as u8))
    });
}

pub(super) fn equalize(image: &mut Image<'static>) {
    by_histogram(image, |histogram| {
        let last = histogram.iter().rposition(|&count| count > 0)?;
        let step = (histogram.iter().sum::<usize>() - histogram[last]) / 255;
        if step == 0 || histogram.iter().filter(|&&count| count > 0).count() <= 1 {
            return None;
        }
        let mut sum = step / 2;
        Some(std::array::from_fn(|byte| {
            let level = sum / step;
            sum += histogram[byte];
            level.min(255) as u8
        }))
    });
}

/// Shifts the hue by a share in [−½, ½] of the colour circle, through Pillow's 8-bit HSV.
pub(super) fn hue(image: &mut Image<'static>, share: f64) {
    if image.channels != 3 {
        return;
    }
    let turn = (share * 255.0) as i32 as u8; // wraps: the circle has 256 places
    let plane = image.height * image.width;
    let pixels = image.pixels.to_mut();
    for at in 0..plane {
        let places = [at, plane + at, 2 * plane + at];
        let [hue, saturation, value] = to_hsv(places.map(|at| pixels[at]));
        let rgb = to_rgb([hue.wrapping_add(turn), saturation, value]);
        places.iter().zip(rgb).for_each(|(&at, byte)| pixels[at] = byte);
    }
}

fn to_hsv([red, green, blue]: [u8; 3]) -> [u8; 3] {
    let (high, low) = (red.max(green).max(blue), red.min(green).min(blue));
    if high == low {
        return [0, 0, high];
    }
    let range = f32::from(high - low);
    let distance = |channel: u8| f32::from(high - channel) / range;
    let (r, g, b) = (distance(red), distance(green), distance(blue));
    let sextant = match high {
        _ if red == high => b - g,
        _ if green == high => (2.0 + f64::from(r) - f64::from(b)) as f32,
        _ => (4.0 + f64::from(g) - f64::from(r)) as f32,
    };
    let hue = ((f64::from(sextant) / 6.0 + 1.0) % 1.0) as f32;
    let saturation = range / f32::from(high);
    [(f64::from(hue) * 255.0) as u8, (f64::from(saturation) * 255.0) as u8, high]
}

fn to_rgb([hue, saturation, value]: [u8; 3]) -> [u8; 3] {
    if saturation == 0 {
        return [value; 3];
    }
    let turn = (f64::from(hue) * 6.0 / 255.0) as f32;
    let share = f64::from((f64::from(saturation) / 255.0) as f32);
    let sextant = turn.floor();
    let rest = f64::from(turn - sextant);
    let level = |factor: f64| (f64::from(value) * factor).round() as u8;
    let (p, q, t) = (level(1.0 - share), level(1.0 - share * rest), level(1.0 - share * (1.0 - rest)));
    match sextant as u8 % 6 {
        0 => [value, t, p],
        1 => [q, value, p],
        2 => [p, value, t],
        3 => [p, q, value],
        4 => [t, p, value],
        _ => [value, p, q],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    /// Hashes (FNV-1a, planar) of Pillow 13's images for an image of all 4,096 colours whose channels are multiples of
    /// 17:
    /// ```text
    /// cube = np.stack(np.meshgrid(*[np.arange(16)]*3, indexing="ij"), -1)
    /// img = Image.fromarray((cube*17).astype("uint8").reshape(64, 64, 3))
    /// torchvision.transforms.functional.adjust_hue(img, share)
    /// ```
    const HUES: [(f64, u64); 4] = [
        (0.0, 0x80b8a540c984ce2e),
        (0.1, 0x70f956a74b067554),
        (-0.25, 0x9f4df5af9e2aa6f6),
        (0.5, 0x6e3c55c854a1cf3c),
    ];

    #[test]
    fn hue_is_pillows() {
        let planes =
            [256, 16, 1].iter().flat_map(|&period| (0..4096).map(move |i| (i / period % 16 * 17) as u8));
        let colours: Vec<u8> = planes.collect();
        for (share, expected) in HUES {
            let mut image = Image { channels: 3, height: 64, width: 64, pixels: Cow::Owned(colours.clone()) };
            hue(&mut image, share);
            let found = image.pixels.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
            assert_eq!(found, expected, "hue turned by {share}");
        }
    }
}
