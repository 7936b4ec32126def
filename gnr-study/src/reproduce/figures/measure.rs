//! Measurements of checkpoints: each in a folder that its request addresses, so that a finished one is never repeated
//! and a stopped one goes on.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use gnr_hessian::Stopping;
use gnr_train::{
    Result as TrainResult, Sample, SubjectRequest,
    curvature::{self, CurvatureRequest, DensityRequest, SpectrumRequest, TraceRequest},
    geometry::{
        self, Axes, GeometryRequest, LandscapeRequest, MinimaRequest, Scaling, SharpnessRequest, SmallTensors,
    },
    measure::Measured,
};
use serde_json::Value;

use super::super::{Say, runs::Planned, runs::fnv1a};
use super::Sizes;
use crate::error::{Result, StudyError, io};

/// The kinds of measurements.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Minima,
    Spectrum,
    Trace,
    Density,
    Landscape,
    Sharpness,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Minima => "minima",
            Self::Spectrum => "spectrum",
            Self::Trace => "trace",
            Self::Density => "density",
            Self::Landscape => "landscape",
            Self::Sharpness => "sharpness",
        }
    }

    /// Measures into the folder. Returns whether the measurement is finished.
    fn take(
        self,
        sizes: &Sizes,
        subject: SubjectRequest,
        out: &Path,
        stop: &AtomicBool,
    ) -> TrainResult<bool> {
        let surveyed = |subject| GeometryRequest { subject, out: out.to_path_buf() };
        let measured = |subject| CurvatureRequest {
            resume: out.join("state.safetensors").is_file(),
            ..CurvatureRequest::new(subject, out)
        };
        match self {
            Self::Minima => {
                let request = MinimaRequest {
                    directions: sizes.directions,
                    refine: sizes.refine,
                    resolutions: vec![0.0, 1e-6, 1e-4],
                    ..MinimaRequest::new(surveyed(subject))
                };
                geometry::minima(&request, &mut (), stop).map(|ended| matches!(ended, Measured::Finished(_)))
            }
            Self::Landscape => {
                // All nets have one seed of directions, which are normal vectors scaled to each net's filters.
                let axes =
                    Axes::Random { count: 2, seed: 0, scaling: Scaling::Filter, small: SmallTensors::Fixed };
                let (common, points) = (surveyed(subject), vec![sizes.grid]);
                let request = LandscapeRequest { common, axes, ranges: Vec::new(), points };
                geometry::landscape(&request, &mut (), stop)
                    .map(|ended| matches!(ended, Measured::Finished(_)))
            }
            Self::Sharpness => {
                let request = SharpnessRequest {
                    rhos: vec![0.05, 0.1],
                    steps: 4,
                    starts: 1,
                    ..SharpnessRequest::new(surveyed(subject))
                };
                geometry::sharpness(&request, &mut (), stop)
                    .map(|ended| matches!(ended, Measured::Finished(_)))
            }
            Self::Spectrum => {
                let request = SpectrumRequest {
                    tolerance: 1e-2,
                    max_matvecs: sizes.matvecs,
                    ..SpectrumRequest::new(measured(subject), sizes.eigenvalues)
                };
                curvature::spectrum(&request, &mut (), stop)
                    .map(|ended| matches!(ended, Measured::Finished(_)))
            }
            Self::Trace => {
                let rule = Stopping { max_samples: sizes.samples, ..Stopping::default() };
                let request = TraceRequest { rule, block: 8, ..TraceRequest::new(measured(subject)) };
                curvature::trace(&request, &mut (), stop).map(|ended| matches!(ended, Measured::Finished(_)))
            }
            Self::Density => {
                let mut request = DensityRequest::new(measured(subject));
                (request.options.starts, request.options.steps) = (1, sizes.density_steps);
                curvature::density(&request, &mut (), stop)
                    .map(|ended| matches!(ended, Measured::Finished(_)))
            }
        }
    }
}

pub(super) struct Measurements<'a> {
    pub(super) out: &'a Path,
    pub(super) stop: &'a AtomicBool,
    pub(super) say: Say<'a>,
}

impl Measurements<'_> {
    /// The report of a measurement of a run's weights, from its `KIND.json`, and its folder. `name` is for people.
    ///
    /// # Errors
    /// A measurement that fails; an interruption.
    pub(super) fn take(
        &mut self,
        name: &str,
        kind: Kind,
        sizes: &Sizes,
        (planned, weights): (&Planned, PathBuf),
    ) -> Result<(Value, PathBuf)> {
        // The address does not depend on the places of data and runs.
        let file = weights.file_name().unwrap_or_default().to_string_lossy();
        let address = fnv1a(&format!(
            "{kind:?} of {} {file}: {sizes:?}",
            planned.run.folder.file_name().unwrap_or_default().to_string_lossy()
        ));
        let word = kind.name();
        let folder = format!("{}-{word}-{address:016x}", name.replace(['/', ' '], "-"));
        let folder = self.out.join("measures").join(folder);
        let report = folder.join(format!("{word}.json"));
        if !report.is_file() {
            if self.stop.load(Ordering::Relaxed) {
                return Err(StudyError::Interrupted);
            }
            (self.say)(&format!("measuring: {word} of {name}"));
            if !kind.take(sizes, subject(planned, weights, sizes), &folder, self.stop)? {
                return Err(StudyError::Interrupted);
            }
        }
        let text = std::fs::read_to_string(&report).map_err(io(&report, "read"))?;
        let found = serde_json::from_str(&text)
            .map_err(|error| StudyError::File { path: report, problem: error.to_string() })?;
        Ok((found, folder))
    }
}

/// The run's weights on the figure's images.
fn subject(planned: &Planned, weights: PathBuf, sizes: &Sizes) -> SubjectRequest {
    // One measurement at a time has every core; the recipe's number of threads is that of a run beside others.
    let mut overrides = vec!["train.threads=0".to_owned()];
    // Quoted, so that no path is taken for another TOML type.
    overrides.extend(
        planned.run.recipe.data.dir.as_ref().map(|dir| format!("data.dir={}", Value::from(dir.as_str()))),
    );
    SubjectRequest { overrides, sample: Some(Sample::Count(sizes.images)), ..SubjectRequest::new(weights) }
}

/// The numbers of a CSV file that a measurement left: rows, without the header.
///
/// # Errors
/// A file that cannot be read, a field that is no number.
pub(super) fn table(path: &Path) -> Result<Vec<Vec<f64>>> {
    let text = std::fs::read_to_string(path).map_err(io(path, "read"))?;
    // An empty field stands for a number that does not exist.
    let field = |field: &str| if field.is_empty() { Ok(f64::NAN) } else { field.parse() };
    let row = |line: &str| {
        let row: std::result::Result<Vec<f64>, _> = line.split(',').map(field).collect();
        row.map_err(|error| StudyError::File {
            path: path.to_path_buf(),
            problem: format!("expected numbers, found `{line}` ({error})"),
        })
    };
    text.lines().skip(1).map(row).collect()
}
