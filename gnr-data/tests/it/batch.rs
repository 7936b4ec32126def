//! Batches from the caller's own numbers are checked.

use gnr_data::{Batch, DataError, InMemory};

#[test]
fn non_finite_pixels_are_located() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut images = vec![0.5; 2 * 3 * 4 * 5];
        images[((3 + 2) * 4 + 3) * 5 + 1] = bad;
        match Batch::from_f32(images, vec![0, 1], [2, 3, 4, 5], 2).unwrap_err() {
            DataError::NonFinitePixel { sample: 1, channel: 2, row: 3, column: 1, value } => {
                assert_eq!(value.to_bits(), bad.to_bits());
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn labels_and_lengths_are_checked() {
    let error = Batch::from_f32(vec![0.0; 2], vec![0, 10], [2, 1, 1, 1], 10).unwrap_err();
    assert_eq!(error.to_string(), "sample 1: label 10 is not below the class count 10");
    assert!(matches!(
        Batch::from_f32(vec![0.0; 3], vec![0, 1], [2, 1, 1, 1], 10),
        Err(DataError::BufferLength { what: "images", expected: 2, found: 3, .. })
    ));
    assert!(matches!(
        Batch::from_f32(vec![0.0; 2], vec![0], [2, 1, 1, 1], 10),
        Err(DataError::BufferLength { what: "labels", expected: 2, found: 1, .. })
    ));
    assert!(Batch::from_f32(vec![], vec![], [2, usize::MAX, 2, 2], 10).is_err());
    let batch = Batch::from_f32(vec![1.0, 2.0], vec![3, 4], [2, 1, 1, 1], 5).unwrap();
    assert_eq!((batch.len(), batch.indices), (2, vec![0, 1]));
}

#[test]
fn in_memory_sets_are_checked() {
    let names = || vec!["a".to_string(), "b".to_string()];
    let make = |pixels: usize, labels: &[usize]| {
        InMemory::new("x", [1, 2, 2], names(), vec![0; pixels], labels.to_vec())
    };
    assert!(make(8, &[0, 1]).is_ok());
    assert!(matches!(make(7, &[0, 1]), Err(DataError::BufferLength { expected: 8, found: 7, .. })));
    assert!(matches!(make(8, &[0, 2]), Err(DataError::BatchLabel { sample: 1, label: 2, classes: 2 })));
    assert!(matches!(make(0, &[]), Err(DataError::NoImages { .. })));
}
