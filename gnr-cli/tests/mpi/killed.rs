//! Ranks that are killed at random moments: the run ends, and continues to the bits of an undisturbed run.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use crate::support::{gnr, last, recipe, succeeds, told};

const RANKS: usize = 3;

/// The process id of a rank of the run in `out`.
fn process(rank: usize, out: &Path) -> Option<u32> {
    let (name, wanted) = (format!("OMPI_COMM_WORLD_RANK={rank}"), out.as_os_str().as_encoded_bytes());
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let variables = std::fs::read(entry.path().join("environ")).ok()?;
        let of_run = line.split(|byte| *byte == 0).any(|word| word == wanted);
        let of_rank = variables.split(|byte| *byte == 0).any(|variable| variable == name.as_bytes());
        (of_run && of_rank).then_some(pid)
    })
}

#[test]
fn a_run_whose_rank_is_killed_ends_and_continues_to_the_same_bits() {
    let home = tempfile::tempdir().unwrap();
    let recipe = recipe(home.path());
    let arguments = |out: &Path| -> Vec<String> {
        let sets = ["train.checkpoint_every_steps=2", "train.epochs=20", "method.sam=true"];
        let words =
            ["train", recipe.to_str().unwrap(), "--quiet", "--resume", "--out", out.to_str().unwrap()];
        words.into_iter().chain(sets.iter().flat_map(|set| ["--set", set])).map(str::to_owned).collect()
    };
    let run = |out: &Path| gnr(RANKS, &arguments(out).iter().map(String::as_str).collect::<Vec<_>>());
    let whole = home.path().join("whole");
    let started = Instant::now();
    succeeds(run(&whole));
    let time = started.elapsed();
    let expected = std::fs::read(last(&whole)).unwrap();
    let kills: usize = std::env::var("GNR_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let (mut random, mut hit, mut slowest) = (1_u64, 0, Duration::ZERO);
    for rank in 0..RANKS {
        let (mut done, mut attempt) = (0, 0);
        while done < kills {
            attempt += 1;
            assert!(attempt <= 20 * kills, "rank {rank} was killed {done} times in {attempt} tries");
            let out = home.path().join(format!("killed-{rank}-{attempt}"));
            let mut command = run(&out);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            let job = command.spawn().unwrap();
            // A multiplicative generator is random enough to choose moments.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            std::thread::sleep(time.mul_f64((random >> 33) as f64 / (1_u64 << 31) as f64));
            let Some(pid) = process(rank, &out) else {
                job.wait_with_output().unwrap();
                continue;
            };
            let killed = Instant::now();
            std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
            let output = job.wait_with_output().unwrap();
            if output.status.success() {
                continue; // it was done before the signal came
            }
            slowest = slowest.max(killed.elapsed());
            let words = told(&output);
            assert!(words.contains("signal 9"), "{words}");
            succeeds(run(&out));
            assert!(
                std::fs::read(last(&out)).unwrap() == expected,
                "rank {rank}, attempt {attempt}: other bits"
            );
            (done, hit) = (done + 1, hit + 1);
        }
    }
    println!(
        "{hit} of {hit} killed runs on {RANKS} ranks continued to the same bits; the slowest took {slowest:.1?} to end"
    );
    assert!(slowest < Duration::from_secs(60), "{slowest:?}");
}
