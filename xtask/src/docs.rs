//! `cargo xtask docs`: pages that derive from the code.

use crate::process::{self, Result, told};

/// Writes `docs/configuration.md`. A test of the `kerolox` crate checks that
/// it is current.
pub(crate) fn write() -> Result<()> {
    let mut command = process::cargo();
    command.args([
        "run",
        "--quiet",
        "--package",
        "kerolox",
        "--",
        "config-keys",
    ]);
    let page = process::output(&mut command)?;
    let path = process::root().join("docs/configuration.md");
    std::fs::write(&path, page).map_err(|error| told(&path, &error))
}
