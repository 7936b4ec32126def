//! The data sets of the plan. Facts that gnr-data has about them are taken from there.

use gnr_data::DatasetInfo;

/// A data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::reproduce) enum Dataset {
    Digits,
    FashionMnist,
    /// CIFAR-10 as an image folder of JPEG files.
    Cifar10Jpeg,
    /// Ten classes of ImageNet photographs as an image folder.
    Imagenette,
    Cifar10,
    Cifar100,
    ImageNet,
    StanfordCars,
    OxfordPets,
    Food101,
}

impl Dataset {
    /// The name in names of runs and files.
    pub(in crate::reproduce) fn slug(self) -> &'static str {
        self.names().0
    }

    /// Name for readers of a report.
    pub(in crate::reproduce) fn title(self) -> &'static str {
        self.names().1
    }

    /// Slug and title. The slug is gnr-data's name, except for our own image folders.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Digits => ("digits", "digits"),
            Self::FashionMnist => ("fashion-mnist", "Fashion-MNIST"),
            Self::Cifar10Jpeg => ("cifar10-jpeg", "CIFAR-10 (JPEG)"),
            Self::Imagenette => ("imagenette", "Imagenette subset"),
            Self::Cifar10 => ("cifar10", "CIFAR-10"),
            Self::Cifar100 => ("cifar100", "CIFAR-100"),
            Self::ImageNet => ("imagenet", "ImageNet"),
            Self::StanfordCars => ("stanford-cars", "Stanford Cars"),
            Self::OxfordPets => ("oxford-pets", "Oxford-IIIT Pets"),
            Self::Food101 => ("food101", "Food-101"),
        }
    }

    /// `data.name` of a recipe.
    pub(in crate::reproduce) fn recipe_name(self) -> &'static str {
        match self {
            Self::Cifar10Jpeg | Self::Imagenette => "folder",
            other => other.slug(),
        }
    }

    /// `data.normalization`, where it is not the data set's own.
    pub(in crate::reproduce) fn normalization(self) -> Option<&'static str> {
        match self {
            Self::Cifar10Jpeg => Some("cifar10"),
            Self::Imagenette => Some("imagenet"),
            _ => None,
        }
    }

    /// The facts that gnr-data has; `None` for our own image folders.
    pub(in crate::reproduce) fn info(self) -> Option<&'static DatasetInfo> {
        gnr_data::find(self.slug()).ok()
    }

    /// Numbers of training and test images, of classes, and `[C, H, W]` when it is not resized.
    fn numbers(self) -> ([usize; 2], usize, [usize; 3]) {
        // Photographs have no size of their own.
        const PHOTOGRAPH: [usize; 3] = [3, 224, 224];
        match self {
            Self::Cifar10Jpeg => Self::Cifar10.numbers(),
            Self::Imagenette => ([1_000, 400], 10, PHOTOGRAPH),
            other => {
                let info = other.info();
                let counts = info.and_then(|info| info.counts).unwrap_or_default();
                let classes = info.and_then(|info| info.classes).unwrap_or_default();
                (counts, classes, info.and_then(|info| info.shape).unwrap_or(PHOTOGRAPH))
            }
        }
    }

    pub(in crate::reproduce) fn train_images(self) -> u64 {
        self.numbers().0[0] as u64
    }

    /// Number of images on which accuracy is measured.
    pub(in crate::reproduce) fn test_images(self) -> u64 {
        self.numbers().0[1] as u64
    }

    pub(in crate::reproduce) fn classes(self) -> usize {
        self.numbers().1
    }

    pub(in crate::reproduce) fn shape(self) -> [usize; 3] {
        self.numbers().2
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Plan, Scale, Table};
    use super::*;

    #[test]
    fn the_numbers_of_every_data_set_of_a_plan_are_known() {
        for (table, scale) in Table::ALL.into_iter().flat_map(|table| Scale::ALL.map(|scale| (table, scale)))
        {
            for net in Plan::table(table, scale, 1).nets {
                let ([train, test], classes, _) = net.dataset.numbers();
                assert!(train > 0 && test > 0 && classes > 1, "{:?}", net.dataset);
                let own = matches!(net.dataset, Dataset::Cifar10Jpeg | Dataset::Imagenette);
                assert_eq!(net.dataset.info().is_none(), own, "{:?}", net.dataset);
            }
        }
        assert_eq!(Dataset::Cifar10Jpeg.numbers(), ([50_000, 10_000], 10, [3, 32, 32]));
        assert_eq!(Dataset::Digits.numbers(), ([1_437, 360], 10, [1, 8, 8]));
        assert_eq!(Dataset::Food101.numbers(), ([75_750, 25_250], 101, [3, 224, 224]));
    }
}
