//! Downloads of one file over HTTP, which continue after a broken connection where the server allows it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use super::{FetchEvent, FetchOptions};
use crate::error::{DataError, Result};
use crate::registry::Download;

/// The reason why an attempt ended early.
enum Failure {
    /// An error after which another attempt may succeed: the connection broke, the server is busy.
    Passing(String),
    /// An error that another attempt would meet again, such as a missing file.
    Final(String),
    /// An error of this machine, such as a full disk.
    Local(DataError),
}

/// Downloads to `part`, which may already hold the beginning, from the first of `urls` that gives the whole file.
pub(super) fn download(
    urls: &[String],
    part: &Path,
    download: &Download,
    options: &FetchOptions,
    progress: &mut dyn FnMut(FetchEvent<'_>),
) -> Result<()> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_resolve(Some(Duration::from_secs(30)))
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        // Ends a connection that stalls; the next one continues where it ended.
        .timeout_recv_body(Some(Duration::from_secs(3600)))
        .build()
        .into();
    let mut reasons = Vec::new();
    for url in urls {
        match from_one(&agent, url, part, download, options, progress) {
            Ok(()) => return Ok(()),
            Err(Failure::Local(error)) => return Err(error),
            Err(Failure::Passing(reason) | Failure::Final(reason)) => {
                reasons.push(format!("{url}: {reason}"))
            }
        }
    }
    Err(DataError::Download { file: download.file.to_string(), reasons })
}

fn from_one(
    agent: &ureq::Agent,
    url: &str,
    part: &Path,
    download: &Download,
    options: &FetchOptions,
    progress: &mut dyn FnMut(FetchEvent<'_>),
) -> std::result::Result<(), Failure> {
    let mut fruitless = 0;
    loop {
        let before = length(part);
        let reason = match attempt(agent, url, part, download, progress) {
            Err(Failure::Passing(reason)) => reason,
            outcome => return outcome,
        };
        fruitless = if length(part) > before { 0 } else { fruitless + 1 };
        if fruitless >= options.attempts.max(1) {
            return Err(Failure::Passing(reason));
        }
        progress(FetchEvent::Retrying { file: download.file, reason: &reason });
        std::thread::sleep(options.pause * 2u32.saturating_pow(fruitless.saturating_sub(1).min(6)));
    }
}

/// Number of bytes that are already downloaded.
fn length(part: &Path) -> u64 {
    std::fs::metadata(part).map_or(0, |metadata| metadata.len())
}

fn attempt(
    agent: &ureq::Agent,
    url: &str,
    part: &Path,
    download: &Download,
    progress: &mut dyn FnMut(FetchEvent<'_>),
) -> std::result::Result<(), Failure> {
    let have = length(part);
    let mut request = agent.get(url);
    if have > 0 {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let response = request.call().map_err(|error| match error {
        ureq::Error::BadUri(_) | ureq::Error::HostNotFound => Failure::Final(error.to_string()),
        _ => Failure::Passing(error.to_string()),
    })?;
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let announced: Option<u64> = header("content-length").and_then(|length| length.parse().ok());
    // The header is `bytes FIRST-LAST/TOTAL`, or `bytes */TOTAL`.
    let range = header("content-range").and_then(|range| range.strip_prefix("bytes ")?.split_once('/'));
    let (start, total) = match response.status().as_u16() {
        200 => (0, announced),
        206 if range.and_then(|range| range.0.split_once('-')?.0.parse().ok()) == Some(have) => {
            (have, range.and_then(|range| range.1.parse().ok()))
        }
        206 => return Err(Failure::Final("the server sent another part than was asked for".into())),
        416 if range.and_then(|range| range.1.parse().ok()) == Some(have) => return Ok(()),
        416 => {
            // The part is longer than the file, so it belongs to another file.
            std::fs::remove_file(part).map_err(|e| Failure::Local(DataError::io(part, "remove")(e)))?;
            return Err(Failure::Passing("the beginning that was there does not belong to this file".into()));
        }
        status @ (408 | 425 | 429 | 500..=599) => {
            return Err(Failure::Passing(format!("HTTP status {status}")));
        }
        status => return Err(Failure::Final(format!("HTTP status {status}"))),
    };
    let local = |action| move |error| Failure::Local(DataError::io(part, action)(error));
    let too_long =
        || Failure::Final(format!("larger than the limit of {} bytes for this file", download.limit));
    if total.is_some_and(|total| total > download.limit) {
        return Err(too_long());
    }
    let mut file = match start {
        0 => File::create(part),
        _ => OpenOptions::new().append(true).open(part),
    }
    .map_err(local("open"))?;
    let mut body = response.into_body().into_reader();
    let (mut buffer, mut done) = (vec![0; 1 << 16], start);
    progress(FetchEvent::Downloading { file: download.file, done, total });
    loop {
        let count = body.read(&mut buffer).map_err(|error| Failure::Passing(error.to_string()))?;
        if count == 0 {
            break;
        }
        done += count as u64;
        if done > download.limit {
            return Err(too_long());
        }
        file.write_all(&buffer[..count]).map_err(local("write"))?;
        progress(FetchEvent::Downloading { file: download.file, done, total });
    }
    match total {
        Some(total) if done < total => {
            Err(Failure::Passing(format!("the connection ended after {done} of {total} bytes")))
        }
        _ => Ok(()),
    }
}
