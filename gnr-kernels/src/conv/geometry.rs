//! [`Geometry`]: the validated shape of one 2-D convolution.

use thiserror::Error;

/// Why a convolution's shapes do not fit together.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum GeometryError {
    /// Stride, groups and channels must be positive.
    #[error("convolution: {name} must be at least 1")]
    Zero {
        /// Name of the value that is 0.
        name: &'static str,
    },
    /// The weight is [O, C / groups, KH, KW] for an input [N, C, H, W].
    #[error(
        "convolution: input {input:?} has {} channels, but the weight {weight:?} in {groups} group(s) expects {}",
        input[1], weight[1] * groups
    )]
    Channels {
        /// Shape of the input.
        input: [usize; 4],
        /// Shape of the weight.
        weight: [usize; 4],
        /// Number of groups.
        groups: usize,
    },
    /// The output channels must divide into the groups.
    #[error("convolution: {outputs} output channels do not divide into {groups} groups")]
    Groups {
        /// Number of output channels.
        outputs: usize,
        /// Number of groups.
        groups: usize,
    },
    /// The kernel must be at least 1x1 and fit into the padded input.
    #[error("convolution: a {kernel:?} kernel does not fit into a padded input of {padded:?}")]
    Kernel {
        /// Height and width of the kernel.
        kernel: [usize; 2],
        /// Height and width of the input with its padding.
        padded: [usize; 2],
    },
}

/// The shape of one convolution: input [N, C, H, W], weight [O, C / groups, KH, KW], output [N, O, OH, OW], all
/// row-major. The stride is equal in both directions, and zeros surround the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    pub(super) n: usize,
    pub(super) c: usize,
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) o: usize,
    pub(super) kh: usize,
    pub(super) kw: usize,
    pub(super) oh: usize,
    pub(super) ow: usize,
    pub(super) stride: usize,
    /// Rows of zeros before the first row.
    pub(super) top: usize,
    /// Columns of zeros before the first column.
    pub(super) left: usize,
    pub(super) groups: usize,
}

impl Geometry {
    /// The geometry of `input` [N, C, H, W] convolved with `weight` [O, C / groups, KH, KW], `padding` zeros on every
    /// side.
    ///
    /// # Errors
    /// [`GeometryError`] says which dimension does not fit.
    pub fn new(
        input: [usize; 4],
        weight: [usize; 4],
        stride: usize,
        padding: usize,
        groups: usize,
    ) -> Result<Self, GeometryError> {
        Self::padded(input, weight, stride, [[padding; 2]; 2], groups)
    }

    /// The geometry of `input` convolved with `weight`, with `[[top, bottom], [left, right]]` zeros.
    ///
    /// # Errors
    /// [`GeometryError`] says which dimension does not fit.
    pub fn padded(
        input: [usize; 4],
        weight: [usize; 4],
        stride: usize,
        [[top, bottom], [left, right]]: [[usize; 2]; 2],
        groups: usize,
    ) -> Result<Self, GeometryError> {
        let ([n, c, h, w], [o, cg, kh, kw]) = (input, weight);
        for (name, value) in
            [("stride", stride), ("groups", groups), ("input channels", c), ("output channels", o)]
        {
            if value == 0 {
                return Err(GeometryError::Zero { name });
            }
        }
        if cg * groups != c {
            return Err(GeometryError::Channels { input, weight, groups });
        }
        if o % groups != 0 {
            return Err(GeometryError::Groups { outputs: o, groups });
        }
        let padded = [top + h + bottom, left + w + right];
        if kh == 0 || kw == 0 || kh > padded[0] || kw > padded[1] {
            return Err(GeometryError::Kernel { kernel: [kh, kw], padded });
        }
        let (oh, ow) = ((padded[0] - kh) / stride + 1, (padded[1] - kw) / stride + 1);
        Ok(Geometry { n, c, h, w, o, kh, kw, oh, ow, stride, top, left, groups })
    }

    /// Shape of the input, [N, C, H, W].
    pub fn input(&self) -> [usize; 4] {
        [self.n, self.c, self.h, self.w]
    }

    /// Shape of the weight, [O, C / groups, KH, KW].
    pub fn weight(&self) -> [usize; 4] {
        [self.o, self.cg(), self.kh, self.kw]
    }

    /// Shape of the output, [N, O, OH, OW].
    pub fn output(&self) -> [usize; 4] {
        [self.n, self.o, self.oh, self.ow]
    }

    /// Number of elements of the input.
    pub fn input_len(&self) -> usize {
        self.n * self.image()
    }

    /// Number of elements of the weight.
    pub fn weight_len(&self) -> usize {
        self.o * self.ck()
    }

    /// Number of elements of the output.
    pub fn output_len(&self) -> usize {
        self.n * self.map()
    }

    /// Number of elements of one input image.
    pub(super) fn image(&self) -> usize {
        self.c * self.h * self.w
    }

    /// Number of elements of one output image.
    pub(super) fn map(&self) -> usize {
        self.o * self.l()
    }

    /// Number of output pixels of one image.
    pub(super) fn l(&self) -> usize {
        self.oh * self.ow
    }

    /// Number of input channels of one group.
    pub(super) fn cg(&self) -> usize {
        self.c / self.groups
    }

    /// Number of output channels of one group.
    pub(super) fn og(&self) -> usize {
        self.o / self.groups
    }

    /// Number of weights of one output channel: the rows of the im2col matrix.
    pub(super) fn ck(&self) -> usize {
        self.cg() * self.kh * self.kw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_sizes_follow_the_usual_formula() {
        let g = Geometry::new([2, 3, 32, 30], [8, 3, 3, 5], 2, 1, 1).expect("fits");
        assert_eq!(g.output(), [2, 8, 16, 14]);
        assert_eq!((g.input_len(), g.weight_len(), g.output_len()), (5760, 360, 3584));
    }

    #[test]
    fn sides_may_be_padded_differently() {
        let g = Geometry::padded([1, 2, 8, 9], [2, 2, 3, 3], 2, [[0, 1], [1, 1]], 1).expect("fits");
        assert_eq!((g.output(), g.top, g.left), ([1, 2, 4, 5], 0, 1));
    }

    #[test]
    fn every_misfit_is_named() {
        let check = |input, weight, stride, padding, groups, expect: &str| {
            let error = Geometry::new(input, weight, stride, padding, groups).expect_err("must not fit");
            assert!(error.to_string().contains(expect), "{error}");
        };
        check([1, 4, 8, 8], [4, 4, 3, 3], 0, 1, 1, "stride");
        check([1, 4, 8, 8], [4, 4, 3, 3], 1, 1, 0, "groups");
        check([1, 4, 8, 8], [0, 4, 3, 3], 1, 1, 1, "output channels");
        check([1, 4, 8, 8], [4, 3, 3, 3], 1, 1, 1, "has 4 channels");
        check([1, 4, 8, 8], [3, 2, 3, 3], 1, 1, 2, "3 output channels");
        check([1, 4, 2, 8], [4, 4, 5, 5], 1, 1, 1, "[4, 10]");
        check([1, 4, 2, 8], [4, 4, 0, 1], 1, 1, 1, "[0, 1]");
    }
}
