//! Finished evaluations in a file, so that stopped work continues and nothing is evaluated twice.

use std::{
    collections::HashMap,
    fs::{self, File, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::error::{Result, TrainError, io};

const NAME: &str = "points.jsonl";

/// The evaluated points in a file: a line for each point with its key, after a line with the request.
#[derive(Debug)]
pub(super) struct Points {
    path: PathBuf,
    /// The locked file, to which only this process writes.
    file: File,
    done: HashMap<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    value: Value,
}

impl Points {
    /// Opens the points in `folder`, which is made if it is missing.
    ///
    /// # Errors
    /// Points of another request, another process that works in the folder, a file that cannot be used.
    pub(super) fn open(folder: &Path, request: &Value) -> Result<Self> {
        fs::create_dir_all(folder).map_err(io(folder, "create"))?;
        let path = folder.join(NAME);
        let options = File::options().create(true).read(true).append(true).open(&path);
        let mut file = options.map_err(io(&path, "open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let problem = "another gnr process is working on these points".into();
                return Err(TrainError::Folder { path, problem });
            }
            Err(TryLockError::Error(source)) => return Err(io(&path, "lock")(source)),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io(&path, "read"))?;
        let (whole, done) = parse(&path, &bytes, request)?;
        // A process that died may have left an incomplete line.
        file.set_len(whole as u64).map_err(io(&path, "write"))?;
        file.seek(SeekFrom::End(0)).map_err(io(&path, "write"))?;
        if whole == 0 {
            file.write_all(format!("{request}\n").as_bytes()).map_err(io(&path, "write"))?;
        }
        Ok(Self { path, file, done })
    }

    /// The value of a finished point, by its key.
    pub(super) fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        serde_json::from_value(self.done.get(key)?.clone()).ok()
    }

    /// Records the value of a point.
    pub(super) fn put(&mut self, key: &str, value: &impl Serialize) -> Result<()> {
        let damaged = |error: serde_json::Error| TrainError::Folder {
            path: self.path.clone(),
            problem: format!("a point that JSON cannot hold: {error}"),
        };
        let value = serde_json::to_value(value).map_err(damaged)?;
        let mut line =
            serde_json::to_string(&Line { key: key.to_owned(), value: value.clone() }).map_err(damaged)?;
        line.push('\n');
        self.file.write_all(line.as_bytes()).map_err(io(&self.path, "write"))?;
        self.done.insert(key.to_owned(), value);
        Ok(())
    }
}

/// The points in the file at `path`, whose contents are `bytes`, and the number of bytes in complete lines.
pub(crate) fn parse(path: &Path, bytes: &[u8], request: &Value) -> Result<(usize, HashMap<String, Value>)> {
    let folder = |problem: String| TrainError::Folder { path: path.to_path_buf(), problem };
    // An incomplete line may end within a character.
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let text = String::from_utf8_lossy(&bytes[..whole]);
    let mut lines = text.lines();
    let mut done = HashMap::new();
    let Some(first) = lines.next() else { return Ok((0, done)) };
    let theirs: Value = serde_json::from_str(first).unwrap_or_default();
    if theirs != *request {
        let differs = differs(&theirs, request);
        return Err(folder(format!("holds points of another request{differs}; choose another --out")));
    }
    for (number, line) in (2..).zip(lines) {
        let damaged = |error| folder(format!("line {number} is damaged: {error}"));
        let Line { key, value } = serde_json::from_str(line).map_err(damaged)?;
        done.insert(key, value);
    }
    Ok((whole, done))
}

/// The first key in which two requests differ.
fn differs(theirs: &Value, ours: &Value) -> String {
    let mut keys = [ours, theirs].into_iter().filter_map(Value::as_object).flat_map(|request| request.keys());
    keys.find(|key| theirs.get(key.as_str()) != ours.get(key.as_str())).map_or_else(String::new, |key| {
        let of = |request: &Value| request.get(key).map_or_else(|| "nothing".into(), Value::to_string);
        format!(" ({key}: {} there, {} here)", of(theirs), of(ours))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn points_survive_and_half_a_line_is_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let request = json!({ "command": "landscape", "seed": 1 });
        let mut points = Points::open(home.path(), &request).unwrap();
        assert!(Points::open(home.path(), &request).unwrap_err().to_string().contains("another gnr process"));
        points.put("0,1", &0.1).unwrap();
        points.put("0,2", &[1.0, 2.0]).unwrap();
        drop(points);
        let path = home.path().join(NAME);
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("{\"key\":\"0,3\",\"val");
        // The first of the two bytes of an é.
        fs::write(&path, [text.as_bytes(), b"\xc3"].concat()).unwrap();

        let mut points = Points::open(home.path(), &request).unwrap();
        assert_eq!((points.get::<f64>("0,1"), points.get("0,2")), (Some(0.1), Some([1.0, 2.0])));
        assert_eq!(points.get::<f64>("0,3"), None);
        points.put("0,3", &3.0).unwrap();
        drop(points);
        assert_eq!(Points::open(home.path(), &request).unwrap().get("0,3"), Some(3.0));

        let other = json!({ "command": "landscape", "seed": 2 });
        let error = Points::open(home.path(), &other).unwrap_err().to_string();
        assert!(error.contains("another request (seed: 1 there, 2 here)"), "{error}");
        fs::write(&path, format!("{request}\nnonsense\n")).unwrap();
        assert!(Points::open(home.path(), &request).unwrap_err().to_string().contains("line 2 is damaged"));
    }

    #[test]
    fn a_process_that_died_at_once_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        for left in [&b"{\"comm"[..], b"{\"data\":\"caf\xc3"] {
            fs::write(home.path().join(NAME), left).unwrap();
            drop(Points::open(home.path(), &json!({ "seed": 1 })).unwrap());
            assert_eq!(fs::read_to_string(home.path().join(NAME)).unwrap(), "{\"seed\":1}\n");
        }
    }
}
