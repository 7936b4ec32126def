//! Weighted means over ranks, added up in a fixed order.

use super::{Packed, cut};
use crate::{Error, Real, Result, vector::same_dim};

/// The largest count of numbers that every rank sends whole to every other rank, in one exchange instead of two.
const AT_ONCE: usize = 4096;

/// Implements [`Collective::mean`](super::Collective::mean) by its `gather` and `exchange`.
pub(super) fn mean(
    size: usize,
    rank: usize,
    own: Packed,
    weights: &[f64],
    gather: impl FnOnce(Packed, &[usize]) -> Result<Packed>,
    exchange: impl FnOnce(Packed, &[usize]) -> Result<Packed>,
) -> Result<Packed> {
    same_dim("mean", size, weights.len())?;
    let count = own.len();
    if size == 1 {
        // A weight of 1 is not multiplied: a process by itself changes no bit.
        return if weights == [1.0] { Ok(own) } else { sum(own, weights, count) };
    }
    if count <= AT_ONCE {
        return sum(gather(own, &vec![count; size])?, weights, count);
    }
    let counts: Vec<usize> = (0..size).map(|rank| cut(count, size, rank).len()).collect();
    let mine = counts.get(rank).copied().unwrap_or(0);
    gather(sum(exchange(own, &counts)?, weights, mine)?, &counts)
}

/// The weighted sum Σ wᵣ·xᵣ of vectors of `count` numbers that lie one after the other.
fn sum(all: Packed, weights: &[f64], count: usize) -> Result<Packed> {
    same_dim("mean", weights.len() * count, all.len())?;
    match all {
        Packed::Single(all) => Ok(Packed::Single(weighted(&all, weights, count))),
        Packed::Double(all) => Ok(Packed::Double(weighted(&all, weights, count))),
        Packed::Bytes(_) => Err(Error::Oracle("bytes have no mean".into())),
    }
}

fn weighted<T: Real>(all: &[T], weights: &[f64], count: usize) -> Vec<T> {
    // A block at a time stays in the cache while the shares of all ranks are added to it.
    const BLOCK: usize = 1024;
    let mut sums = [0.0_f64; BLOCK];
    let mut out = Vec::with_capacity(count);
    for start in (0..count).step_by(BLOCK) {
        let sums = &mut sums[..BLOCK.min(count - start)];
        sums.fill(0.0);
        for (rank, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
            let from = rank * count + start;
            for (sum, x) in sums.iter_mut().zip(&all[from..]) {
                *sum += weight * x.as_();
            }
        }
        out.extend(sums.iter().map(|sum| T::of(*sum)));
    }
    out
}
