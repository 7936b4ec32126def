//! Fingerprints of a run's images, recorded when it starts and compared when it continues.

use std::{borrow::Cow, fs, path::Path};

use gnr_data::{Dataset, class_counts};
use serde::{Deserialize, Serialize};

use crate::{
    atomic::write_atomically,
    data::Images,
    error::{Result, TrainError, io},
    recipe::Recipe,
    team::Team,
};

/// Number of images whose pixels are compared where each must be decoded; they are evenly spaced over the set.
const DECODED: usize = 512;

/// A data set in a few numbers. The checksums are CRC-32C, which detects accidents, not intent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    images: usize,
    shape: [usize; 3],
    /// Name and number of images of each class.
    classes: Vec<(String, usize)>,
    /// Checksum of all labels, in order.
    labels: String,
    /// Checksum of the pixels of `pixel_images` images.
    pixels: String,
    pixel_images: usize,
}

impl Fingerprint {
    /// The fingerprint of a data set.
    ///
    /// # Errors
    /// Images that cannot be read.
    ///
    /// # Cost
    /// One pass over every byte of a set that is in memory; else 512 images are decoded.
    pub(crate) fn of(dataset: &dyn Dataset) -> Result<Self> {
        let images = dataset.len();
        let counts = class_counts(dataset)?;
        let mut labels = 0;
        for index in 0..images {
            labels = crc32c::crc32c_append(labels, &(dataset.label(index)? as u64).to_le_bytes());
        }
        let in_memory = images > 0 && matches!(dataset.image(0)?.pixels, Cow::Borrowed(_));
        let pixel_images = if in_memory { images } else { images.min(DECODED) };
        let mut pixels = 0;
        for k in 0..pixel_images {
            pixels = crc32c::crc32c_append(pixels, &dataset.image(k * images / pixel_images)?.pixels);
        }
        Ok(Self {
            images,
            shape: dataset.shape(),
            classes: dataset.classes().iter().cloned().zip(counts).collect(),
            labels: format!("{labels:08x}"),
            pixels: format!("{pixels:08x}"),
            pixel_images,
        })
    }

    /// One checksum of the whole fingerprint.
    pub(crate) fn checksum(&self) -> String {
        let all =
            format!("{} {:?} {:?} {} {}", self.images, self.shape, self.classes, self.labels, self.pixels);
        format!("{:08x}", crc32c::crc32c(all.as_bytes()))
    }

    /// The difference to the present images, in words; `None` if there is none.
    fn difference(&self, now: &Self) -> Option<String> {
        if self == now {
            return None;
        }
        if self.shape != now.shape {
            return Some(format!("images of shape {:?} instead of {:?}", now.shape, self.shape));
        }
        let mut told = Vec::new();
        if self.images != now.images {
            told.push(format!("{} images instead of {}", now.images, self.images));
        }
        let count =
            |set: &Self, class: &str| set.classes.iter().find(|(name, _)| name == class).map(|(_, n)| *n);
        // The largest change comes first.
        let change = |(class, before): &&(String, usize)| {
            count(now, class).map_or(usize::MAX, |after| after.abs_diff(*before))
        };
        let mut classes: Vec<&(String, usize)> =
            self.classes.iter().filter(|class| change(class) > 0).collect();
        classes.sort_by_key(|class| std::cmp::Reverse(change(class)));
        told.extend(classes.into_iter().map(|(class, before)| match count(now, class) {
            None => format!("no class `{class}`"),
            Some(after) => format!("{after} instead of {before} of class `{class}`"),
        }));
        for (class, _) in now.classes.iter().filter(|(class, _)| count(self, class).is_none()) {
            told.push(format!("a new class `{class}`"));
        }
        if told.is_empty() {
            told.push(
                if self.labels == now.labels { "other pixels" } else { "other labels, or another order" }
                    .into(),
            );
        }
        let more = told.len().saturating_sub(5);
        told.truncate(5);
        Some(
            told.join(", ") + &if more > 0 { format!(" and {more} more differences") } else { String::new() },
        )
    }
}

/// The fingerprints of the three parts of a run's images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprints {
    train: Fingerprint,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    validation: Option<Fingerprint>,
    test: Fingerprint,
}

/// Name of the file in the run folder.
const FILE: &str = "data.json";

impl Fingerprints {
    /// The fingerprints of a run's images.
    ///
    /// # Errors
    /// The errors of [`Fingerprint::of`].
    pub(crate) fn of(images: &Images) -> Result<Self> {
        let of = |loader: &gnr_data::Loader| Fingerprint::of(loader.dataset().as_ref());
        Ok(Self {
            train: of(&images.train)?,
            validation: images.validation.as_ref().map(of).transpose()?,
            test: of(&images.test)?,
        })
    }

    /// The images with which the run in `folder` began; `None` where nothing is recorded.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).map_err(io(&path, "read"))?;
        Self::parse(&path, &text).map(Some)
    }

    /// The names of the classes, in the order of the logits.
    pub(crate) fn classes(&self) -> Vec<String> {
        self.train.classes.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Whether the run in `folder` recorded its images.
    pub(crate) fn are_recorded(folder: &Path) -> bool {
        folder.join(FILE).exists()
    }

    /// The difference to the images with which the run in `folder` began, in words. `None` if there is none, or where
    /// an older program recorded nothing.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub(crate) fn changed(&self, folder: &Path) -> Result<Option<String>> {
        Ok(Self::read(folder)?.and_then(|before| self.differences(&before)))
    }

    /// Reads the record in the file at `path`, whose text is `text`.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| TrainError::Folder {
            path: path.to_path_buf(),
            problem: format!("expected what a run records of its images: {error}"),
        })
    }

    /// The difference to `before`, in words; `None` if there is none.
    pub(crate) fn differences(&self, before: &Self) -> Option<String> {
        let pairs = [
            ("training", Some(&before.train), Some(&self.train)),
            ("validation", before.validation.as_ref(), self.validation.as_ref()),
            ("test", Some(&before.test), Some(&self.test)),
        ];
        let told: Vec<String> = pairs
            .into_iter()
            .filter_map(|(part, before, now)| {
                let words = match (before, now) {
                    (Some(before), Some(now)) => before.difference(now)?,
                    (None, None) => return None,
                    (Some(_), None) => "none any more".into(),
                    (None, Some(_)) => "there were none".into(),
                };
                Some(format!("{part} images: {words}"))
            })
            .collect();
        (!told.is_empty()).then(|| told.join("; "))
    }

    /// The text of the record, as JSON.
    pub(crate) fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(|e| io(Path::new(FILE), "write")(e.into()))
    }

    /// Writes the record into the run folder.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        write_atomically(&folder.join(FILE), (self.to_json()? + "\n").as_bytes())
    }
}

/// The difference between the images of a recipe and those with which the run in `folder` began, in words. `None` if
/// there is none, or where the run recorded nothing.
///
/// # Errors
/// Images that cannot be opened or read; a record that cannot be read.
///
/// # Cost
/// Opens the images, and one pass over every byte of those that are in memory; else 512 are decoded.
pub fn changed_images(recipe: &Recipe, folder: &Path) -> Result<Option<String>> {
    Fingerprints::of(&Images::open(recipe, &Team::default())?)?.changed(folder)
}

#[cfg(test)]
mod tests {
    use gnr_data::InMemory;

    use super::*;

    fn set(pixels: &[u8], labels: &[usize]) -> Fingerprint {
        let names = vec!["cat".into(), "dog".into()];
        Fingerprint::of(&InMemory::new("set", [1, 1, 1], names, pixels.to_vec(), labels.to_vec()).unwrap())
            .unwrap()
    }

    #[test]
    fn every_kind_of_change_has_its_words() {
        let before = set(&[1, 2, 3, 4], &[0, 0, 1, 1]);
        for (now, words) in [
            (set(&[1, 2, 3, 4], &[0, 0, 1, 1]), None),
            (set(&[1, 2, 9, 4], &[0, 0, 1, 1]), Some("other pixels")),
            (set(&[1, 2, 3, 4], &[0, 1, 0, 1]), Some("other labels, or another order")),
            (set(&[1, 2, 4], &[0, 0, 1]), Some("3 images instead of 4, 1 instead of 2 of class `dog`")),
        ] {
            assert_eq!(before.difference(&now).as_deref(), words);
        }
    }
}
