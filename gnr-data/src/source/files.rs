//! Images in files of their own: a list of paths with labels, decoded once or on demand. All layouts of photographs use
//! it.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::decode::decode;
use super::text::excerpt;
use crate::dataset::{Dataset, Image, InMemory, describe};
use crate::error::{DataError, Result};
use crate::resize::Resize;

/// The size from which [`Keep::Auto`] leaves the images on disk: 2 GiB of decoded pixels (CIFAR-10 has 0.15, ImageNet
/// 180).
const AUTO_LIMIT: usize = 2 << 30;

/// Whether image files are decoded once or on demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// In memory when the decoded images take at most 2 GiB, else on disk.
    #[default]
    Auto,
    /// The files are decoded on opening, on all cores, and kept in memory. Damaged files are found at once.
    InMemory,
    /// A file is decoded each time its image is asked for.
    OnDisk,
}

/// The files of a layout with their labels.
pub(super) struct Listing {
    /// The beginning of [`Dataset::describe`].
    pub(super) name: String,
    pub(super) classes: Vec<String>,
    /// Paths, with labels below `classes.len()`; not empty.
    pub(super) files: Vec<(PathBuf, usize)>,
    /// The warnings of [`Dataset::warnings`].
    pub(super) warnings: Vec<String>,
}

/// Longest path in a list, in bytes.
const LONGEST: usize = 4096;

/// The path of the image that entry `record` of a list calls `name`, below `folder`.
///
/// # Errors
/// [`DataError::ListedFileMissing`]; [`DataError::BadLine`] for a name that leads out of the folder.
pub(super) fn listed_file(list: &Path, record: usize, folder: &Path, name: &str) -> Result<PathBuf> {
    let relative = Path::new(name);
    let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
    // No system has longer paths.
    if !plain || name.is_empty() || name.len() > LONGEST {
        let reason = format!("`{}` is not a file below {}", excerpt(name), folder.display());
        return Err(DataError::BadLine { path: list.to_path_buf(), line: record + 1, reason });
    }
    let path = folder.join(relative);
    match path.is_file() {
        true => Ok(path),
        false => Err(DataError::ListedFileMissing { list: list.to_path_buf(), record, path }),
    }
}

impl Listing {
    /// Makes the data set of these files. Images are RGB and have the size of the first one, unless `resize` changes
    /// their size.
    ///
    /// # Errors
    /// [`DataError::NoImages`] for an empty list; an error for an impossible resize and for a first file that cannot be
    /// decoded. When images are kept in memory, also for the first file in order that cannot be decoded or has another
    /// size.
    pub(super) fn open(self, resize: Option<Resize>, keep: Keep) -> Result<Arc<dyn Dataset>> {
        if let Some(resize) = resize {
            resize.check()?;
        }
        let Some((first, _)) = self.files.first() else {
            return Err(DataError::NoImages { path: self.name.into(), reason: "no files are listed".into() });
        };
        let shape = match resize {
            Some(resize) => [3, resize.height, resize.width],
            None => decode(first)?.shape(),
        };
        let set = OnDisk { listing: self, shape, resize };
        let bytes = shape.iter().try_fold(set.len(), |product, &dim| product.checked_mul(dim));
        Ok(match keep {
            Keep::OnDisk => Arc::new(set),
            Keep::InMemory => Arc::new(set.into_memory()?),
            Keep::Auto if bytes.is_some_and(|bytes| bytes <= AUTO_LIMIT) => Arc::new(set.into_memory()?),
            Keep::Auto => Arc::new(set),
        })
    }
}

/// A data set of files that are decoded when asked for.
struct OnDisk {
    listing: Listing,
    shape: [usize; 3],
    resize: Option<Resize>,
}

impl OnDisk {
    /// Decodes an image and brings it to the data set's size.
    fn prepared(&self, path: &Path) -> Result<Image<'static>> {
        let mut image = decode(path)?;
        if let Some(resize) = self.resize {
            image = resize
                .apply(image)
                .map_err(|reason| DataError::Decode { path: path.to_path_buf(), reason })?;
        }
        match image.shape() {
            found if found != self.shape => {
                Err(DataError::SizeMismatch { path: path.to_path_buf(), expected: self.shape, found })
            }
            _ => Ok(image),
        }
    }

    fn into_memory(self) -> Result<InMemory> {
        let image_bytes: usize = self.shape.iter().product();
        let length = image_bytes.saturating_mul(self.len());
        let mut pixels = Vec::new();
        pixels.try_reserve_exact(length).map_err(|_| {
            DataError::config(
                "keep",
                "in memory",
                format!("{length} bytes of pixels do not fit; keep them on disk"),
            )
        })?;
        pixels.resize(length, 0);
        // The first failure in file order, so that the message does not depend on timing.
        let failure = pixels
            .par_chunks_exact_mut(image_bytes)
            .zip(&self.listing.files)
            .map(|(out, (path, _))| self.prepared(path).map(|image| out.copy_from_slice(&image.pixels)))
            .find_first(Result::is_err);
        if let Some(Err(error)) = failure {
            return Err(error);
        }
        let Listing { name, classes, files, warnings } = self.listing;
        let labels = files.iter().map(|(_, label)| *label).collect();
        let set = InMemory::new(name, self.shape, classes, pixels, labels)?;
        Ok(set.warned(warnings, |index| files[index].0.display().to_string()))
    }

    fn file(&self, index: usize) -> Result<&(PathBuf, usize)> {
        let files = &self.listing.files;
        files.get(index).ok_or(DataError::IndexOutOfRange { index, len: files.len() })
    }
}

impl Dataset for OnDisk {
    fn len(&self) -> usize {
        self.listing.files.len()
    }

    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn classes(&self) -> &[String] {
        &self.listing.classes
    }

    fn image(&self, index: usize) -> Result<Image<'_>> {
        self.prepared(&self.file(index)?.0)
    }

    fn original(&self, index: usize) -> Result<Image<'_>> {
        decode(&self.file(index)?.0)
    }

    fn label(&self, index: usize) -> Result<usize> {
        Ok(self.file(index)?.1)
    }

    fn describe(&self) -> String {
        describe(&format!("{}, decoded on demand", self.listing.name), self)
    }

    fn warnings(&self) -> Vec<String> {
        self.listing.warnings.clone()
    }
}
