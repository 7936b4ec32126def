//! Multiplying each channel of each sample by its own factor (squeeze-and-excitation), and its replay.

use gnr_nn::{Dual, Error, Linear, Result, composed};

use gnr_kernels::{Accum, buffer::Buf, elem::Elem, scale};

use super::{
    Cpu,
    session::Extra,
    tensor::{Tensor, image},
};

/// Checks the shapes and returns the length of a map.
fn map<E: Elem>(x: &Tensor<E>, s: &Tensor<E>) -> Result<usize> {
    let [n, c, h, w] = image("scale_channels", x)?;
    if s.shape[..] == [n, c] && h * w > 0 {
        Ok(h * w)
    } else {
        Err(Error::ShapeMismatch { op: "scale_channels", lhs: x.shape.to_vec(), rhs: s.shape.to_vec() })
    }
}

/// Computes x̄ += g⊙s and s̄ += Σ over each map of g⊙x.
fn pull_back<E: Elem>(
    hw: usize,
    g: &[E],
    [x, s]: [&Tensor<E>; 2],
    [x_value, s_value]: [Option<&Tensor<E>>; 2],
) {
    if let Some(s_value) = s_value {
        x.target().write(|out, accum| scale::scale(hw, g, s_value.data(), out, accum));
    }
    if let Some(x_value) = x_value {
        s.target().write(|out, accum| scale::inner(hw, g, x_value.data(), out, accum));
    }
}

impl<E: Elem> Cpu<E>
where
    Self: Linear<Tensor = Tensor<E>>,
{
    pub(super) fn scale_channels_op(&self, x: &Tensor<E>, s: &Tensor<E>) -> Result<Tensor<E>> {
        let hw = map(x, s)?;
        let mut y = Buf::new(x.len());
        scale::scale(hw, x.data(), s.data(), &mut y, Accum::Replace);
        let (x_, s_) = (x.clone(), s.clone());
        self.nonlinear_op(
            "scale_channels",
            Tensor::new(y, &x.shape),
            &[x, s],
            || Extra::Nothing,
            move |_, g, _| {
                pull_back(hw, &g, [&x_, &s_], [Some(&x_), Some(&s_)]);
                Some(g.into())
            },
        )
    }

    pub(super) fn scale_channels_dual_op(
        &self,
        x: &Dual<Tensor<E>>,
        s: &Dual<Tensor<E>>,
    ) -> Result<Dual<Tensor<E>>> {
        let hw = map(&x.primal, &s.primal)?;
        let Some(replayed) = self.replayed("scale_channels", &x.primal.shape, &[x.as_ref(), s.as_ref()])?
        else {
            return composed::scale_channels_dual(self, x, s);
        };
        let (x, s) = (x.as_ref(), s.as_ref());
        let moves = x.tangent.is_some() || s.tangent.is_some();
        let tangent = moves.then(|| {
            let mut out = Buf::new(x.primal.len());
            if let Some(t) = x.tangent {
                scale::scale(hw, t.data(), s.primal.data(), &mut out, Accum::Replace);
            }
            if let Some(t) = s.tangent {
                scale::scale(hw, x.primal.data(), t.data(), &mut out, Accum::from(x.tangent.is_some()));
            }
            out
        });
        // x̄ += b s + a ṡ and s̄ += Σ (b x + a ẋ), with b the incoming second-order adjoint and a the recorded one.
        let (x, s) = (x.cloned(), s.cloned());
        replayed.finish(tangent, move |second, first| {
            let primals = [&x.primal, &s.primal];
            if let Some(b) = &second {
                pull_back(hw, b, primals, [Some(&x.primal), Some(&s.primal)]);
            }
            if let Some(a) = first {
                pull_back(hw, a, primals, [x.tangent.as_ref(), s.tangent.as_ref()]);
            }
        })
    }
}
