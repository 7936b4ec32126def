//! Figure 2: the largest Hessian eigenvalues, the trace and the density of every method, at half of the training and at
//! its end.

use serde_json::{Value, json};

use super::{Kind, Making, Measurements, Planned, Sheet, data_caveat, list, measure::table, number};
use crate::error::Result;

/// Number of bins in the common range of eigenvalues.
const BINS: usize = 40;

/// The measurements of one method at one epoch.
struct Measured {
    epoch: u64,
    eigenvalues: Vec<f64>,
    converged: usize,
    /// The trace and the ends of its interval.
    trace: [f64; 3],
    /// The grid of λ, and the density on it.
    density: (Vec<f64>, Vec<f64>),
}

pub(super) fn make(
    making: &Making<'_>,
    measurements: &mut Measurements<'_>,
    sheet: &mut Sheet<'_>,
) -> Result<()> {
    let (sizes, net) = (making.sizes(), making.net());
    let mut methods: Vec<(String, Vec<Measured>)> =
        making.plan.cases.iter().map(|case| (making.method(case), Vec::new())).collect();
    for epoch in [net.half_way(), net.epochs] {
        for ((_, epochs), run) in methods.iter_mut().zip(making.runs) {
            epochs.push(measure(making, measurements, epoch, run)?);
        }
    }

    let axis = |label: &str| json!({ "label": label });
    let mut panels = histograms(&methods, sizes.eigenvalues);
    for (index, epoch) in [net.half_way(), net.epochs].into_iter().enumerate() {
        let series: Vec<Value> = (methods.iter().enumerate())
            .map(|(method, (label, epochs))| {
                let (x, y) = &epochs[index].density;
                // Colours 0 and 1 are the epochs'.
                json!({ "label": label, "x": x, "y": y, "colour": method + 2 })
            })
            .collect();
        panels.push(json!({
            "title": format!("density, epoch {epoch}"), "kind": "lines", "x": axis("eigenvalue λ"),
            "y": { "label": "density, 1/λ", "scale": "log", "range": [1e-9, 1e2] }, "series": series,
        }));
    }
    let figure = json!({
        "title": "Hessian of the training loss",
        "columns": 2,
        "note": format!(
            "{}: the {} largest eigenvalues (algebraically), Hutchinson's trace, density by stochastic Lanczos quadrature, on {} \
             training images, BatchNorm on running statistics. {}",
            net.heading(), sizes.eigenvalues, sizes.images, data_caveat(net)
        ),
        "panels": panels,
    });
    sheet.describe("", figure, "Histograms of the largest Hessian eigenvalues of four methods")?;
    sheet.text("Trace with its 95 % interval over test vectors; it does not cover the choice of images or of the seed.");
    let shown = |value: Option<&f64>| value.map_or("–".into(), |x| format!("{x:.2}"));
    let rows: Vec<Vec<String>> = (0..2)
        .flat_map(|index| methods.iter().map(move |(label, epochs)| (label, &epochs[index])))
        .map(|(label, measured)| {
            let [trace, low, high] = measured.trace;
            vec![
                measured.epoch.to_string(),
                label.clone(),
                shown(measured.eigenvalues.first()),
                shown(measured.eigenvalues.get(4)),
                shown(measured.eigenvalues.last()),
                format!("{} of {}", measured.converged, measured.eigenvalues.len()),
                format!("{trace:.1} [{low:.1}, {high:.1}]"),
            ]
        })
        .collect();
    let last = format!("λ{}", sizes.eigenvalues);
    sheet.table(&["epoch", "method", "λ1", "λ5", &last, "converged", "trace"], rows);
    Ok(())
}

fn measure(
    making: &Making<'_>,
    measurements: &mut Measurements<'_>,
    epoch: u64,
    run: &Planned,
) -> Result<Measured> {
    let sizes = making.sizes();
    let name = format!("{}/epoch-{epoch}", run.run.name);
    let mut take = |kind| measurements.take(&name, kind, &sizes, (run, making.kept(run, epoch)));
    let (spectrum, _) = take(Kind::Spectrum)?;
    let pairs = list(&spectrum, "pairs")?;
    let (trace, _) = take(Kind::Trace)?;
    let [value, low, high] = ["trace", "low", "high"].map(|key| number(&trace, key));
    let (_, folder) = take(Kind::Density)?;
    let density = table(&folder.join("density.csv"))?;
    Ok(Measured {
        epoch,
        eigenvalues: pairs.iter().map(|pair| number(pair, "eigenvalue")).collect::<Result<_>>()?,
        converged: pairs.iter().filter(|pair| pair["verdict"] == "converged").count(),
        trace: [value?, low?, high?],
        density: density.iter().map(|row| (row[0], row[1])).unzip(),
    })
}

/// A panel for each method, with a group for each epoch. All panels have equal axes, so that they can be compared.
fn histograms(methods: &[(String, Vec<Measured>)], count: usize) -> Vec<Value> {
    let all = || methods.iter().flat_map(|(_, epochs)| epochs);
    let positive = || all().flat_map(|measured| &measured.eigenvalues).copied().filter(|x| *x > 0.0);
    let (low, high) = (positive().fold(f64::INFINITY, f64::min), positive().fold(0.0, f64::max));
    let (low, high) = if low < high { (low * 0.95, high * 1.05) } else { (0.5, 2.0) };
    let bin = |x: &f64| ((x / low).ln() / (high / low).ln() * BINS as f64) as usize;
    let tallest = all()
        .map(|measured| {
            let mut counts = [0; BINS];
            let bins = measured.eigenvalues.iter().filter(|x| **x > 0.0).map(bin);
            bins.for_each(|bin| counts[bin.min(BINS - 1)] += 1);
            counts.into_iter().max().unwrap_or(0)
        })
        .max();
    let top = 1.4 * f64::from(tallest.unwrap_or(1).max(1));
    let panel = |(label, epochs): &(String, Vec<Measured>)| {
        let group = |(index, measured): (usize, &Measured)| {
            let largest = measured.eigenvalues.first().copied().unwrap_or_default();
            json!({
                "label": format!("epoch {}", measured.epoch), "values": measured.eigenvalues, "colour": index,
                "note": format!("epoch {}: trace {:.0}, λ₁ {largest:.1}", measured.epoch, measured.trace[0]),
            })
        };
        json!({
            "title": label, "kind": "histogram", "bins": BINS,
            "x": { "label": format!("eigenvalue λ (top {count})"), "scale": "log", "range": [low, high] },
            "y": { "label": "number", "range": [0.0, top] },
            "groups": epochs.iter().enumerate().map(group).collect::<Vec<_>>(),
        })
    };
    methods.iter().map(panel).collect()
}
