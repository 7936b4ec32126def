//! The usual preparation of photographs for evaluation: scaling the shorter side, then cutting out the centre.

use std::sync::Arc;

use crate::dataset::{Dataset, Image, describe};
use crate::error::{DataError, Result};
use crate::resample::{Interpolation, MAX_SIDE, Window, resample};

/// Brings photographs of several sizes to one: scales them, keeping their proportions, then cuts out the centre.
///
/// The pixels are those of torchvision's `Resize(shorter)` and `CenterCrop((height, width))` on Pillow images. `Resize
/// { height: 224, width: 224, ..Resize::square(256) }` is the usual evaluation of ImageNet models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resize {
    /// The shorter side after scaling, in pixels. The longer one is rounded down.
    pub shorter: usize,
    /// Number of rows cut out of the centre, at most `shorter`.
    pub height: usize,
    /// Number of columns cut out of the centre, at most `shorter`.
    pub width: usize,
    /// Filter of the scaling.
    pub interpolation: Interpolation,
}

/// Largest ratio of the longer to the shorter side that [`Resize`] accepts.
const MAX_ELONGATION: usize = 64;

impl Resize {
    /// Scales to the smallest size that covers a square of `side` pixels, and cuts out the centre; bilinear.
    pub fn square(side: usize) -> Self {
        Self { shorter: side, height: side, width: side, interpolation: Interpolation::Bilinear }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let crop = self.height.max(self.width);
        let fits = self.height > 0 && self.width > 0 && crop <= self.shorter && self.shorter <= MAX_SIDE;
        if fits {
            return Ok(());
        }
        let value = format!("{} to {}x{}", self.shorter, self.height, self.width);
        Err(DataError::config("resize", value, format!("needs 0 < height, width <= shorter <= {MAX_SIDE}")))
    }

    /// Prepares an image.
    ///
    /// # Errors
    /// The reason why an image is refused: its sides are too unequal, and scaling it to cover would need too much
    /// memory.
    pub(crate) fn apply(&self, image: Image<'static>) -> Result<Image<'static>, String> {
        let (height, width) = (image.height, image.width);
        let short = width.min(height).max(1);
        if width.max(height) / short > MAX_ELONGATION {
            return Err(format!("{width}x{height} is too elongated to resize (limit {MAX_ELONGATION}:1)"));
        }
        // Rounded down as torchvision does; the shorter side is exact.
        let scaled = (height * self.shorter / short, width * self.shorter / short);
        let cut = Window {
            top: centred(scaled.0 - self.height),
            left: centred(scaled.1 - self.width),
            height: self.height,
            width: self.width,
        };
        if scaled == (height, width) && cut == Window::whole(&image) {
            return Ok(image);
        }
        Ok(resample(&image, Window::whole(&image), scaled, cut, self.interpolation))
    }
}

/// A data set in memory at its published size, whose images are prepared when asked for.
pub(crate) struct Resized {
    whole: Arc<dyn Dataset>,
    resize: Resize,
}

impl Resized {
    pub(crate) fn new(whole: Arc<dyn Dataset>, resize: Resize) -> Result<Self> {
        resize.check()?;
        Ok(Self { whole, resize })
    }
}

impl Dataset for Resized {
    fn len(&self) -> usize {
        self.whole.len()
    }

    fn shape(&self) -> [usize; 3] {
        [self.whole.shape()[0], self.resize.height, self.resize.width]
    }

    fn classes(&self) -> &[String] {
        self.whole.classes()
    }

    fn image(&self, index: usize) -> Result<Image<'_>> {
        let image = self.whole.image(index)?;
        let image = Image { pixels: image.pixels.into_owned().into(), ..image };
        self.resize.apply(image).map_err(|reason| DataError::Decode {
            path: format!("{}, image {index}", self.whole.describe()).into(),
            reason,
        })
    }

    fn original(&self, index: usize) -> Result<Image<'_>> {
        self.whole.original(index)
    }

    fn label(&self, index: usize) -> Result<usize> {
        self.whole.label(index)
    }

    fn clean_label(&self, index: usize) -> Result<usize> {
        self.whole.clean_label(index)
    }

    fn warnings(&self) -> Vec<String> {
        self.whole.warnings()
    }

    fn describe(&self) -> String {
        describe(&format!("{}, resized", self.whole.describe()), self)
    }
}

/// Half of a length that is cut away, rounded half to even as in Python.
fn centred(rest: usize) -> usize {
    let half = rest / 2;
    if rest % 2 == 1 && half % 2 == 1 { half + 1 } else { half }
}
