//! Detection of processes that a launcher started together with this one, and joining them.

use std::sync::Arc;

use gnr_core::{Collective, Solo};

/// Environment variables with the number of processes: those of Open MPI, of PMI (MPICH and `srun --mpi=pmi2`) and of
/// `srun`.
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];

/// The number of processes that a launcher started together, this one included; 1 for a process by itself.
pub fn launched() -> usize {
    size_in(|name| std::env::var(name).ok())
}

/// The largest number of processes in the variables. `srun` may start a program of another MPI, whose variable has 1.
fn size_in(variable: impl Fn(&str) -> Option<String>) -> usize {
    let told = SIZES.iter().filter_map(|name| variable(name)?.trim().parse().ok());
    told.fold(1, usize::max)
}

/// The ranks that this process belongs to.
pub struct Job {
    /// The ranks, this one included.
    pub ranks: Arc<dyn Collective>,
    /// Number of ranks on this machine, this one included.
    pub neighbours: usize,
    #[cfg(feature = "mpi")]
    mpi: Option<Arc<crate::ranks::Mpi>>,
}

impl Job {
    /// A process by itself.
    pub fn solo() -> Self {
        Self {
            ranks: Arc::new(Solo),
            neighbours: 1,
            #[cfg(feature = "mpi")]
            mpi: None,
        }
    }

    /// Waits until every rank is done, and finalises MPI. Ranks also call this method after an error that all share.
    pub fn finish(self) {
        #[cfg(feature = "mpi")]
        if let Some(mpi) = self.mpi {
            mpi.finish();
        }
    }
}

/// Joins the ranks that a launcher started. A process by itself does not start MPI.
///
/// # Errors
/// An MPI that cannot be started or finds another number of ranks than the launcher, a program without MPI although
/// there are other ranks, a malformed `GNR_MPI_TIMEOUT`. Errors are sentences for the user.
pub fn join() -> Result<Job, String> {
    match launched() {
        1 => Ok(Job::solo()),
        size => joined(size),
    }
}

#[cfg(feature = "mpi")]
fn joined(size: usize) -> Result<Job, String> {
    let mpi = crate::ranks::start()?;
    let found = mpi.size();
    if found != size {
        return Err(format!(
            "the launcher started {size} processes, and MPI found {found}: the MPI library of this program is not the launcher's \
             (with Slurm, see `srun --mpi=list`)"
        ));
    }
    Ok(Job { ranks: mpi.clone(), neighbours: mpi.neighbours(), mpi: Some(mpi) })
}

#[cfg(not(feature = "mpi"))]
fn joined(size: usize) -> Result<Job, String> {
    Err(format!(
        "this process is one of {size} that were started together, and this program was built without MPI: build it with \
         `cargo build --release -p gnr-cli --features mpi`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers_tell_how_many_there_are() {
        let size = |told: &'static [(&str, &str)]| {
            size_in(|name| {
                told.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(size(&[]), 1);
        assert_eq!(size(&[("OMPI_COMM_WORLD_SIZE", "4")]), 4);
        assert_eq!(size(&[("PMI_SIZE", "3\n")]), 3);
        assert_eq!(size(&[("SLURM_STEP_NUM_TASKS", "8"), ("OMPI_COMM_WORLD_SIZE", "1")]), 8);
        assert_eq!(size(&[("PMI_SIZE", "many")]), 1);
        // The number of tasks of the whole Slurm job, which a batch script sees, says nothing of this process.
        assert_eq!(size(&[("SLURM_NTASKS", "8")]), 1);
    }
}
