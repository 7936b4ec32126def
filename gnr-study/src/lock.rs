//! Locks on the folders of studies. The operating system holds them: they end with the process, however it ends.

use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::{
    error::{Result, StudyError, io},
    shard::Shard,
};

/// A lock on a folder, or on one part of the work in it, until the value is dropped.
#[derive(Debug)]
pub struct FolderLock {
    _files: Vec<File>,
}

/// Time between two attempts to lock a folder that another process holds.
pub(crate) const LOOK: Duration = Duration::from_millis(200);

/// Whether a lock excludes all others, or is held beside others of its kind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Alone,
    Beside,
}

impl FolderLock {
    /// Makes the folder and locks it: as a whole, or for one of several parts that may work in it at the same time.
    /// `study` names the lock files.
    ///
    /// # Errors
    /// [`StudyError::Locked`] when another process has the folder, with its id.
    pub fn take(folder: &Path, study: &str, shard: Option<Shard>) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(io(folder, "create"))?;
        let whole = format!("{study}.lock");
        let files = match shard {
            None => vec![Self::file(folder, &whole, Kind::Alone)?],
            Some(shard) => vec![
                Self::file(folder, &whole, Kind::Beside)?,
                Self::file(folder, &format!("{study}-{shard}.lock"), Kind::Alone)?,
            ],
        };
        Ok(Self { _files: files })
    }

    /// Locks the folder as a whole, and waits while another process has it. `None`: the wait was asked to stop.
    ///
    /// # Errors
    /// A folder that cannot be made or locked.
    pub fn wait(folder: &Path, study: &str, stop: &AtomicBool) -> Result<Option<Self>> {
        loop {
            match Self::take(folder, study, None) {
                Err(StudyError::Locked { .. }) if !stop.load(Ordering::Relaxed) => std::thread::sleep(LOOK),
                Err(StudyError::Locked { .. }) => return Ok(None),
                taken => return taken.map(Some),
            }
        }
    }

    fn file(folder: &Path, name: &str, kind: Kind) -> Result<File> {
        let path = folder.join(name);
        let mut file =
            File::options().create(true).append(true).read(true).open(&path).map_err(io(&path, "open"))?;
        let taken = match kind {
            Kind::Alone => file.try_lock(),
            Kind::Beside => file.try_lock_shared(),
        };
        match taken {
            Ok(()) => {
                // The process id only informs people: a full disk must not prevent reports on finished runs.
                let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
                Ok(file)
            }
            Err(TryLockError::WouldBlock) => {
                Err(StudyError::Locked { folder: folder.to_path_buf(), holder: holder(&mut file) })
            }
            Err(TryLockError::Error(error)) => Err(io(&path, "lock")(error)),
        }
    }
}

/// The process that is training in this run folder, if there is one: `process 123`.
pub(crate) fn trainer(folder: &Path) -> Option<String> {
    let mut file = File::options().read(true).append(true).open(folder.join("run.lock")).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(holder(&mut file)),
        _ => None,
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok()) {
        Some(id) => format!("process {id}"),
        None => "a process that did not tell its number".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_the_other_learns_who() {
        let folder = tempfile::tempdir().unwrap();
        let held = FolderLock::take(folder.path(), "study", None).unwrap();
        let error = FolderLock::take(folder.path(), "study", None).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        FolderLock::take(folder.path(), "study", None).unwrap();
    }

    #[test]
    fn who_waits_gets_the_folder_or_is_asked_to_stop() {
        let folder = tempfile::tempdir().unwrap();
        let (held, stop) = (FolderLock::take(folder.path(), "study", None).unwrap(), AtomicBool::new(true));
        assert!(FolderLock::wait(folder.path(), "study", &stop).unwrap().is_none());
        stop.store(false, Ordering::Relaxed);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| FolderLock::wait(folder.path(), "study", &stop).unwrap());
            drop(held);
            assert!(waiting.join().unwrap().is_some());
        });
    }

    #[test]
    fn parts_work_side_by_side_but_not_twice_and_not_beside_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let take =
            |shard: Option<&str>| FolderLock::take(folder.path(), "study", shard.map(|s| s.parse().unwrap()));
        let first = take(Some("1/2")).unwrap();
        let second = take(Some("2/2")).unwrap();
        assert!(take(Some("2/2")).is_err() && take(None).is_err());
        drop((first, second));
        let _whole = take(None).unwrap();
        assert!(take(Some("1/2")).is_err());
    }

    #[test]
    fn a_trainer_is_seen_while_it_holds_the_run() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(trainer(folder.path()), None, "no run");
        let path = folder.path().join("run.lock");
        std::fs::write(&path, "71\n").unwrap();
        assert_eq!(trainer(folder.path()), None, "left behind");
        let file = File::options().append(true).open(&path).unwrap();
        file.lock().unwrap();
        assert_eq!(trainer(folder.path()).unwrap(), "process 71");
    }
}
