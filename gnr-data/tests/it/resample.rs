//! Scaling equals that of Pillow and torchvision, bit for bit.
//!
//! The hashes are FNV-1a over planar pixels, made by Pillow 13 and torchvision 0.29:
//! ```text
//! def picture(h, w):
//!     y, x, c = np.ogrid[:h, :w, :3]
//!     return ((x*x//7 + 3*y*x + 91*y + 53*c*(x + 2*y)) % 256).astype(np.uint8)
//! Image.fromarray(picture(h, w)).resize((width, height), Image.BILINEAR)                  # or BICUBIC
//! Compose([Resize(shorter, interpolation), CenterCrop(crop)])(Image.fromarray(picture(h, w)))
//! ```

use gnr_data::{DataError, Image, Interpolation, Keep, OpenOptions, Part, Resize, open, open_folder, resize};
use proptest::prelude::*;
use tempfile::tempdir;

use crate::trees::{cifar10_tree, fnv, picture};

type Case = ((usize, usize), (usize, usize), Interpolation, u64);

const SCALED: [Case; 14] = [
    ((37, 53), (16, 24), Interpolation::Bilinear, 0x20de844c6000078a),
    ((37, 53), (16, 24), Interpolation::Bicubic, 0x6bcd03bf3c171c70),
    ((37, 53), (37, 20), Interpolation::Bilinear, 0xabc59ae0430a4d73),
    ((37, 53), (37, 20), Interpolation::Bicubic, 0x5023b2528890991e),
    ((37, 53), (9, 53), Interpolation::Bilinear, 0x57b44934809d94e9),
    ((37, 53), (9, 53), Interpolation::Bicubic, 0x870264e7139cffad),
    ((20, 31), (45, 64), Interpolation::Bilinear, 0x8c247b97dbbb5c2a),
    ((20, 31), (45, 64), Interpolation::Bicubic, 0x1ab10a502de33ae1),
    ((300, 400), (224, 224), Interpolation::Bilinear, 0xd82ba09d5e00c5de),
    ((300, 400), (224, 224), Interpolation::Bicubic, 0x9fc6128f8a4d0f4b),
    ((5, 7), (1, 1), Interpolation::Bilinear, 0x3dd3451936635cf2),
    ((5, 7), (1, 1), Interpolation::Bicubic, 0xd5416718fafb1547),
    ((1, 3), (4, 8), Interpolation::Bilinear, 0x806e4cea1a2aaac5),
    ((1, 3), (4, 8), Interpolation::Bicubic, 0x16670d26dcdcd9ed),
];

const PREPARED: [Case; 10] = [
    ((333, 500), (256, 224), Interpolation::Bilinear, 0xf2a5dc501dd06e1b),
    ((333, 500), (256, 224), Interpolation::Bicubic, 0x0b0c198a4f3fcba7),
    ((500, 333), (256, 224), Interpolation::Bilinear, 0x68621ee6515b0e3b),
    ((500, 333), (256, 224), Interpolation::Bicubic, 0xeec5a68a8cd73649),
    ((101, 67), (64, 61), Interpolation::Bilinear, 0xe3a81e3505f57973),
    ((101, 67), (64, 61), Interpolation::Bicubic, 0x2707b40101511b1a),
    ((64, 91), (64, 56), Interpolation::Bilinear, 0xa7ebb7740056c6b5),
    ((64, 91), (64, 56), Interpolation::Bicubic, 0xa7ebb7740056c6b5),
    ((30, 45), (64, 64), Interpolation::Bilinear, 0xeb4659344a5cdf1c),
    ((30, 45), (64, 64), Interpolation::Bicubic, 0xb93ece459d856f8e),
];

#[test]
fn scaling_is_pillows() {
    for ((h, w), (height, width), filter, expected) in SCALED {
        let scaled = resize(&picture(h, w), height, width, filter).unwrap();
        assert_eq!(scaled.shape(), [3, height, width]);
        assert_eq!(fnv(&scaled.pixels), expected, "{h}x{w} to {height}x{width}, {filter:?}");
    }
}

#[test]
fn preparation_is_torchvisions() {
    for ((h, w), (shorter, crop), interpolation, expected) in PREPARED {
        let dir = tempdir().unwrap();
        let path = dir.path().join("train/c/a.png");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let planes = picture(h, w).pixels.into_owned();
        let pixel = |x, y| [0, 1, 2].map(|c| planes[(c * h + y as usize) * w + x as usize]);
        image::RgbImage::from_fn(w as u32, h as u32, |x, y| image::Rgb(pixel(x, y))).save(&path).unwrap();
        let how = Resize { shorter, height: crop, width: crop, interpolation };
        let set = open_folder(dir.path(), Part::Train, Some(how), Keep::OnDisk).unwrap();
        let found = fnv(&set.image(0).unwrap().pixels);
        assert_eq!(found, expected, "{h}x{w} to {shorter}, {crop}, {interpolation:?}");
        // The published size stays available.
        assert_eq!(set.original(0).unwrap(), picture(h, w));
    }
}

#[test]
fn sets_of_one_size_can_be_resized_too() {
    let dir = tempdir().unwrap();
    cifar10_tree(dir.path());
    let options = OpenOptions { resize: Some(Resize::square(48)), ..OpenOptions::dir(dir.path()) };
    let set = open("cifar10", Part::Train, &options).unwrap();
    assert_eq!((set.len(), set.shape(), set.original(1).unwrap().shape()), (10, [3, 48, 48], [3, 32, 32]));
    // The second record of a file has ones only.
    assert!(set.image(1).unwrap().pixels.iter().all(|&pixel| pixel == 1));
    let bad = OpenOptions { resize: Some(Resize { shorter: 0, ..Resize::square(4) }), ..options };
    assert!(matches!(open("cifar10", Part::Test, &bad), Err(DataError::Config { key: "resize", .. })));
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    for (height, width) in [(0, 1), (1, 0), (1 << 15, 1), (1, usize::MAX)] {
        let result = resize(&picture(2, 2), height, width, Interpolation::Bilinear);
        assert!(matches!(result, Err(DataError::Config { key: "size", .. })));
    }
    let short = Image { channels: 3, height: 2, width: 2, pixels: vec![0; 11].into() };
    assert!(matches!(
        resize(&short, 1, 1, Interpolation::Bilinear),
        Err(DataError::BufferLength { expected: 12, found: 11, .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn constant_stays_constant_and_bilinear_stays_in_range(
        h in 1usize..40, w in 1usize..40, height in 1usize..50, width in 1usize..50, value: u8,
    ) {
        let flat = Image { channels: 1, height: h, width: w, pixels: vec![value; h * w].into() };
        for filter in [Interpolation::Bilinear, Interpolation::Bicubic] {
            let scaled = resize(&flat, height, width, filter).unwrap();
            prop_assert!(scaled.pixels.iter().all(|&pixel| pixel == value));
        }
        let picture = picture(h, w);
        let range = |pixels: &[u8]| (pixels.iter().min().copied(), pixels.iter().max().copied());
        let (low, high) = range(&picture.pixels);
        let (scaled_low, scaled_high) = range(&resize(&picture, height, width, Interpolation::Bilinear).unwrap().pixels);
        prop_assert!(scaled_low >= low && scaled_high <= high);
    }
}
