//! Data sets as `gnr` knows them, with what a reproduction must know before it opens one.

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
    /// For names of runs and files.
    pub(in crate::reproduce) fn slug(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::FashionMnist => "fashion-mnist",
            Self::Cifar10Jpeg => "cifar10-jpeg",
            Self::Imagenette => "imagenette",
            Self::Cifar10 => "cifar10",
            Self::Cifar100 => "cifar100",
            Self::ImageNet => "imagenet",
            Self::StanfordCars => "stanford-cars",
            Self::OxfordPets => "oxford-pets",
            Self::Food101 => "food101",
        }
    }

    /// For readers.
    pub(in crate::reproduce) fn title(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::FashionMnist => "Fashion-MNIST",
            Self::Cifar10Jpeg => "CIFAR-10 (JPEG)",
            Self::Imagenette => "Imagenette subset",
            Self::Cifar10 => "CIFAR-10",
            Self::Cifar100 => "CIFAR-100",
            Self::ImageNet => "ImageNet",
            Self::StanfordCars => "Stanford Cars",
            Self::OxfordPets => "Oxford-IIIT Pets",
            Self::Food101 => "Food-101",
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

    /// Published number of training images.
    pub(in crate::reproduce) fn train_images(self) -> u64 {
        match self {
            Self::Digits => 1_437,
            Self::FashionMnist => 60_000,
            Self::Cifar10Jpeg | Self::Cifar10 | Self::Cifar100 => 50_000,
            Self::Imagenette => 1_000,
            Self::ImageNet => 1_281_167,
            Self::StanfordCars => 8_144,
            Self::OxfordPets => 3_680,
            Self::Food101 => 75_750,
        }
    }

    /// Published number of images that accuracy is measured on.
    pub(in crate::reproduce) fn test_images(self) -> u64 {
        match self {
            Self::Digits => 360,
            Self::FashionMnist | Self::Cifar10Jpeg | Self::Cifar10 | Self::Cifar100 => 10_000,
            Self::Imagenette => 400,
            Self::ImageNet => 50_000,
            Self::StanfordCars => 8_041,
            Self::OxfordPets => 3_669,
            Self::Food101 => 25_250,
        }
    }

    pub(in crate::reproduce) fn classes(self) -> usize {
        match self {
            Self::Cifar100 => 100,
            Self::ImageNet => 1_000,
            Self::StanfordCars => 196,
            Self::OxfordPets => 37,
            Self::Food101 => 101,
            _ => 10,
        }
    }

    /// `[C, H, W]` of an image when it is not resized; photographs have no size of their own.
    pub(in crate::reproduce) fn shape(self) -> [usize; 3] {
        match self {
            Self::Digits => [1, 8, 8],
            Self::FashionMnist => [1, 28, 28],
            Self::Cifar10Jpeg | Self::Cifar10 | Self::Cifar100 => [3, 32, 32],
            _ => [3, 224, 224],
        }
    }
}
