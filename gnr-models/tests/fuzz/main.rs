//! Files of every kind, damaged in every way: none may panic, take long, or take more memory than its size justifies.
//!
//! `GNR_FUZZ_EXECUTIONS` raises the number of files, `GNR_FUZZ_FROM` starts at another one; file N is the same on every
//! run. A binary of its own, because its allocator counts. (bolero's engine for stable Rust draws files at random and
//! does not change valid ones, so little of it would get past the first bytes.)
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod mutate;
#[path = "../it/support.rs"]
mod support;

use gnr_fuzz::{Limits, executions};
use gnr_models::weights::{Options, Policy, WeightFile, WeightsError, fit};
use gnr_nn::{Init, Layout};
use mutate::Corpus;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const LIMITS: Limits = Limits { per_byte: 8, constant: 3 << 19 };

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

#[test]
fn damaged_files_do_no_harm() {
    let corpus = Corpus::gather();
    let mut layout = Layout::new();
    let mut root = layout.root();
    root.enter("fc").parameter("weight", &[2, 2], Init::Constant(0.0));
    root.enter("fc").parameter("bias", &[2], Init::Constant(0.0));
    let (from, executions) = executions(4000);
    let disk = tempfile::NamedTempFile::new().unwrap();
    let (mut opened, mut most) = (0u64, 0.0f64);
    for execution in from..from + executions {
        let bytes = corpus.file(execution);
        // From memory, which is fast, and some from disk, where a part is read at a time.
        let on_disk = execution % 64 == 0;
        if on_disk {
            std::fs::write(disk.path(), &bytes).unwrap();
        }
        let open = || match on_disk {
            true => WeightFile::open(disk.path()),
            false => WeightFile::from_bytes("fuzzed", bytes.clone()),
        };
        let name = format!("file {execution}");
        let length = || bytes.len();
        let (whole, taken) = LIMITS.watch(&MEMORY, (&name, &bytes), length, || use_up(open(), &layout));
        opened += u64::from(whole);
        most = most.max(taken);
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
