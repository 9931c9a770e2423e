//! Writing to standard output.

use std::io::{ErrorKind, Write};

use crate::error::CliError;

/// Prints text. A reader that has gone away (`kerolox … | head`) is no error.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(source) if source.kind() != ErrorKind::BrokenPipe => Err(CliError::System {
            what: "write to standard output",
            source,
        }),
        _ => Ok(()),
    }
}
