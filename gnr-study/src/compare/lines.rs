//! What the plans of several methods say before training, each line once.

/// How a line of a plan begins that tells of something doubtful.
const WARNING: &str = "warning: ";

/// The lines of every method, given with their titles, in the order in which they appear first. A line that not all
/// methods have names those that have it.
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
