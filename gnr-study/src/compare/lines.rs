//! The lines of several methods' plans before training, each once.

/// The beginning of a line that is a warning.
const WARNING: &str = "warning: ";

/// The lines of all methods, each once, in the order of their first appearance. `plans` has the title and the lines of
/// each method. A line that only some methods have names these.
pub(super) fn merged(plans: &[(String, Vec<String>)]) -> Vec<String> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for (title, lines) in plans {
        for line in lines {
            match found.iter_mut().find(|(known, _)| known == line) {
                Some((_, titles)) if titles.contains(&title.as_str()) => {}
                Some((_, titles)) => titles.push(title),
                None => found.push((line, vec![title])),
            }
        }
    }
    let one = |(line, titles): (&str, Vec<&str>)| {
        let (begin, rest) = match line.strip_prefix(WARNING) {
            Some(rest) => (WARNING, rest),
            None => ("", line),
        };
        match titles.len() == plans.len() {
            true => line.to_owned(),
            false => format!("{begin}{}: {rest}", titles.join(", ")),
        }
    };
    found.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plans(lines: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
        let plan = |(title, lines): &(&str, &[&str])| {
            ((*title).to_owned(), lines.iter().map(|line| (*line).to_owned()).collect())
        };
        lines.iter().map(plan).collect()
    }

    #[test]
    fn every_line_is_said_once_and_names_its_methods() {
        let merged = merged(&plans(&[
            ("SGD", &["100 images", "warning: no image of `7`"]),
            (
                "SAM",
                &["100 images", "warning: no image of `7`", "warning: odd radius", "warning: odd radius"],
            ),
            ("GNR", &["90 images", "warning: alpha = 0", "warning: no image of `7`", "warning: odd radius"]),
        ]));
        assert_eq!(
            merged,
            [
                "SGD, SAM: 100 images",
                "warning: no image of `7`",
                "warning: SAM, GNR: odd radius",
                "GNR: 90 images",
                "warning: GNR: alpha = 0",
            ]
        );
    }

    #[test]
    fn the_lines_of_one_method_are_its_own() {
        let lines = ["100 images", "warning: odd"];
        assert_eq!(merged(&plans(&[("SGD", &lines)])), lines);
    }
}
