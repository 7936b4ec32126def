//! Tells what happened to each run and how long the rest will take.

use std::time::{Duration, Instant};

use super::runner::{Failure, Run};

/// The state of a queue of runs.
pub(super) struct Progress {
    started: Instant,
    jobs: usize,
    runs: usize,
    done: usize,
    cost_left: f64,
    /// Of the runs that ended: cost and seconds, to turn the one into the other.
    spent: (f64, f64),
    pub(super) failures: Vec<Failure>,
}

impl Progress {
    pub(super) fn new(queue: &[&Run], jobs: usize) -> Self {
        Self {
            started: Instant::now(),
            jobs,
            runs: queue.len(),
            done: 0,
            cost_left: queue.iter().map(|run| run.cost).sum(),
            spent: (0.0, 0.0),
            failures: Vec::new(),
        }
    }

    /// A run ended, with its test accuracy as a fraction or the reason why not.
    pub(super) fn done(&mut self, run: &Run, time: Duration, outcome: Result<Option<f64>, String>) {
        self.done += 1;
        self.cost_left -= run.cost;
        let told = match outcome {
            Ok(accuracy) => {
                self.spent.0 += run.cost;
                self.spent.1 += time.as_secs_f64();
                accuracy.map_or_else(|| "no test accuracy".to_string(), |x| format!("{:.2} %", 100.0 * x))
            }
            Err(reason) => {
                self.failures.push(Failure { name: run.name.clone(), reason: reason.clone() });
                format!("FAILED: {}", reason.trim_end().replace('\n', "\n    "))
            }
        };
        let left = match self.remaining() {
            Some(left) if self.done < self.runs => format!("about {} left", short(left)),
            _ => format!("{} in all", short(self.started.elapsed().as_secs_f64())),
        };
        println!(
            "[{:>3}/{}] {:<38} {told} in {:.1} s; {left}",
            self.done,
            self.runs,
            run.name,
            time.as_secs_f64()
        );
    }

    /// Seconds.
    fn remaining(&self) -> Option<f64> {
        let (cost, seconds) = self.spent;
        (cost > 0.0)
            .then(|| self.cost_left.max(0.0) * seconds / cost / self.jobs.min(self.runs).max(1) as f64)
    }
}

/// A time as people say it.
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
    use std::path::Path;

    use super::super::data::Located;
    use super::super::plan::{Plan, Scale, Table};
    use super::super::runner;
    use super::*;

    #[test]
    fn remaining_time_follows_cost_and_jobs() {
        let plan = Plan::table(Table::Two, Scale::Smoke, 1);
        let mut run = runner::prepare(&plan, &Located::default(), Path::new("out")).unwrap().remove(0);
        run.cost = 2.0;
        let queue = [&run, &run, &run];
        let mut progress = Progress::new(&queue, 2);
        assert_eq!(progress.remaining(), None, "nothing known yet");
        progress.done(&run, Duration::from_secs(10), Ok(Some(0.5)));
        assert_eq!(progress.remaining(), Some(10.0), "4 of cost left at 5 s each, 2 at a time");
        progress.done(&run, Duration::from_secs(1), Err("exit status 1".into()));
        assert_eq!((progress.remaining(), progress.failures.len()), (Some(5.0), 1));
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
