//! The promised ratios to PyTorch, and whether they were reached.

use serde::Serialize;

use super::{
    nets::Net,
    steps::{Side, Timing, Weight},
};
use crate::median::median;

/// One promise about one net.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Target {
    pub(super) model: String,
    /// The two quantities of the ratio, in words.
    pub(super) what: &'static str,
    /// The largest ratio that meets the promise.
    pub(super) limit: f64,
    /// The ratio that was measured; `None` where a stage that it needs failed.
    pub(super) ratio: Option<f64>,
    /// Whether the promise was met.
    pub(super) met: Option<bool>,
}

/// The time of a method: the median over blocks, in the better layout.
pub(super) fn time(timings: &[Timing], model: &str, side: Side, method: &str) -> Option<f64> {
    let of = |timing: &&Timing| timing.model == model && timing.side == side && timing.method == method;
    let mut layouts: Vec<_> = timings.iter().filter(of).map(|timing| &timing.layout).collect();
    layouts.sort();
    layouts.dedup();
    let times = layouts.into_iter().filter_map(|layout| {
        let blocks = timings.iter().filter(of).filter(|timing| timing.layout == *layout);
        median(&blocks.map(|timing| timing.median_ms).collect::<Vec<_>>())
    });
    times.reduce(f64::min)
}

/// The memory of a method, MB.
pub(super) fn memory(weights: &[Weight], model: &str, side: Side, method: &str) -> Option<f64> {
    let found = weights.iter().find(|w| w.model == model && w.side == side && w.method == method);
    found.map(|weight| weight.mb)
}

/// Every promise about every net.
pub(super) fn judge(nets: &[Net], timings: &[Timing], weights: &[Weight]) -> Vec<Target> {
    let of_net = |net: &Net| {
        let time = |side, method| time(timings, net.model, side, method);
        let memory = |method| {
            let of = |side| memory(weights, net.model, side, method);
            over(of(Side::Ours), of(Side::Eager))
        };
        let beside = |method| over(time(Side::Ours, method), time(Side::Eager, method));
        let exact = over(time(Side::Ours, "gnr_exact"), time(Side::Ours, "gradient"));
        let target = |what, limit, ratio: Option<f64>| Target {
            model: net.model.into(),
            what,
            limit,
            ratio,
            met: ratio.map(|ratio| ratio <= limit),
        };
        [
            target("gradient, of PyTorch's time", 1.1, beside("gradient")),
            target("exact product with its gradient, of `create_graph`'s time", 0.8, beside("hvp")),
            target("exact GNR step, in gradients", 6.1, exact),
            target("memory of a gradient, of PyTorch's", 1.0, memory("gradient")),
            target("memory of an exact GNR step, of PyTorch's", 1.0, memory("gnr_exact")),
        ]
    };
    nets.iter().flat_map(of_net).collect()
}

fn over(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    let (a, b) = a.zip(b)?;
    (b > 0.0).then(|| a / b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu_check::nets::FULL;

    fn timing(side: Side, method: &str, layout: Option<&str>, ms: f64) -> Timing {
        let layout = layout.map(String::from);
        Timing {
            side,
            model: "resnet18".into(),
            method: method.into(),
            layout,
            median_ms: ms,
            min_ms: ms,
            rounds: 1,
        }
    }

    #[test]
    fn targets_compare_medians_with_pytorchs_better_layout() {
        let nchw = Some("nchw");
        let timings = [
            timing(Side::Ours, "gradient", None, 10.0),
            timing(Side::Ours, "gradient", None, 14.0),
            timing(Side::Ours, "gradient", None, 11.0),
            timing(Side::Eager, "gradient", nchw, 10.0),
            timing(Side::Eager, "gradient", Some("channels_last"), 40.0),
            timing(Side::Ours, "gnr_exact", None, 77.0),
            timing(Side::Ours, "hvp", None, 20.0),
            timing(Side::Eager, "hvp", nchw, 40.0),
        ];
        let weight = |side, mb| Weight { side, model: "resnet18".into(), method: "gradient".into(), mb };
        let found = judge(&FULL[..1], &timings, &[weight(Side::Ours, 90.0), weight(Side::Eager, 100.0)]);
        let of: Vec<_> = found.iter().map(|target| (target.ratio, target.met)).collect();
        assert_eq!(
            of,
            [
                (Some(1.1), Some(true)),
                (Some(0.5), Some(true)),
                (Some(7.0), Some(false)),
                (Some(0.9), Some(true)),
                (None, None)
            ]
        );
    }
}
