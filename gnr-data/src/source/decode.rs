//! Decoding of image files to planar RGB bytes, equal to Pillow's `Image.open(path).convert("RGB")`.

use std::borrow::Cow;
use std::io::Cursor;
use std::path::Path;

use image::codecs::tiff::TiffDecoder;
use image::error::{UnsupportedError, UnsupportedErrorKind};
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, ImageDecoder as _, ImageError, ImageFormat, ImageReader};

use super::jpeg;
use super::kind::what_is;
use crate::dataset::Image;
use crate::error::{DataError, Result};

/// Decodes a JPEG, PNG, WebP, BMP, GIF, TIFF or PNM file to RGB. The contents decide the format, not the name.
///
/// Pixels become those of torchvision's `ImageFolder`: grey is repeated, a palette looked up, and transparency dropped
/// (the colour under it shows). Of 16-bit colours the high byte is taken; values of a PNM file are scaled from its
/// largest value to 255. Of several frames or pages the first is taken. A TIFF file is turned as its orientation tag
/// says, which Pillow does on reading; orientation tags of other formats (EXIF) and colour profiles are ignored. CMYK
/// is converted without a profile, as Pillow does.
///
/// # Deviation
/// Pillow clips 16-bit *grey* values at 255, which turns most of such an image white. Here they are refused, and so are
/// palettes in TIFF files and floating-point pixels. Values of a JPEG may differ from Pillow's by up to 2, since the
/// decoders round differently. Two rare kinds of TIFF differ: colours that were multiplied by their transparency stay
/// so, and the order of bits within a byte (`FillOrder` 2) is ignored.
///
/// # Errors
/// [`DataError::Io`], [`DataError::Truncated`] for a JPEG that ends before its end marker, [`DataError::Unsupported`],
/// [`DataError::Decode`].
pub(crate) fn decode(path: &Path) -> Result<Image<'static>> {
    let bytes = std::fs::read(path).map_err(|error| match std::fs::read_link(path) {
        Ok(to) if error.kind() == std::io::ErrorKind::NotFound => {
            DataError::NowhereLink { path: path.to_path_buf(), to }
        }
        _ => DataError::io(path, "read")(error),
    })?;
    if jpeg::is_jpeg(&bytes) {
        jpeg::check_complete(&bytes).map_err(|cut| DataError::Truncated {
            path: path.to_path_buf(),
            what: cut.what.to_string(),
            expected: cut.expected as u64,
            found: bytes.len() as u64,
        })?;
    }
    let failed = |reason: String| DataError::Decode { path: path.to_path_buf(), reason };
    let unsupported = |reason: String| DataError::Unsupported { path: path.to_path_buf(), reason };
    let reader =
        ImageReader::new(Cursor::new(&bytes)).with_guessed_format().map_err(|e| failed(e.to_string()))?;
    let Some(format) = reader.format().filter(ImageFormat::reading_enabled) else {
        let known = "JPEG, PNG, WebP, BMP, GIF, TIFF, PNM";
        let reason = format!("it is {}; images that are read: {known}", what_is(&bytes));
        return Err(if bytes.is_empty() { failed("the file is empty".into()) } else { unsupported(reason) });
    };
    let mut image = reader.decode().map_err(|error| match error {
        ImageError::Unsupported(error) => unsupported(format!("{}; save it as 8-bit RGB", words(&error))),
        error => failed(error.to_string()),
    })?;
    if format == ImageFormat::Tiff {
        // A tag that cannot be read turns nothing: the pixels are there.
        let orientation = TiffDecoder::new(Cursor::new(&bytes)).and_then(|mut file| file.orientation());
        image.apply_orientation(orientation.unwrap_or(Orientation::NoTransforms));
    }
    let image = to_rgb(image, format == ImageFormat::Pnm).map_err(|what| {
        unsupported(format!("{what}; save it with 8 bits a channel, scaled as suits the data"))
    })?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    if width * height == 0 {
        return Err(failed(format!("the image is empty ({width}x{height})")));
    }
    Ok(Image { channels: 3, height, width, pixels: Cow::Owned(planar(image.as_raw())) })
}

/// The reason why an image is not read. The decoder tells of some kinds of pixels only how many bits they have.
fn words(error: &UnsupportedError) -> String {
    match error.kind() {
        UnsupportedErrorKind::Color(ExtendedColorType::Unknown(bits)) => format!(
            "pixels of {bits} bits in all that are neither grey, RGB, RGBA nor CMYK with 8 or 16 bits a channel"
        ),
        _ => error.to_string(),
    }
}

/// The image with eight bits a channel; the error says why it cannot be converted. `rounded`: 16 bits are rounded, not
/// cut.
fn to_rgb(image: DynamicImage, rounded: bool) -> Result<image::RgbImage, &'static str> {
    let high_byte = |value: u16| (value >> 8) as u8;
    // Maps 0..=65535 to 0..=255.
    let nearest = |value: u16| ((u32::from(value) + 128) / 257) as u8;
    match image {
        DynamicImage::ImageLuma16(_) => Err("16-bit grey pixels"),
        DynamicImage::ImageRgb32F(_) | DynamicImage::ImageRgba32F(_) => Err("floating-point pixels"),
        DynamicImage::ImageRgb16(deep) => {
            let (width, height) = deep.dimensions();
            Ok(image::RgbImage::from_fn(width, height, |x, y| {
                let pixel = deep.get_pixel(x, y).0;
                image::Rgb(if rounded { pixel.map(nearest) } else { pixel.map(high_byte) })
            }))
        }
        DynamicImage::ImageRgba16(deep) => {
            let (width, height) = deep.dimensions();
            Ok(image::RgbImage::from_fn(width, height, |x, y| {
                let [red, green, blue, _] = deep.get_pixel(x, y).0;
                image::Rgb([red, green, blue].map(high_byte))
            }))
        }
        DynamicImage::ImageLumaA16(deep) => {
            let (width, height) = deep.dimensions();
            Ok(image::RgbImage::from_fn(width, height, |x, y| {
                image::Rgb([high_byte(deep.get_pixel(x, y).0[0]); 3])
            }))
        }
        image => Ok(image.into_rgb8()),
    }
}

/// Converts interleaved RGB to three planes.
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
