//! Dropout and stochastic depth: random factors in train mode, the identity in eval mode.

use crate::{Backend, Context, Error, Mode, Result};

/// Dropout (Srivastava et al., JMLR 2014): in train mode zeroes each element with probability `rate` and divides the
/// others by 1 − rate. In eval mode and at rate 0 it is the identity.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dropout {
    rate: f64,
}

impl Dropout {
    /// A layer with this rate.
    ///
    /// # Errors
    /// When `rate` is not in [0, 1).
    pub fn new(rate: f64) -> Result<Self> {
        Ok(Self { rate: checked("dropout", rate)? })
    }
    /// Applies the layer to x of any shape.
    ///
    /// # Errors
    /// When masks are needed and the context has no seed for them.
    pub fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        if self.rate == 0.0 || cx.mode == Mode::Eval {
            return Ok(x.clone());
        }
        let shape = cx.backend.shape(x).to_vec();
        let mask = cx.mask(1.0 - self.rate, shape.iter().product())?;
        cx.backend.mul(x, &cx.backend.constant(&mask, &shape)?)
    }
}

/// Stochastic depth (Huang et al., ECCV 2016; timm's `DropPath`, torchvision's `StochasticDepth(p, "row")`). In train
/// mode it zeroes a residual function for whole samples (the first axis) with probability `rate`, and divides the
/// others by 1 − rate. In eval mode and at rate 0 it is the identity.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DropPath {
    rate: f64,
}

impl DropPath {
    /// A layer with this rate.
    ///
    /// # Errors
    /// When `rate` is not in [0, 1).
    pub fn new(rate: f64) -> Result<Self> {
        Ok(Self { rate: checked("drop_path", rate)? })
    }
    /// Makes `count` layers whose rates grow linearly from 0 at the first residual block to `last` at the last one. A
    /// single block is the first one, with rate 0, as in timm.
    ///
    /// # Errors
    /// The errors of [`new`](Self::new).
    pub fn linear(last: f64, count: usize) -> Result<Vec<Self>> {
        let last = checked("drop_path", last)?;
        (0..count).map(|i| Self::new(last * i as f64 / (count.max(2) - 1) as f64)).collect()
    }
    /// The probability with which a sample is dropped, in [0, 1).
    pub fn rate(&self) -> f64 {
        self.rate
    }
    /// Applies the layer to the output of a residual function, before the shortcut is added.
    ///
    /// # Errors
    /// When masks are needed and the context has no seed for them.
    pub fn forward<B: Backend>(&self, cx: &mut Context<'_, B>, x: &B::Tensor) -> Result<B::Tensor> {
        if self.rate == 0.0 || cx.mode == Mode::Eval {
            return Ok(x.clone());
        }
        let shape = cx.backend.shape(x).to_vec();
        let samples = shape.first().copied().unwrap_or(1);
        let mask = cx.mask(1.0 - self.rate, samples)?;
        let mut column = vec![1; shape.len()];
        column[0] = samples;
        let mask = cx.backend.broadcast(&cx.backend.constant(&mask, &column)?, &shape)?;
        cx.backend.mul(x, &mask)
    }
}

fn checked(what: &str, rate: f64) -> Result<f64> {
    if (0.0..1.0).contains(&rate) {
        Ok(rate)
    } else {
        Err(Error::Invalid(format!("{what}: the rate is {rate}, but it must be at least 0 and below 1")))
    }
}
