//! The progress of a queue: reports the end of each run, and the time that the others will take.

use std::time::{Duration, Instant};

use gnr_train::{Start, TrainError};

use super::Say;
use crate::runner::{Finished, Run, StudyObserver, span};

/// The state of a queue of runs.
pub(super) struct Progress<'a> {
    runs: &'a [Run],
    jobs: usize,
    say: Say<'a>,
    started: Instant,
    /// The time at which each run began, until it ends.
    began: Vec<Option<Instant>>,
    done: usize,
    /// Whether each run has ended.
    ended: Vec<bool>,
    /// Cost and seconds of the runs that ended, to turn cost into time.
    spent: (f64, f64),
}

impl<'a> Progress<'a> {
    pub(super) fn new(runs: &'a [Run], jobs: usize, say: Say<'a>) -> Self {
        let (began, ended) = (vec![None; runs.len()], vec![false; runs.len()]);
        Self { runs, jobs, say, started: Instant::now(), began, done: 0, ended, spent: (0.0, 0.0) }
    }

    /// Reports that all runs ended because they were asked to.
    pub(super) fn interrupted(&mut self) {
        for (run, _) in self.runs.iter().zip(&self.began).filter(|(_, began)| began.is_some()) {
            (self.say)(&format!("stopped with a checkpoint: {}", run.name));
        }
    }

    /// Reports that all runs ended because the disk takes no more.
    pub(super) fn disk_refused(&mut self) {
        (self.say)(
            "the disk refuses to be written: nothing more is started; make room, or make it writable, and run the command again",
        );
    }

    fn ended(&mut self, run: usize, time: Duration, told: &str, counts: bool) {
        let Run { name, cost, .. } = &self.runs[run];
        self.done += 1;
        self.ended[run] = true;
        if counts {
            self.spent.0 += cost;
            self.spent.1 += time.as_secs_f64();
        }
        let all = self.runs.len();
        let left = match self.remaining() {
            _ if self.done == all => format!("; {} in all", short(self.started.elapsed().as_secs_f64())),
            Some(left) => format!("; about {} left", short(left)),
            None => String::new(),
        };
        let seconds = time.as_secs_f64();
        (self.say)(&format!("[{:>3}/{all}] {name:<38} {told} in {seconds:.1} s{left}", self.done));
    }

    /// Remaining time in seconds; `None` before a run has ended.
    fn remaining(&self) -> Option<f64> {
        let (cost, seconds) = self.spent;
        let left = self.runs.iter().zip(&self.ended).filter(|(_, ended)| !**ended).map(|(run, _)| run.cost);
        (cost > 0.0).then(|| span(left, self.jobs) * seconds / cost)
    }
}

impl StudyObserver for Progress<'_> {
    fn on_wait(&mut self, run: usize, error: &TrainError) {
        (self.say)(&format!("waiting for {}: {error}", self.runs[run].name));
    }

    fn on_start(&mut self, run: usize, _start: &Start<'_>) {
        self.began[run] = Some(Instant::now());
    }

    fn on_run(&mut self, run: usize, how: Finished<'_>) {
        let time = self.began[run].take().map_or(Duration::ZERO, |began| began.elapsed());
        let (told, counts) = match how {
            Finished::Now(summary) => (format!("{:.2} %", 100.0 * summary.test_accuracy), true),
            Finished::Before => ("by another process".to_owned(), false),
            Finished::Failed(error) => {
                let error = error.to_string();
                (format!("FAILED: {} (in {})", error.trim_end(), self.runs[run].folder.display()), false)
            }
        };
        self.ended(run, time, &told, counts);
    }
}

/// A time in the unit that people use for it.
pub(super) fn short(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.0} s"),
        s if s < 6_000.0 => format!("{:.0} min", s / 60.0),
        s if s < 360_000.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn remaining_time_follows_cost_and_jobs() {
        let run = |name: &str| Run {
            name: name.into(),
            folder: PathBuf::from(name),
            recipe: gnr_train::Recipe::default(),
            cost: 2.0,
        };
        let runs = [run("a"), run("b"), run("c")];
        let mut said = Vec::new();
        let mut say = |line: &str| said.push(line.to_owned());
        let mut progress = Progress::new(&runs, 2, &mut say);
        assert_eq!(progress.remaining(), None, "nothing known yet");
        progress.ended(0, Duration::from_secs(10), "50.00 %", true);
        assert_eq!(progress.remaining(), Some(10.0), "4 of cost left at 5 s each, 2 at a time");
        progress.on_run(1, Finished::Failed(&TrainError::Request("no".into())));
        assert_eq!(progress.remaining(), Some(10.0), "one run of 10 s is left, which has one job");
        assert!(said[0].contains("50.00 % in 10.0 s; about 10 s left"), "{said:?}");
        assert!(said[1].contains("FAILED: no (in b)"), "{said:?}");
    }

    #[test]
    fn a_first_run_that_fails_tells_no_time_of_the_others() {
        let runs = ["a", "b"].map(|name| Run {
            name: name.into(),
            folder: PathBuf::from(name),
            recipe: gnr_train::Recipe::default(),
            cost: 1.0,
        });
        let mut said = Vec::new();
        let mut say = |line: &str| said.push(line.to_owned());
        let mut progress = Progress::new(&runs, 1, &mut say);
        progress.on_run(0, Finished::Failed(&TrainError::Request("no".into())));
        progress.on_run(1, Finished::Failed(&TrainError::Request("no".into())));
        assert!(said[0].ends_with("in 0.0 s") && said[1].ends_with("s in all"), "{said:?}");
    }

    #[test]
    fn times_are_said_in_the_unit_that_fits() {
        for (seconds, expect) in
            [(42.0, "42 s"), (600.0, "10 min"), (7_200.0, "2.0 h"), (864_000.0, "10 days")]
        {
            assert_eq!(short(seconds), expect);
        }
    }
}
