//! The one parallel loop of the kernels, on the current rayon pool.
//!
//! A parallel iterator compiles rayon's splitting, stealing and waiting anew for every closure and element type. Here
//! they are compiled once, for a closure behind a reference. Only plain loops over ranges of indices are generic.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;

/// Runs `run` on disjoint ranges that cover `0..count`, in parallel. A range is halved only if both halves have at
/// least `least` indices; 0 counts as 1. Without a second thread there is one range.
pub(crate) fn ranges(count: usize, least: usize, run: &(dyn Fn(Range<usize>) + Sync)) {
    let least = least.max(1);
    if count == 0 {
        return;
    }
    let threads = if count / 2 < least { 1 } else { rayon::current_num_threads() };
    if threads == 1 {
        return run(0..count);
    }
    Splitter { threads, least, run }.halve(0..count, threads, false);
}

/// rayon's adaptive splitting of an iterator: at first one range for every thread. A range that another thread has
/// stolen is split further.
struct Splitter<'a> {
    threads: usize,
    least: usize,
    run: &'a (dyn Fn(Range<usize>) + Sync),
}

impl Splitter<'_> {
    /// Runs a range, in halves if `splits` are left or the range has `migrated` to another thread.
    fn halve(&self, range: Range<usize>, splits: usize, migrated: bool) {
        let half = range.len() / 2;
        if half < self.least || (splits == 0 && !migrated) {
            return (self.run)(range);
        }
        let splits = if migrated { self.threads.max(splits / 2) } else { splits / 2 };
        let middle = range.start + half;
        rayon::join_context(
            |context| self.halve(range.start..middle, splits, context.migrated()),
            |context| self.halve(middle..range.end, splits, context.migrated()),
        );
    }
}

/// A slice whose chunks go to several threads. Its chunks have `size` elements; the last one may have fewer.
struct Chunks<'a, T> {
    first: *mut T,
    len: usize,
    size: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: a shared reference gives access to chunks only, through an unsafe function whose callers keep them disjoint.
// So one thread at a time uses an element, which `Send` allows.
unsafe impl<T: Send> Sync for Chunks<'_, T> {}

impl<'a, T> Chunks<'a, T> {
    fn new(slice: &'a mut [T], size: usize) -> Self {
        assert!(size > 0, "a chunk must have elements");
        Self { first: slice.as_mut_ptr(), len: slice.len(), size, slice: PhantomData }
    }

    fn count(&self) -> usize {
        self.len.div_ceil(self.size)
    }

    /// The chunks of a range.
    ///
    /// # Safety
    /// The range lies in `0..self.count()`, and no other range that is ever asked for overlaps it.
    unsafe fn of(&self, range: Range<usize>) -> impl Iterator<Item = &'a mut [T]> {
        let (from, to) = (range.start * self.size, (range.end * self.size).min(self.len));
        // SAFETY: the elements are a part of the slice that is borrowed for 'a, and of no other range by this
        // function's conditions.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(from), to - from) }.chunks_mut(self.size)
    }
}

/// Chunk `i` of an operand. The last chunk may be shorter than `size`.
///
/// # Panics
/// When there is no such chunk.
pub(crate) fn chunk<T>(x: &[T], size: usize, i: usize) -> &[T] {
    let x = &x[i * size..];
    &x[..size.min(x.len())]
}

/// Runs `f(i, chunk i)` for all chunks of `out`, in parallel. A thread takes at least `least` of them at a time. The
/// last chunk may be shorter than `size`.
///
/// # Panics
/// When `size` is 0, or `f` panics.
pub(crate) fn each_chunk<T: Send>(
    out: &mut [T],
    size: usize,
    least: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    let chunks = Chunks::new(out, size);
    ranges(chunks.count(), least, &|range| {
        // SAFETY: `ranges` gives disjoint ranges of chunks.
        let here = unsafe { chunks.of(range.clone()) };
        range.zip(here).for_each(|(i, chunk)| f(i, chunk));
    });
}

/// Does the work of [`each_chunk`] with a workspace, which `scratch` makes for every range of chunks.
pub(crate) fn each_chunk_with<T: Send, S>(
    out: &mut [T],
    size: usize,
    least: usize,
    scratch: impl Fn() -> S + Sync,
    f: impl Fn(&mut S, usize, &mut [T]) + Sync,
) {
    let chunks = Chunks::new(out, size);
    ranges(chunks.count(), least, &|range| {
        let mut scratch = scratch();
        // SAFETY: `ranges` gives disjoint ranges of chunks.
        let here = unsafe { chunks.of(range.clone()) };
        range.zip(here).for_each(|(i, chunk)| f(&mut scratch, i, chunk));
    });
}

/// Runs `f(i, chunk i of a, chunk i of b)` for all chunks that both have, like [`each_chunk`].
pub(crate) fn each_pair<A: Send, B: Send>(
    (a, b): (&mut [A], &mut [B]),
    sizes: [usize; 2],
    least: usize,
    f: impl Fn(usize, &mut [A], &mut [B]) + Sync,
) {
    each_pair_with((a, b), sizes, least, || (), |(), i, a, b| f(i, a, b));
}

/// Does the work of [`each_pair`] with a workspace, which `scratch` makes for every range of chunks.
pub(crate) fn each_pair_with<A: Send, B: Send, S>(
    (a, b): (&mut [A], &mut [B]),
    sizes: [usize; 2],
    least: usize,
    scratch: impl Fn() -> S + Sync,
    f: impl Fn(&mut S, usize, &mut [A], &mut [B]) + Sync,
) {
    let (a, b) = (Chunks::new(a, sizes[0]), Chunks::new(b, sizes[1]));
    ranges(a.count().min(b.count()), least, &|range| {
        let mut scratch = scratch();
        // SAFETY: `ranges` gives disjoint ranges of chunks.
        let here = unsafe { a.of(range.clone()).zip(b.of(range.clone())) };
        range.zip(here).for_each(|(i, (a, b))| f(&mut scratch, i, a, b));
    });
}

/// Runs `f(i, item i)` for all items, like [`each_chunk`] for chunks.
pub(crate) fn each<T: Send>(items: &mut [T], least: usize, f: impl Fn(usize, &mut T) + Sync) {
    each_chunk(items, 1, least, |i, item| f(i, &mut item[0]));
}

/// Does the work of [`each`] with a workspace, which `scratch` makes for every range of items.
pub(crate) fn each_with<T: Send, S>(
    items: &mut [T],
    least: usize,
    scratch: impl Fn() -> S + Sync,
    f: impl Fn(&mut S, usize, &mut T) + Sync,
) {
    each_chunk_with(items, 1, least, scratch, |scratch, i, item| f(scratch, i, &mut item[0]));
}

/// Collects `f(i)` for the indices below `count`, in their order. A thread takes at least `least` of them at a time.
///
/// # Panics
/// When `f` panics. Results that exist already are leaked then.
pub(crate) fn collect<R: Send>(count: usize, least: usize, f: impl Fn(usize) -> R + Sync) -> Vec<R> {
    collect_with(count, least, || (), |(), i| f(i))
}

/// Does the work of [`collect`] with a workspace, which `scratch` makes for every range of indices.
pub(crate) fn collect_with<R: Send, S>(
    count: usize,
    least: usize,
    scratch: impl Fn() -> S + Sync,
    f: impl Fn(&mut S, usize) -> R + Sync,
) -> Vec<R> {
    let mut all = Vec::with_capacity(count);
    each_with(&mut all.spare_capacity_mut()[..count], least, scratch, |scratch, i, result| {
        result.write(f(scratch, i));
    });
    // SAFETY: each of the first `count` elements was written.
    unsafe { all.set_len(count) };
    all
}

/// Collects `f(i, chunk i)` for all chunks of `out`, in their order; see [`each_chunk`] and [`collect`].
pub(crate) fn collect_chunks<T: Send, R: Send>(
    out: &mut [T],
    size: usize,
    least: usize,
    f: impl Fn(usize, &mut [T]) -> R + Sync,
) -> Vec<R> {
    let count = out.len().div_ceil(size.max(1));
    let mut all = Vec::with_capacity(count);
    each_pair((out, &mut all.spare_capacity_mut()[..count]), [size, 1], least, |i, out, result| {
        result[0].write(f(i, out));
    });
    // SAFETY: each of the first `count` elements was written: one for every chunk.
    unsafe { all.set_len(count) };
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::on_threads;
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const COUNTS: [usize; 9] = [0, 1, 2, 3, 7, 16, 17, 100, 1000];

    /// The ranges of a loop, in ascending order.
    fn ranges_of(threads: usize, count: usize, least: usize) -> Vec<Range<usize>> {
        let seen = Mutex::new(Vec::new());
        on_threads(threads, || ranges(count, least, &|range| seen.lock().unwrap().push(range)));
        let mut seen = seen.into_inner().unwrap();
        seen.sort_by_key(|range| range.start);
        seen
    }

    #[test]
    fn ranges_cover_every_index_once_and_are_not_too_short() {
        for threads in [1, 2, 3, 8] {
            for (count, least) in
                COUNTS.into_iter().flat_map(|n| [0, 1, 2, 5, 64, 5000].map(|least| (n, least)))
            {
                let seen = ranges_of(threads, count, least);
                let at = format!("{threads} {count} {least}: {seen:?}");
                assert!(seen.windows(2).all(|pair| pair[0].end == pair[1].start), "{at}");
                let ends = (seen.first().map(|r| r.start), seen.last().map(|r| r.end));
                assert_eq!(ends, if count == 0 { (None, None) } else { (Some(0), Some(count)) }, "{at}");
                assert!(seen.iter().all(|range| range.len() >= least.clamp(1, count)), "{at}");
                if threads == 1 {
                    assert!(seen.len() <= 1, "{at}");
                } else {
                    // As many halvings as make a range for every thread, unless ranges would be too short.
                    let pieces = (0..=threads.ilog2()).fold(vec![count], |pieces, _| {
                        let halves = pieces.into_iter().flat_map(|n| {
                            if n / 2 >= least.max(1) { vec![n / 2, n - n / 2] } else { vec![n] }
                        });
                        halves.collect()
                    });
                    assert!(seen.len() >= pieces.iter().filter(|n| **n > 0).count(), "{at}");
                }
            }
        }
    }

    #[test]
    fn both_threads_of_a_pool_work() {
        let (first, second) = (AtomicUsize::new(0), AtomicUsize::new(0));
        // Each half waits for the other one, so one thread alone would never end.
        on_threads(2, || {
            ranges(2, 1, &|range| {
                let (mine, other) = if range.start == 0 { (&first, &second) } else { (&second, &first) };
                mine.store(1, Ordering::SeqCst);
                while other.load(Ordering::SeqCst) == 0 {
                    std::thread::yield_now();
                }
            });
        });
        assert_eq!((first.into_inner(), second.into_inner()), (1, 1));
    }

    #[test]
    fn chunks_are_those_of_the_slice() {
        for threads in [1, 2, 5] {
            on_threads(threads, || {
                for (count, size) in COUNTS.into_iter().flat_map(|n| [1, 2, 7, 1001].map(|size| (n, size))) {
                    let mut out = vec![0; count];
                    each_chunk(&mut out, size, 2, |i, chunk| {
                        assert_eq!(chunk.len(), size.min(count - i * size));
                        chunk.iter_mut().enumerate().for_each(|(j, v)| *v += i * size + j + 1);
                    });
                    assert!(out.iter().enumerate().all(|(i, v)| *v == i + 1), "{count} {size}");
                }
            });
        }
    }

    #[test]
    fn pairs_end_with_the_shorter_array() {
        on_threads(3, || {
            let (mut a, mut b) = (vec![0; 100], vec![0_u8; 12]);
            each_pair((&mut a, &mut b), [10, 2], 1, |i, a, b| {
                assert_eq!((a.len(), b.len()), (10, 2));
                a.fill(i + 1);
                b.fill(i as u8 + 1);
            });
            assert!(a.iter().enumerate().all(|(i, v)| *v == if i < 60 { i / 10 + 1 } else { 0 }));
            assert!(b.iter().enumerate().all(|(i, v)| usize::from(*v) == i / 2 + 1));
        });
    }

    #[test]
    fn a_range_has_a_workspace_of_its_own() {
        for threads in [1, 4] {
            let made = AtomicUsize::new(0);
            let mut order = vec![0; 1000];
            on_threads(threads, || {
                let scratch = || (made.fetch_add(1, Ordering::SeqCst), Cell::new(0));
                each_with(&mut order, 1, scratch, |(_, count), _, item| {
                    count.set(count.get() + 1);
                    *item = count.get();
                });
            });
            let firsts = order.iter().filter(|v| **v == 1).count();
            assert_eq!(firsts, made.into_inner());
            assert!(order.windows(2).all(|pair| pair[1] == pair[0] + 1 || pair[1] == 1));
            assert!(if threads == 1 { firsts == 1 } else { firsts >= threads });
        }
    }

    #[test]
    fn results_are_in_the_order_of_indices() {
        for threads in [1, 2, 7] {
            on_threads(threads, || {
                for count in COUNTS {
                    let strings = collect(count, 3, |i| i.to_string());
                    assert_eq!(strings, (0..count).map(|i| i.to_string()).collect::<Vec<_>>());
                    let mut out: Vec<usize> = (0..count).collect();
                    let sums = collect_chunks(&mut out, 7, 1, |i, chunk| {
                        chunk.iter_mut().for_each(|v| *v += 1);
                        (i, chunk.iter().sum::<usize>())
                    });
                    let want: Vec<usize> = (1..=count).collect();
                    assert_eq!(out, want);
                    assert_eq!(sums, want.chunks(7).map(|c| c.iter().sum()).enumerate().collect::<Vec<_>>());
                }
            });
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_after_all_ranges_ended() {
        for threads in [1, 2, 4] {
            on_threads(threads, || {
                let running = AtomicUsize::new(0);
                let ended = catch_unwind(AssertUnwindSafe(|| {
                    ranges(64, 1, &|range| {
                        running.fetch_add(1, Ordering::SeqCst);
                        let fails = range.contains(&13);
                        running.fetch_sub(1, Ordering::SeqCst);
                        assert!(!fails, "index 13");
                    });
                }));
                let message = *ended.expect_err("a panic").downcast::<&str>().expect("a message");
                assert_eq!((message, running.into_inner()), ("index 13", 0));
                // The pool still works.
                assert_eq!(collect(10, 1, |i| i), (0..10).collect::<Vec<_>>());
            });
        }
    }

    #[test]
    #[should_panic(expected = "a chunk must have elements")]
    fn chunks_without_elements_are_refused() {
        each_chunk(&mut [1, 2], 0, 1, |_, _| {});
    }

    #[test]
    fn loops_nest() {
        for threads in [1, 2, 5] {
            on_threads(threads, || {
                let mut out = vec![0; 60 * 50];
                each_chunk(&mut out, 50, 1, |i, row| {
                    let parts = collect(50, 1, |j| i * 50 + j);
                    each_chunk(row, 7, 1, |j, part| part.copy_from_slice(&parts[j * 7..][..part.len()]));
                });
                assert!(out.iter().enumerate().all(|(i, v)| i == *v));
            });
        }
    }

    #[test]
    fn loops_run_outside_a_pool() {
        assert_eq!(collect(1000, 1, |i| 2 * i), (0..1000).map(|i| 2 * i).collect::<Vec<_>>());
    }
}
