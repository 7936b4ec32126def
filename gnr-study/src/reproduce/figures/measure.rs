//! Measurements by the `gnr` program: each in a folder that its arguments address, so that a finished one is never repeated and
//! a stopped one goes on.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::super::child::{self, Ended};
use super::super::runner::fnv1a;
use super::typed;
use crate::interrupt::{self, Asked};

pub(super) struct Measurements<'a> {
    pub(super) gnr: &'a Path,
    pub(super) out: &'a Path,
}

impl Measurements<'_> {
    /// What `gnr KIND ARGUMENTS` finds, from its `KIND.json`; `name` is for people.
    ///
    /// # Errors
    /// A measurement that fails, with its words; an interruption.
    pub(super) fn take(&self, name: &str, kind: &str, arguments: &[String]) -> Result<Value> {
        let folder = self.folder(name, kind, arguments);
        let report = folder.join(format!("{kind}.json"));
        if !report.is_file() {
            if interrupt::asked() != Asked::Nothing {
                return Err(interrupt::Interrupted.into());
            }
            println!("measuring: {kind} of {name}");
            self.run(&folder, kind, arguments)?;
        }
        let text =
            std::fs::read_to_string(&report).with_context(|| format!("cannot read {}", report.display()))?;
        serde_json::from_str(&text).with_context(|| format!("cannot read {}", report.display()))
    }

    /// The numbers of a CSV file that a measurement left: rows, without the header.
    ///
    /// # Errors
    /// A file that cannot be read, a field that is no number.
    pub(super) fn table(
        &self,
        name: &str,
        kind: &str,
        arguments: &[String],
        file: &str,
    ) -> Result<Vec<Vec<f64>>> {
        let path = self.folder(name, kind, arguments).join(file);
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let field = |field: &str| {
            // An empty field is a number that there is none of.
            if field.is_empty() { Ok(f64::NAN) } else { field.parse() }
        };
        let row = |line: &str| line.split(',').map(field).collect::<Result<Vec<f64>, _>>();
        text.lines()
            .skip(1)
            .map(|line| row(line).with_context(|| format!("{}: `{line}`", path.display())))
            .collect()
    }

    /// Where a measurement lies.
    pub(super) fn folder(&self, name: &str, kind: &str, arguments: &[String]) -> PathBuf {
        // Not by the places of data and runs, which are the first argument and the one after --data-dir.
        let address: Vec<&String> = (0..arguments.len())
            .filter(|i| *i > 0 && arguments[*i] != "--data-dir" && arguments[i - 1] != "--data-dir")
            .map(|i| &arguments[i])
            .collect();
        let address = fnv1a(&format!("{kind} {name} {address:?}"));
        self.out.join("measures").join(format!("{}-{kind}-{address:016x}", name.replace(['/', ' '], "-")))
    }

    fn run(&self, folder: &Path, kind: &str, arguments: &[String]) -> Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let log = folder.join("log");
        let output =
            std::fs::File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let mut command = Command::new(self.gnr);
        // One measurement at a time has every core; the recipe's number of threads is that of a run beside others.
        command
            .arg(kind)
            .args(arguments)
            .args(["--set", "train.threads=0", "--stop-at-eof"])
            .arg("--out")
            .arg(folder);
        if folder.join("state.safetensors").is_file() {
            command.arg("--resume");
        }
        command.stdout(output.try_clone()?).stderr(output);
        let ended =
            child::run(&mut command).with_context(|| format!("cannot start {}", self.gnr.display()))?;
        match ended {
            Ended::Interrupted => Err(interrupt::Interrupted.into()),
            Ended::Itself(status) if status.success() => Ok(()),
            Ended::Itself(status) => {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                bail!("gnr {kind} {}: {status}\n{}", typed(arguments), text.trim_end())
            }
        }
    }
}
