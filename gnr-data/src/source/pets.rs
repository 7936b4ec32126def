//! Oxford-IIIT Pets: 37 breeds of cats and dogs, listed in text files.
//!
//! Layout (below `oxford-iiit-pet`, where torchvision keeps it, or directly, or one folder deeper): images are
//! `images/BREED_NUMBER.jpg`. `annotations/{trainval,test}.txt` have lines of name, breed from 1, species, and number
//! within the species. Mirrors have `images/images` and `annotations/annotations`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{Listing, listed_file};
use super::places::Places;
use super::text::excerpt;
use super::{Part, read_text};
use crate::augment::Augmentation;
use crate::dataset::Dataset;
use crate::error::{DataError, Result};
use crate::normalize::Normalization;
use crate::registry::{DatasetInfo, Download, OpenOptions, Unpack};

const HINT: &str = "gnr data fetch oxford-pets --data-dir DIR, or unpack images.tar.gz and annotations.tar.gz of \
                    https://www.robots.ox.ac.uk/~vgg/data/pets into DIR; then give DIR";

pub(crate) const INFO: DatasetInfo = DatasetInfo {
    name: "oxford-pets",
    summary: "Oxford-IIIT Pets, 37 breeds, RGB photographs of mixed sizes",
    shape: None,
    classes: Some(37),
    counts: Some([3_680, 3_669]),
    fetch_hint: HINT,
    layouts: "annotations/{trainval,test}.txt and images/*.jpg; in oxford-iiit-pet, the given folder, or one deeper; also annotations/annotations and \
              images/images",
    licence: "CC BY-SA 4.0, O. Parkhi, A. Vedaldi, A. Zisserman, C. V. Jawahar",
    augmentation: Augmentation::IMAGENET,
    preset: "imagenet",
    normalization: Normalization::imagenet,
    downloads: &[
        Download {
            urls: &["https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz"],
            file: "images.tar.gz",
            md5: "5c4f3ee8e5d25df40f4fd59a7f44e54c",
            unpack: Unpack::Tar { into: "oxford-iiit-pet" },
            limit: 2 << 30,
        },
        Download {
            urls: &["https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz"],
            file: "annotations.tar.gz",
            md5: "95a8c909bbe2e81eed6a22bccdf3f68f",
            unpack: Unpack::Tar { into: "oxford-iiit-pet" },
            limit: 1 << 30,
        },
    ],
    opener: |options, part| open(options, part),
};

/// The breeds in the order of their numbers, spelt as in the file names.
#[rustfmt::skip]
const BREEDS: [&str; 37] = [
    "Abyssinian", "american_bulldog", "american_pit_bull_terrier", "basset_hound", "beagle", "Bengal", "Birman", "Bombay",
    "boxer", "British_Shorthair", "chihuahua", "Egyptian_Mau", "english_cocker_spaniel", "english_setter",
    "german_shorthaired", "great_pyrenees", "havanese", "japanese_chin", "keeshond", "leonberger", "Maine_Coon",
    "miniature_pinscher", "newfoundland", "Persian", "pomeranian", "pug", "Ragdoll", "Russian_Blue", "saint_bernard",
    "samoyed", "scottish_terrier", "shiba_inu", "Siamese", "Sphynx", "staffordshire_bull_terrier", "wheaten_terrier",
    "yorkshire_terrier",
];

fn open(options: &OpenOptions, part: Part) -> Result<Arc<dyn Dataset>> {
    let places = Places::new(INFO.name, HINT, options.dir.as_deref(), &["oxford-iiit-pet", ""], |_| true);
    let list = match part {
        Part::Train => "annotations/trainval.txt",
        Part::Test => "annotations/test.txt",
    };
    let list = places.file(&[list.to_string(), list.replacen('/', "/annotations/", 1)])?;
    let images = places.folder("images")?;
    let files = entries(&list, &read_text(&list)?, &images)?;
    let name = format!("{} {part} ({})", INFO.name, list.display());
    let classes = BREEDS.iter().map(|breed| breed.replace('_', " ")).collect();
    Listing { name, classes, files, warnings: Vec::new() }.open(options.resize, options.keep)
}

/// Reads the images of a list with the text `text`.
pub(crate) fn entries(list: &Path, text: &str, images: &Path) -> Result<Vec<(PathBuf, usize)>> {
    let mut files = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let bad = |reason: String| DataError::BadLine { path: list.to_path_buf(), line: number + 1, reason };
        let mut fields = line.split_whitespace();
        let (Some(name), Some(breed)) = (fields.next(), fields.next()) else {
            return Err(bad(format!("expected NAME BREED SPECIES NUMBER, found `{}`", excerpt(line))));
        };
        let Some(label) = breed.parse().ok().filter(|breed| (1..=BREEDS.len()).contains(breed)) else {
            return Err(bad(format!("breed `{}` is not a number in 1..=37", excerpt(breed))));
        };
        let label = label - 1;
        let spelt = name.rsplit_once('_').map_or(name, |(breed, _)| breed);
        if !spelt.eq_ignore_ascii_case(BREEDS[label]) {
            return Err(bad(format!(
                "breed {breed} is {}, but the image is called {}",
                BREEDS[label],
                excerpt(name)
            )));
        }
        files.push((listed_file(list, number, images, &format!("{name}.jpg"))?, label));
    }
    Ok(files)
}
