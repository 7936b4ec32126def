//! What a backend needs beyond operations to serve an oracle: reverse mode and in-place arithmetic.

use gnr_core::{Map, collective::Packed};

use crate::{Backend, Error, Result};

/// A [`Backend`] with first-order reverse-mode differentiation.
///
/// A *session* is a handle of the backend for one pass: it owns a fresh tape. Its kinds:
/// [`gradient_session`](Self::gradient_session) (optionally recording what products at this point can reuse), and
/// [`replay_session`](Self::replay_session), in which the model runs on `Duals<Self>` with constant tangents and the
/// reverse pass of the *loss tangent* yields H·v; [`linear_session`](Self::linear_session), the same for the reverse
/// pass of the *outputs* alone, which [`vjp`](Self::vjp) runs. A library without records uses `Record = ()` and a plain
/// session for both: the dual evaluation is then done from scratch.
pub trait Autodiff: Backend {
    /// What a recording gradient pass leaves behind.
    type Record;

    /// A handle with a fresh tape for a gradient pass. With `record`, [`take_record`](Self::take_record) can be called
    /// after [`backward`](Self::backward).
    fn gradient_session(&self, record: bool) -> Self;
    /// The record of a session made by `gradient_session(true)`, after its backward pass.
    ///
    /// # Errors
    /// When the session did not record or its backward pass has not run.
    fn take_record(&self) -> Result<Self::Record>;
    /// A handle with a fresh tape in which the same model is run again on dual numbers at the recorded point. May be
    /// made any number of times from one record.
    ///
    /// # Errors
    /// When the record cannot be replayed.
    fn replay_session(&self, record: &Self::Record) -> Result<Self>;
    /// As [`replay_session`](Self::replay_session), but for [`vjp`](Self::vjp) of what the model returned instead of
    /// [`backward`](Self::backward) of a tangent: J·v from the tangents, Jᵀ·u from the reverse pass.
    ///
    /// # Errors
    /// When the record cannot be replayed.
    fn linear_session(&self, record: &Self::Record) -> Result<Self> {
        self.replay_session(record)
    }
    /// Checks that a replayed pass consumed the whole record.
    ///
    /// # Errors
    /// [`Error::RecordMismatch`](crate::Error::RecordMismatch) or the like.
    fn finish_replay(&self) -> Result<()> {
        Ok(())
    }
    /// A leaf of this session sharing the data of `x`: derivatives with respect to it will be asked for.
    ///
    /// # Errors
    /// A failure of the library, where it copies.
    fn variable(&self, x: &Self::Tensor) -> Result<Self::Tensor>;
    /// d loss / d leaf for each leaf, untracked; zeros where the loss does not depend on one. Consumes the session's
    /// tape. The leaves are given away, so that those that nobody else holds can be freed as the pass goes back.
    ///
    /// # Errors
    /// When `loss` is not a single element, or a failure of the library.
    fn backward(&self, loss: &Self::Tensor, leaves: Vec<Self::Tensor>) -> Result<Vec<Self::Tensor>>;
    /// (dy/d leaf)ᵀ·cotangent for each leaf, untracked; `cotangent` is a constant of y's shape. Consumes the session's
    /// tape.
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

    /// Host data in single precision, row-major, as images come.
    ///
    /// # Errors
    /// When the number of elements is not the product of `shape`.
    fn upload(&self, data: &[f32], shape: &[usize]) -> Result<Self::Tensor>;
    /// The only element.
    ///
    /// # Errors
    /// When there is not exactly one.
    fn item(&self, x: &Self::Tensor) -> Result<f64>;
    /// All elements, row-major. For logits, checkpoints and tests.
    ///
    /// # Errors
    /// A failure of the library.
    fn to_host(&self, x: &Self::Tensor) -> Result<Vec<f64>>;

    /// The elements of several tensors one after the other, in the precision that they are stored in; what goes to
    /// other ranks.
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
    /// Tensors of the shapes of `like` from what [`pack`](Self::pack) made of others.
    ///
    /// # Errors
    /// Another number of elements, bytes, a failure of the library.
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

    /// `y ← a·y` in place (values other holders of the same data see are unchanged). `a = 0` gives exact zeros.
    ///
    /// # Errors
    /// A failure of the library.
    fn scale(&self, y: &mut Self::Tensor, a: f64) -> Result<()>;
    /// `y ← y + a·x` in place, equal shapes.
    ///
    /// # Errors
    /// A shape mismatch.
    fn axpy(&self, y: &mut Self::Tensor, a: f64, x: &Self::Tensor) -> Result<()>;
    /// `y ← x + a·y`, equal shapes, with the bits of [`axpy`](Self::axpy) on a copy of x.
    ///
    /// # Errors
    /// A shape mismatch.
    fn aypx(&self, y: &mut Self::Tensor, a: f64, x: &Self::Tensor) -> Result<()> {
        let mut sum = x.clone();
        self.axpy(&mut sum, a, y)?;
        *y = sum;
        Ok(())
    }
    /// Σ x·y in at least double precision.
    ///
    /// # Errors
    /// A shape mismatch.
    fn dot(&self, x: &Self::Tensor, y: &Self::Tensor) -> Result<f64>;
    /// [`dot`](Self::dot) of x with several tensors.
    ///
    /// # Errors
    /// A shape mismatch.
    fn dots(&self, x: &Self::Tensor, ys: &[&Self::Tensor]) -> Result<Vec<f64>> {
        ys.iter().map(|y| self.dot(x, y)).collect()
    }
    /// Inner products of a point of several tensors with other points of as many: Σₖ ⟨xₖ, yₖ⟩ for each y. A library
    /// whose scalars take a transfer overrides it to make one.
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
    /// `y ← y + Σ aᵢ·xᵢ` in place; as many factors as tensors.
    ///
    /// # Errors
    /// A shape mismatch.
    fn axpys(&self, y: &mut Self::Tensor, a: &[f64], xs: &[&Self::Tensor]) -> Result<()> {
        a.iter().zip(xs).try_for_each(|(a, x)| self.axpy(y, *a, x))
    }
    /// `z ← f(z)` in place, element by element. NaN gives NaN.
    ///
    /// # Errors
    /// A failure of the backend.
    fn map(&self, z: &mut Self::Tensor, f: Map) -> Result<()>;
    /// `z ← z·x` in place, element by element.
    ///
    /// # Errors
    /// A shape mismatch.
    fn multiply(&self, z: &mut Self::Tensor, x: &Self::Tensor) -> Result<()>;
    /// `z ← max(z, x)` in place, element by element; NaN where either is NaN.
    ///
    /// # Errors
    /// A shape mismatch.
    fn maximum(&self, z: &mut Self::Tensor, x: &Self::Tensor) -> Result<()>;
    /// `z ← z + a·x·y` in place. Backends may fuse.
    ///
    /// # Errors
    /// A shape mismatch.
    fn addcmul(&self, z: &mut Self::Tensor, a: f64, x: &Self::Tensor, y: &Self::Tensor) -> Result<()> {
        let mut product = x.clone();
        self.multiply(&mut product, y)?;
        self.axpy(z, a, &product)
    }
    /// `z ← z + a·x/(√(b·y) + eps)` in place. Backends may fuse.
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
