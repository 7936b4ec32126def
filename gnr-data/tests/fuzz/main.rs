//! Files for every parser, damaged in every way: no file may cause a panic, take long, or take more memory than its
//! size justifies. `parsers` has a campaign for each parser, on contents in memory; here whole data sets are opened,
//! from files.
//!
//! `GNR_FUZZ_EXECUTIONS` raises the number of files, `GNR_FUZZ_FROM` sets the first one; file N is equal on every run.
//! Compressed files may take memory in proportion to what they decompress to.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and reports its numbers"
)]

mod corpus;
mod parsers;
#[path = "../it/trees.rs"]
#[allow(dead_code)]
mod trees;
mod words;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use corpus::Corpus;
use gnr_fuzz::{Random, alone, executions, processor_time};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Bytes of memory that each byte of a file justifies, and bytes that any file may take.
const PER_BYTE: usize = 8;
const CONSTANT: usize = 3 << 19;
const LONGEST: Duration = Duration::from_secs(1);

#[test]
fn damaged_files_do_no_harm() {
    let _alone = alone();
    let corpus = Corpus::gather();
    let (from, executions) = executions(4000);
    let (mut opened, mut most) = (vec![[0u64; 2]; corpus.len()], 0.0f64);
    for execution in from..from + executions {
        let mut random = Random::new(execution);
        let (seed, bytes) = corpus.file(&mut random);
        corpus.put(seed, &bytes);
        let justified = corpus.justified(seed, &bytes);
        MEMORY.reset_peak_usage();
        let (before, start) = (MEMORY.current_usage(), Instant::now());
        let done = catch_unwind(AssertUnwindSafe(|| corpus.read(seed)));
        let (peak, elapsed) = (MEMORY.peak_usage().saturating_sub(before), start.elapsed());
        let fail = |what: String| -> ! {
            let path = std::env::temp_dir().join(format!("gnr-fuzz-{execution}"));
            std::fs::write(&path, &bytes).unwrap();
            let (name, length) = (corpus.name(seed), bytes.len());
            panic!("file {execution} ({name}, {length} bytes, {}): {what}", path.display());
        };
        match done {
            Ok(whole) => opened[seed][usize::from(whole)] += 1,
            Err(_) => fail("panicked".into()),
        }
        let allowed = PER_BYTE * justified + CONSTANT;
        if peak > allowed {
            fail(format!("{peak} bytes of memory, {allowed} allowed"));
        }
        most = most.max(peak.saturating_sub(CONSTANT) as f64 / justified.max(1) as f64);
        if elapsed > LONGEST {
            // A busy machine may have stopped the test: the processor's time counts.
            let before = processor_time();
            corpus.read(seed);
            let spent = before.zip(processor_time()).map_or(elapsed, |(before, after)| after - before);
            if spent > LONGEST {
                fail(format!("took {spent:?}"));
            }
        }
    }
    let whole: u64 = opened.iter().map(|[_, whole]| whole).sum();
    println!("{executions} files, {whole} opened, {most:.2} bytes of memory a byte above the constant");
    if executions < 4000 {
        return;
    }
    for (seed, [refused, whole]) in opened.iter().enumerate() {
        let name = corpus.name(seed);
        println!("{name}: {refused} refused, {whole} opened");
        assert!(
            *refused > 0 && *whole > 0,
            "{name}: {refused} refused, {whole} opened: the rest was not tested"
        );
    }
}
