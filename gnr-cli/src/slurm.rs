//! The option `--slurm N`: a study as a job array, and the job that reports when its parts are done.

use std::{
    ffi::OsString,
    io::Write,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, anyhow, bail};

use gnr_study::reproduce::quoted;

use crate::output::patient;

/// Writes the scripts of a study into its folder and submits them where there is a Slurm; else prints how to submit
/// them.
///
/// The scripts run this program's own command line. `folder` is the study's folder, which every node must see.
pub(crate) fn submit(parts: usize, folder: &Path) -> anyhow::Result<ExitCode> {
    let words: Vec<String> = std::env::args_os().skip(1).map(text).collect::<anyhow::Result<_>>()?;
    let folder = std::path::absolute(folder).with_context(|| format!("cannot find {}", folder.display()))?;
    let program = text(std::env::current_exe().context("cannot find this program")?)?;
    let here = quoted(&text(std::env::current_dir().context("cannot find the working folder")?)?);
    let command = command(&program, &words, &text(&folder)?);
    let scripts = folder.join("slurm");
    let output = in_directive(&text(&scripts)?)?;
    std::fs::create_dir_all(&scripts).with_context(|| format!("cannot create {}", scripts.display()))?;
    let array = array(&command, parts, &output, &here);
    let report = report(&command, &output, &here);
    let [array_path, report_path] = ["array.sh", "report.sh"].map(|name| scripts.join(name));
    for (path, text) in [(&array_path, &array), (&report_path, &report)] {
        gnr_train::write_atomically(path, text.as_bytes())?;
    }
    let (array_path, report_path) = (text(array_path)?, text(report_path)?);
    let mut stdout = patient();
    let there = Command::new("sbatch").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        write!(stdout, "{array}")?;
        writeln!(
            stdout,
            "\n# There is no sbatch here: nothing was submitted. Where there is one:\n\
             #   job=$(sbatch --parsable {}) && sbatch --dependency=afterany:$job {}",
            quoted(&array_path),
            quoted(&report_path)
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let id = sbatch(&[&array_path])?;
    let last = sbatch(&[&format!("--dependency=afterany:{id}"), &report_path]).with_context(|| {
        format!(
            "the array was submitted as job {id} (`scancel {id}` ends it), and the report after it was not"
        )
    })?;
    writeln!(
        stdout,
        "submitted: array {id} of {parts} parts, and {last}, which trains what they left and reports"
    )?;
    writeln!(stdout, "scripts and output: {}", scripts.display())?;
    Ok(ExitCode::SUCCESS)
}

/// A word or path as text for a script; an error if it is not UTF-8.
fn text(word: impl Into<OsString>) -> anyhow::Result<String> {
    word.into().into_string().map_err(|word| {
        anyhow!("{}: expected UTF-8 in words and paths of a job script", Path::new(&word).display())
    })
}

/// Submits a script and returns the job's number.
fn sbatch(arguments: &[&str]) -> anyhow::Result<String> {
    let output =
        Command::new("sbatch").arg("--parsable").args(arguments).output().context("cannot start sbatch")?;
    if !output.status.success() {
        bail!("sbatch refused {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    job(&said).map(str::to_owned).ok_or_else(|| {
        let said = said.trim();
        anyhow!("sbatch took {} and said `{said}`: expected the number of a job", arguments.join(" "))
    })
}

/// The job's number in the output of `sbatch --parsable`, `123` or `123;cluster`, or of a cluster's wrapper that prints
/// `Submitted batch job 123`.
fn job(said: &str) -> Option<&str> {
    let last = said.trim().lines().last()?;
    let mut words = last.split([' ', ';']);
    words.find(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A folder as written in an `#SBATCH` line. Characters that would end the word or begin a comment get a backslash. `%`
/// is doubled, since Slurm replaces `%a` and the like.
fn in_directive(folder: &str) -> anyhow::Result<String> {
    if folder.contains(['\\', '\n', '\r']) {
        bail!(
            "{folder:?}: Slurm cannot write into a folder with a backslash or a line break in its path; choose another --out"
        );
    }
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    let escaped = |c: char| if plain(c) { String::from(c) } else { format!("\\{c}") };
    Ok(folder.chars().map(escaped).collect::<String>().replace('%', "%%"))
}

/// The command line of a part: without `--slurm` and `--shard`, and with the absolute `folder` as `--out`.
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

/// The script of a part. `output` is a folder written by [`in_directive`], `here` the working folder as a shell needs
/// it.
fn array(command: &str, parts: usize, output: &str, here: &str) -> String {
    format!(
        "{HEAD}#SBATCH --job-name=gnr\n#SBATCH --array=1-{parts}\n#SBATCH --output={output}/part-%a.out\n\
         # A part that is stopped and started again goes on where it was.\n#SBATCH --requeue\n\
         cd {here} || exit 1\n{command} --shard \"$SLURM_ARRAY_TASK_ID/{parts}\"\n"
    )
}

/// The script that runs after all parts, see [`array()`].
fn report(command: &str, output: &str, here: &str) -> String {
    format!(
        "{HEAD}#SBATCH --job-name=gnr-report\n#SBATCH --output={output}/report.out\n\
         # Lists what the parts left, trains it, and reports over all of it.\n\
         cd {here} || exit 1\n{command} --dry-run\n{command}\n"
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

    #[test]
    fn the_number_of_a_job_is_found_in_what_sbatch_says() {
        for said in [
            "123\n",
            "123;second\n",
            "Submitted batch job 123\n",
            "note: cheap hours\nSubmitted batch job 123 on cluster c2\n",
        ] {
            assert_eq!(job(said), Some("123"), "{said}");
        }
        for said in ["", "\n", "queued", "job-123"] {
            assert_eq!(job(said), None, "{said}");
        }
    }

    #[test]
    fn a_folder_that_slurm_cannot_name_is_refused() {
        assert_eq!(in_directive("/a b/#1/50%/it's").unwrap(), r"/a\ b/\#1/50%%/it\'s");
        for bad in ["/a\\b", "/a\nb"] {
            assert!(in_directive(bad).unwrap_err().to_string().contains("choose another --out"));
        }
    }
}
