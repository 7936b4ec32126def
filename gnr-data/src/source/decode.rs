//! One image file to planar RGB bytes, brought to a given size when asked.

use std::io::Cursor;
use std::path::Path;

use image::imageops::{self, FilterType};
use image::{ImageReader, RgbImage};

use super::jpeg;
use crate::error::{DataError, Result};

/// How to bring photographs of mixed sizes to one: scale, keeping the proportions, then cut out the centre.
///
/// `Resize { shorter: 256, height: 224, width: 224 }` is the usual evaluation of ImageNet models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resize {
    /// The shorter side after scaling (antialiased triangle filter, as Pillow's bilinear).
    pub shorter: usize,
    /// Rows cut out of the centre, at most `shorter`.
    pub height: usize,
    /// Columns cut out of the centre, at most `shorter`.
    pub width: usize,
}

/// Longer side over shorter side of the images that [`Resize`] accepts.
const MAX_ELONGATION: u32 = 64;

impl Resize {
    /// Scales to the smallest size that covers a square of `side` pixels and cuts out the centre.
    pub fn square(side: usize) -> Self {
        Self { shorter: side, height: side, width: side }
    }

    pub(super) fn check(&self) -> Result<()> {
        let crop = self.height.max(self.width);
        let fits = self.height > 0 && self.width > 0 && crop <= self.shorter && self.shorter <= 1 << 14;
        if fits {
            return Ok(());
        }
        let value = format!("{} to {}x{}", self.shorter, self.height, self.width);
        Err(DataError::config("resize", value, "needs 0 < height, width <= shorter <= 16384"))
    }

    /// Fails, with the reason, for images that are mostly one line: scaling them to cover would need absurd memory.
    fn apply(&self, image: RgbImage) -> Result<RgbImage, String> {
        let (width, height) = image.dimensions();
        let short = width.min(height).max(1);
        if width.max(height) / short > MAX_ELONGATION {
            return Err(format!("{width}x{height} is too elongated to resize (limit {MAX_ELONGATION}:1)"));
        }
        let scaled = |side: u32| {
            // Rounded down as torchvision does; the shorter side comes out exactly.
            let side = u64::from(side) * self.shorter as u64 / u64::from(short);
            u32::try_from(side).unwrap_or(u32::MAX)
        };
        let (new_width, new_height) = (scaled(width), scaled(height));
        let image = match (new_width, new_height) == (width, height) {
            true => image,
            false => imageops::resize(&image, new_width, new_height, FilterType::Triangle),
        };
        let (crop_width, crop_height) = (self.width as u32, self.height as u32);
        if (crop_width, crop_height) == image.dimensions() {
            return Ok(image);
        }
        let left = (image.width() - crop_width) / 2;
        let top = (image.height() - crop_height) / 2;
        Ok(imageops::crop_imm(&image, left, top, crop_width, crop_height).to_image())
    }
}

/// A decoded image, interleaved as decoders make it.
pub(super) struct Decoded(RgbImage);

/// Decodes a JPEG or PNG file to RGB: grey is repeated, 16 bits are reduced to 8, transparency is dropped (as
/// torchvision's `ImageFolder` does), orientation tags are ignored (likewise).
pub(super) fn decode(path: &Path, resize: Option<Resize>) -> Result<Decoded> {
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
    Ok(Decoded(match resize {
        Some(resize) => resize.apply(image).map_err(failed)?,
        None => image,
    }))
}

impl Decoded {
    /// `[3, H, W]`.
    pub(super) fn shape(&self) -> [usize; 3] {
        [3, self.0.height() as usize, self.0.width() as usize]
    }

    /// Writes the planes to `out` `[3, H, W]`, whose shape has been compared before.
    pub(super) fn planar(&self, out: &mut [u8]) {
        let plane = out.len() / 3;
        for (position, pixel) in self.0.as_raw().chunks_exact(3).enumerate() {
            out[position] = pixel[0];
            out[plane + position] = pixel[1];
            out[2 * plane + position] = pixel[2];
        }
    }
}
