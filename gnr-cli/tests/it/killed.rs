//! Commands that are killed at random moments and started again have the results of undisturbed ones, bit for bit.
//! `GNR_KILLS=100` tries a hundred times each.

use std::{
    collections::BTreeSet,
    io::Read,
    path::Path,
    process::{Child, Command},
    sync::mpsc,
    time::Duration,
};

use crate::{
    jobs::{Job, difference, results, told, trials},
    support::tree,
};

/// Numbers in [0, 1) that are equal in every run of a test.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        // The generator SplitMix64 of Steele, Lea and Flood.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Waits until the process ends by itself; false if it still lives after this time.
fn ends_within(child: &mut Child, time: Duration) -> bool {
    let mut stdout = child.stdout.take().unwrap();
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || {
        // A pipe ends when its process does.
        let _ = stdout.read_to_end(&mut Vec::new());
        let _ = ended.send(());
    });
    end.recv_timeout(time).is_ok()
}

/// The signal that ends a process.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Kill,
    /// The signal that Ctrl-C sends.
    Interrupt,
}

/// Starts the job and ends it after this time; false if it was done before.
fn cut_short(job: &Job, out: &Path, time: Duration, end: End) -> bool {
    let mut child = job.command(out).spawn().unwrap();
    let done = ends_within(&mut child, time);
    if !done {
        match end {
            End::Kill => child.kill().unwrap(),
            End::Interrupt => {
                let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).output().unwrap();
                assert!(sent.status.success(), "{sent:?}");
            }
        }
    }
    let output = child.wait_with_output().unwrap();
    match output.status.code() {
        Some(0) => false,
        // The job was interrupted in order.
        Some(130) if !done && end == End::Interrupt => true,
        // The job was ended by the signal.
        None if !done => true,
        // The result was there already.
        Some(1) if job.refuses(out) => false,
        code => panic!("{} ended with {code:?}: {}", job.name, told(&output)),
    }
}

/// The names and lengths of the files in a folder.
fn files(out: &Path) -> Vec<(String, u64)> {
    let length = |file: &String| out.join(file).metadata().unwrap().len();
    tree(out).into_iter().map(|file| (file.clone(), length(&file))).collect()
}

fn campaign(name: &'static str, ends: &[End]) {
    let job = Job::new(name);
    let (whole, time) = job.whole();
    let (wanted, mut tried) = (trials(3), 0);
    let (mut kills, mut states) = (0_u32, BTreeSet::new());
    let mut failed = Vec::new();
    let mut random = Random(1);
    for attempt in 0.. {
        if tried == wanted {
            break;
        }
        // The duration may have been measured on a busier machine.
        assert!(attempt < 20 * wanted, "{attempt} processes were started, {kills} of them could be killed");
        let out = job.place(&format!("out-{attempt}"));
        let mut hit = false;
        loop {
            let end = ends[(random.next() * ends.len() as f64) as usize];
            if !cut_short(&job, &out, time.mul_f64(random.next()), end) {
                break;
            }
            hit = true;
            kills += 1;
            states.insert(files(&out));
            // Every other job is killed again.
            if random.next() < 0.5 {
                break;
            }
        }
        if hit {
            tried += 1;
            let differs = job.run(&out).map(|()| difference(&whole, &results(&out)));
            match differs {
                Ok(names) if names.is_empty() => {}
                Ok(names) => failed.push(format!("attempt {attempt}: {} differ", names.join(", "))),
                Err(error) => failed.push(format!("attempt {attempt}: {error}")),
            }
        }
        if out.exists() {
            std::fs::remove_dir_all(&out).unwrap();
        }
    }
    println!(
        "{name}: {} of {tried} were continued to the same bits, after {kills} kills that left {} different sets of files and lengths; \
         undisturbed it takes {time:.2?}",
        tried as usize - failed.len(),
        states.len()
    );
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn train() {
    campaign("train", &[End::Kill]);
}

#[test]
fn compare() {
    campaign("compare", &[End::Kill]);
}

#[test]
fn sweep() {
    campaign("sweep", &[End::Kill]);
}

/// States are written every other minute and when the work is interrupted. Interruptions make a state to continue from.
#[cfg(unix)]
#[test]
fn spectrum() {
    campaign("spectrum", &[End::Kill, End::Interrupt]);
}

#[test]
fn landscape() {
    campaign("landscape", &[End::Kill]);
}
