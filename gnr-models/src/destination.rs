//! What a path that is given for writing stands for.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Longest chain of links that is followed, as in Linux.
const LINKS: usize = 40;

/// What a path that is given for writing stands for. A writer of whole files replaces a file, and writes straight to
/// what cannot be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A file at this path, which may not exist yet. Symbolic links of the path that was given are followed.
    File(PathBuf),
    /// Something that exists and is no file and no folder, such as `/dev/null` or a pipe.
    Stream,
}

impl Destination {
    /// Looks at a path.
    pub fn of(path: &Path) -> Self {
        if fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
            return Self::Stream;
        }
        let mut file = path.to_path_buf();
        for _ in 0..LINKS {
            match fs::read_link(&file) {
                Ok(to) => file = file.parent().unwrap_or(Path::new("")).join(to),
                Err(_) => break,
            }
        }
        Self::File(file)
    }
}
