//! The UCI optical digits, 1,797 grey images of 8x8 pixels. They are embedded, so that everything can be tried without
//! a download.
//!
//! Data: E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository, 1998,
//! CC BY 4.0 (see `assets/README.md`). Pixels are in 0..=16, hence
//! [`Normalization::digits`](crate::Normalization::digits).

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::{Part, check_labels};
use crate::augment::Augmentation;
use crate::dataset::InMemory;
use crate::error::{DataError, Result};
use crate::normalize::Normalization;
use crate::registry::DatasetInfo;
use crate::split::quotas;

pub(crate) const INFO: DatasetInfo = DatasetInfo {
    name: "digits",
    summary: "UCI optical digits, grey 8x8, embedded in the program",
    shape: Some([1, 8, 8]),
    classes: Some(10),
    counts: Some([1437, 360]),
    fetch_hint: "nothing to do: it is part of the program",
    layouts: "embedded in the program",
    licence: "CC BY 4.0, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository",
    augmentation: Augmentation::NONE,
    preset: "digits",
    normalization: Normalization::digits,
    downloads: &[],
    opener: |options, part| match &options.dir {
        None => Ok(Arc::new(digits(part)?)),
        Some(dir) => Err(DataError::config(
            "data.dir",
            dir.display(),
            "digits is embedded in the program and has no folder: leave data.dir out (--set '!data.dir'), or name the \
             data set of this folder (data.name)",
        )),
    },
};

const RECORD: usize = 65;
const COUNT: usize = 1797;
const TEST: usize = 360;
const CLASSES: usize = 10;
static RECORDS: &[u8] = include_bytes!("../../assets/digits.gz");

/// The training (1,437) or test (360) part of the digits.
///
/// The split is fixed, stratified, and needs no random numbers. Class `c` with `n_c` images gives `q_c` test images
/// (360 shared in proportion, largest remainder). Its `j`-th image in file order is a test image when
/// `⌊(j+1)·q_c/n_c⌋ > ⌊j·q_c/n_c⌋`. Test images are thus spread evenly over the file, and so over its writers.
///
/// # Errors
/// None in practice: the data are part of the program.
pub fn digits(part: Part) -> Result<InMemory> {
    let path = Path::new("embedded digits.gz");
    let mut records = Vec::with_capacity(COUNT * RECORD);
    flate2::read::GzDecoder::new(RECORDS)
        .read_to_end(&mut records)
        .map_err(DataError::io(path, "decompress"))?;
    let labels: Vec<u8> = records.iter().skip(RECORD - 1).step_by(RECORD).copied().collect();
    check_labels(path, &labels, CLASSES, |record| (record * RECORD + RECORD - 1) as u64)?;

    let mut counts = [0; CLASSES];
    labels.iter().for_each(|&label| counts[usize::from(label)] += 1);
    let quotas = quotas(&counts, TEST);
    let mut seen = [0; CLASSES];
    let (mut pixels, mut chosen) = (Vec::new(), Vec::new());
    for record in records.chunks_exact(RECORD) {
        let label = usize::from(record[RECORD - 1]);
        let (j, quota, count) = (seen[label], quotas[label], counts[label]);
        seen[label] += 1;
        let is_test = (j + 1) * quota / count > j * quota / count;
        if is_test == (part == Part::Test) {
            pixels.extend_from_slice(&record[..RECORD - 1]);
            chosen.push(label);
        }
    }
    let names = (0..CLASSES).map(|digit| digit.to_string()).collect();
    InMemory::new(format!("digits {part} (embedded)"), [1, 8, 8], names, pixels, chosen)
}
