//! A collective whose ranks are threads of one process.

use crate::{
    Error, Result,
    collective::{Collective, Packed},
    error::gone,
};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// The collective of one of the ranks that [`run`](Self::run) starts.
pub struct Threads {
    rank: usize,
    size: usize,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The contribution of each rank to the present operation.
    brought: Vec<Option<(&'static str, Packed, Vec<usize>)>>,
    /// The contributions of all ranks, while the ranks take them.
    taken: Vec<(&'static str, Packed, Vec<usize>)>,
    to_leave: usize,
    /// The rank and the reason for which every further operation fails.
    over: Option<(usize, String)>,
}

impl Threads {
    /// Calls `work` on `size` threads, one a rank, and returns the results in rank order. When a rank ends, ranks that
    /// wait for it get an error.
    ///
    /// # Panics
    /// When `work` panics on a rank.
    pub fn run<T: Send>(size: usize, work: impl Fn(Arc<dyn Collective>) -> T + Sync) -> Vec<T> {
        let shared = Arc::new(Shared::default());
        shared.lock().brought.resize_with(size, || None);
        std::thread::scope(|scope| {
            let ranks: Vec<_> = (0..size)
                .map(|rank| {
                    let (work, shared) = (&work, Arc::clone(&shared));
                    scope.spawn(move || {
                        let _leaving = Leaving(rank, Arc::clone(&shared));
                        work(Arc::new(Self { rank, size, shared }))
                    })
                })
                .collect();
            ranks
                .into_iter()
                .map(|rank| rank.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }

    /// The contribution of every rank to `operation`, once all of them have called it.
    fn meet(&self, operation: &'static str, own: Packed, counts: &[usize]) -> Result<Vec<Packed>> {
        let mut state = self.shared.lock();
        let over = |state: &State| state.over.as_ref().map(|(rank, why)| gone(*rank, why));
        // The ranks must first take the results of the operation before.
        while state.to_leave > 0 && state.brought[self.rank].is_none() && over(&state).is_none() {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(error) = over(&state) {
            return Err(error);
        }
        state.brought[self.rank] = Some((operation, own, counts.to_vec()));
        if state.brought.iter().all(Option::is_some) {
            state.taken = state.brought.iter_mut().filter_map(Option::take).collect();
            state.to_leave = self.size;
            self.shared.changed.notify_all();
        }
        while state.to_leave == 0 {
            if let Some(error) = over(&state) {
                return Err(error);
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let (first, _, expected) = &state.taken[0];
        let differs = state.taken.iter().position(|(name, _, counts)| name != first || counts != expected);
        let all = state.taken.iter().map(|(_, packed, _)| packed.clone()).collect();
        state.to_leave -= 1;
        self.shared.changed.notify_all();
        match differs {
            Some(rank) => Err(Error::Oracle(format!("rank {rank} and rank 0 are in different operations"))),
            None => Ok(all),
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn end(&self, rank: usize, why: &str) {
        let mut state = self.lock();
        state.over.get_or_insert((rank, why.to_owned()));
        self.changed.notify_all();
    }
}

/// Tells the others when a rank's thread ends, by return or by panic.
struct Leaving(usize, Arc<Shared>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.1.end(self.0, "its thread ended");
    }
}

impl Collective for Threads {
    fn rank(&self) -> usize {
        self.rank
    }
    fn size(&self) -> usize {
        self.size
    }
    fn gather(&self, own: Packed, counts: &[usize]) -> Result<Packed> {
        let mut all = own.zeros(0);
        for (part, count) in self.meet("gather", own, counts)?.iter().zip(counts) {
            all.append(&part.slice(0..*count)?)?;
        }
        Ok(all)
    }
    fn exchange(&self, own: Packed, counts: &[usize]) -> Result<Packed> {
        let start: usize = counts.iter().take(self.rank).sum();
        let mut mine = own.zeros(0);
        for part in self.meet("exchange", own, counts)? {
            mine.append(&part.slice(start..start + counts[self.rank])?)?;
        }
        Ok(mine)
    }
    fn abort(&self, why: &str) {
        self.shared.end(self.rank, why);
    }
}
