//! The commands in a document's shell blocks, split into words.

use crate::{Block, blocks, documents::inline_code};

/// A command line, split as a shell would split it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments.
    pub words: Vec<String>,
    /// Line of the command in the document, from 1.
    pub line: usize,
}

/// The commands of the blocks marked `sh`, `console` or `text`, in order.
///
/// In a `console` block the lines that begin with `$` and a space are commands, and the rest is output. In a `text`
/// block the lines that begin with `gnr` or `cargo` are commands. A backslash at the end of a line joins it with the
/// next line. `&&`, `||`, `;` and `|` end a command if spaces surround them. Comments are left out. Text that a shell
/// would not read (an open quote) is one word. A variable, such as `$SLURM_ARRAY_TASK_ID`, becomes the number 1.
pub fn commands(text: &str) -> Vec<Command> {
    let mut found = Vec::new();
    for block in blocks(text) {
        for (text, line) in joined(&block) {
            let command = match block.language.as_str() {
                "sh" => Some(&text[..]),
                "console" => text.strip_prefix("$ "),
                "text" => {
                    ["gnr ", "cargo "].iter().any(|program| text.starts_with(program)).then_some(&text[..])
                }
                _ => None,
            };
            found.extend(command.map(|command| split(command, line)).into_iter().flatten());
        }
    }
    found
}

/// The words of every text between backticks, in running text and in tables. Most of these texts are no commands, and a
/// command may lack arguments, as in a sentence about `gnr spectrum`. A text that stands for several commands (with an
/// ellipsis, a choice or an option in brackets) is left out.
pub fn mentions(text: &str) -> Vec<Command> {
    inline_code(text)
        .into_iter()
        .filter(|(code, _)| !code.contains(['…', '|', '[']) && !code.contains("..."))
        .flat_map(|(code, line)| split(&code, line))
        .collect()
}

/// The lines of a block with their numbers. A line that ends with a backslash is joined with the next one.
fn joined(block: &Block) -> Vec<(String, usize)> {
    let mut joined: Vec<(String, usize)> = Vec::new();
    let mut open = false;
    for (i, line) in block.text.lines().enumerate() {
        let (part, continues) = line.strip_suffix('\\').map_or((line, false), |part| (part, true));
        match joined.last_mut() {
            Some((text, _)) if open => text.push_str(part),
            _ => joined.push((part.to_owned(), block.line + 1 + i)),
        }
        open = continues;
    }
    joined
}

/// The commands of a joined line, all with the line number `line`.
fn split(text: &str, line: usize) -> Vec<Command> {
    let words = shlex::split(text).unwrap_or_else(|| vec![text.to_owned()]);
    words
        .split(|word| ["&&", "||", ";", "|"].contains(&word.as_str()))
        .filter(|words| !words.is_empty())
        .map(|words| Command { words: words.iter().map(|word| without_variables(word)).collect(), line })
        .collect()
}

/// The word with the number 1 in place of every `$NAME`.
fn without_variables(word: &str) -> String {
    let mut parts = word.split('$');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        whole.push('1');
        whole.push_str(part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_'));
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        commands(text)
            .iter()
            .map(|command| format!("{}: {}", command.line, command.words.join(" ")))
            .collect()
    }

    #[test]
    fn a_shell_block_is_read_as_a_shell_reads_it() {
        let text = "```sh\n# a comment\ngnr train my.toml && gnr spectrum runs/my-1 --top 5   # why\ngnr eval w.pth \\\n    --model 'a b'\n```\n";
        assert_eq!(
            told(text),
            ["3: gnr train my.toml", "3: gnr spectrum runs/my-1 --top 5", "4: gnr eval w.pth --model a b"]
        );
    }

    #[test]
    fn a_variable_is_a_number() {
        assert_eq!(
            told("```sh\ngnr compare --shard \"$TASK_ID/4\" --out $A-$B\n```\n"),
            ["2: gnr compare --shard 1/4 --out 1-1"]
        );
    }

    #[test]
    fn of_a_console_block_the_prompted_lines_are_commands() {
        assert_eq!(
            told("```console\n$ gnr models\ngnr is not run here\n$ gnr data\n```\n"),
            ["2: gnr models", "4: gnr data"]
        );
    }

    #[test]
    fn of_a_text_block_the_lines_that_begin_with_a_program_are() {
        assert_eq!(told("```text\nlambda 3\ncargo xtask tidy\n```\n"), ["3: cargo xtask tidy"]);
        assert_eq!(told("```toml\ngnr = false\n```\n"), [""; 0]);
    }

    #[test]
    fn commands_in_sentences_are_found_unless_they_stand_for_several() {
        let text = "Try `gnr data cifar10`,\n`gnr train | sweep`, `gnr train --set …` or `--out DIR`.";
        let found: Vec<_> =
            mentions(text).into_iter().map(|command| (command.words.join(" "), command.line)).collect();
        assert_eq!(found, [("gnr data cifar10".to_owned(), 1), ("--out DIR".to_owned(), 2)]);
    }
}
