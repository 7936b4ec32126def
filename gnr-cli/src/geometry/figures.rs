//! Figures of the reports on geometry.

use gnr_plot::{
    Axis, Content, Counts, Figure, Grid, Lines, Mark, Panel, Route, Scale, Series, Style, Surface, Values,
};
use gnr_train::{
    geometry::{Axes, LandscapeReport, MinimaReport, SharpnessReport},
    subject::Description,
};

/// The description of a subject in small print.
fn note(subject: &Description) -> String {
    let epoch = subject.epoch.map_or_else(String::new, |epoch| format!(" after epoch {epoch}"));
    format!(
        "{}{epoch}; loss over {} images, BatchNorm {}, {} parameters.",
        subject.model,
        subject.images,
        if subject.batch_norm == "eval" { "on running statistics" } else { "on batch statistics" },
        subject.dimension
    )
}

pub(crate) fn landscape(report: &LandscapeReport) -> Figure {
    let finite = || report.losses.iter().flatten().copied().flatten();
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(0.0, f64::max));
    // Values that span more than a decade show their minimum on a logarithmic scale only.
    let scale = if low > 0.0 && high > 10.0 * low { Scale::Log } else { Scale::Linear };
    let loss = Axis { label: "loss".into(), scale, range: None };
    let holes = |row: &Vec<Option<f64>>| row.iter().map(|z| z.unwrap_or(f64::NAN)).collect::<Vec<_>>();
    let axis = |k: usize| Axis::linear(report.labels.get(k).cloned().unwrap_or_default());
    let mut figure = if report.ys.is_empty() {
        let losses = holes(&report.losses[0]);
        let near = |x: f64| {
            let index = (0..report.xs.len())
                .min_by(|a, b| (report.xs[*a] - x).abs().total_cmp(&(report.xs[*b] - x).abs()));
            index.filter(|i| (report.xs[*i] - x).abs() < 1e-9).map(|i| losses[i])
        };
        let mut marks: Vec<Mark> = Vec::new();
        let mut mark = |x: f64, text: &str| {
            marks.extend(near(x).map(|y| Mark { x, y, text: text.into() }));
        };
        mark(0.0, "checkpoint");
        if matches!(report.axes, Axes::Checkpoints { .. }) {
            mark(1.0, "other checkpoint");
        }
        let series = vec![Series::line("", report.xs.clone(), losses.clone())];
        let lines = Lines { x: axis(0), y: loss, series, marks };
        let mut figure = Figure::new("Loss along a line", vec![Panel::new("", Content::Lines(lines))]);
        figure.panel_size = [560, 340];
        figure
    } else {
        let mut marks = Vec::new();
        if report.trajectory.is_empty() {
            marks.push(Mark { x: 0.0, y: 0.0, text: "checkpoint".into() });
        }
        if let Axes::Checkpoints { .. } = report.axes {
            marks.push(Mark { x: 1.0, y: 0.0, text: "second".into() });
            marks.push(Mark { x: 0.0, y: 1.0, text: "third".into() });
        }
        let route = (!report.trajectory.is_empty()).then(|| Route {
            label: "kept epochs, projected".into(),
            x: report.trajectory.iter().map(|at| at.x).collect(),
            y: report.trajectory.iter().map(|at| at.y).collect(),
        });
        if let (Some(first), Some(last)) = (report.trajectory.first(), report.trajectory.last()) {
            marks.extend([first, last].map(|at| Mark {
                x: at.x,
                y: at.y,
                text: format!("epoch {}", at.epoch),
            }));
        }
        let grid = Grid {
            x: axis(0),
            y: axis(1),
            z: loss,
            xs: report.xs.clone(),
            ys: report.ys.clone(),
            zs: report.losses.iter().map(holes).collect(),
            routes: route.into_iter().collect(),
            marks,
        };
        let mut bare = Grid { routes: vec![], marks: vec![], ..grid.clone() };
        // Names along slanted edges have little room.
        (bare.x.label, bare.y.label) = ("first direction".into(), "second direction".into());
        let surface = Surface { grid: bare, azimuth: -60.0, elevation: 30.0 };
        let panels = vec![Panel::new("", Content::Contour(grid)), Panel::new("", Content::Surface(surface))];
        let mut figure = Figure::new("Loss over a plane", panels);
        figure.panel_size = [480, 400];
        figure
    };
    figure.note = note(&report.subject);
    figure
}

pub(crate) fn minima(report: &MinimaReport) -> Figure {
    let mut panels = Vec::new();
    if let Some(counted) = report.counted.first() {
        let group = |label: &str, values: Vec<usize>| Values {
            label: label.into(),
            values: values.into_iter().map(|n| n as f64).collect(),
            note: String::new(),
            colour: None,
        };
        let of = |of: fn(&gnr_train::geometry::DirectionCounts) -> usize| {
            counted.directions.iter().map(of).collect()
        };
        let counts = Counts {
            x: Axis::linear("extrema along a direction"),
            y: Axis::linear("directions"),
            groups: vec![group("local minima", of(|d| d.minima)), group("local maxima", of(|d| d.maxima))],
        };
        panels.push(Panel::new(format!("steps of {}", counted.step), Content::Counts(counts)));
    }
    let profiles = report.losses.iter().map(|row| {
        let rise = row.iter().map(|loss| loss - row[0]).collect();
        Series::line("", report.distances.clone(), rise).styled(Style::Thin).coloured(6)
    });
    let lines = Lines {
        x: Axis::linear("distance along the direction"),
        y: Axis::linear("loss − loss at the checkpoint"),
        series: profiles.collect(),
        marks: vec![],
    };
    panels.push(Panel::new("every direction", Content::Lines(lines)));
    let mut resolutions: Vec<f64> = report.counted.iter().map(|counted| counted.resolution).collect();
    resolutions.sort_by(f64::total_cmp);
    resolutions.dedup();
    if report.counted.len() > resolutions.len() {
        let series = resolutions.iter().enumerate().map(|(index, resolution)| {
            let same = || report.counted.iter().filter(|counted| counted.resolution == *resolution);
            let label = if *resolution == 0.0 {
                "every turn".to_owned()
            } else {
                format!("turns above {resolution:e}")
            };
            let (x, y) = (same().map(|c| c.step).collect(), same().map(|c| c.mean_minima).collect());
            Series::line(label, x, y).styled(Style::Both).coloured(index + 2)
        });
        let lines = Lines {
            x: Axis::log("step"),
            y: Axis::linear("mean number of local minima"),
            series: series.collect(),
            marks: vec![],
        };
        panels.push(Panel::new("does the count depend on the step?", Content::Lines(lines)));
    }
    let mut figure = Figure::new("Extrema of the loss along random directions", panels);
    figure.note = note(&report.subject);
    figure
}

/// The figure of a report; `None` with a single radius, for which a table is enough.
pub(crate) fn sharpness(report: &SharpnessReport) -> Option<Figure> {
    let mut rhos: Vec<f64> = report.bounds.iter().map(|bound| bound.rho).collect();
    rhos.sort_by(f64::total_cmp);
    rhos.dedup();
    if rhos.len() < 2 {
        return None;
    }
    let panel = |measure: &str, title: &str| {
        let mut series: Vec<Series> = Vec::new();
        for bound in report.bounds.iter().filter(|bound| bound.measure == measure) {
            let index = match series.iter().position(|series| series.label == bound.search) {
                Some(index) => index,
                None => {
                    series.push(Series::line(bound.search.clone(), vec![], vec![]).styled(Style::Both));
                    series.len() - 1
                }
            };
            series[index].x.push(bound.rho);
            series[index].y.push(bound.lower_bound);
        }
        let (x, y) = (Axis::log("radius ρ"), Axis::log("lower bound"));
        Panel::new(title, Content::Lines(Lines { x, y, series, marks: vec![] }))
    };
    let panels = vec![panel("r_sam", "R_SAM"), panel("r_gnr", "R_GNR")];
    let mut figure = Figure::new("Sharpness within a radius", panels);
    figure.note = note(&report.subject);
    Some(figure)
}
