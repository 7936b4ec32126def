//! Operands of kernels: slices in memory, or maps that a producer computes piece by piece.
//!
//! The output of a normalisation or a clip costs one or two multiplications an element: less than writing it to memory
//! and reading it back. So a kernel that gathers maps piece by piece takes either form of an [`Operand`].

use super::elem::Elem;
use super::simd;
use super::unary::Unary;
use crate::buffer::Buf;
use crate::parallel::each_chunk;
use std::{fmt, ops::Deref, ops::Range, sync::Arc};

/// Computes any piece of some maps on demand. All maps have one size, and a piece has the same bits whenever it is
/// computed.
pub trait Producer<E>: Send + Sync {
    /// Number of elements of all maps.
    fn size(&self) -> usize;
    /// Number of elements of one map.
    fn pixels(&self) -> usize;
    /// Computes the elements `range` of map `i`; `out` must have as many.
    ///
    /// # Panics
    /// When there are no such elements.
    fn produce(&self, i: usize, range: Range<usize>, out: &mut [E]);
    /// Computes this piece and that of `other` in one evaluation, if possible; else returns `false` and writes nothing.
    ///
    /// Both have the bits of [`produce`](Self::produce).
    ///
    /// # Panics
    /// When there are no such elements.
    fn produce_with(
        &self,
        other: &dyn Producer<E>,
        i: usize,
        range: Range<usize>,
        out: &mut [E],
        other_out: &mut [E],
    ) -> bool {
        let _ = (other, i, range, out, other_out);
        false
    }
    /// The function and its argument, if the maps are the values of a function of one variable.
    fn function(&self) -> Option<(Unary, &[E])> {
        None
    }
    /// Prefetches the elements that [`produce`](Self::produce) will read. Maps are too short for the hardware to
    /// foresee. The piece may lie outside the maps.
    fn prefetch(&self, i: usize, range: Range<usize>) {
        let _ = (i, range);
    }
}

/// An operand of a kernel: in memory, or streamed piece by piece.
#[derive(Clone, Copy)]
pub enum Operand<'a, E> {
    /// A slice in memory.
    Whole(&'a [E]),
    /// Maps that a producer computes piece by piece.
    Streamed(&'a dyn Producer<E>),
}

impl<E> fmt::Debug for Operand<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Whole(_)) { "Whole" } else { "Streamed" })
    }
}

impl<'a, E, T: Deref<Target = [E]>> From<&'a T> for Operand<'a, E> {
    fn from(whole: &'a T) -> Self {
        Operand::Whole(whole)
    }
}

impl<'a, E: Elem> Operand<'a, E> {
    /// Number of elements.
    pub fn len(self) -> usize {
        match self {
            Operand::Whole(whole) => whole.len(),
            Operand::Streamed(producer) => producer.size(),
        }
    }
    /// Whether there are no elements.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
    /// The operand with `f32` elements, if `E` is `f32`.
    pub fn as_f32(self) -> Option<Operand<'a, f32>> {
        Some(match self {
            Operand::Whole(whole) => Operand::Whole(E::as_f32(whole)?),
            Operand::Streamed(producer) => Operand::Streamed(E::as_f32_producer(producer)?),
        })
    }
    /// Prepares the operand for a kernel whose maps have `pixels` elements. A streamed operand is computed whole,
    /// unless the kernel streams (`streams`) and the producer's maps have that size.
    pub(super) fn resolve(self, streams: bool, pixels: usize) -> Resolved<'a, E> {
        match self {
            Operand::Streamed(producer) if !streams || producer.pixels() != pixels => {
                Resolved::Computed(materialise(producer))
            }
            values => Resolved::Given(values),
        }
    }
}

/// An operand in a form that a kernel can take.
pub(super) enum Resolved<'a, E: Elem> {
    Given(Operand<'a, E>),
    Computed(Buf<E>),
}

impl<E: Elem> Resolved<'_, E> {
    pub(super) fn values(&self) -> Operand<'_, E> {
        match self {
            Resolved::Given(values) => *values,
            Resolved::Computed(producer) => Operand::Whole(producer),
        }
    }
    /// The slice of an operand that was resolved for a kernel that does not stream.
    ///
    /// # Panics
    /// When the operand was resolved for a kernel that streams.
    pub(super) fn whole(&self) -> &[E] {
        match self.values() {
            Operand::Whole(whole) => whole,
            Operand::Streamed(_) => unreachable!("resolved for a kernel that streams"),
        }
    }
}

/// An operand and its weights, for a convolution or a layer.
pub type Pair<'a, E> = (Operand<'a, E>, &'a [E]);

/// Two operands in memory.
pub(super) type Slices<'a, E> = (&'a [E], &'a [E]);

/// Resolved pairs with `f32` elements, if `E` is `f32`.
pub(super) fn in_single<'a, E: Elem>(
    resolved: &'a [Resolved<'_, E>],
    pairs: &[Pair<'a, E>],
) -> Option<Vec<Pair<'a, f32>>> {
    resolved.iter().zip(pairs).map(|(a, (_, b))| Some((a.values().as_f32()?, E::as_f32(b)?))).collect()
}

/// Slices of pairs that were resolved for a kernel that does not stream.
pub(super) fn slices<'a, E: Elem>(
    resolved: &'a [Resolved<'_, E>],
    pairs: &[Pair<'a, E>],
) -> Vec<Slices<'a, E>> {
    resolved.iter().zip(pairs).map(|(a, (_, b))| (a.whole(), *b)).collect()
}

/// Computes all maps of a producer.
pub fn materialise<E: Elem>(producer: &dyn Producer<E>) -> Buf<E> {
    let mut out = Buf::new(producer.size());
    let pixels = producer.pixels().max(1);
    let least = (simd::CHUNK / 4).div_ceil(pixels);
    each_chunk(&mut out, pixels, least, |i, out| {
        producer.produce(i, 0..out.len(), out);
    });
    out
}

/// A producer that copies maps of `pixels` elements from memory: the operand of another producer.
#[derive(Debug)]
pub struct InMemory<E: Elem> {
    /// The elements of all maps.
    pub values: Arc<Buf<E>>,
    /// Number of elements of one map.
    pub pixels: usize,
}

impl<E: Elem> Producer<E> for InMemory<E> {
    fn size(&self) -> usize {
        self.values.len()
    }
    fn pixels(&self) -> usize {
        self.pixels
    }
    fn produce(&self, i: usize, range: Range<usize>, out: &mut [E]) {
        out.copy_from_slice(&self.values[i * self.pixels..][..self.pixels][range]);
    }
    fn prefetch(&self, i: usize, range: Range<usize>) {
        prefetch(&self.values, i * self.pixels, &range);
    }
}

/// Prefetches the elements `range` after `start` to the second-level cache.
#[inline(always)]
pub(super) fn prefetch<E>(values: &[E], start: usize, range: &Range<usize>) {
    simd::prefetch(values.as_ptr().wrapping_add(start + range.start), range.len());
}
