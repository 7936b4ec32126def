//! Recycled memory: activations, adjoints and workspaces share one heap of address space whose pages are touched once.
//!
//! The system hands out fresh large allocations page by page, cleared; on a ResNet-20 gradient this costs a third of
//! the time. A dropped [`Buf`] therefore returns its range to a process-wide heap. The next buffer, of any length,
//! takes the smallest gap that it fits into ([`range_alloc`]); neighbouring gaps merge. So a step holds little more
//! than what is alive at its peak, and steps after the first touch no new page. Idle memory is bounded ([`set_limit`],
//! default 4 GiB): beyond the bound, all of it is returned to the system.
#![allow(unsafe_code)]

use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use range_alloc::RangeAllocator;

/// Buffers of fewer bytes come from the system's allocator.
const SMALLEST: usize = 16 << 10;

/// Unit of the heap in bytes: a cache line.
const LINE: usize = 64;

/// Address space of a chunk, in lines: 1 GiB. Only touched pages take memory.
const CHUNK: usize = (1 << 30) / LINE;

/// Lines at the start of a chunk, 8 MiB, that stay in pages of the usual size: a small net should not take memory in
/// steps of 2 MiB.
#[cfg(target_os = "linux")]
const SMALL: usize = (8 << 20) / LINE;

/// Ranges of at least so many bytes are followed by [`STAGGER`] free lines.
const STAGGERED: usize = 256 << 10;
/// Free lines behind a large range. Without them, ranges whose lengths are powers of two would compete for the same
/// sets of the caches.
const STAGGER: usize = 64 + 5;

/// Bound of idle memory, in bytes.
static LIMIT: AtomicUsize = AtomicUsize::new(4 << 30);

/// Sets how many bytes may be idle. With `0`, memory is returned to the system as soon as a buffer is dropped.
pub fn set_limit(bytes: usize) {
    LIMIT.store(bytes, Ordering::Relaxed);
}

/// Sets [`peak`] to the bytes that buffers hold now.
pub fn reset_peak() {
    let mut heap = heap();
    heap.peak = heap.taken;
}

/// The most bytes that buffers held at one time, since the program started or since [`reset_peak`]. Buffers of less
/// than 16 KiB are not counted: they come from the system's allocator.
pub fn peak() -> usize {
    heap().peak
}

/// Returns all idle memory to the system.
pub fn release_idle() {
    heap().release();
    // glibc keeps freed memory that lies below memory in use, up to hundreds of MB.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `malloc_trim` takes any number of bytes to keep, and locks the arenas itself.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets glibc keep freed blocks of up to 32 MiB.
///
/// The `gemm` crate takes a workspace from the system's allocator in every product. By default glibc returns blocks of
/// more than 128 KB to the system at once, and clears them when they are allocated next: 7 % of a ViT's step. glibc
/// raises this threshold after a program freed a larger block, which this crate never does.
fn keep_freed_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `mallopt` only reads two numbers, which it may refuse.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 << 20);
    }
}

/// A stretch of address space, zero where it was never touched, and its free lines.
struct Chunk {
    /// Owns the memory. With `u128`, a multiple of 16 bytes comes untouched from the system.
    memory: Vec<u128>,
    lines: RangeAllocator<usize>,
    taken: usize,
}

impl Chunk {
    /// Reserves a chunk, or returns `None` if the system does not have so much address space.
    fn new(lines: usize) -> Option<Self> {
        let words = (lines + 1) * LINE / size_of::<u128>();
        let layout = std::alloc::Layout::array::<u128>(words).ok()?;
        // SAFETY: the layout is not empty; zeroed memory is `words` valid numbers, allocated as `Vec` would with this
        // capacity.
        let memory = unsafe {
            let start = std::alloc::alloc_zeroed(layout).cast::<u128>();
            (!start.is_null()).then(|| Vec::from_raw_parts(start, words, words))?
        };
        #[cfg_attr(not(target_os = "linux"), allow(unused_mut))]
        let mut chunk = Self { memory, lines: RangeAllocator::new(0..lines), taken: 0 };
        #[cfg(target_os = "linux")]
        chunk.advise(SMALL.min(lines)..lines, libc::MADV_HUGEPAGE);
        Some(chunk)
    }

    /// Pointer to a line. Line 0 starts at a cache line.
    fn at(&mut self, line: usize) -> *mut u8 {
        let start = self.memory.as_mut_ptr().cast::<u8>();
        // In range, because the memory has one line more than are handed out.
        start.wrapping_add(start.align_offset(LINE) + line * LINE)
    }

    fn take(&mut self, lines: usize) -> Option<Range<usize>> {
        let range = self.lines.allocate_range(lines).ok()?;
        self.taken += lines;
        Some(range)
    }

    /// Tells the system what it may do with the whole pages in these lines.
    #[cfg(target_os = "linux")]
    fn advise(&mut self, lines: Range<usize>, advice: libc::c_int) {
        const PAGE: usize = 4096;
        let (from, to) = (self.at(lines.start), self.at(lines.end));
        let from = from.wrapping_add(from.align_offset(PAGE));
        let len = (to as usize).saturating_sub(from as usize) / PAGE * PAGE;
        if len > 0 {
            // SAFETY: the range is whole pages of the chunk's memory. The system allocated them as private anonymous
            // memory; otherwise, or if its pages are larger, it refuses. No buffer uses free lines, and zeroed pages
            // are valid contents.
            unsafe {
                libc::madvise(from.cast(), len, advice);
            }
        }
    }

    /// Returns the pages of free lines to the system.
    fn release(&mut self) {
        #[cfg(target_os = "linux")]
        {
            let mut free = 0;
            let mut taken: Vec<_> = self.lines.allocated_ranges().collect();
            taken.sort_unstable_by_key(|range| range.start);
            let end = self.lines.initial_range().end;
            for range in taken.into_iter().chain(std::iter::once(end..end)) {
                self.advise(free..range.start, libc::MADV_DONTNEED);
                free = range.end;
            }
        }
    }
}

/// All chunks, with the bytes of them that are idle, in use, and in use at the peak.
struct Heap {
    chunks: Vec<Option<Chunk>>,
    idle: usize,
    taken: usize,
    peak: usize,
}

impl Heap {
    const EMPTY: Self = Self { chunks: Vec::new(), idle: 0, taken: 0, peak: 0 };
}

static HEAP: Mutex<Heap> = Mutex::new(Heap::EMPTY);

fn heap() -> MutexGuard<'static, Heap> {
    // A poisoned lock is fine: no code under the lock panics half-way.
    HEAP.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A range of the heap, owned by one buffer.
struct Place {
    start: NonNull<u8>,
    chunk: usize,
    lines: Range<usize>,
}

impl Heap {
    /// Takes a range for `bytes`, or returns `None` if the system has no memory left.
    fn take(&mut self, bytes: usize) -> Option<Place> {
        let place = self.find(bytes)?;
        self.taken += place.lines.len() * LINE;
        self.peak = self.peak.max(self.taken);
        Some(place)
    }

    fn find(&mut self, bytes: usize) -> Option<Place> {
        let lines = bytes.div_ceil(LINE) + if bytes < STAGGERED { 0 } else { STAGGER };
        self.idle = self.idle.saturating_sub(lines * LINE);
        let place = |index: usize, chunk: &mut Chunk| {
            let range = chunk.take(lines)?;
            Some(Place { start: NonNull::new(chunk.at(range.start))?, chunk: index, lines: range })
        };
        for (index, chunk) in self.chunks.iter_mut().enumerate() {
            if let Some(place) = chunk.as_mut().and_then(|chunk| place(index, chunk)) {
                return Some(place);
            }
        }
        if self.chunks.is_empty() {
            keep_freed_blocks();
        }
        let mut chunk = Chunk::new(lines.max(CHUNK)).or_else(|| Chunk::new(lines))?;
        let vacant = self.chunks.iter().position(Option::is_none).unwrap_or(self.chunks.len());
        let place = place(vacant, &mut chunk);
        self.chunks.resize_with(self.chunks.len().max(vacant + 1), || None);
        self.chunks[vacant] = Some(chunk);
        place
    }

    fn give(&mut self, place: &Place) {
        if let Some(Some(chunk)) = self.chunks.get_mut(place.chunk) {
            chunk.lines.free_range(place.lines.clone());
            chunk.taken -= place.lines.len();
        }
        self.idle += place.lines.len() * LINE;
        self.taken -= place.lines.len() * LINE;
        if self.idle > LIMIT.load(Ordering::Relaxed) {
            self.release();
        }
    }

    fn release(&mut self) {
        for slot in &mut self.chunks {
            match slot {
                Some(chunk) if chunk.taken > 0 => chunk.release(),
                _ => *slot = None,
            }
        }
        self.idle = 0;
    }
}

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
        let bytes = len * size_of::<E>();
        let place = if bytes < SMALLEST { None } else { heap().take(bytes) };
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
            heap().give(place);
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
