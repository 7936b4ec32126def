//! Outcomes: what was said of an input, without what depends on its details.

/// Bytes of an outcome that count.
const LONGEST: usize = 120;

/// Words after which a message tells what stands in the input.
const ENDS: [&str; 7] = [" found", " it has", " called", " begin", " when getting", " number: ", " text: "];

/// The first line of a message up to what it says of the input's own words: without quoted names, and with 0 for each
/// number (decimal or hexadecimal) and each list of them.
pub(crate) fn outcome(message: &str, out: &mut String) {
    out.clear();
    let line = message.lines().next().unwrap_or_default();
    let end = ENDS.iter().filter_map(|end| Some(line.find(end)? + end.len())).min();
    let line = &line[..end.unwrap_or(line.len())];
    let mut rest = line.chars().peekable();
    let mut word = String::new();
    while let Some(c) = rest.next() {
        if out.len() >= LONGEST {
            return;
        }
        match c {
            // Not an apostrophe.
            '`' | '"' | '\'' if c != '\'' || out.ends_with(' ') => {
                // Up to its end, or a lone mark. A name between `` may hold that mark, too: up to the last one.
                let mut more = if c == '`' { rest.clone().filter(|other| *other == c).count() } else { 1 };
                while more > 0
                    && let Some(other) = rest.next()
                {
                    if other == c {
                        more -= 1;
                    } else if other == '\\' && c == '"' {
                        rest.next();
                    }
                }
                out.push_str("``");
            }
            _ if c.is_ascii_alphanumeric() => {
                word.clear();
                word.push(c);
                while let Some(next) = rest.next_if(char::is_ascii_alphanumeric) {
                    word.push(next);
                }
                match word.bytes().any(|byte| byte.is_ascii_digit()) {
                    false => out.push_str(&word),
                    true if out.ends_with("0, ") => out.truncate(out.len() - 2),
                    true => out.push('0'),
                }
            }
            _ if c == ' ' || c.is_ascii_punctuation() => out.push(c),
            // Anything else is of the input.
            _ if !out.ends_with('?') => out.push('?'),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_no_part_of_an_outcome() {
        for (message, expected) in [
            ("a: offset 17: label `x` at 0x1f", "a: offset 0: label `` at 0"),
            ("dims [1, 22, 3e] and more\nsecond line", "dims [0] and more"),
            ("expected \"a\", found 'é\u{1}z'", "expected ``, found"),
            ("the header's 'name' is é\u{1}z", "the header's `` is ?z"),
            ("an open `end", "an open ``end"),
            ("expected `'`, found `a\n`", "expected ``, found"),
            ("string \"a\\\"b\" in `a`b`, `c` there", "string `` in `` there"),
        ] {
            let mut found = String::from("left from before");
            outcome(message, &mut found);
            assert_eq!(found, expected);
        }
    }
}
