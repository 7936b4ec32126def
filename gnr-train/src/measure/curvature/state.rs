//! Unfinished work as a safetensors file: vectors in their own precision, small matrices in double precision, the rest
//! as JSON.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{ErrorKind, Read as _},
    path::Path,
};

use gnr_hessian::{Good, LanczosState, dense::Square};
use gnr_nn::{Autodiff, ParamVector};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::session::PointProbes;
use crate::{
    error::{Result, TrainError, io},
    recipe::Precision,
    team::Team,
};

/// Name of the state file.
pub(super) const FILE: &str = "state.safetensors";
const ENTRY: &str = "gnr-curvature";
const FORMAT: u32 = 1;

/// The header of a state: everything but the vectors and matrices.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Header {
    format: u32,
    /// The request, which must be equal for the work to continue.
    request: Value,
    runs: Vec<Run>,
    /// Values that belong to the kind of work.
    rest: Value,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Run {
    basis: usize,
    next: usize,
    kept: usize,
    good: Vec<(f64, f64)>,
    num_matvecs: usize,
    restarts: usize,
    draws: u64,
    progress: Vec<(f64, f64)>,
    converged: usize,
}

/// Several Lanczos runs, with other values of the work.
pub(super) struct Saved<B: Autodiff> {
    pub(super) runs: Vec<LanczosState<ParamVector<B>>>,
    pub(super) rest: Value,
}

/// Makes the bytes of a state file.
pub(super) fn to_bytes<B: Autodiff>(
    runs: &[LanczosState<ParamVector<B>>],
    rest: Value,
    request: &Value,
    precision: Precision,
) -> Result<Vec<u8>> {
    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    let wide = |values: &[f64]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let mut headers = Vec::new();
    for (r, run) in runs.iter().enumerate() {
        let good = run.good.iter().map(|good| &good.vector);
        let groups: [(&str, Vec<&ParamVector<B>>); 3] = [
            ("basis", run.basis.iter().collect()),
            ("next", run.next.iter().collect()),
            ("good", good.collect()),
        ];
        for (group, vectors) in groups {
            for (k, vector) in vectors.into_iter().enumerate() {
                let flat = vector.to_host()?.concat();
                let (dtype, bytes) = if precision.is_double() {
                    (Dtype::F64, wide(&flat))
                } else {
                    (Dtype::F32, flat.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect())
                };
                tensors.push((format!("{r}.{group}.{k}"), dtype, vec![flat.len()], bytes));
            }
        }
        let n = run.basis.len();
        tensors.push((format!("{r}.projected"), Dtype::F64, vec![n, n], wide(run.projected.entries())));
        let coupling = run.coupling.concat();
        tensors.push((format!("{r}.coupling"), Dtype::F64, vec![run.next.len(), n], wide(&coupling)));
        headers.push(Run {
            basis: n,
            next: run.next.len(),
            kept: run.kept,
            good: run.good.iter().map(|good| (good.value, good.residual)).collect(),
            num_matvecs: run.num_matvecs,
            restarts: run.restarts,
            draws: run.draws,
            progress: run.progress.clone(),
            converged: run.converged,
        });
    }
    let header = Header { format: FORMAT, request: request.clone(), runs: headers, rest };
    let invalid = |error: &dyn std::fmt::Display| gnr_nn::Error::Invalid(format!("state: {error}"));
    let entry = serde_json::to_string(&header).map_err(|e| invalid(&e))?;
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).map_err(|e| invalid(&e))?))
        })
        .collect::<Result<Vec<_>>>()?;
    let metadata = HashMap::from([(ENTRY.to_owned(), entry)]);
    Ok(safetensors::serialize(views, Some(metadata)).map_err(|e| invalid(&e))?)
}

/// The kind of the unfinished work in a folder, from the head of the state; `None` when there is none.
///
/// # Errors
/// A file that cannot be read or is no state.
pub(super) fn work_in(folder: &Path) -> Result<Option<String>> {
    let path = folder.join(FILE);
    let mut file = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(io(&path, "open"))?,
    };
    let (mut length, mut head) = ([0; 8], Vec::new());
    let read = file
        .read_exact(&mut length)
        .and_then(|()| file.take(u64::from_le_bytes(length)).read_to_end(&mut head));
    let work = || {
        read.ok()?;
        let head: Value = serde_json::from_slice(&head).ok()?;
        let header: Value = serde_json::from_str(head["__metadata__"][ENTRY].as_str()?).ok()?;
        header["request"]["work"].as_str().map(str::to_owned)
    };
    let problem = "damaged, or not unfinished work; choose another --out".into();
    work().map(Some).ok_or(TrainError::Checkpoint { path, problem })
}

/// Reads the state in rank 0's folder; `None` when there is none. A state of an `earlier` program is taken if it is not
/// older than the file of the `weights`.
///
/// # Errors
/// A damaged file, or one of another request.
pub(super) fn read<B: Autodiff>(
    team: &Team,
    (folder, weights): (&Path, &Path),
    request: &Value,
    earlier: &Value,
    probes: &PointProbes<B>,
) -> Result<Option<Saved<B>>> {
    let path = folder.join(FILE);
    let written = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    // The first byte tells whether there is a state, and whether it is younger than the weights.
    let bytes = team.share(|| match fs::read(&path) {
        Ok(bytes) => {
            let younger =
                written(weights).zip(written(&path)).is_some_and(|(weights, state)| weights <= state);
            Ok([vec![if younger { 2 } else { 1 }], bytes].concat())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(vec![0]),
        Err(error) => Err(io(&path, "read")(error)),
    })?;
    let requests = match bytes.first() {
        Some(2) => &[request, earlier][..],
        Some(1) => &[request],
        _ => return Ok(None),
    };
    let (runs, rest) = parse(&path, &bytes[1..], requests, |values| Ok(probes.vector(values)?))?;
    Ok(Some(Saved { runs, rest }))
}

/// Parses the state in the file at `path` from its contents `bytes`. It must be of one of the `requests`. `vector`
/// makes vectors of their elements.
pub(crate) fn parse<V>(
    path: &Path,
    bytes: &[u8],
    requests: &[&Value],
    vector: impl Fn(&[f64]) -> Result<V>,
) -> Result<(Vec<LanczosState<V>>, Value)> {
    let problem = |problem: String| TrainError::Checkpoint { path: path.to_path_buf(), problem };
    let damaged = |error: safetensors::SafeTensorError| problem(format!("damaged: {error}"));
    let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let entry = metadata.metadata().as_ref().and_then(|entries| entries.get(ENTRY));
    let entry = entry.ok_or_else(|| problem(format!("no metadata entry `{ENTRY}`: not unfinished work")))?;
    let header: Header =
        serde_json::from_str(entry).map_err(|error| problem(format!("damaged metadata: {error}")))?;
    if header.format != FORMAT {
        return Err(problem(format!("state format {}, this program reads {FORMAT}", header.format)));
    }
    if !requests.contains(&&header.request) {
        return Err(problem(format!(
            "is of another request.\n  it was asked: {}\n  now asked:    {}",
            header.request,
            requests.first().copied().unwrap_or(&Value::Null)
        )));
    }
    let numbers = |name: String, len: Option<usize>| -> Result<Vec<f64>> {
        let tensor = file.tensor(&name).map_err(|_| problem(format!("tensor `{name}` is missing")))?;
        let values: Vec<f64> = match tensor.dtype() {
            Dtype::F32 => {
                tensor.data().as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect()
            }
            Dtype::F64 => tensor.data().as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
            other => return Err(problem(format!("tensor `{name}` holds {other:?}, expected F32 or F64"))),
        };
        match len {
            Some(len) if len != values.len() => {
                Err(problem(format!("tensor `{name}` has {} elements, expected {len}", values.len())))
            }
            _ => Ok(values),
        }
    };
    let runs = header
        .runs
        .iter()
        .enumerate()
        .map(|(r, run)| {
            let vectors = |group: &str, count: usize| {
                (0..count)
                    .map(|k| vector(&numbers(format!("{r}.{group}.{k}"), None)?))
                    .collect::<Result<Vec<_>>>()
            };
            // Numbers of vectors are trusted once the vectors are there.
            let (basis, next) = (vectors("basis", run.basis)?, vectors("next", run.next)?);
            let n = run.basis;
            if run.kept > n {
                return Err(problem(format!("expected at most {n} kept vectors, found {}", run.kept)));
            }
            let coupling = numbers(format!("{r}.coupling"), Some(n * run.next))?;
            let coupling = match n {
                0 => vec![Vec::new(); run.next],
                n => coupling.chunks(n).map(<[f64]>::to_vec).collect(),
            };
            let projected = Square::from_entries(numbers(format!("{r}.projected"), Some(n * n))?);
            let good = vectors("good", run.good.len())?.into_iter().zip(&run.good);
            Ok(LanczosState {
                basis,
                next,
                projected: projected.ok_or_else(|| problem("the projected matrix is not square".into()))?,
                coupling,
                kept: run.kept,
                good: good.map(|(vector, &(value, residual))| Good { vector, value, residual }).collect(),
                num_matvecs: run.num_matvecs,
                restarts: run.restarts,
                draws: run.draws,
                progress: run.progress.clone(),
                converged: run.converged,
            })
        })
        .collect::<Result<_>>()?;
    Ok((runs, header.rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A state without any tensor, whose header claims these numbers of vectors.
    fn read(basis: u64, next: u64) -> String {
        let run = serde_json::json!({
            "basis": basis, "next": next, "kept": 0, "good": [], "num_matvecs": 0, "restarts": 0, "draws": 0, "progress": [],
            "converged": 0,
        });
        let header = serde_json::json!({ "format": FORMAT, "request": 1, "runs": [run], "rest": null });
        let metadata = HashMap::from([(ENTRY.to_owned(), header.to_string())]);
        let bytes = safetensors::serialize(Vec::<(&str, TensorView<'_>)>::new(), Some(metadata)).unwrap();
        let found = parse(Path::new("FILE"), &bytes, &[&1.into()], |values| Ok(values.to_vec()));
        found.err().unwrap().to_string()
    }

    #[test]
    fn numbers_of_vectors_are_believed_once_the_vectors_are_there() {
        for (basis, next, missing) in
            [(0, 1 << 60, "0.next.0"), (1 << 60, 1 << 60, "0.basis.0"), (0, 0, "0.coupling")]
        {
            let error = read(basis, next);
            assert!(error.contains(&format!("tensor `{missing}` is missing")), "{error}");
        }
    }
}
