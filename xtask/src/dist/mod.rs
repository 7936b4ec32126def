//! `cargo xtask dist`: the program as others download it. An archive with the binary, its manual pages, completions and
//! the licences of everything inside, and its SHA-256. The same commit, toolchain and target give the same bytes,
//! wherever the checkout lies: paths are taken out of the binary, and every time in the archive is that of the commit.

mod archive;
mod build;
mod licences;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::workspace::{output, root};
use archive::Entry;

/// Options of `cargo xtask dist`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Folder of the archive.
    #[arg(long, value_name = "DIR", default_value = "target/dist")]
    out: PathBuf,
    /// Target triple [default: this machine's].
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    /// Take the C library from the system where the program runs. Else a program for Linux needs nothing of it.
    #[arg(long)]
    dynamic: bool,
    /// Build a second time from a clone in another folder and compare the bytes.
    #[arg(long)]
    verify: bool,
}

/// The inputs that decide every byte of the archive, beside the sources.
struct Origin {
    commit: String,
    /// Seconds of the commit's date.
    date: u64,
    target: String,
    linking: Linking,
}

/// The linking of the C library, on systems that have a static one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Linking {
    Static,
    Dynamic,
}

impl Origin {
    /// Name of the archive and of the folder in it.
    fn name(&self) -> String {
        let suffix = if self.linking == Linking::Dynamic { "-dynamic" } else { "" };
        format!("gnr-{}-{}{suffix}", env!("CARGO_PKG_VERSION"), self.target)
    }

    /// Whether the GNU C library is part of the binary.
    fn contains_glibc(&self) -> bool {
        self.linking == Linking::Static && self.target.contains("-linux-gnu")
    }
}

/// Files of the workspace that the archive also contains.
const DOCUMENTS: [&str; 4] = ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"];

/// Makes the archive.
///
/// # Errors
/// Uncommitted changes, a build that fails; with `--verify` two builds of different bytes.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let root = root();
    let changed = changes(&root)?;
    if !changed.is_empty() {
        bail!("commit first: the archive says that it is of a commit, and there are changes\n{changed}");
    }
    let origin = Origin {
        commit: git(&root, &["rev-parse", "--short=12", "HEAD"])?,
        date: git(&root, &["log", "-1", "--format=%ct"])?.parse().context("the commit has no date")?,
        target: arguments.target.clone().map_or_else(build::host, Ok)?,
        linking: if arguments.dynamic { Linking::Dynamic } else { Linking::Static },
    };
    let out = root.join(&arguments.out);
    let (archive, sum) = make(&root, &origin, &out)?;
    // The build took minutes, in which the commit or the files may have changed.
    let (now, changed) = (git(&root, &["rev-parse", "--short=12", "HEAD"])?, changes(&root)?);
    if now != origin.commit || !changed.is_empty() {
        bail!(
            "the checkout changed while it was built, so {} is not of {}: the checkout is {now} now\n{changed}",
            archive.display(),
            origin.commit
        );
    }
    println!("{sum}  {}", archive.display());
    if arguments.verify {
        verify(&root, &origin, &out, &sum)?;
    }
    Ok(())
}

/// The files that differ from the commit.
fn changes(root: &Path) -> Result<String> {
    git(root, &["status", "--porcelain", "--untracked-files=no"])
}

/// Builds a checkout and packs it: the archive and its SHA-256.
fn make(checkout: &Path, origin: &Origin, out: &Path) -> Result<(PathBuf, String)> {
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let binary = build::binary(checkout, origin, &out.join("build"))?;
    let generated = out.join("generated");
    if generated.exists() {
        fs::remove_dir_all(&generated).with_context(|| format!("cannot empty {}", generated.display()))?;
    }
    let mut generate = Command::new(&binary);
    output({
        generate.arg("generate").arg(&generated);
        generate
    })?;
    let name = origin.name();
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let suffix = if origin.target.contains("windows") { ".exe" } else { "" };
    let mut entries =
        vec![Entry { path: format!("{name}/bin/gnr{suffix}"), bytes: read(&binary)?, program: true }];
    for document in DOCUMENTS {
        let bytes = read(&checkout.join(document))?;
        entries.push(Entry { path: format!("{name}/{document}"), bytes, program: false });
    }
    for file in below(&generated)? {
        let path = format!("{name}/share/{}", file.display());
        entries.push(Entry { path, bytes: read(&generated.join(&file))?, program: false });
    }
    let licences = licences::of(checkout, origin)?.into_bytes();
    entries.push(Entry { path: format!("{name}/THIRD-PARTY-LICENCES.txt"), bytes: licences, program: false });
    let bytes = archive::packed(entries, origin.date)?;
    let archive = out.join(format!("{name}.tar.gz"));
    fs::write(&archive, &bytes).with_context(|| format!("cannot write {}", archive.display()))?;
    let sum = hex(&Sha256::digest(&bytes));
    let sums = out.join(format!("{name}.tar.gz.sha256"));
    fs::write(&sums, format!("{sum}  {name}.tar.gz\n"))
        .with_context(|| format!("cannot write {}", sums.display()))?;
    Ok((archive, sum))
}

/// Builds the archive again from a clone elsewhere, and compares.
fn verify(root: &Path, origin: &Origin, out: &Path, sum: &str) -> Result<()> {
    let clone = out.join("clone");
    if clone.exists() {
        fs::remove_dir_all(&clone).with_context(|| format!("cannot remove {}", clone.display()))?;
    }
    let mut command = Command::new("git");
    command.args(["clone", "--quiet", "--shared"]).arg(root).arg(&clone);
    output(command)?;
    git(&clone, &["checkout", "--quiet", "--detach", &origin.commit])?;
    let (archive, again) = make(&clone, origin, &clone.join("target/dist"))?;
    println!("{again}  {}", archive.display());
    if again != sum {
        bail!("two builds of {} differ: {sum} and {again}", origin.commit);
    }
    println!("two builds in two folders have the same bytes");
    Ok(())
}

fn git(folder: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("git");
    command.args(arguments).current_dir(folder);
    Ok(output(command)?.trim().to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The files at or below a folder, relative to it.
fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("cannot list {}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap_or(&path).to_path_buf());
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_sha256() {
        // FIPS 180-2, appendix B.1.
        let expect = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&Sha256::digest(b"abc")), expect);
    }

    #[test]
    fn the_name_says_what_is_inside() {
        let origin =
            |target: &str, linking| Origin { commit: "0".into(), date: 0, target: target.into(), linking };
        let gnu = origin("x86_64-unknown-linux-gnu", Linking::Static);
        assert_eq!(gnu.name(), concat!("gnr-", env!("CARGO_PKG_VERSION"), "-x86_64-unknown-linux-gnu"));
        assert!(gnu.contains_glibc());
        let dynamic = origin("x86_64-unknown-linux-gnu", Linking::Dynamic);
        assert!(dynamic.name().ends_with("-gnu-dynamic") && !dynamic.contains_glibc());
        assert!(!origin("x86_64-unknown-linux-musl", Linking::Static).contains_glibc());
    }

    #[test]
    fn files_are_found_at_any_depth() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        for name in ["top", "a/b/deep"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let mut found = below(folder.path()).unwrap();
        found.sort();
        assert_eq!(found, [PathBuf::from("a/b/deep"), PathBuf::from("top")]);
    }
}
