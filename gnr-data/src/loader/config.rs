//! The configuration of a loader: batch size, order, share, augmentation.

use std::ops::Range;

use crate::augment::Augmentation;
use crate::error::{DataError, Result};
use crate::normalize::Normalization;

/// The configuration of a [`Loader`](super::Loader).
#[derive(Debug, Clone, PartialEq)]
pub struct LoaderConfig {
    /// Number of images in a batch, at least 1.
    pub batch_size: usize,
    /// Order of the images within an epoch.
    pub order: Order,
    /// Treatment of the last images of an epoch when they do not fill a batch.
    pub remainder: Remainder,
    /// Conversion from bytes to floating point.
    pub normalization: Normalization,
    /// Random variation of the images.
    pub augment: Augmentation,
    /// Seed of the augmentation (the order has its own).
    pub augment_seed: u64,
    /// Number of threads that decode and augment ahead of the caller. With 0 the work is done in [`Iterator::next`].
    /// Any number gives equal bits.
    pub workers: usize,
    /// Number of batches decoded ahead, at least 1 when there are workers. The loader takes `workers` instead if these
    /// are more, so that each worker has a batch. Memory is bounded by `max(prefetch, workers) + 1` batches.
    pub prefetch: usize,
    /// The part of an epoch that this loader makes, where several processes share it. Default: [`Share::Whole`].
    pub share: Share,
}

/// The part of an epoch that a loader makes.
///
/// Batches, their numbers and the variation of each image are those of the whole epoch, whatever the share is. All
/// shares together are the batches of one loader of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// The whole epoch.
    Whole,
    /// Consecutive images of every batch of n: from n·index/of to n·(index + 1)/of. There may be none.
    OfEachBatch {
        /// Index of the share, from 0.
        index: usize,
        /// Number of shares.
        of: usize,
    },
    /// Whole batches: those number index, index + of, index + 2·of, …
    OfBatches {
        /// Index of the share, from 0.
        index: usize,
        /// Number of shares.
        of: usize,
    },
}

impl Share {
    /// The images of the share, out of the `count` images of a batch.
    pub fn within(self, count: usize) -> Range<usize> {
        match self {
            Self::OfEachBatch { index, of } => count * index / of..count * (index + 1) / of,
            Self::Whole | Self::OfBatches { .. } => 0..count,
        }
    }

    /// The number of batches in the share, out of an epoch's first `count` batches.
    pub(super) fn batches(self, count: usize) -> usize {
        match self {
            Self::OfBatches { index, of } => (count + of - 1).saturating_sub(index) / of,
            Self::Whole | Self::OfEachBatch { .. } => count,
        }
    }

    /// The number in the epoch of the share's batch `k`.
    pub(super) fn number(self, k: usize) -> usize {
        match self {
            Self::OfBatches { index, of } => index + k * of,
            Self::Whole | Self::OfEachBatch { .. } => k,
        }
    }

    pub(super) fn check(self) -> Result<()> {
        match self {
            Self::OfEachBatch { index, of } | Self::OfBatches { index, of } if index >= of => {
                Err(DataError::config(
                    "share",
                    format!("{index} of {of}"),
                    "shares are numbered from 0 to one below their number",
                ))
            }
            _ => Ok(()),
        }
    }
}

/// The order in which an epoch visits the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The order of the data set.
    Sequential,
    /// The order [`permutation`](crate::random::permutation)`(len, seed, epoch)`, which changes from epoch to epoch.
    Shuffled {
        /// The seed of the permutations.
        seed: u64,
    },
}

/// Treatment of the last images of an epoch when they do not fill a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remainder {
    /// The last images make a smaller batch.
    Keep,
    /// The last images are left out. With shuffling they are other images in each epoch.
    Drop,
}

impl LoaderConfig {
    /// A configuration for training: shuffled and augmented by `seed`, remainder dropped, 2 workers, 4 batches ahead.
    pub fn training(
        batch_size: usize,
        seed: u64,
        normalization: Normalization,
        augment: Augmentation,
    ) -> Self {
        Self {
            batch_size,
            order: Order::Shuffled { seed },
            remainder: Remainder::Drop,
            normalization,
            augment,
            augment_seed: seed,
            workers: 2,
            prefetch: 4,
            share: Share::Whole,
        }
    }

    /// A configuration for evaluation: every image once, in order, without variation; 2 workers, 4 batches ahead.
    pub fn evaluation(batch_size: usize, normalization: Normalization) -> Self {
        Self {
            order: Order::Sequential,
            remainder: Remainder::Keep,
            ..Self::training(batch_size, 0, normalization, Augmentation::NONE)
        }
    }
}
