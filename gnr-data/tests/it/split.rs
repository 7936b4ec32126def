//! Splits and views are disjoint, complete, stratified, and a pure function of the seed.

use std::collections::BTreeSet;
use std::sync::Arc;

use gnr_data::{
    DataError, Dataset, HoldOut, InMemory, Part, Subset, Views, class_counts, digits, stratified_split,
};
use proptest::prelude::*;

use crate::trees::numbered;

fn with_labels(labels: &[usize], classes: usize) -> Arc<dyn Dataset> {
    let names = (0..classes).map(|class| class.to_string()).collect();
    Arc::new(InMemory::new("labels", [1, 1, 1], names, vec![0; labels.len()], labels.to_vec()).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn a_split_is_a_stratified_partition(
        labels in prop::collection::vec(0usize..7, 1..200), seed: u64, share in 0usize..=100,
    ) {
        let set = with_labels(&labels, 7);
        let count = labels.len() * share / 100;
        let (kept, held) = stratified_split(set.as_ref(), HoldOut::Count(count), seed).unwrap();
        prop_assert_eq!(held.len(), count);
        prop_assert!(kept.is_sorted() && held.is_sorted());
        let all: BTreeSet<usize> = kept.iter().chain(&held).copied().collect();
        prop_assert_eq!((all.len(), kept.len() + held.len()), (labels.len(), labels.len()));
        for class in 0..7 {
            let of = |indices: &[usize]| indices.iter().filter(|&&index| labels[index] == class).count() as f64;
            let whole = labels.iter().filter(|&&label| label == class).count() as f64;
            // Largest remainder keeps each class within one image of the exact share.
            prop_assert!((of(&held) - whole * count as f64 / labels.len() as f64).abs() < 1.0);
        }
        prop_assert_eq!(stratified_split(set.as_ref(), HoldOut::Count(count), seed).unwrap(), (kept, held));
    }

    #[test]
    fn a_sample_is_stratified_and_distinct(count in 0usize..=90, seed: u64) {
        let sample = Subset::sample(numbered(90, [1, 1, 1], 9), count, seed).unwrap();
        prop_assert_eq!(sample.indices().iter().collect::<BTreeSet<_>>().len(), count);
        let counts = class_counts(&sample).unwrap();
        prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
    }
}

#[test]
fn seeds_give_different_splits() {
    let set = digits(Part::Train).unwrap();
    let held = |seed| stratified_split(&set, HoldOut::Fraction(0.1), seed).unwrap().1;
    assert_eq!(held(1).len(), 144);
    assert_ne!(held(1), held(2));
    // Recorded: a change of these numbers changes every published validation score.
    assert_eq!(held(0)[..8], RECORDED);
}

/// Computed by an independent implementation of the documented algorithm: RFC 8439's block function with 8 rounds, the
/// four little-endian numbers as the key, Lemire's bounded draw.
const RECORDED: [usize; 8] = [12, 19, 58, 66, 76, 78, 81, 82];

#[test]
fn views_share_the_training_images() {
    let (train, test): (Arc<dyn Dataset>, Arc<dyn Dataset>) =
        (Arc::new(digits(Part::Train).unwrap()), Arc::new(digits(Part::Test).unwrap()));
    let views = Views::new(train.clone(), test.clone(), HoldOut::Fraction(0.1), 3).unwrap();
    let validation = views.validation.unwrap();
    assert_eq!((views.train.len(), validation.len(), views.test.len()), (1293, 144, 360));
    let none = Views::new(train.clone(), test.clone(), HoldOut::Count(0), 3).unwrap();
    assert_eq!((none.train.len(), none.validation.is_none()), (1437, true));
    for bad in [
        HoldOut::Fraction(1.0),
        HoldOut::Fraction(-0.1),
        HoldOut::Fraction(f64::NAN),
        HoldOut::Count(1438),
        HoldOut::Count(1437),
    ] {
        assert!(
            matches!(Views::new(train.clone(), test.clone(), bad, 3), Err(DataError::Config { .. })),
            "{bad:?}"
        );
    }
}

#[test]
fn first_per_class_keeps_the_order() {
    let set = with_labels(&[2, 0, 1, 0, 2, 1, 0, 2], 3);
    let subset = Subset::first_per_class(set.clone(), 2).unwrap();
    assert_eq!(subset.indices(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(subset.label(4).unwrap(), 2);
    let error = Subset::first_per_class(set, 3).err().unwrap().to_string();
    assert!(error.contains("class `1` has only 2 images"), "{error}");
}

#[test]
fn subsets_check_their_indices() {
    let set = numbered(4, [1, 1, 1], 2);
    assert!(matches!(
        Subset::new(set.clone(), vec![0, 4], "x"),
        Err(DataError::IndexOutOfRange { index: 4, len: 4 })
    ));
    let twice = Subset::new(set, vec![3, 3], "the last, twice").unwrap();
    assert_eq!((twice.len(), twice.image(1).unwrap().pixels[0]), (2, 94));
    assert!(twice.image(2).is_err() && twice.label(2).is_err());
    assert!(twice.describe().contains("(the last, twice): 2 images"), "{}", twice.describe());
}
