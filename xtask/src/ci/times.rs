//! The times of stages and tests. Those of stages are kept under `target`, for comparison with the next run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::workspace::root;

/// Seconds of each stage, of the last time that it passed.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Times {
    #[serde(flatten)]
    seconds: BTreeMap<String, f64>,
}

impl Times {
    /// The file, relative to the root.
    pub(super) const FILE: &str = "target/ci-times.json";

    /// Reads the times that were kept; none if there is no such file or it cannot be read.
    pub(super) fn read() -> Self {
        let text = fs::read_to_string(root().join(Self::FILE));
        text.ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    pub(super) fn of(&self, stage: &str) -> Option<Duration> {
        self.seconds.get(stage).and_then(|seconds| Duration::try_from_secs_f64(*seconds).ok())
    }

    /// Keeps the time of a stage that passed.
    pub(super) fn keep(&mut self, stage: &str, time: Duration) -> Result<()> {
        self.seconds.insert(stage.to_owned(), (time.as_secs_f64() * 10.0).round() / 10.0);
        let path = root().join(Self::FILE);
        fs::write(&path, serde_json::to_string_pretty(self)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// One test and its seconds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Test {
    seconds: f64,
    name: String,
}

/// Path of the report that nextest's profile `ci` writes (`.config/nextest.toml`).
pub(super) fn report() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("nextest/ci/junit.xml")
}

/// The tests of a report.
pub(super) fn tests(report: &Path) -> Result<Vec<Test>> {
    let text = fs::read_to_string(report).with_context(|| format!("cannot read {}", report.display()))?;
    parse(&text).with_context(|| format!("{} is not a JUnit report", report.display()))
}

fn parse(text: &str) -> Result<Vec<Test>> {
    let document = roxmltree::Document::parse(text)?;
    let cases = document.descendants().filter(|node| node.has_tag_name("testcase"));
    cases
        .map(|case| {
            let attribute =
                |name| case.attribute(name).with_context(|| format!("a testcase without `{name}`"));
            let (binary, name, time) = (attribute("classname")?, attribute("name")?, attribute("time")?);
            let seconds = time.parse().with_context(|| format!("`{time}` of {name} is no number"))?;
            Ok(Test { seconds, name: format!("{binary} {name}") })
        })
        .collect()
}

/// The slowest `count` tests, slowest first, one a line.
pub(super) fn slowest(tests: &[Test], count: usize) -> Vec<String> {
    let mut sorted: Vec<&Test> = tests.iter().collect();
    sorted.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    sorted.iter().take(count).map(|test| format!("{:>8.1} s  {}", test.seconds, test.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_tests_of_a_report_come_first() {
        let case = |name: &str, time: &str| {
            format!(r#"<testcase name="{name}" classname="gnr-core::it" timestamp="x" time="{time}"/>"#)
        };
        let cases: String =
            [("a", "0.5"), ("b&lt;T&gt;", "12.25"), ("c", "3")].map(|(n, t)| case(n, t)).concat();
        let text = format!(
            r#"<?xml version="1.0"?><testsuites><testsuite name="s">{cases}</testsuite></testsuites>"#
        );
        let tests = parse(&text).unwrap();
        assert_eq!(tests.len(), 3);
        assert_eq!(slowest(&tests, 2), ["    12.2 s  gnr-core::it b<T>", "     3.0 s  gnr-core::it c"]);
        assert!(parse("<testcase/>").is_err() && parse("no xml").is_err());
    }
}
