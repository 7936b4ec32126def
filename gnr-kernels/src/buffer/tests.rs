//! Gaps, release and exclusive ranges of the heap.

use super::{
    heap::{CHUNK, LINE, STAGGER},
    *,
};
use rayon::prelude::*;

/// A heap of its own, because other tests use the process-wide one at the same time.
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
    // One buffer fits into the four merged gaps; then two smaller ones share them.
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
    let [before, used, after] = [1 << 20; 3].map(|bytes| heap.take(bytes).expect("memory"));
    // SAFETY: the ranges belong to this test and have room for a million bytes.
    let fill = |place: &Place, value: u8| unsafe { place.start.as_ptr().write_bytes(value, 1_000_000) };
    // SAFETY: the ranges belong to this test and have room for a million bytes.
    let all = |place: &Place, value: u8| unsafe {
        std::slice::from_raw_parts(place.start.as_ptr(), 1_000_000).iter().all(|byte| *byte == value)
    };
    for place in [&before, &used, &after] {
        fill(place, 7);
    }
    heap.give(&before);
    heap.give(&after);
    heap.release();
    assert!(all(&used, 7) && heap.idle == 0);
    #[cfg(target_os = "linux")]
    assert!(!all(&before, 7) && !all(&after, 7), "pages were given back");
    heap.give(&used);
    heap.release();
    assert!(heap.chunks.iter().all(Option::is_none));
    let fresh = heap.take(1 << 20).expect("memory");
    assert!(all(&fresh, 0));
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

/// Many threads take, write, check and drop buffers of mixed lengths: ranges never overlap.
#[test]
fn buffers_are_exclusive_across_threads() {
    (0..64_u32).into_par_iter().for_each(|task| {
        let mut buffers = Vec::new();
        for round in 0..40_u32 {
            let len = 1 + (task * 7919 + round * 104_729) as usize % 60_000;
            let mark = task * 1000 + round;
            let mut buffer = Buf::<u32>::new(len);
            assert_eq!(buffer.len(), len);
            buffer.fill(mark);
            buffers.push((buffer, mark));
            if round % 3 == 2 {
                let (buffer, mark) = buffers.swap_remove(round as usize % buffers.len());
                assert!(buffer.iter().all(|&v| v == mark));
            }
        }
        assert!(buffers.iter().all(|(buffer, mark)| buffer.iter().all(|v| v == mark)));
    });
}
