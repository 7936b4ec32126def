//! Counts of the kernels, memory, copies and waits that steps ask of a card. gnr-dfdx's example `counted_steps` runs
//! with its example `counting_driver` in place of NVIDIA's libraries. That driver computes nothing, so the counts are
//! exact and no card is needed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{example, shown, toolkit::Toolkit};
use crate::workspace::{cargo, messages, output, root, show};

/// The batch that the ceilings are for.
pub(super) const BATCH: u32 = 128;
/// The ceilings, relative to the root.
const CEILINGS: &str = "gnr-dfdx/tests/ceilings.toml";
/// Names of the steps that are counted, as the example takes them.
const STEPS: [&str; 2] = ["gradient", "gnr"];
/// Names under which programs with CUDA look for NVIDIA's libraries.
const LIBRARIES: [&str; 3] = ["libcuda.so.1", "libcublas.so.13", "libnvrtc.so.13"];
/// The variable that tells the counting driver where to write.
const COUNTS: &str = "GNR_CUDA_COUNTS";
/// Beginning of the names of kernel counts.
const KERNEL: &str = "kernel ";
/// Number of kernels that are listed by name.
const NAMED: usize = 6;

/// Counts by name. All grow with the number of steps, except for the highest use of memory.
type Counts = BTreeMap<String, u64>;
const PEAK: &str = "peak_bytes";

/// Counts each step, and compares it with its ceilings.
///
/// # Errors
/// A failed build or run; a count above its ceiling.
pub(super) fn run(toolkit: &Toolkit, batch: u32) -> Result<()> {
    let driver = example(toolkit, cargo(["build"]), "counting_driver")?;
    let steps = toolkit.environment(cargo(["build"]))?;
    let steps = example(toolkit, with_cuda(steps), "counted_steps")?;
    let folder = toolkit.folder().join("counting");
    place(&driver, &folder)?;
    let ceilings = ceilings()?;
    let mut above = Vec::new();
    for what in STEPS {
        let counts = of_one_step(&steps, &folder, what, batch)?;
        println!("\nResNet-18, batch {batch}: {what}, once everything is compiled and cached");
        let Some(ceilings) = ceilings.get(what).filter(|_| batch == BATCH) else {
            print(&counts, &Counts::new());
            continue;
        };
        print(&counts, ceilings);
        above.extend(exceeded(&counts, ceilings).into_iter().map(|text| format!("{what}: {text}")));
    }
    if batch != BATCH {
        println!("\nnot compared: {CEILINGS} is for a batch of {BATCH}");
    } else if !above.is_empty() {
        bail!("more than {CEILINGS} allows: {}", above.join("; "));
    }
    Ok(())
}

fn with_cuda(mut command: Command) -> Command {
    command.args(["--features", "cuda"]);
    command
}

/// Puts the driver where the loader finds it under each library's name. All names are links to one file, so that one
/// library is loaded and counts everything.
fn place(driver: &Path, folder: &Path) -> Result<()> {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for name in LIBRARIES {
        let link = folder.join(name);
        std::os::unix::fs::symlink(driver, &link)
            .with_context(|| format!("cannot make the link {}", link.display()))?;
    }
    Ok(())
}

/// The counts that a third step adds to those of two. The first steps compile kernels and fill caches.
fn of_one_step(program: &Path, libraries: &Path, what: &str, batch: u32) -> Result<Counts> {
    let [two, three] = [2, 3].map(|steps: u32| {
        let file = libraries.join(format!("{what}-{steps}.toml"));
        let mut command = Command::new(program);
        command.args([what, &batch.to_string(), &steps.to_string()]);
        command.env("LD_LIBRARY_PATH", libraries).env(COUNTS, &file);
        let said = show(&command);
        output(command)?;
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("`{said}` did not load the counting driver: no {}", shown(&file)))?;
        toml::from_str::<Counts>(&text).with_context(|| format!("cannot read {}", shown(&file)))
    });
    Ok(difference(&two?, &three?))
}

fn difference(fewer: &Counts, more: &Counts) -> Counts {
    let of_step = |(name, count): (&String, &u64)| {
        let before = if name == PEAK { 0 } else { fewer.get(name).copied().unwrap_or(0) };
        (name.clone(), count.saturating_sub(before))
    };
    more.iter().map(of_step).collect()
}

fn ceilings() -> Result<BTreeMap<String, Counts>> {
    let path = root().join(CEILINGS);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {CEILINGS}"))?;
    toml::from_str(&text).with_context(|| format!("cannot read {CEILINGS}"))
}

/// The counts above their ceiling, and the ceilings that have no count, in words.
fn exceeded(counts: &Counts, ceilings: &Counts) -> Vec<String> {
    let told = ceilings.iter().filter_map(|(name, ceiling)| match counts.get(name) {
        None => Some(format!("{name} is not counted")),
        Some(count) if count > ceiling => Some(format!("{name} {count}, at most {ceiling}")),
        Some(_) => None,
    });
    told.collect()
}

fn print(counts: &Counts, ceilings: &Counts) {
    for (name, count) in counts.iter().filter(|(name, _)| !name.starts_with(KERNEL)) {
        let ceiling = ceilings.get(name).map_or_else(String::new, |ceiling| format!("  at most {ceiling}"));
        println!("  {name:24} {count:>14}{ceiling}");
    }
    let mut kernels: Vec<_> =
        counts.iter().filter_map(|(name, count)| Some((*count, name.strip_prefix(KERNEL)?))).collect();
    kernels.sort_by(|a, b| b.cmp(a));
    let named: Vec<String> =
        kernels.iter().take(NAMED).map(|(count, name)| format!("{name} {count}")).collect();
    println!("  most often: {}", named.join(", "));
}

/// The file of an example that a cargo command with JSON messages builds.
///
/// # Errors
/// When it does not build; cargo has then said why.
pub(super) fn artifact(command: Command, name: &str) -> Result<PathBuf> {
    let said = show(&command);
    let file = |message: &serde_json::Value| {
        (message["target"]["name"] == name).then(|| message["filenames"][0].as_str().map(PathBuf::from))?
    };
    messages(command)?.iter().rev().find_map(file).with_context(|| format!("`{said}` built no {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(all: &[(&str, u64)]) -> Counts {
        all.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn a_step_is_what_it_adds_and_its_peak_is_the_process_s() {
        let (two, three) =
            (counts(&[("kernels", 10), (PEAK, 90)]), counts(&[("kernels", 14), ("waits", 1), (PEAK, 99)]));
        assert_eq!(difference(&two, &three), counts(&[("kernels", 4), ("waits", 1), (PEAK, 99)]));
    }

    #[test]
    fn counts_above_their_ceiling_and_ceilings_without_a_count_are_told() {
        let found = counts(&[("kernels", 14), ("waits", 1)]);
        assert_eq!(exceeded(&found, &counts(&[("kernels", 14)])), [""; 0]);
        let told = exceeded(&found, &counts(&[("kernels", 13), ("copies", 5)]));
        assert_eq!(told, ["copies is not counted", "kernels 14, at most 13"]);
    }

    #[test]
    fn every_step_has_ceilings() {
        let ceilings = ceilings().unwrap();
        assert_eq!(ceilings.keys().collect::<Vec<_>>(), {
            let mut names = STEPS.to_vec();
            names.sort_unstable();
            names
        });
        assert!(ceilings.values().all(|ceilings| ceilings.contains_key("kernels")), "{ceilings:?}");
    }
}
