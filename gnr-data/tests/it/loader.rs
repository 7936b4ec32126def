//! The loader gives every image once, in a reproducible order, for any number of threads and wherever it is resumed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gnr_data::{
    Augmentation, Batch, DataError, Dataset, Image, Loader, LoaderConfig, Normalization, Order, Remainder,
    Share, permutation,
};
use proptest::prelude::*;

use crate::trees::numbered;

fn training(batch_size: usize, seed: u64, workers: usize) -> LoaderConfig {
    let augment = Augmentation { pad: 2, ..Augmentation::CIFAR };
    LoaderConfig { workers, ..LoaderConfig::training(batch_size, seed, Normalization::unit(), augment) }
}

fn batches(config: &LoaderConfig, epoch: u64, start: usize) -> Vec<Batch> {
    let loader = Loader::new(numbered(50, [3, 5, 4], 7), config.clone()).unwrap();
    loader.epoch(epoch, start).unwrap().map(Result::unwrap).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn the_order_is_a_permutation(len in 0usize..500, seed: u64, epoch: u64) {
        let order = permutation(len, seed, epoch);
        prop_assert_eq!(&order, &permutation(len, seed, epoch));
        let distinct: BTreeSet<usize> = order.iter().copied().collect();
        prop_assert!(distinct.into_iter().eq(0..len));
    }

    #[test]
    fn threads_and_resuming_change_nothing(
        batch_size in 1usize..20, seed: u64, epoch in 0u64..5, workers in 0usize..5, prefetch in 1usize..6, start in 0usize..60,
        keep: bool,
    ) {
        let remainder = if keep { Remainder::Keep } else { Remainder::Drop };
        let reference = LoaderConfig { remainder, ..training(batch_size, seed, 0) };
        let whole = batches(&reference, epoch, 0);
        let expected = if keep { 50usize.div_ceil(batch_size) } else { 50 / batch_size };
        prop_assert_eq!(whole.len(), expected);
        let resumed = batches(&LoaderConfig { workers, prefetch, ..reference }, epoch, start);
        prop_assert_eq!(&resumed[..], whole.get(start..).unwrap_or_default());
    }
}

/// Images, labels, indices, partners' labels and the weight of a batch.
type Joined = (Vec<f32>, Vec<usize>, Vec<usize>, Vec<usize>, Option<f64>);

fn joined(parts: &[Batch]) -> Joined {
    let all = |of: &dyn Fn(&Batch) -> Vec<usize>| parts.iter().flat_map(of).collect::<Vec<_>>();
    (
        parts.iter().flat_map(|part| part.images.clone()).collect(),
        all(&|part| part.labels.clone()),
        all(&|part| part.heavier_indices()),
        all(&|part| part.mixed.as_ref().map_or_else(Vec::new, |mixed| mixed.labels.clone())),
        parts.iter().find_map(|part| part.mixed.as_ref()).map(|mixed| mixed.weight),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    /// No image is repeated or lost, and each equals that of the whole batch, blended with an equal partner.
    #[test]
    fn shares_together_are_the_whole(
        batch_size in 2usize..20, seed: u64, of in 1usize..6, workers in 0usize..3, blends in 0usize..3, start in 0usize..3,
    ) {
        let mut whole = LoaderConfig { remainder: Remainder::Keep, ..training(batch_size, seed, workers) };
        let mix = gnr_data::Mix { mixup: 0.4, cutmix: 0.0, probability: 1.0 };
        whole.augment.mix = [None, Some(mix), Some(gnr_data::Mix { mixup: 0.0, cutmix: 1.0, ..mix })][blends];
        let expected = batches(&whole, 1, start);
        let share = |share| batches(&LoaderConfig { share, ..whole.clone() }, 1, start);
        let parts: Vec<_> = (0..of).map(|index| share(Share::OfEachBatch { index, of })).collect();
        for (number, batch) in expected.iter().enumerate() {
            let parts: Vec<Batch> = parts.iter().map(|part| part[number].clone()).collect();
            prop_assert_eq!(joined(&parts), joined(std::slice::from_ref(batch)));
            prop_assert!(parts.iter().all(|part| part.shape[0] == part.labels.len() && part.indices.len() == part.labels.len()));
        }
        let from_the_first = batches(&whole, 1, 0);
        for index in 0..of {
            let whole_batches = batches(&LoaderConfig { share: Share::OfBatches { index, of }, ..whole.clone() }, 1, 0);
            let expected: Vec<_> = from_the_first.iter().skip(index).step_by(of).cloned().collect();
            prop_assert_eq!(whole_batches, expected);
        }
        let count = |share| Loader::new(numbered(50, [3, 5, 4], 7), LoaderConfig { share, ..whole.clone() }).unwrap().images_per_epoch();
        prop_assert_eq!((0..of).map(|index| count(Share::OfEachBatch { index, of })).sum::<usize>(), 50);
        prop_assert_eq!((0..of).map(|index| count(Share::OfBatches { index, of })).sum::<usize>(), 50);
    }
}

#[test]
fn a_share_that_does_not_exist_is_refused() {
    let config = LoaderConfig { share: Share::OfBatches { index: 3, of: 3 }, ..training(4, 0, 0) };
    let error = Loader::new(numbered(50, [3, 5, 4], 7), config).err().unwrap();
    assert!(error.to_string().contains("3 of 3"), "{error}");
}

#[test]
fn recorded_orders_do_not_change() {
    // A change of these numbers breaks resuming of runs made by earlier versions.
    assert_eq!(permutation(10, 42, 3), RECORDED);
    assert_ne!(permutation(10, 42, 3), permutation(10, 42, 4));
    assert_ne!(permutation(10, 42, 3), permutation(10, 43, 3));
}

/// Computed by an independent implementation of the documented algorithm: RFC 8439's block function with 8 rounds, the
/// four little-endian numbers as the key, Lemire's bounded draw.
const RECORDED: [usize; 10] = [9, 2, 4, 7, 6, 1, 3, 0, 8, 5];

#[test]
fn evaluation_sees_every_image_once_as_it_is() {
    let set = numbered(10, [1, 2, 2], 3);
    let loader = Loader::new(set.clone(), LoaderConfig::evaluation(4, Normalization::unit())).unwrap();
    assert_eq!(loader.batches_per_epoch(), 3);
    let batches: Vec<Batch> = loader.epoch(9, 0).unwrap().map(Result::unwrap).collect();
    assert_eq!(
        batches.iter().map(|batch| batch.shape).collect::<Vec<_>>(),
        [[4, 1, 2, 2], [4, 1, 2, 2], [2, 1, 2, 2]]
    );
    assert_eq!(
        batches.iter().flat_map(|batch| batch.indices.clone()).collect::<Vec<_>>(),
        (0..10).collect::<Vec<_>>()
    );
    for batch in batches {
        for (position, &index) in batch.indices.iter().enumerate() {
            assert_eq!(batch.labels[position], set.label(index).unwrap());
            let expected: Vec<f32> = set
                .image(index)
                .unwrap()
                .pixels
                .iter()
                .map(|&byte| (f64::from(byte) / 255.0) as f32)
                .collect();
            assert_eq!(batch.images[position * 4..(position + 1) * 4], expected);
        }
    }
}

#[test]
fn recycled_memory_leaves_no_trace() {
    let config = LoaderConfig { remainder: Remainder::Keep, ..training(8, 1, 2) };
    let fresh = batches(&config, 0, 0);
    let loader = Loader::new(numbered(50, [3, 5, 4], 7), config).unwrap();
    for epoch in [1, 0] {
        for (number, batch) in loader.epoch(epoch, 0).unwrap().enumerate() {
            let mut batch = batch.unwrap();
            if epoch == 0 {
                assert_eq!(batch, fresh[number]);
            }
            batch.images.fill(f32::NAN);
            loader.recycle(batch);
        }
    }
}

#[test]
fn nonsense_is_refused() {
    let set = numbered(10, [3, 8, 8], 2);
    let refused = |config| Loader::new(set.clone(), config).err().unwrap().to_string();
    let good = training(4, 0, 1);
    assert!(refused(LoaderConfig { batch_size: 0, ..good.clone() }).starts_with("`batch_size` = 0"));
    assert!(refused(LoaderConfig { batch_size: 11, ..good.clone() }).contains("10 images"));
    assert!(refused(LoaderConfig { prefetch: 0, ..good.clone() }).starts_with("`prefetch` = 0"));
    let two = Normalization { white: 255.0, mean: vec![0.0; 2], std: vec![1.0; 2] };
    assert!(refused(LoaderConfig { normalization: two, ..good }).contains("expected 1 or 3 values"));
}

#[test]
fn every_worker_has_a_batch_to_make() {
    let ahead = |workers| {
        let config = LoaderConfig { prefetch: 4, ..training(2, 0, workers) };
        Loader::new(numbered(40, [3, 8, 8], 2), config).unwrap().config().prefetch
    };
    assert_eq!([0, 2, 4, 9].map(ahead), [4, 4, 4, 9]);
}

/// Faults that a data set of a library user may have.
enum Fault {
    None,
    Error,
    Panic,
    Shape,
}

/// A data set that counts its holders and fails at one image.
struct Faulty {
    inner: Arc<dyn Dataset>,
    at: usize,
    fault: Fault,
    asked: AtomicUsize,
}

impl Dataset for Faulty {
    fn len(&self) -> usize {
        self.inner.len()
    }
    fn shape(&self) -> [usize; 3] {
        self.inner.shape()
    }
    fn classes(&self) -> &[String] {
        self.inner.classes()
    }
    fn image(&self, index: usize) -> Result<Image<'_>, DataError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut image = self.inner.image(index)?;
        if index == self.at {
            match self.fault {
                Fault::None => {}
                Fault::Error => return Err(DataError::IndexOutOfRange { index, len: 0 }),
                Fault::Panic => panic!("image {index} is cursed"),
                Fault::Shape => image.height = 1,
            }
        }
        Ok(image)
    }
    fn label(&self, index: usize) -> Result<usize, DataError> {
        self.inner.label(index)
    }
    fn describe(&self) -> String {
        self.inner.describe()
    }
}

fn faulty(len: usize, at: usize, fault: Fault) -> Arc<Faulty> {
    Arc::new(Faulty { inner: numbered(len, [1, 2, 2], 2), at, fault, asked: AtomicUsize::new(0) })
}

#[test]
fn an_error_comes_at_its_place() {
    for workers in [0, 1, 4] {
        for (fault, expected) in [
            (Fault::Error, "image index 13 is out of range"),
            (Fault::Panic, "panicked in batch 3: image 13 is cursed"),
            (Fault::Shape, "image 13: image is 1x1x2 but the data set is 1x2x2"),
        ] {
            let config = LoaderConfig { workers, ..LoaderConfig::evaluation(4, Normalization::unit()) };
            let loader = Loader::new(faulty(40, 13, fault), config).unwrap();
            let results: Vec<_> = loader.epoch(0, 0).unwrap().collect();
            assert_eq!(results.len(), 10);
            for (number, result) in results.into_iter().enumerate() {
                match result {
                    Ok(batch) => assert!(number != 3 && batch.indices[0] == 4 * number),
                    Err(error) => assert!(number == 3 && error.to_string().contains(expected), "{error}"),
                }
            }
        }
    }
}

#[test]
fn dropping_midway_joins_the_workers() {
    let set = faulty(4000, 0, Fault::None);
    let config = LoaderConfig { workers: 3, ..LoaderConfig::evaluation(4, Normalization::unit()) };
    let loader = Loader::new(set.clone(), config).unwrap();
    let mut epoch = loader.epoch(0, 0).unwrap();
    epoch.next().unwrap().unwrap();
    drop(epoch);
    let asked = set.asked.load(Ordering::SeqCst);
    // The number is bounded by the batch received and the 4 + 1 ahead, not by the thousand of the epoch.
    assert!(asked <= 6 * 4, "{asked}");
    // No thread holds the data set any more: only the loader and this test do.
    drop(loader);
    assert_eq!(Arc::strong_count(&set), 1);
}

#[test]
fn an_epoch_can_outlive_its_loader_and_knows_its_length() {
    let config = LoaderConfig {
        order: Order::Shuffled { seed: 1 },
        ..LoaderConfig::evaluation(3, Normalization::unit())
    };
    let mut epoch = Loader::new(numbered(10, [1, 1, 1], 2), config).unwrap().epoch(0, 1).unwrap();
    for left in (0..=3).rev() {
        assert_eq!(epoch.len(), left);
        assert_eq!(epoch.next().is_some(), left > 0);
    }
}
