//! One image file to planar RGB bytes.

use std::borrow::Cow;
use std::io::Cursor;
use std::path::Path;

use image::ImageReader;

use super::jpeg;
use crate::dataset::Image;
use crate::error::{DataError, Result};

/// Decodes a JPEG or PNG file to RGB: grey is repeated, 16 bits are reduced to 8, transparency is dropped (as
/// torchvision's `ImageFolder` does), orientation tags are ignored (likewise).
///
/// # Errors
/// [`DataError::Io`], [`DataError::Truncated`] for a JPEG that ends before its end marker, [`DataError::Decode`].
pub(crate) fn decode(path: &Path) -> Result<Image<'static>> {
    let bytes = std::fs::read(path).map_err(DataError::io(path, "read"))?;
    if jpeg::is_jpeg(&bytes) {
        jpeg::check_complete(&bytes).map_err(|cut| DataError::Truncated {
            path: path.to_path_buf(),
            what: cut.what.to_string(),
            expected: cut.expected as u64,
            found: bytes.len() as u64,
        })?;
    }
    let failed = |reason: String| DataError::Decode { path: path.to_path_buf(), reason };
    let length = bytes.len();
    let reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| failed(e.to_string()))?;
    if reader.format().is_none() {
        return Err(failed(format!(
            "none of the known formats starts like these {length} bytes (JPEG, PNG)"
        )));
    }
    let image = reader.decode().map_err(|e| failed(e.to_string()))?.into_rgb8();
    let (width, height) = (image.width() as usize, image.height() as usize);
    if width * height == 0 {
        return Err(failed(format!("the image is empty ({width}x{height})")));
    }
    Ok(Image { channels: 3, height, width, pixels: Cow::Owned(planar(image.as_raw())) })
}

/// Interleaved RGB to three planes.
fn planar(interleaved: &[u8]) -> Vec<u8> {
    let plane = interleaved.len() / 3;
    let mut pixels = vec![0; 3 * plane];
    let (red, rest) = pixels.split_at_mut(plane);
    let (green, blue) = rest.split_at_mut(plane);
    for (((pixel, red), green), blue) in interleaved.chunks_exact(3).zip(red).zip(green).zip(blue) {
        (*red, *green, *blue) = (pixel[0], pixel[1], pixel[2]);
    }
    pixels
}
