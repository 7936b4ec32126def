//! BatchNorm in a Hessian-vector product at a recorded point.
//!
//! With x̂ = (x − μ)/σ over the n elements of a channel, R = mean(ẋ⊙x̂), a the adjoint of y, and sums over the channel:
//!
//! ```text
//! ẏ = γσ⁻¹(ẋ − mean ẋ − x̂R) + γ̇x̂ + β̇
//! ∂⟨a, ẏ⟩/∂γ = G = σ⁻¹(Σaẋ − mean ẋ·Σa − R·Σax̂)
//! ∂⟨a, ẏ⟩/∂x = k₁(a − mean a − x̂·mean(ax̂)) + k₂(ẋ − mean ẋ − x̂R) − γGσ⁻¹x̂/n
//!     with k₁ = σ⁻¹(γ̇ − σ⁻¹Rγ), k₂ = −σ⁻²γ·mean(ax̂)
//! ```
//!
//! All terms are products of a, ẋ and x̂ with one number a channel, so no graph is built for them. They enter the
//! reverse pass as the gradient of ⟨∂⟨a, ẏ⟩/∂x, x⟩ + ⟨G, γ⟩, whose left factors are constants.
//!
//! A tangent may depend on θ too: after tanh, for example, it is (1 − tanh²)·ẋ. For those the pass has the gradients
//! of ⟨a, ẏ⟩ in the tangents as well:
//!
//! ```text
//! ∂⟨a, ẏ⟩/∂ẋ = γσ⁻¹(a − mean a − x̂·mean(ax̂)),  ∂⟨a, ẏ⟩/∂γ̇ = Σax̂,  ∂⟨a, ẏ⟩/∂β̇ = Σa
//! ```

use gnr_nn::{BatchStats, Dual, Fused, Result, Unary, composed};
use tch::{Kind, TchError, Tensor};

use crate::{
    norm::{channels, recorded_moments},
    record::{Layer, Replay, inner},
    tensor::{Torch, TorchTensor},
};

/// The operands of the formulas. Vectors of one number a channel have shape `[1, C, 1, 1]`.
struct Point {
    xhat: Tensor,
    x_t: Option<Tensor>,
    istd: Tensor,
    scale: Tensor,
    scale_t: Option<Tensor>,
    /// The means mean ẋ and R; `None` if x has no tangent.
    means: Option<[Tensor; 2]>,
}

/// The mean over each channel.
fn mean(t: &Tensor) -> Result<Tensor, TchError> {
    t.f_mean_dim([0_i64, 2, 3].as_slice(), true, None::<Kind>)
}

/// The sum of the terms that are not `None`; `None` if there are none.
fn sum(terms: impl IntoIterator<Item = Option<Tensor>>) -> Result<Option<Tensor>, TchError> {
    let mut all: Option<Tensor> = None;
    for term in terms.into_iter().flatten() {
        all = Some(match all {
            Some(all) => all.f_add(&term)?,
            None => term,
        });
    }
    Ok(all)
}

impl Point {
    fn new(
        layer: &Layer,
        x: &Dual<TorchTensor>,
        [scale, _]: [&Dual<TorchTensor>; 2],
        moments: [&Tensor; 2],
    ) -> Result<Self, TchError> {
        debug_assert_eq!(layer.before().shape(), x.primal.shape());
        let [mu, istd] = moments.map(|t| t.f_reshape([1_i64, -1, 1, 1].as_slice()));
        let (mu, istd) = (mu?, istd?);
        let xhat = x.primal.t().f_detach()?.f_sub(&mu)?.f_mul_(&istd)?;
        let x_t = x.tangent.as_ref().map(|t| t.t().f_detach()).transpose()?;
        let means = x_t.as_ref().map(|x_t| Ok::<_, TchError>([mean(x_t)?, mean(&x_t.f_mul(&xhat)?)?]));
        let scale_t = scale.tangent.as_ref().map(|t| channels(t)?.f_detach()).transpose()?;
        Ok(Self {
            means: means.transpose()?,
            scale: channels(&scale.primal)?.f_detach()?,
            xhat,
            x_t,
            istd,
            scale_t,
        })
    }

    /// The tangent ẏ.
    fn tangent(&self, shift_t: Option<&Tensor>) -> Result<Tensor, TchError> {
        let Self { xhat, x_t, istd, scale, scale_t, means } = self;
        let slope = scale.f_mul(istd)?;
        let mut of_xhat = scale_t.as_ref().map(Tensor::shallow_clone);
        let mut constant = shift_t.map(Tensor::shallow_clone);
        if let Some([mean_t, r]) = means {
            of_xhat = sum([of_xhat, Some(slope.f_mul(r)?.f_neg()?)])?;
            constant = sum([constant, Some(slope.f_mul(mean_t)?.f_neg()?)])?;
        }
        let mut y_t = match constant {
            Some(constant) => constant.f_expand_as(xhat)?,
            None => xhat.f_zeros_like()?,
        };
        if let Some(of_xhat) = of_xhat {
            y_t = y_t.f_addcmul(xhat, &of_xhat)?;
        }
        if let Some(x_t) = x_t {
            y_t = y_t.f_addcmul(x_t, &slope)?;
        }
        Ok(y_t)
    }

    /// The gradients of ⟨a, ẏ⟩ in ẋ, γ̇ and β̇.
    fn gradients_of_tangents(&self, a: &Tensor) -> Result<[Tensor; 3], TchError> {
        let Self { xhat, istd, scale, .. } = self;
        let over = [0_i64, 2, 3];
        let sum = |t: &Tensor| t.f_sum_dim_intlist(over.as_slice(), true, None::<Kind>);
        let ax = a.f_mul(xhat)?;
        let of_x = a.f_sub(&mean(a)?)?.f_sub_(&xhat.f_mul(&mean(&ax)?)?)?.f_mul_(&scale.f_mul(istd)?)?;
        Ok([of_x, sum(&ax)?, sum(a)?])
    }

    /// The gradients of ⟨a, ẏ⟩ in x and in γ.
    fn gradients(&self, a: &Tensor) -> Result<[Option<Tensor>; 2], TchError> {
        let Self { xhat, x_t, istd, scale, scale_t, means } = self;
        let n = (xhat.numel() as f64 / xhat.size()[1].max(1) as f64).max(1.0);
        let [mean_a, mean_ax] = [mean(a)?, mean(&a.f_mul(xhat)?)?];
        let (Some(x_t), Some([mean_t, r])) = (x_t, means) else {
            // ẏ = γ̇x̂ + β̇.
            let Some(scale_t) = scale_t else { return Ok([None, None]) };
            let k = scale_t.f_mul(istd)?;
            let centred = a.f_sub(&mean_a)?.f_sub_(&xhat.f_mul(&mean_ax)?)?;
            return Ok([Some(centred.f_mul(&k)?), None]);
        };
        // G/n, with means in place of sums.
        let moved = mean(&a.f_mul(x_t)?)?.f_sub(&mean_t.f_mul(&mean_a)?)?.f_sub(&r.f_mul(&mean_ax)?)?;
        let slope = moved.f_mul(istd)?;
        let k1 =
            sum([scale_t.as_ref().map(Tensor::shallow_clone), Some(istd.f_mul(r)?.f_mul(scale)?.f_neg()?)])?;
        let Some(k1) = k1 else { return Ok([None, None]) };
        let k1 = k1.f_mul(istd)?;
        let k2 = istd.f_square()?.f_mul(scale)?.f_mul(&mean_ax)?.f_neg()?;
        let constant = k1.f_mul(&mean_a)?.f_add(&k2.f_mul(mean_t)?)?.f_neg()?;
        let of_xhat =
            k1.f_mul(&mean_ax)?.f_add(&k2.f_mul(r)?)?.f_add(&scale.f_mul(&slope)?.f_mul(istd)?)?.f_neg()?;
        let of_x = constant.f_expand_as(a)?.f_addcmul(a, &k1)?;
        let of_x = of_x.f_addcmul(x_t, &k2)?.f_addcmul(xhat, &of_xhat)?;
        let factor = Tensor::f_from_slice(&[n])?.f_squeeze()?.f_to_kind(a.kind())?;
        Ok([Some(of_x), Some(slope.f_mul(&factor)?)])
    }
}

impl Torch {
    /// A recorded BatchNorm on dual numbers.
    pub(crate) fn batch_norm_again(
        &self,
        replay: &Replay,
        x: &Dual<TorchTensor>,
        [scale, shift]: [&Dual<TorchTensor>; 2],
        fused: Fused<'_, Dual<TorchTensor>>,
    ) -> Result<(Dual<TorchTensor>, BatchStats<Dual<TorchTensor>>)> {
        let op = "batch_norm";
        let layer = replay.next(op)?;
        let moments = recorded_moments(layer)?;
        let still = [x, scale, shift].iter().all(|operand| operand.tangent.is_none());
        let tangent = || -> Result<Option<Tensor>, TchError> {
            if still {
                return Ok(None);
            }
            let point = Point::new(layer, x, [scale, shift], [&moments.mean, &moments.istd])?;
            let shift_t = shift.tangent.as_ref().map(|t| channels(t)?.f_detach()).transpose()?;
            if let Some(a) = layer.adjoint.as_ref().filter(|_| replay.is_second()) {
                let [of_x, of_scale] = point.gradients(a)?;
                let operands =
                    [(of_x, x.primal.t().shallow_clone()), (of_scale, scale.primal.t().shallow_clone())];
                for (gradient, operand) in operands {
                    if let Some(gradient) = gradient.filter(|_| operand.requires_grad()) {
                        replay.add(tch::with_grad(|| inner(&gradient, &operand))?);
                    }
                }
                let tangents = [x, scale, shift].map(|operand| operand.tangent.as_ref().map(TorchTensor::t));
                if tangents.iter().flatten().any(|tangent| tangent.requires_grad()) {
                    for (gradient, tangent) in point.gradients_of_tangents(a)?.iter().zip(tangents) {
                        if let Some(tangent) = tangent.filter(|tangent| tangent.requires_grad()) {
                            replay.add(tch::with_grad(|| inner(gradient, tangent))?);
                        }
                    }
                }
            }
            point.tangent(shift_t.as_ref()).map(Some)
        };
        let tangent = self.checked(op, &[&x.primal], tch::no_grad(tangent))?.map(TorchTensor::sharing);
        let stats = &moments.stats;
        let stats =
            BatchStats { mean: Dual::constant(stats.mean.clone()), var: Dual::constant(stats.var.clone()) };
        Ok((self.finished_dual(layer, tangent, fused)?, stats))
    }

    /// Applies residual and activation after a recorded layer. Without an activation or with ReLU, the output is the
    /// record's; with others it is computed again.
    fn finished_dual(
        &self,
        layer: &Layer,
        tangent: Option<TorchTensor>,
        fused: Fused<'_, Dual<TorchTensor>>,
    ) -> Result<Dual<TorchTensor>> {
        let relu = match fused.activation {
            None => false,
            Some(Unary::Relu) => true,
            Some(_) => return self.finish_dual(layer.before().clone(), tangent, fused),
        };
        let residual = fused.residual.and_then(|residual| residual.tangent.clone());
        let tangent = composed::add_tangents(self, tangent, residual)?;
        let masked = |t: TorchTensor| match relu {
            true => {
                let y = self.positive(layer.value.t()).and_then(|mask| t.t().f_mul(&mask));
                self.new_tensor("relu", &[&t], y)
            }
            false => Ok(t),
        };
        Ok(Dual { primal: layer.value.clone(), tangent: tangent.map(masked).transpose()? })
    }
}
