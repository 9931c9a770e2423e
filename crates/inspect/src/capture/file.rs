//! Capture files of both formats, also packed with gzip, read one record after the other.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::time::Duration;

use flate2::read::MultiGzDecoder;

use super::pcap::Pcap;
use super::pcapng::Pcapng;
use super::{Observed, Source};

/// How much is read at a time, in bytes.
const READ_SIZE: usize = 256 << 10;

/// The largest record that is believed, in bytes; no capture program writes larger ones.
pub(super) const MAX_RECORD: usize = 32 << 20;

/// How many packets are handed over in one [`Source::read`].
const BATCH: usize = 1_024;

/// A file that is being read from its front.
pub(super) struct Input<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes of the file before `start`.
    passed: u64,
}

impl<R: Read> Input<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: vec![0; READ_SIZE],
            start: 0,
            end: 0,
            passed: 0,
        }
    }

    /// The next bytes, without passing them; fewer than `count` only at the file's end.
    pub(super) fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        while self.end - self.start < count {
            if self.buffer.len() - self.start < count {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
                if self.buffer.len() < count {
                    self.buffer.resize(count.max(READ_SIZE), 0);
                }
            }
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => break,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let end = self.end.min(self.start + count);
        Ok(&self.buffer[self.start..end])
    }

    /// The next bytes, all of them; `what` they are.
    pub(super) fn need(&mut self, count: usize, what: &str) -> io::Result<&[u8]> {
        let at = self.passed;
        if count > MAX_RECORD {
            return Err(damaged(format!(
                "the {what} at byte {at} would have {count} bytes: the file is damaged there"
            )));
        }
        let bytes = self.peek(count)?;
        if bytes.len() == count {
            return Ok(bytes);
        }
        let there = bytes.len();
        Err(io::Error::new(
            ErrorKind::UnexpectedEof,
            format!(
                "the file ends inside a {what}, after {there} of its {count} bytes: it was cut off"
            ),
        ))
    }

    /// Passes bytes that were [`peek`](Self::peek)ed.
    pub(super) fn pass(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.passed += count as u64;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Whether all that was read has been passed.
    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// How many bytes have been passed.
    pub(super) fn position(&self) -> u64 {
        self.passed
    }
}

/// The error of a file that is not what it should be.
pub(super) fn damaged(message: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, message)
}

/// A format's own part of reading.
enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

/// A capture file, in pcap or pcapng format.
pub struct CaptureFile {
    input: Input<Box<dyn Read + Send>>,
    format: Format,
}

impl CaptureFile {
    /// Opens a file; `-` is the standard input.
    ///
    /// # Errors
    /// The file cannot be read, or is no capture.
    pub fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            return Self::new(io::stdin());
        }
        Self::new(File::open(path)?)
    }

    /// Reads a capture from its first byte on.
    ///
    /// # Errors
    /// It cannot be read, or is no capture.
    pub fn new(reader: impl Read + Send + 'static) -> io::Result<Self> {
        let mut input: Input<Box<dyn Read + Send>> = Input::new(Box::new(reader));
        if input.peek(2)? == [0x1f, 0x8b] {
            input = Input::new(Box::new(MultiGzDecoder::new(Unread(input))));
        }
        let format = match input.peek(4)?.first_chunk() {
            Some(&magic) if magic == Pcapng::MAGIC => Format::Pcapng(Pcapng::default()),
            Some(&magic) => match Pcap::start(magic, &mut input)? {
                Some(pcap) => Format::Pcap(pcap),
                None => return Err(no_capture()),
            },
            None => return Err(no_capture()),
        };
        Ok(Self { input, format })
    }

    /// How many bytes of the file have been read; of a packed one, those unpacked.
    pub fn position(&self) -> u64 {
        self.input.position()
    }
}

fn no_capture() -> io::Error {
    damaged("this is neither a pcap nor a pcapng file: give it what tcpdump -w, Wireshark or `kerolox inspect record` wrote".to_owned())
}

impl Source for CaptureFile {
    fn read(&mut self, _: Duration, sink: &mut dyn FnMut(Observed<'_>)) -> io::Result<bool> {
        if self.input.peek(1)?.is_empty() {
            return Ok(false);
        }
        for _ in 0..BATCH {
            match &mut self.format {
                Format::Pcap(pcap) => pcap.next(&mut self.input, sink)?,
                Format::Pcapng(pcapng) => pcapng.next(&mut self.input, sink)?,
            }
            // A pipe may have nothing more for long.
            if self.input.is_empty() {
                break;
            }
        }
        Ok(true)
    }

    fn lost(&self) -> u64 {
        match &self.format {
            Format::Pcap(_) => 0,
            Format::Pcapng(pcapng) => pcapng.lost(),
        }
    }
}

/// What was looked at for the first time is read again.
struct Unread<R>(Input<R>);

impl<R: Read> Read for Unread<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.peek(1)?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let there = self.0.end - self.0.start;
        let bytes = self.0.peek(there.min(out.len()))?;
        let count = bytes.len();
        out[..count].copy_from_slice(bytes);
        self.0.pass(count);
        Ok(count)
    }
}
