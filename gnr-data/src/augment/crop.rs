//! Random resized crop: a random part of the image, of random area and proportions, scaled to the training size.

use super::check_range;
use crate::error::Result;
use crate::random::Stream;
use crate::resample::{Interpolation, Window};

/// Torchvision's `RandomResizedCrop`, which scales a random part of the image to the training size.
///
/// The part has a share of the image's area that is uniform in `scale`, and proportions width : height that are
/// log-uniform in `ratio`. After ten draws that do not fit, it is the largest central part of allowed proportions.
///
/// # References
/// Szegedy et al., *Going Deeper with Convolutions*, CVPR 2015, §6.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RandomResizedCrop {
    /// Range of the part's share of the area, in (0, 1].
    pub scale: [f64; 2],
    /// Range of the part's width over its height.
    pub ratio: [f64; 2],
    /// Filter of the scaling.
    pub interpolation: Interpolation,
}

impl RandomResizedCrop {
    /// The usual crop of ImageNet models: 8 to 100 % of the area, 3:4 to 4:3, bilinear.
    pub const IMAGENET: Self =
        Self { scale: [0.08, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0], interpolation: Interpolation::Bilinear };

    pub(super) fn check(&self) -> Result<()> {
        check_range("crop.scale", self.scale, 1.0)?;
        check_range("crop.ratio", self.ratio, 1e3)
    }

    pub(super) fn draw(&self, stream: &mut Stream, height: usize, width: usize) -> Window {
        const ATTEMPTS: usize = 10;
        let area = (height * width) as f64;
        for _ in 0..ATTEMPTS {
            let target = area * stream.between(self.scale);
            let ratio = stream.between(self.ratio.map(f64::ln)).exp();
            let w = (target * ratio).sqrt().round_ties_even() as usize;
            let h = (target / ratio).sqrt().round_ties_even() as usize;
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                let top = stream.below(height - h + 1);
                return Window { top, left: stream.below(width - w + 1), height: h, width: w };
            }
        }
        let natural = width as f64 / height as f64;
        let (h, w) = match natural {
            _ if natural < self.ratio[0] => {
                ((width as f64 / self.ratio[0]).round_ties_even() as usize, width)
            }
            _ if natural > self.ratio[1] => {
                (height, (height as f64 * self.ratio[1]).round_ties_even() as usize)
            }
            _ => (height, width),
        };
        let (h, w) = (h.clamp(1, height), w.clamp(1, width));
        Window { top: (height - h) / 2, left: (width - w) / 2, height: h, width: w }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

        #[test]
        fn parts_lie_inside_and_are_pure(height in 1usize..600, width in 1usize..600, seed: u64, low in 0.01f64..1.0) {
            let crop = RandomResizedCrop { scale: [low, 1.0], ..RandomResizedCrop::IMAGENET };
            let draw = || crop.draw(&mut Stream::at(seed, Purpose::Crop, 3, 4), height, width);
            let window = draw();
            prop_assert!(window.height > 0 && window.width > 0);
            prop_assert!(window.top + window.height <= height && window.left + window.width <= width);
            prop_assert_eq!(window, draw());
        }

        #[test]
        fn area_and_proportions_are_those_asked_for(seed: u64) {
            let window = RandomResizedCrop::IMAGENET.draw(&mut Stream::at(seed, Purpose::Crop, 0, 0), 400, 500);
            let share = (window.height * window.width) as f64 / 200_000.0;
            let ratio = window.width as f64 / window.height as f64;
            // Tolerance: sides of at least 97 pixels are rounded by at most half a pixel each, 1.1 % of the area.
            prop_assert!((0.079..=1.0).contains(&share) && (0.741..=1.349).contains(&ratio), "{share} {ratio}");
        }
    }

    #[test]
    fn elongated_images_give_their_centre() {
        let mut stream = Stream::at(0, Purpose::Crop, 0, 0);
        let crop = RandomResizedCrop { scale: [1.0, 1.0], ..RandomResizedCrop::IMAGENET };
        let window = crop.draw(&mut stream, 30, 300);
        assert_eq!(window, Window { top: 0, left: 130, height: 30, width: 40 });
        let window = crop.draw(&mut stream, 300, 30);
        assert_eq!(window, Window { top: 130, left: 0, height: 40, width: 30 });
    }
}
