//! Rules on single files: the header, `unsafe`, marks of unfinished work, length, paths of one machine.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::Finding;

/// Largest number of lines of a file. A longer one probably holds two ideas.
const LONG: usize = 600;

/// The only places where `unsafe` may stand: the kernels, the file that loads LibTorch's CUDA library, and the library
/// that stands in for NVIDIA's in a count.
const UNSAFE: [&str; 3] =
    ["gnr-kernels/src/", "gnr-torch/src/cuda.rs", "gnr-dfdx/examples/counting_driver.rs"];

/// Largest number of lines from a `SAFETY:` paragraph to its `unsafe`.
const SAFETY_REACH: usize = 12;

/// Macros that mark unfinished work.
const UNFINISHED: [&str; 3] = ["todo", "unimplemented", "dbg"];

/// All rules for a Rust file.
pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !text.trim_start().starts_with("//!") {
        findings.push(Finding::error(path, "does not open with a `//!` line that says what the file is for"));
    }
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() > LONG {
        findings.push(Finding::warning(path, format!("{} lines: does it hold one idea?", lines.len())));
    }
    // Tokens, not text: words in comments and strings are not code.
    match text.parse::<TokenStream>() {
        Ok(tokens) => walk(path, &lines, tokens, &mut findings),
        Err(error) => findings.push(Finding::error(path, format!("is not Rust: {error}"))),
    }
    findings
}

fn walk(path: &str, lines: &[&str], tokens: TokenStream, findings: &mut Vec<Finding>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (i, token) in tokens.iter().enumerate() {
        let line = token.span().start().line;
        let at = format!("{path}:{line}");
        match token {
            TokenTree::Ident(word) if word == "unsafe" => findings.extend(unsafe_code(path, at, line, lines)),
            TokenTree::Ident(word)
                if UNFINISHED.iter().any(|mark| word == mark) && is(tokens.get(i + 1), '!') =>
            {
                findings.push(Finding::error(at, format!("`{word}!` marks unfinished work")));
            }
            TokenTree::Group(group) => {
                let attribute =
                    group.delimiter() == Delimiter::Bracket && i > 0 && is(tokens.get(i - 1), '#');
                findings.extend(attribute.then(|| ignored(at, group.stream())).flatten());
                walk(path, lines, group.stream(), findings);
            }
            _ => {}
        }
    }
}

/// Checks that an ignored test says what it needs beyond the repository. The runner prints this reason. CI meets the
/// need and runs the test.
fn ignored(at: String, attribute: TokenStream) -> Option<Finding> {
    let mut tokens = attribute.into_iter();
    let first = matches!(tokens.next(), Some(TokenTree::Ident(word)) if word == "ignore");
    let mut needs = || tokens.nth(1).is_some_and(|reason| reason.to_string().starts_with("\"needs "));
    (first && !needs()).then(|| {
        Finding::error(
            at,
            "an ignored test: only one that needs what the repository lacks may be, with \"needs …\"",
        )
    })
}

fn is(token: Option<&TokenTree>, expect: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == expect)
}

fn unsafe_code(path: &str, at: String, line: usize, lines: &[&str]) -> Option<Finding> {
    if !UNSAFE.iter().any(|place| path.starts_with(place)) {
        return Some(Finding::error(at, format!("`unsafe` outside {}", UNSAFE.join(" and "))));
    }
    let above = lines.get(line.saturating_sub(SAFETY_REACH + 1)..line).unwrap_or_default();
    // A file of one-line intrinsics has one paragraph for all, at its head.
    let covered = lines.iter().take(line).any(|text| text.contains("// SAFETY of every block in this file:"));
    let explained = covered || above.iter().any(|text| text.contains("SAFETY:") || text.contains("# Safety"));
    (!explained).then(|| Finding::error(at, "`unsafe` without a `// SAFETY:` paragraph just above it"))
}

/// Paths that exist on one machine only.
pub(super) fn no_machine_paths(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for folder in ["work", "tmp", "root", "home", "farm", "Users"] {
            let pattern = format!("/{folder}/");
            let absolute = |(at, _): (usize, &str)| {
                let before = line[..at].chars().next_back();
                before.is_none_or(|c| !c.is_alphanumeric() && !"._-~/}$".contains(c))
            };
            if line.match_indices(&pattern).any(absolute) {
                let at = format!("{path}:{}", number + 1);
                findings.push(Finding::error(at, format!("`{pattern}` is a path of a particular machine")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &str, text: &str) -> String {
        check(path, text).iter().map(|finding| format!("{finding}\n")).collect()
    }

    #[test]
    fn good_file_passes() {
        let text = "//! A file.\n/// Says \"unsafe\" and todo!() in words: `dbg!`.\nfn f() { let s = \"unsafe todo!()\"; }\n";
        assert_eq!(told("gnr-core/src/a.rs", text), "");
    }

    #[test]
    fn header_is_required() {
        assert!(told("a.rs", "// A comment.\nfn f() {}").contains("does not open with"));
        assert!(told("a.rs", "").contains("does not open with"));
    }

    #[test]
    fn marks_of_unfinished_work_are_found_with_their_line() {
        let text =
            "//! A.\nfn f() {\n    todo!(\"later\")\n}\nfn g() { unimplemented!() }\nfn h() { dbg!(1); }\n";
        let told = told("a.rs", text);
        for expect in ["a.rs:3: `todo!`", "a.rs:5: `unimplemented!`", "a.rs:6: `dbg!`"] {
            assert!(told.contains(expect), "{told}");
        }
    }

    #[test]
    fn ignored_tests_are_found() {
        let text = |attribute| format!("//! A.\n#[test]\n{attribute}\nfn f() {{}}\n");
        for attribute in ["#[ignore]", "#[ignore = \"slow\"]"] {
            assert!(told("a.rs", &text(attribute)).contains("a.rs:3: an ignored test"), "{attribute}");
        }
        assert_eq!(told("a.rs", &text("#[ignore = \"needs a data set\"]")), "");
    }

    #[test]
    fn unsafe_belongs_to_the_kernels_and_is_explained() {
        let bare = "//! A.\nfn f() { unsafe { g() } }\n";
        assert!(told("gnr-nn/src/a.rs", bare).contains("`unsafe` outside"));
        assert!(told("gnr-kernels/src/a.rs", bare).contains("without a `// SAFETY:`"));
        let explained = "//! A.\nfn f() {\n    // SAFETY: g has no conditions.\n    unsafe { g() }\n}\n";
        assert_eq!(told("gnr-kernels/src/a.rs", explained), "");
        assert!(
            told("gnr-nn/src/a.rs", explained).contains("`unsafe` outside"),
            "an explanation opens no other place"
        );
        let far = format!("//! A.\n// SAFETY: far away.\n{}fn f() {{ unsafe {{ g() }} }}\n", "\n".repeat(20));
        assert!(told("gnr-kernels/src/a.rs", &far).contains("without a `// SAFETY:`"));
        let whole =
            far.replace("SAFETY: far away", "SAFETY of every block in this file: g has no conditions");
        assert_eq!(told("gnr-kernels/src/a.rs", &whole), "");
    }

    #[test]
    fn long_files_are_a_warning() {
        let text = format!("//! A.\n{}", "\n".repeat(LONG));
        assert!(told("a.rs", &text).starts_with("warning: a.rs: 601 lines"));
    }

    #[test]
    fn broken_source_is_told() {
        assert!(told("a.rs", "//! A.\nfn f() { \"open").contains("is not Rust"));
    }

    #[test]
    fn machine_paths_are_found() {
        for (folder, tail) in [("tmp", "x"), ("root", ".cargo"), ("work", "shared"), ("home", "me")] {
            let line = format!("see `/{folder}/{tail}`");
            assert_eq!(no_machine_paths("a.md", &line).len(), 1, "{line}");
        }
        for line in ["/usr/share/datasets", "https://x.org/work/a", "a/tmp/b", "${X}/tmp/b", "../work/x"] {
            assert_eq!(no_machine_paths("a.md", line), [], "{line}");
        }
    }
}
