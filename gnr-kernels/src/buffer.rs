//! Recycled memory: activations, adjoints and working memory of kernels share one heap of address space that is touched once.
//!
//! Fresh large allocations come from the kernel page by page, cleared; on a ResNet-20 gradient this costs a third of the time. A
//! [`Buf`] therefore gives its place back to a process-wide heap when it is dropped, and the next one, of whatever length, takes the
//! smallest gap that it fits into ([`range_alloc`]); gaps merge. So what a step holds is little more than what is alive at its peak, and
//! steps after the first touch no new page. Idle memory is bounded ([`set_limit`], default 4 GiB): beyond it all of it goes back.
#![allow(unsafe_code)]

use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use range_alloc::RangeAllocator;

/// Shorter buffers, in bytes, come from the system's allocator.
const SMALLEST: usize = 16 << 10;

/// Unit of the heap in bytes: a cache line.
const LINE: usize = 64;

/// Address space of a chunk, in lines: 1 GiB. Only what is touched takes memory.
const CHUNK: usize = (1 << 30) / LINE;

/// So many lines of a chunk, 8 MiB, stay in pages of the usual size: a net that needs no more should not touch memory by the 2 MiB.
#[cfg(target_os = "linux")]
const SMALL: usize = (8 << 20) / LINE;

/// Places of so many bytes and more …
const STAGGERED: usize = 256 << 10;
/// … have so many lines left free behind them: places whose lengths are powers of two would otherwise compete for the same sets of the caches.
const STAGGER: usize = 64 + 5;

/// Bound of the memory that is held idle, in bytes.
static LIMIT: AtomicUsize = AtomicUsize::new(4 << 30);

/// Sets the number of bytes that may be held idle; `0` switches recycling off.
pub fn set_limit(bytes: usize) {
    LIMIT.store(bytes, Ordering::Relaxed);
}

/// Lets [`peak`] start again from what buffers hold now.
pub fn reset_peak() {
    let mut heap = heap();
    heap.peak = heap.taken;
}

/// The most that buffers held at one time since the program started or since [`reset_peak`], in bytes. Buffers of less than 16 KiB are
/// the system allocator's and not counted.
pub fn peak() -> usize {
    heap().peak
}

/// Gives all idle memory back to the system.
pub fn release_idle() {
    heap().release();
    // glibc keeps what is freed below something that is not, up to hundreds of MB.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes how much to keep, which may be any number, and locks the arenas itself.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The `gemm` crate takes working memory from the system's allocator in every product. glibc gives blocks of more than 128 KB back to
/// the system at once, and clears them page by page when they are taken again, until a program frees a larger one, which this crate
/// never does: 7 % of a ViT's step. So it is told what it would find out then.
fn keep_freed_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: numbers that it may refuse, nothing else.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 << 20);
    }
}

/// A stretch of address space, zero where it was never touched, and which of its lines are taken.
struct Chunk {
    /// Keeps the memory; `u128` so that a multiple of 16 bytes comes untouched from the system.
    memory: Vec<u128>,
    lines: RangeAllocator<usize>,
    taken: usize,
}

impl Chunk {
    /// `None` where the system does not have so much address space.
    fn new(lines: usize) -> Option<Self> {
        let words = (lines + 1) * LINE / size_of::<u128>();
        let layout = std::alloc::Layout::array::<u128>(words).ok()?;
        // SAFETY: the layout is not empty; zeroed memory is `words` valid numbers, allocated as `Vec` would with this capacity.
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

    /// Where a line starts; line 0 starts at a cache line.
    fn at(&mut self, line: usize) -> *mut u8 {
        let start = self.memory.as_mut_ptr().cast::<u8>();
        // In range: there is one line more than are given out.
        start.wrapping_add(start.align_offset(LINE) + line * LINE)
    }

    fn take(&mut self, lines: usize) -> Option<Range<usize>> {
        let range = self.lines.allocate_range(lines).ok()?;
        self.taken += lines;
        Some(range)
    }

    /// Says to the system what may be done with the pages that lie in these lines.
    #[cfg(target_os = "linux")]
    fn advise(&mut self, lines: Range<usize>, advice: libc::c_int) {
        const PAGE: usize = 4096;
        let (from, to) = (self.at(lines.start), self.at(lines.end));
        let from = from.wrapping_add(from.align_offset(PAGE));
        let len = (to as usize).saturating_sub(from as usize) / PAGE * PAGE;
        if len > 0 {
            // SAFETY: whole pages inside the chunk's memory, which the system handed out as private anonymous memory; where it did not,
            // or the pages are larger, it refuses. Lines that are given back are free, and zeroed pages are valid contents.
            unsafe {
                libc::madvise(from.cast(), len, advice);
            }
        }
    }

    /// Gives the pages of free lines back.
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

/// All chunks, and how many bytes of them are idle, are taken, and were taken at most.
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
    // Nothing in here panics half-way.
    HEAP.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place in the heap.
struct Place {
    start: NonNull<u8>,
    chunk: usize,
    lines: Range<usize>,
}

impl Heap {
    /// `None` when the system has no memory to give.
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
    /// Types of which every pattern of bits is a value.
    pub trait Plain: Copy + Default + Send + Sync + 'static {}
    impl Plain for f32 {}
    impl Plain for f64 {}
    impl Plain for u32 {}
}

/// Element types of buffers: `f32`, `f64`, `u32`.
pub trait Pooled: sealed::Plain {}
impl<E: sealed::Plain> Pooled for E {}

/// A buffer of fixed length whose memory is used again when it is dropped. Dereferences to a slice.
pub struct Buf<E: Pooled>(Storage<E>);

enum Storage<E> {
    /// Short ones, and what was a vector.
    Own(Vec<E>),
    /// `len` elements from the start of the place on, nobody else's.
    Lent { place: Place, len: usize },
}

// SAFETY: a place belongs to its buffer alone, and elements may be sent and shared.
unsafe impl<E: Pooled> Send for Buf<E> {}
// SAFETY: as above.
unsafe impl<E: Pooled> Sync for Buf<E> {}

impl<E: Pooled> Buf<E> {
    /// A buffer of `len` elements with **unspecified** (but initialised) contents: whatever the last user of the memory left there.
    pub fn new(len: usize) -> Self {
        let bytes = len * size_of::<E>();
        let place = if bytes < SMALLEST { None } else { heap().take(bytes) };
        Buf(match place {
            Some(place) => Storage::Lent { place, len },
            None => Storage::Own(vec![E::default(); len]),
        })
    }

    /// A buffer of `len` zeros.
    pub fn zeroed(len: usize) -> Self {
        let mut buffer = Self::new(len);
        buffer.fill(E::default());
        buffer
    }

    /// A copy of `source`.
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
            // SAFETY: the place has room for `len` elements, starts at a cache line, holds bytes that were zeroed or written as one of the
            // types of which every pattern of bits is a value, and is borrowed with the buffer.
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
            // SAFETY: as above, exclusively.
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
mod tests {
    use super::*;
    use rayon::prelude::*;

    /// A heap of its own: others use the process's at the same time.
    fn empty() -> Heap {
        Heap::EMPTY
    }

    #[test]
    fn a_gap_serves_any_length_and_gaps_merge() {
        let mut heap = empty();
        let places: Vec<_> = (0..4).map(|_| heap.take(1 << 20).expect("memory")).collect();
        let end = heap.take(1 << 20).expect("memory");
        places.iter().for_each(|place| heap.give(place));
        assert_eq!(heap.idle, 4 * ((1 << 20) + STAGGER * LINE));
        assert_eq!((heap.taken, heap.peak), (heap.idle / 4, heap.idle / 4 * 5));
        // All four gaps together, then two pieces of it.
        let whole = heap.take(4 << 20).expect("memory");
        assert_eq!(whole.start, places[0].start);
        heap.give(&whole);
        let [first, second] = [1 << 20, 2 << 20].map(|bytes| heap.take(bytes).expect("memory"));
        assert!(first.lines.end <= second.lines.start && second.lines.end <= end.lines.start);
        assert_eq!(heap.chunks.len(), 1);
    }

    #[test]
    fn release_keeps_what_is_in_use_and_frees_empty_chunks() {
        let mut heap = empty();
        let [before, kept, after] = [1 << 20; 3].map(|bytes| heap.take(bytes).expect("memory"));
        // SAFETY: the places are this test's, and have room for a million bytes.
        let fill = |place: &Place, value: u8| unsafe { place.start.as_ptr().write_bytes(value, 1_000_000) };
        // SAFETY: as above.
        let all = |place: &Place, value: u8| unsafe {
            std::slice::from_raw_parts(place.start.as_ptr(), 1_000_000).iter().all(|byte| *byte == value)
        };
        for place in [&before, &kept, &after] {
            fill(place, 7);
        }
        heap.give(&before);
        heap.give(&after);
        heap.release();
        assert!(all(&kept, 7) && heap.idle == 0);
        #[cfg(target_os = "linux")]
        assert!(!all(&before, 7) && !all(&after, 7), "pages were given back");
        heap.give(&kept);
        heap.release();
        assert!(heap.chunks.iter().all(Option::is_none));
        let again = heap.take(1 << 20).expect("memory");
        assert!(all(&again, 0));
    }

    #[test]
    fn longer_than_a_chunk_is_a_chunk_of_its_own() {
        let mut heap = empty();
        let small = heap.take(SMALLEST).expect("memory");
        let large = heap.take(2 * CHUNK * LINE).expect("memory");
        assert_eq!((small.chunk, large.chunk), (0, 1));
        assert!((large.start.as_ptr() as usize).is_multiple_of(LINE));
    }

    #[test]
    fn zeroed_is_zero_even_when_recycled() {
        drop(Buf::copy_of(&vec![7.0_f64; 12_345]));
        assert!(Buf::<f64>::zeroed(12_345).iter().all(|&v| v == 0.0));
        assert!(Buf::<u32>::zeroed(100).iter().all(|&v| v == 0));
    }

    /// Many threads take, write, check and give buffers of mixed lengths: places never overlap.
    #[test]
    fn buffers_are_exclusive_across_threads() {
        (0..64_u32).into_par_iter().for_each(|task| {
            let mut held = Vec::new();
            for round in 0..40_u32 {
                let len = 1 + (task * 7919 + round * 104_729) as usize % 60_000;
                let mark = task * 1000 + round;
                let mut buffer = Buf::<u32>::new(len);
                assert_eq!(buffer.len(), len);
                buffer.fill(mark);
                held.push((buffer, mark));
                if round % 3 == 2 {
                    let (buffer, mark) = held.swap_remove(round as usize % held.len());
                    assert!(buffer.iter().all(|&v| v == mark));
                }
            }
            assert!(held.iter().all(|(buffer, mark)| buffer.iter().all(|v| v == mark)));
        });
    }
}
