//! What must be on disk before anything is trained, and the command that gets it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::plan::Dataset;
use crate::workspace::quoted;

/// The folder of each data set; none for what is embedded.
pub(super) type Located = BTreeMap<Dataset, Option<PathBuf>>;

/// Where a data set may be and how to get it.
struct Source {
    /// Found without being told, e.g. installed by a package.
    installed: Option<&'static str>,
    /// Folder below `--data`.
    folder: &'static str,
    /// A file or folder that shows that it is there.
    witness: &'static str,
    /// Gets it; `{}` is the `--data` folder.
    fetch: &'static str,
}

fn source(dataset: Dataset) -> Option<Source> {
    match dataset {
        Dataset::Digits => None,
        Dataset::FashionMnist => Some(Source {
            installed: Some("/usr/share/datasets/fashion-mnist"),
            folder: "fashion-mnist",
            witness: "train-images-idx3-ubyte.gz",
            fetch: "sudo apt-get install dataset-fashion-mnist",
        }),
        Dataset::Cifar10Jpeg => Some(Source {
            installed: None,
            folder: "cifar10-jpeg",
            witness: "train",
            fetch: "mkdir -p {}/cifar10-jpeg && tar -xJf cifar10-jpeg.tar.xz -C {}/cifar10-jpeg",
        }),
        Dataset::Cifar10 => Some(Source {
            installed: None,
            folder: "cifar-10-batches-bin",
            witness: "data_batch_1.bin",
            fetch: "mkdir -p {} && curl -fL https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz | tar -xz -C {}",
        }),
        Dataset::Cifar100 => Some(Source {
            installed: None,
            folder: "cifar-100-binary",
            witness: "train.bin",
            fetch: "mkdir -p {} && curl -fL https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz | tar -xz -C {}",
        }),
    }
}

/// Finds every data set.
///
/// # Errors
/// One error for all that are missing, each with the command that gets it.
pub(super) fn locate(datasets: &BTreeSet<Dataset>, data: Option<&Path>) -> Result<Located> {
    let mut located = Located::new();
    let mut missing = Vec::new();
    for &dataset in datasets {
        let Some(source) = source(dataset) else {
            located.insert(dataset, None);
            continue;
        };
        let below = data.map(|data| data.join(source.folder));
        let places = [below, source.installed.map(PathBuf::from)];
        match places.into_iter().flatten().find(|place| place.join(source.witness).exists()) {
            Some(place) => {
                located.insert(dataset, Some(place));
            }
            None => missing.push((dataset, source)),
        }
    }
    if missing.is_empty() {
        return Ok(located);
    }
    let shown = data.unwrap_or(Path::new("data")).display().to_string();
    let folder = quoted(&shown);
    let mut told = String::from("data sets are missing; nothing has been trained");
    for (dataset, source) in missing {
        told += &format!(
            "\n  {} (looked for {}/{}):\n    {}",
            dataset.title(),
            source.folder,
            source.witness,
            source.fetch.replace("{}", &folder)
        );
    }
    if data.is_none() {
        told += &format!("\nthen add `--data {folder}`");
    }
    bail!(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_need_nothing() {
        let located = locate(&BTreeSet::from([Dataset::Digits]), None).unwrap();
        assert_eq!(located, Located::from([(Dataset::Digits, None)]));
    }

    #[test]
    fn what_is_missing_comes_with_its_command_all_at_once() {
        let empty = tempfile::tempdir().unwrap();
        let wanted = BTreeSet::from([Dataset::Cifar10, Dataset::Cifar100]);
        let error = locate(&wanted, Some(empty.path())).unwrap_err().to_string();
        assert!(error.contains("cifar-10-binary.tar.gz | tar -xz -C"), "{error}");
        assert!(error.contains("cifar-100-binary.tar.gz"), "{error}");
        assert!(error.contains("nothing has been trained"), "{error}");
    }

    #[test]
    fn what_is_there_is_found() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("cifar-100-binary");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("train.bin"), b"").unwrap();
        let located = locate(&BTreeSet::from([Dataset::Cifar100]), Some(data.path())).unwrap();
        assert_eq!(located[&Dataset::Cifar100], Some(folder));
    }
}
