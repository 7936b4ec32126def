//! Gzip files as programs write them: one or several members, and zeros at the end, with which tape drives and some
//! copying programs fill up a block.

use std::io::{BufRead, Error, ErrorKind, Read, Result};

use flate2::bufread::GzDecoder;

/// The decompressed contents of all members. Only zeros may follow the last one.
pub(crate) struct Members<R> {
    /// The decoder of the present member; `None` between two members and after an error.
    decoder: Option<GzDecoder<R>>,
    ended: bool,
}

impl<R: BufRead> Members<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { decoder: Some(GzDecoder::new(reader)), ended: false }
    }

    /// Moves to the next member, if there is one.
    fn next_member(&mut self) -> Result<()> {
        let Some(decoder) = self.decoder.take() else { return Err(Error::other("an error before")) };
        let mut reader = decoder.into_inner();
        loop {
            let bytes = reader.fill_buf()?;
            if bytes.is_empty() {
                self.ended = true;
                return Ok(());
            }
            if bytes[0] != 0 {
                break;
            }
            let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
            reader.consume(zeros);
        }
        if reader.fill_buf()?.first() != Some(&0x1f) {
            return Err(Error::new(
                ErrorKind::InvalidData,
                "bytes after the last member that are neither a member nor zeros",
            ));
        }
        self.decoder = Some(GzDecoder::new(reader));
        Ok(())
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        while !self.ended && !buffer.is_empty() {
            let Some(decoder) = &mut self.decoder else { return Err(Error::other("an error before")) };
            let count = decoder.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            self.next_member()?;
        }
        Ok(0)
    }
}
