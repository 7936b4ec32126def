//! Batch, layer and group normalisation.
//!
//! Each normalisation brings groups of elements to mean 0 and variance 1. The derivative of x̂ = (x − μ)/σ along
//! ẋ is σ⁻¹(c − x̂·mean(x̂⊙c)) with c = ẋ − mean(ẋ). ATen's fused kernel gives x̂; σ comes from a
//! pass over x that its graph can differentiate.

use gnr_nn::{Arithmetic, BatchStats, Dual, Duals, Fused, Normalisation, Result, Unary, composed};
use tch::{TchError, Tensor};

use crate::{
    record::{Layer, Moments, Session},
    tensor::{Torch, TorchTensor, ints, invalid, mismatch},
};

/// Reshapes a vector `[C]` to `[1, C, 1, 1]`.
pub(crate) fn channels(v: &TorchTensor) -> Result<Tensor, TchError> {
    v.t().f_reshape([1_i64, -1, 1, 1].as_slice())
}

/// Checks `[C]` vectors against the image that they scale, and that a residual has the image's shape.
fn check_channels(
    op: &'static str,
    x: &TorchTensor,
    vectors: &[&TorchTensor],
    residual: Option<&TorchTensor>,
) -> Result<()> {
    let &[_, c, _, _] = x.shape() else { return invalid(op, "[N, C, H, W]", x.shape()) };
    if let Some(vector) = vectors.iter().find(|vector| vector.shape() != [c]) {
        return mismatch(op, x, vector);
    }
    match residual.filter(|residual| residual.shape() != x.shape()) {
        Some(residual) => mismatch(op, x, residual),
        None => Ok(()),
    }
}

/// x̂ and its tangent.
struct Standard {
    value: Tensor,
    tangent: Option<Tensor>,
}

/// Computes the tangent of x̂, the normalisation of x over `axes`. `value` is x̂ itself, which the fused kernel gave.
fn standard(
    value: Tensor,
    x: &Tensor,
    x_t: Option<&Tensor>,
    axes: &[i64],
    eps: &Tensor,
) -> Result<Standard, TchError> {
    let mean = |t: &Tensor| t.f_mean_dim(axes, true, None::<tch::Kind>);
    let along = |x_t: &Tensor| {
        let istd = x.f_var_dim(axes, false, true)?.f_add(eps)?.f_rsqrt()?;
        let centred = x_t.f_sub(&mean(x_t)?)?;
        let slope = mean(&value.f_mul(&centred)?)?;
        centred.f_sub(&value.f_mul(&slope)?)?.f_mul(&istd)
    };
    let tangent = x_t.map(along).transpose()?;
    Ok(Standard { value, tangent })
}

/// y = γ⊙x̂ + β and ẏ = γ⊙x̂̇ + γ̇⊙x̂ + β̇, where γ and β broadcast.
fn scaled(
    x: &Standard,
    scale: &Dual<Tensor>,
    shift: &Dual<Tensor>,
) -> Result<(Tensor, Option<Tensor>), TchError> {
    let y = shift.primal.f_addcmul(&x.value, &scale.primal)?;
    let mut tangent = x.tangent.as_ref().map(|x_t| x_t.f_mul(&scale.primal)).transpose()?;
    if let Some(scale_t) = &scale.tangent {
        tangent = Some(match tangent {
            Some(tangent) => tangent.f_addcmul(&x.value, scale_t)?,
            None => x.value.f_mul(scale_t)?,
        });
    }
    if let Some(shift_t) = &shift.tangent {
        tangent = Some(match tangent {
            Some(tangent) => tangent.f_add(shift_t)?,
            None => shift_t.f_expand_as(&x.value)?,
        });
    }
    Ok((y, tangent))
}

/// Both parts of a dual vector, shaped by `f`.
fn shaped(
    v: &Dual<TorchTensor>,
    f: impl Fn(&TorchTensor) -> Result<Tensor, TchError>,
) -> Result<Dual<Tensor>, TchError> {
    Ok(Dual { primal: f(&v.primal)?, tangent: v.tangent.as_ref().map(f).transpose()? })
}

/// Whether no operand moves.
fn still(operands: &[&Dual<TorchTensor>]) -> bool {
    operands.iter().all(|operand| operand.tangent.is_none())
}

const NONE: Option<&Tensor> = None;

/// The moments of the input of a recorded BatchNorm.
pub(crate) fn recorded_moments(layer: &Layer) -> Result<&Moments> {
    layer
        .moments
        .as_ref()
        .ok_or_else(|| gnr_nn::Error::Invalid("a recorded batch_norm without moments".into()))
}

/// Mean and unbiased variance that a kernel writes while it normalises `[N, C, H, W]`.
struct Written {
    mean: Tensor,
    unbiased: Tensor,
    /// The factor (n − 1)/n from the unbiased to the biased variance of n elements a channel.
    bias: f64,
}

impl Torch {
    /// Allocates the moments of x. The kernel takes them for running statistics with momentum 1, so it overwrites them.
    fn written(&self, x: &TorchTensor) -> Result<Written> {
        let count = x.len() as f64 / x.shape()[1].max(1) as f64;
        let empty =
            || Tensor::f_zeros([x.shape()[1] as i64].as_slice(), (self.precision.kind(), x.t().device()));
        let both = || Ok::<_, TchError>((empty()?, empty()?));
        let (mean, unbiased) = self.checked("batch_norm", &[x], both())?;
        Ok(Written { mean, unbiased, bias: (count - 1.0) / count })
    }

    fn statistics(&self, x: &TorchTensor, written: Written) -> Result<BatchStats<TorchTensor>> {
        let Written { mean, unbiased, bias } = written;
        let var = || match bias {
            // One element has no unbiased variance.
            0.0 => unbiased.f_zeros_like(),
            _ => unbiased.f_mul(&self.number(bias)?),
        };
        Ok(BatchStats { mean: TorchTensor::owning(mean), var: self.new_tensor("batch_norm", &[x], var())? })
    }

    /// Adds the residual to a normalisation's output `y` and applies the activation. Sum and ReLU are written over `y`:
    /// no other tensor of ours uses it, and the normalisation's derivative reads its input, not its output.
    fn finish_over(&self, mut y: Tensor, fused: Fused<'_, TorchTensor>) -> Result<TorchTensor> {
        if let Some(residual) = fused.residual {
            y = self.checked("add", &[residual], y.f_add_(residual.t()))?;
        }
        match fused.activation {
            Some(Unary::Relu) => self.checked("relu", &[], y.f_relu_()).map(TorchTensor::sharing),
            Some(activation) => self.inside().unary(activation, &TorchTensor::sharing(y)),
            None => Ok(TorchTensor::sharing(y)),
        }
    }

    pub(crate) fn finish_dual(
        &self,
        primal: TorchTensor,
        tangent: Option<TorchTensor>,
        fused: Fused<'_, Dual<TorchTensor>>,
    ) -> Result<Dual<TorchTensor>> {
        composed::finish(&Duals(self.inside()), Dual { primal, tangent }, fused)
    }
}

impl Normalisation for Torch {
    fn batch_norm(
        &self,
        x: &TorchTensor,
        scale: &TorchTensor,
        shift: &TorchTensor,
        eps: f64,
        fused: Fused<'_, TorchTensor>,
    ) -> Result<(TorchTensor, BatchStats<TorchTensor>)> {
        check_channels("batch_norm", x, &[scale, shift], fused.residual)?;
        if let Session::Replaying(replay) = &self.session {
            let layer = replay.next("batch_norm")?;
            return Ok((layer.value.clone(), recorded_moments(layer)?.stats.clone()));
        }
        let written = self.written(x)?;
        let (mean, unbiased) = (Some(&written.mean), Some(&written.unbiased));
        let normalised =
            x.t().f_native_batch_norm(Some(scale.t()), Some(shift.t()), mean, unbiased, true, 1.0, eps);
        let (y, mean, istd) = self.checked("batch_norm", &[x, scale, shift], normalised)?;
        let stats = self.statistics(x, written)?;
        if let Session::Recording(_) = &self.session {
            let cut = TorchTensor::sharing(y);
            let value = composed::finish(&self.inside(), cut.clone(), fused)?;
            let moments = Moments { mean, istd, stats: stats.clone() };
            self.record(Layer::batch_norm(&value, cut, moments));
            return Ok((value, stats));
        }
        Ok((self.finish_over(y, fused)?, stats))
    }

    fn batch_norm_dual(
        &self,
        x: &Dual<TorchTensor>,
        scale: &Dual<TorchTensor>,
        shift: &Dual<TorchTensor>,
        eps: f64,
        fused: Fused<'_, Dual<TorchTensor>>,
    ) -> Result<(Dual<TorchTensor>, BatchStats<Dual<TorchTensor>>)> {
        let op = "batch_norm";
        check_channels(op, &x.primal, &[&scale.primal, &shift.primal], fused.residual.map(|r| &r.primal))?;
        if let Session::Replaying(replay) = &self.session {
            return self.batch_norm_again(replay, x, [scale, shift], fused);
        }
        if still(&[x, scale, shift]) {
            let (y, stats) =
                self.batch_norm(&x.primal, &scale.primal, &shift.primal, eps, Fused::default())?;
            let BatchStats { mean, var } = stats;
            let stats = BatchStats { mean: Dual::constant(mean), var: Dual::constant(var) };
            return Ok((self.finish_dual(y, None, fused)?, stats));
        }
        let (x_value, x_t) = (x.primal.t(), x.tangent.as_ref().map(TorchTensor::t));
        let written = self.written(&x.primal)?;
        let (mean, unbiased) = (Some(&written.mean), Some(&written.unbiased));
        let normalise = || {
            let (value, ..) = x_value.f_native_batch_norm(NONE, NONE, mean, unbiased, true, 1.0, eps)?;
            let x = standard(value, x_value, x_t, &[0, 2, 3], &self.number(eps)?)?;
            let (scale, shift) = (shaped(scale, channels)?, shaped(shift, channels)?);
            scaled(&x, &scale, &shift)
        };
        let (y, y_t) = self.checked(op, &[&x.primal], normalise())?;
        let y_t = y_t.map(TorchTensor::sharing);
        let y = self.finish_dual(TorchTensor::sharing(y), y_t, fused)?;
        let BatchStats { mean, var } = self.statistics(&x.primal, written)?;
        Ok((y, BatchStats { mean: Dual::constant(mean), var: Dual::constant(var) }))
    }

    fn batch_norm_eval(
        &self,
        x: &TorchTensor,
        scale: &TorchTensor,
        shift: &TorchTensor,
        stats: &BatchStats<TorchTensor>,
        eps: f64,
        fused: Fused<'_, TorchTensor>,
    ) -> Result<TorchTensor> {
        let op = "batch_norm_eval";
        check_channels(op, x, &[scale, shift, &stats.mean, &stats.var], fused.residual)?;
        let y = x.t().f_batch_norm(
            Some(scale.t()),
            Some(shift.t()),
            Some(stats.mean.t()),
            Some(stats.var.t()),
            false,
            0.0,
            eps,
            true,
        );
        self.finish_over(self.checked(op, &[x, scale, shift], y)?, fused)
    }

    /// If no operand has a tangent, the output has the bits of the plain operation.
    fn batch_norm_eval_dual(
        &self,
        x: &Dual<TorchTensor>,
        scale: &Dual<TorchTensor>,
        shift: &Dual<TorchTensor>,
        stats: &BatchStats<Dual<TorchTensor>>,
        eps: f64,
        fused: Fused<'_, Dual<TorchTensor>>,
    ) -> Result<Dual<TorchTensor>> {
        if still(&[x, scale, shift, &stats.mean, &stats.var]) {
            let fixed = BatchStats { mean: stats.mean.primal.clone(), var: stats.var.primal.clone() };
            let plain = Fused::default();
            let y = self.batch_norm_eval(&x.primal, &scale.primal, &shift.primal, &fixed, eps, plain)?;
            return self.finish_dual(y, None, fused);
        }
        composed::batch_norm_eval(&Duals(self.inside()), x, scale, shift, stats, eps, fused)
    }

    fn layer_norm(
        &self,
        x: &TorchTensor,
        scale: &TorchTensor,
        shift: &TorchTensor,
        eps: f64,
    ) -> Result<TorchTensor> {
        let (_, width) = composed::check_rows("layer_norm", x.shape(), &[scale.shape(), shift.shape()])?;
        let y = x.t().f_layer_norm(ints(&[width]), Some(scale.t()), Some(shift.t()), eps, true);
        self.new_tensor("layer_norm", &[x, scale, shift], y)
    }

    fn layer_norm_dual(
        &self,
        x: &Dual<TorchTensor>,
        scale: &Dual<TorchTensor>,
        shift: &Dual<TorchTensor>,
        eps: f64,
    ) -> Result<Dual<TorchTensor>> {
        let op = "layer_norm";
        let vectors = [scale.primal.shape(), shift.primal.shape()];
        let (_, width) = composed::check_rows(op, x.primal.shape(), &vectors)?;
        if still(&[x, scale, shift]) {
            return Ok(Dual::constant(self.layer_norm(&x.primal, &scale.primal, &shift.primal, eps)?));
        }
        let normalise = || {
            let value = x.primal.t().f_layer_norm(ints(&[width]), NONE, NONE, eps, true)?;
            let x = standard(
                value,
                x.primal.t(),
                x.tangent.as_ref().map(TorchTensor::t),
                &[-1],
                &self.number(eps)?,
            )?;
            let same = |v: &TorchTensor| Ok(v.t().shallow_clone());
            scaled(&x, &shaped(scale, same)?, &shaped(shift, same)?)
        };
        let (y, y_t) = self.checked(op, &[&x.primal, &scale.primal], normalise())?;
        Ok(Dual { primal: TorchTensor::sharing(y), tangent: y_t.map(TorchTensor::sharing) })
    }

    fn group_norm(
        &self,
        x: &TorchTensor,
        groups: usize,
        scale: &TorchTensor,
        shift: &TorchTensor,
        eps: f64,
        fused: Fused<'_, TorchTensor>,
    ) -> Result<TorchTensor> {
        composed::check_groups(x.shape(), groups, &[scale.shape(), shift.shape()])?;
        check_channels("group_norm", x, &[scale, shift], fused.residual)?;
        let y = x.t().f_group_norm(groups as i64, Some(scale.t()), Some(shift.t()), eps, true);
        self.finish_over(self.checked("group_norm", &[x, scale, shift], y)?, fused)
    }

    fn group_norm_dual(
        &self,
        x: &Dual<TorchTensor>,
        groups: usize,
        scale: &Dual<TorchTensor>,
        shift: &Dual<TorchTensor>,
        eps: f64,
        fused: Fused<'_, Dual<TorchTensor>>,
    ) -> Result<Dual<TorchTensor>> {
        let op = "group_norm";
        let vectors = [scale.primal.shape(), shift.primal.shape()];
        let [n, ..] = composed::check_groups(x.primal.shape(), groups, &vectors)?;
        check_channels(op, &x.primal, &[&scale.primal, &shift.primal], fused.residual.map(|r| &r.primal))?;
        if still(&[x, scale, shift]) {
            let y =
                self.group_norm(&x.primal, groups, &scale.primal, &shift.primal, eps, Fused::default())?;
            return self.finish_dual(y, None, fused);
        }
        let (image, rows) = (ints(x.primal.shape()), [(n * groups) as i64, -1]);
        let flat = |t: &Tensor| t.f_reshape(rows.as_slice());
        let normalise = || {
            let value = x.primal.t().f_group_norm(groups as i64, NONE, NONE, eps, true)?;
            let x_t = x.tangent.as_ref().map(|x_t| flat(x_t.t())).transpose()?;
            let of_rows =
                standard(flat(&value)?, &flat(x.primal.t())?, x_t.as_ref(), &[-1], &self.number(eps)?)?;
            let tangent = of_rows.tangent.map(|t| t.f_reshape(image.as_slice())).transpose()?;
            let (scale, shift) = (shaped(scale, channels)?, shaped(shift, channels)?);
            scaled(&Standard { value, tangent }, &scale, &shift)
        };
        let (y, y_t) = self.checked(op, &[&x.primal, &scale.primal], normalise())?;
        self.finish_dual(TorchTensor::sharing(y), y_t.map(TorchTensor::sharing), fused)
    }
}
