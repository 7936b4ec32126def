//! Timings as both sides print them, and their medians, ratios and ranges.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::median::median;

/// The methods that are timed, in the table's order. `hvp` is an exact product from scratch, its gradient included;
/// `hvp_4` has four products at one point.
pub(crate) const METHODS: [&str; 11] = [
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

/// The library that computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    Ours,
    /// PyTorch, run eagerly.
    Pytorch,
    /// PyTorch through `torch.compile`.
    Compiled,
    /// JAX: whole steps compiled by XLA.
    Jax,
}

/// One JSON line of a block: a method of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) model: String,
    pub(crate) method: String,
    pub(crate) median_ms: f64,
    pub(crate) min_ms: f64,
    pub(crate) rounds: u64,
    pub(crate) peak_rss_mb: Option<f64>,
    /// Resident memory before the first step.
    #[serde(default)]
    pub(crate) idle_rss_mb: Option<f64>,
    /// Ours only: work of a step by definition, where the engine counts it (gnr-cpu).
    #[serde(default)]
    pub(crate) gflop: Option<f64>,
    /// Ours only: rate of a large matrix product.
    #[serde(default)]
    pub(crate) matmul_gflops: Option<f64>,
    /// PyTorch only: `nchw` or `channels_last`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) layout: Option<String>,
}

/// A method of a model over all blocks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Measured {
    pub(crate) model: String,
    pub(crate) method: String,
    pub(crate) ours_ms: Option<f64>,
    /// Fastest and slowest of our blocks; none with fewer than two.
    pub(crate) ours_range_ms: Option<[f64; 2]>,
    /// Our time over our time of a plain SGD step.
    pub(crate) to_sgd: Option<f64>,
    /// Work by definition over time.
    pub(crate) gflops: Option<f64>,
    /// `gflops` over the best large matrix product of all blocks.
    pub(crate) of_peak: Option<f64>,
    pub(crate) ours_peak_rss_mb: Option<f64>,
    /// Growth of resident memory over the idle process, MB.
    pub(crate) ours_growth_mb: Option<f64>,
    pub(crate) pytorch_growth_mb: Option<f64>,
    pub(crate) pytorch_ms: Option<f64>,
    pub(crate) pytorch_layout: Option<String>,
    /// `torch.compile`, the better layout.
    pub(crate) compiled_ms: Option<f64>,
    pub(crate) jax_ms: Option<f64>,
    /// Our time over PyTorch's in its better layout.
    pub(crate) ratio: Option<f64>,
    /// Our time over that of the fastest other side.
    pub(crate) ratio_to_fastest: Option<f64>,
    /// Smallest and largest ratio block by block, to the same layout; none with fewer than two blocks.
    pub(crate) ratio_range: Option<[f64; 2]>,
}

impl Measured {
    /// The spread over blocks as the table shows it: of ratios, or of our times where PyTorch has none.
    pub(crate) fn blocks(&self) -> String {
        let shown = |[least, most]: [f64; 2], unit| format!("{least:.2}-{most:.2}{unit}");
        match (self.ratio_range, self.ours_range_ms) {
            (Some(ratios), _) => shown(ratios, ""),
            (None, Some(ours)) if self.pytorch_ms.is_none() => shown(ours, " ms"),
            _ => String::new(),
        }
    }
}

/// The JSON lines of a program's output; other lines are ignored.
///
/// # Errors
/// When there is none, or one that is no timing.
pub(crate) fn lines(text: &str) -> Result<Vec<Line>> {
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

/// Smallest and largest; none of fewer than two values.
fn range(values: impl Iterator<Item = f64> + Clone) -> Option<[f64; 2]> {
    values.clone().nth(1)?;
    Some([values.clone().reduce(f64::min)?, values.reduce(f64::max)?])
}

/// Medians and ranges over the blocks, whose `lines` are in the order of the run. `memory` has each method in a process
/// of its own.
pub(crate) fn medians(lines: &[(Side, Line)], memory: &[(Side, Line)]) -> Vec<Measured> {
    let mut samples: BTreeMap<(&str, &str), Sides<'_>> = BTreeMap::new();
    for (side, line) in lines {
        let method = samples.entry((&line.model, &line.method)).or_default();
        method.entry((*side, line.layout.as_deref())).or_default().push(line);
    }
    let time = |lines: &[&Line]| median(&lines.iter().map(|line| line.median_ms).collect::<Vec<_>>());
    // Other load lowers this rate and nothing raises it, so the best of all processes is the machine's.
    let peak = lines.iter().filter_map(|(_, line)| line.matmul_gflops).reduce(f64::max);
    let row = |((model, method), sides): ((&str, &str), Sides<'_>)| {
        let ours = sides.iter().find(|((side, _), _)| *side == Side::Ours).map(|(_, lines)| lines);
        let theirs = sides
            .iter()
            .filter(|((side, _), _)| *side == Side::Pytorch)
            .filter_map(|((_, layout), lines)| Some((time(lines)?, *layout, lines)))
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
        let best = |wanted: Side| {
            let layouts = sides.iter().filter(|((side, _), _)| *side == wanted);
            layouts.filter_map(|(_, lines)| time(lines)).reduce(f64::min)
        };
        let (compiled_ms, jax_ms) = (best(Side::Compiled), best(Side::Jax));
        let others = [theirs.map(|(ms, ..)| ms), compiled_ms, jax_ms];
        let fastest = others.into_iter().flatten().reduce(f64::min);
        Measured {
            model: model.into(),
            method: method.into(),
            ours_ms,
            ours_range_ms: ours.and_then(|lines| range(lines.iter().map(|line| line.median_ms))),
            to_sgd: ours_ms.zip(sgd_ms).map(|(ms, sgd)| ms / sgd),
            gflops,
            of_peak: gflops.zip(peak).map(|(gflops, peak)| gflops / peak),
            ours_growth_mb: resident(Side::Ours, growth),
            pytorch_growth_mb: resident(Side::Pytorch, growth),
            ours_peak_rss_mb: resident(Side::Ours, |line| line.peak_rss_mb),
            pytorch_ms: theirs.map(|(ms, ..)| ms),
            pytorch_layout: theirs.and_then(|(_, layout, _)| layout.map(String::from)),
            compiled_ms,
            jax_ms,
            ratio_to_fastest: ours_ms.zip(fastest).map(|(ours, fastest)| ours / fastest),
            ratio: ours_ms.zip(theirs).map(|(ours, (theirs, ..))| ours / theirs),
            ratio_range: ours
                .zip(theirs)
                // Blocks can be paired only if both sides have as many.
                .filter(|(ours, (.., theirs))| ours.len() == theirs.len())
                .and_then(|(ours, (.., theirs))| {
                    range(ours.iter().zip(theirs).map(|(ours, theirs)| ours.median_ms / theirs.median_ms))
                }),
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

    /// Blocks in a run's order, each of ours, NCHW and channels_last.
    fn blocks(times: &[[f64; 3]]) -> Vec<(Side, Line)> {
        let block = |[ours, nchw, last]: &[f64; 3]| {
            [
                (Side::Ours, line(*ours, None)),
                (Side::Pytorch, line(*nchw, Some("nchw"))),
                (Side::Pytorch, line(*last, Some("channels_last"))),
            ]
        };
        times.iter().flat_map(block).collect()
    }

    #[test]
    fn a_slow_block_shows_in_the_ranges() {
        // The second process of ours is slow; NCHW is better in that block, but not over all.
        let row = &medians(&blocks(&[[2.0, 8.0, 5.0], [9.0, 4.0, 6.0], [3.0, 8.0, 4.0]]), &[])[0];
        assert_eq!((row.ratio, row.pytorch_layout.as_deref()), (Some(0.6), Some("channels_last")));
        assert_eq!((row.ratio_range, row.ours_range_ms), (Some([0.4, 1.5]), Some([2.0, 9.0])));
        assert_eq!(row.blocks(), "0.40-1.50");
        // One of theirs, the first.
        let row = &medians(&blocks(&[[3.0, 40.0, 30.0], [2.0, 8.0, 4.0], [3.0, 8.0, 5.0]]), &[])[0];
        assert_eq!((row.ratio, row.ratio_range), (Some(0.6), Some([0.1, 0.6])));
        assert_eq!(row.ours_range_ms, Some([2.0, 3.0]));
    }

    #[test]
    fn ranges_are_of_one_model_and_method() {
        let mut lines = blocks(&[[2.0, 8.0, 4.0], [3.0, 8.0, 4.0]]);
        for (model, method) in [("mlp", "gradient"), ("vit", "sgd")] {
            lines.extend(
                blocks(&[[7.0, 9.0, 7.0], [1.0, 9.0, 8.0]])
                    .into_iter()
                    .map(|(side, line)| (side, Line { model: model.into(), method: method.into(), ..line })),
            );
        }
        let rows = medians(&lines, &[]);
        let ranges: Vec<_> = rows.iter().map(|row| (row.ratio_range, row.ours_range_ms)).collect();
        let other = (Some([0.125, 1.0]), Some([1.0, 7.0]));
        assert_eq!(ranges, [other, (Some([0.5, 0.75]), Some([2.0, 3.0])), other]);
    }

    #[test]
    fn a_single_block_has_no_range() {
        let row = &medians(&blocks(&[[2.0, 8.0, 4.0]]), &[])[0];
        assert_eq!((row.ratio, row.ratio_range, row.ours_range_ms), (Some(0.5), None, None));
        assert_eq!(row.blocks(), "");
    }

    #[test]
    fn blocks_without_a_partner_have_no_range_of_ratios() {
        let mut lines = blocks(&[[2.0, 8.0, 4.0], [3.0, 8.0, 4.0]]);
        lines.push((Side::Ours, line(9.0, None)));
        let row = &medians(&lines, &[])[0];
        assert_eq!((row.ratio_range, row.ours_range_ms), (None, Some([2.0, 9.0])));
        assert_eq!(row.blocks(), "");
    }

    #[test]
    fn ours_alone_has_a_range_of_times() {
        let row = &medians(&[3.0, 9.0, 2.0].map(|ms| (Side::Ours, line(ms, None))), &[])[0];
        assert_eq!((row.ratio_range, row.ours_range_ms), (None, Some([2.0, 9.0])));
        assert_eq!(row.blocks(), "2.00-9.00 ms");
    }

    #[test]
    fn the_fastest_of_all_others_is_the_anchor() {
        let mut lines: Vec<_> = [(Side::Ours, 3.0, None), (Side::Jax, 5.0, None)]
            .map(|(side, ms, layout)| (side, line(ms, layout)))
            .into();
        lines.push((Side::Pytorch, line(8.0, Some("nchw"))));
        lines.push((Side::Compiled, line(7.0, Some("nchw"))));
        lines.push((Side::Compiled, line(6.0, Some("channels_last"))));
        let row = &medians(&lines, &[])[0];
        assert_eq!((row.compiled_ms, row.jax_ms), (Some(6.0), Some(5.0)));
        assert_eq!((row.ratio, row.ratio_to_fastest), (Some(3.0 / 8.0), Some(0.6)));
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
