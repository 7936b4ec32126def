//! Helpers that run the program, and files for it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

pub(crate) fn gnr(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gnr"));
    command.args(arguments).env_remove("GNR_LOG");
    command
}

/// Runs the program. Returns exit code, standard output, standard error.
pub(crate) fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = gnr(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// The recipe of a small MLP on some digits: 6 steps an epoch.
pub(crate) const TINY: &str = r#"
[data]
subset = { per_class = 10 }
[model]
name = "mlp"
widths = [2]
[train]
epochs = 2
batch_size = 16
threads = 1
workers = 0
"#;

pub(crate) fn write(folder: &Path, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, contents).unwrap();
    path
}

/// The bytes of a safetensors file of F32 tensors, each filled with one number.
pub(crate) fn safetensors(tensors: &[(&str, &[usize], f32)]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, shape, value) in tensors {
        let start = data.len();
        for _ in 0..shape.iter().product::<usize>() {
            data.extend(value.to_le_bytes());
        }
        let info = serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()] });
        header.insert((*name).to_owned(), info);
    }
    let header = serde_json::Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

/// All files below a folder, sorted.
pub(crate) fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// The command in a process whose files may take `blocks` of 512 bytes (1024 in some shells) each. Longer files are
/// refused as by a full disk, without a mount.
pub(crate) fn limited(command: &Command, blocks: u64) -> Command {
    let mut limited = Command::new("sh");
    // The signal of a refusal would end the process before it could report the error.
    limited.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")]);
    limited.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited
}

/// A file system of a few pages, unmounted when dropped. Tests that have one where mounting is permitted demand equal
/// results of [`limited`] processes everywhere.
pub(crate) struct Tiny(pub(crate) tempfile::TempDir);

impl Tiny {
    pub(crate) fn mount(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", options, "gnr-test"]).arg(dir.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(dir)),
            _ => {
                println!("mounting a tmpfs is not permitted here: files are limited instead, and not disks");
                None
            }
        }
    }

    /// Changes the size of the file system.
    pub(crate) fn resize(&self, size: &str) {
        self.remount(&format!("size={size}"));
    }

    /// Changes the options of the mount.
    pub(crate) fn remount(&self, options: &str) {
        let option = format!("remount,{options}");
        let output = Command::new("mount").args(["-o", &option]).arg(self.0.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).output();
    }
}
