//! The ranks of an MPI job.
//!
//! One thread calls MPI. Other threads wait for its answers no longer than [`PATIENCE`] says. A rank that never answers
//! therefore ends the job, instead of blocking it for ever.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::Duration,
};

use gnr_core::{Collective, Error, Result, collective::Packed};

use crate::service::{self, Answer, Request, World};

/// The environment variable with the largest duration of an operation, in seconds. A longer operation ends the job.
/// Default: 600; with 0 an operation may take any time.
pub const PATIENCE: &str = "GNR_MPI_TIMEOUT";

/// The exit status of ranks that end a job.
pub(crate) const FAILED: i32 = 1;

/// The time that the value of [`PATIENCE`] allows an operation; `None` for any time.
fn patience(text: Option<&str>) -> Result<Option<Duration>, String> {
    let Some(text) = text else { return Ok(Some(Duration::from_secs(600))) };
    match text.trim().parse::<f64>() {
        Ok(0.0) => Ok(None),
        Ok(seconds) if seconds > 0.0 && seconds < 1e9 => Ok(Some(Duration::from_secs_f64(seconds))),
        _ => {
            Err(format!("{PATIENCE} = `{text}`: expected seconds to wait for other ranks, or 0 for any time"))
        }
    }
}

/// The ranks of this MPI job.
pub(crate) struct Mpi {
    world: World,
    patience: Option<Duration>,
    requests: Mutex<mpsc::Sender<(Request, mpsc::Sender<Answer>)>>,
    /// The first failure, after which no operation succeeds any more.
    over: Mutex<Option<String>>,
}

/// Starts MPI, which a process can do once.
pub(crate) fn start() -> Result<Arc<Mpi>, String> {
    let patience = patience(std::env::var(PATIENCE).ok().as_deref())?;
    let (requests, inbox) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    let serve = move || service::serve(&tell, &inbox);
    let thread = std::thread::Builder::new().name("gnr-mpi".into()).spawn(serve);
    thread.map_err(|error| format!("cannot start the thread that calls MPI: {error}"))?;
    let world =
        told.recv().map_err(|_| "the thread that calls MPI ended before MPI was ready".to_owned())??;
    Ok(Arc::new(Mpi { world, patience, requests: Mutex::new(requests), over: Mutex::default() }))
}

impl Mpi {
    pub(crate) fn neighbours(&self) -> usize {
        self.world.neighbours
    }

    /// Waits until every rank has called `finish`, and finalises MPI.
    pub(crate) fn finish(&self) {
        // If the job is over already, the reason was reported before.
        let _ = self.ask(Request::Finish);
    }

    /// Asks the thread that calls MPI. After a failure every later request fails with the same message.
    fn ask(&self, request: Request) -> Result<Packed> {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        let rank = self.world.rank;
        if let Some(why) = &*over {
            return Err(Error::Rank { rank, message: why.clone() });
        }
        self.answer(request).map_err(|message| {
            *over = Some(message.clone());
            Error::Rank { rank, message }
        })
    }

    /// Sends one request and waits for its answer. Ends the process when the wait is longer than allowed.
    fn answer(&self, request: Request) -> Answer {
        const GONE: &str = "the thread that calls MPI is gone";
        let name = request.name();
        let (answer, answered) = mpsc::channel();
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.send((request, answer)).map_err(|_| GONE)?;
        drop(requests);
        let received = match self.patience {
            None => answered.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
            Some(patience) => answered.recv_timeout(patience),
        };
        match received {
            Ok(answer) => answer,
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(GONE.into()),
            Err(mpsc::RecvTimeoutError::Timeout) => self.give_up(name),
        }
    }

    /// Ends this process, and with it the job: MPI is busy with an operation that does not end.
    fn give_up(&self, name: &str) -> ! {
        let seconds = self.patience.unwrap_or_default().as_secs_f64();
        eprintln!(
            "error: rank {}: the other ranks took no part in `{name}` for {seconds} s ({PATIENCE}): one of them is stuck, or the \
             network between them is down",
            self.world.rank
        );
        std::process::exit(FAILED)
    }
}

impl Collective for Mpi {
    fn rank(&self) -> usize {
        self.world.rank
    }
    fn size(&self) -> usize {
        self.world.size
    }
    fn gather(&self, own: Packed, counts: &[usize]) -> Result<Packed> {
        service::check(&own, counts, counts.get(self.world.rank).copied(), self.world.size)?;
        self.ask(Request::Gather(own, counts.to_vec()))
    }
    fn exchange(&self, own: Packed, counts: &[usize]) -> Result<Packed> {
        service::check(&own, counts, Some(counts.iter().sum()), self.world.size)?;
        self.ask(Request::Exchange(own, counts.to_vec()))
    }
    /// Prints why, and ends every rank of the job.
    fn abort(&self, why: &str) {
        eprintln!("error: rank {}: {why}", self.world.rank);
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        // MPI may be busy with an operation that others have not joined. Then the end of this process ends the job.
        let _ = requests.send((Request::Abort, mpsc::channel().0));
        std::thread::sleep(Duration::from_millis(500));
        std::process::exit(FAILED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_a_number_of_seconds() {
        assert_eq!(patience(None), Ok(Some(Duration::from_secs(600))));
        assert_eq!(patience(Some("2.5")), Ok(Some(Duration::from_millis(2500))));
        assert_eq!(patience(Some("0")), Ok(None));
        for bad in ["", "-1", "inf", "NaN", "ten"] {
            assert!(patience(Some(bad)).unwrap_err().contains("expected seconds"), "{bad}");
        }
    }
}
