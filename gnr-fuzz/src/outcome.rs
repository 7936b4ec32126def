//! Outcomes of readings: the message of a refusal, without the parts that depend on details of the input.

/// Length at which an outcome ends, in bytes. Its last word is kept whole.
const LONGEST: usize = 120;

/// Words that end an outcome, because messages quote the input after them.
const ENDS: [&str; 7] = [" found", " it has", " called", " begin", " when getting", " number: ", " text: "];

/// Writes the outcome of a message to `out`: its first line, up to and with the first of [`ENDS`]. Quoted names become
/// an empty pair of backticks. Words with a digit, such as numbers, become 0, and so do lists of them.
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
            // A quotation mark. A single one counts only after a space: elsewhere it is an apostrophe.
            '`' | '"' | '\'' if c != '\'' || out.ends_with(' ') => {
                // The quoted text ends at the next such mark, or with the line. A name between backticks may hold
                // backticks and ends at the last one; a lone backtick quotes nothing.
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
            // Any other character comes from the input. Several in a row become one question mark.
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
