//! Noisy labels: exactly the given share is wrong, as a function of seed and index, on unchanged parts of the data.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gnr_data::{
    Augmentation, DataError, Dataset, HoldOut, InMemory, LabelNoise, Loader, LoaderConfig, Mix, NoiseKind,
    Noisy, Normalization, OpenOptions, Part, Resize, Subset, Views, class_counts, digits, find,
    flipped_labels, stratified_split,
};
use proptest::prelude::*;

use crate::trees::numbered;

fn rate(rate: f64, kind: NoiseKind, seed: u64) -> LabelNoise {
    LabelNoise::Rate { rate, kind, seed }
}

fn noisy(whole: &Arc<dyn Dataset>, noise: &LabelNoise) -> Arc<Noisy> {
    Arc::new(Noisy::new(whole.clone(), noise).unwrap())
}

fn labels(set: &dyn Dataset) -> Vec<usize> {
    (0..set.len()).map(|index| set.label(index).unwrap()).collect()
}

fn clean_labels(set: &dyn Dataset) -> Vec<usize> {
    (0..set.len()).map(|index| set.clean_label(index).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn exactly_the_rate_is_flipped_and_a_higher_rate_flips_more_of_the_same(
        len in 1usize..300, classes in 2usize..12, seed: u64, low in 0usize..1000, more in 0usize..1000, pairs: bool,
    ) {
        let whole = numbered(len, [1, 1, 1], classes);
        let kind = if pairs { NoiseKind::PairFlip } else { NoiseKind::Symmetric };
        let (low, high) = (low as f64 / 1000.0, (low + more).min(999) as f64 / 1000.0);
        let (few, many) = (noisy(&whole, &rate(low, kind, seed)), noisy(&whole, &rate(high, kind, seed)));
        for (set, rate) in [(&few, low), (&many, high)] {
            prop_assert_eq!(set.num_flipped(), (rate * len as f64).round() as usize);
            prop_assert_eq!(
                set.num_flipped(),
                (0..len).filter(|&index| set.label(index).unwrap() != whole.label(index).unwrap()).count()
            );
            prop_assert_eq!(clean_labels(set.as_ref()), labels(whole.as_ref()));
        }
        for index in 0..len {
            let (clean, label) = (whole.label(index).unwrap(), few.label(index).unwrap());
            prop_assert!(label < classes);
            if few.is_flipped(index).unwrap() {
                prop_assert_eq!(many.label(index).unwrap(), label);
                prop_assert!(!pairs || label == (clean + 1) % classes);
            } else {
                prop_assert_eq!(label, clean);
            }
        }
    }
}

/// Computed by an independent implementation of the documented algorithm: RFC 8439's block function with 8 rounds, the
/// key made of the numbers seed, 10, 0, index, little endian, and Lemire's bounded draw. A change of these numbers
/// changes recorded runs.
#[test]
fn the_flips_are_the_recorded_ones() {
    let whole = numbered(100, [1, 1, 1], 10);
    let flips = |seed| {
        let set = noisy(&whole, &rate(0.07, NoiseKind::Symmetric, seed));
        (0..100)
            .filter(|&i| set.is_flipped(i).unwrap())
            .map(|i| (i, set.label(i).unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(flips(0), [(12, 8), (24, 7), (40, 4), (43, 9), (49, 3), (52, 6), (88, 6)]);
    assert_eq!(flips(7), [(15, 4), (16, 5), (30, 2), (31, 6), (32, 3), (34, 8), (41, 7)]);
}

#[test]
fn symmetric_noise_is_uniform_over_the_other_classes() {
    // All images are of class 1, and nearly all are flipped.
    let names = (0..4).map(|class| class.to_string()).collect();
    let ones: Arc<dyn Dataset> =
        Arc::new(InMemory::new("ones", [1, 1, 1], names, vec![0; 30_000], vec![1; 30_000]).unwrap());
    let counts = class_counts(noisy(&ones, &rate(0.9, NoiseKind::Symmetric, 5)).as_ref()).unwrap();
    assert_eq!(counts[1], 3_000);
    // Tolerance: Binomial(27000, 1/3) has standard deviation 77.5; 5 sigma.
    assert!([0, 2, 3].iter().all(|&class| counts[class].abs_diff(9_000) < 388), "{counts:?}");
}

#[test]
fn pair_flips_go_to_the_next_class_and_from_the_last_to_the_first() {
    let whole = numbered(3, [1, 1, 1], 3);
    // 0.99 · 3 rounds to 3, which is every image.
    let set = noisy(&whole, &rate(0.99, NoiseKind::PairFlip, 0));
    assert_eq!((labels(set.as_ref()), clean_labels(set.as_ref())), (vec![1, 2, 0], vec![0, 1, 2]));
    assert!(set.describe().ends_with(", 3 of 3 labels flipped (pairflip, rate 0.99, seed 0)"));
    assert!(set.label(3).is_err() && set.clean_label(3).is_err() && set.is_flipped(3).is_err());
}

#[test]
fn splits_and_samples_are_those_of_the_clean_labels() {
    let whole: Arc<dyn Dataset> = Arc::new(digits(Part::Train).unwrap());
    let set: Arc<dyn Dataset> = noisy(&whole, &rate(0.6, NoiseKind::Symmetric, 3));
    let split = |set: &Arc<dyn Dataset>| stratified_split(set.as_ref(), HoldOut::Fraction(0.1), 4).unwrap();
    assert_eq!(split(&set), split(&whole));
    let sample = |set: &Arc<dyn Dataset>| Subset::sample(set.clone(), 200, 1).unwrap().indices().to_vec();
    assert_eq!(sample(&set), sample(&whole));
    let first = |set: &Arc<dyn Dataset>| Subset::first_per_class(set.clone(), 20).unwrap().indices().to_vec();
    assert_eq!(first(&set), first(&whole));

    // A part of a part has the labels of the whole set, and still has the clean ones.
    let chosen = sample(&set);
    let part: Arc<dyn Dataset> = Arc::new(Subset::sample(set.clone(), 200, 1).unwrap());
    let views = Views::new(part, whole.clone(), HoldOut::Count(50), 0).unwrap();
    let kept =
        stratified_split(&Subset::sample(whole.clone(), 200, 1).unwrap(), HoldOut::Count(50), 0).unwrap().0;
    for (index, &kept) in kept.iter().enumerate() {
        assert_eq!(views.train.label(index).unwrap(), set.label(chosen[kept]).unwrap());
        assert_eq!(views.train.clean_label(index).unwrap(), whole.label(chosen[kept]).unwrap());
    }
    let flipped = flipped_labels(views.train.as_ref()).unwrap().unwrap();
    let count = flipped.iter().filter(|flipped| **flipped).count();
    assert!(
        views.train.describe().ends_with(&format!(", {count} of 150 labels flipped")),
        "{}",
        views.train.describe()
    );
    assert_eq!(flipped_labels(whole.as_ref()).unwrap(), None);
}

#[test]
fn images_stay_and_resizing_passes_labels_on() {
    let resize = Resize::square(16);
    let options = OpenOptions { resize: Some(resize), ..OpenOptions::default() };
    let whole = find("digits").unwrap().open(Part::Train, &options).unwrap();
    let set = noisy(&whole, &rate(0.5, NoiseKind::PairFlip, 0));
    assert_eq!((set.shape(), set.image(5).unwrap()), (whole.shape(), whole.image(5).unwrap()));
    assert_eq!(set.original(5).unwrap(), whole.original(5).unwrap());
}

#[test]
fn batches_have_the_noisy_labels_whatever_order_and_threads() {
    let whole = numbered(60, [1, 2, 2], 5);
    let set = noisy(&whole, &rate(0.5, NoiseKind::Symmetric, 9));
    for (workers, seed) in [(0, 1), (3, 1), (2, 8)] {
        let augment = Augmentation::NONE;
        let config =
            LoaderConfig { workers, ..LoaderConfig::training(7, seed, Normalization::unit(), augment) };
        for batch in Loader::new(set.clone(), config).unwrap().epoch(2, 1).unwrap() {
            let batch = batch.unwrap();
            for (&label, &index) in batch.labels.iter().zip(&batch.indices) {
                assert_eq!(label, set.label(index).unwrap());
            }
        }
    }
}

/// In a blend whose own labels weigh less than ½, the label that counts is that of the image before.
#[test]
fn a_blend_knows_whose_label_weighs_more() {
    let set = noisy(&numbered(40, [1, 2, 2], 10), &rate(0.5, NoiseKind::Symmetric, 2));
    let augment =
        Augmentation { mix: Some(Mix { mixup: 1.0, cutmix: 0.0, probability: 1.0 }), ..Augmentation::NONE };
    let config = LoaderConfig::training(4, 0, Normalization::unit(), augment);
    let (mut own, mut partners) = (0, 0);
    for batch in Loader::new(set.clone(), config).unwrap().epoch(0, 0).unwrap() {
        let batch = batch.unwrap();
        let mixed = batch.mixed.as_ref().unwrap();
        let heavier = if mixed.weight < 0.5 { &mixed.labels } else { &batch.labels };
        if mixed.weight < 0.5 {
            partners += 1
        } else {
            own += 1
        }
        let of_indices: Vec<_> =
            batch.heavier_indices().iter().map(|&index| set.label(index).unwrap()).collect();
        assert_eq!(&of_indices, heavier);
    }
    assert!(own > 0 && partners > 0, "{own} {partners}");
}

#[test]
fn rates_and_sets_that_cannot_be_are_refused() {
    let refused = |rate_: f64, classes| {
        let error = Noisy::new(numbered(4, [1, 1, 1], classes), &rate(rate_, NoiseKind::Symmetric, 0));
        error.err().unwrap().to_string()
    };
    for bad in [1.0, -0.1, f64::NAN, f64::INFINITY] {
        assert_eq!(refused(bad, 2), format!("`label noise rate` = {bad}: must be in [0, 1)"));
    }
    let message =
        "`label noise rate` = 0.5: a label can only be wrong among 2 classes or more, the data set has 1";
    assert_eq!(refused(0.5, 1), message);
}

fn file(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// A `.npy` file, version 1.0, padded as NumPy pads it.
fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let padded = format!("{header:<117}\n");
    [b"\x93NUMPY\x01\x00v\x00", padded.as_bytes(), data].concat()
}

fn listed(path: PathBuf, len: usize) -> Result<Noisy, DataError> {
    Noisy::new(numbered(len, [1, 1, 1], 3), &LabelNoise::File(path))
}

#[test]
fn published_labels_are_read_from_text_and_numpy() {
    let dir = tempfile::tempdir().unwrap();
    let text = file(dir.path(), "labels.txt", b"# worse labels\n1\r\n\n0 # same as 1, 0, 2\n  2\n");
    let set = listed(text.clone(), 3).unwrap();
    assert_eq!(labels(&set), [1, 0, 2]);
    assert_eq!(clean_labels(&set), [0, 1, 2]);
    assert_eq!(set.num_flipped(), 2);
    let words = format!(", 2 of 3 labels flipped (labels of {})", text.display());
    assert!(set.describe().ends_with(&words), "{}", set.describe());

    // numpy 2.4: numpy.save(file, numpy.array([1, 0, 2], dtype=...))
    let header = |descr: &str| format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (3,), }}");
    let cases: &[(&str, &[u8])] = &[
        ("<i8", &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]),
        (">u2", &[0, 1, 0, 0, 0, 2]),
        ("|u1", &[1, 0, 2]),
        ("|i1", &[1, 0, 2]),
        (">i4", &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]),
    ];
    for (descr, data) in cases {
        let path = file(dir.path(), "labels.npy", &npy(&header(descr), data));
        assert_eq!(labels(&listed(path, 3).unwrap()), [1, 0, 2], "{descr}");
    }
    // Version 2, a header in another order, and a name without the ending.
    let header = b"{\"shape\":(3,),'fortran_order':True,'descr':'|u1'}\n";
    let bytes =
        [&b"\x93NUMPY\x02\x00"[..], &(header.len() as u32).to_le_bytes(), header, &[1, 0, 2]].concat();
    assert_eq!(labels(&listed(file(dir.path(), "labels", &bytes), 3).unwrap()), [1, 0, 2]);
}

#[test]
fn lists_that_do_not_fit_say_where() {
    let dir = tempfile::tempdir().unwrap();
    let message = |name: &str, bytes: &[u8]| {
        let path = file(dir.path(), name, bytes);
        let error = listed(path.clone(), 3).err().unwrap().to_string();
        error.strip_prefix(&path.display().to_string()).unwrap().to_owned()
    };
    for (text, expected) in [
        ("0\n1\n", ": expected 3 labels, one for each image of the whole training set; found 2"),
        ("0\n1\n2\n2\n", ": expected 3 labels, one for each image of the whole training set; found 4"),
        ("", ": expected 3 labels, one for each image of the whole training set; found 0"),
        ("0\n\n# x\n1\n3\n", ": line 5 (image 2): label 3 is not one of the 3 classes, 0 to 2"),
        ("0\n-1\n2", ": line 2 (image 1): label -1 is not one of the 3 classes, 0 to 2"),
        ("0\n1.0\n2", ":2: expected a label, a whole number; found `1.0`"),
        ("0\n1 2\n", ":2: expected a label, a whole number; found `1 2`"),
        ("0\ncat\n2", ":2: expected a label, a whole number; found `cat`"),
    ] {
        assert_eq!(message("labels.txt", text.as_bytes()), expected, "{text:?}");
    }
    assert_eq!(
        message("labels.txt", b"0\n\xff\xfe\n"),
        ":2: expected a label a line, or a NumPy array; found text that is not UTF-8 (byte 0xff); save the file as UTF-8"
    );
    let missing = listed(dir.path().join("none.txt"), 3).err().unwrap();
    assert!(matches!(&missing, DataError::Io { .. }), "{missing}");
    assert!(missing.to_string().contains("none.txt: cannot read"), "{missing}");
}

#[test]
fn damaged_and_foreign_arrays_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let message = |bytes: &[u8]| {
        let path = file(dir.path(), "labels.npy", bytes);
        let error = listed(path.clone(), 3).err().unwrap().to_string();
        error.strip_prefix(&path.display().to_string()).unwrap().to_owned()
    };
    let header = |descr: &str, shape: &str| {
        format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}")
    };
    let of = |descr: &str, shape: &str, data: &[u8]| message(&npy(&header(descr, shape), data));
    let good = npy(&header("'|i1'", "(3,)"), &[1, 0, 2]);
    assert!(listed(file(dir.path(), "labels.npy", &good), 3).is_ok());

    assert!(message(b"0\n1\n2\n").contains("wrong magic number at offset 0"));
    assert_eq!(
        of("'|i1'", "(3,)", &[1, 3, 2]),
        ": element 1 (image 1): label 3 is not one of the 3 classes, 0 to 2"
    );
    assert_eq!(
        of("'|i1'", "(3,)", &[1, 255, 2]),
        ": element 1 (image 1): label -1 is not one of the 3 classes, 0 to 2"
    );
    assert_eq!(
        of("'|u1'", "(3,)", &[1, 255, 2]),
        ": element 1 (image 1): label 255 is not one of the 3 classes, 0 to 2"
    );
    assert!(
        of("'<u8'", "(3,)", &[255; 24]).contains("element 0 (image 0): label 18446744073709551615 is not")
    );
    assert!(of("'>i8'", "(3,)", &[255; 24]).contains("element 0 (image 0): label -1 is not"));
    assert!(
        of("'|i1'", "(2,)", &[1, 2])
            .contains("expected 3 labels, one for each image of the whole training set; found 2")
    );

    let object = of("'|O'", "()", b"\x80\x04\x95\x8f");
    assert!(object.contains("`|O` is an array of Python objects, which is refused"), "{object}");
    assert!(object.contains("numpy.save(\"labels.npy\", labels)"), "{object}");
    assert!(of("[('x', '<i4')]", "(1,)", &[0; 4]).contains("this is an array of records"));
    for descr in ["<f8", "|b1", "<U3", "<i3", "|i8", "=i8", "", "<"] {
        let found = of(&format!("'{descr}'"), "(3,)", &[0; 24]);
        assert!(found.contains(&format!("expected integers (such as `<i8`), found `{descr}`")), "{found}");
    }
    for shape in ["()", "(3, 1)", "(1, 3,)"] {
        let found = of("'|i1'", shape, &[1, 0, 2]);
        assert!(found.contains("expected one dimension (a label for each image), found shape"), "{found}");
    }
    assert!(of("'<i8'", "(2305843009213693952,)", &[]).contains("impossible shape"));
    assert!(of("'<i8'", "(99999999999999999999999,)", &[]).contains("expected a length"));
    assert!(of("'|i1'", "(-3,)", &[1, 0, 2]).contains("offset 61: expected a length, found `-3,), }`"));

    // The file cut at every length, and with one byte too many.
    for length in 0..good.len() {
        let found = message(&good[..length]);
        let expected = if length < 6 { "wrong magic number" } else { "truncated" };
        assert!(found.contains(expected), "{length}: {found}");
    }
    let more = [&good[..], &[0]].concat();
    assert_eq!(message(&more), ": unexpected bytes after offset 131, where the declared data ends");

    for (header, expected) in [
        ("{'descr': '|i1', 'shape': (3,), }", "expected the keys descr, fortran_order and shape"),
        ("{'descr': '|i1', 'descr': '|i1', }", "the key 'descr' comes twice"),
        ("{'desc': '|i1', }", "unknown key 'desc'"),
        (
            "{'descr': '|i1', 'fortran_order': 0, 'shape': (3,), }",
            "expected True or False, found `0, 'shape'",
        ),
        ("{'descr' '|i1'}", "expected `:`"),
        ("{'descr: 3}", "expected a quoted string"),
        ("['descr']", "expected `{`"),
        ("{'descr': '|i1', 'fortran_order': False, 'shape': (3,), } x", "expected the end of the header"),
        ("{'descr': '|i1', 'fortran_order': False, 'shape': (3,)", "expected `}`"),
    ] {
        let found = message(&npy(header, &[1, 0, 2]));
        assert!(found.contains("damaged NumPy array at offset") && found.contains(expected), "{found}");
    }
    let mut version = good.clone();
    version[6] = 4;
    assert!(
        message(&version)
            .contains("not supported: version 4 of NumPy's format is not known, expected 1, 2 or 3")
    );
    let mut bytes = good.clone();
    bytes[20] = 0xff;
    assert!(message(&bytes).contains("damaged NumPy array at offset 20: not text"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// Any list gives labels that are classes, or an error that names the file.
    #[test]
    fn no_list_does_more_than_fail(
        changes in prop::collection::vec((0usize..131, any::<u8>()), 0..4), cut in 0usize..140, array: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let header = "{'descr': '|i1', 'fortran_order': False, 'shape': (3,), }";
        let mut bytes = if array { npy(header, &[1, 0, 2]) } else { b"1\n0 # one\n2\n".repeat(10) };
        bytes.truncate(cut);
        let length = bytes.len().max(1);
        for (at, byte) in changes {
            if let Some(place) = bytes.get_mut(at % length) {
                *place = byte;
            }
        }
        match listed(file(dir.path(), "labels", &bytes), 3) {
            Ok(set) => prop_assert!(labels(&set).iter().all(|&label| label < 3)),
            Err(error) => prop_assert!(error.to_string().contains("labels"), "{}", error),
        }
    }
}
