//! Run folders for programs that watch runs, finished ones or ones that are being written. Nothing here takes a lock or
//! writes.
//!
//! * [`FollowedRun`]: a run folder; [`refresh`](FollowedRun::refresh) reads what is new.
//! * [`runs_in`]: the runs of a folder.
//! * [`Chart`]: what can be drawn of a run, as curves.

mod activity;
mod chart;
mod find;
mod log;

pub use activity::Activity;
pub use chart::{Across, Chart, Curve};
pub use find::{labels, runs_in};
pub use log::{Log, StepMetrics};

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use gnr_train::{EpochMetrics, Recipe};

use crate::{
    error::Result,
    results::{Summarized, summary},
};

/// The time at which a file was written, and its length. A changed text changes one of them.
type Stamp = Option<(SystemTime, u64)>;

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// A run folder that is read again and again.
#[derive(Clone, Debug)]
pub struct FollowedRun {
    folder: PathBuf,
    /// The recipe, or the reason why there is none.
    recipe: std::result::Result<Recipe, String>,
    summary: Option<Summarized>,
    log: Log,
    activity: Activity,
    stamps: [Stamp; 3],
}

/// The files that are read, in the order of the stamps.
const FILES: [&str; 3] = ["recipe.toml", "summary.json", "metrics.jsonl"];

impl FollowedRun {
    /// The run in a folder, before [`refresh`](Self::refresh) has read anything of it.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            recipe: Err("has not been read".into()),
            summary: None,
            log: Log::default(),
            activity: Activity::Stopped,
            stamps: [None; 3],
        }
    }

    /// Reads new contents. Returns true when anything but the time has changed.
    ///
    /// # Errors
    /// A file that is there and cannot be read. A recipe that is none of ours, or a summary that is cut off, is no
    /// error.
    pub fn refresh(&mut self, now: SystemTime) -> Result<bool> {
        let before = (self.stamps, self.activity);
        let [recipe, ended, metrics] = FILES.map(|name| self.folder.join(name));
        let stamps = [&recipe, &ended, &metrics].map(|path| stamp(path));
        if stamps[0] != self.stamps[0] || stamps[0].is_none() {
            self.recipe = Recipe::load(&recipe, &[]).map_err(|error| error.to_string());
        }
        if stamps[1] != self.stamps[1] {
            self.summary = summary(&self.folder)?;
        }
        let mut changed = self.log.refresh(&metrics)?;
        self.stamps = stamps;
        self.activity = if self.summary.as_ref().is_some_and(|summary| summary.finished) {
            Activity::Finished
        } else {
            activity::of_unfinished(&self.folder, self.epoch_seconds(), self.written(), now)
        };
        changed |= before != (self.stamps, self.activity);
        Ok(changed)
    }

    /// The folder of the run.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The recipe, if it could be read.
    ///
    /// # Errors
    /// The reason why it could not be read, in words, as of the last reading.
    pub fn recipe(&self) -> std::result::Result<&Recipe, &str> {
        self.recipe.as_ref().map_err(String::as_str)
    }

    /// The summary of a finished run.
    pub fn summary(&self) -> Option<&Summarized> {
        self.summary.as_ref()
    }

    /// The lines so far.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The activity in the folder.
    pub fn activity(&self) -> Activity {
        self.activity
    }

    /// Number of epochs done when the run collapsed: from that evaluation on, every image got the same output.
    pub fn collapsed_at_epoch(&self) -> Option<u64> {
        let evaluated = |epoch: &&EpochMetrics| epoch.test_accuracy.or(epoch.val_accuracy).is_some();
        let evaluated = self.log.epochs().iter().rev().filter(evaluated);
        evaluated.take_while(|epoch| epoch.collapsed).last().map(|epoch| epoch.epoch)
    }

    /// The state of the run in one word.
    pub fn word(&self) -> &'static str {
        if self.collapsed_at_epoch().is_some() { "collapsed" } else { self.activity.word() }
    }

    /// The time at which the log was last written; before its first line, the time at which the run began.
    pub fn written(&self) -> Option<SystemTime> {
        self.stamps[2].or(self.stamps[0]).map(|(time, _)| time)
    }

    /// Number of epochs done.
    pub fn epochs_done(&self) -> u64 {
        self.log.epochs().last().map_or(0, |last| last.epoch)
    }

    /// Number of epochs of the recipe.
    pub fn epochs(&self) -> Option<u64> {
        self.recipe.as_ref().ok().map(|recipe| recipe.train.epochs)
    }

    /// Number of steps of an epoch, once the log shows it.
    pub fn steps_per_epoch(&self) -> Option<u64> {
        chart::steps_per_epoch(&self.log)
    }

    /// Mean seconds of an epoch with its evaluation, over the last three epochs, because epochs become slower when a
    /// method begins late.
    fn epoch_seconds(&self) -> Option<f64> {
        let epochs = self.log.epochs();
        let last = &epochs[epochs.len().saturating_sub(3)..];
        (!last.is_empty()).then(|| last.iter().map(|epoch| epoch.seconds).sum::<f64>() / last.len() as f64)
    }

    /// Steps a second in the last epoch, without its evaluation.
    pub fn steps_per_second(&self) -> Option<f64> {
        Chart::StepRate.curves(&self.log, Across::Epoch).first()?.points.last().map(|[_, rate]| *rate)
    }

    /// The part of the run that is done, from 0 to 1, steps of the epoch at hand included where they are logged.
    pub fn fraction(&self) -> Option<f64> {
        if self.activity == Activity::Finished {
            return Some(1.0);
        }
        let epochs = self.epochs().filter(|epochs| *epochs > 0)?;
        let done = self.epochs_done() as f64 + self.part_of_epoch();
        Some((done / epochs as f64).min(1.0))
    }

    /// The logged part of the epoch at hand.
    fn part_of_epoch(&self) -> f64 {
        let of = |step: &StepMetrics| Some(step.step_in_epoch as f64 / self.steps_per_epoch()? as f64);
        let last = self.log.steps().last().filter(|step| step.epoch > self.epochs_done());
        last.and_then(of).unwrap_or(0.0).min(1.0)
    }

    /// Seconds until the end of a run that is training, as far as its last epochs tell.
    pub fn seconds_left(&self, now: SystemTime) -> Option<f64> {
        if self.activity != Activity::Training {
            return None;
        }
        let each = self.epoch_seconds()?;
        let left = self.epochs()?.saturating_sub(self.epochs_done()) as f64;
        let since = now.duration_since(self.written()?).unwrap_or_default().as_secs_f64();
        // The part of the current epoch that is done: the logged part, and the time since then as a fraction of an
        // epoch.
        let done = self.part_of_epoch() + since / each.max(1e-9);
        Some(each * (left - done.min(1.0)).max(0.0))
    }

    /// The last test accuracy, a fraction: that of the averaged weights where the run averages.
    pub fn test_accuracy(&self) -> Option<f64> {
        Some(self.tested()?.1)
    }

    /// The number of epochs that were done at the last test accuracy. Not every epoch has an evaluation.
    pub fn evaluated_epoch(&self) -> Option<u64> {
        Some(self.tested()?.0)
    }

    /// The epoch and the value of the last test accuracy.
    fn tested(&self) -> Option<(u64, f64)> {
        let of = |summary: &Summarized| Some((self.epochs_done(), summary.method_accuracy()?));
        self.summary.as_ref().and_then(of).or_else(|| {
            let accuracy = |epoch: &EpochMetrics| epoch.average_test_accuracy.or(epoch.test_accuracy);
            self.log.epochs().iter().rev().find_map(|epoch| Some((epoch.epoch, accuracy(epoch)?)))
        })
    }

    /// The last training loss: of an epoch, or of the logged steps before the first epoch has ended.
    pub fn train_loss(&self) -> Option<f64> {
        let epochs = self.log.epochs().last().map(|epoch| epoch.train_loss);
        epochs.or_else(|| self.log.steps().last().map(|step| step.loss))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        fs::write(folder.join(name), text).unwrap();
    }

    fn epochs(count: u64) -> String {
        let line = |epoch: u64| {
            format!(
                "{{\"kind\":\"epoch\",\"epoch\":{epoch},\"step\":{},\"train_loss\":1.0,\"train_accuracy\":0.5,\"test_loss\":1.0,\
                 \"test_accuracy\":0.{epoch},\"learning_rate\":0.1,\"grad_norm\":1.0,\"penalties\":{{}},\"seconds\":10.0,\
                 \"train_seconds\":8.0}}\n",
                20 * epoch
            )
        };
        (1..=count).map(line).collect()
    }

    /// As many runs as a folder goes through: nothing but a recipe, the first epochs, the end, more epochs.
    #[test]
    fn a_run_is_followed_from_its_recipe_to_its_end_and_beyond() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        write(at, "recipe.toml", "[train]\nepochs = 4\n");
        let mut run = FollowedRun::new(at);
        let now = SystemTime::now();
        assert!(run.refresh(now).unwrap());
        assert_eq!((run.epochs(), run.epochs_done(), run.fraction()), (Some(4), 0, Some(0.0)));
        assert_eq!((run.activity(), run.seconds_left(now)), (Activity::Training, None), "it has just begun");
        assert!(!run.refresh(now).unwrap(), "nothing new");

        write(at, "metrics.jsonl", &(epochs(2) + "{\"kind\":\"ep"));
        assert!(run.refresh(now).unwrap());
        assert_eq!((run.epochs_done(), run.fraction(), run.steps_per_epoch()), (2, Some(0.5), Some(20)));
        assert_eq!((run.steps_per_second(), run.test_accuracy()), (Some(2.5), Some(0.2)));
        // The third epoch began when the line of the second was written.
        let written = run.written().unwrap();
        let left = |after: f64| run.seconds_left(written + Duration::from_secs_f64(after)).unwrap();
        assert!(
            (left(0.0) - 20.0).abs() < 1e-6 && (left(4.0) - 16.0).abs() < 1e-6,
            "{} {}",
            left(0.0),
            left(4.0)
        );
        assert!((left(100.0) - 10.0).abs() < 1e-6, "an epoch that takes longer is not the next one");

        let mut late = run.clone();
        assert!(late.refresh(written + Duration::from_secs(26)).unwrap(), "it has stopped");
        assert_eq!((late.activity(), late.seconds_left(written)), (Activity::Stopped, None));

        write(at, "metrics.jsonl", &epochs(4));
        write(at, "summary.json", "{\"finished\":true,\"test_accuracy\":0.9");
        run.refresh(now).unwrap();
        assert_eq!(run.activity(), Activity::Training, "a summary that is cut off is none");
        write(at, "summary.json", "{\"finished\":true,\"test_accuracy\":0.9}");
        assert!(run.refresh(now).unwrap());
        assert_eq!(
            (run.activity(), run.fraction(), run.test_accuracy()),
            (Activity::Finished, Some(1.0), Some(0.9))
        );
        assert_eq!((run.word(), run.collapsed_at_epoch()), ("finished", None));

        // `gnr resume --set train.epochs=16`.
        fs::remove_file(at.join("summary.json")).unwrap();
        write(at, "recipe.toml", "[train]\nepochs = 16\n");
        assert!(run.refresh(now).unwrap());
        assert_eq!(
            (run.activity(), run.epochs(), run.fraction()),
            (Activity::Training, Some(16), Some(0.25))
        );
    }

    #[test]
    fn steps_of_the_epoch_at_hand_count() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "recipe.toml", "[train]\nepochs = 4\n");
        let step = "{\"kind\":\"step\",\"step\":30,\"epoch\":2,\"step_in_epoch\":10,\"loss\":0.25,\"mean_accuracy\":0.5,\
                    \"learning_rate\":0.1,\"grad_norm\":1.0}\n";
        write(folder.path(), "metrics.jsonl", &(epochs(1) + step));
        let mut run = FollowedRun::new(folder.path());
        run.refresh(SystemTime::now()).unwrap();
        assert_eq!(run.fraction(), Some(0.375));
        let left = run.seconds_left(run.written().unwrap()).unwrap();
        assert!((left - 25.0).abs() < 1e-6, "{left}");
    }

    #[test]
    fn a_recipe_that_is_none_of_ours_is_told_and_the_curves_are_there() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "recipe.toml", "[train]\nepoch = 4\n");
        write(folder.path(), "metrics.jsonl", &epochs(2));
        let mut run = FollowedRun::new(folder.path());
        run.refresh(SystemTime::now()).unwrap();
        assert!(run.recipe().unwrap_err().contains("epoch"), "{:?}", run.recipe());
        assert_eq!((run.epochs(), run.fraction(), run.epochs_done()), (None, None, 2));
    }
}
