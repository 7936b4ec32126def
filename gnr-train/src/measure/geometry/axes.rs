//! The directions of a landscape and their sources.

use std::{fs, path::Path};

use gnr_core::Vector as _;
use gnr_hessian::{
    Distribution, Scaling, SmallTensors, Subspace, host_probes, principal_directions, scale_direction,
};
use gnr_models::weights::WeightsError;
use gnr_nn::{Autodiff, Buffers, Entry, ParamVector};
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;
use std::path::PathBuf;

use super::survey::{by_tensor, to_device};
use crate::{
    checkpoint::kept_checkpoints,
    error::{Result, TrainError, io},
    folder::is_run,
    subject::{Subject, weight_file},
};

/// The directions along which the loss is shown. One gives a line, two a plane.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Axes {
    /// Normal random directions.
    Random {
        /// Number of directions, 1 or 2.
        count: usize,
        /// Seed of the directions.
        seed: u64,
        /// Scaling of the directions' lengths.
        #[serde(serialize_with = "scaling_name")]
        scaling: Scaling,
        /// Whether biases and BatchNorm parameters move.
        #[serde(serialize_with = "small_name")]
        small: SmallTensors,
    },
    /// Directions from the checkpoint (coordinate 0) to one or two others (coordinate 1). Running statistics of
    /// BatchNorm are interpolated like the weights, so that the loss at each checkpoint is its own.
    Checkpoints {
        /// The other checkpoints, as run folders or weight files.
        to: Vec<PathBuf>,
    },
    /// Eigenvectors that `gnr spectrum --save` wrote, scaled to norm 1.
    Eigenvectors {
        /// Path of the `eigenvectors.safetensors` file.
        file: PathBuf,
        /// Indices of one or two of them, from 0.
        ranks: Vec<usize>,
    },
    /// The two principal directions of the weights that the run kept (`train.keep_every_epochs`), of norm 1. The origin
    /// is the checkpoint, with its own running statistics.
    Trajectory,
}

fn scaling_name<S: serde::Serializer>(scaling: &Scaling, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match scaling {
        Scaling::Unit => "unit",
        Scaling::Filter => "filter",
        Scaling::Layer => "layer",
    })
}

fn small_name<S: serde::Serializer>(small: &SmallTensors, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match small {
        SmallTensors::Fixed => "fixed",
        SmallTensors::Scaled => "scaled",
    })
}

/// A line or plane on a backend.
pub(super) struct Plane<B: Autodiff> {
    pub(super) subspace: Subspace<ParamVector<B>>,
    /// The names of the directions.
    pub(super) labels: Vec<String>,
    /// Running statistics at the ends of the axes, where they change.
    pub(super) statistics: Option<Vec<Buffers<B>>>,
    /// The kept checkpoints: epoch, coordinates, distance from the plane.
    pub(super) route: Vec<(u64, Vec<f64>, f64)>,
    /// Fraction of the trajectory's variance along each direction.
    pub(super) explained: Option<Vec<f64>>,
}

impl Axes {
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Random { count, .. } => *count,
            Self::Checkpoints { to } => to.len(),
            Self::Eigenvectors { ranks, .. } => ranks.len(),
            Self::Trajectory => 2,
        }
    }

    /// The default range of the coordinates.
    pub(super) fn usual_range(&self) -> [f64; 2] {
        match self {
            Self::Checkpoints { .. } => [-0.5, 1.5],
            Self::Random { .. } | Self::Eigenvectors { .. } | Self::Trajectory => [-1.0, 1.0],
        }
    }

    pub(super) fn plane<B: Autodiff>(&self, subject: &mut Subject<'_, B>) -> Result<Plane<B>> {
        let origin = subject.start();
        let entries: Vec<Entry> = subject.entries().into_iter().cloned().collect();
        match self {
            Self::Random { count, seed, scaling, small } => {
                let theta = origin.to_host()?;
                let draws = (0..*count as u64)
                    .map(|index| random(subject, &entries, &theta, *seed, index, *scaling, *small));
                let axes = draws.collect::<Result<Vec<_>>>()?;
                let name = match scaling {
                    Scaling::Unit => "of norm 1",
                    Scaling::Filter => "filter-normalised",
                    Scaling::Layer => "layer-normalised",
                };
                plain(origin, axes, (1..=*count).map(|k| format!("random direction {k}, {name}")).collect())
            }
            Self::Checkpoints { to } => {
                let (mut axes, mut statistics) = (Vec::new(), Vec::new());
                for weights in to {
                    let (whole, buffers) = subject.load(weights)?;
                    let mut axis = subject.oracle()?.free_part(&whole)?;
                    axis.axpy(-1.0, &origin)?;
                    if axis.norm()? == 0.0 {
                        let path = weights.display();
                        return Err(TrainError::Request(format!("{path} has the same weights as the first")));
                    }
                    axes.push(axis);
                    statistics.push(buffers);
                }
                let labels = to.iter().map(|path| format!("towards {}", short(path))).collect();
                Ok(Plane { statistics: Some(statistics), ..plain(origin, axes, labels)? })
            }
            Self::Eigenvectors { file, ranks } => {
                let bytes = fs::read(file).map_err(io(file, "read"))?;
                let axes = ranks.iter().map(|rank| eigenvector(subject, &entries, file, &bytes, *rank));
                let labels = ranks.iter().map(|rank| format!("eigenvector {}, of norm 1", rank + 1));
                plain(origin, axes.collect::<Result<_>>()?, labels.collect())
            }
            Self::Trajectory => trajectory(subject, origin),
        }
    }

    /// Checksums of the files from which the directions are made.
    pub(super) fn checksums(&self, subject: &Path) -> Result<Vec<String>> {
        let files = match self {
            Self::Random { .. } => Vec::new(),
            Self::Checkpoints { to } => to.iter().map(|path| weight_file(path)).collect(),
            Self::Eigenvectors { file, .. } => vec![file.clone()],
            Self::Trajectory => run_of(subject)
                .map(kept_checkpoints)
                .transpose()?
                .into_iter()
                .flatten()
                .map(|(_, path)| path)
                .collect(),
        };
        let checksum = |path: &PathBuf| {
            let bytes = fs::read(path).map_err(io(path, "read"))?;
            Ok(format!("{:08x}", crc32c::crc32c(&bytes)))
        };
        files.iter().map(checksum).collect()
    }
}

/// The folder of the run to which a checkpoint belongs.
fn run_of(weights: &Path) -> Option<&Path> {
    weights.parent().and_then(Path::parent).filter(|run| is_run(run))
}

fn plain<B: Autodiff>(
    origin: ParamVector<B>,
    axes: Vec<ParamVector<B>>,
    labels: Vec<String>,
) -> Result<Plane<B>> {
    Ok(Plane {
        subspace: Subspace::new(origin, axes)?,
        labels,
        statistics: None,
        route: Vec::new(),
        explained: None,
    })
}

/// Direction number `index` of a seed: drawn normally, then scaled.
pub(super) fn random<B: Autodiff>(
    subject: &Subject<'_, B>,
    entries: &[Entry],
    theta: &[Vec<f64>],
    seed: u64,
    index: u64,
    scaling: Scaling,
    small: SmallTensors,
) -> Result<ParamVector<B>> {
    let dim = entries.iter().map(Entry::len).sum();
    let flat = host_probes::<f64>(dim, seed).draw(Distribution::Gaussian, index)?;
    let mut direction = by_tensor(entries, &flat);
    let shapes: Vec<Vec<usize>> = entries.iter().map(|entry| entry.shape.clone()).collect();
    scale_direction(&mut direction, theta, &shapes, scaling, small)?;
    to_device(&subject.backend, entries, &direction)
}

fn eigenvector<B: Autodiff>(
    subject: &Subject<'_, B>,
    entries: &[Entry],
    file: &Path,
    bytes: &[u8],
    rank: usize,
) -> Result<ParamVector<B>> {
    let name = file.display().to_string();
    let damaged = |source| WeightsError::Damaged { file: name.clone(), length: bytes.len(), source };
    let tensors = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let problem = |problem: String| TrainError::Checkpoint { path: file.to_path_buf(), problem };
    let mut values = Vec::with_capacity(entries.len());
    for entry in entries {
        let key = format!("eigenvector.{rank}.{}", entry.name);
        let tensor = tensors.tensor(&key).map_err(|_| {
            problem(format!(
                "no tensor `{key}`: eigenvectors are written by `gnr spectrum --save`, with the same --layers"
            ))
        })?;
        if tensor.shape() != entry.shape {
            let (found, expected) = (tensor.shape(), &entry.shape);
            return Err(problem(format!("tensor `{key}` has shape {found:?}, expected {expected:?}")));
        }
        values.push(match tensor.dtype() {
            Dtype::F32 => {
                tensor.data().as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect()
            }
            Dtype::F64 => tensor.data().as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
            other => return Err(problem(format!("tensor `{key}` holds {other:?}, expected F32 or F64"))),
        });
    }
    to_device(&subject.backend, entries, &values)
}

/// The plane of the kept checkpoints.
fn trajectory<B: Autodiff>(subject: &mut Subject<'_, B>, origin: ParamVector<B>) -> Result<Plane<B>> {
    // The path of the weights is that of a file in the run's folder of checkpoints, even if a run folder was asked for.
    let weights = Path::new(&subject.description.weights);
    let Some(run) = run_of(weights) else {
        return Err(TrainError::Request(format!("{}: a trajectory needs a run folder", weights.display())));
    };
    let kept = kept_checkpoints(run)?;
    if kept.len() < 3 {
        return Err(TrainError::Request(format!(
            "{} keeps the weights of {} epochs; a plane needs 3: train with --set train.keep_every_epochs=1",
            run.display(),
            kept.len()
        )));
    }
    let mut checkpoints = Vec::with_capacity(kept.len());
    for (_, path) in &kept {
        let (whole, _) = subject.load(path)?;
        checkpoints.push(subject.oracle()?.free_part(&whole)?);
    }
    let found = principal_directions(&checkpoints, 2)?;
    let percent = |k: usize| 100.0 * found.explained[k];
    let labels = (0..2)
        .map(|k| format!("principal direction {} ({:.1} % of the variance)", k + 1, percent(k)))
        .collect();
    let mut plane = plain(origin, found.directions, labels)?;
    for ((epoch, _), checkpoint) in kept.iter().zip(&checkpoints) {
        let (coordinates, distance) = plane.subspace.project(checkpoint)?;
        plane.route.push((*epoch, coordinates, distance));
    }
    plane.explained = Some(found.explained);
    Ok(plane)
}

/// The short name of weights: `RUN` for `RUN/checkpoints/last.safetensors`, else the file's stem.
fn short(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    match run_of(path).and_then(Path::file_name) {
        Some(run) if stem == "last" => run.to_string_lossy().into_owned(),
        _ => stem,
    }
}
