//! Curves over epochs as SVG: the mean over seeds, with a band of one standard deviation.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::super::plan::{Method, Product};
use super::super::results::{Epoch, Results};
use crate::statistics::Summary;

/// What a figure shows.
#[derive(Clone, Copy)]
pub(super) enum Quantity {
    TestAccuracy,
    TrainLoss,
}

impl Quantity {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::TestAccuracy => "test accuracy, %",
            Self::TrainLoss => "training loss",
        }
    }

    fn of(self, epoch: &Epoch) -> Option<f64> {
        let value = match self {
            Self::TestAccuracy => epoch.test_accuracy.map(|x| 100.0 * x),
            Self::TrainLoss => epoch.train_loss,
        };
        value.filter(|x| x.is_finite())
    }
}

/// Colours that differ in hue and lightness, readable on white and on black: blues without SAM, warm with; the fewer steps
/// GNR acts on, the nearer to its base method.
pub(super) fn colour(method: Method) -> (u8, u8, u8) {
    let every_step = |sam, product: Option<Product>| match (sam, product) {
        (false, None) => (0, 114, 178),
        (false, Some(Product::Exact)) => (0, 158, 115),
        (false, Some(Product::FiniteDifference)) => (86, 180, 233),
        (true, None) => (204, 61, 61),
        (true, Some(Product::Exact)) => (230, 140, 0),
        (true, Some(Product::FiniteDifference)) => (190, 110, 180),
    };
    let base = every_step(method.sam, None);
    let Some(gnr) = method.gnr else { return base };
    let full = every_step(method.sam, Some(gnr.product));
    // 1 on every step, towards 0 for rare ones.
    let share = 1.0 / (1.0 + (gnr.every as f64).ln() / 2.0);
    let mix = |a: u8, b: u8| (f64::from(a) * (1.0 - share) + f64::from(b) * share).round() as u8;
    (mix(base.0, full.0), mix(base.1, full.1), mix(base.2, full.2))
}

/// Epoch → summary over seeds.
fn curve(results: &Results, net: usize, method: Method, quantity: Quantity) -> Vec<(f64, Summary)> {
    let mut by_epoch: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for epoch in results.cell(net, method).flat_map(|outcome| &outcome.epochs) {
        if let Some(value) = quantity.of(epoch) {
            by_epoch.entry(epoch.epoch).or_default().push(value);
        }
    }
    by_epoch.iter().filter_map(|(epoch, values)| Some((*epoch as f64, Summary::of(values)?))).collect()
}

/// The figure of one net; none when there is nothing to draw.
///
/// # Errors
/// What the drawing library reports.
pub(super) fn svg(
    results: &Results,
    net: usize,
    methods: &[Method],
    quantity: Quantity,
) -> Result<Option<String>> {
    let curves: Vec<(Method, Vec<(f64, Summary)>)> = methods
        .iter()
        .map(|&method| (method, curve(results, net, method, quantity)))
        .filter(|(_, curve)| !curve.is_empty())
        .collect();
    let points = || curves.iter().flat_map(|(_, curve)| curve);
    let last = points().map(|(epoch, _)| *epoch).fold(1.0, f64::max);
    let mut means: Vec<f64> = points().map(|(_, summary)| summary.mean).collect();
    means.sort_by(f64::total_cmp);
    let (Some(&low), Some(&high)) = (means.first(), means.last()) else { return Ok(None) };
    // The first epochs of an accuracy would press the rest together: its axis begins at the lowest twentieth.
    let low = match quantity {
        Quantity::TestAccuracy => means[means.len() / 20].max(low),
        Quantity::TrainLoss => low.min(0.0),
    };
    let margin = ((high - low) * 0.05).max(1e-3);
    let top = match quantity {
        Quantity::TestAccuracy => (high + margin).min(100.0),
        Quantity::TrainLoss => high + margin,
    };
    let bottom = if matches!(quantity, Quantity::TrainLoss) { low } else { low - margin };

    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (480, 300)).into_drawing_area();
        let told = |error: DrawingAreaErrorKind<_>| anyhow!("cannot draw a curve: {error}");
        let mut chart = ChartBuilder::on(&root)
            .margin(8)
            .x_label_area_size(34)
            .y_label_area_size(44)
            .build_cartesian_2d(0.0..last, bottom..top)
            .map_err(told)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .axis_style(BLACK.mix(0.6))
            .label_style(("sans-serif", 12).into_font().color(&BLACK))
            .x_desc("epoch")
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .draw()
            .map_err(told)?;
        for (method, curve) in &curves {
            let (r, g, b) = colour(*method);
            let colour = RGBColor(r, g, b);
            let edge = |sign: f64| {
                curve
                    .iter()
                    .map(move |(x, y)| (*x, (y.mean + sign * y.std.unwrap_or(0.0)).clamp(bottom, top)))
            };
            let band: Vec<(f64, f64)> =
                edge(1.0).chain(edge(-1.0).collect::<Vec<_>>().into_iter().rev()).collect();
            chart.draw_series(std::iter::once(Polygon::new(band, colour.mix(0.13)))).map_err(told)?;
            let line = curve.iter().map(|(x, y)| (*x, y.mean.clamp(bottom, top)));
            chart.draw_series(LineSeries::new(line, colour.stroke_width(2))).map_err(told)?;
        }
        root.present().map_err(told)?;
    }
    // Axes and words take the page's colour, so that they can be seen in the dark.
    Ok(Some(text.replace("#000000", "currentColor")))
}
