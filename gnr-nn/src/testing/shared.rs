//! Where reference files are that are too large, or not ours, to ship.

use std::path::PathBuf;

/// A file or folder of the reference files beside the project (`../shared` from its root, or `GNR_SHARED`); `None`, with a
/// line on stdout that says so, where it does not exist.
pub fn shared(what: &str) -> Option<PathBuf> {
    let root = std::env::var_os("GNR_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let path = root.join(what);
    if path.exists() {
        return Some(path);
    }
    // A test that was not run must not look like one that passed.
    #[allow(clippy::print_stdout)]
    {
        println!("skipped: {} not found", path.display());
    }
    None
}
