//! Means over the ranks that share a batch, and their reverse.

use gnr_core::collective::Packed;
use gnr_nn::{AcrossRanks, Error, Result};

use gnr_kernels::{buffer::Buf, elem::Elem};

use super::{Cpu, tensor::Tensor};

/// Concatenates several slices for an exchange, in their own precision.
pub(super) fn pack<'x, E: Elem>(slices: impl Iterator<Item = &'x [E]>) -> Packed {
    let (mut single, mut double) = (Vec::new(), Vec::new());
    for slice in slices {
        match E::as_f32(slice) {
            Some(slice) => single.extend_from_slice(slice),
            None => double.extend(slice.iter().map(|x| x.wide())),
        }
    }
    if E::as_f32(&[]).is_some() { Packed::Single(single) } else { Packed::Double(double) }
}

fn average<E: Elem>(across: &AcrossRanks, values: &[E]) -> Result<Buf<E>> {
    let mean = across.mean(pack([values].into_iter())).map_err(|error| Error::Ranks(Box::new(error)))?;
    let mut out = Buf::new(values.len());
    match mean {
        Packed::Single(mean) => out.iter_mut().zip(mean).for_each(|(out, x)| *out = E::of(f64::from(x))),
        Packed::Double(mean) => out.iter_mut().zip(mean).for_each(|(out, x)| *out = E::of(x)),
        Packed::Bytes(_) => return Err(Error::Invalid("a mean of bytes".into())),
    }
    Ok(out)
}

impl<E: Elem> Cpu<E> {
    pub(super) fn mean_over_ranks_op(&self, x: &Tensor<E>, across: &AcrossRanks) -> Result<Tensor<E>> {
        // A replay exchanges too, even if its record holds the output: all ranks must take part in the same exchanges.
        let mean = average(across, x.data())?;
        let (to_x, across) = (x.target(), across.clone());
        self.linear_op(
            "mean_over_ranks",
            &x.shape,
            &[x],
            move || mean,
            move |adjoint| {
                // After a failure every exchange fails, so the next one outside of the tape reports the error.
                let mean =
                    average(&across, &adjoint).unwrap_or_else(|_| Buf::from(vec![E::nan(); adjoint.len()]));
                to_x.add(mean);
            },
        )
    }
}
