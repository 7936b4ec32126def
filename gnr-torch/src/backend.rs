//! [`Torch`] as a `gnr_nn::Backend`: each capability has a file of its own.

use gnr_nn::{Backend, BatchStats, Conv2dSpec, Dual, Fused, PoolSpec, Result, Unary};

use crate::tensor::{Torch, TorchTensor};

type D<'t> = Dual<&'t TorchTensor>;

/// Methods of the trait that hand on to the methods of the same names.
macro_rules! capability {
    ($($name:ident($($argument:ident: $kind:ty),+) -> $result:ty;)+) => {
        $(#[allow(clippy::too_many_arguments, clippy::type_complexity)]
        fn $name(&self, $($argument: $kind),+) -> Result<$result> {
            Torch::$name(self, $($argument),+)
        })+
    };
}

impl Backend for Torch {
    type Tensor = TorchTensor;

    fn constant(&self, data: &[f64], shape: &[usize]) -> Result<TorchTensor> {
        self.host("constant", data, shape)
    }
    fn shape<'t>(&self, x: &'t TorchTensor) -> &'t [usize] {
        x.shape()
    }
    fn detach(&self, x: &TorchTensor) -> TorchTensor {
        // An undefined tensor, should LibTorch fail, which every operation refuses.
        self.detached(x).unwrap_or_else(|_| TorchTensor::sharing(tch::Tensor::new()))
    }
    capability! {
        add(a: &TorchTensor, b: &TorchTensor) -> TorchTensor;
        sub(a: &TorchTensor, b: &TorchTensor) -> TorchTensor;
        mul(a: &TorchTensor, b: &TorchTensor) -> TorchTensor;
        affine(x: &TorchTensor, a: f64, b: f64) -> TorchTensor;
        unary(op: Unary, x: &TorchTensor) -> TorchTensor;
        unary_dual(op: Unary, x: D<'_>) -> Dual<TorchTensor>;
        matmul(a: &TorchTensor, b: &TorchTensor) -> TorchTensor;
        sum(x: &TorchTensor, axes: &[usize]) -> TorchTensor;
        broadcast(x: &TorchTensor, shape: &[usize]) -> TorchTensor;
        reshape(x: &TorchTensor, shape: &[usize]) -> TorchTensor;
        permute(x: &TorchTensor, axes: &[usize]) -> TorchTensor;
        gather(x: &TorchTensor, axis: usize, indices: &[Option<usize>]) -> TorchTensor;
        max_last(x: &TorchTensor) -> TorchTensor;

        linear(x: &TorchTensor, w: &TorchTensor, b: Option<&TorchTensor>) -> TorchTensor;
        linear_dual(x: D<'_>, w: D<'_>, b: Option<D<'_>>) -> Dual<TorchTensor>;

        conv2d(x: &TorchTensor, w: &TorchTensor, spec: Conv2dSpec) -> TorchTensor;
        max_pool2d(x: &TorchTensor, spec: PoolSpec) -> TorchTensor;
        max_pool2d_dual(x: D<'_>, spec: PoolSpec) -> Dual<TorchTensor>;
        avg_pool2d(x: &TorchTensor, spec: PoolSpec) -> TorchTensor;
        global_avg_pool(x: &TorchTensor) -> TorchTensor;

        batch_norm(x: &TorchTensor, scale: &TorchTensor, shift: &TorchTensor, eps: f64, fused: Fused<'_, TorchTensor>)
            -> (TorchTensor, BatchStats<TorchTensor>);
        batch_norm_dual(x: D<'_>, scale: D<'_>, shift: D<'_>, eps: f64, residual: Option<D<'_>>, activation: Option<Unary>)
            -> (Dual<TorchTensor>, BatchStats<Dual<TorchTensor>>);
        batch_norm_eval(x: &TorchTensor, scale: &TorchTensor, shift: &TorchTensor, stats: &BatchStats<TorchTensor>,
            eps: f64, fused: Fused<'_, TorchTensor>) -> TorchTensor;
        batch_norm_eval_dual(x: D<'_>, scale: D<'_>, shift: D<'_>, stats: &BatchStats<TorchTensor>, eps: f64,
            residual: Option<D<'_>>, activation: Option<Unary>) -> Dual<TorchTensor>;
        layer_norm(x: &TorchTensor, scale: &TorchTensor, shift: &TorchTensor, eps: f64) -> TorchTensor;
        layer_norm_dual(x: D<'_>, scale: D<'_>, shift: D<'_>, eps: f64) -> Dual<TorchTensor>;
        group_norm(x: &TorchTensor, groups: usize, scale: &TorchTensor, shift: &TorchTensor, eps: f64,
            fused: Fused<'_, TorchTensor>) -> TorchTensor;
        group_norm_dual(x: D<'_>, groups: usize, scale: D<'_>, shift: D<'_>, eps: f64, residual: Option<D<'_>>,
            activation: Option<Unary>) -> Dual<TorchTensor>;

        attention(qkv: &TorchTensor, heads: usize, bias: Option<&TorchTensor>) -> TorchTensor;
        attention_dual(qkv: D<'_>, heads: usize, bias: Option<D<'_>>) -> Dual<TorchTensor>;

        cross_entropy(logits: &TorchTensor, labels: &[usize], smoothing: f64) -> TorchTensor;
        cross_entropy_dual(logits: D<'_>, labels: &[usize], smoothing: f64) -> Dual<TorchTensor>;
    }
}
