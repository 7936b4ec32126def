//! What a reading may take, and the watch over it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;

const LONGEST: Duration = Duration::from_secs(1);

/// What a reading may take: no panic, a second, and memory in proportion to its input.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of memory for each byte that an input stands for.
    pub per_byte: usize,
    /// Bytes of memory that any input may take.
    pub constant: usize,
}

impl Limits {
    /// Reads the input `bytes`, which stands for `justified` bytes: its own, and those that it decompresses to. Gives
    /// what `read` gave, and how many bytes of memory a byte it took above the constant.
    ///
    /// `memory` is the global allocator, which counts what every thread of the process takes: tests that watch take
    /// turns ([`alone`](crate::alone)). `name` says in errors which input it is. Above a limit the input is read again.
    ///
    /// # Panics
    /// When `read` panics or takes more than it may. The input is then in a file, which the message names.
    pub fn watch<T>(
        &self,
        memory: &PeakAlloc,
        (name, bytes): (&str, &[u8]),
        justified: impl Fn() -> usize,
        mut read: impl FnMut() -> T,
    ) -> (T, f64) {
        let fail = |what: String| -> ! {
            let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
            let path = std::env::temp_dir()
                .join(format!("gnr-fuzz-{}", name.chars().take(100).map(plain).collect::<String>()));
            let kept = std::fs::write(&path, bytes)
                .map_or_else(|error| error.to_string(), |()| path.display().to_string());
            panic!("{name} ({} bytes, {kept}): {what}", bytes.len());
        };
        memory.reset_peak_usage();
        let (before, start) = (memory.current_usage(), Instant::now());
        let done = catch_unwind(AssertUnwindSafe(&mut read));
        let (mut peak, elapsed) = (memory.peak_usage().saturating_sub(before), start.elapsed());
        let Ok(done) = done else { fail("panicked".into()) };
        // What it stands for may have to be found out by decompressing.
        let stands_for =
            if peak > self.per_byte * bytes.len() + self.constant { justified() } else { bytes.len() };
        let allowed = self.per_byte * stands_for + self.constant;
        // Tests that do not watch may run beside, and are counted for a while: the reader took the least of several
        // readings.
        for _ in 0..20 {
            if peak <= allowed {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
            memory.reset_peak_usage();
            let before = memory.current_usage();
            drop(read());
            peak = peak.min(memory.peak_usage().saturating_sub(before));
        }
        if peak > allowed {
            fail(format!("{peak} bytes of memory, {allowed} allowed"));
        }
        if elapsed > LONGEST {
            // A busy machine may have stopped the test: the processor's time counts.
            let before = processor_time();
            drop(read());
            let spent = before.zip(processor_time()).map_or(elapsed, |(before, after)| after - before);
            if spent > LONGEST {
                fail(format!("took {spent:?}"));
            }
        }
        (done, peak.saturating_sub(self.constant) as f64 / stands_for.max(1) as f64)
    }
}

/// Time that this thread has run, where the system tells.
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}
