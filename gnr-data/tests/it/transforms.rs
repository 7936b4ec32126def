//! RandAugment's operations equal torchvision's bit for bit; bounds, determinism and label mass of every augmentation.
//!
//! The hashes are FNV-1a over planar pixels, made by torchvision 0.29 on Pillow 13, of `picture` as in `resample.rs`:
//! ```text
//! image = Image.fromarray((picture(37, 53)//2 + 40).astype(np.uint8))
//! torchvision.transforms.autoaugment._apply_op(image, name, magnitude, InterpolationMode.NEAREST, None)
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use gnr_data::{
    Augmentation, Batch, ColorJitter, DataError, Dataset, Erase, Image, Keep, Loader, LoaderConfig, Mix,
    Normalization, Operation, Order, Part, RandAugment, RandomResizedCrop, Remainder, Resize, open_folder,
};
use proptest::prelude::*;
use tempfile::tempdir;

use crate::trees::{fnv, numbered, picture, save_rgb};

const OPERATIONS: [(Operation, f64, u64); 29] = [
    (Operation::ShearX, 0.09, 0xc30005dc7a89bb2d),
    (Operation::ShearX, -0.3, 0x6a686e7aab9ac4d7),
    (Operation::ShearY, 0.17, 0x6e821edf26bfbe36),
    (Operation::ShearY, -0.09, 0xb300e51840c8931c),
    (Operation::TranslateX, 7.9, 0x9909517eb24bc27f),
    (Operation::TranslateX, -7.9, 0x888d185033745ee8),
    (Operation::TranslateY, 3.2, 0x7127774a5d299357),
    (Operation::TranslateY, -11.0, 0x17a076fc3d1ec2a4),
    (Operation::Rotate, 9.0, 0x6f5d5ce4b38a7fcf),
    (Operation::Rotate, -30.0, 0xd20417e918d5cbf3),
    (Operation::Rotate, 17.3, 0x9ccaabd6fb0d4d5d),
    (Operation::Brightness, 0.27, 0xabc5ad9e20e61572),
    (Operation::Brightness, -0.27, 0xf2ad3103fce74fa3),
    (Operation::Brightness, 0.9, 0x030e3b667dcedc5d),
    (Operation::Color, 0.27, 0x57c34fb1e4fe663e),
    (Operation::Color, -0.9, 0x507ff57059938f56),
    (Operation::Color, 0.9, 0x2924ea50254f3851),
    (Operation::Contrast, 0.27, 0x5c911a9176e75d5a),
    (Operation::Contrast, -0.27, 0x927cf7816006ffed),
    (Operation::Contrast, 0.9, 0xe8249e37ab21d259),
    (Operation::Sharpness, 0.27, 0x165ee68c9c8742f1),
    (Operation::Sharpness, -0.9, 0x2474ececb2e503d7),
    (Operation::Sharpness, 0.9, 0x2e4909e405004175),
    (Operation::Posterize, 7.0, 0x6ad0067f01f99cc5),
    (Operation::Posterize, 4.0, 0xb065116bec908b07),
    (Operation::Solarize, 178.5, 0xbea71b92c293c81a),
    (Operation::Solarize, 100.0, 0x1e03f1f878c4ec53),
    (Operation::AutoContrast, 0.0, 0xb1b6cf58c5bf2a36),
    (Operation::Equalize, 0.0, 0x8c2904f78ffbc2bd),
];

fn muted(height: usize, width: usize) -> Image<'static> {
    let image = picture(height, width);
    let pixels: Vec<u8> = image.pixels.iter().map(|&pixel| pixel / 2 + 40).collect();
    Image { pixels: pixels.into(), ..image }
}

#[test]
fn operations_are_torchvisions() {
    let covered: BTreeSet<_> = OPERATIONS.iter().map(|(operation, ..)| format!("{operation:?}")).collect();
    assert_eq!(covered.len(), Operation::ALL.len() - 1, "every operation but Identity");
    for (operation, magnitude, expected) in OPERATIONS {
        let mut image = muted(37, 53);
        operation.apply(&mut image, magnitude);
        assert_eq!(image.shape(), [3, 37, 53]);
        assert_eq!(fnv(&image.pixels), expected, "{operation:?} at {magnitude}");
    }
}

#[test]
fn magnitudes_are_torchvisions() {
    // RandAugment(magnitude = 9) on 32x32: torchvision's _augmentation_space(31, (32, 32)).
    for (operation, expected) in [
        (Operation::ShearX, 0.09),
        (Operation::TranslateY, 150.0 / 331.0 * 32.0 * 0.3),
        (Operation::Rotate, 9.0),
        (Operation::Color, 0.27),
        (Operation::Posterize, 7.0),
        (Operation::Solarize, 178.5),
        (Operation::Equalize, 0.0),
    ] {
        let (magnitude, _) = operation.magnitude(9, 32, 32);
        assert!((magnitude - expected).abs() < 1e-12, "{operation:?}: {magnitude}");
    }
}

fn loader(set: Arc<dyn Dataset>, augment: Augmentation, seed: u64, workers: usize) -> Loader {
    let config = LoaderConfig {
        order: Order::Shuffled { seed },
        remainder: Remainder::Keep,
        workers,
        ..LoaderConfig::training(7, seed, Normalization::unit(), augment)
    };
    Loader::new(set, config).unwrap()
}

fn epoch(loader: &Loader, epoch: u64) -> Vec<Batch> {
    loader.epoch(epoch, 0).unwrap().map(Result::unwrap).collect()
}

const EVERYTHING: Augmentation = Augmentation {
    crop: Some(RandomResizedCrop::IMAGENET),
    jitter: Some(ColorJitter { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 }),
    policy: Some(RandAugment { operations: 2, magnitude: 9 }),
    erase: Some(Erase::RANDOM),
    mix: Some(Mix { mixup: 0.8, cutmix: 1.0, probability: 1.0 }),
    ..Augmentation::CIFAR
};

/// Each kind of augmentation alone, and all together.
fn kinds() -> Vec<Augmentation> {
    let none = Augmentation::NONE;
    vec![
        Augmentation { crop: EVERYTHING.crop, ..none },
        Augmentation { jitter: EVERYTHING.jitter, ..none },
        Augmentation { policy: EVERYTHING.policy, ..none },
        Augmentation { erase: Some(Erase::Cutout { size: 4 }), ..none },
        Augmentation { erase: EVERYTHING.erase, ..none },
        Augmentation { mix: EVERYTHING.mix, ..none },
        EVERYTHING,
    ]
}

#[test]
fn threads_change_nothing_and_epochs_and_seeds_do() {
    let set = numbered(17, [3, 12, 10], 4);
    for augment in kinds() {
        let reference = loader(set.clone(), augment, 3, 0);
        let first = epoch(&reference, 1);
        assert_eq!(first, epoch(&loader(set.clone(), augment, 3, 3), 1), "{augment:?}");
        let resumed: Vec<_> = reference.epoch(1, 1).unwrap().map(Result::unwrap).collect();
        assert_eq!(first[1..], resumed, "{augment:?}");
        assert_ne!(first, epoch(&reference, 2));
        assert_ne!(first, epoch(&loader(set.clone(), augment, 4, 0), 1));
        // The images must differ from those of an epoch without augmentation.
        let plain = epoch(&loader(set.clone(), Augmentation::NONE, 3, 0), 1);
        assert!(first.iter().zip(&plain).any(|(a, b)| a.images != b.images), "{augment:?}");
        assert!(first.iter().zip(&plain).all(|(a, b)| a.labels == b.labels && a.shape == b.shape));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn pixels_stay_in_range_and_labels_keep_their_mass(
        channels in 1usize..4, height in 8usize..20, width in 8usize..20, seed: u64, kind in 0usize..7,
    ) {
        let loader = loader(numbered(15, [channels, height, width], 3), kinds()[kind], seed, 0);
        for batch in epoch(&loader, 0) {
            prop_assert!(batch.images.iter().all(|value| (0.0..=1.0).contains(value)));
            prop_assert_eq!(batch.images.len(), batch.shape.iter().product::<usize>());
            for row in batch.soft_labels(3).unwrap().chunks(3) {
                prop_assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12 && row.iter().all(|&mass| mass >= 0.0));
            }
            if let Some(mixed) = &batch.mixed {
                prop_assert!((0.0..=1.0).contains(&mixed.weight));
                let mut partners = batch.labels.clone();
                partners.rotate_right(1);
                prop_assert_eq!(&mixed.labels, &partners);
            }
        }
    }

    #[test]
    fn a_blend_is_the_weighted_sum_of_its_images(seed: u64, cuts: bool) {
        let set = numbered(14, [2, 9, 11], 3);
        let (mixup, cutmix) = if cuts { (0.0, 1.0) } else { (0.7, 0.0) };
        let mix = Some(Mix { mixup, cutmix, probability: 1.0 });
        let plain = epoch(&loader(set.clone(), Augmentation::NONE, seed, 0), 0);
        let blended = epoch(&loader(set, Augmentation { mix, ..Augmentation::NONE }, seed, 0), 0);
        for (plain, blended) in plain.iter().zip(&blended) {
            let (size, lambda) = (2 * 9 * 11, blended.mixed.as_ref().unwrap().weight as f32);
            for i in 0..plain.len() {
                let image = |k: usize| &plain.images[k * size..(k + 1) * size];
                let (own, partner) = (image(i), image((i + plain.len() - 1) % plain.len()));
                let found = &blended.images[i * size..(i + 1) * size];
                let mut taken = 0;
                for ((own, partner), found) in own.iter().zip(partner).zip(found) {
                    if cuts {
                        prop_assert!(found == own || found == partner);
                        taken += usize::from(found == own);
                    } else {
                        prop_assert!((found - (lambda * own + (1.0 - lambda) * partner)).abs() < 1e-6);
                    }
                }
                // At least a share λ of the pixels is the image's own; more only where both images agree.
                prop_assert!(!cuts || taken as f32 >= lambda * size as f32 - 0.5);
            }
        }
    }
}

#[test]
fn erasing_blanks_what_it_should() {
    let set = numbered(200, [1, 16, 16], 2);
    let blanked = |erase| -> Vec<usize> {
        let loader = loader(set.clone(), Augmentation { erase: Some(erase), ..Augmentation::NONE }, 1, 0);
        // No pixel of `numbered` is 0.
        let zeros = |image: &[f32]| image.iter().filter(|&&value| value == 0.0).count();
        epoch(&loader, 0).iter().flat_map(|batch| batch.images.chunks(256).map(zeros)).collect()
    };
    // A square is whole inside the image, and a quarter of one in a corner.
    let cutout = blanked(Erase::Cutout { size: 8 });
    assert!(cutout.iter().all(|&count| (16..=64).contains(&count)) && cutout.contains(&64));
    let random = blanked(Erase::RANDOM);
    let untouched = random.iter().filter(|&&count| count == 0).count();
    // Tolerance: Binomial(200, 1/2) has standard deviation 7; 5 sigma.
    assert!(untouched.abs_diff(100) < 36, "{untouched}");
    assert!(random.iter().all(|&count| count <= 256 * 36 / 100), "33 % and rounding");
}

#[test]
fn crops_are_cut_from_the_published_size() {
    let dir = tempdir().unwrap();
    for index in 0..4u8 {
        save_rgb(&dir.path().join(format!("train/c/{index}.png")), 90, 60, index);
    }
    let set = open_folder(dir.path(), Part::Train, Some(Resize::square(16)), Keep::OnDisk).unwrap();
    let crop = RandomResizedCrop { scale: [0.01, 0.02], ..RandomResizedCrop::IMAGENET };
    let config = LoaderConfig::training(
        4,
        0,
        Normalization::unit(),
        Augmentation { crop: Some(crop), ..Augmentation::NONE },
    );
    let batch = Loader::new(set, config).unwrap().epoch(0, 0).unwrap().next().unwrap().unwrap();
    assert_eq!(batch.shape, [4, 3, 16, 16]);
    // Red is the column: at most 2 % of 90x60 pixels is at most 12 columns wide, scaled up without loss of order.
    for image in batch.images.chunks(3 * 256) {
        let spread = (image[15] - image[0]) * 255.0;
        assert!((1.0..=12.0).contains(&spread), "{spread}");
    }
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let none = Augmentation::NONE;
    let crop = RandomResizedCrop::IMAGENET;
    let erase = |scale, ratio| Some(Erase::Random { probability: 0.5, scale, ratio });
    for (augment, key) in [
        (Augmentation { crop: Some(RandomResizedCrop { scale: [0.0, 1.0], ..crop }), ..none }, "crop.scale"),
        (Augmentation { crop: Some(RandomResizedCrop { scale: [0.5, 1.5], ..crop }), ..none }, "crop.scale"),
        (Augmentation { crop: Some(RandomResizedCrop { ratio: [2.0, 1.0], ..crop }), ..none }, "crop.ratio"),
        (
            Augmentation { crop: Some(RandomResizedCrop { ratio: [f64::NAN, 1.0], ..crop }), ..none },
            "crop.ratio",
        ),
        (
            Augmentation { jitter: Some(ColorJitter { hue: 0.6, ..ColorJitter::default() }), ..none },
            "jitter.hue",
        ),
        (
            Augmentation { jitter: Some(ColorJitter { contrast: -0.1, ..ColorJitter::default() }), ..none },
            "jitter.contrast",
        ),
        (
            Augmentation { policy: Some(RandAugment { operations: 2, magnitude: 31 }), ..none },
            "rand_augment.magnitude",
        ),
        (
            Augmentation { policy: Some(RandAugment { operations: 0, magnitude: 9 }), ..none },
            "rand_augment.operations",
        ),
        (Augmentation { erase: Some(Erase::Cutout { size: 3 }), ..none }, "cutout"),
        (Augmentation { erase: erase([0.1, f64::INFINITY], [0.3, 3.3]), ..none }, "erase.scale"),
        (
            Augmentation {
                erase: Some(Erase::Random { probability: 1.1, scale: [0.1, 0.2], ratio: [0.3, 3.3] }),
                ..none
            },
            "erase.probability",
        ),
        (Augmentation { mix: Some(Mix { mixup: -1.0, cutmix: 0.0, probability: 1.0 }), ..none }, "mixup"),
        (
            Augmentation { mix: Some(Mix { mixup: 0.0, cutmix: f64::NAN, probability: 1.0 }), ..none },
            "cutmix",
        ),
    ] {
        let config = LoaderConfig::training(4, 0, Normalization::unit(), augment);
        match Loader::new(numbered(4, [3, 16, 16], 2), config).err() {
            Some(DataError::Config { key: found, .. }) => assert_eq!(found, key),
            other => panic!("{key}: {other:?}"),
        }
    }
}
