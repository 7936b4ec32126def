//! The binary: built from the lock file, without a path of the machine in it and, on Linux, without a library to look
//! for.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::{Linking, Origin};
use crate::workspace::{cargo, output, show};

/// This machine's target triple.
pub(super) fn host() -> Result<String> {
    let mut rustc = Command::new("rustc");
    rustc.arg("-vV");
    let told = output(rustc)?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}

/// Builds the program of a checkout below `folder` and gives its path.
pub(super) fn binary(checkout: &Path, origin: &Origin, folder: &Path) -> Result<PathBuf> {
    let target = &origin.target;
    let mut command = cargo(["build", "--release", "--locked", "-p", "gnr-cli", "--bin", "gnr", "--target"]);
    command.arg(target).arg("--target-dir").arg(folder).current_dir(checkout);
    let moved = folders(checkout, folder)?;
    command.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", flags(&moved, origin).join("\u{1f}"));
    // Lines of our code in a backtrace are worth less here than a third of the size.
    command.env("CARGO_PROFILE_RELEASE_DEBUG", "false").env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    command.env("CARGO_INCREMENTAL", "0");
    command.env("GNR_COMMIT", &origin.commit).env("SOURCE_DATE_EPOCH", origin.date.to_string());
    let shown = show(&command);
    let status = command.stdout(Stdio::null()).status().with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}`: {status}");
    }
    let name = if target.contains("windows") { "gnr.exe" } else { "gnr" };
    let binary = folder.join(target).join("release").join(name);
    let bytes = fs::read(&binary).with_context(|| format!("cannot read {}", binary.display()))?;
    if let Some((left, _)) = moved.iter().find(|(from, _)| contains(&bytes, &from.display().to_string())) {
        bail!("{} names {}, which is another folder on every machine", binary.display(), left.display());
    }
    if origin.linking == Linking::Static && target.contains("-linux-") && asks_for_a_loader(&bytes)? {
        bail!("{} was meant to be static, and asks for a dynamic loader", binary.display());
    }
    Ok(binary)
}

/// Folders whose names would reach the binary, and what stands there in their place. The last that fits a path counts.
fn folders(checkout: &Path, folder: &Path) -> Result<[(PathBuf, &'static str); 4]> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "sysroot"]).current_dir(checkout);
    let sysroot = output(rustc)?;
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let home = home.context("expected CARGO_HOME, or a home directory")?;
    Ok([
        (home, "/cargo"),
        (PathBuf::from(sysroot.trim()), "/rust"),
        (checkout.to_path_buf(), "/gnr"),
        (folder.to_path_buf(), "/build"),
    ])
}

fn flags(moved: &[(PathBuf, &str)], origin: &Origin) -> Vec<String> {
    let mut flags: Vec<String> =
        moved.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect();
    // On musl this is the default, and elsewhere than on Linux the system has no static library.
    if origin.linking == Linking::Static && origin.target.contains("-linux-gnu") {
        flags.push("-Ctarget-feature=+crt-static".into());
    }
    flags
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Whether a 64-bit little-endian ELF file has the program header PT_INTERP, which names a dynamic loader.
fn asks_for_a_loader(elf: &[u8]) -> Result<bool> {
    const PT_INTERP: u64 = 3;
    let number = |at: u64, size: u64| -> Option<u64> {
        let bytes = elf.get(usize::try_from(at).ok()?..usize::try_from(at.checked_add(size)?).ok()?)?;
        Some(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    let kind = |header: u64| -> Option<u64> {
        number(number(0x20, 8)?.checked_add(header.checked_mul(number(0x36, 2)?)?)?, 4)
    };
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        bail!("expected a 64-bit little-endian ELF file");
    }
    let count = number(0x38, 2).context("the ELF file has no header")?;
    let kinds: Option<Vec<u64>> = (0..count).map(kind).collect();
    Ok(kinds.context("the ELF file ends within its program headers")?.contains(&PT_INTERP))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(target: &str, linking: Linking) -> Origin {
        Origin { commit: "0".into(), date: 0, target: target.into(), linking }
    }

    #[test]
    fn no_folder_of_the_machine_is_left() {
        let (checkout, folder) =
            (crate::workspace::root(), crate::workspace::root().join("target/dist/build"));
        let moved = folders(&checkout, &folder).unwrap();
        let flags = flags(&moved, &origin("x86_64-unknown-linux-musl", Linking::Static));
        assert_eq!(flags.len(), 4);
        assert!(flags.contains(&format!("--remap-path-prefix={}=/gnr", checkout.display())));
        // Of a path below both, the last that fits counts: the folder of the build lies in the checkout.
        assert!(flags[3].ends_with("=/build") && flags[2].ends_with("=/gnr"));
        assert!(host().unwrap().contains('-'));
    }

    #[test]
    fn only_linux_with_the_gnu_library_is_asked_to_be_static() {
        let is_asked = |target, linking| {
            flags(&[], &origin(target, linking)).contains(&"-Ctarget-feature=+crt-static".to_owned())
        };
        assert!(is_asked("x86_64-unknown-linux-gnu", Linking::Static));
        assert!(is_asked("aarch64-unknown-linux-gnu", Linking::Static));
        for (target, linking) in [
            ("x86_64-unknown-linux-gnu", Linking::Dynamic),
            ("x86_64-unknown-linux-musl", Linking::Static),
            ("aarch64-apple-darwin", Linking::Static),
        ] {
            assert!(!is_asked(target, linking), "{target}");
        }
    }

    #[test]
    fn a_loader_is_found_in_the_program_headers() {
        let elf = |kinds: &[u8]| {
            let mut bytes = vec![0; 0x40 + 56 * kinds.len()];
            bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
            (bytes[0x20], bytes[0x36], bytes[0x38]) = (0x40, 56, kinds.len() as u8);
            for (i, kind) in kinds.iter().enumerate() {
                bytes[0x40 + 56 * i] = *kind;
            }
            bytes
        };
        assert!(asks_for_a_loader(&elf(&[6, 3, 1])).unwrap());
        assert!(!asks_for_a_loader(&elf(&[6, 1])).unwrap());
        let cut = elf(&[6, 1]);
        assert!(asks_for_a_loader(&cut[..0x60]).unwrap_err().to_string().contains("ends within"));
        assert!(asks_for_a_loader(b"MZ").unwrap_err().to_string().contains("ELF"));
        assert!(contains(b"at /gnr/x/b", "/gnr/x") && !contains(b"at /gnr/y/b", "/gnr/x"));
    }
}
