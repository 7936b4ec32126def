//! Inner products of points of many tensors, with one transfer to the host.

use dfdx::prelude::{Axis, Dtype, HasShape, RealizeTo, ReshapeTo, SumTo, Tensor, TryMul};
use gnr_nn::{Error, Result};
use num_traits::Float;

use super::{DeviceOps, Generic, GenericTensor, library, same_shape};

/// A flat tensor that is not recorded.
type Flat<E, D> = Tensor<(usize,), E, D>;

/// Elements of a row, whose sum the device computes.
const ROW: usize = 64;
/// A vector of so many elements or fewer is added on the host, in f64.
const SHORT: usize = 8 * ROW;

impl<E: Dtype + Float, D: DeviceOps<E>> Generic<E, D> {
    /// Σₖ ⟨xₖ, yₖ⟩ for each y. The device adds rows of [`ROW`] elements, then rows of these sums, until at
    /// most [`SHORT`] elements are left. The remaining vectors of all products come to the host in one transfer.
    pub(super) fn inner_products(
        &self,
        x: &[GenericTensor<E, D>],
        ys: &[&[GenericTensor<E, D>]],
    ) -> Result<Vec<f64>> {
        let mut pieces = Vec::new();
        let mut lengths = Vec::with_capacity(ys.len());
        for y in ys {
            if y.len() != x.len() {
                return Err(Error::Invalid(format!("dots: points of {} and {} tensors", x.len(), y.len())));
            }
            let before = pieces.len();
            for (x, y) in x.iter().zip(*y) {
                same_shape("dot", x, y)?;
                let product = x.values().try_mul(y.values()).map_err(library)?;
                Self::shorten(product, &mut pieces)?;
            }
            lengths.push(pieces[before..].iter().map(|piece| piece.shape().0).sum::<usize>());
        }
        let Some(together) = Self::together(pieces)? else { return Ok(vec![0.0; ys.len()]) };
        let mut numbers = together.as_vec().into_iter().map(|x| x.to_f64().unwrap_or(f64::NAN));
        Ok(lengths.into_iter().map(|len| numbers.by_ref().take(len).sum()).collect())
    }

    /// Adds short tensors to `pieces` whose elements have the same sum as those of x.
    fn shorten(mut x: Flat<E, D>, pieces: &mut Vec<Flat<E, D>>) -> Result<()> {
        while x.shape().0 > SHORT {
            let len = x.shape().0;
            let whole = len / ROW * ROW;
            if whole < len {
                pieces.push(x.clone().try_slice((whole..,)).map_err(library)?.realize());
                x = x.try_slice((..whole,)).map_err(library)?.realize();
            }
            let rows = x.try_reshape_like(&(whole / ROW, ROW)).map_err(library)?;
            x = rows.try_sum::<(usize,), Axis<1>>().map_err(library)?;
        }
        pieces.push(x);
        Ok(())
    }

    /// Concatenates the pieces; `None` if there are none.
    #[expect(deprecated, reason = "its successor compiles and runs a kernel where this copies")]
    fn together(mut pieces: Vec<Flat<E, D>>) -> Result<Option<Flat<E, D>>> {
        use dfdx::prelude::TryConcat as _;
        // Neighbours are joined in rounds, so a piece is copied at most log₂ of the number of pieces times, rounded
        // up.
        while pieces.len() > 1 {
            let mut longer = Vec::with_capacity(pieces.len().div_ceil(2));
            let mut rest = pieces.into_iter();
            while let Some(first) = rest.next() {
                longer.push(match rest.next() {
                    Some(second) => first.try_concat(second).map_err(library)?,
                    None => first,
                });
            }
            pieces = longer;
        }
        Ok(pieces.pop())
    }
}
