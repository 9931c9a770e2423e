//! What the source tree promises about itself.

use std::fs;
use std::path::{Path, PathBuf};

use crate::process::root;

/// Lines of a file before its tests; one with more has two subjects.
const MAX_LINES: usize = 800;

/// Lines of ARCHITECTURE.md; more than that nobody reads.
const MAX_ARCHITECTURE_LINES: usize = 300;

/// What is not written in Rust sources, and what is instead. In pieces, so
/// that this file does not hold them.
const FORBIDDEN: [(&str, &str); 6] = [
    (concat!("db", "g!("), "log it with tracing, or drop it"),
    (concat!("to", "do!("), "finish it"),
    (concat!("unimple", "mented!("), "return an error"),
    (concat!("allow(dead", "_code"), "drop what is dead"),
    (concat!("#[pa", "th"), "put the file where its module is"),
    (concat!("FIX", "ME"), "do it, or open an issue"),
];

/// All files below the top folder whose name ends in `extension`, without
/// what is built or downloaded.
fn files(extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().unwrap().is_dir() {
                if !name.starts_with('.')
                    && !["target", "corpus", "artifacts"].contains(&name.as_str())
                {
                    folders.push(path);
                }
            } else if name.ends_with(extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no {extension} file found");
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A path as one writes it: from the top folder.
fn shown(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}

fn report(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn files_have_one_subject() {
    let mut faults = Vec::new();
    for path in files(".rs") {
        let in_tests = path.components().any(|part| part.as_os_str() == "tests");
        let text = read(&path);
        let lines = text
            .lines()
            .take_while(|line| !line.starts_with("#[cfg(test)]"));
        let lines = lines.count();
        if !in_tests && lines > MAX_LINES {
            faults.push(format!(
                "{} has {lines} lines before its tests: split it by subject",
                shown(&path)
            ));
        }
    }
    report(&faults);
}

#[test]
fn nothing_forbidden_is_left() {
    let mut faults = Vec::new();
    for path in files(".rs") {
        for (number, line) in read(&path).lines().enumerate() {
            for (word, instead) in FORBIDDEN {
                if line.contains(word) {
                    faults.push(format!(
                        "{}:{} has `{word}`: {instead}",
                        shown(&path),
                        number + 1
                    ));
                }
            }
        }
    }
    report(&faults);
}

#[test]
fn every_crate_says_what_it_is() {
    let mut faults = Vec::new();
    for manifest in files("Cargo.toml") {
        let source = manifest.with_file_name("src");
        let top = ["lib.rs", "main.rs"].map(|name| source.join(name));
        let Some(top) = top.iter().find(|path| path.exists()) else {
            continue;
        };
        if !read(top).starts_with("//!") {
            faults.push(format!("{} does not open with `//!`", shown(top)));
        }
    }
    report(&faults);
}

#[test]
fn the_architecture_page_is_short_and_names_what_exists() {
    let page = read(&root().join("ARCHITECTURE.md"));
    let lines = page.lines().count();
    assert!(
        lines < MAX_ARCHITECTURE_LINES,
        "ARCHITECTURE.md has {lines} lines"
    );
    let missing: Vec<String> = code_spans(&page)
        .filter(|span| is_path(span) && !exists(span))
        .map(|span| format!("ARCHITECTURE.md names `{span}`, which is not there"))
        .collect();
    report(&missing);
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut faults = Vec::new();
    for path in files(".md") {
        let text = read(&path);
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let file = link.split('#').next().unwrap_or(link);
            let elsewhere =
                file.is_empty() || file.contains("://") || file.contains(char::is_whitespace);
            if !elsewhere && !path.with_file_name(file).exists() {
                faults.push(format!(
                    "{} links to {link}, which is not there",
                    shown(&path)
                ));
            }
        }
    }
    report(&faults);
}

/// What stands between single backticks, outside of code blocks.
fn code_spans(page: &str) -> impl Iterator<Item = &str> {
    let mut in_block = false;
    let lines = page.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_block ^= fence;
        !fence && !in_block
    });
    lines.flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Whether a code span is meant as a path: it has a slash or the ending of a
/// source file, and nothing that paths here do not have.
fn is_path(span: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-/*".contains(c);
    let ends = [".rs", ".md", ".toml", ".tsv"]
        .iter()
        .any(|end| span.ends_with(end));
    span.chars().all(fits) && (span.contains('/') || ends) && !span.starts_with(['/', '.'])
}

/// Whether a path from the top folder exists; `*` and what follows it in a
/// path stands for anything.
fn exists(path: &str) -> bool {
    let fixed = path.split('*').next().unwrap_or(path);
    let fixed = if fixed.len() == path.len() {
        fixed
    } else {
        fixed.rsplit_once('/').map_or("", |(folder, _)| folder)
    };
    root().join(fixed).exists()
}

#[test]
fn paths_are_told_from_other_code() {
    assert_eq!(
        code_spans("a `b` c `d/e`\n```\n`f`\n```\n`g.rs`").collect::<Vec<_>>(),
        ["b", "d/e", "g.rs"]
    );
    for path in ["crates/wire", "fuzz/", "README.md", "crates/*/src/lib.rs"] {
        assert!(is_path(path), "{path}");
    }
    for other in [
        "Frame::decode",
        "cargo xtask fuzz",
        "broker",
        "host:port/x",
        "/etc/x",
        "./kerolox-data",
    ] {
        assert!(!is_path(other), "{other}");
    }
    assert!(exists("crates/*/src/lib.rs") && exists("xtask/src/") && !exists("crates/nothing"));
}
