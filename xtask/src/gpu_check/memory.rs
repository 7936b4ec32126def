//! The memory that a program holds on a card, as NVIDIA's driver counts it.
//!
//! Both sides keep memory that they free. The driver therefore shows the peak at the end, and no sample misses it.
//! Other programs on the card would be counted, too; the figure is the growth over the memory before.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail};

use super::clock::end;

/// The largest number of megabytes that the driver shows from the start to [`finish`](Self::finish).
pub(super) struct Sampler {
    child: Child,
    reader: JoinHandle<()>,
    before: u64,
    peak: Arc<AtomicU64>,
}

impl Sampler {
    /// Watches a card, `cuda` or `cuda:N`.
    ///
    /// # Errors
    /// When `nvidia-smi` cannot be started or says nothing that is a number.
    pub(super) fn of_card(device: &str) -> Result<Self> {
        let index = device.strip_prefix("cuda:").unwrap_or("0");
        let mut command = Command::new("nvidia-smi");
        command.args(["--query-gpu=memory.used", "--format=csv,noheader,nounits", "-lms", "20", "-i", index]);
        Self::of(command)
    }

    fn of(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child =
            command.spawn().context("cannot start nvidia-smi, which comes with NVIDIA's driver")?;
        let mut lines = BufReader::new(child.stdout.take().context("nvidia-smi has no output")?).lines();
        let first = lines.next().and_then(Result::ok).unwrap_or_default();
        let Ok(before) = first.trim().parse::<u64>() else {
            end(&mut child);
            bail!("nvidia-smi says {first:?}, expected the card's used memory in MB");
        };
        let peak = Arc::new(AtomicU64::new(before));
        let seen = Arc::clone(&peak);
        let reader = thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Ok(used) = line.trim().parse() {
                    seen.fetch_max(used, Ordering::Relaxed);
                }
            }
        });
        Ok(Self { child, reader, before, peak })
    }

    /// Stops watching. Growth over the start, MB.
    pub(super) fn finish(mut self) -> f64 {
        end(&mut self.child);
        // The peak counts even if the reader panicked.
        let _ = self.reader.join();
        (self.peak.load(Ordering::Relaxed) - self.before) as f64
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    /// A stand-in for `nvidia-smi -lms`, which writes lines until it is ended.
    #[test]
    fn the_peak_is_the_growth_over_the_first_line() {
        let sampler = Sampler::of(shell("echo ' 400'; echo 1900; echo 1200; exec sleep 60")).unwrap();
        let started = Instant::now();
        while sampler.peak.load(Ordering::Relaxed) < 1900 && started.elapsed() < Duration::from_secs(30) {
            thread::yield_now();
        }
        assert_eq!(sampler.finish(), 1500.0);
    }

    #[test]
    fn words_instead_of_numbers_are_refused() {
        let error = Sampler::of(shell("echo No devices were found")).err().unwrap().to_string();
        assert!(error.contains("\"No devices were found\", expected the card's used memory"), "{error}");
    }
}
