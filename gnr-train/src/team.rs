//! The processes that make a run together, and their agreement on errors.
//!
//! Rank 0 has the run folder and writes every file. The ranks agree on everything that can fail on one of them: every
//! rank then ends with the error of the first one that failed. An error that cannot be shared ends all ranks at once.

use std::{sync::Arc, time::Duration};

use gnr_core::{Collective, Shares, Solo};

use crate::{
    error::{Result, TrainError},
    exchange::{Spent, Timed},
};

/// The ranks of a run as seen from one of them. [`Team::default`] is one process by itself.
#[derive(Clone)]
pub struct Team {
    ranks: Arc<dyn Collective>,
    neighbours: usize,
    exchanging: Arc<Spent>,
}

impl std::fmt::Debug for Team {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rank {} of {}", self.rank(), self.size())
    }
}

impl Default for Team {
    fn default() -> Self {
        Self::new(Arc::new(Solo), 1)
    }
}

impl Team {
    /// A team of these ranks. `neighbours` of them, this one included, are on this machine and share its cores.
    pub fn new(ranks: Arc<dyn Collective>, neighbours: usize) -> Self {
        let exchanging = Arc::<Spent>::default();
        let ranks = Arc::new(Timed::new(ranks, Arc::clone(&exchanging)));
        Self { ranks, neighbours: neighbours.max(1), exchanging }
    }
    /// The number of this rank, from 0.
    pub fn rank(&self) -> usize {
        self.ranks.rank()
    }
    /// The number of ranks.
    pub fn size(&self) -> usize {
        self.ranks.size()
    }
    /// Whether this is rank 0, which writes files and calls observers.
    pub fn leads(&self) -> bool {
        self.rank() == 0
    }
    /// The default number of threads of a rank on a machine with `cores` cores.
    pub(crate) fn threads(&self, cores: usize) -> usize {
        (cores / self.neighbours).max(1)
    }
    pub(crate) fn ranks(&self) -> &Arc<dyn Collective> {
        &self.ranks
    }
    /// The total time that this rank has spent in exchanges with the others.
    pub(crate) fn exchanging(&self) -> Duration {
        self.exchanging.so_far()
    }
    /// The shares of a batch of which rank r has `examples[r]` examples.
    pub(crate) fn shares(&self, examples: Vec<usize>) -> Result<Shares> {
        Ok(Shares::new(Arc::clone(&self.ranks), examples)?)
    }

    /// Returns `own` when every rank succeeded; else, on every rank, the error of the first rank that failed.
    ///
    /// # Errors
    /// [`TrainError::Rank`]; for a process by itself, its own error.
    pub fn agree<T>(&self, own: Result<T>) -> Result<T> {
        self.agree_with(own, &[]).map(|(own, _)| own)
    }

    /// Agrees like [`agree`](Self::agree), and gathers the numbers of every rank, in rank order.
    pub(crate) fn agree_with<T>(&self, own: Result<T>, numbers: &[f64]) -> Result<(T, Vec<Vec<f64>>)> {
        if self.size() == 1 {
            return own.map(|own| (own, vec![numbers.to_vec()]));
        }
        let failed = f64::from(u8::from(own.is_err()));
        let mut all = self.ranks.scalars(&[&[failed], numbers].concat())?;
        match (all.iter().position(|row| row[0] != 0.0), own) {
            (None, Ok(own)) => {
                all.iter_mut().for_each(|row| {
                    row.remove(0);
                });
                Ok((own, all))
            }
            (rank, own) => {
                let message = own.err().map_or_else(String::new, |error| words(&error));
                let rank = rank.unwrap_or(0);
                let mut messages = self.ranks.messages(message.into_bytes())?;
                let message = String::from_utf8_lossy(&messages.swap_remove(rank)).into_owned();
                Err(TrainError::Rank { rank, message })
            }
        }
    }

    /// Whether `own` is true on any rank.
    pub(crate) fn any(&self, own: bool) -> Result<bool> {
        if self.size() == 1 {
            return Ok(own);
        }
        let all = self.ranks.scalars(&[f64::from(u8::from(own))])?;
        Ok(all.iter().any(|said| said[0] != 0.0))
    }

    /// Does the work on rank 0 alone; other ranks get `None`. A failure there is a failure of all ranks.
    ///
    /// # Errors
    /// The errors of [`agree`](Self::agree).
    pub fn lead<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
        self.agree(if self.leads() { work().map(Some) } else { Ok(None) })
    }

    /// Makes bytes on rank 0 and returns them on every rank.
    ///
    /// # Errors
    /// The errors of [`agree`](Self::agree).
    pub fn share(&self, work: impl FnOnce() -> Result<Vec<u8>>) -> Result<Vec<u8>> {
        let own = self.lead(work)?;
        if self.size() == 1 {
            return Ok(own.unwrap_or_default());
        }
        Ok(self.ranks.broadcast(0, own.unwrap_or_default())?)
    }

    /// Makes a text on rank 0 and returns it on every rank.
    ///
    /// # Errors
    /// The errors of [`agree`](Self::agree).
    pub fn share_text(&self, work: impl FnOnce() -> Result<String>) -> Result<String> {
        let bytes = self.share(|| work().map(String::into_bytes))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Ends all ranks if `done` is an error on which the ranks have not agreed, because others may be waiting for this
    /// rank.
    pub fn ends<T>(&self, done: Result<T>) -> Result<T> {
        if let Err(error) = &done
            && self.size() > 1
            && !matches!(error, TrainError::Rank { .. })
        {
            self.ranks.abort(&words(error));
        }
        done
    }
}

/// The error and its causes, joined by colons; a cause that its parent already quotes is not repeated.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
