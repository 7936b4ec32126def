//! A sweep as a page: a heat map of mean validation accuracy over two axes, one for each combination of the others. No
//! script, no file beside it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Point, SweepResult};
use crate::report::escaped;

const STYLE: &str = ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:0 auto;\
                     padding:1rem}h1{font-size:1.5rem}svg{max-width:100%;height:auto}figure{margin:1rem 0}";
/// Width and height of a cell, and of the labels beside the cells, in pixels.
const CELL: [usize; 2] = [64, 34];
const MARGIN: [usize; 2] = [84, 44];

/// Viridis at its quarters, from dark to light, readable without colour.
const COLOURS: [[f64; 3]; 5] =
    [[68.0, 1.0, 84.0], [59.0, 82.0, 139.0], [33.0, 145.0, 140.0], [94.0, 201.0, 98.0], [253.0, 231.0, 37.0]];

fn colour(position: f64) -> [f64; 3] {
    let place = position.clamp(0.0, 1.0) * (COLOURS.len() - 1) as f64;
    let (low, share) = ((place as usize).min(COLOURS.len() - 2), place);
    let share = share - low as f64;
    std::array::from_fn(|i| COLOURS[low][i] * (1.0 - share) + COLOURS[low + 1][i] * share)
}

impl SweepResult {
    /// The page `heatmap.html`.
    pub(super) fn to_html(&self) -> String {
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width,initial-scale=1\"><title>Sweep</title><style>{STYLE}</style></head><body>\n\
             <h1>Validation accuracy, %</h1>\n<p>{}</p>\n",
            escaped(&self.words())
        );
        // The maps, by the positions on the axes that a map does not show.
        let mut maps: BTreeMap<Vec<usize>, Vec<(usize, [usize; 2])>> = BTreeMap::new();
        for (index, position) in super::grid::points(&self.axes).iter().enumerate() {
            let at = [position.get(1).copied().unwrap_or(0), position[0]];
            maps.entry(position.get(2..).unwrap_or_default().to_vec()).or_default().push((index, at));
        }
        for (others, cells) in &maps {
            let rest = self.axes.iter().skip(2).zip(others);
            let caption: Vec<String> =
                rest.map(|(axis, &i)| format!("{} = {}", axis.key, axis.label(i))).collect();
            let _ = writeln!(
                page,
                "<figure><figcaption>{}</figcaption>{}</figure>",
                escaped(&caption.join(", ")),
                self.svg(cells)
            );
        }
        page + "<p>The best combination has a frame. Empty cells could not be trained to the end (see sweep.json). The test \
                images decided nothing.</p>\n</body></html>\n"
    }

    /// The map of some combinations, given with their columns and rows.
    fn svg(&self, cells: &[(usize, [usize; 2])]) -> String {
        let means = || self.points.iter().filter_map(|point| point.mean);
        let (low, high) = means().fold((f64::MAX, f64::MIN), |(l, h), mean| (l.min(mean), h.max(mean)));
        let columns = self.axes.get(1).map_or(1, |axis| axis.values.len());
        let rows = self.axes[0].values.len();
        let (width, height) = (MARGIN[0] + columns * CELL[0] + 4, MARGIN[1] + rows * CELL[1] + 4);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" font-size=\"13\" \
             font-family=\"sans-serif\" fill=\"currentColor\">"
        );
        let mut text = |x: usize, y: usize, anchor: &str, fill: &str, words: &str| {
            let _ = write!(
                svg,
                "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" fill=\"{fill}\">{}</text>",
                escaped(words)
            );
        };
        text(MARGIN[0] - 8, MARGIN[1] - 8, "end", "currentColor", &format!("{} ↓", self.axes[0].short()));
        if let Some(axis) = self.axes.get(1) {
            text(MARGIN[0], 14, "start", "currentColor", &format!("{} →", axis.short()));
            for i in 0..columns {
                let x = MARGIN[0] + i * CELL[0] + CELL[0] / 2;
                text(x, MARGIN[1] - 8, "middle", "currentColor", &axis.label(i));
            }
        }
        for i in 0..rows {
            let y = MARGIN[1] + i * CELL[1] + CELL[1] / 2 + 5;
            text(MARGIN[0] - 8, y, "end", "currentColor", &self.axes[0].label(i));
        }
        for &(index, [column, row]) in cells {
            let (x, y) = (MARGIN[0] + column * CELL[0], MARGIN[1] + row * CELL[1]);
            let point: &Point = &self.points[index];
            let frame = if index == self.best { "stroke=\"currentColor\" stroke-width=\"3\"" } else { "" };
            let size = format!("width=\"{}\" height=\"{}\"", CELL[0] - 2, CELL[1] - 2);
            let Some(mean) = point.mean else {
                let _ = write!(
                    svg,
                    "<rect x=\"{x}\" y=\"{y}\" {size} fill=\"none\" stroke=\"currentColor\" stroke-dasharray=\"2 4\"/>"
                );
                continue;
            };
            let [r, g, b] = colour(if high > low { (mean - low) / (high - low) } else { 1.0 });
            // Rec. 601 luma: black on light, white on dark.
            let ink = if 0.299 * r + 0.587 * g + 0.114 * b > 140.0 { "#000" } else { "#fff" };
            let (cx, cy) = (x + (CELL[0] - 2) / 2, y + CELL[1] / 2 + 4);
            let _ = write!(
                svg,
                "<rect x=\"{x}\" y=\"{y}\" {size} fill=\"rgb({r:.0},{g:.0},{b:.0})\" {frame}/><text x=\"{cx}\" y=\"{cy}\" \
                 text-anchor=\"middle\" fill=\"{ink}\">{:.2}</text>",
                100.0 * mean
            );
        }
        svg + "</svg>"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_go_from_dark_to_light() {
        let luma = |position| {
            let [r, g, b] = colour(position);
            0.299 * r + 0.587 * g + 0.114 * b
        };
        let steps: Vec<f64> = (0..=20).map(|i| luma(f64::from(i) / 20.0)).collect();
        assert!(steps.is_sorted(), "{steps:?}");
        assert_eq!((colour(0.0), colour(1.0)), (COLOURS[0], COLOURS[4]));
    }
}
