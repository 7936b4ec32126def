//! Runs as lines of text, one a run, where there is no terminal.

use std::time::SystemTime;

use gnr_study::follow::Activity;

use super::{state::Dashboard, table::values};

pub(super) fn lines(dashboard: &Dashboard, now: SystemTime) -> Vec<String> {
    let width = dashboard.runs().iter().map(|watched| watched.name.chars().count()).max().unwrap_or_default();
    let state_width =
        dashboard.runs().iter().map(|watched| watched.run.word().len()).max().unwrap_or_default();
    let line = |watched: &super::state::Watched| {
        let [state, epochs, accuracy, loss, norm, rate, steps, left] = values(watched, now);
        let left = match watched.run.activity() {
            Activity::Training if left != "-" => format!("  {left} left"),
            Activity::Stopped => format!("  last line {left}"),
            _ => String::new(),
        };
        format!(
            "{:width$}  {state:state_width$}  {epochs} epochs  test {accuracy} %  loss {loss}  |grad| {norm}  lr {rate}  {steps} steps/s{left}",
            watched.name
        )
    };
    dashboard.runs().iter().map(line).collect()
}
