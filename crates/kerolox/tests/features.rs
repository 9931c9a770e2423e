//! `docs/features.md` beside the code: the table of commands names every command and who serves
//! it, and the tests that the page names exist.

use std::fs;
use std::path::{Path, PathBuf};

use wire::command::{COMMANDS, CommandInfo, RequestCode};

const PAGE: &str = "docs/features.md";

/// What the servers here ask clients, and clients alone serve.
const ASKED_OF_CLIENTS: [RequestCode; 6] = [
    RequestCode::PushReplyMessageToClient,
    RequestCode::CheckTransactionState,
    RequestCode::NotifyConsumerIdsChanged,
    RequestCode::NotifyUnsubscribeLite,
    RequestCode::ResetConsumerClientOffset,
    RequestCode::GetConsumerStatusFromClient,
];

/// What the page says of a command that has no server here.
const UNSERVED: [&str; 2] = ["not yet", "nobody"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A row of a table of the page: the number of its line, and its cells.
struct Row {
    line: usize,
    cells: Vec<String>,
}

impl Row {
    fn cell(&self, index: usize) -> &str {
        self.cells.get(index).map_or("", |cell| cell)
    }
}

/// The rows of the tables with this column, without their heads.
fn rows_of_tables_with(column: &str) -> Vec<Row> {
    let page = fs::read_to_string(root().join(PAGE)).expect("the page of features");
    let mut rows = Vec::new();
    let mut wanted = false;
    let mut in_table = false;
    for (number, line) in (1..).zip(page.lines()) {
        let Some(inner) = line.strip_prefix('|') else {
            in_table = false;
            continue;
        };
        let inner = inner.trim_end().strip_suffix('|').unwrap_or(inner);
        let cells: Vec<String> = inner
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect();
        if !in_table {
            in_table = true;
            wanted = cells.iter().any(|cell| cell == column);
        } else if wanted && !inner.starts_with("---") {
            rows.push(Row {
                line: number,
                cells,
            });
        }
    }
    rows
}

/// Who serves a command; `None`: nobody here.
fn served_by(code: RequestCode) -> Option<String> {
    let servers = [
        ("broker", broker::SERVED),
        ("name server", nameserver::SERVED),
        ("client", &ASKED_OF_CLIENTS),
        ("every server", transport::SERVED),
    ];
    let names = servers
        .iter()
        .filter(|(_, served)| served.contains(&code))
        .map(|(name, _)| *name);
    let names: Vec<&str> = names.collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// The row that a command should have, with what the page notes of it.
fn row(command: &CommandInfo, note: &str) -> String {
    let served = served_by(command.code);
    let note = match (&served, note) {
        (None, "") => "why not, in a few words ",
        (_, "") => "",
        (_, note) => &format!("{note} "),
    };
    format!(
        "| {} | {} | {} | {note}|",
        command.code as i32,
        command.code.name(),
        served.as_deref().unwrap_or(UNSERVED[0]),
    )
}

#[test]
fn every_command_has_a_row_that_says_who_serves_it() {
    let rows = rows_of_tables_with("served by");
    let mut faults = Vec::new();
    let mut before = i32::MIN;
    for Row { line, cells } in &rows {
        let number: Option<i32> = cells.first().and_then(|cell| cell.parse().ok());
        let Some(number) = number.filter(|number| RequestCode::try_from(*number).is_ok()) else {
            faults.push(format!(
                "{PAGE}:{line}: remove it, there is no such command"
            ));
            continue;
        };
        if number <= before {
            faults.push(format!(
                "{PAGE}:{line}: move it, the rows are in the order of their numbers"
            ));
        }
        before = number;
    }
    for command in COMMANDS {
        let number = (command.code as i32).to_string();
        let Some(found) = rows.iter().find(|row| row.cell(0) == number) else {
            faults.push(format!("{PAGE}: add {}", row(command, "")));
            continue;
        };
        let (served, note) = (found.cell(2), found.cell(3));
        let is_right = match served_by(command.code) {
            Some(servers) => served == servers,
            None => UNSERVED.contains(&served) && !note.is_empty(),
        };
        if !is_right || found.cell(1) != command.code.name() || found.cells.len() != 4 {
            faults.push(format!(
                "{PAGE}:{}: write {}",
                found.line,
                row(command, note)
            ));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn every_feature_has_a_state_and_its_tests_exist() {
    let rows = rows_of_tables_with("how it is tested");
    assert!(!rows.is_empty(), "{PAGE} has no table of features");
    let mut faults = Vec::new();
    for row in rows {
        let (state, tests) = (row.cell(1), row.cell(2));
        if row.cells.len() != 3 {
            faults.push(format!("{PAGE}:{}: a feature has three cells", row.line));
        }
        if !["yes", "partly", "not yet"].contains(&state) {
            faults.push(format!(
                "{PAGE}:{}: `{state}` is no state: write yes, partly or not yet",
                row.line
            ));
        }
        if state != "not yet" && tests.is_empty() {
            faults.push(format!(
                "{PAGE}:{}: name the test, or say that there is none",
                row.line
            ));
        }
        for name in tests.split('`').skip(1).step_by(2) {
            // Scenarios of the Java client by their class, Rust tests by their path.
            let path = match name {
                _ if name.ends_with(".rs") => format!("crates/{name}"),
                _ if name.ends_with("Test") => {
                    let folder = if name.starts_with("Grpc") {
                        "grpc/"
                    } else {
                        ""
                    };
                    format!("tests/interop/java/src/test/java/kerolox/interop/{folder}{name}.java")
                }
                _ => continue,
            };
            if !root().join(&path).exists() {
                faults.push(format!(
                    "{PAGE}:{}: there is no test {name}, looked for as {path}",
                    row.line
                ));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn every_served_call_of_the_grpc_api_is_told() {
    let told: Vec<String> = rows_of_tables_with("call")
        .iter()
        .filter(|row| row.cell(1) == "served")
        .map(|row| row.cell(0).to_owned())
        .collect();
    let mut served = proxy::SERVED.to_vec();
    served.sort_by_key(|name| told.iter().position(|told| told == name));
    assert_eq!(served, told);
}
