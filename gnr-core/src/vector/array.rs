//! Vectors held in an `ndarray::Array1`, of any stride.

use super::{
    Elementwise, Map, Real, Vector,
    host::{
        addcdiv_sqrt_element, addcmul_element, axpy_element, dot, map_element, maximum_element,
        multiply_element, scale_element,
    },
    same_dim,
};
use crate::Result;
use ndarray::{Array1, Zip};
use std::borrow::Cow;

impl<T: Real> Vector for Array1<T> {
    fn dim(&self) -> usize {
        self.len()
    }
    fn scale(&mut self, a: f64) -> Result<()> {
        self.mapv_inplace(|x| scale_element(x, a));
        Ok(())
    }
    fn axpy(&mut self, a: f64, x: &Self) -> Result<()> {
        same_dim("axpy", self.len(), x.len())?;
        Zip::from(self).and(x).for_each(|s, &x| *s = axpy_element(*s, a, x));
        Ok(())
    }
    fn dot(&self, x: &Self) -> Result<f64> {
        same_dim("dot", self.len(), x.len())?;
        Ok(dot(&contiguous(self), &contiguous(x)))
    }
}

impl<T: Real> Elementwise for Array1<T> {
    fn map(&mut self, f: Map) -> Result<()> {
        self.mapv_inplace(|x| map_element(x, f));
        Ok(())
    }
    fn multiply(&mut self, x: &Self) -> Result<()> {
        same_dim("multiply", self.len(), x.len())?;
        Zip::from(self).and(x).for_each(|s, &x| *s = multiply_element(*s, x));
        Ok(())
    }
    fn maximum(&mut self, x: &Self) -> Result<()> {
        same_dim("maximum", self.len(), x.len())?;
        Zip::from(self).and(x).for_each(|s, &x| *s = maximum_element(*s, x));
        Ok(())
    }
    fn addcmul(&mut self, a: f64, x: &Self, y: &Self) -> Result<()> {
        same_dim("addcmul", self.len(), x.len())?;
        same_dim("addcmul", self.len(), y.len())?;
        Zip::from(self).and(x).and(y).for_each(|s, &x, &y| *s = addcmul_element(*s, a, x, y));
        Ok(())
    }
    fn addcdiv_sqrt(&mut self, a: f64, x: &Self, b: f64, y: &Self, eps: f64) -> Result<()> {
        same_dim("addcdiv_sqrt", self.len(), x.len())?;
        same_dim("addcdiv_sqrt", self.len(), y.len())?;
        Zip::from(self).and(x).and(y).for_each(|s, &x, &y| *s = addcdiv_sqrt_element(*s, a, x, b, y, eps));
        Ok(())
    }
}

/// The elements in order. A strided array is copied, so that a sum does not depend on the layout.
fn contiguous<T: Real>(x: &Array1<T>) -> Cow<'_, [T]> {
    match x.as_slice() {
        Some(slice) => Cow::Borrowed(slice),
        None => Cow::Owned(x.to_vec()),
    }
}
