//! Parts of error messages.

use std::path::PathBuf;

pub(super) fn did_you_mean(nearest: &Option<&'static str>) -> String {
    nearest.map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
}

/// Advice to rename one of two similar names. Combining characters are escaped, because the names may look alike.
pub(super) fn similar_name(class: &str, similar: &Option<String>) -> String {
    let differs = |name: &String| {
        format!("; {name:?} there differs from {class:?} only in case, Unicode form or space: rename one")
    };
    similar.as_ref().map(differs).unwrap_or_default()
}

pub(super) fn list(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "no directory (none was given)".into();
    }
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

pub(super) fn chw([channels, height, width]: &[usize; 3]) -> String {
    format!("{channels}x{height}x{width}")
}
