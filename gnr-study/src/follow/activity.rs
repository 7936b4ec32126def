//! Whether a process trains in a run folder. The answer comes from reading alone, because trying a lock would disturb
//! the process that wants it.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

/// The activity in a run folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// The run has reached its end.
    Finished,
    /// A process trains in the folder.
    Training,
    /// The run is not finished, and no process seems to train in the folder.
    Stopped,
}

impl Activity {
    /// The activity in one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Training => "training",
            Self::Stopped => "stopped",
        }
    }
}

/// The activity of a run that is not finished. `epoch` is the time of an epoch in seconds, where it is known; `written`
/// is the time at which the log was last written.
///
/// On Linux the system tells who holds a lock on this machine. A run of another machine is taken for training as long
/// as it writes at the usual pace.
pub(super) fn of_unfinished(
    folder: &Path,
    epoch: Option<f64>,
    written: Option<SystemTime>,
    now: SystemTime,
) -> Activity {
    let pace = Duration::try_from_secs_f64(2.0 * epoch.unwrap_or(30.0) + 5.0).unwrap_or(Duration::MAX);
    // A clock that is behind the disk's is no reason to call a run stopped.
    let fresh = written.is_some_and(|written| now.duration_since(written).unwrap_or_default() <= pace);
    if is_locked(&folder.join("run.lock")) || fresh { Activity::Training } else { Activity::Stopped }
}

#[cfg(target_os = "linux")]
fn is_locked(lock: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let (Ok(metadata), Ok(locks)) = (fs::metadata(lock), fs::read_to_string("/proc/locks")) else {
        return false;
    };
    let process = fs::read_to_string(lock).unwrap_or_default();
    holds(&locks, process.trim(), metadata.ino())
}

#[cfg(not(target_os = "linux"))]
fn is_locked(_: &Path) -> bool {
    false
}

/// Whether `/proc/locks` tells of a lock of this process on this inode. Devices are not compared, because some file
/// systems show another one here than in the file's metadata.
#[cfg(target_os = "linux")]
fn holds(locks: &str, process: &str, inode: u64) -> bool {
    locks.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let file =
            words.iter().find_map(|word| word.rsplit_once(':').filter(|_| word.matches(':').count() == 2));
        words.contains(&process) && file.is_some_and(|(_, number)| number.parse() == Ok(inode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_writes_at_its_pace_trains_and_what_does_not_has_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let of = |epoch, age: Option<u64>| {
            of_unfinished(folder.path(), epoch, age.map(|age| now - Duration::from_secs(age)), now)
        };
        assert_eq!(of(Some(10.0), Some(20)), Activity::Training);
        assert_eq!(of(Some(10.0), Some(40)), Activity::Stopped);
        assert_eq!(of(None, Some(40)), Activity::Training, "the pace is not known yet");
        assert_eq!(of(None, None), Activity::Stopped);
        let ahead = of_unfinished(folder.path(), Some(1.0), Some(now + Duration::from_secs(100)), now);
        assert_eq!(ahead, Activity::Training);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_tells_who_holds_a_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.lock");
        fs::write(&path, format!("{}\n", std::process::id())).unwrap();
        let of = || of_unfinished(folder.path(), None, None, SystemTime::now());
        assert_eq!(of(), Activity::Stopped);
        let file = fs::File::options().append(true).open(&path).unwrap();
        file.lock().unwrap();
        // Where the system tells of no lock at all (some containers), it cannot tell of this one.
        let told = fs::read_to_string("/proc/locks").unwrap_or_default();
        let id = std::process::id().to_string();
        let tells = told.lines().any(|line| line.split_whitespace().any(|word| word == id));
        assert_eq!(of() == Activity::Training, tells);

        let locks =
            "1: FLOCK  ADVISORY  WRITE 71 08:01:1234 0 EOF\n2: -> POSIX  ADVISORY  READ 80 00:2b:99 0 EOF\n";
        assert!(holds(locks, "71", 1234) && holds(locks, "80", 99));
        assert!(!holds(locks, "71", 99) && !holds(locks, "1234", 1234) && !holds("", "71", 1234));
    }
}
