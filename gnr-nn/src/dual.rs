//! Dual numbers over any backend: the same model code gives the directional derivative.

use crate::{
    AcrossRanks, Backend, BatchStats, Conv2dSpec, Fused, PoolSpec, Result, Unary, composed::add_tangents,
};

/// A value and its derivative along one direction.
#[derive(Clone, Copy, Debug)]
pub struct Dual<T> {
    /// The value.
    pub primal: T,
    /// Its derivative; `None` for a constant, which then costs nothing.
    pub tangent: Option<T>,
}

impl<T> Dual<T> {
    /// A value that does not depend on the direction.
    pub fn constant(primal: T) -> Self {
        Self { primal, tangent: None }
    }
    /// The pair by reference.
    pub fn as_ref(&self) -> Dual<&T> {
        Dual { primal: &self.primal, tangent: self.tangent.as_ref() }
    }
}

impl<T: Clone> Dual<&T> {
    /// The pair by value.
    pub fn cloned(self) -> Dual<T> {
        Dual { primal: self.primal.clone(), tangent: self.tangent.cloned() }
    }
}

/// The backend of dual numbers over `B`.
#[derive(Clone, Debug)]
pub struct Duals<B>(pub B);

impl<B: Backend> Duals<B> {
    /// A linear map acts on value and derivative alike.
    fn linear_map(
        &self,
        x: &Dual<B::Tensor>,
        f: impl Fn(&B::Tensor) -> Result<B::Tensor>,
    ) -> Result<Dual<B::Tensor>> {
        Ok(Dual { primal: f(&x.primal)?, tangent: x.tangent.as_ref().map(f).transpose()? })
    }
}

impl<B: Backend> Backend for Duals<B> {
    type Tensor = Dual<B::Tensor>;

    fn constant(&self, data: &[f64], shape: &[usize]) -> Result<Self::Tensor> {
        Ok(Dual::constant(self.0.constant(data, shape)?))
    }
    fn shape<'t>(&self, x: &'t Self::Tensor) -> &'t [usize] {
        self.0.shape(&x.primal)
    }
    fn detach(&self, x: &Self::Tensor) -> Self::Tensor {
        Dual::constant(self.0.detach(&x.primal))
    }
    fn add(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor> {
        let tangent = add_tangents(&self.0, a.tangent.clone(), b.tangent.clone())?;
        Ok(Dual { primal: self.0.add(&a.primal, &b.primal)?, tangent })
    }
    fn mul(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor> {
        self.0.mul_dual(a.as_ref(), b.as_ref())
    }
    fn affine(&self, x: &Self::Tensor, a: f64, b: f64) -> Result<Self::Tensor> {
        let tangent = x.tangent.as_ref().map(|t| self.0.affine(t, a, 0.0)).transpose()?;
        Ok(Dual { primal: self.0.affine(&x.primal, a, b)?, tangent })
    }
    fn unary(&self, op: Unary, x: &Self::Tensor) -> Result<Self::Tensor> {
        self.0.unary_dual(op, x.as_ref())
    }
    fn matmul(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor> {
        self.0.matmul_dual(a.as_ref(), b.as_ref())
    }
    fn sum(&self, x: &Self::Tensor, axes: &[usize]) -> Result<Self::Tensor> {
        self.linear_map(x, |x| self.0.sum(x, axes))
    }
    fn broadcast(&self, x: &Self::Tensor, shape: &[usize]) -> Result<Self::Tensor> {
        self.linear_map(x, |x| self.0.broadcast(x, shape))
    }
    fn reshape(&self, x: &Self::Tensor, shape: &[usize]) -> Result<Self::Tensor> {
        self.linear_map(x, |x| self.0.reshape(x, shape))
    }
    fn permute(&self, x: &Self::Tensor, axes: &[usize]) -> Result<Self::Tensor> {
        self.linear_map(x, |x| self.0.permute(x, axes))
    }
    fn gather(&self, x: &Self::Tensor, axis: usize, indices: &[Option<usize>]) -> Result<Self::Tensor> {
        self.linear_map(x, |x| self.0.gather(x, axis, indices))
    }
    fn max_last(&self, x: &Self::Tensor) -> Result<Self::Tensor> {
        Ok(Dual::constant(self.0.max_last(&x.primal)?))
    }

    fn mean_over_ranks(&self, x: &Self::Tensor, across: &AcrossRanks) -> Result<Self::Tensor> {
        self.linear_map(x, |x| self.0.mean_over_ranks(x, across))
    }

    fn linear(&self, x: &Self::Tensor, w: &Self::Tensor, b: Option<&Self::Tensor>) -> Result<Self::Tensor> {
        self.0.linear_dual(x.as_ref(), w.as_ref(), b.map(Dual::as_ref))
    }
    fn conv2d(&self, x: &Self::Tensor, w: &Self::Tensor, spec: Conv2dSpec) -> Result<Self::Tensor> {
        self.0.conv2d_dual(x.as_ref(), w.as_ref(), spec)
    }
    fn bias_add(&self, x: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor> {
        let primal = self.0.bias_add(&x.primal, &b.primal)?;
        let tangent = match (&x.tangent, &b.tangent) {
            (Some(x), Some(b)) => Some(self.0.bias_add(x, b)?),
            (Some(x), None) => Some(x.clone()),
            (None, Some(b)) => {
                Some(crate::composed::broadcast_channels(&self.0, b, self.0.shape(&x.primal))?)
            }
            (None, None) => None,
        };
        Ok(Dual { primal, tangent })
    }
    fn batch_norm(
        &self,
        x: &Self::Tensor,
        scale: &Self::Tensor,
        shift: &Self::Tensor,
        eps: f64,
        fused: Fused<'_, Self::Tensor>,
    ) -> Result<(Self::Tensor, BatchStats<Self::Tensor>)> {
        let residual = fused.residual.map(Dual::as_ref);
        self.0.batch_norm_dual(x.as_ref(), scale.as_ref(), shift.as_ref(), eps, residual, fused.activation)
    }
    fn batch_norm_eval(
        &self,
        x: &Self::Tensor,
        scale: &Self::Tensor,
        shift: &Self::Tensor,
        stats: &BatchStats<Self::Tensor>,
        eps: f64,
        fused: Fused<'_, Self::Tensor>,
    ) -> Result<Self::Tensor> {
        let stats = BatchStats { mean: stats.mean.primal.clone(), var: stats.var.primal.clone() };
        let residual = fused.residual.map(Dual::as_ref);
        let (x, scale, shift) = (x.as_ref(), scale.as_ref(), shift.as_ref());
        self.0.batch_norm_eval_dual(x, scale, shift, &stats, eps, residual, fused.activation)
    }
    fn max_pool2d(&self, x: &Self::Tensor, spec: PoolSpec) -> Result<Self::Tensor> {
        self.0.max_pool2d_dual(x.as_ref(), spec)
    }
    fn avg_pool2d(&self, x: &Self::Tensor, spec: PoolSpec) -> Result<Self::Tensor> {
        self.linear_map(x, |x| self.0.avg_pool2d(x, spec))
    }
    fn global_avg_pool(&self, x: &Self::Tensor) -> Result<Self::Tensor> {
        self.linear_map(x, |x| self.0.global_avg_pool(x))
    }
    fn scale_channels(&self, x: &Self::Tensor, s: &Self::Tensor) -> Result<Self::Tensor> {
        self.0.scale_channels_dual(x.as_ref(), s.as_ref())
    }
    fn layer_norm(
        &self,
        x: &Self::Tensor,
        scale: &Self::Tensor,
        shift: &Self::Tensor,
        eps: f64,
    ) -> Result<Self::Tensor> {
        self.0.layer_norm_dual(x.as_ref(), scale.as_ref(), shift.as_ref(), eps)
    }
    fn group_norm(
        &self,
        x: &Self::Tensor,
        groups: usize,
        scale: &Self::Tensor,
        shift: &Self::Tensor,
        eps: f64,
        fused: Fused<'_, Self::Tensor>,
    ) -> Result<Self::Tensor> {
        let (residual, activation) = (fused.residual.map(Dual::as_ref), fused.activation);
        let (x, scale, shift) = (x.as_ref(), scale.as_ref(), shift.as_ref());
        self.0.group_norm_dual(x, groups, scale, shift, eps, residual, activation)
    }
    fn attention(
        &self,
        qkv: &Self::Tensor,
        heads: usize,
        bias: Option<&Self::Tensor>,
    ) -> Result<Self::Tensor> {
        self.0.attention_dual(qkv.as_ref(), heads, bias.map(Dual::as_ref))
    }
    fn cross_entropy(&self, logits: &Self::Tensor, labels: &[usize], smoothing: f64) -> Result<Self::Tensor> {
        self.0.cross_entropy_dual(logits.as_ref(), labels, smoothing)
    }
}
