//! Image files of every format and kind of pixel in class folders: read as Pillow reads them, or refused by name. Files
//! that are no images are counted and reported.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use gnr_data::{DataError, Dataset, Keep, OpenOptions, Part, Resize, Subset, open, open_folder};
use image::{DynamicImage, GrayImage, ImageFormat, Rgb, RgbImage};
use tempfile::tempdir;

use crate::trees::{image_tree, save_rgb};

fn train(dir: &Path) -> Result<Arc<dyn Dataset>, DataError> {
    open("folder", Part::Train, &OpenOptions::dir(dir))
}

fn strict(dir: &Path) -> Result<Arc<dyn Dataset>, DataError> {
    open("folder", Part::Train, &OpenOptions { strict: true, ..OpenOptions::dir(dir) })
}

/// Reads the first image of a class folder with only this file.
fn only(name: &str, bytes: &[u8]) -> Result<Vec<[u8; 3]>, DataError> {
    let dir = tempdir().unwrap();
    let class = dir.path().join("train/c");
    fs::create_dir_all(&class).unwrap();
    fs::write(class.join(name), bytes).unwrap();
    let set = train(dir.path())?;
    let image = set.image(0)?.pixels.into_owned();
    let plane = image.len() / 3;
    Ok((0..plane).map(|at| [image[at], image[plane + at], image[2 * plane + at]]).collect())
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn picture() -> RgbImage {
    RgbImage::from_fn(3, 2, |x, y| Rgb([100 * x as u8, 200 * y as u8, 7]))
}

#[test]
fn every_lossless_format_gives_the_pixels_that_were_written() {
    let expected: Vec<[u8; 3]> = picture().pixels().map(|pixel| pixel.0).collect();
    let rgb = DynamicImage::from(picture());
    let names = [
        ("a.webp", ImageFormat::WebP),
        ("a.bmp", ImageFormat::Bmp),
        ("a.tif", ImageFormat::Tiff),
        ("a.TIFF", ImageFormat::Tiff),
        ("a.ppm", ImageFormat::Pnm),
        ("a.PNG", ImageFormat::Png),
        ("a.gif", ImageFormat::Gif),
    ];
    for (name, format) in names {
        let image = if format == ImageFormat::Gif { DynamicImage::from(rgb.to_rgba8()) } else { rgb.clone() };
        assert_eq!(only(name, &encoded(&image, format)).unwrap(), expected, "{name}");
        // The contents decide, whatever the name is.
        assert_eq!(only("b.jpeg", &encoded(&image, format)).unwrap(), expected, "{name} as .jpeg");
    }
    let jpeg =
        encoded(&DynamicImage::from(GrayImage::from_pixel(8, 8, image::Luma([77]))), ImageFormat::Jpeg);
    for name in ["a.jfif", "a.JPG", "a.jpe", "a.JPEG", "a.webp"] {
        assert!(only(name, &jpeg).unwrap().iter().flatten().all(|value| value.abs_diff(77) <= 1), "{name}");
    }
}

/// Expected values follow Pillow's rules: bits are 0 or 255, values are scaled from the declared largest one.
#[test]
fn portable_maps_are_scaled_to_255() {
    assert_eq!(only("a.pbm", b"P1\n# drawn\n2 1\n0 1\n").unwrap(), [[255; 3], [0; 3]]);
    assert_eq!(only("a.pbm", b"P4\n2 1\n\x40").unwrap(), [[255; 3], [0; 3]]);
    assert_eq!(only("a.pgm", b"P2\n3 1\n15\n0 7 15\n").unwrap(), [[0; 3], [119; 3], [255; 3]]);
    assert_eq!(only("a.pgm", b"P5\n3 1 15\n\x00\x07\x0f").unwrap(), [[0; 3], [119; 3], [255; 3]]);
    assert_eq!(only("a.pgm", b"P5\n3 1 255\n\x00\x07\xff").unwrap(), [[0; 3], [7; 3], [255; 3]]);
    assert_eq!(only("a.ppm", b"P6\n1 1 127\n\x00\x40\x7f").unwrap(), [[0, 129, 255]]);
    assert_eq!(only("a.ppm", b"P6\n1 1 1023\n\x00\x00\x02\x00\x03\xff").unwrap(), [[0, 128, 255]]);
    let deep = only("a.pgm", b"P5\n1 1 65535\n\x12\x34").unwrap_err();
    assert!(deep.to_string().contains("not supported: 16-bit grey pixels"), "{deep}");
}

#[test]
fn alpha_is_dropped_and_deep_colours_keep_their_high_byte() {
    let alpha = image::RgbaImage::from_pixel(1, 1, image::Rgba([1, 2, 3, 0]));
    for format in [ImageFormat::Png, ImageFormat::Tiff, ImageFormat::WebP, ImageFormat::Bmp] {
        assert_eq!(
            only("a.png", &encoded(&alpha.clone().into(), format)).unwrap(),
            [[1, 2, 3]],
            "{format:?}"
        );
    }
    let grey = image::GrayAlphaImage::from_pixel(1, 1, image::LumaA([9, 0]));
    assert_eq!(only("a.png", &encoded(&grey.into(), ImageFormat::Png)).unwrap(), [[9; 3]]);
    let deep = DynamicImage::ImageRgb16(image::ImageBuffer::from_pixel(1, 1, Rgb([0x11ff, 0x8000, 0xffff])));
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        assert_eq!(only("a.png", &encoded(&deep, format)).unwrap(), [[0x11, 0x80, 0xff]], "{format:?}");
    }
    let deep = DynamicImage::ImageLumaA16(image::ImageBuffer::from_pixel(1, 1, image::LumaA([0x1234, 0])));
    assert_eq!(only("a.png", &encoded(&deep, ImageFormat::Png)).unwrap(), [[0x12; 3]]);
    let deep = DynamicImage::ImageLuma16(image::ImageBuffer::from_pixel(1, 1, image::Luma([0x1234])));
    let float = DynamicImage::ImageRgb32F(image::ImageBuffer::from_pixel(1, 1, Rgb([0.5, 0.5, 0.5])));
    for (image, format, what) in [
        (&deep, ImageFormat::Png, "16-bit grey pixels"),
        (&deep, ImageFormat::Tiff, "16-bit grey pixels"),
        (&float, ImageFormat::Tiff, "floating-point pixels"),
    ] {
        let error = only("a.tif", &encoded(image, format)).unwrap_err();
        assert!(
            matches!(&error, DataError::Unsupported { reason, .. } if reason.starts_with(what)),
            "{error}"
        );
        assert!(error.to_string().contains("train/c/a.tif: not supported"), "{error}");
    }
}

/// A TIFF image of 3x2 pixels (red 0, 3, …, 15) as Pillow writes it, with an orientation tag:
///
/// a = numpy.arange(18, dtype="u1").reshape(2, 3, 3)
/// Image.fromarray(a).save(file, "TIFF", tiffinfo={274: orientation})
fn tiff(orientation: u16) -> Vec<u8> {
    const LONG: u16 = 4;
    const SHORT: u16 = 3;
    let entries = [
        (256, LONG, 1, 3),
        (257, LONG, 1, 2),
        (258, SHORT, 3, 146),
        (259, SHORT, 1, 1),
        (262, SHORT, 1, 2),
        (273, LONG, 1, 152),
        (274, SHORT, 1, u32::from(orientation)),
        (277, SHORT, 1, 3),
        (278, SHORT, 1, 2),
        (279, LONG, 1, 18),
        (284, SHORT, 1, 1),
    ];
    let mut file = b"II*\0\x08\0\0\0\x0b\0".to_vec();
    for (tag, kind, count, value) in entries {
        let tag: u16 = tag;
        let (count, value): (u32, u32) = (count, value);
        file.extend(tag.to_le_bytes().into_iter().chain(kind.to_le_bytes()).chain(count.to_le_bytes()));
        file.extend(value.to_le_bytes());
    }
    file.extend([0, 0, 0, 0, 8, 0, 8, 0, 8, 0]);
    file.extend(0..18);
    file
}

/// Red values of `numpy.asarray(Image.open(file).convert("RGB"))` with Pillow 13.
#[test]
fn tiff_images_are_turned_as_their_tag_says() {
    for (orientation, red) in
        [(1, [0, 3, 6, 9, 12, 15]), (3, [15, 12, 9, 6, 3, 0]), (6, [9, 0, 12, 3, 15, 6])]
    {
        let found = only("a.tif", &tiff(orientation)).unwrap();
        assert_eq!(found.iter().map(|pixel| pixel[0]).collect::<Vec<_>>(), red, "{orientation}");
    }
}

#[test]
fn unknown_kinds_of_pixels_are_told_in_words() {
    let mut file = tiff(1);
    // The photometric interpretation YCbCr without subsampling tags.
    let at = file.windows(4).position(|bytes| bytes == [6, 1, 3, 0]).unwrap();
    file[at + 8] = 6;
    let error = only("a.tif", &file).unwrap_err().to_string();
    assert!(error.contains("not supported: pixels of 24 bits in all that are neither grey, RGB"), "{error}");
}

/// A cut file is an error or (where only an end mark is missing) still gives every pixel.
#[test]
fn cut_files_are_never_half_read() {
    let noise =
        RgbImage::from_fn(9, 7, |x, y| Rgb([(x * 37 + y * 91) as u8, (x * y) as u8, (x ^ (y * 7)) as u8]));
    let image = DynamicImage::from(noise);
    for format in [
        ImageFormat::WebP,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
        ImageFormat::Pnm,
        ImageFormat::Png,
        ImageFormat::Gif,
    ] {
        let image = if format == ImageFormat::Gif { image.to_rgba8().into() } else { image.clone() };
        let bytes = encoded(&image, format);
        let whole = only("a.png", &bytes).unwrap();
        for cut in 0..bytes.len() {
            if let Ok(pixels) = only("a.png", &bytes[..cut]) {
                assert_eq!(pixels, whole, "{format:?} cut at {cut} of {}", bytes.len());
            }
        }
    }
}

#[test]
fn what_an_image_file_really_is_is_said() {
    for (bytes, expected) in [
        (&b""[..], "a.jpg: cannot decode image: the file is empty"),
        (b"<!DOCTYPE html><html>", "a.jpg: not supported: it is a web page"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a.jpg: not supported: it is a HEIC image"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "a.jpg: not supported: it is an AVIF image"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a.jpg: not supported: it is a Git LFS pointer"),
        (&[0; 4096], "a.jpg: not supported: it is a file that begins with zeros only"),
    ] {
        let message = only("a.jpg", bytes).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn what_is_not_read_is_counted_and_named() {
    let dir = tempdir().unwrap();
    image_tree(dir.path());
    assert!(train(dir.path()).unwrap().warnings().is_empty());
    assert!(strict(dir.path()).is_ok());
    let ant = dir.path().join("train/ant");
    for name in ["x.avif", "y.AVIF", "z.heic", "Thumbs.db", ".DS_Store", "._a.png", "notes.txt", "raw"] {
        fs::write(ant.join(name), "x").unwrap();
    }
    fs::write(dir.path().join("train/README.md"), "x").unwrap();
    save_rgb(&dir.path().join("train/stray.png"), 4, 4, 0);
    for folder in ["train/.ipynb_checkpoints", "train/__MACOSX", "train/ant/@eaDir", "train/ant/.cache"] {
        save_rgb(&dir.path().join(folder).join("a.png"), 4, 4, 0);
    }
    let set = train(dir.path()).unwrap();
    assert_eq!((set.len(), set.classes().len()), (4, 2));
    let [warning] = &set.warnings()[..] else { panic!("{:?}", set.warnings()) };
    let expected = "14 entries are not read: 2 .avif, 1 .db, 1 .heic, 1 .md, 1 .txt, 1 file without an ending, \
                    2 folder of a program, 2 hidden file, 2 hidden folder, 1 image outside of the class folders; the first: ";
    assert!(warning.starts_with(expected), "{warning}");
    assert!(warning.contains("train/.ipynb_checkpoints, ") && warning.ends_with(", …"), "{warning}");
    let error = strict(dir.path()).err().unwrap();
    assert!(matches!(&error, DataError::Strict { warnings } if warnings == &set.warnings()), "{error}");
    // Data sets made of another one pass its warnings on.
    let options =
        OpenOptions { resize: Some(Resize::square(3)), keep: Keep::OnDisk, ..OpenOptions::dir(dir.path()) };
    let small = open("folder", Part::Train, &options).unwrap();
    assert_eq!(small.warnings(), set.warnings());
    assert_eq!(Subset::new(small, vec![0], "one").unwrap().warnings(), set.warnings());
}

#[test]
fn folders_below_a_class_are_walked_in_the_order_of_torchvision() {
    let dir = tempdir().unwrap();
    // sorted(os.walk(…)) sorts by the text of the folder's path, in which `-` comes before `/`.
    let files = ["c/z.png", "c/a-b/a.png", "c/a/a.png", "c/a/b/a.png", "c/d/a.png"];
    for (blue, file) in files.iter().enumerate() {
        save_rgb(&dir.path().join("train").join(file), 2, 2, blue as u8);
    }
    let set = train(dir.path()).unwrap();
    let blue: Vec<u8> = (0..set.len()).map(|index| set.image(index).unwrap().pixels[8]).collect();
    assert_eq!(blue, [0, 2, 1, 3, 4]);
}

#[cfg(unix)]
#[test]
fn links_to_folders_are_followed_once_and_pipes_are_not_opened() {
    use std::os::unix::fs::symlink;
    let dir = tempdir().unwrap();
    save_rgb(&dir.path().join("elsewhere/a.png"), 2, 2, 1);
    save_rgb(&dir.path().join("train/c/b.png"), 2, 2, 2);
    symlink(dir.path().join("elsewhere"), dir.path().join("train/c/more")).unwrap();
    symlink(dir.path().join("train"), dir.path().join("train/c/up")).unwrap();
    symlink(dir.path().join("train/c"), dir.path().join("elsewhere/back")).unwrap();
    let status = std::process::Command::new("mkfifo").arg(dir.path().join("train/c/pipe.png")).status();
    let set = train(dir.path()).unwrap();
    // `elsewhere/back` leads to the class again: it is followed once, and `more` below it is not followed again.
    assert!(set.len() >= 2, "{}", set.describe());
    let warning = set.warnings().join("\n");
    assert!(warning.contains("link to a folder around it"), "{warning}");
    assert_eq!(warning.contains("special file"), status.is_ok_and(|status| status.success()), "{warning}");
}

#[test]
fn blank_images_are_told() {
    let dir = tempdir().unwrap();
    image_tree(dir.path());
    for name in ["x.png", "y.png"] {
        RgbImage::from_pixel(4, 4, Rgb([0; 3])).save(dir.path().join("train/bee").join(name)).unwrap();
    }
    let [warning] = &train(dir.path()).unwrap().warnings()[..] else { panic!("no warning") };
    assert!(
        warning.starts_with("2 of 6 images are blank (one colour in all pixels); the first is "),
        "{warning}"
    );
    assert!(warning.ends_with("train/bee/x.png, with colour [0, 0, 0]"), "{warning}");
    // Images that stay on disk are not inspected.
    assert!(open_folder(dir.path(), Part::Train, None, Keep::OnDisk).unwrap().warnings().is_empty());
}
