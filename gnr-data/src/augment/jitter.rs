//! Random brightness, contrast, saturation and hue.

use super::color;
use crate::dataset::Image;
use crate::error::{DataError, Result};
use crate::random::Stream;

/// Torchvision's `ColorJitter`: four changes in random order. Brightness, contrast and saturation change by a factor
/// uniform in `[max(0, 1 − x), 1 + x]`, the hue by a share of the colour circle uniform in `[−x, x]`. 0 leaves a
/// property as it is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ColorJitter {
    /// Extent x ≥ 0 of the change of brightness.
    pub brightness: f64,
    /// Extent x ≥ 0 of the change of contrast.
    pub contrast: f64,
    /// Extent x ≥ 0 of the change of saturation; RGB only.
    pub saturation: f64,
    /// Extent x of the change of hue, in [0, ½]; RGB only.
    pub hue: f64,
}

impl ColorJitter {
    pub(super) fn check(&self) -> Result<()> {
        for (key, value, most) in [
            ("jitter.brightness", self.brightness, f64::MAX),
            ("jitter.contrast", self.contrast, f64::MAX),
            ("jitter.saturation", self.saturation, f64::MAX),
            ("jitter.hue", self.hue, 0.5),
        ] {
            if !(0.0..=most).contains(&value) {
                return Err(DataError::config(key, value, "must be 0 or larger (hue: at most 0.5)"));
            }
        }
        Ok(())
    }

    pub(super) fn apply(&self, stream: &mut Stream, image: &mut Image<'static>) {
        let mut order = [0, 1, 2, 3];
        stream.shuffle(&mut order);
        // All four numbers are always drawn, so that switching one property on does not change the others.
        let draws = order.map(|what| (what, 2.0 * stream.unit() - 1.0));
        for (what, draw) in draws {
            let factor = |extent: f64| {
                let (low, high) = ((1.0 - extent).max(0.0), 1.0 + extent);
                low + 0.5 * (draw + 1.0) * (high - low)
            };
            match what {
                0 if self.brightness > 0.0 => color::brightness(image, factor(self.brightness)),
                1 if self.contrast > 0.0 => color::contrast(image, factor(self.contrast)),
                2 if self.saturation > 0.0 => color::saturation(image, factor(self.saturation)),
                3 if self.hue > 0.0 => color::hue(image, draw * self.hue),
                _ => {}
            }
        }
    }
}
