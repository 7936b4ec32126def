//! Address space whose pages are touched once: chunks, and the ranges of them that are free.
#![allow(unsafe_code)]

use std::ops::Range;
use std::ptr::NonNull;

use range_alloc::RangeAllocator;

/// Unit of the heap in bytes: a cache line.
pub(super) const LINE: usize = 64;

/// Address space of a chunk, in lines: 1 GiB. Only touched pages take memory.
pub(super) const CHUNK: usize = (1 << 30) / LINE;

/// Lines at the start of a chunk, 8 MiB, that stay in pages of the usual size: a small net should not take memory in
/// steps of 2 MiB.
#[cfg(target_os = "linux")]
const SMALL: usize = (8 << 20) / LINE;

/// Ranges of at least so many bytes are followed by [`STAGGER`] free lines.
const STAGGERED: usize = 256 << 10;
/// Free lines behind a large range. Without them, ranges whose lengths are powers of two would compete for the same
/// sets of the caches.
pub(super) const STAGGER: usize = 64 + 5;

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

/// Lets glibc keep freed blocks of up to 32 MiB in every thread, for libraries whose tensors come from it.
///
/// A thread's blocks lie in heaps of 64 MiB. Without padding glibc unmaps a heap as soon as all of it is free, whatever
/// the thresholds.
pub(crate) fn keep_freed_heaps() {
    keep_freed_blocks();
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `mallopt` only reads two numbers, which it may refuse.
    unsafe {
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
    }
}

/// A stretch of address space, zero where it was never touched, and its free lines.
pub(super) struct Chunk {
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

    /// Advises the system (`madvise`) on the whole pages in these lines.
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
pub(crate) struct Heap {
    pub(super) chunks: Vec<Option<Chunk>>,
    pub(super) idle: usize,
    pub(crate) taken: usize,
    pub(crate) peak: usize,
    /// Bytes that may be idle.
    pub(crate) limit: usize,
}

impl Heap {
    pub(crate) const EMPTY: Self = Self { chunks: Vec::new(), idle: 0, taken: 0, peak: 0, limit: 4 << 30 };
}

/// A range of the heap, owned by one buffer.
pub(super) struct Place {
    pub(super) start: NonNull<u8>,
    pub(super) chunk: usize,
    pub(super) lines: Range<usize>,
}

impl Heap {
    /// Takes a range for `bytes`, or returns `None` if the system has no memory left.
    pub(super) fn take(&mut self, bytes: usize) -> Option<Place> {
        let place = self.find(bytes)?;
        self.taken += place.lines.len() * LINE;
        self.peak = self.peak.max(self.taken);
        Some(place)
    }

    fn find(&mut self, bytes: usize) -> Option<Place> {
        let lines = bytes.div_ceil(LINE) + if bytes < STAGGERED { 0 } else { STAGGER };
        let place = |index: usize, chunk: &mut Chunk| {
            let range = chunk.take(lines)?;
            Some(Place { start: NonNull::new(chunk.at(range.start))?, chunk: index, lines: range })
        };
        for (index, chunk) in self.chunks.iter_mut().enumerate() {
            if let Some(place) = chunk.as_mut().and_then(|chunk| place(index, chunk)) {
                self.idle = self.idle.saturating_sub(lines * LINE);
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

    pub(super) fn give(&mut self, place: &Place) {
        if let Some(Some(chunk)) = self.chunks.get_mut(place.chunk) {
            chunk.lines.free_range(place.lines.clone());
            chunk.taken -= place.lines.len();
        }
        self.idle += place.lines.len() * LINE;
        self.taken -= place.lines.len() * LINE;
        if self.idle > self.limit {
            self.release();
        }
    }

    /// Returns all idle memory to the system.
    pub(crate) fn release(&mut self) {
        for slot in &mut self.chunks {
            match slot {
                Some(chunk) if chunk.taken > 0 => chunk.release(),
                _ => *slot = None,
            }
        }
        self.idle = 0;
    }
}

/// Returns memory to the system that glibc keeps: freed blocks below memory in use, up to hundreds of MB.
pub(crate) fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `malloc_trim` takes any number of bytes to keep, and locks the arenas itself.
    unsafe {
        libc::malloc_trim(0);
    }
}
