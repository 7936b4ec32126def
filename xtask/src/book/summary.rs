//! The list of chapters, whose links are relative to its own folder and must become relative to the root.

/// Makes the targets of a text's links relative to the root. In `text` they are relative to `folder`.
pub(super) fn rebased(text: &str, folder: &str) -> String {
    let mut rest = text;
    let mut whole = String::with_capacity(text.len());
    while let Some((before, after)) = rest.split_once("](") {
        let (target, after) = after.split_once(')').unwrap_or((after, ""));
        whole += before;
        whole += "](";
        whole += &joined(folder, target);
        whole += ")";
        rest = after;
    }
    whole + rest
}

/// The path of `target`, which is relative to `folder`, without `..`.
fn joined(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_made_relative_to_the_root() {
        let text = "# A\n- [One](one.md)\n  - [Two](../two.md)\n- [Map](../../MAP.md)\n";
        let expect = "# A\n- [One](docs/book/one.md)\n  - [Two](docs/two.md)\n- [Map](MAP.md)\n";
        assert_eq!(rebased(text, "docs/book"), expect);
    }
}
