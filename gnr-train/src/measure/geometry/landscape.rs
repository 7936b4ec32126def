//! The loss along a line or over a plane.

use std::sync::atomic::AtomicBool;

use gnr_hessian::linspace;
use gnr_nn::Autodiff;
use serde::Serialize;
use serde_json::json;

use super::{
    axes::{Axes, Plane},
    survey::{GeometryRequest, Stopped, Survey},
};
use crate::{
    error::{Result, TrainError},
    measure::{
        MeasureObserver, Measured,
        subject::{Description, Measurement, Subject, measure},
    },
};

/// The options of [`landscape()`].
#[derive(Clone, Debug)]
pub struct LandscapeRequest {
    /// Subject and folder.
    pub common: GeometryRequest,
    /// The directions of the landscape.
    pub axes: Axes,
    /// First and last coordinate along each direction. `None`: −1 to 1; between checkpoints −0.5 to 1.5; for a
    /// trajectory its extent with a margin of a quarter.
    pub ranges: Vec<Option<[f64; 2]>>,
    /// Number of points along each direction; default 25.
    pub points: Vec<usize>,
}

/// The answer to a [`LandscapeRequest`].
#[derive(Clone, Debug, Serialize)]
pub struct LandscapeReport {
    /// The network and images that were measured.
    pub subject: Description,
    /// The directions of the landscape.
    pub axes: Axes,
    /// The names of the directions, one or two.
    pub labels: Vec<String>,
    /// Coordinates along the first direction.
    pub xs: Vec<f64>,
    /// Coordinates along the second direction; empty on a line.
    pub ys: Vec<f64>,
    /// The losses: `losses[j][i]` belongs to `(xs[i], ys[j])`, and a line has a single row. `None` where the loss is
    /// not finite.
    pub losses: Vec<Vec<Option<f64>>>,
    /// The kept checkpoints, for [`Axes::Trajectory`].
    pub trajectory: Vec<OnPlane>,
    /// Fraction of the trajectory's variance along each direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explained: Option<Vec<f64>>,
}

/// A checkpoint in a landscape's plane.
#[derive(Clone, Debug, Serialize)]
pub struct OnPlane {
    /// Epoch of the checkpoint.
    pub epoch: u64,
    /// First coordinate of the nearest point in the plane.
    pub x: f64,
    /// Second coordinate of the nearest point in the plane.
    pub y: f64,
    /// Distance of the checkpoint from the plane.
    pub distance: f64,
}

/// Evaluates the loss on the grid and writes `landscape.json`, `landscape.csv` and, for trajectories, `trajectory.csv`.
///
/// # Errors
/// The errors of [`measure`]; points of another request in the folder; directions that cannot be made.
///
/// # Cost
/// A forward pass over the images for each point of the grid.
///
/// # References
/// Li, Xu, Taylor, Studer and Goldstein, "Visualizing the loss landscape of neural nets", NeurIPS 2018; Goodfellow,
/// Vinyals and Saxe, "Qualitatively characterizing neural network optimization problems", ICLR 2015 (interpolation).
pub fn landscape(
    request: &LandscapeRequest,
    observer: &mut dyn MeasureObserver,
    stop: &AtomicBool,
) -> Result<Measured<LandscapeReport>> {
    let directions = request.axes.count();
    if !(1..=2).contains(&directions) {
        return Err(TrainError::Request(format!("a landscape has one or two directions, not {directions}")));
    }
    if let Some(count) = request.points.iter().find(|count| !(2..=10_000).contains(*count)) {
        return Err(TrainError::Request(format!("{count} points along a direction, expected 2 to 10000")));
    }
    let empty = |range: &&[f64; 2]| !(range[0] < range[1] && range[0].is_finite() && range[1].is_finite());
    if let Some([low, high]) = request.ranges.iter().flatten().find(empty) {
        return Err(TrainError::Request(format!("the range from {low} to {high} is empty")));
    }
    let survey = Survey::new(&request.common, observer, stop);
    measure(&request.common.subject, Work { request, survey })
}

struct Work<'a> {
    request: &'a LandscapeRequest,
    survey: Survey<'a>,
}

/// A loss as JSON can hold it; `None` if it is not finite, which may happen far from a minimum.
#[derive(Serialize, serde::Deserialize)]
struct Value(Option<f64>);

impl Measurement for Work<'_> {
    type Output = Measured<LandscapeReport>;

    fn run<B: Autodiff + 'static>(self, mut subject: Subject<'_, B>) -> Result<Self::Output> {
        let Self { request, mut survey } = self;
        let plane = request.axes.plane(&mut subject)?;
        let [xs, ys] = [0, 1].map(|k| coordinates(request, &plane, k));
        let description = subject.description.clone();
        let rows = ys.len().max(1);
        let keys = (0..rows).flat_map(|j| (0..xs.len()).map(move |i| format!("{i},{j}")));
        let files = request.axes.checksums(std::path::Path::new(&description.weights))?;
        // The contents of the files matter, not their paths.
        let axes = match &request.axes {
            axes @ Axes::Random { .. } => json!(axes),
            Axes::Checkpoints { .. } => json!("checkpoints"),
            Axes::Eigenvectors { ranks, .. } => json!({ "eigenvectors": ranks }),
            Axes::Trajectory => json!("trajectory"),
        };
        let options = json!({ "axes": axes, "files": files, "xs": xs, "ys": ys });
        survey.start(&subject, "landscape", options, keys)?;

        let at_origin = subject.buffers.clone();
        let mut losses = vec![Vec::with_capacity(xs.len()); rows];
        for (j, row) in losses.iter_mut().enumerate() {
            for (i, x) in xs.iter().enumerate() {
                let place: Vec<f64> = [Some(*x), ys.get(j).copied()].into_iter().flatten().collect();
                let found = survey.point(
                    &format!("{i},{j}"),
                    |Value(loss)| {
                        loss.map_or_else(|| "loss not finite".into(), |loss| format!("loss {loss:.4}"))
                    },
                    || {
                        if let Some(ends) = &plane.statistics {
                            subject.buffers = at_origin.clone();
                            for (end, coordinate) in ends.iter().zip(&place) {
                                interpolate(
                                    &subject.backend,
                                    &mut subject.buffers,
                                    &at_origin,
                                    end,
                                    *coordinate,
                                )?;
                            }
                        }
                        match plane.subspace.loss(&mut subject.oracle()?, &place) {
                            Ok(loss) => Ok(Value(Some(loss))),
                            // Far away a loss may overflow: the picture gets a hole, and the work continues.
                            Err(gnr_hessian::Error::Core(gnr_core::Error::NonFinite { .. })) => {
                                Ok(Value(None))
                            }
                            Err(error) => Err(error.into()),
                        }
                    },
                )?;
                match found {
                    Ok(Value(loss)) => row.push(loss),
                    Err(Stopped) => return Ok(survey.interrupted()),
                }
            }
        }
        let trajectory = plane.route.iter().map(|(epoch, at, distance)| OnPlane {
            epoch: *epoch,
            x: at[0],
            y: at[1],
            distance: *distance,
        });
        let report = LandscapeReport {
            subject: description,
            axes: request.axes.clone(),
            labels: plane.labels,
            trajectory: trajectory.collect(),
            explained: plane.explained,
            xs,
            ys,
            losses,
        };
        write(&survey, &report)?;
        Ok(Measured::Finished(report))
    }
}

fn coordinates<B: Autodiff>(request: &LandscapeRequest, plane: &Plane<B>, k: usize) -> Vec<f64> {
    if k >= request.axes.count() {
        return Vec::new();
    }
    let of = |values: &Vec<f64>| values[k];
    let asked = request.ranges.get(k).or_else(|| request.ranges.last()).copied().flatten();
    let [low, high] = asked.unwrap_or_else(|| {
        let along = plane.route.iter().map(|(_, at, _)| of(at));
        let (low, high) = along.fold((0.0_f64, 0.0_f64), |(low, high), at| (low.min(at), high.max(at)));
        let margin = 0.25 * (high - low);
        if high > low { [low - margin, high + margin] } else { request.axes.usual_range() }
    });
    let count = request.points.get(k).or_else(|| request.points.last()).copied().unwrap_or(25);
    linspace(low, high, count)
}

/// Interpolates running statistics: statistics += coordinate·(end − origin).
fn interpolate<B: Autodiff>(
    backend: &B,
    statistics: &mut gnr_nn::Buffers<B>,
    origin: &gnr_nn::Buffers<B>,
    end: &gnr_nn::Buffers<B>,
    coordinate: f64,
) -> Result<()> {
    for ((tensor, origin), end) in statistics.tensors.iter_mut().zip(&origin.tensors).zip(&end.tensors) {
        backend.axpy(tensor, coordinate, end)?;
        backend.axpy(tensor, -coordinate, origin)?;
    }
    Ok(())
}

fn write(survey: &Survey<'_>, report: &LandscapeReport) -> Result<()> {
    let number = |value: &Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    if report.ys.is_empty() {
        let rows = report.xs.iter().zip(&report.losses[0]);
        survey.write_csv("landscape.csv", ["x", "loss"], rows.map(|(x, z)| [x.to_string(), number(z)]))?;
    } else {
        let rows = report.ys.iter().zip(&report.losses).flat_map(|(y, row)| {
            report.xs.iter().zip(row).map(|(x, z)| [x.to_string(), y.to_string(), number(z)])
        });
        survey.write_csv("landscape.csv", ["x", "y", "loss"], rows)?;
    }
    if !report.trajectory.is_empty() {
        let rows = report.trajectory.iter().map(|OnPlane { epoch, x, y, distance }| {
            [epoch.to_string(), x.to_string(), y.to_string(), distance.to_string()]
        });
        survey.write_csv("trajectory.csv", ["epoch", "x", "y", "distance"], rows)?;
    }
    survey.write_json("landscape.json", report)
}
