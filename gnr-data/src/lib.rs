//! Image data sets, augmentation and a prefetching loader for training and evaluation.
//!
//! This crate makes mini-batches of `f32` on the host, from published files (IDX, CIFAR, lists of photographs, image
//! folders) and the embedded UCI digits. It knows no tensor library and no other crate of this workspace.
//!
//! * [`find`], [`open`], [`registry`]: data sets by name, with their usual normalisation and how to get them.
//! * [`Dataset`]: labelled 8-bit images of one shape; [`InMemory`], [`Subset`] and [`Views`] for your own.
//! * [`Noisy`]: wrong training labels, by a seeded rule or from a published list.
//! * [`Loader`]: shuffled, augmented, normalised batches, made ahead by worker threads.
//!
//! **Reproducible.** The order of an epoch is a pure function of (seed, epoch), the variation of an image one of (seed,
//! epoch, index). Neither the number of workers nor an interruption in the middle of an epoch changes a bit.
//!
//! **Suspicious.** Declared sizes are compared with the data before memory is reserved. A damaged file is an error that
//! names the file and the place ([`DataError`]). Truncated JPEGs, which decoders forgive, are refused.
//!
//! ```
//! use gnr_data::{Augmentation, Loader, LoaderConfig, OpenOptions, Part, find};
//!
//! let digits = find("digits")?;
//! let train = digits.open(Part::Train, &OpenOptions::default())?;
//! let config = LoaderConfig::training(64, 7, digits.normalization(), Augmentation { pad: 1, ..Default::default() });
//! let loader = Loader::new(train, config)?;
//!
//! let mut images = 0;
//! for batch in loader.epoch(0, 0)? {
//!     let batch = batch?;
//!     assert_eq!(batch.shape, [64, 1, 8, 8]);
//!     images += batch.len();
//!     loader.recycle(batch); // optional: its memory serves a later batch
//! }
//! assert_eq!(images, 1437 / 64 * 64);
//! # Ok::<(), gnr_data::DataError>(())
//! ```

mod augment;
mod batch;
mod dataset;
mod error;
#[cfg(feature = "fetch")]
mod fetch;
mod label_noise;
mod loader;
mod normalize;
mod random;
mod registry;
mod resample;
mod resize;
mod source;
mod split;
mod verify;

pub use augment::{
    Augmentation, ColorJitter, Erase, Flip, Mix, Mixed, Operation, RandAugment, RandomResizedCrop, Variation,
};
pub use batch::Batch;
pub use dataset::{Dataset, Image, InMemory, class_counts, flipped_labels};
pub use error::{DataError, Result};
#[cfg(feature = "fetch")]
pub use fetch::{FetchEvent, FetchOptions, fetch};
pub use label_noise::{LabelNoise, NoiseKind, Noisy};
pub use loader::{Epoch, Loader, LoaderConfig, Order, Remainder, Share};
pub use normalize::Normalization;
pub use random::permutation;
pub use registry::{DatasetInfo, Download, OpenOptions, Unpack, available_without_dir, find, open, registry};
pub use resample::{Interpolation, resize};
pub use resize::Resize;
pub use source::Part;
pub use source::digits::digits;
pub use source::files::Keep;
pub use source::folder::open_folder;
pub use source::idx::{IdxArray, read_idx};
pub use source::imagenet::imagenet_wnids;
#[cfg(feature = "testing")]
pub use source::testing;
pub use split::{HoldOut, Subset, Views, stratified_split};
pub use verify::{VerifyReport, verify};

/// The example in README.md, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
