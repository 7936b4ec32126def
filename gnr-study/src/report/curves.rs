//! Curves over epochs: the mean over seeds, with a band of one sample standard deviation.

use std::collections::BTreeMap;

use gnr_plot::{Axis, Content, Figure, Lines, Panel, Series, inline_svg};
use gnr_train::EpochMetrics;

use super::Block;
use crate::{error::Result, statistics::Summary};

/// The quantity that a curve shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Test accuracy in per cent.
    TestAccuracy,
    /// Accuracy on the held-out images, per cent.
    ValAccuracy,
    /// Training loss in nats.
    TrainLoss,
}

impl Quantity {
    /// The title for an axis or a caption.
    pub fn title(self) -> &'static str {
        match self {
            Self::TestAccuracy => "test accuracy, %",
            Self::ValAccuracy => "validation accuracy, %",
            Self::TrainLoss => "training loss",
        }
    }

    /// The value of an epoch; `None` where it was not measured or is not finite.
    pub fn of(self, epoch: &EpochMetrics) -> Option<f64> {
        let value = match self {
            Self::TestAccuracy => epoch.test_accuracy.map(|x| 100.0 * x),
            Self::ValAccuracy => epoch.val_accuracy.map(|x| 100.0 * x),
            Self::TrainLoss => Some(epoch.train_loss),
        };
        value.filter(|x| x.is_finite())
    }

    /// First and last value of the axis. The axis of an accuracy begins above the lowest twentieth of the means,
    /// because the first epochs would press the rest together. The axis of a loss begins at zero, or at the lowest mean
    /// below it.
    fn range(self, means: &[f64]) -> Option<[f64; 2]> {
        let mut means = means.to_vec();
        means.sort_by(f64::total_cmp);
        let (low, high) = (*means.first()?, *means.last()?);
        if self == Self::TrainLoss {
            let low = low.min(0.0);
            return Some([low, high + ((high - low) * 0.05).max(1e-3)]);
        }
        let low = means[means.len() / 20];
        let margin = ((high - low) * 0.05).max(1e-3);
        Some([low - margin, (high + margin).min(100.0)])
    }
}

/// The curve of a method over the epochs.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Name of the method.
    pub label: String,
    /// Red, green and blue, as in the [`Block::Key`] that names the method.
    pub colour: (u8, u8, u8),
    /// Epoch and the values over seeds, ascending.
    pub points: Vec<(f64, Vec<f64>)>,
}

impl Curve {
    /// A quantity over the epochs of the runs of a method, one for each seed.
    pub fn of_runs<'a>(
        label: impl Into<String>,
        colour: (u8, u8, u8),
        quantity: Quantity,
        runs: impl IntoIterator<Item = &'a [EpochMetrics]>,
    ) -> Self {
        let mut points: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for epoch in runs.into_iter().flatten() {
            if let Some(value) = quantity.of(epoch) {
                points.entry(epoch.epoch).or_default().push(value);
            }
        }
        let points = points.into_iter().map(|(epoch, values)| (epoch as f64, values)).collect();
        Self { label: label.into(), colour, points }
    }

    fn summaries(&self) -> Vec<(f64, Summary)> {
        self.points.iter().filter_map(|(epoch, values)| Some((*epoch, Summary::of(values)?))).collect()
    }
}

/// The curves as a drawing for the page, in the page's colours; `None` when there is nothing to draw. Names are not in
/// the drawing: one [`Block::Key`] names the curves of all drawings of a report.
///
/// # Errors
/// Any error of the drawing library.
pub fn figure(caption: &str, quantity: Quantity, curves: &[Curve]) -> Result<Option<Block>> {
    let summaries: Vec<_> = curves.iter().map(|curve| (curve, curve.summaries())).collect();
    let points = || summaries.iter().flat_map(|(_, points)| points);
    let means: Vec<f64> = points().map(|(_, summary)| summary.mean).collect();
    let Some([low, high]) = quantity.range(&means) else { return Ok(None) };
    let last = points().map(|(epoch, _)| *epoch).fold(1.0, f64::max);
    let series = |(curve, points): &(&Curve, Vec<(f64, Summary)>)| {
        let (x, y): (Vec<f64>, Vec<f64>) = points.iter().map(|(epoch, s)| (*epoch, s.mean)).unzip();
        let band = |(_, s): &(f64, Summary)| {
            let std = s.std.unwrap_or(0.0);
            [s.mean - std, s.mean + std]
        };
        let (r, g, b) = curve.colour;
        Series::line("", x, y).banded(points.iter().map(band).collect()).painted([r, g, b])
    };
    let lines = Lines {
        x: Axis::linear("epoch").within(0.0, last),
        y: Axis::linear(quantity.title()).within(low, high),
        series: summaries.iter().map(series).collect(),
        marks: Vec::new(),
    };
    let figure = Figure::new("", vec![Panel::new("", Content::Lines(lines))]);
    Ok(Some(Block::Figure { caption: caption.to_owned(), svg: inline_svg(&figure)? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: Vec<(f64, Vec<f64>)>) -> Curve {
        Curve { label: "SGD".into(), colour: (12, 34, 56), points }
    }

    #[test]
    fn axes_leave_out_the_first_epochs_of_an_accuracy_and_begin_at_zero_for_a_loss() {
        let mut means: Vec<f64> = (0..40).map(|i| 90.0 + f64::from(i) / 4.0).collect();
        means.push(10.0);
        let [low, high] = Quantity::TestAccuracy.range(&means).unwrap();
        assert!(low > 89.0 && low < 90.25 && high == 100.0, "{low} to {high}");
        let [low, high] = Quantity::TrainLoss.range(&[0.5, 2.0]).unwrap();
        assert!(low == 0.0 && (high - 2.1).abs() < 1e-12, "{low} to {high}");
        assert_eq!(Quantity::TrainLoss.range(&[]), None);
    }

    #[test]
    fn a_curve_is_drawn_with_its_band_and_nothing_is_not() {
        let points = (1..=5).map(|epoch| (f64::from(epoch), vec![80.0, 82.0 + f64::from(epoch)])).collect();
        let block = figure("Net", Quantity::TestAccuracy, &[curve(points)]).unwrap().unwrap();
        let Block::Figure { caption, svg } = block else { unreachable!("a figure is a figure") };
        assert!(caption == "Net" && svg.contains("<polygon") && svg.contains("#0C2238"), "{svg}");
        assert!(svg.contains("currentColor") && svg.contains("test accuracy, %"));
        assert!(figure("Net", Quantity::TestAccuracy, &[curve(vec![])]).unwrap().is_none());
    }

    #[test]
    fn epochs_of_several_seeds_are_one_curve() {
        let line = |epoch: u64, loss: f64| -> EpochMetrics {
            serde_json::from_value(serde_json::json!({
                "epoch": epoch, "step": epoch, "train_loss": loss, "train_accuracy": 0.5, "learning_rate": 0.1,
                "grad_norm": 1.0, "penalties": {}, "seconds": 0.1,
            }))
            .unwrap()
        };
        let (a, b) = ([line(1, 2.0), line(2, 1.0)], [line(1, 4.0)]);
        let found = Curve::of_runs("SGD", (12, 34, 56), Quantity::TrainLoss, [&a[..], &b[..]]);
        assert_eq!(found, curve(vec![(1.0, vec![2.0, 4.0]), (2.0, vec![1.0])]));
        let unmeasured = Curve::of_runs("SGD", (12, 34, 56), Quantity::ValAccuracy, [&a[..]]);
        assert_eq!(unmeasured.points, []);
    }
}
