//! Feature maps that are made where they are read, instead of standing in memory.
//!
//! What a normalisation or a clip makes of its input costs a multiplication or two an element: less than writing it to memory and
//! reading it back. So a kernel that gathers maps piece by piece anyway takes either: [`Values`].

use super::elem::Elem;
use super::simd;
use crate::cpu::buffer::Buf;
use rayon::prelude::*;
use std::{fmt, ops::Deref, ops::Range, sync::Arc};

/// Maps of equal size, one after the other; any piece can be made at any time, with the same bits.
pub trait MakeMaps<E>: Send + Sync {
    /// Elements of all maps together.
    fn size(&self) -> usize;
    /// Writes the elements `range` of map `i` to `out`, which has as many.
    ///
    /// # Panics
    /// When there are no such elements.
    fn make(&self, i: usize, range: Range<usize>, out: &mut [E]);
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
    /// All of them in memory; maps have `pixels` elements.
    pub(super) fn whole(self, pixels: usize) -> Whole<'a, E> {
        match self {
            Values::Whole(whole) => Whole::Borrowed(whole),
            Values::Made(made) => Whole::Made(all(made, pixels)),
        }
    }
}

/// [`Values`] in memory.
pub(super) enum Whole<'a, E: Elem> {
    Borrowed(&'a [E]),
    Made(Buf<E>),
}

impl<E: Elem> Deref for Whole<'_, E> {
    type Target = [E];
    fn deref(&self) -> &[E] {
        match self {
            Whole::Borrowed(whole) => whole,
            Whole::Made(made) => made,
        }
    }
}

/// All maps of `pixels` elements each.
pub fn all<E: Elem>(made: &dyn MakeMaps<E>, pixels: usize) -> Buf<E> {
    let mut out = Buf::new(made.size());
    let least = (simd::CHUNK / 4).div_ceil(pixels.max(1));
    out.par_chunks_mut(pixels.max(1)).with_min_len(least).enumerate().for_each(|(i, out)| {
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
