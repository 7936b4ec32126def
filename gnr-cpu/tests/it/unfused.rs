//! [`Unfused`]: the CPU backend without fused operations and replays, so that only its primitives and the composed
//! operations remain. The oracle for the fused ones.

use gnr_cpu::{Cpu, Elem, Tensor};
use gnr_nn::{
    Arithmetic, Attention, Autodiff, Convolution, Linear, Loss, Normalisation, Pooling, Result, Unary,
};

#[derive(Clone, Debug)]
pub(crate) struct Unfused<E: Elem>(Cpu<E>);

impl<E: Elem> Unfused<E> {
    pub(crate) fn new() -> Self {
        Self(Cpu::new())
    }
}

impl<E: Elem> Arithmetic for Unfused<E>
where
    Cpu<E>: Autodiff<Tensor = Tensor<E>>,
{
    type Tensor = Tensor<E>;

    fn constant(&self, data: &[f64], shape: &[usize]) -> Result<Tensor<E>> {
        self.0.constant(data, shape)
    }
    fn shape<'t>(&self, x: &'t Tensor<E>) -> &'t [usize] {
        self.0.shape(x)
    }
    fn detach(&self, x: &Tensor<E>) -> Result<Tensor<E>> {
        self.0.detach(x)
    }
    fn add(&self, a: &Tensor<E>, b: &Tensor<E>) -> Result<Tensor<E>> {
        self.0.add(a, b)
    }
    fn mul(&self, a: &Tensor<E>, b: &Tensor<E>) -> Result<Tensor<E>> {
        self.0.mul(a, b)
    }
    fn affine(&self, x: &Tensor<E>, a: f64, b: f64) -> Result<Tensor<E>> {
        self.0.affine(x, a, b)
    }
    fn unary(&self, op: Unary, x: &Tensor<E>) -> Result<Tensor<E>> {
        self.0.unary(op, x)
    }
    fn matmul(&self, a: &Tensor<E>, b: &Tensor<E>) -> Result<Tensor<E>> {
        self.0.matmul(a, b)
    }
    fn sum(&self, x: &Tensor<E>, axes: &[usize]) -> Result<Tensor<E>> {
        self.0.sum(x, axes)
    }
    fn broadcast(&self, x: &Tensor<E>, shape: &[usize]) -> Result<Tensor<E>> {
        self.0.broadcast(x, shape)
    }
    fn reshape(&self, x: &Tensor<E>, shape: &[usize]) -> Result<Tensor<E>> {
        self.0.reshape(x, shape)
    }
    fn permute(&self, x: &Tensor<E>, axes: &[usize]) -> Result<Tensor<E>> {
        self.0.permute(x, axes)
    }
    fn gather(&self, x: &Tensor<E>, axis: usize, indices: &[Option<usize>]) -> Result<Tensor<E>> {
        self.0.gather(x, axis, indices)
    }
    fn max_last(&self, x: &Tensor<E>) -> Result<Tensor<E>> {
        self.0.max_last(x)
    }
}

impl<E: Elem> Linear for Unfused<E> where Cpu<E>: Autodiff<Tensor = Tensor<E>> {}
impl<E: Elem> Convolution for Unfused<E> where Cpu<E>: Autodiff<Tensor = Tensor<E>> {}
impl<E: Elem> Pooling for Unfused<E> where Cpu<E>: Autodiff<Tensor = Tensor<E>> {}
impl<E: Elem> Normalisation for Unfused<E> where Cpu<E>: Autodiff<Tensor = Tensor<E>> {}
impl<E: Elem> Attention for Unfused<E> where Cpu<E>: Autodiff<Tensor = Tensor<E>> {}
impl<E: Elem> Loss for Unfused<E> where Cpu<E>: Autodiff<Tensor = Tensor<E>> {}

impl<E: Elem> Autodiff for Unfused<E>
where
    Cpu<E>: Autodiff<Tensor = Tensor<E>>,
{
    type Record = ();

    fn gradient_session(&self, _: bool) -> Self {
        Self(self.0.gradient_session(false))
    }
    fn take_record(&self) -> Result<()> {
        Ok(())
    }
    fn replay_session(&self, (): &()) -> Result<Self> {
        Ok(self.gradient_session(false))
    }
    fn variable(&self, x: &Tensor<E>) -> Result<Tensor<E>> {
        self.0.variable(x)
    }
    fn backward(&self, loss: &Tensor<E>, leaves: Vec<Tensor<E>>) -> Result<Vec<Tensor<E>>> {
        self.0.backward(loss, leaves)
    }
    fn upload(&self, data: &[f32], shape: &[usize]) -> Result<Tensor<E>> {
        self.0.upload(data, shape)
    }
    fn item(&self, x: &Tensor<E>) -> Result<f64> {
        self.0.item(x)
    }
    fn to_host(&self, x: &Tensor<E>) -> Result<Vec<f64>> {
        self.0.to_host(x)
    }
    fn scale(&self, y: &mut Tensor<E>, a: f64) -> Result<()> {
        self.0.scale(y, a)
    }
    fn axpy(&self, y: &mut Tensor<E>, a: f64, x: &Tensor<E>) -> Result<()> {
        self.0.axpy(y, a, x)
    }
    fn dot(&self, x: &Tensor<E>, y: &Tensor<E>) -> Result<f64> {
        self.0.dot(x, y)
    }
    fn map(&self, z: &mut Tensor<E>, f: gnr_core::Map) -> Result<()> {
        self.0.map(z, f)
    }
    fn multiply(&self, z: &mut Tensor<E>, x: &Tensor<E>) -> Result<()> {
        self.0.multiply(z, x)
    }
    fn maximum(&self, z: &mut Tensor<E>, x: &Tensor<E>) -> Result<()> {
        self.0.maximum(z, x)
    }
    fn addcmul(&self, z: &mut Tensor<E>, a: f64, x: &Tensor<E>, y: &Tensor<E>) -> Result<()> {
        self.0.addcmul(z, a, x, y)
    }
    fn addcdiv_sqrt(
        &self,
        z: &mut Tensor<E>,
        a: f64,
        x: &Tensor<E>,
        b: f64,
        y: &Tensor<E>,
        eps: f64,
    ) -> Result<()> {
        self.0.addcdiv_sqrt(z, a, x, b, y, eps)
    }
}
