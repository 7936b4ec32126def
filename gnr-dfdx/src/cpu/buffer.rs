//! Recycled buffers: activations and adjoints are taken from a pool, so a training step does not touch the page-fault path.
//!
//! Fresh large allocations come from the kernel page by page, cleared; on a ResNet-20 gradient this costs a third of the time. A
//! [`Buf`] therefore returns its memory to a process-wide pool, keyed by length, when it is dropped. The pool of each element
//! type is bounded ([`set_limit`], default 4 GiB): beyond the bound, the lengths that have gone unused for longest are freed first.

use std::collections::HashMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Buffers shorter than this are cheaper to allocate than to look up.
const SMALLEST: usize = 256;

/// Bound of each pool, in bytes.
static LIMIT: AtomicUsize = AtomicUsize::new(4 << 30);

/// Sets the number of bytes that each pool (`f32`, `f64`, `u32`) may hold idle; `0` switches recycling off.
pub fn set_limit(bytes: usize) {
    LIMIT.store(bytes, Ordering::Relaxed);
}

/// Frees every idle buffer of every type: what a process holds beyond its tensors goes back to the system.
#[allow(unsafe_code)]
pub fn release_idle() {
    f32::pool().clear();
    f64::pool().clear();
    u32::pool().clear();
    idle_work().clear();
    // glibc keeps what is freed below something that is not, up to hundreds of MB.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes how much to keep, which may be any number, and locks the arenas itself.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Idle buffers of one length, and when one of them was last asked for or given back.
#[derive(Debug)]
struct Shelf<E> {
    idle: Vec<Vec<E>>,
    used: u64,
}

/// The idle buffers of one element type.
#[derive(Debug)]
struct Shelves<E> {
    by_len: Option<HashMap<usize, Shelf<E>>>,
    bytes: usize,
    clock: u64,
}

/// A pool of idle buffers of one element type. Thread-safe.
#[derive(Debug)]
pub struct Pool<E>(Mutex<Shelves<E>>);

impl<E: Copy + Default> Pool<E> {
    /// An empty pool.
    pub const fn new() -> Self {
        Pool(Mutex::new(Shelves { by_len: None, bytes: 0, clock: 0 }))
    }

    fn lock(&self) -> MutexGuard<'_, Shelves<E>> {
        // A panic elsewhere cannot leave the shelves inconsistent in a way that matters: they only hold spare memory.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, len: usize) -> Option<Vec<E>> {
        let mut shelves = self.lock();
        shelves.clock += 1;
        let now = shelves.clock;
        let shelf = shelves.by_len.get_or_insert_default().get_mut(&len)?;
        shelf.used = now;
        let buffer = shelf.idle.pop()?;
        shelves.bytes -= len * size_of::<E>();
        Some(buffer)
    }

    fn give(&self, buffer: Vec<E>) {
        let size = buffer.len() * size_of::<E>();
        let limit = LIMIT.load(Ordering::Relaxed);
        if buffer.len() < SMALLEST || size > limit {
            return;
        }
        let mut freed = Vec::new(); // dropped after the lock is released: unmapping memory is slow
        let mut guard = self.lock();
        let shelves = &mut *guard;
        shelves.clock += 1;
        let by_len = shelves.by_len.get_or_insert_default();
        while shelves.bytes + size > limit {
            let Some(oldest) = by_len
                .iter()
                .filter(|(_, s)| !s.idle.is_empty())
                .min_by_key(|(_, s)| s.used)
                .map(|(&l, _)| l)
            else {
                break;
            };
            if let Some(old) = by_len.get_mut(&oldest).and_then(|s| s.idle.pop()) {
                shelves.bytes -= old.len() * size_of::<E>();
                freed.push(old);
            }
        }
        let shelf = by_len.entry(buffer.len()).or_insert_with(|| Shelf { idle: Vec::new(), used: 0 });
        shelf.used = shelves.clock;
        shelf.idle.push(buffer);
        shelves.bytes += size;
        drop(guard);
        drop(freed);
    }

    /// Bytes held idle.
    pub fn idle_bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Frees every idle buffer.
    pub fn clear(&self) {
        let mut shelves = self.lock();
        let idle = shelves.by_len.take();
        shelves.bytes = 0;
        drop(shelves);
        drop(idle);
    }
}

impl<E: Copy + Default> Default for Pool<E> {
    fn default() -> Self {
        Self::new()
    }
}

/// Element types that have a process-wide pool of buffers.
pub trait Pooled: Copy + Default + Send + 'static {
    /// The pool of this type.
    fn pool() -> &'static Pool<Self>;
}

macro_rules! pooled {
    ($($t:ty),*) => { $(impl Pooled for $t {
        fn pool() -> &'static Pool<Self> {
            static POOL: Pool<$t> = Pool::new();
            &POOL
        }
    })* };
}
pooled!(f32, f64, u32);

/// A buffer of fixed length whose memory returns to the pool when it is dropped. Dereferences to a slice.
pub struct Buf<E: Pooled>(Vec<E>);

impl<E: Pooled> Buf<E> {
    /// A buffer of `len` elements with **unspecified** (but initialised) contents: whatever its last user left there.
    pub fn new(len: usize) -> Self {
        if len < SMALLEST {
            return Buf(vec![E::default(); len]);
        }
        Buf(E::pool().take(len).unwrap_or_else(|| vec![E::default(); len]))
    }

    /// A buffer of `len` zeros.
    pub fn zeroed(len: usize) -> Self {
        if len < SMALLEST {
            return Buf(vec![E::default(); len]);
        }
        match E::pool().take(len) {
            Some(mut recycled) => {
                recycled.fill(E::default());
                Buf(recycled)
            }
            None => Buf(vec![E::default(); len]),
        }
    }

    /// A copy of `source`.
    pub fn copy_of(source: &[E]) -> Self {
        let mut buffer = Self::new(source.len());
        buffer.copy_from_slice(source);
        buffer
    }

    /// The underlying vector, which then leaves the pool's care until it is wrapped again with [`Buf::from`].
    pub fn into_vec(mut self) -> Vec<E> {
        std::mem::take(&mut self.0)
    }
}

impl<E: Pooled> From<Vec<E>> for Buf<E> {
    fn from(v: Vec<E>) -> Self {
        Buf(v)
    }
}

impl<E: Pooled> Drop for Buf<E> {
    fn drop(&mut self) {
        E::pool().give(std::mem::take(&mut self.0));
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
        &self.0
    }
}

impl<E: Pooled> DerefMut for Buf<E> {
    fn deref_mut(&mut self) -> &mut [E] {
        &mut self.0
    }
}

impl<E: Pooled + fmt::Debug> fmt::Debug for Buf<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = &self.0[..self.0.len().min(8)];
        f.debug_struct("Buf").field("len", &self.0.len()).field("head", &head).finish()
    }
}

/// A piece of working memory serves requests down to this part of its length.
const REACH: usize = 8;

/// Pieces of working memory that no kernel uses at the moment.
static IDLE_WORK: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

fn idle_work() -> MutexGuard<'static, Vec<Vec<f32>>> {
    // As for the pools: what it holds is spare.
    IDLE_WORK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Working memory of a kernel, of at least the length asked for. Dereferences to a slice; contents unspecified.
///
/// Tensors come in few lengths that recur exactly; kernels ask for a different length in every layer and never for long. So any
/// idle piece serves that is long enough and not [`REACH`] times too long, and one that has become too short is freed when a
/// longer one is made in its stead. What is held is then what was in use at one time, not the sum over all layers.
pub(crate) struct Work(Vec<f32>);

impl Work {
    pub(crate) fn new(len: usize) -> Self {
        let mut idle = idle_work();
        let best = |idle: &[Vec<f32>], fits: &dyn Fn(usize) -> bool, key: &dyn Fn(usize) -> usize| {
            let fitting = idle.iter().enumerate().filter(|(_, piece)| fits(piece.len()));
            fitting.min_by_key(|(_, piece)| key(piece.len())).map(|(index, _)| index)
        };
        if let Some(index) = best(&idle, &|has| (len..=REACH * len).contains(&has), &|has| has) {
            return Self(idle.swap_remove(index));
        }
        let outgrown = best(&idle, &|has| has < len && len <= REACH * has, &|has| len - has);
        let outgrown = outgrown.map(|index| idle.swap_remove(index));
        drop(idle); // unmapping memory is slow
        drop(outgrown);
        Self(vec![0.0; len])
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        idle_work().push(std::mem::take(&mut self.0));
    }
}

impl Deref for Work {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Work {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths that no other test of this process asks for.
    #[test]
    fn working_memory_serves_shorter_requests_and_outgrown_pieces_are_freed() {
        const LONG: usize = 1 << 27;
        let piece = Work::new(LONG);
        let place = piece.as_ptr();
        drop(piece);
        let shorter = Work::new(LONG / 2);
        assert_eq!((shorter.as_ptr(), shorter.len()), (place, LONG), "the idle piece is long enough");
        drop(shorter);
        assert_eq!(Work::new(LONG / 100).len(), LONG / 100, "a hundred times too long is not given away");
        let longer = Work::new(LONG + 1);
        assert_eq!(longer.len(), LONG + 1);
        assert!(idle_work().iter().all(|idle| idle.len() != LONG), "the outgrown piece was freed");
    }

    #[test]
    fn memory_is_reused_bounded_and_cleared() {
        static POOL: Pool<f32> = Pool::new();
        POOL.give(vec![1.0; 1000]);
        assert_eq!(POOL.idle_bytes(), 4000);
        assert!(POOL.take(999).is_none(), "lengths must match exactly");
        assert_eq!(POOL.take(1000).map(|v| v[0]), Some(1.0));
        assert_eq!(POOL.idle_bytes(), 0);
        POOL.give(vec![0.0; SMALLEST - 1]);
        assert_eq!(POOL.idle_bytes(), 0, "tiny buffers are not kept");
        POOL.give(vec![0.0; 5000]);
        POOL.clear();
        assert_eq!(POOL.idle_bytes(), 0);
    }

    #[test]
    fn zeroed_is_zero_even_when_recycled() {
        drop(Buf::from(vec![7.0_f64; 12_345]));
        assert!(Buf::<f64>::zeroed(12_345).iter().all(|&v| v == 0.0));
    }

    #[test]
    fn buffers_cross_threads() {
        let made = std::thread::spawn(|| Buf::copy_of(&[1.0_f32; 4096])).join().expect("thread");
        assert_eq!(made.clone().into_vec(), vec![1.0; 4096]);
    }
}
