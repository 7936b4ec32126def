//! Processes that share the work of a batch: what they can exchange, and how they agree.
//!
//! A [`Collective`] moves numbers between ranks and does no arithmetic. This module adds them up in rank order, so that
//! the bits of a sum do not depend on the transport. MPI recommends that a reduction gives the same result every time
//! but does not require it, and an implementation chooses its algorithm by size and topology.

mod agree;
mod packed;
mod pieces;
mod reduce;

pub use agree::agree;
pub use packed::{Pack, Packed};

use crate::{Error, Result};
use std::sync::Arc;

/// The largest number of bytes that one step of [`Collective::messages`] gathers.
const PIECE: usize = 1 << 30;

/// The ranks of a data-parallel computation, seen from one of them.
///
/// Every rank calls the same operations in the same order with the same counts. After an operation has failed, every
/// later one fails with the same error.
pub trait Collective: Send + Sync {
    /// The number of this rank, from 0 to [`size`](Self::size) − 1.
    fn rank(&self) -> usize;
    /// The number of ranks, at least 1.
    fn size(&self) -> usize;
    /// Gathers the numbers of every rank, one rank after the other: `counts[r]` numbers from rank r. `own` is what this
    /// rank contributes.
    ///
    /// # Errors
    /// Counts that do not fit, kinds that differ between ranks, a rank that is gone.
    fn gather(&self, own: Packed, counts: &[usize]) -> Result<Packed>;
    /// Sends to each rank s, in order, the next `counts[s]` numbers of `own`. Returns what each rank sent here, in rank
    /// order: `counts[rank]` numbers from each.
    ///
    /// # Errors
    /// The errors of [`gather`](Self::gather).
    fn exchange(&self, own: Packed, counts: &[usize]) -> Result<Packed>;
    /// Ends every rank because of an error after which this rank can take no part in further operations. Where ranks
    /// are processes, this call does not return.
    fn abort(&self, why: &str);

    /// The weighted sum Σ wᵣ·xᵣ over the ranks, element by element. `weights` has one number a rank and is equal on
    /// every rank. A rank of weight 0 adds nothing, even where its numbers are not finite.
    ///
    /// Sums are made in f64 in rank order and rounded once. Every rank gets the same bits, which depend on the numbers
    /// and the ranks alone.
    ///
    /// # Errors
    /// The errors of [`gather`](Self::gather); [`Error::Oracle`] for bytes.
    ///
    /// # Cost
    /// Up to 4096 numbers: one exchange of messages, in which every rank sends all of its numbers to every other one.
    /// Beyond that: two exchanges, in each of which a rank sends and receives (size − 1)/size of the numbers once.
    fn mean(&self, own: Packed, weights: &[f64]) -> Result<Packed> {
        reduce::mean(
            self.size(),
            self.rank(),
            own,
            weights,
            |own, counts| self.gather(own, counts),
            |own, counts| self.exchange(own, counts),
        )
    }

    /// The messages of all ranks, in rank order. Messages may differ in length, and have any length: those of more
    /// than a gibibyte in all are gathered in pieces, since MPI counts in 32 bits.
    ///
    /// # Errors
    /// The errors of [`gather`](Self::gather).
    fn messages(&self, own: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        pieces::messages(self.size(), own, PIECE, |own, counts| self.gather(own, counts))
    }

    /// The message `own` of rank `root`. What the other ranks pass is ignored.
    ///
    /// # Errors
    /// The errors of [`gather`](Self::gather).
    fn broadcast(&self, root: usize, own: Vec<u8>) -> Result<Vec<u8>> {
        let mine = self.rank() == root;
        let mut all = self.messages(if mine { own } else { Vec::new() })?;
        Ok(if root < all.len() { all.swap_remove(root) } else { Vec::new() })
    }

    /// Gathers the scalars of every rank, in rank order. Every rank contributes equally many.
    ///
    /// # Errors
    /// The errors of [`gather`](Self::gather).
    fn scalars(&self, own: &[f64]) -> Result<Vec<Vec<f64>>> {
        let all = self.gather(Packed::Double(own.to_vec()), &vec![own.len(); self.size()])?.doubles()?;
        Ok(if own.is_empty() {
            vec![Vec::new(); self.size()]
        } else {
            all.chunks(own.len()).map(<[f64]>::to_vec).collect()
        })
    }

    /// Waits until every rank has called it.
    ///
    /// # Errors
    /// The errors of [`gather`](Self::gather).
    fn barrier(&self) -> Result<()> {
        self.scalars(&[0.0]).map(drop)
    }
}

/// The collective of one process by itself: rank 0 of 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Solo;

impl Collective for Solo {
    fn rank(&self) -> usize {
        0
    }
    fn size(&self) -> usize {
        1
    }
    fn gather(&self, own: Packed, counts: &[usize]) -> Result<Packed> {
        own.fits("gather", counts.iter().sum())
    }
    fn exchange(&self, own: Packed, counts: &[usize]) -> Result<Packed> {
        own.fits("exchange", counts.iter().sum())
    }
    fn abort(&self, _: &str) {}
}

/// The ranks that share a batch, and how many of its examples each has.
#[derive(Clone)]
pub struct Shares {
    ranks: Arc<dyn Collective>,
    examples: Vec<usize>,
}

impl Shares {
    /// Shares of given sizes: rank r has `examples[r]` consecutive examples of the batch, rank 0 the first ones.
    ///
    /// # Errors
    /// [`Error::Oracle`] when there is not one count a rank, or a rank has no example.
    pub fn new(ranks: Arc<dyn Collective>, examples: Vec<usize>) -> Result<Self> {
        if examples.len() != ranks.size() {
            return Err(Error::Oracle(format!(
                "{} shares of a batch for {} ranks",
                examples.len(),
                ranks.size()
            )));
        }
        if let Some(empty) = examples.iter().position(|count| *count == 0) {
            return Err(Error::Oracle(format!(
                "rank {empty} of {} has no example of a batch of {}: take fewer ranks or a larger batch",
                examples.len(),
                examples.iter().sum::<usize>()
            )));
        }
        Ok(Self { ranks, examples })
    }

    /// Shares of nearly equal size of `count` examples: rank r has part r of [`cut`].
    ///
    /// # Errors
    /// [`Error::Oracle`] when there are fewer examples than ranks.
    pub fn even(ranks: Arc<dyn Collective>, count: usize) -> Result<Self> {
        let size = ranks.size();
        Self::new(ranks, (0..size).map(|rank| cut(count, size, rank).len()).collect())
    }

    /// The collective through which the ranks exchange numbers.
    pub fn ranks(&self) -> &Arc<dyn Collective> {
        &self.ranks
    }

    /// The number of examples of each rank.
    pub fn examples(&self) -> &[usize] {
        &self.examples
    }

    /// The examples of the batch that this rank has.
    pub fn part(&self) -> Part {
        self.part_of(self.ranks.rank())
    }

    /// The examples of the batch that rank `rank` has.
    pub fn part_of(&self, rank: usize) -> Part {
        let start = self.examples.iter().take(rank).sum();
        Part { start, len: self.examples.get(rank).copied().unwrap_or(0), of: self.examples.iter().sum() }
    }

    /// The weight nᵣ/n of each rank in a mean over the batch.
    pub fn weights(&self) -> Vec<f64> {
        let n: usize = self.examples.iter().sum();
        self.examples.iter().map(|count| *count as f64 / n as f64).collect()
    }

    /// The weight mᵣ/m of each rank in a mean over a sample of the batch; 0 for a rank without any of its examples.
    pub fn weights_in(&self, sample: crate::Sample) -> Vec<f64> {
        let counts: Vec<usize> =
            (0..self.examples.len()).map(|rank| sample.count_in(self.part_of(rank))).collect();
        let m: usize = counts.iter().sum();
        counts.into_iter().map(|count| count as f64 / m as f64).collect()
    }
}

impl std::fmt::Debug for Shares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shares").field("rank", &self.ranks.rank()).field("examples", &self.examples).finish()
    }
}

/// A range of consecutive examples of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Index in the batch of the first example of the part.
    pub start: usize,
    /// Number of examples in the part.
    pub len: usize,
    /// Number of examples in the whole batch.
    pub of: usize,
}

/// The range of part `index` when `count` consecutive things are cut into `parts` of nearly equal size.
pub fn cut(count: usize, parts: usize, index: usize) -> std::ops::Range<usize> {
    count * index / parts..count * (index + 1) / parts
}
