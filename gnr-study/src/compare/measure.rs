//! The sharpness of the loss at the weights of a finished run: λ₁, the trace, R_SAM and R_GNR on a fixed sample of
//! training images.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use gnr_train::{
    Sample, SubjectRequest,
    curvature::{self, CurvatureRequest, SpectrumRequest, TraceRequest},
    geometry::{self, GeometryRequest, SharpnessRequest},
    measure::Measured,
    write_atomically,
};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Result, StudyError, io},
    lock::FolderLock,
    origin::checksum,
    runner::{Follow, Run, Workers},
};

/// The settings of sharpness measurements, equal for every run of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Number of training images, each class in proportion, drawn with seed 0.
    pub images: usize,
    /// Number of random sign vectors for the trace (Hutchinson).
    pub probes: usize,
    /// Radius ρ of R_SAM and R_GNR.
    pub rho: f64,
    /// Number of points that each ascent looks at.
    pub steps: usize,
}

impl Setting {
    /// At most 512 images, 16 probes, ρ = 0.1, ascents of 5 points.
    pub fn of(training_images: usize) -> Self {
        Self { images: training_images.min(512), probes: 16, rho: 0.1, steps: 5 }
    }
}

/// Reads a number that JSON cannot hold, which is written as `null`, as NaN.
fn number<'de, D: serde::Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(from)?.unwrap_or(f64::NAN))
}

/// The sharpness of the training loss at the weights of one run, BatchNorm on running statistics.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sharpness {
    /// The settings of the measurement.
    pub setting: Setting,
    /// Largest eigenvalue of the Hessian, to 1 %.
    #[serde(deserialize_with = "number")]
    pub lambda_max: f64,
    /// Estimate of the Hessian's trace.
    #[serde(deserialize_with = "number")]
    pub trace: f64,
    /// Standard error of `trace`, which comes of the probes alone.
    #[serde(deserialize_with = "number")]
    pub trace_standard_error: f64,
    /// Lower bound of max L̂(θ') − L̂(θ) over ‖θ' − θ‖ ≤ ρ.
    #[serde(deserialize_with = "number")]
    pub r_sam: f64,
    /// Lower bound of ρ·max ‖∇L̂(θ')‖ over ‖θ' − θ‖ ≤ ρ.
    #[serde(deserialize_with = "number")]
    pub r_gnr: f64,
}

/// The file of a measurement: the sharpness, and which weights it is of.
#[derive(Serialize, Deserialize)]
struct Recorded {
    #[serde(flatten)]
    found: Sharpness,
    /// CRC-32C of the file of the weights. Earlier versions of the program did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weights: Option<u32>,
}

/// A point to be measured: its weights, and the folder of its results.
#[derive(Clone, Debug)]
pub(super) struct Solution {
    weights: PathBuf,
    /// Folder of the measurement.
    folder: PathBuf,
}

impl Solution {
    /// The weights of a finished run of the comparison in `folder`, and where their measurement lies.
    pub(super) fn of(run: &Run, folder: &Path) -> Self {
        let name = run.folder.file_name().unwrap_or_default();
        Self { weights: weights_of(&run.folder), folder: folder.join("measures").join(name) }
    }

    /// The weights of a run of a comparison, whose folder is two levels above; `None` if there is no such folder.
    fn beside(run: &Path) -> Option<Self> {
        let folder = run.parent()?.parent()?.join("measures").join(run.file_name()?);
        Some(Self { weights: weights_of(run), folder })
    }

    fn file(&self) -> PathBuf {
        self.folder.join("sharpness-at-rho.json")
    }

    /// The file of an earlier measurement; `None` if there is none.
    fn recorded(&self) -> Result<Option<Recorded>> {
        let path = self.file();
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.map_err(io(&path, "read"))?,
        };
        let found = serde_json::from_str(&text);
        found.map(Some).map_err(|error| StudyError::File { path, problem: error.to_string() })
    }

    /// The measurement of an earlier call with the same setting, unless the run was trained anew since.
    fn known(&self, setting: Setting) -> Option<Sharpness> {
        // A damaged file is as good as none: the solution is measured again.
        let recorded = self.recorded().ok()??;
        (recorded.found.setting == setting && self.is_of(&recorded)).then_some(recorded.found)
    }

    /// Whether a measurement is of the present weights. Without a file of weights there is nothing to compare with, as
    /// where only results were carried to another machine.
    fn is_of(&self, recorded: &Recorded) -> bool {
        let Ok(weights) = fs::metadata(&self.weights) else { return true };
        match recorded.weights {
            Some(sum) => checksum(&self.weights).is_ok_and(|now| now == sum),
            // Without a checksum, a measurement that is older than the weights is not of them.
            None => {
                let measured = fs::metadata(self.file()).and_then(|file| file.modified());
                weights
                    .modified()
                    .ok()
                    .zip(measured.ok())
                    .is_none_or(|(weights, measured)| weights <= measured)
            }
        }
    }

    /// Measures the solution, unless an earlier call or another process did so with this setting. `begins` is called
    /// first if there is something to do or to wait for. `None`: the work was asked to stop.
    pub(super) fn measure(
        &self,
        setting: Setting,
        begins: &dyn Fn(),
        stop: &AtomicBool,
    ) -> Result<Option<Sharpness>> {
        if let Some(known) = self.known(setting) {
            return Ok(Some(known));
        }
        begins();
        let Some(_alone) = FolderLock::wait(&self.folder, "measure", stop)? else { return Ok(None) };
        if let Some(known) = self.known(setting) {
            return Ok(Some(known));
        }
        if !self.weights.is_file() {
            let problem = "expected the weights of a finished run, to measure how sharp the loss is there, and found no file; remove \
                           the run's folder to train it again, or leave sharpness out (--no-sharpness)";
            return Err(StudyError::File { path: self.weights.clone(), problem: problem.into() });
        }
        // Before measuring, so that weights which change meanwhile are measured again.
        let weights = Some(checksum(&self.weights)?);
        let subject = || SubjectRequest {
            sample: Some(Sample::Count(setting.images)),
            ..SubjectRequest::new(&self.weights)
        };
        let part = |name: &str| -> Result<PathBuf> {
            let folder = self.folder.join(name);
            // A stopped part takes only seconds to repeat, and a finished part of another setting is of no use.
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(io(&folder, "remove")(error)),
                _ => Ok(folder),
            }
        };
        let common = CurvatureRequest::new(subject(), part("spectrum")?);
        let spectrum = SpectrumRequest { tolerance: 1e-2, ..SpectrumRequest::new(common, 1) };
        let Measured::Finished(spectrum) = curvature::spectrum(&spectrum, &mut (), stop)? else {
            return Ok(None);
        };
        let common = CurvatureRequest { check: false, ..CurvatureRequest::new(subject(), part("trace")?) };
        let mut trace = TraceRequest::new(common);
        trace.rule.max_samples = setting.probes;
        let Measured::Finished(trace) = curvature::trace(&trace, &mut (), stop)? else { return Ok(None) };
        let common = GeometryRequest { subject: subject(), out: part("ball")? };
        let mut ball = SharpnessRequest::new(common);
        (ball.rhos, ball.steps, ball.starts) = (vec![setting.rho], setting.steps, 0);
        let Measured::Finished(ball) = geometry::sharpness(&ball, &mut (), stop)? else { return Ok(None) };
        let best = |measure: &str| {
            let of = ball.bounds.iter().filter(|bound| bound.measure == measure);
            of.map(|bound| bound.lower_bound).fold(f64::NEG_INFINITY, f64::max)
        };
        let found = Sharpness {
            setting,
            lambda_max: spectrum.pairs.first().map_or(f64::NAN, |pair| pair.eigenvalue),
            trace: trace.trace,
            trace_standard_error: trace.standard_error.unwrap_or(0.0),
            r_sam: best("r_sam"),
            r_gnr: best("r_gnr"),
        };
        let recorded = Recorded { found, weights };
        let text =
            serde_json::to_string_pretty(&recorded).map_err(|e| io(&self.file(), "write")(e.into()))?;
        write_atomically(&self.file(), (text + "\n").as_bytes())?;
        Ok(Some(found))
    }
}

/// The sharpness that a comparison measured of the run in this folder, and whether it is of the run's present weights.
///
/// # Errors
/// A file of a measurement that cannot be read.
pub(crate) fn measured_of(run: &Path) -> Result<Option<(Sharpness, bool)>> {
    let Some(solution) = Solution::beside(run) else { return Ok(None) };
    let recorded = solution.recorded()?;
    Ok(recorded.map(|recorded| (recorded.found, solution.is_of(&recorded))))
}

/// Measures runs when they are finished.
pub(super) struct Measuring<'a> {
    /// The comparison's folder.
    pub(super) folder: &'a Path,
    pub(super) setting: Setting,
    pub(super) stop: &'a AtomicBool,
}

impl Follow for Measuring<'_> {
    fn follow(&self, run: &Run, begins: &dyn Fn()) -> Result<()> {
        Solution::of(run, self.folder).measure(self.setting, begins, self.stop).map(drop)
    }
}

/// The measurements of all solutions. Missing ones are made now, `workers.jobs` at a time; `told` gets the numbers of
/// those that are done and of all missing ones. `None`: the work was asked to stop.
pub(super) fn measure_all(
    solutions: &[Solution],
    setting: Setting,
    workers: Workers,
    told: &(dyn Fn(usize, usize) + Sync),
    stop: &AtomicBool,
) -> Result<Option<Vec<Sharpness>>> {
    let mut found: Vec<Option<Sharpness>> =
        solutions.iter().map(|solution| solution.known(setting)).collect();
    let missing: Vec<usize> = (0..found.len()).filter(|index| found[*index].is_none()).collect();
    let (made, failed) = (Mutex::new(Vec::new()), Mutex::new(None));
    let next = AtomicUsize::new(0);
    if !missing.is_empty() {
        told(0, missing.len());
    }
    std::thread::scope(|scope| {
        for _ in 0..workers.jobs.clamp(1, missing.len().max(1)) {
            scope.spawn(|| {
                while let Some(&index) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if stop.load(Ordering::Relaxed) || locked(&failed).is_some() {
                        return;
                    }
                    let measured = match solutions[index].measure(setting, &|| {}, stop) {
                        Ok(Some(measured)) => measured,
                        Ok(None) => return,
                        Err(error) => {
                            locked(&failed).get_or_insert(error);
                            return;
                        }
                    };
                    let done = {
                        let mut made = locked(&made);
                        made.push((index, measured));
                        made.len()
                    };
                    told(done, missing.len());
                }
            });
        }
    });
    if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    for (index, measured) in made.into_inner().unwrap_or_else(PoisonError::into_inner) {
        found[index] = Some(measured);
    }
    Ok(found.into_iter().collect())
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The weights that stand for a run: the averaged ones of a run that averages, else the last.
fn weights_of(run: &Path) -> PathBuf {
    let checkpoints = run.join("checkpoints");
    let average = checkpoints.join("average.safetensors");
    if average.is_file() { average } else { checkpoints.join("last.safetensors") }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        time::{Duration, SystemTime},
    };

    use super::*;

    #[test]
    fn a_measurement_of_other_weights_is_not_taken() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let run = at("study/runs/run");
        let solution = Solution::beside(&run).unwrap();
        assert_eq!(solution.folder, at("study/measures/run"));
        fs::create_dir_all(&solution.folder).unwrap();
        fs::create_dir_all(run.join("checkpoints")).unwrap();
        fs::write(&solution.weights, "first").unwrap();
        let setting = Setting::of(100);
        let found = Sharpness {
            setting,
            lambda_max: 1.0,
            trace: f64::NAN,
            trace_standard_error: 0.5,
            r_sam: 2.0,
            r_gnr: 0.1,
        };
        let record = |weights| {
            let text = serde_json::to_string(&Recorded { found, weights }).unwrap();
            fs::write(solution.file(), text).unwrap();
        };
        let known = || solution.known(setting).map(|found| (found.lambda_max, found.r_gnr));
        record(Some(checksum(&solution.weights).unwrap()));
        assert_eq!(known(), Some((1.0, 0.1)));
        assert!(solution.known(Setting::of(99)).is_none());
        let present = || measured_of(&run).unwrap().map(|(_, present)| present);
        assert_eq!(present(), Some(true));
        fs::write(&solution.weights, "second").unwrap();
        assert_eq!(known(), None);
        assert_eq!(present(), Some(false), "told on the run's page");
        // Earlier versions did not write the checksum: then the weights must not be younger.
        record(None);
        let written = |by: i64| {
            let (now, by) = (SystemTime::now(), (Duration::from_secs(by.unsigned_abs()), by < 0));
            let time = if by.1 { now - by.0 } else { now + by.0 };
            File::options().write(true).open(&solution.weights).unwrap().set_modified(time).unwrap();
        };
        written(-60);
        assert_eq!(known(), Some((1.0, 0.1)));
        written(60);
        assert_eq!(known(), None);
        fs::remove_file(&solution.weights).unwrap();
        assert_eq!(known(), Some((1.0, 0.1)), "only the results are here");
        fs::write(solution.file(), "{").unwrap();
        assert!(
            known().is_none() && measured_of(&run).is_err(),
            "measured again, and told on the run's page"
        );
    }
}
