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

use corpus::Corpus;
use gnr_fuzz::{Limits, Random, alone, executions};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const LIMITS: Limits = Limits { per_byte: 8, constant: 3 << 19 };

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
        let name = format!("file {execution}, {}", corpus.name(seed));
        let (whole, taken) =
            LIMITS.watch(&MEMORY, (&name, &bytes), || corpus.justified(seed, &bytes), || corpus.read(seed));
        opened[seed][usize::from(whole)] += 1;
        most = most.max(taken);
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
