//! The limits of a reading in time and memory, and the watch that a reading keeps to them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;

/// The time that a reading may take.
const LONGEST: Duration = Duration::from_secs(1);

/// The memory that a reading may take, in proportion to its input. Every reading must also end without a panic, and
/// within a second.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of memory allowed for each byte that an input stands for.
    pub per_byte: usize,
    /// Bytes of memory allowed in addition, whatever the input.
    pub constant: usize,
}

impl Limits {
    /// Reads the input `bytes` under the limits. Returns the answer of `read`, and the memory above the constant in
    /// bytes for each byte that the input stands for.
    ///
    /// `justified` gives the number of bytes that the input stands for: its own and those that it decompresses to.
    /// `justified` is called only if the input's own length does not justify the memory.
    ///
    /// `memory` is the global allocator, which counts all threads of the process. Tests that watch therefore take turns
    /// ([`alone`](crate::alone)). `name` says in messages which input was read.
    ///
    /// A reading that exceeds a limit is repeated, because other work may have caused the excess. For memory there are
    /// up to 20 repetitions, and the least peak counts. For time there is one, measured in the thread's processor time.
    ///
    /// # Panics
    /// When `read` panics or exceeds a limit. The message then names a file with the input.
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
        // `justified` may have to decompress the input, so it is called only if the answer matters.
        let stands_for =
            if peak > self.per_byte * bytes.len() + self.constant { justified() } else { bytes.len() };
        let allowed = self.per_byte * stands_for + self.constant;
        // Tests without a watch may run at the same time, and their memory is counted, too. The least of several peaks
        // is closest to the memory of the reader itself.
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
            // A busy machine may have suspended the test, so a second reading is measured in processor time.
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

/// Processor time of this thread so far; `None` where the system has no `/proc/thread-self/schedstat`.
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}
