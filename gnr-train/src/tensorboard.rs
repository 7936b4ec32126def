//! TensorBoard event files: length-prefixed protobuf records with masked CRC-32C.
//!
//! Scalars need two small messages of the format. The published writers have large dependencies: `tensorboard-rs` an
//! image library and a protobuf runtime of 2020, `tfrecord` a protobuf compiler. Only the checksum is taken from a
//! crate.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use crate::error::{Result, io};

const PREFIX: &str = "events.out.tfevents.";

/// Appends scalars to an event file.
pub struct EventWriter {
    path: PathBuf,
    file: File,
}

impl EventWriter {
    /// Makes a new event file in `folder` and removes older ones. A resumed run writes its history again, so that no
    /// step is shown twice.
    ///
    /// # Errors
    /// [`TrainError::Io`](crate::TrainError::Io) if the folder or the file cannot be written.
    pub fn create(folder: &Path) -> Result<Self> {
        for entry in fs::read_dir(folder).map_err(io(folder, "list"))? {
            let path = entry.map_err(io(folder, "list"))?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX)) {
                fs::remove_file(&path).map_err(io(&path, "remove"))?;
            }
        }
        let path = folder.join(format!("{PREFIX}{:010}.gnr", now() as u64));
        let file = File::create(&path).map_err(io(&path, "create"))?;
        let mut writer = Self { path, file };
        let mut event = Vec::new();
        double(&mut event, 1, now());
        bytes(&mut event, 3, b"brain.Event:2");
        writer.write(&event)?;
        Ok(writer)
    }

    /// Writes one event with any number of scalars.
    ///
    /// # Errors
    /// [`TrainError::Io`](crate::TrainError::Io) if the file cannot be written.
    pub fn scalars(&mut self, step: u64, scalars: &[(String, f64)]) -> Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in scalars {
            let mut item = Vec::new();
            bytes(&mut item, 1, tag.as_bytes());
            key(&mut item, 2, 5);
            item.extend_from_slice(&(*value as f32).to_le_bytes());
            bytes(&mut summary, 1, &item);
        }
        let mut event = Vec::new();
        double(&mut event, 1, now());
        key(&mut event, 2, 0);
        varint(&mut event, step);
        bytes(&mut event, 5, &summary);
        self.write(&event)
    }

    /// Writes the numbers of a line of `metrics.jsonl`: those of an epoch as `train/loss`, `val/accuracy`,
    /// `penalty/gnr`, …, those of a step as `step/loss` and `step/grad_norm`.
    ///
    /// # Errors
    /// The errors of [`scalars`](Self::scalars).
    pub fn line(&mut self, line: &Value) -> Result<()> {
        let mut scalars = Vec::new();
        if line["kind"] == "step" {
            for name in ["loss", "grad_norm"] {
                scalars.extend(line[name].as_f64().map(|value| (format!("step/{name}"), value)));
            }
            return self.scalars(line["step"].as_u64().unwrap_or(0), &scalars);
        }
        for (name, value) in line.as_object().into_iter().flatten() {
            if let (Some((part, what)), Some(value)) = (name.split_once('_'), value.as_f64()) {
                let tag = match part {
                    "train" | "val" | "test" | "average" => format!("{part}/{what}"),
                    _ => name.clone(),
                };
                scalars.push((tag, value));
            }
        }
        for (name, value) in line["penalties"].as_object().into_iter().flatten() {
            scalars.extend(value.as_f64().map(|value| (format!("penalty/{name}"), value)));
        }
        self.scalars(line["step"].as_u64().unwrap_or(0), &scalars)
    }

    fn write(&mut self, event: &[u8]) -> Result<()> {
        let length = (event.len() as u64).to_le_bytes();
        let mut record = Vec::with_capacity(event.len() + 16);
        record.extend_from_slice(&length);
        record.extend_from_slice(&masked_crc(&length).to_le_bytes());
        record.extend_from_slice(event);
        record.extend_from_slice(&masked_crc(event).to_le_bytes());
        self.file.write_all(&record).map_err(io(&self.path, "write"))
    }
}

/// The seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

/// The checksum of a record. The format rotates checksums, so that a record may contain records.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the key of a field: field number and wire type.
fn key(out: &mut Vec<u8>, field: u64, wire: u64) {
    varint(out, field << 3 | wire);
}

fn double(out: &mut Vec<u8>, field: u64, value: f64) {
    key(out, field, 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    key(out, field, 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}
