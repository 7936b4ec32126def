//! Figure 2: the largest Hessian eigenvalues and the trace of every method, at half of the training and at its end.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::measure::Measurements;
use super::sheet::Sheet;
use super::{Making, data_caveat, number};

pub(super) fn make(
    making: &Making<'_>,
    measurements: &Measurements<'_>,
    sheet: &mut Sheet<'_>,
) -> Result<()> {
    let (sizes, net) = (making.sizes(), making.net());
    let axis = |label: &str| json!({ "label": label });
    let (mut panels, mut rows) = (Vec::new(), Vec::new());
    let mut spectra = Vec::new();
    for epoch in [net.half_way(), net.epochs] {
        let mut groups = Vec::new();
        let density = |name: &str, arguments: &[String]| -> Result<(Vec<f64>, Vec<f64>)> {
            measurements.take(name, "density", arguments)?;
            let table = measurements.table(name, "density", arguments, "density.csv")?;
            Ok(table.iter().map(|row| (row[0], row[1])).unzip())
        };
        for (index, (case, run)) in making.plan.cases.iter().zip(making.runs).enumerate() {
            let name = format!("{}/epoch-{epoch}", run.name);
            let arguments = |options: &[(&str, String)]| {
                let mut arguments = making.subject(run, making.kept(run, epoch), sizes.images);
                for (option, value) in options {
                    arguments.extend([(*option).to_owned(), value.clone()]);
                }
                arguments.push("--quiet".into());
                arguments
            };
            let take =
                |kind: &str, options: &[(&str, String)]| measurements.take(&name, kind, &arguments(options));
            let spectrum = take(
                "spectrum",
                &[
                    ("--top", sizes.eigenvalues.to_string()),
                    ("--tol", "1e-2".into()),
                    ("--max-matvecs", sizes.matvecs.to_string()),
                ],
            )?;
            let trace = take("trace", &[("--samples", sizes.samples.to_string())])?;
            let pairs = spectrum["pairs"].as_array().context("`pairs` is missing")?;
            let eigenvalues =
                pairs.iter().map(|pair| number(pair, "eigenvalue")).collect::<Result<Vec<f64>>>()?;
            let converged = pairs.iter().filter(|pair| pair["verdict"] == "converged").count();
            let [value, low, high] = ["trace", "low", "high"].map(|key| number(&trace, key));
            let (value, low, high) = (value?, low?, high?);
            let label = making.method(case);
            groups.push(json!({
                "label": label, "values": eigenvalues, "colour": index,
                "note": format!("trace {value:.0}, λ₁ {:.1}", eigenvalues.first().copied().unwrap_or_default()),
            }));
            rows.push(vec![
                epoch.to_string(),
                label.clone(),
                eigenvalues.first().map_or("–".into(), |x| format!("{x:.2}")),
                eigenvalues.get(4).map_or("–".into(), |x| format!("{x:.2}")),
                eigenvalues.last().map_or("–".into(), |x| format!("{x:.2}")),
                format!("{converged} of {}", eigenvalues.len()),
                format!("{value:.1} [{low:.1}, {high:.1}]"),
            ]);
            if epoch == net.epochs {
                let steps = [("--starts", "1".into()), ("--steps", sizes.density_steps.to_string())];
                spectra.push((label, density(&name, &arguments(&steps))?));
            }
        }
        panels.push(histogram(&format!("epoch {epoch}"), sizes.eigenvalues, groups));
    }
    let series: Vec<Value> = (spectra.iter().enumerate())
        .map(|(index, (label, (x, y)))| json!({ "label": label, "x": x, "y": y, "colour": index }))
        .collect();
    panels.push(json!({
        "title": format!("density, epoch {}", net.epochs), "kind": "lines", "x": axis("eigenvalue λ"),
        "y": { "label": "density, 1/λ", "scale": "log", "range": [1e-6, 1e2] }, "series": series,
    }));
    let figure = json!({
        "title": "Hessian of the training loss",
        "columns": 3,
        "note": format!(
            "{}: the {} largest eigenvalues (algebraically), Hutchinson's trace, density by stochastic Lanczos quadrature, on {} \
             training images, BatchNorm on running statistics. {}",
            net.heading(), sizes.eigenvalues, sizes.images, data_caveat(net)
        ),
        "panels": panels,
    });
    sheet.draw("", &figure, "Histograms of the largest Hessian eigenvalues of four methods")?;
    sheet.text("Trace with its 95 % interval over test vectors; it does not cover the choice of images or of the seed.");
    let last = format!("λ{}", sizes.eigenvalues);
    sheet.table(&["epoch", "method", "λ1", "λ5", &last, "converged", "trace"], &rows);
    Ok(())
}

fn histogram(title: &str, count: u64, groups: Vec<Value>) -> Value {
    json!({
        "title": title, "kind": "histogram", "bins": 40,
        "x": { "label": format!("eigenvalue λ (top {count})"), "scale": "log" },
        "y": { "label": "number" }, "groups": groups,
    })
}
