//! Figure 3: the loss over a plane of filter-normalised random directions around every method's solution.

use serde_json::{Value, json};

use super::{Kind, Making, Measurements, Sheet, data_caveat, list, number, numbers};
use crate::error::Result;

pub(super) fn make(
    making: &Making<'_>,
    measurements: &mut Measurements<'_>,
    sheet: &mut Sheet<'_>,
) -> Result<()> {
    let (sizes, net) = (making.sizes(), making.net());
    let mut planes = Vec::new();
    let mut sharpness = Vec::new();
    for (case, run) in making.plan.cases.iter().zip(making.runs) {
        let mut take =
            |kind| measurements.take(&run.run.name, kind, &sizes, (run, making.kept(run, net.epochs)));
        planes.push((making.method(case), take(Kind::Landscape)?.0));
        sharpness.push((making.method(case), take(Kind::Sharpness)?.0));
    }
    // All planes have one scale, so that their colours can be compared.
    let all = planes.iter().map(|(_, plane)| losses(plane)).collect::<Result<Vec<_>>>()?;
    let finite = || all.iter().flatten().flatten().filter_map(Value::as_f64).filter(|loss| *loss > 0.0);
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(0.0, f64::max));
    let z = json!({ "label": "loss", "scale": "log", "range": [low * 0.98, high * 1.02] });
    let grid = |kind: &str, index: usize| -> Result<Value> {
        let (label, plane) = &planes[index];
        let axis = |label: &str| json!({ "label": label });
        // A plane of holes alone cannot be drawn; without a loss that can, it is as high as the highest one.
        let usable = |loss: &Value| loss.as_f64().is_some_and(|loss| loss > 0.0);
        let zs = match all[index].iter().flatten().any(usable) {
            true => json!(all[index]),
            false => json!(all[index].iter().map(|row| vec![high; row.len()]).collect::<Vec<_>>()),
        };
        Ok(json!({
            "title": label, "kind": kind, "x": axis("direction 1"), "y": axis("direction 2"), "z": z,
            "xs": numbers(plane, "xs")?, "ys": numbers(plane, "ys")?, "zs": zs,
        }))
    };
    let indices = || 0..planes.len();
    let panels: Vec<Value> = indices()
        .map(|index| grid("contour", index))
        .chain(indices().map(|index| grid("surface", index)))
        .collect::<Result<_>>()?;
    let figure = json!({
        "title": "Training loss around the solutions of four methods",
        "columns": 4,
        "panel_size": [330, 290],
        "note": format!(
            "{} after {} epochs; two random directions, filter-normalised (Li et al., 2018), biases and BatchNorm fixed; loss over {} \
             training images; one colour scale. {}",
            net.heading(), net.epochs, sizes.images, data_caveat(net)
        ),
        "panels": panels,
    });
    sheet.describe("", figure, "Contours and surfaces of the loss around the solutions of four methods")?;
    sheet.text(
        "One plane of two random directions shows little of a space of so many dimensions. How much loss and gradient grow within a \
         radius, as lower bounds of R_SAM and R_GNR (`gnr sharpness`):",
    );
    let mut rows = Vec::new();
    for (label, report) in &sharpness {
        for bound in list(report, "bounds")? {
            let word = |key: &str| bound[key].as_str().unwrap_or_default().to_owned();
            rows.push(vec![
                label.clone(),
                word("measure"),
                number(bound, "rho")?.to_string(),
                word("search"),
                format!("≥ {:.5}", number(bound, "lower_bound")?),
            ]);
        }
    }
    sheet.table(&["method", "measure", "ρ", "search", "lower bound"], rows);
    Ok(())
}

/// Rows of losses; `null` where one was not finite.
fn losses(plane: &Value) -> Result<Vec<Vec<Value>>> {
    Ok(list(plane, "losses")?.iter().map(|row| row.as_array().cloned().unwrap_or_default()).collect())
}
