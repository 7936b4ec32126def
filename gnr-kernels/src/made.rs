//! Feature maps that are made where they are read, instead of standing in memory.
//!
//! What a normalisation or a clip makes of its input costs a multiplication or two an element: less than writing it to memory and
//! reading it back. So a kernel that gathers maps piece by piece anyway takes either: [`Values`].

use super::elem::Elem;
use super::simd;
use super::unary::Unary;
use crate::buffer::Buf;
use rayon::prelude::*;
use std::{fmt, ops::Deref, ops::Range, sync::Arc};

/// Maps of equal size, one after the other; any piece can be made at any time, with the same bits.
pub trait MakeMaps<E>: Send + Sync {
    /// Elements of all maps together.
    fn size(&self) -> usize;
    /// Elements of one map.
    fn pixels(&self) -> usize;
    /// Writes the elements `range` of map `i` to `out`, which has as many.
    ///
    /// # Panics
    /// When there are no such elements.
    fn make(&self, i: usize, range: Range<usize>, out: &mut [E]);
    /// The same, and to `other_out` what `other` makes of the same piece, if one evaluation gives both; the bits of both do not change.
    /// `false` if it does not, and nothing is written then.
    ///
    /// # Panics
    /// As [`make`](Self::make).
    fn make_with(
        &self,
        other: &dyn MakeMaps<E>,
        i: usize,
        range: Range<usize>,
        out: &mut [E],
        other_out: &mut [E],
    ) -> bool {
        let _ = (other, i, range, out, other_out);
        false
    }
    /// If these are the values of a function of one variable: it, and its argument.
    fn function(&self) -> Option<(Unary, &[E])> {
        None
    }
    /// Asks the caches for what [`make`](Self::make) will read: maps are too short for the hardware to foresee. There need be no such
    /// elements.
    fn prefetch(&self, i: usize, range: Range<usize>) {
        let _ = (i, range);
    }
}

/// An operand of a kernel.
#[derive(Clone, Copy)]
pub enum Values<'a, E> {
    /// In memory.
    Whole(&'a [E]),
    /// Made where it is read.
    Made(&'a dyn MakeMaps<E>),
}

impl<E> fmt::Debug for Values<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Whole(_)) { "Whole" } else { "Made" })
    }
}

impl<'a, E, T: Deref<Target = [E]>> From<&'a T> for Values<'a, E> {
    fn from(whole: &'a T) -> Self {
        Values::Whole(whole)
    }
}

impl<'a, E: Elem> Values<'a, E> {
    /// Number of elements.
    pub fn len(self) -> usize {
        match self {
            Values::Whole(whole) => whole.len(),
            Values::Made(made) => made.size(),
        }
    }
    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
    /// The same, of `f32`, if that is what they are.
    pub fn as_f32(self) -> Option<Values<'a, f32>> {
        Some(match self {
            Values::Whole(whole) => Values::Whole(E::as_f32(whole)?),
            Values::Made(made) => Values::Made(E::as_f32_maps(made)?),
        })
    }
    /// For a kernel whose maps have `pixels` elements, and which takes maps that are made where they are read only if it `streams`: in memory
    /// otherwise.
    pub(super) fn settled(self, streams: bool, pixels: usize) -> Settled<'a, E> {
        match self {
            Values::Made(made) if !streams || made.pixels() != pixels => Settled::Made(all(made)),
            values => Settled::Given(values),
        }
    }
}

/// [`Values`] that a kernel can take.
pub(super) enum Settled<'a, E: Elem> {
    Given(Values<'a, E>),
    Made(Buf<E>),
}

impl<E: Elem> Settled<'_, E> {
    pub(super) fn values(&self) -> Values<'_, E> {
        match self {
            Settled::Given(values) => *values,
            Settled::Made(made) => Values::Whole(made),
        }
    }
    /// Those of a kernel that does not stream.
    ///
    /// # Panics
    /// When they were not settled for one.
    pub(super) fn whole(&self) -> &[E] {
        match self.values() {
            Values::Whole(whole) => whole,
            Values::Made(_) => unreachable!("settled for a kernel that streams"),
        }
    }
}

/// Values and the weights that they meet: the operands of a convolution or of a layer.
pub type Pair<'a, E> = (Values<'a, E>, &'a [E]);

/// Two operands in memory.
pub(super) type Slices<'a, E> = (&'a [E], &'a [E]);

/// Pairs whose values were settled, as `f32`, if that is what they are.
pub(super) fn in_single<'a, E: Elem>(
    settled: &'a [Settled<'_, E>],
    pairs: &[Pair<'a, E>],
) -> Option<Vec<Pair<'a, f32>>> {
    settled.iter().zip(pairs).map(|(a, (_, b))| Some((a.values().as_f32()?, E::as_f32(b)?))).collect()
}

/// Pairs whose values were settled for a kernel that does not stream.
pub(super) fn slices<'a, E: Elem>(
    settled: &'a [Settled<'_, E>],
    pairs: &[Pair<'a, E>],
) -> Vec<Slices<'a, E>> {
    settled.iter().zip(pairs).map(|(a, (_, b))| (a.whole(), *b)).collect()
}

/// All maps.
pub fn all<E: Elem>(made: &dyn MakeMaps<E>) -> Buf<E> {
    let mut out = Buf::new(made.size());
    let pixels = made.pixels().max(1);
    let least = (simd::CHUNK / 4).div_ceil(pixels);
    out.par_chunks_mut(pixels).with_min_len(least).enumerate().for_each(|(i, out)| {
        made.make(i, 0..out.len(), out);
    });
    out
}

/// Maps of `pixels` elements that stand in memory: what others are made of.
#[derive(Debug)]
pub struct Kept<E: Elem> {
    /// They.
    pub values: Arc<Buf<E>>,
    /// Elements of one map.
    pub pixels: usize,
}

impl<E: Elem> MakeMaps<E> for Kept<E> {
    fn size(&self) -> usize {
        self.values.len()
    }
    fn pixels(&self) -> usize {
        self.pixels
    }
    fn make(&self, i: usize, range: Range<usize>, out: &mut [E]) {
        out.copy_from_slice(&self.values[i * self.pixels..][..self.pixels][range]);
    }
    fn prefetch(&self, i: usize, range: Range<usize>) {
        prefetch(&self.values, i * self.pixels, &range);
    }
}

/// Asks the second-level cache for the elements `range` after `start`.
#[inline(always)]
pub(super) fn prefetch<E>(values: &[E], start: usize, range: &Range<usize>) {
    simd::prefetch(values.as_ptr().wrapping_add(start + range.start), range.len());
}
