//! R_SAM and R_GNR of a checkpoint: lower bounds of maxima over a ball, by several searches.

use std::sync::atomic::AtomicBool;

use gnr_core::{
    measure::{LowerBound, Search, r_gnr, r_sam},
    random::UnitBall,
};
use gnr_nn::{Autodiff, Entry};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::survey::{GeometryRequest, Stopped, Survey, by_tensor, to_device};
use crate::{
    error::{Result, TrainError},
    measure::{
        MeasureObserver, Measured,
        subject::{Description, Measurement, Subject, measure},
    },
};

/// The options of [`sharpness()`].
#[derive(Clone, Debug)]
pub struct SharpnessRequest {
    /// Subject and folder.
    pub common: GeometryRequest,
    /// The radii ρ of the balls; default 0.1.
    pub rhos: Vec<f64>,
    /// Number of points looked at by each ascent; default 10.
    pub steps: usize,
    /// Number of random starts of the multi-start search, beside θ; default 3.
    pub starts: usize,
    /// Seed of the random starts.
    pub seed: u64,
}

impl SharpnessRequest {
    /// The radius ρ = 0.1, ascents of 10 points, 3 random starts.
    pub fn new(common: GeometryRequest) -> Self {
        Self { common, rhos: vec![0.1], steps: 10, starts: 3, seed: 0 }
    }
}

/// The answer to a [`SharpnessRequest`].
#[derive(Clone, Debug, Serialize)]
pub struct SharpnessReport {
    /// The network and images that were measured.
    pub subject: Description,
    /// Number of points looked at by each ascent.
    pub steps: usize,
    /// Number of random starts.
    pub starts: usize,
    /// Seed of the random starts.
    pub seed: u64,
    /// The lower bounds, for each radius, measure and search.
    pub bounds: Vec<Bound>,
}

/// A lower bound of a sharpness.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// `r_sam` = max L̂(θ') − L̂(θ), or `r_gnr` = ρ·max ‖∇L̂(θ')‖, over ‖θ' − θ‖ ≤ ρ.
    pub measure: String,
    /// The radius ρ of the ball.
    pub rho: f64,
    /// The search: `one-step` (as SAM and Algorithm 1 do it), `ascent` or `multi-start`.
    pub search: String,
    /// The bound: the maximum is at least as large.
    pub lower_bound: f64,
    /// The distance ‖θ' − θ‖ of the point where it was found.
    pub distance: f64,
    /// Number of gradients computed.
    pub evaluations: usize,
    /// Number of products computed.
    pub products: usize,
}

/// Searches the balls and writes `sharpness.json` and `sharpness.csv`.
///
/// # Errors
/// The errors of [`measure`]; points of another request in the folder; a radius that is not positive.
///
/// # Cost
/// For each radius and measure about (steps + 1)·(starts + 1) + 2 gradients over the images. R_GNR takes at most as
/// many products in addition.
pub fn sharpness(
    request: &SharpnessRequest,
    observer: &mut dyn MeasureObserver,
    stop: &AtomicBool,
) -> Result<Measured<SharpnessReport>> {
    if request.rhos.is_empty() {
        return Err(TrainError::Request("sharpness needs a radius".into()));
    }
    if let Some(rho) = request.rhos.iter().find(|rho| !(**rho > 0.0 && rho.is_finite())) {
        return Err(TrainError::Request(format!("rho {rho}: must be positive and finite")));
    }
    let survey = Survey::new(&request.common, observer, stop);
    measure(&request.common.subject, Work { request, survey })
}

struct Work<'a> {
    request: &'a SharpnessRequest,
    survey: Survey<'a>,
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    OneStep,
    Ascent,
    Start(usize),
}

impl Part {
    fn name(self) -> String {
        match self {
            Self::OneStep => "one-step".into(),
            Self::Ascent => "ascent".into(),
            Self::Start(k) => format!("start-{k}"),
        }
    }
}

const MEASURES: [&str; 2] = ["r_sam", "r_gnr"];

impl Measurement for Work<'_> {
    type Output = Measured<SharpnessReport>;

    fn run<B: Autodiff + 'static>(self, mut subject: Subject<'_, B>) -> Result<Self::Output> {
        let Self { request, mut survey } = self;
        let entries: Vec<Entry> = subject.entries().into_iter().cloned().collect();
        let (theta, description) = (subject.start(), subject.description.clone());
        let dim = description.dimension;
        let parts: Vec<Part> =
            [Part::OneStep, Part::Ascent].into_iter().chain((0..request.starts).map(Part::Start)).collect();
        let key = |measure: &str, rho: f64, part: Part| format!("{measure}/{rho}/{}", part.name());
        let keys = MEASURES.into_iter().flat_map(|measure| {
            let parts = &parts;
            request.rhos.iter().flat_map(move |rho| parts.iter().map(move |part| key(measure, *rho, *part)))
        });
        let options = json!({ "steps": request.steps, "seed": request.seed });
        survey.start(&subject, "sharpness", options, keys)?;

        let mut bounds = Vec::new();
        for measure in MEASURES {
            for &rho in &request.rhos {
                let mut best: Option<Bound> = None;
                for &part in &parts {
                    let told = |bound: &Bound| format!("{measure} ≥ {:.5} at ρ = {rho}", bound.lower_bound);
                    let found = survey.point(&key(measure, rho, part), told, || {
                        let search = match part {
                            Part::OneStep => Search::OneStep,
                            Part::Ascent => Search::Ascent { steps: request.steps },
                            Part::Start(k) => {
                                let seed = request.seed.wrapping_add(k as u64);
                                let flat = UnitBall::<f64>::new(dim, seed).next().unwrap_or_default();
                                let start =
                                    to_device(&subject.backend, &entries, &by_tensor(&entries, &flat))?;
                                Search::AscentFrom { start, steps: request.steps }
                            }
                        };
                        let mut oracle = subject.oracle()?;
                        let bound = match measure {
                            "r_sam" => r_sam(&mut oracle, &theta, rho, search)?,
                            _ => r_gnr(&mut oracle, &theta, rho, search)?,
                        };
                        Ok(named(measure, rho, part, &bound))
                    })?;
                    let bound = match found {
                        Ok(bound) => bound,
                        Err(Stopped) => return Ok(survey.interrupted()),
                    };
                    if part != Part::OneStep {
                        best = Some(match best.take() {
                            None => Bound { search: "multi-start".into(), ..bound.clone() },
                            Some(best) => better(best, &bound),
                        });
                    }
                    if !matches!(part, Part::Start(_)) {
                        bounds.push(bound);
                    }
                }
                if request.starts > 0 {
                    bounds.extend(best);
                }
            }
        }
        let (steps, starts, seed) = (request.steps, request.starts, request.seed);
        let report = SharpnessReport { subject: description, steps, starts, seed, bounds };
        let rows = report.bounds.iter().map(|bound| {
            [
                bound.measure.clone(),
                bound.rho.to_string(),
                bound.search.clone(),
                bound.lower_bound.to_string(),
                bound.distance.to_string(),
                bound.evaluations.to_string(),
                bound.products.to_string(),
            ]
        });
        let columns = ["measure", "rho", "search", "lower_bound", "distance", "evaluations", "products"];
        survey.write_csv("sharpness.csv", columns, rows)?;
        survey.write_json("sharpness.json", &report)?;
        Ok(Measured::Finished(report))
    }
}

fn named(measure: &str, rho: f64, part: Part, bound: &LowerBound) -> Bound {
    Bound {
        measure: measure.into(),
        rho,
        search: part.name(),
        lower_bound: bound.value,
        distance: bound.distance,
        evaluations: bound.evaluations,
        products: bound.products,
    }
}

/// The better one of two searches, with the cost of both.
fn better(best: Bound, other: &Bound) -> Bound {
    let (evaluations, products) = (best.evaluations + other.evaluations, best.products + other.products);
    let (lower_bound, distance) = if other.lower_bound > best.lower_bound {
        (other.lower_bound, other.distance)
    } else {
        (best.lower_bound, best.distance)
    };
    Bound { lower_bound, distance, evaluations, products, ..best }
}
