//! Local minima and maxima of the loss along random directions: Figure 1b of the paper.

use std::sync::atomic::AtomicBool;

use gnr_hessian::{Extrema, Scaling, SmallTensors, Subspace, count_extrema};
use gnr_nn::{Autodiff, Entry};
use serde::Serialize;
use serde_json::json;

use super::{
    axes::random,
    survey::{GeometryRequest, Stopped, Survey},
};
use crate::{
    error::{Result, TrainError},
    measure::{
        MeasureObserver, Measured,
        subject::{Description, Measurement, Subject, measure},
    },
};

/// The options of [`minima()`].
#[derive(Clone, Debug)]
pub struct MinimaRequest {
    /// Subject and folder.
    pub common: GeometryRequest,
    /// Number of random directions; the paper's 100.
    pub directions: usize,
    /// Seed of the directions.
    pub seed: u64,
    /// Distance along the directions, in units of their length; the paper's 0.1.
    pub radius: f64,
    /// Number of steps to that distance; the paper's 10, of 0.01 each.
    pub steps: usize,
    /// Number of points for each step. With more than 1, counts on finer grids show whether they depend on the step.
    pub refine: usize,
    /// Length of the directions; the paper's norm 1.
    pub scaling: Scaling,
    /// Resolutions of the counts: smaller turns of the loss are ignored. 0 counts every turn.
    pub resolutions: Vec<f64>,
}

impl MinimaRequest {
    /// The settings of the paper: 100 directions of norm 1, 10 steps of 0.01, and every turn counts.
    pub fn new(common: GeometryRequest) -> Self {
        Self {
            common,
            directions: 100,
            seed: 0,
            radius: 0.1,
            steps: 10,
            refine: 1,
            scaling: Scaling::Unit,
            resolutions: vec![0.0],
        }
    }
}

/// The answer to a [`MinimaRequest`].
#[derive(Clone, Debug, Serialize)]
pub struct MinimaReport {
    /// The network and images that were measured.
    pub subject: Description,
    /// Seed of the directions.
    pub seed: u64,
    /// Distance of the last point.
    pub radius: f64,
    /// Distances of the points of a direction, from 0.
    pub distances: Vec<f64>,
    /// L̂ at these distances, a row for each direction.
    pub losses: Vec<Vec<f64>>,
    /// The counts: the coarsest step first, each step with every resolution.
    pub counted: Vec<Counted>,
}

/// The counts for one step and resolution.
#[derive(Clone, Debug, Serialize)]
pub struct Counted {
    /// Distance between the points that were compared.
    pub step: f64,
    /// Resolution: smaller turns were not counted.
    pub resolution: f64,
    /// Mean number of minima over the directions.
    pub mean_minima: f64,
    /// Mean number of maxima over the directions.
    pub mean_maxima: f64,
    /// The counts of each direction.
    pub directions: Vec<DirectionCounts>,
}

/// Numbers of extrema along one direction, without the ends.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct DirectionCounts {
    /// Number of local minima.
    pub minima: usize,
    /// Number of local maxima.
    pub maxima: usize,
}

/// Counts extrema along random directions and writes `minima.json`, `minima.csv` and `minima_counts.csv`.
///
/// # Errors
/// The errors of [`measure`]; points of another request in the folder.
///
/// # Cost
/// A forward pass over the images for each of directions·steps·refine points.
///
/// # References
/// Figure 1b of the paper.
pub fn minima(
    request: &MinimaRequest,
    observer: &mut dyn MeasureObserver,
    stop: &AtomicBool,
) -> Result<Measured<MinimaReport>> {
    let refuse = |problem: String| Err(TrainError::Request(problem));
    if request.directions == 0 || request.steps < 2 || request.refine == 0 {
        return refuse("minima need at least one direction, two steps and one point a step".into());
    }
    if !(request.radius > 0.0 && request.radius.is_finite()) {
        return refuse(format!("radius {}: must be positive and finite", request.radius));
    }
    if let Some(resolution) = request.resolutions.iter().find(|r| !(**r >= 0.0 && r.is_finite())) {
        return refuse(format!("resolution {resolution}: must be 0 or larger, and finite"));
    }
    let survey = Survey::new(&request.common, observer, stop);
    measure(&request.common.subject, Work { request, survey })
}

struct Work<'a> {
    request: &'a MinimaRequest,
    survey: Survey<'a>,
}

impl Measurement for Work<'_> {
    type Output = Measured<MinimaReport>;

    fn run<B: Autodiff + 'static>(self, mut subject: Subject<'_, B>) -> Result<Self::Output> {
        let Self { request, mut survey } = self;
        let entries: Vec<Entry> = subject.entries().into_iter().cloned().collect();
        let (origin, description) = (subject.start(), subject.description.clone());
        let theta = origin.to_host()?;
        let points = request.steps * request.refine;
        let keys = (0..request.directions).flat_map(|d| (1..=points).map(move |i| format!("{d}/{i}")));
        let options = json!({
            "seed": request.seed,
            "radius": request.radius,
            "points": points,
            "scaling": format!("{:?}", request.scaling),
        });
        survey.start(&subject, "minima", options, std::iter::once("origin".to_owned()).chain(keys))?;

        let told = |loss: &f64| format!("loss {loss:.6}");
        let at_origin = survey
            .point("origin", told, || Ok(gnr_core::GradOracle::loss(&mut subject.oracle()?, &origin)?))?;
        let Ok(at_origin) = at_origin else { return Ok(survey.interrupted()) };
        let distance = |i: usize| request.radius * i as f64 / points as f64;
        let mut losses = Vec::with_capacity(request.directions);
        for d in 0..request.directions {
            let mut row = vec![at_origin];
            let mut line = None;
            for i in 1..=points {
                let found = survey.point(&format!("{d}/{i}"), told, || {
                    if line.is_none() {
                        let axis = random(
                            &subject,
                            &entries,
                            &theta,
                            request.seed,
                            d as u64,
                            request.scaling,
                            SmallTensors::Fixed,
                        )?;
                        line = Some(Subspace::new(origin.clone(), vec![axis])?);
                    }
                    match &line {
                        Some(line) => Ok(line.loss(&mut subject.oracle()?, &[distance(i)])?),
                        None => Ok(at_origin),
                    }
                })?;
                match found {
                    Ok(loss) => row.push(loss),
                    Err(Stopped) => return Ok(survey.interrupted()),
                }
            }
            losses.push(row);
        }
        let report = MinimaReport {
            subject: description,
            seed: request.seed,
            radius: request.radius,
            distances: (0..=points).map(distance).collect(),
            counted: count(request, &losses)?,
            losses,
        };
        write(&survey, &report)?;
        Ok(Measured::Finished(report))
    }
}

/// Counts extrema for every step of so many points that it divides the request's step, from the coarsest on.
fn count(request: &MinimaRequest, losses: &[Vec<f64>]) -> Result<Vec<Counted>> {
    let mut counted = Vec::new();
    let strides = (1..=request.refine).rev().filter(|stride| request.refine.is_multiple_of(*stride));
    for stride in strides {
        for &resolution in &request.resolutions {
            let directions = losses
                .iter()
                .map(|row| {
                    let seen: Vec<f64> = row.iter().step_by(stride).copied().collect();
                    let Extrema { minima, maxima } = count_extrema(&seen, resolution)?;
                    Ok(DirectionCounts { minima, maxima })
                })
                .collect::<Result<Vec<_>>>()?;
            let mean = |of: fn(&DirectionCounts) -> usize| {
                directions.iter().map(of).sum::<usize>() as f64 / directions.len() as f64
            };
            let points = request.steps * request.refine;
            counted.push(Counted {
                step: request.radius * stride as f64 / points as f64,
                resolution,
                mean_minima: mean(|counts| counts.minima),
                mean_maxima: mean(|counts| counts.maxima),
                directions,
            });
        }
    }
    Ok(counted)
}

fn write(survey: &Survey<'_>, report: &MinimaReport) -> Result<()> {
    let rows = report.losses.iter().enumerate().flat_map(|(d, row)| {
        (report.distances.iter().zip(row))
            .map(move |(distance, loss)| [d.to_string(), distance.to_string(), loss.to_string()])
    });
    survey.write_csv("minima.csv", ["direction", "distance", "loss"], rows)?;
    let rows = report.counted.iter().flat_map(|counted| {
        counted.directions.iter().enumerate().map(|(d, counts)| {
            [
                counted.step.to_string(),
                counted.resolution.to_string(),
                d.to_string(),
                counts.minima.to_string(),
                counts.maxima.to_string(),
            ]
        })
    });
    let columns = ["step", "resolution", "direction", "minima", "maxima"];
    survey.write_csv("minima_counts.csv", columns, rows)?;
    survey.write_json("minima.json", report)
}
