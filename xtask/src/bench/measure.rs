//! Timings as both sides print them, and what they come to.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::statistics::median;

/// What is timed, in the table's order. `hvp` is an exact product from scratch, its gradient included; `hvp_4` four of them at one point.
pub(super) const METHODS: [&str; 11] = [
    "forward",
    "gradient",
    "hvp",
    "hvp_4",
    "sgd",
    "sam",
    "gnr_exact",
    "gnr_fd",
    "gnr_fd_every_10",
    "gnr_fd_quarter_every_10",
    "gnr_arithmetic",
];

/// Who computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Side {
    Ours,
    Pytorch,
}

/// One JSON line of a block: a method of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) model: String,
    pub(super) method: String,
    pub(super) median_ms: f64,
    pub(super) min_ms: f64,
    pub(super) rounds: u64,
    pub(super) peak_rss_mb: Option<f64>,
    /// Resident memory before the first step.
    #[serde(default)]
    pub(super) idle_rss_mb: Option<f64>,
    /// Ours: work of a step by definition.
    #[serde(default)]
    pub(super) gflop: Option<f64>,
    /// Ours: what a large matrix product reaches.
    #[serde(default)]
    pub(super) matmul_gflops: Option<f64>,
    /// PyTorch: `nchw` or `channels_last`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) layout: Option<String>,
}

/// A method of a model over all blocks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Measured {
    pub(super) model: String,
    pub(super) method: String,
    pub(super) ours_ms: Option<f64>,
    /// Ours over ours of a plain SGD step.
    pub(super) to_sgd: Option<f64>,
    /// Work by definition over time.
    pub(super) gflops: Option<f64>,
    /// That over the best large matrix product of all blocks.
    pub(super) of_peak: Option<f64>,
    pub(super) ours_peak_rss_mb: Option<f64>,
    /// Growth of resident memory over the idle process, MB.
    pub(super) ours_growth_mb: Option<f64>,
    pub(super) pytorch_growth_mb: Option<f64>,
    pub(super) pytorch_ms: Option<f64>,
    pub(super) pytorch_layout: Option<String>,
    /// Ours over PyTorch's better layout.
    pub(super) ratio: Option<f64>,
}

/// The JSON lines of a program's output; other lines are its own business.
///
/// # Errors
/// When there is none, or one that is no timing.
pub(super) fn lines(text: &str) -> Result<Vec<Line>> {
    let lines: Vec<Line> = text
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    if lines.is_empty() {
        bail!("no timing in the output:\n{text}");
    }
    Ok(lines)
}

/// The lines of a method, by side and layout.
type Sides<'a> = BTreeMap<(Side, Option<&'a str>), Vec<&'a Line>>;

/// Medians over the blocks, with the memory of each method in a process of its own.
pub(super) fn medians(lines: &[(Side, Line)], memory: &[(Side, Line)]) -> Vec<Measured> {
    let mut samples: BTreeMap<(&str, &str), Sides<'_>> = BTreeMap::new();
    for (side, line) in lines {
        let method = samples.entry((&line.model, &line.method)).or_default();
        method.entry((*side, line.layout.as_deref())).or_default().push(line);
    }
    let time = |lines: &[&Line]| median(&lines.iter().map(|line| line.median_ms).collect::<Vec<_>>());
    // Other load lowers it, nothing raises it: the best of all processes is the machine's.
    let peak = lines.iter().filter_map(|(_, line)| line.matmul_gflops).reduce(f64::max);
    let row = |((model, method), sides): ((&str, &str), Sides<'_>)| {
        let ours = sides.iter().find(|((side, _), _)| *side == Side::Ours).map(|(_, lines)| lines);
        let theirs = sides
            .iter()
            .filter(|((side, _), _)| *side == Side::Pytorch)
            .filter_map(|((_, layout), lines)| Some((time(lines)?, *layout)))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        let ours_ms = ours.and_then(|lines| time(lines));
        let sgd = lines
            .iter()
            .filter(|(side, line)| *side == Side::Ours && line.model == model && line.method == "sgd");
        let sgd_ms = time(&sgd.map(|(_, line)| line).collect::<Vec<_>>());
        let of = |f: fn(&Line) -> Option<f64>| {
            ours.and_then(|lines| lines.iter().filter_map(|line| f(line)).reduce(f64::max))
        };
        let gflops = of(|line| line.gflop).zip(ours_ms).map(|(gflop, ms)| gflop / ms * 1e3);
        let resident = |wanted: Side, f: fn(&Line) -> Option<f64>| {
            let mut lines = memory
                .iter()
                .filter(|(side, line)| *side == wanted && line.model == model && line.method == method);
            lines.find_map(|(_, line)| f(line))
        };
        let growth = |line: &Line| Some(line.peak_rss_mb? - line.idle_rss_mb?);
        Measured {
            model: model.into(),
            method: method.into(),
            ours_ms,
            to_sgd: ours_ms.zip(sgd_ms).map(|(ms, sgd)| ms / sgd),
            gflops,
            of_peak: gflops.zip(peak).map(|(gflops, peak)| gflops / peak),
            ours_growth_mb: resident(Side::Ours, growth),
            pytorch_growth_mb: resident(Side::Pytorch, growth),
            ours_peak_rss_mb: resident(Side::Ours, |line| line.peak_rss_mb),
            pytorch_ms: theirs.map(|(ms, _)| ms),
            pytorch_layout: theirs.and_then(|(_, layout)| layout.map(String::from)),
            ratio: ours_ms.zip(theirs).map(|(ours, (theirs, _))| ours / theirs),
        }
    };
    samples.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(median_ms: f64, layout: Option<&str>) -> Line {
        let (model, method) = ("mlp".into(), "sgd".into());
        let layout = layout.map(String::from);
        Line {
            model,
            method,
            median_ms,
            min_ms: median_ms,
            rounds: 5,
            peak_rss_mb: Some(median_ms),
            idle_rss_mb: Some(1.0),
            gflop: Some(0.75),
            matmul_gflops: Some(500.0),
            layout,
        }
    }

    #[test]
    fn the_ratio_is_of_medians_to_the_better_layout() {
        let ours = [2.0, 9.0, 3.0].map(|ms| (Side::Ours, line(ms, None)));
        let nchw = [8.0, 8.0, 8.0].map(|ms| (Side::Pytorch, line(ms, Some("nchw"))));
        let last = [6.0, 6.0, 50.0].map(|ms| (Side::Pytorch, line(ms, Some("channels_last"))));
        let memory = [(Side::Ours, line(9.0, None)), (Side::Pytorch, line(21.0, Some("nchw")))];
        let measured = medians(&[&ours[..], &nchw, &last].concat(), &memory);
        assert_eq!(measured.len(), 1);
        let row = &measured[0];
        assert_eq!((row.ours_ms, row.pytorch_ms, row.ratio), (Some(3.0), Some(6.0), Some(0.5)));
        assert_eq!((row.pytorch_layout.as_deref(), row.ours_peak_rss_mb), (Some("channels_last"), Some(9.0)));
        assert_eq!((row.to_sgd, row.gflops, row.of_peak), (Some(1.0), Some(250.0), Some(0.5)));
        assert_eq!((row.ours_growth_mb, row.pytorch_growth_mb), (Some(8.0), Some(20.0)));
    }

    #[test]
    fn ours_alone_has_no_ratio() {
        let row = &medians(&[(Side::Ours, line(2.0, None))], &[])[0];
        assert_eq!((row.ours_ms, row.pytorch_ms, row.ratio), (Some(2.0), None, None));
        assert_eq!((row.ours_growth_mb, row.pytorch_growth_mb), (None, None));
    }

    #[test]
    fn output_without_timings_is_an_error() {
        assert!(lines("warming up\n").unwrap_err().to_string().contains("warming up"));
        assert!(lines("{\"model\":1}").is_err());
        let text = serde_json::to_string(&line(1.0, None)).unwrap();
        assert_eq!(lines(&format!("warming up\n{text}\n")).unwrap(), [line(1.0, None)]);
    }
}
