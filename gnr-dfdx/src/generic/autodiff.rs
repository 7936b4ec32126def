//! Sessions, the reverse pass, host transfer and arithmetic in place, in dfdx's public operations.

use dfdx::prelude::{
    ChooseFrom, Dtype, HasShape, PutTape, Rank0, SplitTape, SumTo, Tensor, TryAdd, TryDiv, TryEq, TryGt,
    TryLt, TryMul,
};
use gnr_core::Map;
use gnr_nn::{Autodiff, Error, Result};
use num_traits::Float;

use super::{DeviceOps, Generic, GenericTensor, library, same_shape};
use crate::tape::SharedTape;

impl<E: Dtype + Float, D: DeviceOps<E>> Generic<E, D> {
    fn replace(y: &mut GenericTensor<E, D>, flat: Tensor<(usize,), E, D>) {
        *y = GenericTensor::new(flat.put_tape(SharedTape::default()), &y.shape);
    }

    /// Returns `to[0]` where x < `at[0]`, `to[1]` where x > `at[1]`, and x elsewhere. A NaN stays NaN.
    fn bounded(
        &self,
        x: Tensor<(usize,), E, D>,
        at: [f64; 2],
        to: [f64; 2],
    ) -> Result<Tensor<(usize,), E, D>> {
        let (len,) = *x.shape();
        let below = x.try_lt(Self::scalar(at[0])?).map_err(library)?;
        let above = x.try_gt(Self::scalar(at[1])?).map_err(library)?;
        let (low, high) = (self.uniform(to[0], len)?, self.uniform(to[1], len)?);
        let inner = above.try_choose(high, x).map_err(library)?;
        below.try_choose(low, inner).map_err(library)
    }
}

impl<E: Dtype + Float, D: DeviceOps<E>> Autodiff for Generic<E, D> {
    type Record = ();

    fn gradient_session(&self, _: bool) -> Self {
        Self { tape: SharedTape::recording(), ..self.clone() }
    }
    fn take_record(&self) -> Result<()> {
        Ok(())
    }
    fn replay_session(&self, (): &()) -> Result<Self> {
        Ok(self.gradient_session(false))
    }
    fn variable(&self, x: &GenericTensor<E, D>) -> Result<GenericTensor<E, D>> {
        let flat = self.renewed(x)?.put_tape(self.tape.clone());
        Ok(GenericTensor::new(flat, &x.shape))
    }
    fn backward(
        &self,
        loss: &GenericTensor<E, D>,
        leaves: Vec<GenericTensor<E, D>>,
    ) -> Result<Vec<GenericTensor<E, D>>> {
        if loss.shape.iter().product::<usize>() != 1 {
            return Err(Error::InvalidShape {
                op: "backward",
                expected: "a single element".into(),
                found: loss.shape.to_vec(),
            });
        }
        let root = loss.taped().try_sum::<Rank0, _>().map_err(library)?;
        let (root, _) = root.split_tape();
        let mut gradients = self.tape.backward(root)?;
        leaves
            .iter()
            .map(|leaf| {
                let key = &leaf.flat;
                gradients.try_alloc_for(key).map_err(library)?;
                let flat = gradients.get(key).put_tape(SharedTape::default());
                Ok(GenericTensor::new(flat, &leaf.shape))
            })
            .collect()
    }

    fn upload(&self, data: &[f32], shape: &[usize]) -> Result<GenericTensor<E, D>> {
        let data = data.iter().map(|&x| Self::scalar(f64::from(x))).collect::<Result<Vec<_>>>()?;
        self.tensor("upload", data, shape)
    }
    fn item(&self, x: &GenericTensor<E, D>) -> Result<f64> {
        match self.to_host(x)?[..] {
            [only] => Ok(only),
            _ => Err(Error::InvalidShape {
                op: "item",
                expected: "a single element".into(),
                found: x.shape.to_vec(),
            }),
        }
    }
    fn to_host(&self, x: &GenericTensor<E, D>) -> Result<Vec<f64>> {
        Ok(x.flat.as_vec().into_iter().map(|x| x.to_f64().unwrap_or(f64::NAN)).collect())
    }

    fn scale(&self, y: &mut GenericTensor<E, D>, a: f64) -> Result<()> {
        // 0·∞ would be NaN.
        let scaled = if a == 0.0 {
            self.device.try_zeros_like(&(y.shape.iter().product::<usize>(),)).map_err(library)?
        } else {
            y.values().try_mul(Self::scalar(a)?).map_err(library)?
        };
        Self::replace(y, scaled);
        Ok(())
    }
    fn axpy(&self, y: &mut GenericTensor<E, D>, a: f64, x: &GenericTensor<E, D>) -> Result<()> {
        same_shape("axpy", y, x)?;
        let step = x.values().try_mul(Self::scalar(a)?).map_err(library)?;
        Self::replace(y, step.try_add(y.values()).map_err(library)?);
        Ok(())
    }
    fn dot(&self, x: &GenericTensor<E, D>, y: &GenericTensor<E, D>) -> Result<f64> {
        let one = std::slice::from_ref::<GenericTensor<E, D>>;
        Ok(self.dots_of_points(one(x), &[one(y)])?.into_iter().sum())
    }
    fn dots(&self, x: &GenericTensor<E, D>, ys: &[&GenericTensor<E, D>]) -> Result<Vec<f64>> {
        let ys: Vec<_> = ys.iter().map(|y| std::slice::from_ref(*y)).collect();
        self.dots_of_points(std::slice::from_ref(x), &ys)
    }
    fn dots_of_points(&self, x: &[GenericTensor<E, D>], ys: &[&[GenericTensor<E, D>]]) -> Result<Vec<f64>> {
        self.inner_products(x, ys)
    }
    fn map(&self, z: &mut GenericTensor<E, D>, f: Map) -> Result<()> {
        let x = z.values();
        let mapped = match f {
            Map::Abs => x.try_abs(),
            Map::Sqrt => x.try_sqrt(),
            Map::Recip => x.try_recip(),
            Map::Square => x.try_square(),
            Map::Power(p) => x.try_powf(p),
            Map::Add(a) => x.try_add(Self::scalar(a)?),
            // dfdx's clamp would hide a NaN.
            Map::Sign => Ok(self.bounded(x, [0.0, 0.0], [-1.0, 1.0])?),
            Map::Clamp(low, high) => Ok(self.bounded(x, [low, high], [low, high])?),
        };
        Self::replace(z, mapped.map_err(library)?);
        Ok(())
    }
    fn multiply(&self, z: &mut GenericTensor<E, D>, x: &GenericTensor<E, D>) -> Result<()> {
        same_shape("multiply", z, x)?;
        Self::replace(z, z.values().try_mul(x.values()).map_err(library)?);
        Ok(())
    }
    fn maximum(&self, z: &mut GenericTensor<E, D>, x: &GenericTensor<E, D>) -> Result<()> {
        same_shape("maximum", z, x)?;
        let (a, b) = (z.values(), x.values());
        // dfdx's maximum would hide a NaN: where z is NaN, and so z ≠ z, z stays.
        let number = a.try_eq(&a).map_err(library)?;
        let larger = a.try_gt(&b).map_err(library)?;
        let other = number.try_choose(b, a.clone()).map_err(library)?;
        Self::replace(z, larger.try_choose(a, other).map_err(library)?);
        Ok(())
    }
    fn addcmul(
        &self,
        z: &mut GenericTensor<E, D>,
        a: f64,
        x: &GenericTensor<E, D>,
        y: &GenericTensor<E, D>,
    ) -> Result<()> {
        same_shape("addcmul", z, x)?;
        same_shape("addcmul", z, y)?;
        let product = x.values().try_mul(y.values()).map_err(library)?;
        let step = product.try_mul(Self::scalar(a)?).map_err(library)?;
        Self::replace(z, step.try_add(z.values()).map_err(library)?);
        Ok(())
    }
    fn addcdiv_sqrt(
        &self,
        z: &mut GenericTensor<E, D>,
        a: f64,
        x: &GenericTensor<E, D>,
        b: f64,
        y: &GenericTensor<E, D>,
        eps: f64,
    ) -> Result<()> {
        same_shape("addcdiv_sqrt", z, x)?;
        same_shape("addcdiv_sqrt", z, y)?;
        let root = y.values().try_mul(Self::scalar(b)?).and_then(Tensor::try_sqrt).map_err(library)?;
        let below = root.try_add(Self::scalar(eps)?).map_err(library)?;
        let ratio = x.values().try_div(below).map_err(library)?;
        let step = ratio.try_mul(Self::scalar(a)?).map_err(library)?;
        Self::replace(z, step.try_add(z.values()).map_err(library)?);
        Ok(())
    }
}
