//! The data of a figure in long form, for any other program.

use std::fmt::Write;

use crate::{Content, Figure, Surface};

/// Makes lines `panel,series,x,y,z`, one for each point, value (in x) or grid point. Panels are numbered from 1.
pub(crate) fn csv(figure: &Figure) -> String {
    let mut text = String::from("panel,series,x,y,z\n");
    let mut line = |panel: usize, series: &str, x: f64, y: Option<f64>, z: Option<f64>| {
        let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{panel},{},{x},{},{}", quoted(series), number(y), number(z));
    };
    for (panel, content) in (1..).zip(figure.panels.iter().map(|panel| &panel.content)) {
        match content {
            Content::Lines(lines) => {
                for series in &lines.series {
                    for (x, y) in series.x.iter().zip(&series.y) {
                        line(panel, &series.label, *x, Some(*y), None);
                    }
                    for (edge, name) in ["lower", "upper"].into_iter().enumerate() {
                        let label = format!("{} ({name})", series.label);
                        for (x, band) in series.x.iter().zip(&series.band) {
                            line(panel, &label, *x, Some(band[edge]), None);
                        }
                    }
                }
            }
            Content::Histogram(crate::Histogram { groups, .. })
            | Content::Counts(crate::Counts { groups, .. }) => {
                for group in groups {
                    group.values.iter().for_each(|value| line(panel, &group.label, *value, None, None));
                }
            }
            Content::Contour(grid) | Content::Surface(Surface { grid, .. }) => {
                for (y, row) in grid.ys.iter().zip(&grid.zs) {
                    for (x, z) in grid.xs.iter().zip(row) {
                        line(panel, &grid.z.label, *x, Some(*y), Some(*z));
                    }
                }
                for route in &grid.routes {
                    for (x, y) in route.x.iter().zip(&route.y) {
                        line(panel, &route.label, *x, Some(*y), None);
                    }
                }
            }
        }
    }
    text
}

/// A field, quoted as RFC 4180 requires.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}
