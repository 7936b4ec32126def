//! `metrics.jsonl`, read piece by piece while a run writes it.

use std::{
    fs::File,
    io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom},
    path::Path,
};

use gnr_train::EpochMetrics;
use serde::Deserialize;

use crate::error::{Result, io};

/// A line of one step, where the recipe asks for such lines (`train.log_every_steps`).
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct StepMetrics {
    /// Number of steps done in the run.
    pub step: u64,
    /// Epoch, from 1.
    pub epoch: u64,
    /// Number of steps done in this epoch.
    pub step_in_epoch: u64,
    /// L̂ before the step.
    pub loss: f64,
    /// Accuracy of the epoch so far, a fraction.
    pub mean_accuracy: f64,
    /// The learning rate η_t.
    pub learning_rate: f64,
    /// The gradient norm ‖∇L̂(θ_t)‖.
    pub grad_norm: f64,
}

/// Number of bytes before the reading position that are compared with the file. If they differ, the file was replaced.
const TAIL: usize = 256;

/// Largest length of a line in bytes. A longer line is not one of a run, and is not kept in memory.
const LONGEST: u64 = 1 << 20;

/// The lines of a run so far. Incomplete lines and lines of another kind are left out; where a run was resumed, the
/// later lines count.
///
/// Reading takes no lock and changes nothing. A reading continues where the last one ended; a file that was replaced or
/// cut off is read anew.
#[derive(Clone, Debug, Default)]
pub struct Log {
    epochs: Vec<EpochMetrics>,
    steps: Vec<StepMetrics>,
    /// Number of bytes read, without an incomplete last line.
    offset: u64,
    /// The last bytes read, `TAIL` at most.
    tail: Vec<u8>,
}

impl Log {
    /// Epochs in order, each once.
    pub fn epochs(&self) -> &[EpochMetrics] {
        &self.epochs
    }

    /// Number of steps before the first logged epoch; not 0 where the log lacks the first epochs of the run.
    pub fn steps_before(&self) -> u64 {
        let first = self.epochs.first();
        first.map_or(0, |first| first.step - first.step.checked_div(first.epoch).unwrap_or(first.step))
    }

    /// Logged steps in order, each once.
    pub fn steps(&self) -> &[StepMetrics] {
        &self.steps
    }

    /// The lines of a text.
    pub(crate) fn of(text: &str) -> Self {
        let mut log = Self::default();
        text.lines().for_each(|line| log.line(line.as_bytes()));
        log
    }

    /// Reads new lines. Returns true when anything changed. A missing file counts as an empty one.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn refresh(&mut self, path: &Path) -> Result<bool> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let changed = self.offset > 0;
                *self = Self::default();
                return Ok(changed);
            }
            Err(error) => return Err(io(path, "open")(error)),
        };
        let replaced = !self.continues(&mut file).map_err(io(path, "read"))?;
        if replaced {
            *self = Self::default();
        }
        file.seek(SeekFrom::Start(self.offset)).map_err(io(path, "read"))?;
        let (mut reader, mut line) = (BufReader::new(file), Vec::new());
        let (mut changed, mut overlong) = (replaced, false);
        loop {
            line.clear();
            let read =
                reader.by_ref().take(LONGEST).read_until(b'\n', &mut line).map_err(io(path, "read"))?;
            let whole = line.last() == Some(&b'\n');
            if !whole && (read as u64) < LONGEST {
                // The run is writing this line, or died while it did.
                return Ok(changed);
            }
            self.offset += read as u64;
            self.tail.extend_from_slice(&line[line.len().saturating_sub(TAIL)..]);
            self.tail.drain(..self.tail.len().saturating_sub(TAIL));
            changed = true;
            if whole && !overlong {
                self.line(&line);
            }
            overlong = !whole;
        }
    }

    /// Whether the file still has the bytes that were read before.
    fn continues(&self, file: &mut File) -> std::io::Result<bool> {
        if file.metadata()?.len() < self.offset {
            return Ok(false);
        }
        let mut there = vec![0; self.tail.len()];
        file.seek(SeekFrom::Start(self.offset - self.tail.len() as u64))?;
        match file.read_exact(&mut there) {
            Ok(()) => Ok(there == self.tail),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn line(&mut self, line: &[u8]) {
        #[derive(Deserialize)]
        struct Line {
            kind: String,
            #[serde(flatten)]
            rest: serde_json::Value,
        }
        let Ok(Line { kind, rest }) = serde_json::from_slice(line) else { return };
        match kind.as_str() {
            "epoch" => {
                let Ok(epoch) = serde_json::from_value::<EpochMetrics>(rest) else { return };
                while self.epochs.last().is_some_and(|last| last.epoch >= epoch.epoch) {
                    self.epochs.pop();
                }
                self.epochs.push(epoch);
            }
            "step" => {
                let Ok(step) = serde_json::from_value::<StepMetrics>(rest) else { return };
                while self.steps.last().is_some_and(|last| last.step >= step.step) {
                    self.steps.pop();
                }
                while self.epochs.last().is_some_and(|last| last.step >= step.step) {
                    self.epochs.pop();
                }
                self.steps.push(step);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use super::*;

    fn epoch(epoch: u64, loss: f64) -> String {
        format!(
            "{{\"kind\":\"epoch\",\"epoch\":{epoch},\"step\":{},\"train_loss\":{loss},\"train_accuracy\":0.5,\
             \"learning_rate\":0.1,\"grad_norm\":1.0,\"penalties\":{{}},\"seconds\":0.1,\"new\":[1]}}\n",
            4 * epoch
        )
    }

    fn step(step: u64, loss: f64) -> String {
        format!(
            "{{\"kind\":\"step\",\"step\":{step},\"epoch\":{},\"step_in_epoch\":{},\"loss\":{loss},\"mean_loss\":{loss},\
             \"mean_accuracy\":0.5,\"learning_rate\":0.1,\"grad_norm\":1.0}}\n",
            (step - 1) / 4 + 1,
            (step - 1) % 4 + 1
        )
    }

    fn losses(log: &Log) -> Vec<(u64, f64)> {
        log.epochs().iter().map(|epoch| (epoch.epoch, epoch.train_loss)).collect()
    }

    #[test]
    fn half_written_and_foreign_lines_are_left_out() {
        let text = [
            "{\"kind\":\"step\",\"t\":1}\n".to_owned(),
            epoch(1, 2.0),
            "not json\n".into(),
            epoch(2, 1.0),
            "{\"kind\":\"epoch\",\"epoch\":3,\"train_lo".into(),
        ];
        assert_eq!(losses(&Log::of(&text.concat())), [(1, 2.0), (2, 1.0)]);
    }

    #[test]
    fn the_last_line_of_a_repeated_epoch_or_step_counts() {
        let log = Log::of(&[epoch(1, 3.0), epoch(2, 2.0), epoch(2, 1.5), epoch(3, 1.0)].concat());
        assert_eq!(losses(&log), [(1, 3.0), (2, 1.5), (3, 1.0)]);
        let lines = [step(4, 3.0), epoch(1, 3.0), step(6, 2.0), step(8, 2.0), epoch(2, 2.0), step(6, 1.0)];
        let log = Log::of(&lines.concat());
        assert_eq!(losses(&log), [(1, 3.0)], "what came after the place of resuming is gone");
        assert_eq!(
            log.steps().iter().map(|step| (step.step, step.loss)).collect::<Vec<_>>(),
            [(4, 3.0), (6, 1.0)]
        );
    }

    #[test]
    fn a_file_that_grows_byte_by_byte_is_read_once_and_wholly() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let text = [epoch(1, 3.0), step(5, 2.5), "broken\n".into(), epoch(2, 2.0), step(9, 1.5)].concat();
        let mut log = Log::default();
        assert!(!log.refresh(&path).unwrap(), "no file yet");
        let mut file = File::create(&path).unwrap();
        for (index, byte) in text.bytes().enumerate() {
            file.write_all(&[byte]).unwrap();
            assert_eq!(log.refresh(&path).unwrap(), byte == b'\n', "byte {index}");
            let whole = &text[..=index];
            let whole = &whole[..whole.rfind('\n').map_or(0, |at| at + 1)];
            assert_eq!((log.epochs(), log.steps()), (Log::of(whole).epochs(), Log::of(whole).steps()));
        }
        assert_eq!((log.epochs().len(), log.steps().len()), (2, 2));
    }

    #[test]
    fn a_file_that_is_cut_off_or_replaced_or_gone_is_read_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut log = Log::default();
        for (text, expect) in [
            ([epoch(1, 3.0), epoch(2, 2.0), epoch(3, 1.0)].concat(), vec![(1, 3.0), (2, 2.0), (3, 1.0)]),
            (epoch(1, 3.0), vec![(1, 3.0)]),
            // Longer than before, and another run.
            ([epoch(1, 9.0), epoch(2, 8.0)].concat(), vec![(1, 9.0), (2, 8.0)]),
            // As long as before.
            ([epoch(1, 7.0), epoch(2, 6.0)].concat(), vec![(1, 7.0), (2, 6.0)]),
        ] {
            let new = folder.path().join("new");
            fs::write(&new, &text).unwrap();
            fs::rename(&new, &path).unwrap();
            assert!(log.refresh(&path).unwrap());
            assert_eq!(losses(&log), expect);
            assert!(!log.refresh(&path).unwrap(), "nothing new");
        }
        fs::remove_file(&path).unwrap();
        assert!(log.refresh(&path).unwrap() && log.epochs().is_empty());
    }

    #[test]
    fn a_line_without_an_end_takes_no_memory_and_what_follows_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let long = "x".repeat(3 * LONGEST as usize + 5);
        fs::write(&path, [long, "\n".into(), epoch(1, 2.0)].concat()).unwrap();
        let mut log = Log::default();
        assert!(log.refresh(&path).unwrap());
        assert_eq!(losses(&log), [(1, 2.0)]);
        assert!(log.tail.len() <= TAIL);
    }
}
