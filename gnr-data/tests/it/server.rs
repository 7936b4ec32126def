//! A small HTTP server on this machine for tests of fetching: files, ranges, and faults on request.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A fault of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection ends after so many bytes of the body.
    Break(usize),
    /// Ranges are ignored: status 200 with the whole file.
    Whole,
    /// A status without a file.
    Status(u16),
    /// A part that starts at 0, whatever the request asked for.
    WrongPart,
    /// No length is sent, and the connection ends after the body.
    NoLength,
}

#[derive(Default)]
struct State {
    files: HashMap<String, Vec<u8>>,
    faults: Vec<Fault>,
    /// Path and range header of each request.
    seen: Vec<(String, Option<String>)>,
}

pub(crate) struct Server {
    state: Arc<Mutex<State>>,
    pub(crate) base: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        // The thread ends with the process of the test.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream, &shared);
            }
        });
        Self { state, base }
    }

    pub(crate) fn serve(&self, name: &str, bytes: Vec<u8>) {
        self.state.lock().unwrap().files.insert(format!("/{name}"), bytes);
    }

    /// Gives the next answers these faults, in order.
    pub(crate) fn break_next(&self, faults: &[Fault]) {
        self.state.lock().unwrap().faults = faults.to_vec();
    }

    /// The range headers of the requests since the last call.
    pub(crate) fn ranges(&self) -> Vec<Option<String>> {
        self.state.lock().unwrap().seen.drain(..).map(|(_, range)| range).collect()
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_string();
    let mut range = None;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("range")
        {
            range = Some(value.trim().to_string());
        }
    }
    let (file, fault) = {
        let mut state = state.lock().unwrap();
        state.seen.push((path.clone(), range.clone()));
        let fault = if state.faults.is_empty() { None } else { Some(state.faults.remove(0)) };
        (state.files.get(&path).cloned(), fault)
    };
    let close = "Connection: close\r\n\r\n";
    let Some(file) = file else {
        return write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n{close}");
    };
    if let Some(Fault::Status(status)) = fault {
        return write!(stream, "HTTP/1.1 {status} No\r\nContent-Length: 0\r\n{close}");
    }
    let total = file.len();
    let asked: Option<usize> =
        range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.trim_end_matches('-').parse().ok());
    let start = if fault == Some(Fault::Whole) { None } else { asked };
    let body = match (start, fault) {
        (Some(_), Some(Fault::WrongPart)) => {
            write!(
                stream,
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-{}/{total}\r\n",
                total - 1
            )?;
            &file[..]
        }
        (Some(start), _) if start >= total => {
            return write!(
                stream,
                "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{total}\r\nContent-Length: 0\r\n{close}"
            );
        }
        (Some(start), _) => {
            write!(
                stream,
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{}/{total}\r\n",
                total - 1
            )?;
            &file[start..]
        }
        (None, _) => {
            write!(stream, "HTTP/1.1 200 OK\r\n")?;
            &file[..]
        }
    };
    if fault != Some(Fault::NoLength) {
        write!(stream, "Content-Length: {}\r\n", body.len())?;
    }
    write!(stream, "{close}")?;
    let sent = match fault {
        Some(Fault::Break(after)) => &body[..after.min(body.len())],
        _ => body,
    };
    stream.write_all(sent)?;
    stream.flush()
}
