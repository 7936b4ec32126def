//! Reverse mode and in-place arithmetic: what a backend needs beyond operations to serve an oracle.

use gnr_core::{Map, collective::Packed};

use crate::{Backend, Error, Result};

/// A [`Backend`] with first-order reverse-mode differentiation.
///
/// A *session* is a handle of the backend for one pass, with a fresh tape of its own. There are three kinds:
///
/// - [`gradient_session`](Self::gradient_session) runs a gradient pass, and optionally records what products at the
///   point can reuse.
/// - [`replay_session`](Self::replay_session) runs the model on `Duals<Self>` with constant tangents. The reverse pass
///   of the *loss tangent* yields H·v.
/// - [`linear_session`](Self::linear_session) also runs it on dual numbers; [`vjp`](Self::vjp) then runs the reverse
///   pass of the *outputs* alone.
///
/// A library without records uses `Record = ()` and plain sessions: the dual evaluation is then made from scratch.
pub trait Autodiff: Backend {
    /// The record that a gradient pass makes for products at its point.
    type Record;

    /// A handle with a fresh tape for a gradient pass. With `record`, [`take_record`](Self::take_record) can be called
    /// after [`backward`](Self::backward).
    fn gradient_session(&self, record: bool) -> Self;
    /// Takes the record of a session made by `gradient_session(true)`, after its backward pass.
    ///
    /// # Errors
    /// When the session did not record or its backward pass has not run.
    fn take_record(&self) -> Result<Self::Record>;
    /// A handle with a fresh tape, in which the model runs once more on dual numbers at the recorded point. A record
    /// may serve any number of sessions.
    ///
    /// # Errors
    /// When the record cannot be replayed.
    fn replay_session(&self, record: &Self::Record) -> Result<Self>;
    /// A session like [`replay_session`](Self::replay_session) that ends with [`vjp`](Self::vjp) of the model's outputs
    /// instead of [`backward`](Self::backward) of a tangent. The tangents give J·v, the reverse pass gives Jᵀ·u.
    ///
    /// # Errors
    /// When the record cannot be replayed.
    fn linear_session(&self, record: &Self::Record) -> Result<Self> {
        self.replay_session(record)
    }
    /// Checks that a replayed pass consumed the whole record.
    ///
    /// # Errors
    /// [`Error::RecordMismatch`](crate::Error::RecordMismatch), or another error of the backend.
    fn finish_replay(&self) -> Result<()> {
        Ok(())
    }
    /// A leaf of this session that shares the data of `x`: derivatives with respect to it will be asked for.
    ///
    /// # Errors
    /// A failure of the library, where it copies.
    fn variable(&self, x: &Self::Tensor) -> Result<Self::Tensor>;
    /// The derivatives d loss / d leaf for each leaf, untracked; zeros where the loss does not depend on a leaf.
    /// Consumes the session's tape, and the leaves: those without another holder can be freed during the pass.
    ///
    /// # Errors
    /// When `loss` is not a single element, or a failure of the library.
    fn backward(&self, loss: &Self::Tensor, leaves: Vec<Self::Tensor>) -> Result<Vec<Self::Tensor>>;
    /// The products (dy/d leaf)ᵀ·cotangent for each leaf, untracked; `cotangent` is a constant of y's shape. Consumes
    /// the session's tape.
    ///
    /// # Errors
    /// A shape mismatch, or a failure of the library.
    fn vjp(
        &self,
        y: &Self::Tensor,
        cotangent: &Self::Tensor,
        leaves: Vec<Self::Tensor>,
    ) -> Result<Vec<Self::Tensor>> {
        let axes: Vec<usize> = (0..self.shape(y).len()).collect();
        self.backward(&self.sum(&self.mul(y, cotangent)?, &axes)?, leaves)
    }

    /// A tensor from row-major host data in single precision, such as images.
    ///
    /// # Errors
    /// When the number of elements is not the product of `shape`.
    fn upload(&self, data: &[f32], shape: &[usize]) -> Result<Self::Tensor>;
    /// The value of a tensor of one element.
    ///
    /// # Errors
    /// When there is not exactly one element.
    fn item(&self, x: &Self::Tensor) -> Result<f64>;
    /// Copies all elements to the host, row-major; for logits, checkpoints and tests.
    ///
    /// # Errors
    /// A failure of the library.
    fn to_host(&self, x: &Self::Tensor) -> Result<Vec<f64>>;

    /// Copies the elements of several tensors, one after the other, in their stored precision, to be sent to other
    /// ranks.
    ///
    /// # Errors
    /// A failure of the library.
    fn pack(&self, xs: &[Self::Tensor]) -> Result<Packed> {
        let mut all = Vec::new();
        for x in xs {
            all.extend(self.to_host(x)?);
        }
        Ok(Packed::Double(all))
    }
    /// Makes tensors of the shapes of `like` from elements that [`pack`](Self::pack) copied.
    ///
    /// # Errors
    /// Another number of elements; bytes in place of numbers; a failure of the library.
    fn unpack(&self, numbers: &Packed, like: &[Self::Tensor]) -> Result<Vec<Self::Tensor>> {
        let len = |x: &Self::Tensor| self.shape(x).iter().product::<usize>();
        let expected: usize = like.iter().map(len).sum();
        if expected != numbers.len() {
            return Err(Error::Invalid(format!(
                "{} numbers for tensors of {expected} elements",
                numbers.len()
            )));
        }
        let mut start = 0;
        let mut unpacked = Vec::with_capacity(like.len());
        for x in like {
            let range = start..start + len(x);
            start = range.end;
            unpacked.push(match numbers {
                Packed::Single(numbers) => self.upload(&numbers[range], self.shape(x))?,
                Packed::Double(numbers) => self.constant(&numbers[range], self.shape(x))?,
                Packed::Bytes(_) => return Err(Error::Invalid("a tensor of bytes".into())),
            });
        }
        Ok(unpacked)
    }

    /// Multiplies in place: `y ← a·y`. Other holders of the data keep their values. `a = 0` gives exact zeros.
    ///
    /// # Errors
    /// A failure of the library.
    fn scale(&self, y: &mut Self::Tensor, a: f64) -> Result<()>;
    /// Adds a multiple in place: `y ← y + a·x`, with equal shapes.
    ///
    /// # Errors
    /// A shape mismatch.
    fn axpy(&self, y: &mut Self::Tensor, a: f64, x: &Self::Tensor) -> Result<()>;
    /// Computes `y ← x + a·y`, with equal shapes and with the bits of [`axpy`](Self::axpy) on a copy of x.
    ///
    /// # Errors
    /// A shape mismatch.
    fn aypx(&self, y: &mut Self::Tensor, a: f64, x: &Self::Tensor) -> Result<()> {
        let mut sum = x.clone();
        self.axpy(&mut sum, a, y)?;
        *y = sum;
        Ok(())
    }
    /// The inner product Σ x·y in at least double precision.
    ///
    /// # Errors
    /// A shape mismatch.
    fn dot(&self, x: &Self::Tensor, y: &Self::Tensor) -> Result<f64>;
    /// The inner products of x with several tensors: [`dot`](Self::dot) with each.
    ///
    /// # Errors
    /// A shape mismatch.
    fn dots(&self, x: &Self::Tensor, ys: &[&Self::Tensor]) -> Result<Vec<f64>> {
        ys.iter().map(|y| self.dot(x, y)).collect()
    }
    /// Inner products of a point of several tensors with other points of as many: Σₖ ⟨xₖ, yₖ⟩ for each y. A library
    /// whose scalars take a transfer overrides the default to make one transfer.
    ///
    /// # Errors
    /// A shape mismatch.
    fn dots_of_points(&self, x: &[Self::Tensor], ys: &[&[Self::Tensor]]) -> Result<Vec<f64>> {
        if let Some(y) = ys.iter().find(|y| y.len() != x.len()) {
            return Err(Error::Invalid(format!("dots: points of {} and {} tensors", x.len(), y.len())));
        }
        let mut sums = vec![0.0; ys.len()];
        for (k, tensor) in x.iter().enumerate() {
            let others: Vec<_> = ys.iter().map(|y| &y[k]).collect();
            for (sum, dot) in sums.iter_mut().zip(self.dots(tensor, &others)?) {
                *sum += dot;
            }
        }
        Ok(sums)
    }
    /// Adds multiples in place: `y ← y + Σ aᵢ·xᵢ`, with as many factors as tensors.
    ///
    /// # Errors
    /// A shape mismatch.
    fn axpys(&self, y: &mut Self::Tensor, a: &[f64], xs: &[&Self::Tensor]) -> Result<()> {
        a.iter().zip(xs).try_for_each(|(a, x)| self.axpy(y, *a, x))
    }
    /// Applies a function in place: `z ← f(z)`, element by element. NaN gives NaN.
    ///
    /// # Errors
    /// A failure of the backend.
    fn map(&self, z: &mut Self::Tensor, f: Map) -> Result<()>;
    /// Multiplies in place: `z ← z·x`, element by element.
    ///
    /// # Errors
    /// A shape mismatch.
    fn multiply(&self, z: &mut Self::Tensor, x: &Self::Tensor) -> Result<()>;
    /// Takes the larger element in place: `z ← max(z, x)`; NaN where either is NaN.
    ///
    /// # Errors
    /// A shape mismatch.
    fn maximum(&self, z: &mut Self::Tensor, x: &Self::Tensor) -> Result<()>;
    /// Adds a multiple of a product in place: `z ← z + a·x·y`. Backends may fuse.
    ///
    /// # Errors
    /// A shape mismatch.
    fn addcmul(&self, z: &mut Self::Tensor, a: f64, x: &Self::Tensor, y: &Self::Tensor) -> Result<()> {
        let mut product = x.clone();
        self.multiply(&mut product, y)?;
        self.axpy(z, a, &product)
    }
    /// Adds a multiple of a quotient in place: `z ← z + a·x/(√(b·y) + eps)`. Backends may fuse.
    ///
    /// # Errors
    /// A shape mismatch.
    fn addcdiv_sqrt(
        &self,
        z: &mut Self::Tensor,
        a: f64,
        x: &Self::Tensor,
        b: f64,
        y: &Self::Tensor,
        eps: f64,
    ) -> Result<()> {
        let mut ratio = y.clone();
        self.scale(&mut ratio, b)?;
        for f in [Map::Sqrt, Map::Add(eps), Map::Recip] {
            self.map(&mut ratio, f)?;
        }
        self.multiply(&mut ratio, x)?;
        self.axpy(z, a, &ratio)
    }
}
