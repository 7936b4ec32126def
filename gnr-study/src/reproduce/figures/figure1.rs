//! Figure 1: (a) two minima that R_SAM takes for equal; (b) how many local minima lie around SAM's solutions.

use gnr_plot::{Axis, Content, Figure, Lines, Mark, Panel, Series};
use gnr_train::{
    TrainError,
    geometry::worked_example::{Example, examples},
};
use serde_json::{Value, json};

use super::{Kind, Making, Measurements, Sheet, data_caveat, list, number, numbers};
use crate::error::Result;

pub(super) fn make(
    making: &Making<'_>,
    measurements: &mut Measurements<'_>,
    sheet: &mut Sheet<'_>,
) -> Result<()> {
    sheet.heading("(a) Two minima");
    let (drawing, values) = worked_example()?;
    sheet.draw("a", &drawing, "Two cosines and the norms of their gradients")?;
    sheet.text(&format!(
        "Exact: R_SAM = 2 and 2, R_GNR = π and 3π. Found:\n\n```text\n{}\n```",
        values.join("\n")
    ));

    sheet.heading("(b) Minima around SAM's solutions");
    let sizes = making.sizes();
    let (mut profiles, mut minima, mut maxima, mut rows, mut by_step) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (index, (case, run)) in making.plan.cases.iter().zip(making.runs).enumerate() {
        let weights = making.kept(run, making.net().epochs);
        let (report, _) = measurements.take(&run.run.name, Kind::Minima, &sizes, (run, weights))?;
        let label = format!("{}, seed {}", making.method(case), case.seed);
        let counted = list(&report, "counted")?;
        let counts = |kind: &str| -> Result<Vec<f64>> {
            let directions = list(counted.first().unwrap_or(&Value::Null), "directions")?;
            directions.iter().map(|direction| number(direction, kind)).collect()
        };
        minima.push(json!({ "label": label, "values": counts("minima")?, "colour": index }));
        maxima.push(json!({ "label": label, "values": counts("maxima")?, "colour": index }));
        if index == 0 {
            let distances = numbers(&report, "distances")?;
            for row in list(&report, "losses")? {
                let losses: Vec<f64> =
                    row.as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
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
    sheet.describe("b", figure, "Numbers of local minima and maxima along random directions")?;
    sheet.text(
        "Mean numbers of extrema strictly inside the ten steps. With a resolution r, a turn counts when the loss changes by more than \
         r on both of its sides; turns of about 1e-7 are single-precision rounding.",
    );
    sheet.table(&["net", "step", "resolution", "minima", "maxima"], rows);
    Ok(())
}

/// Figure 1a: two cosines, and their R_SAM and R_GNR in words, one line each.
///
/// # Errors
/// A maximum that cannot be found.
pub fn worked_example() -> Result<(Figure, Vec<String>)> {
    let examples = examples(401).map_err(TrainError::from)?;
    let frequency = |example: &Example| match example.loss.frequency {
        1.0 => String::new(),
        k => k.to_string(),
    };
    let words = examples.iter().map(|example| {
        format!(
            "cos({}πθ + π) at θ = 0, ρ = 1: R_SAM ≥ {:.9}, R_GNR ≥ {:.9}",
            frequency(example),
            example.r_sam.value,
            example.r_gnr.value
        )
    });
    Ok((drawing(&examples), words.collect()))
}

fn drawing(examples: &[Example; 2]) -> Figure {
    let name = |example: &Example| match example.loss.frequency {
        1.0 => "flat: cos(πθ + π)".to_owned(),
        k => format!("sharp: cos({k}πθ + π)"),
    };
    let panel = |title: &str, label: &str, of: fn(&Example) -> &Vec<f64>| {
        let series = examples.iter().map(|e| Series::line(name(e), e.theta.clone(), of(e).clone())).collect();
        let lines =
            Lines { x: Axis::linear("θ").within(-1.0, 1.0), y: Axis::linear(label), series, marks: vec![] };
        Panel::new(title, Content::Lines(lines))
    };
    let [flat, sharp] = examples;
    let mut panels = vec![
        panel(&format!("R_SAM = {:.2} and {:.2}", flat.r_sam.value, sharp.r_sam.value), "loss", |e| {
            &e.values
        }),
        panel(
            &format!("R_GNR = {:.2} and {:.2}", flat.r_gnr.value, sharp.r_gnr.value),
            "‖∇ loss‖",
            |e| &e.slopes,
        ),
    ];
    if let Content::Lines(lines) = &mut panels[0].content {
        lines.marks.push(Mark { x: 0.0, y: -1.0, text: "θ = 0, ρ = 1".into() });
    }
    let mut figure = Figure::new("Two minima: equal for R_SAM, told apart by R_GNR", panels);
    figure.note = "The maxima over |θ'| ≤ 1 of the rise of the loss (R_SAM) and of ρ times the gradient's norm (R_GNR), by \
                   multi-start ascent."
        .into();
    figure
}
