//! docs/benchmarks.md, and how measurements get there.

use std::env;
use std::fs;

use clap::Args;

use super::machine;
use crate::process::{self, Result, told};

/// What a command writes stands behind a line with its name, and before this one.
const END: &str = "<!-- end of what is written -->";

/// Options of all that is measured.
#[derive(Debug, Args)]
pub(super) struct Page {
    /// Put what is measured into docs/benchmarks.md
    #[arg(long)]
    write: bool,
}

impl Page {
    /// Prints the tables of a command, and puts them into the page if that is wanted.
    pub(super) fn publish(&self, command: &str, tables: &str) -> Result<()> {
        let text = format!(
            "`{}` on {}:\n\n{tables}",
            command_line(),
            machine::description()
        );
        println!("{text}");
        if !self.write {
            return Ok(());
        }
        let path = process::root().join("docs/benchmarks.md");
        let page = fs::read_to_string(&path).map_err(|error| told(&path, &error))?;
        let page = replaced(&page, command, &text).ok_or_else(|| {
            let lost = format!("the lines around the tables of {command} are lost");
            told(&path, &lost)
        })?;
        fs::write(&path, page).map_err(|error| told(&path, &error))
    }
}

/// The command line that brings these results.
pub(super) fn command_line() -> String {
    let options: Vec<String> = env::args()
        .skip(1)
        .filter(|option| option != "--write")
        .collect();
    format!("cargo xtask {}", options.join(" "))
}

fn begin(command: &str) -> String {
    format!("<!-- written by cargo xtask {command} --write -->")
}

fn replaced(page: &str, command: &str, text: &str) -> Option<String> {
    let begin = begin(command);
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(END)?;
    let text = text.trim();
    Some(format!("{before}{begin}\n\n{text}\n\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_goes_between_its_lines() {
        let [first, second] = ["bench", "bench memory"].map(begin);
        let page = format!("{first}\nold\n{END}\n{second}\nold\n{END}\nb\n");
        assert_eq!(
            replaced(&page, "bench memory", "new").as_deref(),
            Some(&*format!(
                "{first}\nold\n{END}\n{second}\n\nnew\n\n{END}\nb\n"
            ))
        );
        assert_eq!(replaced("nothing", "bench", "new"), None);
    }
}
