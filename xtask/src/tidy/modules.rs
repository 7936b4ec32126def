//! The rule that every Rust file is compiled. A file that no `mod` names is not.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};

use super::Finding;

/// Checks the rule on the paths and texts of all Rust files. Files must lie where Cargo finds them by itself: without
/// `#[path]` and without targets elsewhere.
pub(super) fn check<'f>(files: impl Iterator<Item = (&'f str, &'f str)>) -> Vec<Finding> {
    let named: BTreeMap<&str, BTreeSet<String>> =
        files.map(|(path, text)| (path, text.parse().map(modules).unwrap_or_default())).collect();
    let orphans = named.keys().filter(|path| !is_root(path)).filter(|path| {
        let (parents, name) = parents(path);
        !parents.iter().any(|parent| named.get(&parent[..]).is_some_and(|names| names.contains(name)))
    });
    orphans.map(|path| Finding::error(*path, "no `mod` names it: it is not compiled")).collect()
}

/// Whether Cargo compiles the file by itself.
fn is_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(
        parts[..],
        [_, "build.rs"]
            | [_, "src", "lib.rs" | "main.rs"]
            | [_, "src", "bin", _]
            | [_, "tests" | "benches" | "examples", _]
            | [_, "tests" | "benches" | "examples", _, "main.rs"]
    )
}

/// The files that could name a module, and the module's name.
fn parents(path: &str) -> (Vec<String>, &str) {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    match file.strip_suffix(".rs").unwrap_or(file) {
        "mod" => {
            let (above, name) = folder.rsplit_once('/').unwrap_or(("", folder));
            (in_folder(above), name)
        }
        name => (in_folder(folder), name),
    }
}

fn in_folder(folder: &str) -> Vec<String> {
    ["/mod.rs", "/lib.rs", "/main.rs", ".rs"].map(|end| format!("{folder}{end}")).into()
}

/// The names in `mod name;`.
fn modules(tokens: TokenStream) -> BTreeSet<String> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let names = tokens.windows(3).filter_map(|three| match three {
        [TokenTree::Ident(word), TokenTree::Ident(name), TokenTree::Punct(end)]
            if word == "mod" && end.as_char() == ';' =>
        {
            Some(name.to_string())
        }
        _ => None,
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orphans(files: &[(&str, &str)]) -> Vec<String> {
        check(files.iter().copied()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_that_no_module_names_is_found() {
        let mut files = vec![
            ("gnr-a/src/lib.rs", "mod one; #[cfg(test)] pub(crate) mod two;"),
            ("gnr-a/src/one.rs", "mod deep;"),
            ("gnr-a/src/one/deep.rs", ""),
            ("gnr-a/src/two/mod.rs", "mod three; // mod comment;"),
            ("gnr-a/src/two/three.rs", ""),
            ("gnr-a/tests/it/main.rs", "mod case;"),
            ("gnr-a/tests/it/case.rs", ""),
            ("gnr-a/benches/kernels.rs", ""),
            ("gnr-a/examples/show.rs", ""),
            ("gnr-a/build.rs", ""),
        ];
        assert_eq!(orphans(&files), [""; 0]);
        files.extend([
            ("gnr-a/src/two/comment.rs", ""),
            ("gnr-a/src/deep.rs", ""),
            ("gnr-a/tests/it/old.rs", ""),
        ]);
        let found = orphans(&files);
        assert_eq!(found.len(), 3, "{found:?}");
        for (found, path) in found.iter().zip(["src/deep.rs", "src/two/comment.rs", "tests/it/old.rs"]) {
            assert!(found.contains(path) && found.contains("no `mod` names it"), "{found}");
        }
    }

    #[test]
    fn an_inline_module_names_no_file() {
        let files = [("a/src/main.rs", "mod inner { fn f() {} }"), ("a/src/inner.rs", "")];
        assert_eq!(orphans(&files).len(), 1);
    }
}
