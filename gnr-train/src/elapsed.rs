//! The time that an unfinished epoch has taken, so that an epoch which is interrupted counts whole.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    atomic::write_atomically,
    error::{Result, io},
};

/// The time of the present epoch until the last checkpoint. The checkpoint itself holds no times, because equal states
/// are equal bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Elapsed {
    /// The number of steps of the run at the checkpoint.
    step: u64,
    /// Wall-clock seconds of the epoch until then; 0 at the end of an epoch.
    seconds: f64,
}

fn file(folder: &Path) -> PathBuf {
    folder.join("checkpoints").join("elapsed.json")
}

impl Elapsed {
    pub(crate) fn new(step: u64, seconds: f64) -> Self {
        Self { step, seconds }
    }

    /// Writes the file beside the checkpoints, or removes it where no time is to be kept.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn write(self, folder: &Path) -> Result<()> {
        let path = file(folder);
        if self.seconds > 0.0 {
            let text = serde_json::to_string(&self).map_err(|error| io(&path, "write")(error.into()))?;
            return write_atomically(&path, (text + "\n").as_bytes());
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io(&path, "remove")(error)),
            _ => Ok(()),
        }
    }

    /// The seconds that the epoch had taken at `step`; 0 where nothing is known of that step.
    pub(crate) fn read(folder: &Path, step: u64) -> f64 {
        let known =
            fs::read_to_string(file(folder)).ok().and_then(|text| serde_json::from_str::<Self>(&text).ok());
        let known = known.filter(|known| known.step == step && known.seconds.is_finite());
        known.map_or(0.0, |known| known.seconds.max(0.0))
    }
}

/// The start of an epoch in this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Started {
    at: Instant,
    /// Seconds of the epoch in earlier processes.
    before: f64,
    /// This rank's time in exchanges until the start.
    pub(crate) exchanging: Duration,
}

impl Default for Started {
    fn default() -> Self {
        Self::new(0.0, Duration::ZERO)
    }
}

impl Started {
    pub(crate) fn new(before: f64, exchanging: Duration) -> Self {
        Self { at: Instant::now(), before, exchanging }
    }

    /// Seconds of the epoch until now, in this process.
    pub(crate) fn seconds_here(&self) -> f64 {
        self.at.elapsed().as_secs_f64()
    }

    /// Seconds of the epoch until now, in all processes.
    pub(crate) fn seconds(&self) -> f64 {
        self.before + self.seconds_here()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_another_step_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("checkpoints")).unwrap();
        let read = |step| Elapsed::read(folder.path(), step);
        assert_eq!(read(7), 0.0);
        Elapsed::new(7, 2.5).write(folder.path()).unwrap();
        assert_eq!((read(7), read(8)), (2.5, 0.0));
        let started = Started::new(read(7), Duration::ZERO);
        assert!(started.seconds() >= 2.5);
        fs::write(file(folder.path()), "{").unwrap();
        assert_eq!(read(7), 0.0, "a damaged file tells nothing");
        Elapsed::new(7, 0.0).write(folder.path()).unwrap();
        assert!(!file(folder.path()).exists());
    }
}
