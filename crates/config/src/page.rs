//! The reference page of keys, as Markdown.

use std::fmt::Write;

use crate::settings::Settings;
use crate::value::Kind;

/// A section under `title` with every key of `S`: what it takes, its default,
/// whether it can change while running, and its documentation.
pub fn section<S: Settings>(title: &str) -> String {
    let mut out = format!("## {title}\n");
    for info in S::keys() {
        let default = match &info.default {
            None => "not set".to_owned(),
            Some(text) if text.is_empty() => "empty".to_owned(),
            Some(text) => format!("`{text}`"),
        };
        let takes = match info.kind {
            Kind::Choice(words) => words
                .iter()
                .map(|word| format!("`{word}`"))
                .collect::<Vec<_>>()
                .join(", "),
            _ => info.takes.clone(),
        };
        let when = if info.reloadable {
            "can change while running"
        } else {
            "read at the start"
        };
        let _ = write!(
            out,
            "\n### `{}`\n\nDefault {default}; {takes}; {when}.{}\n\n{}\n",
            info.key,
            if info.ours { " Kerolox's own." } else { "" },
            unindent(info.doc),
        );
        if let Some(reason) = info.differs {
            let _ = write!(out, "\nThe reference's default is another: {reason}.\n");
        }
    }
    out
}

/// Doc comments keep the space behind their slashes.
fn unindent(doc: &str) -> String {
    let lines = doc.trim_end().lines();
    lines
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n")
}
