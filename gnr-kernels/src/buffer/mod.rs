//! Recycled memory: activations, adjoints and workspaces share one heap of address space whose pages are touched once.
//!
//! The system hands out fresh large allocations page by page, cleared; on a ResNet-20 gradient this costs a third of
//! the time. A dropped [`Buf`] therefore returns its range to a process-wide heap. The next buffer, of any length,
//! takes the smallest gap that it fits into ([`range_alloc`]); neighbouring gaps merge. So a step holds little more
//! than what is alive at its peak, and steps after the first touch no new page. Idle memory is bounded
//! ([`set_idle_limit`](crate::Runtime::set_idle_limit), default 4 GiB): beyond the bound, all of it is returned to the
//! system.
#![allow(unsafe_code)]

mod heap;

use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::runtime::runtime;

use heap::Place;
pub(crate) use heap::{Heap, keep_freed_heaps, trim};

/// Buffers of fewer bytes come from the system's allocator.
const SMALLEST: usize = 16 << 10;

mod sealed {
    /// Types of which every bit pattern is a value.
    pub trait Plain: Copy + Default + Send + Sync + 'static {}
    impl Plain for f32 {}
    impl Plain for f64 {}
    impl Plain for u32 {}
}

/// Element types of buffers: `f32`, `f64`, `u32`.
pub trait Pooled: sealed::Plain {}
impl<E: sealed::Plain> Pooled for E {}

/// A buffer of fixed length whose memory is recycled when it is dropped. Dereferences to a slice.
pub struct Buf<E: Pooled>(Storage<E>);

enum Storage<E> {
    /// A short buffer, or one made from a vector.
    Own(Vec<E>),
    /// `len` elements from the start of the range, which no other buffer uses.
    Lent { place: Place, len: usize },
}

// SAFETY: a range belongs to one buffer alone, and elements may be sent and shared.
unsafe impl<E: Pooled> Send for Buf<E> {}
// SAFETY: a range belongs to one buffer alone, and elements may be sent and shared.
unsafe impl<E: Pooled> Sync for Buf<E> {}

impl<E: Pooled> Buf<E> {
    /// Makes a buffer of `len` elements with **unspecified** but initialised contents: whatever the last user of the
    /// memory left there.
    pub fn new(len: usize) -> Self {
        // No allocation is larger than `isize::MAX` bytes: such a length is left to `vec!`, which panics.
        let bytes = len.checked_mul(size_of::<E>()).filter(|bytes| isize::try_from(*bytes).is_ok());
        let place = bytes.filter(|bytes| *bytes >= SMALLEST).and_then(|bytes| runtime().heap().take(bytes));
        Buf(match place {
            Some(place) => Storage::Lent { place, len },
            None => Storage::Own(vec![E::default(); len]),
        })
    }

    /// Makes a buffer of `len` zeros.
    pub fn zeroed(len: usize) -> Self {
        let mut buffer = Self::new(len);
        buffer.fill(E::default());
        buffer
    }

    /// Makes a copy of `source`.
    pub fn copy_of(source: &[E]) -> Self {
        let mut buffer = Self::new(source.len());
        buffer.copy_from_slice(source);
        buffer
    }
}

impl<E: Pooled> From<Vec<E>> for Buf<E> {
    fn from(v: Vec<E>) -> Self {
        Buf(Storage::Own(v))
    }
}

impl<E: Pooled> Drop for Buf<E> {
    fn drop(&mut self) {
        if let Storage::Lent { place, .. } = &self.0 {
            runtime().heap().give(place);
        }
    }
}

impl<E: Pooled> Clone for Buf<E> {
    fn clone(&self) -> Self {
        Self::copy_of(self)
    }
}

impl<E: Pooled> Deref for Buf<E> {
    type Target = [E];
    fn deref(&self) -> &[E] {
        match &self.0 {
            Storage::Own(own) => own,
            // SAFETY: the range has room for `len` elements and starts at a cache line. Its bytes were zeroed or
            // written as a type of which every bit pattern is a value. The slice borrows the buffer.
            Storage::Lent { place, len } => unsafe {
                std::slice::from_raw_parts(place.start.as_ptr().cast(), *len)
            },
        }
    }
}

impl<E: Pooled> DerefMut for Buf<E> {
    fn deref_mut(&mut self) -> &mut [E] {
        match &mut self.0 {
            Storage::Own(own) => own,
            // SAFETY: the range has room for `len` elements and starts at a cache line. Its bytes were zeroed or
            // written as a type of which every bit pattern is a value. The slice borrows the buffer exclusively.
            Storage::Lent { place, len } => unsafe {
                std::slice::from_raw_parts_mut(place.start.as_ptr().cast(), *len)
            },
        }
    }
}

impl<E: Pooled + fmt::Debug> fmt::Debug for Buf<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = &self[..self.len().min(8)];
        f.debug_struct("Buf").field("len", &self.len()).field("head", &head).finish()
    }
}

#[cfg(test)]
mod tests;
