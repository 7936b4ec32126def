//! What all surveys share: the subject, the points, the clock, stopping, the files.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use gnr_nn::{Autodiff, Entry, ParamVector};
use serde::Serialize;
use serde_json::{Value, json};

use super::points::Points;
use crate::{
    atomic::write_atomically,
    error::{Result, TrainError, io},
    subject::{Description, SubjectRequest, weight_file},
};

/// What every survey is asked.
#[derive(Clone, Debug)]
pub struct GeometryRequest {
    /// Of which network, on which images.
    pub subject: SubjectRequest,
    /// Folder of the results; made when it is not there. Points of the same request that lie there are used.
    pub out: PathBuf,
}

/// How far a survey is.
#[derive(Clone, Debug)]
pub struct GeometryEvent {
    /// Points done, those of earlier calls included.
    pub done: usize,
    /// Points in all.
    pub total: usize,
    /// Done by this process since it started.
    pub since: (Duration, usize),
    /// What is known so far, in words.
    pub message: String,
}

/// How a program watches a survey.
pub trait GeometryObserver: Send {
    /// Everything is open; the work begins.
    fn on_start(&mut self, subject: &Description) {
        let _ = subject;
    }
    /// After each point.
    fn on_progress(&mut self, event: &GeometryEvent) {
        let _ = event;
    }
}

impl GeometryObserver for () {}

/// How a survey ended.
#[derive(Clone, Debug)]
pub enum Surveyed<R> {
    /// With a result, which is also in the folder.
    Finished(R),
    /// The work was asked to stop; an equal request goes on from there.
    Interrupted {
        /// Points done.
        done: usize,
        /// Points in all.
        total: usize,
    },
}

/// The clock, the stop flag and the observer of one survey.
pub(super) struct Session<'a> {
    pub(super) request: &'a GeometryRequest,
    observer: &'a mut dyn GeometryObserver,
    stop: &'a AtomicBool,
    started: Instant,
    total: usize,
    before: usize,
    done: usize,
    points: Option<Points>,
}

/// The survey was asked to stop.
#[derive(Debug)]
pub(super) struct Stopped;

impl<'a> Session<'a> {
    pub(super) fn new(
        request: &'a GeometryRequest,
        observer: &'a mut dyn GeometryObserver,
        stop: &'a AtomicBool,
    ) -> Self {
        let started = Instant::now();
        Self { request, observer, stop, started, total: 0, before: 0, done: 0, points: None }
    }

    /// Opens the points and begins: `options` is what decides the points' values beside the subject, `keys` are all of them.
    pub(super) fn start(
        &mut self,
        subject: &Description,
        command: &str,
        options: Value,
        keys: impl Iterator<Item = String>,
    ) -> Result<()> {
        let weights = weight_file(&self.request.subject.weights);
        let checksum = crc32c::crc32c(&std::fs::read(&weights).map_err(io(&weights, "read"))?);
        // What a value depends on: not where the weights lie, nor the number of threads.
        let identity = json!({
            "command": command,
            "weights": format!("{checksum:08x}"),
            "model": subject.model,
            "data": subject.data,
            "data_checksum": subject.data_checksum,
            "batch_size": subject.batch_size,
            "batch_norm": subject.batch_norm,
            "label_smoothing": subject.label_smoothing,
            "layers": subject.layers,
            "precision": subject.precision,
            "options": options,
        });
        let points = Points::open(&self.request.out, &identity)?;
        for key in keys {
            self.total += 1;
            self.before += usize::from(points.get::<Value>(&key).is_some());
        }
        self.done = self.before;
        self.points = Some(points);
        self.observer.on_start(subject);
        self.started = Instant::now();
        Ok(())
    }

    /// The value of a point: as it was found, or found now and kept.
    pub(super) fn point<T: Serialize + serde::de::DeserializeOwned>(
        &mut self,
        key: &str,
        message: impl FnOnce(&T) -> String,
        find: impl FnOnce() -> Result<T>,
    ) -> Result<Result<T, Stopped>> {
        let Some(points) = &mut self.points else {
            return Err(TrainError::Request("a survey that was not started".into()));
        };
        if let Some(value) = points.get(key) {
            return Ok(Ok(value));
        }
        if self.stop.load(Ordering::Relaxed) {
            return Ok(Err(Stopped));
        }
        let value = find()?;
        points.put(key, &value)?;
        self.done += 1;
        self.observer.on_progress(&GeometryEvent {
            done: self.done,
            total: self.total,
            since: (self.started.elapsed(), self.done - self.before),
            message: message(&value),
        });
        Ok(Ok(value))
    }

    pub(super) fn interrupted<R>(&self) -> Surveyed<R> {
        Surveyed::Interrupted { done: self.done, total: self.total }
    }

    pub(super) fn write_csv<const N: usize>(
        &self,
        name: &str,
        columns: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Result<()> {
        let mut text = columns.join(",");
        text.push('\n');
        for row in rows {
            text.push_str(&row.join(","));
            text.push('\n');
        }
        write_atomically(&self.request.out.join(name), text.as_bytes())
    }

    pub(super) fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let path = self.request.out.join(name);
        let invalid = |error: serde_json::Error| TrainError::Folder {
            path: path.clone(),
            problem: format!("cannot be written as JSON: {error}"),
        };
        let mut text = serde_json::to_string_pretty(value).map_err(invalid)?;
        text.push('\n');
        write_atomically(&path, text.as_bytes())
    }
}

/// A vector of the space of `entries` from host data.
pub(super) fn to_device<B: Autodiff>(
    backend: &B,
    entries: &[Entry],
    values: &[Vec<f64>],
) -> Result<ParamVector<B>> {
    let tensors = (entries.iter().zip(values))
        .map(|(entry, values)| backend.constant(values, &entry.shape))
        .collect::<gnr_nn::Result<_>>()?;
    Ok(ParamVector::new(backend.clone(), tensors))
}

/// A flat vector as the tensors of `entries`.
pub(super) fn by_tensor(entries: &[Entry], flat: &[f64]) -> Vec<Vec<f64>> {
    let mut rest = flat;
    let mut tensors = Vec::with_capacity(entries.len());
    for entry in entries {
        let (own, after) = rest.split_at(entry.len().min(rest.len()));
        tensors.push(own.to_vec());
        rest = after;
    }
    tensors
}
