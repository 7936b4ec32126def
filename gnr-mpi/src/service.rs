//! The thread that calls MPI: requests come through a channel, each with a channel for its answer.

use std::sync::mpsc::{Receiver, Sender};

use gnr_core::{Error, Result, collective::Packed};
use mpi::{
    Threading,
    datatype::{Equivalence, Partition, PartitionMut},
    topology::SimpleCommunicator,
    traits::{Communicator, CommunicatorCollectives},
};

/// A request of another thread.
pub(crate) enum Request {
    /// [`Collective::gather`](gnr_core::Collective::gather): this rank's numbers, and how many each rank has.
    Gather(Packed, Vec<usize>),
    /// [`Collective::exchange`](gnr_core::Collective::exchange): this rank's numbers, and how many each rank gets.
    Exchange(Packed, Vec<usize>),
    /// The end of all ranks at once.
    Abort,
    /// A wait for all ranks, then the finalisation of MPI.
    Finish,
}

impl Request {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Gather(..) => "gather",
            Self::Exchange(..) => "exchange",
            Self::Abort => "abort",
            Self::Finish => "finish",
        }
    }
}

/// The numbers that an operation brought, or the reason of its failure.
pub(crate) type Answer = Result<Packed, String>;

/// The place of this process among the ranks.
pub(crate) struct World {
    pub(crate) rank: usize,
    pub(crate) size: usize,
    /// Number of ranks on this machine, this one included.
    pub(crate) neighbours: usize,
}

/// The largest number of items that MPI counts, in 32 bits.
const MOST: usize = i32::MAX as usize;

/// Checks the counts of an operation before they are passed to MPI, which would end the job for wrong ones.
pub(crate) fn check(own: &Packed, counts: &[usize], expected: Option<usize>, size: usize) -> Result<()> {
    if counts.len() != size || expected != Some(own.len()) {
        let (expected, found) = (expected.unwrap_or(0), own.len());
        return Err(Error::DimensionMismatch { operation: "an exchange between ranks", expected, found });
    }
    let all = counts.iter().sum::<usize>().max(own.len());
    if all > MOST || own.len() > MOST / size.max(1) * size {
        let message = format!("{all} numbers in one exchange; MPI counts up to {MOST}");
        return Err(Error::Oracle(message));
    }
    Ok(())
}

/// Starts MPI and answers requests until there are none left or MPI is finalised.
pub(crate) fn serve(tell: &Sender<Result<World, String>>, inbox: &Receiver<(Request, Sender<Answer>)>) {
    let Some((universe, _)) = mpi::initialize_with_threading(Threading::Serialized) else {
        let _ = tell.send(Err("MPI was started in this process before".into()));
        return;
    };
    let world = universe.world();
    let index = |count: i32| usize::try_from(count).unwrap_or(0);
    let neighbours = index(world.split_shared(world.rank()).size());
    let _ = tell.send(Ok(World { rank: index(world.rank()), size: index(world.size()), neighbours }));
    while let Ok((request, answer)) = inbox.recv() {
        let done = match request {
            Request::Gather(own, counts) => match own {
                Packed::Bytes(own) => gather(&world, &own, &counts, 0).map(Packed::Bytes),
                Packed::Single(own) => gather(&world, &own, &counts, 0.0).map(Packed::Single),
                Packed::Double(own) => gather(&world, &own, &counts, 0.0).map(Packed::Double),
            },
            Request::Exchange(own, counts) => match own {
                Packed::Bytes(own) => exchange(&world, &own, &counts, 0).map(Packed::Bytes),
                Packed::Single(own) => exchange(&world, &own, &counts, 0.0).map(Packed::Single),
                Packed::Double(own) => exchange(&world, &own, &counts, 0.0).map(Packed::Double),
            },
            Request::Abort => world.abort(crate::ranks::FAILED),
            Request::Finish => {
                world.barrier();
                drop(universe);
                let _ = answer.send(Ok(Packed::Bytes(Vec::new())));
                return;
            }
        };
        // Sending fails only if the asking thread has ended.
        let _ = answer.send(done);
    }
    // A process that ends without finalising MPI ends the job, which is right for a rank that fails.
    std::mem::forget(universe);
}

/// The items, or an empty part of `spare` if there are none. Other empty slices may have any address; for bytes it may
/// be 1, which Open MPI reads as `MPI_IN_PLACE`. An address of real memory has no second meaning.
fn somewhere<'s, T>(own: &'s [T], spare: &'s [T; 1]) -> &'s [T] {
    if own.is_empty() { &spare[..0] } else { own }
}

/// Converts counts to MPI's 32 bits.
fn counts(counts: &[usize]) -> Result<Vec<i32>, String> {
    counts
        .iter()
        .map(|count| i32::try_from(*count).map_err(|_| format!("{count} numbers of one rank")))
        .collect()
}

/// The index at which each rank's numbers begin.
fn starts(counts: &[i32]) -> Vec<i32> {
    let before = |sum: &mut i32, count: &i32| {
        let start = *sum;
        *sum += count;
        Some(start)
    };
    counts.iter().scan(0, before).collect()
}

/// Gathers the numbers of all ranks one after the other; `zero` fills the memory before MPI writes to it.
fn gather<T: Equivalence + Copy>(
    world: &SimpleCommunicator,
    own: &[T],
    of_ranks: &[usize],
    zero: T,
) -> Result<Vec<T>, String> {
    let of_ranks = counts(of_ranks)?;
    let count = of_ranks.iter().sum::<i32>() as usize;
    let (spare, mut all) = ([zero], vec![zero; count.max(1)]);
    let starts = starts(&of_ranks);
    let mut parts = PartitionMut::new(&mut all[..count], &of_ranks[..], &starts[..]);
    world.all_gather_varcount_into(somewhere(own, &spare), &mut parts);
    all.truncate(count);
    Ok(all)
}

/// Gathers this rank's part of the numbers of every rank; `to_ranks` has the number of `own` that each rank gets.
fn exchange<T: Equivalence + Copy>(
    world: &SimpleCommunicator,
    own: &[T],
    to_ranks: &[usize],
    zero: T,
) -> Result<Vec<T>, String> {
    let to_ranks = counts(to_ranks)?;
    let mine = to_ranks.get(world.rank() as usize).copied().unwrap_or(0);
    let from_ranks = vec![mine; to_ranks.len()];
    let count = mine as usize * to_ranks.len();
    let (spare, mut all) = ([zero], vec![zero; count.max(1)]);
    let (to_starts, from_starts) = (starts(&to_ranks), starts(&from_ranks));
    let sent = Partition::new(somewhere(own, &spare), &to_ranks[..], &to_starts[..]);
    let mut received = PartitionMut::new(&mut all[..count], &from_ranks[..], &from_starts[..]);
    world.all_to_all_varcount_into(&sent, &mut received);
    all.truncate(count);
    Ok(all)
}
