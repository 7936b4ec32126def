//! Image folders, on generated trees.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use gnr_data::{DataError, Dataset, Keep, OpenOptions, Part, Resize, open, open_folder};
use tempfile::tempdir;

use crate::trees::{image_tree, save_rgb};

fn train(dir: &Path) -> Result<Arc<dyn Dataset>, DataError> {
    open("folder", Part::Train, &OpenOptions::dir(dir))
}

fn failure(dir: &Path) -> DataError {
    train(dir).err().unwrap()
}

#[test]
fn a_test_set_may_lack_a_class_that_training_has() {
    let dir = tempdir().unwrap();
    image_tree(dir.path());
    for file in ["a.png", "b.png"] {
        fs::remove_file(dir.path().join("test/ant").join(file)).unwrap();
    }
    let set = open_folder(dir.path(), Part::Test, None, Keep::Auto).unwrap();
    assert_eq!((set.classes(), set.label(0).unwrap()), (&["ant".into(), "bee".into()][..], 1));
}

#[test]
fn classes_and_files_come_sorted_and_planar() {
    let dir = tempdir().unwrap();
    image_tree(dir.path());
    fs::write(dir.path().join("train/README"), "not a class").unwrap();
    fs::write(dir.path().join("train/ant/Thumbs.db"), "not an image").unwrap();
    for keep in [Keep::Auto, Keep::InMemory, Keep::OnDisk] {
        let set = open_folder(dir.path(), Part::Train, None, keep).unwrap();
        assert_eq!(
            (set.len(), set.shape(), set.classes()),
            (4, [3, 4, 4], &["ant".into(), "bee".into()][..])
        );
        assert_eq!((0..4).map(|i| set.label(i).unwrap()).collect::<Vec<_>>(), [0, 0, 1, 1]);
        let image = set.image(3).unwrap();
        let [x, y, blue]: [Vec<u8>; 3] = [0, 1, 2].map(|c| image.pixels[c * 16..(c + 1) * 16].to_vec());
        assert_eq!(x, [0, 1, 2, 3].repeat(4));
        assert_eq!(y, [[0; 4], [1; 4], [2; 4], [3; 4]].concat());
        assert_eq!(blue, [11; 16]);
        assert!(set.image(4).is_err() && set.label(4).is_err());
    }
}

#[test]
fn a_val_beside_test_is_told() {
    let dir = tempdir().unwrap();
    image_tree(dir.path());
    let test = || open("folder", Part::Test, &OpenOptions::dir(dir.path())).unwrap();
    fs::create_dir(dir.path().join("valid")).unwrap();
    assert_eq!(test().warnings(), [""; 0], "an empty folder is no part");
    fs::create_dir_all(dir.path().join("val/ant")).unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    assert_eq!(
        test().warnings(),
        [format!("the images of the test part are those in {}; not read: {}", at("test"), at("val"))]
    );
    assert_eq!(train(dir.path()).unwrap().warnings(), [""; 0]);
}

#[test]
fn val_serves_where_there_is_no_test() {
    let dir = tempdir().unwrap();
    image_tree(dir.path());
    fs::rename(dir.path().join("test"), dir.path().join("val")).unwrap();
    assert_eq!(open("folder", Part::Test, &OpenOptions::dir(dir.path())).unwrap().len(), 4);
    fs::remove_dir_all(dir.path().join("val")).unwrap();
    let error = open("folder", Part::Test, &OpenOptions::dir(dir.path())).err().unwrap().to_string();
    assert!(error.contains("sub-folder test or val or valid or validation not found"), "{error}");
    assert!(open("folder", Part::Test, &OpenOptions::default()).is_err());
}

#[test]
fn every_kind_of_pixel_becomes_rgb() {
    let dir = tempdir().unwrap();
    let class = dir.path().join("train/c");
    fs::create_dir_all(&class).unwrap();
    image::GrayImage::from_pixel(2, 2, image::Luma([9])).save(class.join("a.png")).unwrap();
    image::RgbaImage::from_pixel(2, 2, image::Rgba([1, 2, 3, 0])).save(class.join("b.png")).unwrap();
    // The high byte of 16-bit colours is taken.
    image::ImageBuffer::from_pixel(2, 2, image::Rgb([0x11ffu16, 0x1200, 0xffff]))
        .save(class.join("c.png"))
        .unwrap();
    image::GrayImage::from_pixel(2, 2, image::Luma([128])).save(class.join("d.JPEG")).unwrap();
    // A PNG with the wrong extension: the contents decide.
    fs::copy(class.join("a.png"), class.join("e.jpg")).unwrap();
    let set = train(dir.path()).unwrap();
    let pixel = |index| {
        let pixels = set.image(index).unwrap().pixels.into_owned();
        [pixels[0], pixels[4], pixels[8]]
    };
    assert_eq!([pixel(0), pixel(1), pixel(2), pixel(4)], [[9; 3], [1, 2, 3], [0x11, 0x12, 0xff], [9; 3]]);
    // A block of one colour survives JPEG up to rounding.
    assert!(pixel(3).iter().all(|value| value.abs_diff(128) <= 1), "{:?}", pixel(3));
}

#[test]
fn mixed_sizes_need_a_resize() {
    let dir = tempdir().unwrap();
    image_tree(dir.path());
    let odd = dir.path().join("train/bee/odd.png");
    save_rgb(&odd, 12, 8, 0);
    let error = failure(dir.path());
    assert!(
        matches!(&error, DataError::SizeMismatch { path, expected: [3, 4, 4], found: [3, 8, 12] } if *path == odd)
    );
    let resize = Some(Resize::square(4));
    for keep in [Keep::InMemory, Keep::OnDisk] {
        let set = open_folder(dir.path(), Part::Train, resize, keep).unwrap();
        assert_eq!((set.len(), set.shape()), (5, [3, 4, 4]));
    }
}

#[test]
fn resize_keeps_proportions_and_cuts_the_centre() {
    let dir = tempdir().unwrap();
    save_rgb(&dir.path().join("train/c/a.png"), 8, 4, 7);
    let resize = |shorter, height, width| {
        open_folder(
            dir.path(),
            Part::Train,
            Some(Resize { shorter, height, width, ..Resize::square(1) }),
            Keep::Auto,
        )
    };
    // No scaling: columns 2..6 and rows 0..4 of the 8x4 image.
    let set = resize(4, 4, 4).unwrap();
    assert_eq!(set.image(0).unwrap().pixels[..16], [2, 3, 4, 5].repeat(4));
    // No scaling, 2x2: columns 3..5, rows 1..3.
    let set = resize(4, 2, 2).unwrap();
    assert_eq!(set.image(0).unwrap().pixels[..8], [3, 4, 3, 4, 1, 1, 2, 2]);
    // Doubled to 16x8, then cut to 8x8: a constant channel stays constant, and x grows from left to right, centred.
    let pixels = resize(8, 8, 8).unwrap().image(0).unwrap().pixels.into_owned();
    assert!(pixels[..8].is_sorted() && pixels[0] >= 1 && pixels[7] <= 6);
    assert!(pixels[128..].iter().all(|&blue| blue == 7));
    for (shorter, height, width) in [(4, 0, 4), (4, 5, 4), (4, 4, 5), (1 << 20, 4, 4)] {
        assert!(matches!(resize(shorter, height, width), Err(DataError::Config { key: "resize", .. })));
    }
    save_rgb(&dir.path().join("train/c/a.png"), 3000, 1, 7);
    assert!(resize(256, 224, 224).err().unwrap().to_string().contains("too elongated"));
}

#[test]
fn damaged_files_are_named() {
    let dir = tempdir().unwrap();
    image_tree(dir.path());
    let noise = |x: u32, y: u32| image::Rgb([(x * 37 + y * 91) as u8, (x * y) as u8, (x ^ (y * 7)) as u8]);
    let (jpeg, png) = (dir.path().join("x.jpg"), dir.path().join("x.png"));
    image::RgbImage::from_fn(4, 4, noise).save(&jpeg).unwrap();
    image::RgbImage::from_fn(4, 4, noise).save(&png).unwrap();
    let (jpeg, png) = (fs::read(jpeg).unwrap(), fs::read(png).unwrap());

    for (name, good) in [("z.jpg", &jpeg), ("z.png", &png)] {
        let path = dir.path().join("train/ant").join(name);
        fs::write(&path, good).unwrap();
        assert_eq!(train(dir.path()).unwrap().len(), 5);
        // The final chunk of a PNG (IEND, 12 bytes) carries no pixels: decoders may do without it.
        let last = if name == "z.jpg" { good.len() } else { good.len() - 12 };
        for cut in 0..last {
            fs::write(&path, &good[..cut]).unwrap();
            let message = failure(dir.path()).to_string();
            assert!(message.starts_with(&path.display().to_string()), "cut at {cut}: {message}");
            // A data set on disk opens, and fails where the image is asked for.
            let lazy = open_folder(dir.path(), Part::Train, None, Keep::OnDisk).unwrap();
            assert!(lazy.image(2).is_err() && lazy.image(1).is_ok());
        }
        fs::remove_file(&path).unwrap();
    }

    let path = dir.path().join("train/ant/z.jpg");
    fs::write(&path, &jpeg[..jpeg.len() - 2]).unwrap();
    let expected = format!(
        "truncated: expected end-of-image marker up to offset {}, the data ends at offset {}",
        jpeg.len(),
        jpeg.len() - 2
    );
    assert!(failure(dir.path()).to_string().ends_with(&expected), "{}", failure(dir.path()));
    fs::write(&path, b"GIF89a, or so it says").unwrap();
    assert!(matches!(failure(dir.path()), DataError::Decode { .. }));
}

#[test]
fn the_first_damaged_file_is_reported_whatever_the_timing() {
    let dir = tempdir().unwrap();
    for index in 0..40 {
        save_rgb(&dir.path().join(format!("train/c/{index:02}.png")), 4, 4, index);
    }
    for index in [11, 12, 30, 39] {
        fs::write(dir.path().join(format!("train/c/{index:02}.png")), "junk").unwrap();
    }
    for _ in 0..20 {
        assert!(failure(dir.path()).to_string().contains("11.png"));
    }
}

#[test]
fn incomplete_trees_are_named() {
    let dir = tempdir().unwrap();
    assert!(matches!(failure(dir.path()), DataError::MissingData { .. }));
    fs::create_dir(dir.path().join("train")).unwrap();
    assert!(matches!(failure(dir.path()), DataError::NoImages { .. }));
    image_tree(dir.path());
    let empty = dir.path().join("train/cow");
    fs::create_dir(&empty).unwrap();
    // An empty folder is a class without images, which is a warning. A folder with files that are no images is an
    // error.
    let set = train(dir.path()).unwrap();
    assert_eq!(set.classes()[2], "cow");
    let root = dir.path().join("train");
    assert_eq!(set.warnings(), [format!("1 of 3 class folders in {} have no images: `cow`", root.display())]);
    fs::write(empty.join("a.avif"), "x").unwrap();
    let error = failure(dir.path());
    assert!(matches!(&error, DataError::EmptyClass { path, .. } if *path == empty), "{error}");
    assert!(error.to_string().contains("but 1 .avif; the first: "), "{error}");
    fs::remove_file(empty.join("a.avif")).unwrap();
    let test = || open("folder", Part::Test, &OpenOptions::dir(dir.path())).err().unwrap();
    assert!(
        matches!(test(), DataError::ClassMismatch { class, missing_in, .. } if class == "cow" && missing_in.ends_with("test"))
    );
    fs::remove_dir(&empty).unwrap();
    save_rgb(&dir.path().join("test/dog/a.png"), 4, 4, 0);
    assert!(
        matches!(test(), DataError::ClassMismatch { class, missing_in, .. } if class == "dog" && missing_in.ends_with("train"))
    );
}

#[cfg(unix)]
#[test]
fn a_dangling_link_is_named() {
    let dir = tempdir().unwrap();
    image_tree(dir.path());
    std::os::unix::fs::symlink("/nowhere", dir.path().join("train/ant/link.png")).unwrap();
    let message = failure(dir.path()).to_string();
    assert!(message.ends_with("link.png: a link to /nowhere, which is not there"), "{message}");
}

#[test]
fn a_test_part_without_class_folders_says_what_it_has() {
    let dir = tempdir().unwrap();
    image_tree(dir.path());
    // An empty folder stands beside the one with the images.
    std::fs::rename(dir.path().join("test"), dir.path().join("val")).unwrap();
    std::fs::create_dir(dir.path().join("test")).unwrap();
    let open = |part| open_folder(dir.path(), part, None, Keep::InMemory);
    assert_eq!(open(Part::Test).unwrap().len(), 4);
    // Images without a class, as a competition hands them out.
    std::fs::remove_dir_all(dir.path().join("val")).unwrap();
    std::fs::write(dir.path().join("test/a.png"), "x").unwrap();
    let message = open(Part::Test).err().unwrap().to_string();
    assert!(message.contains("test: no images: no class folders with images"), "{message}");
    assert!(message.contains("1 image outside of the class folders"), "{message}");
    assert!(open(Part::Train).is_ok());
}

#[test]
fn a_class_name_with_a_blank_behind_it_is_named() {
    let dir = tempdir().unwrap();
    image_tree(dir.path());
    std::fs::rename(dir.path().join("test/ant"), dir.path().join("test/ant ")).unwrap();
    let message = open_folder(dir.path(), Part::Test, None, Keep::InMemory).err().unwrap().to_string();
    assert!(message.contains("\"ant \" there differs from \"ant\" only in"), "{message}");
}
