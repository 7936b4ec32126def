//! Standard output and standard error whose readers may have gone: after `gnr compare | head`, or when Ctrl-C has also
//! ended the `tee` behind a pipe.

use std::io::{ErrorKind, Result, Write};

/// A writer that takes everything for written once its reader has gone. Other errors, such as a full disk, stay errors.
pub(crate) struct Patient<W>(W);

/// The standard output of a command whose work must not end with its reader.
pub(crate) fn patient() -> Patient<std::io::Stdout> {
    Patient(std::io::stdout())
}

/// Writes a line to standard error, which may be gone.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

impl<W: Write> Write for Patient<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(bytes.len()),
            other => other,
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.0
            .flush()
            .or_else(|error| if error.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _bytes: &[u8]) -> Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error_and_a_full_disk_is_one() {
        let mut gone = Patient(Broken(ErrorKind::BrokenPipe));
        assert!(writeln!(gone, "line").is_ok() && gone.flush().is_ok());
        let mut full = Patient(Broken(ErrorKind::StorageFull));
        assert!(writeln!(full, "line").is_err() && full.flush().is_err());
    }
}
