//! Files of every kind, damaged in every way: none may panic, take long, or take more memory than its size justifies.
//!
//! `GNR_FUZZ_EXECUTIONS` raises the number of files, `GNR_FUZZ_FROM` starts at another one; file N is the same on every
//! run. A binary of its own, because its allocator counts. (bolero's engine for stable Rust draws files at random and
//! does not change valid ones, so little of it would get past the first bytes.)
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod mutate;
#[path = "../it/support.rs"]
mod support;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use gnr_models::weights::{Options, Policy, WeightFile, WeightsError, fit};
use gnr_nn::{Init, Layout};
use mutate::Corpus;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Bytes of memory for each byte of a file, and for any file.
const PER_BYTE: usize = 8;
const CONSTANT: usize = 3 << 19;
const LONGEST: Duration = Duration::from_secs(1);

/// What a program does with a file: its list, its tensors, a model's.
fn use_up(file: Result<WeightFile, WeightsError>, layout: &Layout) -> bool {
    let Ok(file) = file else { return false };
    // Views of one storage may be many times the file together; each alone may not.
    for tensor in file.stored().iter().take(32) {
        let _ = file.values(tensor);
        let _ = file.fingerprint(tensor);
    }
    let options = Options { policy: Policy::Matching, ..Options::default() };
    let _ = fit(&file, layout, vec![Vec::new(); layout.entries().len()], &options);
    true
}

/// Nanoseconds that this thread has run, where the system tells.
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

#[test]
fn damaged_files_do_no_harm() {
    let corpus = Corpus::gather();
    let mut layout = Layout::new();
    let mut root = layout.root();
    root.enter("fc").parameter("weight", &[2, 2], Init::Constant(0.0));
    root.enter("fc").parameter("bias", &[2], Init::Constant(0.0));
    let (from, executions) = (number("GNR_FUZZ_FROM", 0), number("GNR_FUZZ_EXECUTIONS", 4000));
    let disk = tempfile::NamedTempFile::new().unwrap();
    let (mut opened, mut most) = (0u64, 0.0f64);
    for execution in from..from + executions {
        let bytes = corpus.file(execution);
        let length = bytes.len();
        // From memory, which is fast, and some from disk, where a part is read at a time.
        let on_disk = execution % 64 == 0;
        if on_disk {
            std::fs::write(disk.path(), &bytes).unwrap();
        }
        let copy = if on_disk { Vec::new() } else { bytes.clone() };
        let open = |copy| match on_disk {
            true => WeightFile::open(disk.path()),
            false => WeightFile::from_bytes("fuzzed", copy),
        };
        MEMORY.reset_peak_usage();
        let (before, start) = (MEMORY.current_usage(), Instant::now());
        let done = catch_unwind(AssertUnwindSafe(|| use_up(open(copy), &layout)));
        let (peak, elapsed) = (MEMORY.peak_usage().saturating_sub(before), start.elapsed());
        let fail = |what: String| -> ! {
            let path = std::env::temp_dir().join(format!("gnr-fuzz-{execution}"));
            std::fs::write(&path, &bytes).unwrap();
            panic!("file {execution} ({length} bytes, {}): {what}", path.display());
        };
        match done {
            Ok(whole) => opened += u64::from(whole),
            Err(_) => fail("panicked".into()),
        }
        // In memory the file itself was there before.
        let allowed = (PER_BYTE - usize::from(!on_disk)) * length + CONSTANT;
        if peak > allowed {
            fail(format!("{peak} bytes of memory, {allowed} allowed"));
        }
        most = most.max(peak.saturating_sub(CONSTANT) as f64 / length.max(1) as f64);
        if elapsed > LONGEST {
            // A busy machine may have stopped us: what counts is the time that was spent.
            let before = processor_time();
            use_up(open(bytes.clone()), &layout);
            let spent = before.zip(processor_time()).map_or(elapsed, |(before, after)| after - before);
            if spent > LONGEST {
                fail(format!("took {spent:?}"));
            }
        }
        if execution % 1_000_000 == 999_999 {
            println!(
                "{} files, {opened} opened, {most:.2} bytes of memory a byte above the constant",
                execution + 1
            );
        }
    }
    println!("{executions} files, {opened} opened, {most:.2} bytes of memory a byte above the constant");
    assert!(opened * 20 > executions, "{opened} of {executions} files opened: the rest was not tested");
}
