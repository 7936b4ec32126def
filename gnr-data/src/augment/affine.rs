//! Affine maps of an image with nearest neighbours, as in Pillow: fixed-point coordinates with 16 bits after the point.

use std::borrow::Cow;

use crate::dataset::Image;

/// Maps an image in place by the matrix `[a, b, c, d, e, f]`. Output pixel (x, y) gets the value of input pixel
/// (⌊a·(x+½) + b·(y+½) + c⌋, ⌊d·(x+½) + e·(y+½) + f⌋), or black where that lies outside the image.
pub(super) fn transform(image: &mut Image<'static>, [a, b, c, d, e, f]: [f64; 6]) {
    let fixed = |value: f64| (value * 65536.0 + 0.5).floor() as i64;
    let (height, width) = (image.height, image.width);
    let plane = height * width;
    let (step_x, step_y) = ((fixed(a), fixed(d)), (fixed(b), fixed(e)));
    let mut row_start = (fixed(c + 0.5 * a + 0.5 * b), fixed(f + 0.5 * d + 0.5 * e));
    let source = std::mem::take(&mut image.pixels);
    let mut pixels = vec![0; source.len()];
    for y in 0..height {
        let mut at = row_start;
        for x in 0..width {
            // Arithmetic shifts round down: negative coordinates stay negative.
            let (from_x, from_y) = (at.0 >> 16, at.1 >> 16);
            if (0..width as i64).contains(&from_x) && (0..height as i64).contains(&from_y) {
                let from = from_y as usize * width + from_x as usize;
                for channel in 0..image.channels {
                    pixels[channel * plane + y * width + x] = source[channel * plane + from];
                }
            }
            at = (at.0 + step_x.0, at.1 + step_x.1);
        }
        row_start = (row_start.0 + step_y.0, row_start.1 + step_y.1);
    }
    image.pixels = Cow::Owned(pixels);
}

/// Rotates an image by `degrees` counter-clockwise around its centre.
pub(super) fn rotate(image: &mut Image<'static>, degrees: f64) {
    let angle = -degrees.rem_euclid(360.0).to_radians();
    // Rounded so that right angles are exact.
    let round = |value: f64| (value * 1e15).round() / 1e15;
    let (cos, sin) = (round(angle.cos()), round(angle.sin()));
    let (cx, cy) = (image.width as f64 / 2.0, image.height as f64 / 2.0);
    let c = cos * -cx + sin * -cy + cx;
    let f = -sin * -cx + cos * -cy + cy;
    transform(image, [cos, sin, c, -sin, cos, f]);
}
