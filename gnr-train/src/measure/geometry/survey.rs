//! Common parts of all surveys: the subject, and the recorded values of points.

use std::{path::PathBuf, sync::atomic::AtomicBool};

use gnr_nn::{Autodiff, Entry, ParamVector};
use serde::Serialize;
use serde_json::{Value, json};

use super::points::Points;
use crate::{
    error::{Result, TrainError},
    measure::{
        MeasureObserver, Measured, Session,
        subject::{Subject, SubjectRequest},
    },
};

/// The options that all surveys have.
#[derive(Clone, Debug)]
pub struct GeometryRequest {
    /// The network and the images.
    pub subject: SubjectRequest,
    /// Folder of the results, which is made if it is missing. Points of an equal request in it are used.
    pub out: PathBuf,
}

/// A running survey: a measurement whose steps are points. The value of each point is recorded.
pub(super) struct Survey<'a> {
    request: &'a GeometryRequest,
    session: Session<'a>,
    points: Option<Points>,
}

/// The error of a survey that was asked to stop.
#[derive(Debug)]
pub(super) struct Stopped;

impl<'a> Survey<'a> {
    pub(super) fn new(
        request: &'a GeometryRequest,
        observer: &'a mut dyn MeasureObserver,
        stop: &'a AtomicBool,
    ) -> Self {
        let session = Session::new(&request.out, &request.subject.team, observer, stop);
        Self { request, session, points: None }
    }

    /// Opens the points and begins. `options` has the settings that the values of points depend on, beside the subject.
    /// `keys` are the keys of all points.
    pub(super) fn start<B: Autodiff>(
        &mut self,
        subject: &Subject<'_, B>,
        command: &str,
        options: Value,
        keys: impl Iterator<Item = String>,
    ) -> Result<()> {
        let mut request = subject.identity.clone();
        request["command"] = json!(command);
        request["options"] = options;
        let points = Points::open(&self.request.out, &request)?;
        let (mut total, mut before) = (0, 0);
        for key in keys {
            total += 1;
            before += usize::from(points.get::<Value>(&key).is_some());
        }
        self.points = Some(points);
        self.session.start(&subject.description, before, total);
        Ok(())
    }

    /// The value of a point: the recorded one, or else one that `find` computes and that is then recorded.
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
        if self.session.go_on().is_break() {
            return Ok(Err(Stopped));
        }
        let value = find()?;
        points.put(key, &value)?;
        self.session.tell(self.session.done() + 1, self.session.total(), message(&value));
        Ok(Ok(value))
    }

    pub(super) fn interrupted<R>(&self) -> Measured<R> {
        self.session.interrupted(self.session.done(), true)
    }

    pub(super) fn write_csv<const N: usize>(
        &self,
        name: &str,
        columns: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Result<()> {
        self.session.write_csv(name, columns, rows)
    }

    pub(super) fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        self.session.write_json(name, value)
    }
}

/// A vector of the space of `entries`, from host data.
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

/// A flat vector cut into the tensors of `entries`.
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
