//! Sessions, the reverse pass, host traffic and arithmetic in place.

use burn_backend::{
    ExecutionError, FloatDType, TensorMetadata, backend::AutodiffBackend, ops::FloatTensorOps as _,
    read_sync, tensor::FloatTensor,
};
use gnr_core::{Map, collective::Packed};
use gnr_nn::{Autodiff, Result};

use crate::{
    ops,
    tensor::{Burn, BurnTensor, Precision, invalid, same},
};

type Inner<B> = <B as AutodiffBackend>::InnerBackend;

impl<B: AutodiffBackend> Burn<B> {
    /// All elements on the host.
    fn download<E: burn_backend::Element>(
        &self,
        x: &BurnTensor<B>,
        values: FloatTensor<Inner<B>>,
    ) -> Result<Vec<E>> {
        let data = read_sync(<Inner<B>>::float_into_data(values));
        let data = data.map_err(|error| self.failure("download", x, &error))?;
        // The data of a card are read only here, so this can fail too.
        data.try_into_vec_as::<E>()
            .map_err(|error| self.failure("download", x, &ExecutionError::with_context(error.to_string())))
    }

    /// Replaces y by `f` of its values.
    fn update(y: &mut BurnTensor<B>, f: impl FnOnce(FloatTensor<Inner<B>>) -> FloatTensor<Inner<B>>) {
        *y = BurnTensor::plain(f(y.values()));
    }
}

impl<B: AutodiffBackend> Autodiff for Burn<B> {
    type Record = ();

    fn gradient_session(&self, _: bool) -> Self {
        self.clone()
    }
    fn take_record(&self) -> Result<()> {
        Ok(())
    }
    fn replay_session(&self, (): &()) -> Result<Self> {
        Ok(self.clone())
    }
    fn variable(&self, x: &BurnTensor<B>) -> Result<BurnTensor<B>> {
        Ok(BurnTensor::tracked(B::float_set_require_grad(B::from_inner(x.values()), true)))
    }
    fn backward(&self, loss: &BurnTensor<B>, leaves: Vec<BurnTensor<B>>) -> Result<Vec<BurnTensor<B>>> {
        if loss.len() != 1 {
            return invalid("backward", "a single element", loss.shape());
        }
        let mut gradients = loss.is_tracked().then(|| B::backward(loss.lifted()));
        let gradient = |leaf: BurnTensor<B>| {
            let found = gradients.as_mut().and_then(|gradients| B::grad_remove(&leaf.lifted(), gradients));
            found.unwrap_or_else(|| {
                let values = leaf.values();
                let dtype = values.dtype().into();
                <Inner<B>>::float_zeros(values.shape(), &values.device(), dtype)
            })
        };
        Ok(leaves.into_iter().map(gradient).map(BurnTensor::plain).collect())
    }

    fn upload(&self, data: &[f32], shape: &[usize]) -> Result<BurnTensor<B>> {
        self.host("upload", data.iter().map(|&x| f64::from(x)), shape)
    }
    fn item(&self, x: &BurnTensor<B>) -> Result<f64> {
        match self.to_host(x)?[..] {
            [only] => Ok(only),
            _ => invalid("item", "a single element", x.shape()),
        }
    }
    fn to_host(&self, x: &BurnTensor<B>) -> Result<Vec<f64>> {
        self.download(x, x.values())
    }
    fn pack(&self, xs: &[BurnTensor<B>]) -> Result<Packed> {
        fn all<B: AutodiffBackend, E: burn_backend::Element>(
            b: &Burn<B>,
            xs: &[BurnTensor<B>],
        ) -> Result<Vec<E>> {
            Ok(xs.iter().map(|x| b.download(x, x.values())).collect::<Result<Vec<Vec<E>>>>()?.concat())
        }
        Ok(match self.precision() {
            Precision::F32 => Packed::Single(all(self, xs)?),
            Precision::F64 => Packed::Double(all(self, xs)?),
        })
    }

    fn scale(&self, y: &mut BurnTensor<B>, a: f64) -> Result<()> {
        // 0·∞ would be NaN.
        Self::update(y, |y| match a {
            0.0 => <Inner<B>>::float_zeros(y.shape(), &y.device(), y.dtype().into()),
            _ => ops::affine::<Inner<B>>(y, a, 0.0),
        });
        Ok(())
    }
    fn axpy(&self, y: &mut BurnTensor<B>, a: f64, x: &BurnTensor<B>) -> Result<()> {
        same("axpy", y, x)?;
        let step = ops::affine::<Inner<B>>(x.values(), a, 0.0);
        Self::update(y, |y| ops::add::<Inner<B>>(y, step));
        Ok(())
    }
    /// Σ x·y in double precision: on the device where it has that, else on the host.
    fn dot(&self, x: &BurnTensor<B>, y: &BurnTensor<B>) -> Result<f64> {
        same("dot", x, y)?;
        if self.has_double() {
            let sum = ops::dot::<Inner<B>>(x.values(), y.values(), FloatDType::F64);
            return Ok(self.download::<f64>(x, sum)?.into_iter().sum());
        }
        let products = self.to_host(x)?.into_iter().zip(self.to_host(y)?);
        Ok(products.map(|(x, y)| x * y).sum())
    }
    fn map(&self, z: &mut BurnTensor<B>, f: Map) -> Result<()> {
        Self::update(z, |z| match f {
            Map::Abs => <Inner<B>>::float_abs(z),
            Map::Sqrt => <Inner<B>>::float_sqrt(z),
            Map::Recip => <Inner<B>>::float_recip(z),
            Map::Square => ops::mul::<Inner<B>>(z.clone(), z),
            Map::Power(p) => <Inner<B>>::float_powf_scalar(z, ops::scalar(p)),
            Map::Add(a) => ops::affine::<Inner<B>>(z, 1.0, a),
            Map::Clamp(low, high) => ops::clamp::<Inner<B>>(z, low, high),
            Map::Sign => ops::sign::<Inner<B>>(z),
        });
        Ok(())
    }
    fn multiply(&self, z: &mut BurnTensor<B>, x: &BurnTensor<B>) -> Result<()> {
        same("multiply", z, x)?;
        Self::update(z, |z| ops::mul::<Inner<B>>(z, x.values()));
        Ok(())
    }
    fn maximum(&self, z: &mut BurnTensor<B>, x: &BurnTensor<B>) -> Result<()> {
        same("maximum", z, x)?;
        Self::update(z, |z| ops::maximum::<Inner<B>>(z, x.values()));
        Ok(())
    }
}
