//! `--slurm N`: a study as a job array, and the job that reports when its parts are done.

use std::{
    io::Write,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, bail};

use gnr_study::reproduce::quoted;

/// Writes the scripts of a study into its folder and submits them where there is a Slurm; else says how.
///
/// `words` is the command line without the program; `folder` the study's, which every node must see.
pub(crate) fn submit(words: &[String], parts: usize, folder: &Path) -> anyhow::Result<ExitCode> {
    let folder = std::path::absolute(folder).with_context(|| format!("cannot find {}", folder.display()))?;
    let scripts = folder.join("slurm");
    std::fs::create_dir_all(&scripts).with_context(|| format!("cannot create {}", scripts.display()))?;
    let program = std::env::current_exe().context("cannot find this program")?;
    let command = command(&program.display().to_string(), words, &folder.display().to_string());
    let here = std::env::current_dir().context("cannot find the working folder")?;
    let array = array(&command, parts, &scripts.display().to_string(), &here.display().to_string());
    let report = report(&command, &scripts.display().to_string(), &here.display().to_string());
    let (array_path, report_path) = (scripts.join("array.sh"), scripts.join("report.sh"));
    for (path, text) in [(&array_path, &array), (&report_path, &report)] {
        gnr_train::write_atomically(path, text.as_bytes())?;
    }
    let mut stdout = std::io::stdout();
    let there = Command::new("sbatch").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        write!(stdout, "{array}")?;
        let (array, report) =
            (quoted(&array_path.display().to_string()), quoted(&report_path.display().to_string()));
        writeln!(
            stdout,
            "\n# There is no sbatch here: nothing was submitted. Where there is one:\n\
             #   job=$(sbatch --parsable {array}) && sbatch --dependency=afterany:$job {report}"
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let id = sbatch(&[&array_path.display().to_string()])?;
    let last = sbatch(&[&format!("--dependency=afterany:{id}"), &report_path.display().to_string()])?;
    writeln!(
        stdout,
        "submitted: array {id} of {parts} parts, and {last}, which trains what they left and reports"
    )?;
    writeln!(stdout, "scripts and output: {}", scripts.display())?;
    Ok(ExitCode::SUCCESS)
}

fn sbatch(arguments: &[&str]) -> anyhow::Result<String> {
    let output =
        Command::new("sbatch").arg("--parsable").args(arguments).output().context("cannot start sbatch")?;
    if !output.status.success() {
        bail!("sbatch refused {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    // `id` or `id;cluster`.
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.trim().split(';').next().unwrap_or_default().to_owned())
}

/// The words of the command line without `--slurm` and what depends on where it is run.
fn command(program: &str, words: &[String], folder: &str) -> String {
    let mut kept = vec![program.to_owned()];
    let mut skip = false;
    for word in words {
        let (name, has_value) = word.split_once('=').map_or((word.as_str(), false), |(name, _)| (name, true));
        if std::mem::take(&mut skip) {
            continue;
        }
        match name {
            "--slurm" | "--out" | "--shard" => skip = !has_value,
            _ => kept.push(word.clone()),
        }
    }
    kept.extend(["--out".to_owned(), folder.to_owned()]);
    kept.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

const HEAD: &str = "#!/bin/bash\n\
    # Add what your cluster wants: --account, --partition, --time, --mem.\n\
    #SBATCH --nodes=1\n\
    #SBATCH --ntasks=1\n\
    #SBATCH --cpus-per-task=4\n";

fn array(command: &str, parts: usize, scripts: &str, here: &str) -> String {
    format!(
        "{HEAD}#SBATCH --job-name=gnr\n#SBATCH --array=1-{parts}\n#SBATCH --output={scripts}/part-%a.out\n\
         # A part that is stopped and started again goes on where it was.\n#SBATCH --requeue\n\
         cd {} || exit 1\n{command} --shard \"$SLURM_ARRAY_TASK_ID/{parts}\"\n",
        quoted(here)
    )
}

fn report(command: &str, scripts: &str, here: &str) -> String {
    format!(
        "{HEAD}#SBATCH --job-name=gnr-report\n#SBATCH --output={scripts}/report.out\n\
         # Lists what the parts left, trains it, and reports over all of it.\n\
         cd {} || exit 1\n{command} --dry-run\n{command}\n",
        quoted(here)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_have_the_command_without_what_slurm_decides() {
        let words = ["compare", "my net.toml", "--slurm", "8", "--out=old", "--seeds", "5", "--shard", "1/2"];
        let command = command("/bin/gnr", &words.map(str::to_owned), "/disk/a b");
        assert_eq!(command, "/bin/gnr compare 'my net.toml' --seeds 5 --out '/disk/a b'");
        let script = array(&command, 8, "/disk/slurm", "/here");
        assert!(script.contains("#SBATCH --array=1-8\n"), "{script}");
        assert!(
            script.ends_with(&format!("cd /here || exit 1\n{command} --shard \"$SLURM_ARRAY_TASK_ID/8\"\n")),
            "{script}"
        );
        let script = report(&command, "/disk/slurm", "/here");
        assert!(script.ends_with(&format!("{command} --dry-run\n{command}\n")), "{script}");
    }
}
