//! Sessions, reverse mode and in-place arithmetic of the reference backend.

use std::rc::Rc;

use gnr_core::Map;

use super::{Reference, ReferenceTensor, tape::Tape};
use crate::{Arithmetic, Autodiff, Error, Result};

impl Reference {
    /// Updates `y[i] ← f(y[i], i)` in memory of its own: tensors that share the old data keep it.
    fn update(y: &mut ReferenceTensor, f: impl Fn(f64, usize) -> f64) {
        for (i, y) in Rc::make_mut(&mut y.data).iter_mut().enumerate() {
            *y = f(*y, i);
        }
        // The new values are no function of the operands of the old ones.
        y.node = None;
    }
}

impl Autodiff for Reference {
    /// No record is kept: products evaluate the model again on dual numbers.
    type Record = ();

    fn gradient_session(&self, _: bool) -> Self {
        Self { tape: Tape::default(), kinks: self.kinks.clone() }
    }
    fn take_record(&self) -> Result<()> {
        Ok(())
    }
    fn replay_session(&self, (): &()) -> Result<Self> {
        Ok(self.gradient_session(false))
    }
    fn variable(&self, x: &ReferenceTensor) -> Result<ReferenceTensor> {
        Ok(ReferenceTensor { node: Some(self.tape.leaf(x.data.len(), Vec::new())), ..x.clone() })
    }
    fn backward(&self, loss: &ReferenceTensor, leaves: Vec<ReferenceTensor>) -> Result<Vec<ReferenceTensor>> {
        self.item(loss)?;
        let place = |x: &ReferenceTensor| x.node.as_ref().and_then(|node| self.tape.place(node));
        let places: Vec<_> = leaves.iter().map(place).collect();
        let gradients = self.tape.backward(place(loss), &places);
        let tensor = |(leaf, gradient): (&ReferenceTensor, Option<Vec<f64>>)| {
            self.constant(&gradient.unwrap_or_else(|| vec![0.0; leaf.data.len()]), &leaf.shape)
        };
        leaves.iter().zip(gradients).map(tensor).collect()
    }

    fn upload(&self, data: &[f32], shape: &[usize]) -> Result<ReferenceTensor> {
        self.constant(&data.iter().copied().map(f64::from).collect::<Vec<_>>(), shape)
    }
    fn item(&self, x: &ReferenceTensor) -> Result<f64> {
        match x.data[..] {
            [value] => Ok(value),
            _ => Err(Error::InvalidShape {
                op: "item",
                expected: "one element".into(),
                found: x.shape.to_vec(),
            }),
        }
    }
    fn to_host(&self, x: &ReferenceTensor) -> Result<Vec<f64>> {
        Ok(x.data.to_vec())
    }

    fn scale(&self, y: &mut ReferenceTensor, a: f64) -> Result<()> {
        // 0·∞ is not 0, and a vector that overflowed must be able to start again.
        Self::update(y, |y, _| if a == 0.0 { 0.0 } else { a * y });
        Ok(())
    }
    fn axpy(&self, y: &mut ReferenceTensor, a: f64, x: &ReferenceTensor) -> Result<()> {
        Self::same_shape("axpy", y, x)?;
        Self::update(y, |y, i| y + a * x.data[i]);
        Ok(())
    }
    fn dot(&self, x: &ReferenceTensor, y: &ReferenceTensor) -> Result<f64> {
        Self::same_shape("dot", x, y)?;
        Ok(x.data.iter().zip(&*y.data).map(|(x, y)| x * y).sum())
    }
    fn map(&self, z: &mut ReferenceTensor, f: Map) -> Result<()> {
        Self::update(z, |z, _| f.at(z));
        Ok(())
    }
    fn multiply(&self, z: &mut ReferenceTensor, x: &ReferenceTensor) -> Result<()> {
        Self::same_shape("multiply", z, x)?;
        Self::update(z, |z, i| z * x.data[i]);
        Ok(())
    }
    fn maximum(&self, z: &mut ReferenceTensor, x: &ReferenceTensor) -> Result<()> {
        Self::same_shape("maximum", z, x)?;
        Self::update(z, |z, i| if x.data[i] > z || x.data[i].is_nan() { x.data[i] } else { z });
        Ok(())
    }
}
