//! Normalisation of bytes to floating point, `(pixel / white - mean) / std`, as a table of 256 values a channel.

use crate::error::{DataError, Result};

/// Per-channel normalisation: a byte `p` of channel `c` becomes `(p / white - mean[c]) / std[c]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalization {
    /// The byte that becomes 1.0 before the mean is subtracted: 255 for photographs, 16 for the UCI digits.
    pub white: f64,
    /// Mean per channel, on the `p / white` scale.
    pub mean: Vec<f64>,
    /// Standard deviation per channel, on the `p / white` scale.
    pub std: Vec<f64>,
}

impl Normalization {
    /// Makes a checked normalisation. `mean` and `std` have one entry a channel, or one entry that serves all channels.
    ///
    /// # Errors
    /// [`DataError::Config`] unless all values are finite, `white` and `std` positive and the lengths equal.
    pub fn new(white: f64, mean: Vec<f64>, std: Vec<f64>) -> Result<Self> {
        let normalization = Self { white, mean, std };
        normalization.tables(normalization.mean.len())?;
        Ok(normalization)
    }

    /// The normalisation `p / 255` without mean and standard deviation, for any number of channels.
    pub fn unit() -> Self {
        Self { white: 255.0, mean: vec![0.0], std: vec![1.0] }
    }

    /// The normalisation of the UCI digits: `p / 16`, mean 0.3053, standard deviation 0.3760 over all 1,797 images.
    pub fn digits() -> Self {
        Self { white: 16.0, mean: vec![0.3053], std: vec![0.3760] }
    }

    /// The normalisation by MNIST's training images.
    pub fn mnist() -> Self {
        Self::bytes(&[0.1307], &[0.3081])
    }

    /// The normalisation by Fashion-MNIST's training images.
    pub fn fashion_mnist() -> Self {
        Self::bytes(&[0.2860], &[0.3530])
    }

    /// The normalisation by Kuzushiji-MNIST's training images.
    pub fn kmnist() -> Self {
        Self::bytes(&[0.1918], &[0.3483])
    }

    /// The normalisation by EMNIST's training images, of the balanced arrangement; the others differ in the third
    /// digit.
    pub fn emnist() -> Self {
        Self::bytes(&[0.1751], &[0.3332])
    }

    /// The normalisation by CIFAR-10's training images. The standard deviation is over all pixels, not the mean of
    /// per-image ones.
    pub fn cifar10() -> Self {
        Self::bytes(&[0.4914, 0.4822, 0.4465], &[0.2470, 0.2435, 0.2616])
    }

    /// The normalisation by CIFAR-100's training images.
    pub fn cifar100() -> Self {
        Self::bytes(&[0.5071, 0.4865, 0.4409], &[0.2673, 0.2564, 0.2762])
    }

    /// The normalisation of ImageNet that torchvision's and timm's weights expect.
    pub fn imagenet() -> Self {
        Self::bytes(&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225])
    }

    /// The normalisation of EfficientNet-Lite as published for TensorFlow: (byte − 127)/128.
    pub fn efficientnet_lite() -> Self {
        Self { white: 1.0, mean: vec![127.0], std: vec![128.0] }
    }

    /// The preset of a name: `unit`, `digits`, `mnist`, `fashion-mnist`, `kmnist`, `emnist`, `cifar10`, `cifar100`,
    /// `imagenet`, `efficientnet-lite`.
    ///
    /// # Errors
    /// [`DataError::Config`], which lists the presets, for any other name.
    pub fn preset(name: &str) -> Result<Self> {
        match name {
            "unit" => Ok(Self::unit()),
            "digits" => Ok(Self::digits()),
            "mnist" => Ok(Self::mnist()),
            "fashion-mnist" => Ok(Self::fashion_mnist()),
            "kmnist" => Ok(Self::kmnist()),
            "emnist" => Ok(Self::emnist()),
            "cifar10" => Ok(Self::cifar10()),
            "cifar100" => Ok(Self::cifar100()),
            "imagenet" => Ok(Self::imagenet()),
            "efficientnet-lite" => Ok(Self::efficientnet_lite()),
            other => Err(DataError::config(
                "normalization",
                other,
                "expected one of unit, digits, mnist, fashion-mnist, kmnist, emnist, cifar10, cifar100, imagenet, efficientnet-lite",
            )),
        }
    }

    fn bytes(mean: &[f64], std: &[f64]) -> Self {
        Self { white: 255.0, mean: mean.to_vec(), std: std.to_vec() }
    }

    /// The 256 values of each channel, computed in f64 and rounded once.
    pub(crate) fn tables(&self, channels: usize) -> Result<Vec<[f32; 256]>> {
        let bad = |key, value: &dyn std::fmt::Debug, reason: String| {
            Err(DataError::config(key, format!("{value:?}"), reason))
        };
        if !(self.white.is_finite() && self.white > 0.0) {
            return bad("white", &self.white, "must be finite and positive".into());
        }
        for (key, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() != channels && values.len() != 1 {
                return bad(key, values, format!("expected 1 or {channels} values, one a channel"));
            }
            if values.iter().any(|value| !value.is_finite() || (key == "std" && *value <= 0.0)) {
                return bad(key, values, "must be finite, and std positive".into());
            }
        }
        let pick = |values: &[f64], channel: usize| values[if values.len() == 1 { 0 } else { channel }];
        let table = |channel| {
            let (mean, std) = (pick(&self.mean, channel), pick(&self.std, channel));
            std::array::from_fn(|byte| ((byte as f64 / self.white - mean) / std) as f32)
        };
        Ok((0..channels).map(table).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_follow_the_formula() {
        let tables = Normalization::imagenet().tables(3).unwrap();
        for (channel, (mean, std)) in [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)].into_iter().enumerate()
        {
            for byte in [0u8, 1, 127, 255] {
                let expected = ((f64::from(byte) / 255.0 - mean) / std) as f32;
                assert_eq!(tables[channel][usize::from(byte)], expected);
            }
        }
    }

    #[test]
    fn efficientnet_lite_is_centred_at_127() {
        let table = Normalization::preset("efficientnet-lite").unwrap().tables(3).unwrap()[2];
        assert_eq!([table[0], table[127], table[255]], [-127.0 / 128.0, 0.0, 1.0]);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Normalization::new(0.0, vec![0.0], vec![1.0]).is_err());
        assert!(Normalization::new(255.0, vec![0.0], vec![0.0]).is_err());
        assert!(Normalization::new(255.0, vec![f64::NAN], vec![1.0]).is_err());
        assert!(Normalization::new(255.0, vec![0.0; 3], vec![1.0; 2]).is_err());
        assert!(Normalization::imagenet().tables(1).is_err());
        assert!(Normalization::unit().tables(4).is_ok());
        assert!(Normalization::preset("imagnet").is_err());
    }
}
