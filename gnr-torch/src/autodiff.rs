//! Sessions, the reverse pass, host traffic and arithmetic in place.

use gnr_core::{Map, collective::Packed};
use gnr_nn::{Autodiff, Error, Result};
use tch::{Kind, TchError, Tensor};

use crate::{
    device::{Device, Precision},
    record::{Record, Session, flattened},
    tensor::{Torch, TorchTensor, invalid, same},
};

/// Elements of a vector that a sum of products takes at a time on the CPU.
const BLOCK: usize = 1 << 16;

impl Torch {
    /// Applies `f` to y's data in place, or to a copy if others use the data.
    fn update(
        &self,
        op: &'static str,
        y: &mut TorchTensor,
        f: impl FnOnce(&mut Tensor) -> Result<Tensor, TchError>,
    ) -> Result<()> {
        self.replace(op, y, |y, alone| {
            let mut target = if alone { y.shallow_clone() } else { y.f_detach_copy()? };
            // ATen returns another handle of `target`.
            drop(f(&mut target)?);
            Ok(target)
        })
    }

    /// Replaces y's data by the result of `f`. The flag tells `f` whether it may write over the data. If not, its
    /// result must be a new tensor.
    fn replace(
        &self,
        op: &'static str,
        y: &mut TorchTensor,
        f: impl FnOnce(&Tensor, bool) -> Result<Tensor, TchError>,
    ) -> Result<()> {
        let alone = y.is_alone() && !y.t().requires_grad();
        let replaced = self.checked(op, &[y], y.t().f_detach().and_then(|t| f(&t, alone)))?;
        if !alone {
            *y = TorchTensor::owning(replaced);
        }
        Ok(())
    }

    /// Computes z + a·x in `out`, which may be z or x, or in a new tensor if `out` is `None`.
    fn sum_with(&self, out: Option<&Tensor>, z: &Tensor, a: f64, x: &Tensor) -> Result<Tensor, TchError> {
        match (a, out) {
            (1.0, Some(out)) => z.f_add_out(out, x),
            (1.0, None) => z.f_add(x),
            (-1.0, Some(out)) => z.f_sub_out(out, x),
            (-1.0, None) => z.f_sub(x),
            // `addcmul` needs its number on the device, and sending it to a card would wait for the card.
            (_, Some(out)) if self.device != Device::Cpu => z.f_add_out(out, &x.f_mul(&self.number(a)?)?),
            (_, None) if self.device != Device::Cpu => x.f_mul(&self.number(a)?)?.f_add_(z),
            (_, Some(out)) => z.f_addcmul_out(out, x, &self.number(a)?),
            (_, None) => z.f_addcmul(x, &self.number(a)?),
        }
    }

    /// Σ x·y in double precision, on the device, shape `[]`.
    fn dot_on_device(x: &Tensor, y: &Tensor) -> Result<Tensor, TchError> {
        let norm = x.data_ptr() == y.data_ptr() && x.stride() == y.stride();
        // No other tensor uses the copy of x in double precision, so the product is written over it.
        let product = match x.kind() {
            Kind::Double => x.f_mul(y)?,
            _ if norm => x.f_to_kind(Kind::Double)?.f_square_()?,
            _ => x.f_to_kind(Kind::Double)?.f_mul_(y)?,
        };
        product.f_sum(Kind::Double)
    }

    /// Σ x·y in double precision, on the host.
    ///
    /// Copies in double precision are made of a block at a time, so that they stay in the caches. Copies of whole
    /// tensors would be memory that the system clears anew in each sum.
    fn dot_on_cpu(x: &Tensor, y: &Tensor) -> Result<f64, TchError> {
        let [x, y] = flattened(x, y)?;
        let mut sum = 0.0;
        for start in (0..x.numel()).step_by(BLOCK) {
            let block = |t: &Tensor| t.f_narrow(0, start as i64, BLOCK.min(t.numel() - start) as i64);
            sum += Self::dot_on_device(&block(&x)?, &block(&y)?)?.f_double_value(&[])?;
        }
        Ok(sum)
    }

    /// All elements of a tensor on the host.
    fn download<E: tch::kind::Element + Default + Copy>(
        &self,
        x: &Tensor,
        len: usize,
    ) -> Result<Vec<E>, TchError> {
        let flat = x.f_detach()?.f_to_device(tch::Device::Cpu)?.f_to_kind(E::KIND)?;
        let flat = flat.f_reshape([-1_i64].as_slice())?.f_contiguous()?;
        let mut host = vec![E::default(); len];
        flat.f_copy_data(&mut host, len)?;
        Ok(host)
    }

    /// All elements of several tensors on the host, in one transfer.
    fn download_all<E: tch::kind::Element + Default + Copy>(&self, xs: &[TorchTensor]) -> Result<Vec<E>> {
        if xs.is_empty() {
            return Ok(Vec::new());
        }
        let all = || {
            let flat: Vec<Tensor> = xs
                .iter()
                .map(|x| x.t().f_detach()?.f_reshape([-1_i64].as_slice()))
                .collect::<Result<_, _>>()?;
            self.download(&Tensor::f_cat(&flat, 0)?, xs.iter().map(TorchTensor::len).sum())
        };
        self.checked("download", &[], all())
    }
}

impl Autodiff for Torch {
    type Record = Record;

    fn gradient_session(&self, record: bool) -> Self {
        let session = if record { Session::recording() } else { Session::Plain };
        self.within(session)
    }
    fn take_record(&self) -> Result<Record> {
        self.taken()
    }
    fn replay_session(&self, record: &Record) -> Result<Self> {
        Ok(self.within(Session::replaying(record, true)))
    }
    fn linear_session(&self, record: &Record) -> Result<Self> {
        Ok(self.within(Session::replaying(record, false)))
    }
    fn finish_replay(&self) -> Result<()> {
        self.finished()
    }
    fn variable(&self, x: &TorchTensor) -> Result<TorchTensor> {
        self.leaf(x, || {
            let leaf = x.t().f_detach().and_then(|t| t.f_set_requires_grad(true));
            self.checked("variable", &[x], leaf).map(|t| x.view(t))
        })
    }
    fn backward(&self, loss: &TorchTensor, leaves: Vec<TorchTensor>) -> Result<Vec<TorchTensor>> {
        if loss.len() != 1 {
            return invalid("backward", "a single element", loss.shape());
        }
        let zeros = |leaf: &TorchTensor| {
            let zeros = leaf.t().f_detach().and_then(|t| t.f_zeros_like());
            self.new_tensor("backward", &[leaf], zeros)
        };
        let gradients = self.gradients(loss.t(), &leaves)?.into_iter().zip(&leaves);
        gradients
            .map(|(gradient, leaf)| gradient.map_or_else(|| zeros(leaf), |g| Ok(TorchTensor::sharing(g))))
            .collect()
    }

    fn upload(&self, data: &[f32], shape: &[usize]) -> Result<TorchTensor> {
        self.laid_out(self.host("upload", data, shape)?)
    }
    fn item(&self, x: &TorchTensor) -> Result<f64> {
        if x.len() != 1 {
            return invalid("item", "a single element", x.shape());
        }
        let flat = x.t().f_detach().and_then(|t| t.f_reshape([1_i64].as_slice()));
        self.checked("item", &[x], flat.and_then(|t| t.f_double_value(&[0])))
    }
    fn to_host(&self, x: &TorchTensor) -> Result<Vec<f64>> {
        self.checked("download", &[x], self.download(x.t(), x.len()))
    }
    fn pack(&self, xs: &[TorchTensor]) -> Result<Packed> {
        Ok(match self.precision {
            Precision::F64 => Packed::Double(self.download_all(xs)?),
            Precision::F32 | Precision::Tf32 | Precision::Bf16 => Packed::Single(self.download_all(xs)?),
        })
    }

    fn scale(&self, y: &mut TorchTensor, a: f64) -> Result<()> {
        self.replace("scale", y, |y, alone| match (a, alone) {
            // 0·∞ would be NaN.
            (0.0, true) => y.shallow_clone().f_zero_(),
            (0.0, false) => y.f_zeros_like(),
            (_, true) => y.shallow_clone().f_mul_(&self.number(a)?),
            (_, false) => y.f_mul(&self.number(a)?),
        })
    }
    fn axpy(&self, y: &mut TorchTensor, a: f64, x: &TorchTensor) -> Result<()> {
        same("axpy", y, x)?;
        let x = self.checked("axpy", &[x], x.t().f_detach())?;
        self.replace("axpy", y, |y, alone| self.sum_with(alone.then_some(y), y, a, &x))
    }
    fn aypx(&self, y: &mut TorchTensor, a: f64, x: &TorchTensor) -> Result<()> {
        same("aypx", y, x)?;
        let x = self.checked("aypx", &[x], x.t().f_detach())?;
        self.replace("aypx", y, |y, alone| self.sum_with(alone.then_some(y), &x, a, y))
    }
    fn dot(&self, x: &TorchTensor, y: &TorchTensor) -> Result<f64> {
        Ok(self.dots(x, &[y])?.into_iter().sum())
    }
    fn dots(&self, x: &TorchTensor, ys: &[&TorchTensor]) -> Result<Vec<f64>> {
        let ys: Vec<_> = ys.iter().map(|y| std::slice::from_ref(*y)).collect();
        self.dots_of_points(std::slice::from_ref(x), &ys)
    }
    /// On a card, computes one sum over the whole points and makes one transfer, whatever the number of tensors.
    fn dots_of_points(&self, x: &[TorchTensor], ys: &[&[TorchTensor]]) -> Result<Vec<f64>> {
        for y in ys {
            if y.len() != x.len() {
                return Err(Error::Invalid(format!("dots: points of {} and {} tensors", x.len(), y.len())));
            }
            x.iter().zip(*y).try_for_each(|(x, y)| same("dots", x, y))?;
        }
        if ys.is_empty() || x.is_empty() {
            return Ok(vec![0.0; ys.len()]);
        }
        let sums = || {
            if self.device == Device::Cpu {
                let sum = |y: &[TorchTensor]| {
                    x.iter()
                        .zip(y)
                        .map(|(x, y)| Self::dot_on_cpu(&x.t().f_detach()?, &y.t().f_detach()?))
                        .sum()
                };
                return ys.iter().copied().map(sum).collect();
            }
            let mut parts = Vec::with_capacity(ys.len() * x.len());
            for y in ys {
                for (x, y) in x.iter().zip(*y) {
                    parts.push(Self::dot_on_device(&x.t().f_detach()?, &y.t().f_detach()?)?);
                }
            }
            let table = Tensor::f_stack(&parts, 0)?.f_reshape([ys.len() as i64, -1].as_slice())?;
            self.download(&table.f_sum_dim_intlist([1_i64].as_slice(), false, Kind::Double)?, ys.len())
        };
        self.checked("dots", &[], sums())
    }
    fn map(&self, z: &mut TorchTensor, f: Map) -> Result<()> {
        self.update("map", z, |z| match f {
            Map::Abs => z.f_abs_(),
            Map::Sqrt => z.f_sqrt_(),
            Map::Recip => z.f_reciprocal_(),
            Map::Square => z.f_square_(),
            Map::Power(p) => z.f_pow_tensor_(&self.number(p)?),
            Map::Add(a) => z.f_add_(&self.number(a)?),
            Map::Clamp(low, high) => {
                // `clamp` needs its bounds on the device, and sending them would wait for it. A kernel takes a number
                // from the host as it is, so each bound is added to a zero on the device.
                let place = (z.kind(), z.device());
                let [low, high] = [low, high]
                    .map(|bound| Tensor::f_zeros([0_i64; 0].as_slice(), place)?.f_add(&self.number(bound)?));
                z.f_clamp_tensor_(Some(low?), Some(high?))
            }
            // ATen's sign of NaN is 0, so NaN is put back.
            Map::Sign => {
                let absent = z.f_isnan()?;
                z.f_sign_()?.f_masked_fill_tensor_(&absent, &self.number(f64::NAN)?)
            }
        })
    }
    fn multiply(&self, z: &mut TorchTensor, x: &TorchTensor) -> Result<()> {
        same("multiply", z, x)?;
        self.update("multiply", z, |z| z.f_mul_(x.t()))
    }
    fn maximum(&self, z: &mut TorchTensor, x: &TorchTensor) -> Result<()> {
        same("maximum", z, x)?;
        self.update("maximum", z, |z| z.f_maximum_out(&z.shallow_clone(), x.t()))
    }
    fn addcmul(&self, z: &mut TorchTensor, a: f64, x: &TorchTensor, y: &TorchTensor) -> Result<()> {
        same("addcmul", z, x)?;
        same("addcmul", z, y)?;
        self.update("addcmul", z, |z| z.f_addcmul_(&x.t().f_mul(&self.number(a)?)?, y.t()))
    }
    fn addcdiv_sqrt(
        &self,
        z: &mut TorchTensor,
        a: f64,
        x: &TorchTensor,
        b: f64,
        y: &TorchTensor,
        eps: f64,
    ) -> Result<()> {
        same("addcdiv_sqrt", z, x)?;
        same("addcdiv_sqrt", z, y)?;
        self.update("addcdiv_sqrt", z, |z| {
            // z + x/((√(b·y) + eps)/a)
            let mut root = y.t().f_mul(&self.number(b)?)?.f_sqrt_()?;
            let mut root = root.f_add_(&self.number(eps)?)?;
            let root = root.f_mul_(&self.number(1.0 / a)?)?;
            z.f_addcdiv_(x.t(), &root)
        })
    }
}
