//! Figures as plain data.

use serde::{Deserialize, Serialize};

use crate::{PlotError, Result, holes};

/// A figure: panels, with a title above and a legend below the title.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// The title above all panels; empty for none.
    pub title: String,
    /// Number of panels in a row (default: up to 3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<usize>,
    /// Width and height of a panel in nominal pixels.
    #[serde(default = "panel_size")]
    pub panel_size: [u32; 2],
    /// The measurement and its method, in small print below the panels.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// The panels, in rows from left to right.
    pub panels: Vec<Panel>,
}

fn panel_size() -> [u32; 2] {
    [400, 300]
}

/// One pair of axes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Panel {
    /// The title above the axes; empty for none.
    pub title: String,
    /// The content that is drawn.
    #[serde(flatten)]
    pub content: Content,
}

/// The content of a panel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Content {
    /// Curves and points.
    Lines(Lines),
    /// How often values fall into bins.
    Histogram(Histogram),
    /// How often small whole numbers occur.
    Counts(Counts),
    /// A function of two variables, as filled contours.
    Contour(Grid),
    /// A function of two variables, in perspective.
    Surface(Surface),
}

/// One axis of a panel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// The quantity of the axis, with its unit.
    pub label: String,
    /// Scale of the axis; the default is linear.
    #[serde(default)]
    pub scale: Scale,
    /// First and last value; default: the range of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
}

/// The scale by which values become positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// Positions in proportion to values.
    #[default]
    Linear,
    /// Positions in proportion to the logarithm. Values that are not positive are left out.
    Log,
}

/// Curves and points over a common pair of axes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lines {
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The series, in the order in which they are drawn.
    pub series: Vec<Series>,
    /// Marks with words at places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
}

/// One curve, or one set of points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// Name in the legend; empty for a series that is not in it.
    pub label: String,
    /// Horizontal positions of the points.
    #[serde(deserialize_with = "holes::numbers")]
    pub x: Vec<f64>,
    /// Vertical positions, as many. A position that is not finite interrupts a line.
    #[serde(deserialize_with = "holes::numbers")]
    pub y: Vec<f64>,
    /// The style; default a line.
    #[serde(default)]
    pub style: Style,
    /// Number of the colour; default: the series' number. Equal numbers mean equal colours in every panel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour: Option<usize>,
    /// Red, green and blue, in place of the colour with a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rgb: Option<[u8; 3]>,
    /// Lower and upper edge of a band around every point, such as mean ± deviation; empty: none. Edges that are not
    /// finite interrupt the band.
    #[serde(default, deserialize_with = "holes::pairs", skip_serializing_if = "Vec::is_empty")]
    pub band: Vec<[f64; 2]>,
}

/// The style in which a series is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// A line through the points.
    #[default]
    Line,
    /// A dashed line.
    Dashed,
    /// Dots at the points.
    Points,
    /// A line with dots.
    Both,
    /// A thin, pale line: one of many.
    Thin,
}

/// Words beside a dot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// Position on this axis.
    #[serde(deserialize_with = "holes::number")]
    pub x: f64,
    /// Position on this axis.
    #[serde(deserialize_with = "holes::number")]
    pub y: f64,
    /// Text of the label.
    pub text: String,
}

/// Values sorted into common bins, the groups drawn over each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    /// The axis of the values.
    pub x: Axis,
    /// The axis of the numbers of values in bins.
    pub y: Axis,
    /// Number of bins, of equal width on the axis' scale.
    pub bins: usize,
    /// The groups of values, in the order in which they are drawn.
    pub groups: Vec<Values>,
}

/// Small whole numbers, the groups side by side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// The axis of the whole numbers.
    pub x: Axis,
    /// The axis of their frequencies.
    pub y: Axis,
    /// The groups; values are rounded to whole numbers.
    pub groups: Vec<Values>,
}

/// A named list of values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Values {
    /// Name in the legend.
    pub label: String,
    /// The values of the group.
    #[serde(deserialize_with = "holes::numbers")]
    pub values: Vec<f64>,
    /// Note in the panel's corner, such as the trace of the spectrum; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Number of the colour; default: the group's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour: Option<usize>,
}

/// A function on a rectangular grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// The first variable, which runs horizontally.
    pub x: Axis,
    /// The second variable, which runs vertically.
    pub y: Axis,
    /// The function of both variables.
    pub z: Axis,
    /// Values of the first variable, ascending.
    pub xs: Vec<f64>,
    /// Values of the second variable, ascending.
    pub ys: Vec<f64>,
    /// `zs[j][i]` at `(xs[i], ys[j])`. NaN leaves a hole.
    #[serde(deserialize_with = "holes::rows")]
    pub zs: Vec<Vec<f64>>,
    /// Paths over the grid, such as the way of training.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Marks with words at places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
}

/// A path over a contour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Name in the legend.
    pub label: String,
    /// The first variable, which runs horizontally.
    #[serde(deserialize_with = "holes::numbers")]
    pub x: Vec<f64>,
    /// The second variable, which runs vertically.
    #[serde(deserialize_with = "holes::numbers")]
    pub y: Vec<f64>,
}

/// A [`Grid`] in perspective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Surface {
    /// The function of both variables.
    #[serde(flatten)]
    pub grid: Grid,
    /// Rotation about the vertical axis, degrees (default −60).
    #[serde(default = "azimuth")]
    pub azimuth: f64,
    /// Height of the eye, degrees above the plane (default 30).
    #[serde(default = "elevation")]
    pub elevation: f64,
}

fn azimuth() -> f64 {
    -60.0
}

fn elevation() -> f64 {
    30.0
}

impl Figure {
    /// A figure with panels of 400 × 300 nominal pixels.
    pub fn new(title: impl Into<String>, panels: Vec<Panel>) -> Self {
        Self { title: title.into(), columns: None, panel_size: panel_size(), note: String::new(), panels }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.panels.is_empty() || self.columns == Some(0) {
            return Err(PlotError::Empty);
        }
        for (index, panel) in self.panels.iter().enumerate() {
            let name =
                if panel.title.is_empty() { format!("panel {}", index + 1) } else { panel.title.clone() };
            panel.check().map_err(|problem| PlotError::Data { panel: name, problem })?;
        }
        let [w, h] = self.panel_size;
        if w < 160 || h < 120 || w > 4000 || h > 4000 {
            let problem = format!("panels of {w} × {h}; at least 160 × 120, at most 4000 × 4000");
            return Err(PlotError::Data { panel: "panel_size".into(), problem });
        }
        Ok(())
    }
}

impl Panel {
    /// A panel with a title and content.
    pub fn new(title: impl Into<String>, content: Content) -> Self {
        Self { title: title.into(), content }
    }

    fn check(&self) -> Result<(), String> {
        let finite = |values: &[f64]| values.iter().any(|value| value.is_finite());
        match &self.content {
            Content::Lines(lines) => {
                lines.x.check()?;
                lines.y.check()?;
                for Series { label, x, y, band, .. } in &lines.series {
                    if x.len() != y.len() {
                        return Err(format!("series `{label}` has {} x and {} y", x.len(), y.len()));
                    }
                    if !band.is_empty() && band.len() != x.len() {
                        return Err(format!(
                            "series `{label}` has {} points and a band at {}",
                            x.len(),
                            band.len()
                        ));
                    }
                }
                if lines.series.iter().any(|series| finite(&series.x) && finite(&series.y)) {
                    Ok(())
                } else {
                    Err("nothing to draw: no series has a point".into())
                }
            }
            Content::Histogram(Histogram { x, y, bins, groups }) => {
                x.check()?;
                y.check()?;
                if *bins == 0 || *bins > 10_000 {
                    return Err(format!("{bins} bins, expected 1 to 10000"));
                }
                some_value(groups)
            }
            Content::Counts(Counts { x, y, groups }) => {
                x.check()?;
                y.check()?;
                if let Some(value) = groups
                    .iter()
                    .flat_map(|group| &group.values)
                    .find(|value| !(0.0..=10_000.0).contains(*value))
                {
                    return Err(format!("{value} cannot be counted, expected whole numbers up to 10000"));
                }
                some_value(groups)
            }
            Content::Contour(grid) | Content::Surface(Surface { grid, .. }) => grid.check(),
        }
    }
}

fn some_value(groups: &[Values]) -> Result<(), String> {
    if groups.iter().flat_map(|group| &group.values).any(|value| value.is_finite()) {
        Ok(())
    } else {
        Err("nothing to draw: no group has a value".into())
    }
}

impl Grid {
    fn check(&self) -> Result<(), String> {
        [&self.x, &self.y, &self.z].into_iter().try_for_each(Axis::check)?;
        let (columns, rows) = (self.xs.len(), self.ys.len());
        if columns < 2 || rows < 2 {
            return Err(format!("a grid of {columns} × {rows} points, expected at least 2 × 2"));
        }
        if self.zs.len() != rows || self.zs.iter().any(|row| row.len() != columns) {
            let lengths: Vec<usize> = self.zs.iter().map(Vec::len).collect();
            return Err(format!("rows of lengths {lengths:?}, expected {rows} of length {columns}"));
        }
        let ascending = |values: &[f64]| values.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending(&self.xs) || !ascending(&self.ys) {
            return Err("the grid's coordinates must be finite and ascend".into());
        }
        if let Some(route) = self.routes.iter().find(|route| route.x.len() != route.y.len()) {
            return Err(format!("route `{}` has {} x and {} y", route.label, route.x.len(), route.y.len()));
        }
        let usable = |z: &f64| z.is_finite() && (self.z.scale == Scale::Linear || *z > 0.0);
        if self.zs.iter().flatten().any(usable) {
            Ok(())
        } else {
            Err("nothing to draw: no value is finite (and positive, on a log scale)".into())
        }
    }
}

impl Axis {
    /// A linear axis over the range of the data.
    pub fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Linear, range: None }
    }

    /// A logarithmic axis over the range of the data.
    pub fn log(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Log, range: None }
    }

    /// Sets the range, from `low` to `high`.
    pub fn within(mut self, low: f64, high: f64) -> Self {
        self.range = Some([low, high]);
        self
    }

    fn check(&self) -> Result<(), String> {
        let Some([low, high]) = self.range else { return Ok(()) };
        let valid = low < high && low.is_finite() && high.is_finite();
        if valid && (self.scale == Scale::Linear || low > 0.0) {
            return Ok(());
        }
        Err(format!("axis `{}` from {low} to {high} is empty", self.label))
    }
}

impl Series {
    /// A line through the points.
    pub fn line(label: impl Into<String>, x: Vec<f64>, y: Vec<f64>) -> Self {
        Self { label: label.into(), x, y, style: Style::Line, colour: None, rgb: None, band: Vec::new() }
    }

    /// Draws the series in another style.
    pub fn styled(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    /// Gives the series the colour with this number.
    pub fn coloured(mut self, colour: usize) -> Self {
        self.colour = Some(colour);
        self
    }

    /// Gives the series this red, green and blue.
    pub fn painted(mut self, rgb: [u8; 3]) -> Self {
        self.rgb = Some(rgb);
        self
    }

    /// Adds a band, with its lower and upper edge at every point.
    pub fn banded(mut self, band: Vec<[f64; 2]>) -> Self {
        self.band = band;
        self
    }
}
