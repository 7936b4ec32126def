//! Figure 1: (a) two minima that R_SAM takes for equal; (b) how many local minima lie around SAM's solutions.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::measure::Measurements;
use super::sheet::Sheet;
use super::{Making, data_caveat, number, numbers};

pub(super) fn make(
    making: &Making<'_>,
    measurements: &Measurements<'_>,
    sheet: &mut Sheet<'_>,
) -> Result<()> {
    sheet.text("## (a) Two minima");
    let told = sheet.example("a", "figure1a", "Two cosines and the norms of their gradients")?;
    let values: Vec<&str> = told.lines().filter(|line| line.contains("R_SAM")).collect();
    sheet.text(&format!(
        "Exact: R_SAM = 2 and 2, R_GNR = π and 3π. Found:\n\n```text\n{}\n```",
        values.join("\n")
    ));

    sheet.text("## (b) Minima around SAM's solutions");
    let sizes = making.sizes();
    let (mut profiles, mut minima, mut maxima, mut rows, mut by_step) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (index, (case, run)) in making.plan.cases.iter().zip(making.runs).enumerate() {
        let weights = making.kept(run, making.net().epochs);
        let mut arguments = making.subject(run, weights, sizes.images);
        let options = [
            ("--directions", sizes.directions.to_string()),
            ("--refine", sizes.refine.to_string()),
            ("--resolution", "0,1e-6,1e-4".into()),
        ];
        arguments.extend(options.into_iter().flat_map(|(option, value)| [option.to_owned(), value]));
        arguments.extend(["--no-plot".into(), "--quiet".into()]);
        let report = measurements.take(&run.name, "minima", &arguments)?;
        let label = format!("{}, seed {}", making.method(case), case.seed);
        let counted = report["counted"].as_array().context("`counted` is missing")?;
        let first = counted.first().context("nothing was counted")?;
        let counts = |kind: &str| -> Result<Vec<f64>> {
            let directions = first["directions"].as_array().context("`directions` is missing")?;
            directions.iter().map(|direction| number(direction, kind)).collect()
        };
        minima.push(json!({ "label": label, "values": counts("minima")?, "colour": index }));
        maxima.push(json!({ "label": label, "values": counts("maxima")?, "colour": index }));
        if index == 0 {
            let distances = numbers(&report, &["distances"])?;
            for row in report["losses"].as_array().context("`losses` is missing")? {
                let losses = numbers(&json!({ "row": row }), &["row"])?;
                let rise: Vec<f64> = losses.iter().map(|loss| loss - losses[0]).collect();
                profiles.push(
                    json!({ "label": "", "x": distances, "y": rise, "style": "thin", "colour": index }),
                );
            }
        }
        let (mut steps, mut means) = (Vec::new(), Vec::new());
        for entry in counted {
            let (step, resolution) = (number(entry, "step")?, number(entry, "resolution")?);
            let (mean_minima, mean_maxima) = (number(entry, "mean_minima")?, number(entry, "mean_maxima")?);
            rows.push(vec![
                label.clone(),
                format!("{step:.4}"),
                format!("{resolution:e}"),
                format!("{mean_minima:.2}"),
                format!("{mean_maxima:.2}"),
            ]);
            if resolution == 0.0 {
                steps.push(step);
                means.push(mean_minima);
            }
        }
        by_step.push(json!({ "label": label, "x": steps, "y": means, "style": "both", "colour": index }));
    }
    let axis = |label: &str| json!({ "label": label });
    let panel = |title: &str, x: &str, groups: Vec<Value>| json!({ "title": title, "kind": "counts", "x": axis(x), "y": axis("directions"), "groups": groups });
    let mut panels = vec![
        panel("steps of 0.01", "local minima", minima),
        panel("steps of 0.01", "local maxima", maxima),
        json!({
            "title": "the first net's directions", "kind": "lines", "x": axis("distance"),
            "y": axis("loss − loss at the solution"), "series": profiles,
        }),
    ];
    if sizes.refine > 1 {
        let most = (by_step.iter().filter_map(|series| series["y"].as_array()).flatten())
            .filter_map(Value::as_f64)
            .fold(0.0, f64::max);
        panels.push(json!({
            "title": "does the count depend on the step?", "kind": "lines",
            "x": { "label": "step", "scale": "log" }, "series": by_step,
            "y": { "label": "mean number of local minima", "range": [0.0, if most > 0.0 { 1.1 * most } else { 1.0 }] },
        }));
    }
    let net = making.net();
    let figure = json!({
        "title": "Extrema of the training loss along random directions of norm 1, up to 0.1",
        "columns": 2,
        "note": format!(
            "{}, {} directions, {} training images. {}", net.heading(), sizes.directions, sizes.images, data_caveat(net)
        ),
        "panels": panels,
    });
    sheet.draw("b", &figure, "Numbers of local minima and maxima along random directions")?;
    sheet.text(
        "Mean numbers of extrema strictly inside the ten steps. With a resolution r, a turn counts when the loss changes by more than \
         r on both of its sides; turns of about 1e-7 are single-precision rounding.",
    );
    sheet.table(&["net", "step", "resolution", "minima", "maxima"], &rows);
    Ok(())
}
