//! The embedded digits: complete, attributed ranges, a fixed stratified split.

use gnr_data::{Dataset, Part, class_counts, digits};

#[test]
fn both_parts_are_the_whole_published_set() {
    let (train, test) = (digits(Part::Train).unwrap(), digits(Part::Test).unwrap());
    assert_eq!((train.len(), test.len()), (1437, 360));
    assert_eq!(train.shape(), [1, 8, 8]);
    let total: Vec<usize> =
        class_counts(&train).unwrap().iter().zip(class_counts(&test).unwrap()).map(|(a, b)| a + b).collect();
    // Class counts as published with the set.
    assert_eq!(total, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    let mut sum = 0u64;
    for set in [&train, &test] {
        for index in 0..set.len() {
            let image = set.image(index).unwrap();
            assert!(image.pixels.iter().all(|&pixel| pixel <= 16));
            sum += image.pixels.iter().map(|&pixel| u64::from(pixel)).sum::<u64>();
        }
    }
    // Mean pixel 4.884 of 16, as scikit-learn's copy: 561,718 in total.
    assert_eq!(sum, 561_718);
}

#[test]
fn the_split_is_stratified() {
    let test = class_counts(&digits(Part::Test).unwrap()).unwrap();
    // 360·n_c/1797 by largest remainder.
    assert_eq!(test, [36, 37, 35, 37, 36, 36, 36, 36, 35, 36]);
}

#[test]
fn the_first_image_is_the_well_known_zero() {
    let train = digits(Part::Train).unwrap();
    assert_eq!(train.label(0).unwrap(), 0);
    assert_eq!(train.image(0).unwrap().pixels[..8], [0, 0, 5, 13, 9, 1, 0, 0]);
    assert_eq!(train.describe(), "digits train (embedded): 1437 images 1x8x8, 10 classes");
}
