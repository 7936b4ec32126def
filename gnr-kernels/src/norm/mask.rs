//! Masks: where the derivative of a clip is 1.

use super::{Affine, Maps};
use crate::buffer::Buf;
use crate::elem::Elem;
use crate::elementwise::clip_mask;
use crate::parallel::each_chunk;
use crate::simd::simd;
use std::ops::Range;

/// Tells where the derivative of a clip at 0 and at `top` is 1.
#[derive(Clone, Copy, Debug)]
pub enum Mask<'a, E> {
    /// A mask by the clip's output.
    Output {
        /// The clip's output.
        of: &'a [E],
        /// The upper bound; ∞ for ReLU.
        top: E,
    },
    /// A mask by the normalisation's input; only if no residual is added.
    Input {
        /// The normalisation's input.
        of: &'a [E],
        /// The map from `of` to the clip's input.
        affine: &'a Affine<E>,
        /// The upper bound; ∞ for ReLU.
        top: E,
    },
    /// A mask of one bit an element, as [`clip_bits`] writes it.
    Bits(&'a [u32]),
}

impl<'a, E: Elem> Mask<'a, E> {
    pub(crate) fn map(mask: Option<Self>, maps: Maps, i: usize) -> Option<MapMask<'a, E>> {
        mask.map(|mask| mask.part(maps, i, 0..maps.hw))
    }
    /// The mask of the elements `range` of map `i`.
    pub(crate) fn part(self, maps: Maps, i: usize, range: Range<usize>) -> MapMask<'a, E> {
        match self {
            Mask::Output { of, top } => {
                MapMask::Between { of: &maps.map(of, i)[range], k: E::one(), m: E::zero(), top }
            }
            Mask::Input { of, affine, top } => {
                let (k, m) = affine.at(i);
                MapMask::Between { of: &maps.map(of, i)[range], k, m, top }
            }
            Mask::Bits(bits) => {
                let words = &bits[i * maps.words()..][..maps.words()];
                MapMask::Bits { words: &words[(range.start / 32).min(words.len())..], from: range.start % 32 }
            }
        }
    }
    /// The whole array that a mask reads, if it is one of values.
    pub(crate) fn values(mask: Option<Self>) -> Option<&'a [E]> {
        match mask {
            Some(Mask::Output { of, .. } | Mask::Input { of, .. }) => Some(of),
            Some(Mask::Bits(_)) | None => None,
        }
    }
}

/// The bits of a word, by position. Comparing with them masks a vector of lanes at once.
const BITS: [u32; 32] = {
    let mut bits = [0; 32];
    let mut i = 0;
    while i < 32 {
        bits[i] = 1 << i;
        i += 1;
    }
    bits
};

/// A [`Mask`] of one map.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MapMask<'a, E> {
    /// A derivative passes where `0 < k of + m < top`.
    Between { of: &'a [E], k: E, m: E, top: E },
    /// A derivative passes where the bit is set; the first is bit `from` of the first word.
    Bits { words: &'a [u32], from: usize },
}

impl<E: Elem> MapMask<'_, E> {
    /// Sets g to 0 where no derivative passes.
    #[inline(always)]
    pub(crate) fn apply(self, g: &mut [E]) {
        match self {
            MapMask::Between { of, k, m, top } => {
                g.iter_mut().zip(of).for_each(|(g, &v)| *g = clip_mask(*g, k * v + m, top));
            }
            MapMask::Bits { words, from } => {
                // The 32 bits of block i.
                let at = |i: usize| {
                    let word = |i: usize| u64::from(words.get(i).copied().unwrap_or(0));
                    ((word(i) | word(i + 1) << 32) >> from) as u32
                };
                let (blocks, rest) = g.as_chunks_mut::<32>();
                let count = blocks.len();
                for (j, g) in blocks.iter_mut().enumerate() {
                    let word = at(j);
                    for i in 0..32 {
                        g[i] = if word & BITS[i] != 0 { g[i] } else { E::zero() };
                    }
                }
                let word = at(count);
                rest.iter_mut()
                    .zip(BITS)
                    .for_each(|(g, bit)| *g = if word & bit != 0 { *g } else { E::zero() });
            }
        }
    }
}

simd! {
    fn clip_bits_map<E: Elem>(bits: &mut [u32], y: &[E], top: E) {
        for (word, y) in bits.iter_mut().zip(y.chunks(32)) {
            let set = |(bit, &y): (u32, &E)| if y > E::zero() && y < top { bit } else { 0 };
            *word = BITS.into_iter().zip(y).map(set).fold(0, |word, bit| word | bit);
        }
    }
}

/// Records where the derivative of a clip with output y is 1. The bits take a 32nd of the memory of y.
pub fn clip_bits<E: Elem>(maps: Maps, y: &[E], top: E) -> Buf<u32> {
    maps.assert(&[Some(y)]);
    let mut bits = Buf::new(maps.n * maps.c * maps.words());
    each_chunk(&mut bits, maps.words(), maps.batch(), |i, bits| {
        clip_bits_map(bits, maps.map(y, i), top);
    });
    bits
}
