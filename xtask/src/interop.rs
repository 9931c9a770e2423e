//! `cargo xtask interop`: black-box scenarios with published clients, and with the reference.

mod clients;
mod inspect;
mod store;
mod tls;
mod web;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};

use crate::process::{self, Result, told};

/// The releases of the Java client that the scenarios run with.
const JAVA_CLIENTS: [&str; 2] = ["5.5.0", "4.9.7"];

fn clients() -> PossibleValuesParser {
    PossibleValuesParser::new(JAVA_CLIENTS.into_iter().chain(["all"]))
}

#[derive(Debug, Subcommand)]
pub(crate) enum Interop {
    /// The Java client, with JUnit; needs Maven and a JDK 17 or later
    Java(Java),
    /// The Java client by gRPC, with JUnit; needs Maven and a JDK 17 or later
    Grpc(Grpc),
    /// The clients for Go, Rust and C++; needs Go 1.24 or later, Python with venv, Maven and a JDK 17 or
    /// later
    Clients(clients::Clients),
    /// One store directory under the reference and Kerolox in turn; needs Maven and a JDK 17 or
    /// later
    Store(store::Store),
    /// The modes of TLS, with OpenSSL's client
    Tls,
    /// Clients of all protocols with each other; needs Node with npm, Python with venv, curl, Chromium,
    /// Maven and a JDK 17 or later
    Web,
    /// The analyser watching Java clients (Linux, as root); needs Maven and a JDK 17 or later
    Inspect(inspect::Inspect),
}

#[derive(Debug, Args)]
pub(crate) struct Java {
    /// The server under test
    #[arg(long, value_enum, default_value_t = Against::Kerolox)]
    against: Against,
    /// Release of the client, or all
    #[arg(long, default_value = JAVA_CLIENTS[0], value_parser = clients())]
    client: String,
    /// Only this scenario: CLASS, CLASS#METHOD or a pattern
    #[arg(long)]
    test: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Grpc {
    /// The server under test
    #[arg(long, value_enum, default_value_t = Against::Kerolox)]
    against: Against,
    /// Only this scenario: CLASS, CLASS#METHOD or a pattern
    #[arg(long)]
    test: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Against {
    /// The release build of this source tree
    Kerolox,
    /// Apache RocketMQ 5.5.0 from Maven Central
    Reference,
}

impl Interop {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Interop::Java(java) => java.run(),
            Interop::Grpc(grpc) => grpc.run(),
            Interop::Clients(clients) => clients.run(),
            Interop::Store(store) => store.run(),
            Interop::Tls => tls::run(),
            Interop::Web => web::run(),
            Interop::Inspect(inspect) => inspect.run(),
        }
    }
}

impl Java {
    fn run(self) -> Result<()> {
        let options = self.against.options(self.test.as_deref())?;
        let clients = match self.client.as_str() {
            "all" => JAVA_CLIENTS.to_vec(),
            client => vec![client],
        };
        let mut failed = Vec::new();
        for client in clients {
            eprintln!("== Java client {client}");
            let mut maven = scenarios();
            maven.arg(format!("-Drocketmq.client.version={client}"));
            if let Err(error) = process::run(maven.args(&options)) {
                failed.push(error);
            }
        }
        if failed.is_empty() {
            Ok(())
        } else {
            Err(failed.join("\n"))
        }
    }
}

impl Grpc {
    fn run(self) -> Result<()> {
        let options = self.against.options(self.test.as_deref())?;
        process::run(scenarios().arg("-Dkerolox.api=grpc").args(options))
    }
}

impl Against {
    /// The options by which the scenarios know the server, and which of them run.
    fn options(self, test: Option<&str>) -> Result<Vec<String>> {
        let mut options = match self {
            Against::Kerolox => {
                vec![
                    "-Dkerolox.against=kerolox".to_owned(),
                    format!("-Dkerolox.binary={}", release_binary(&[])?.display()),
                ]
            }
            Against::Reference => {
                reference_class_path()?;
                vec!["-Dkerolox.against=reference".to_owned()]
            }
        };
        options.extend(test.map(|test| format!("-Dtest={test}")));
        Ok(options)
    }
}

/// Maven about to run the Java scenarios.
fn scenarios() -> Command {
    maven(&process::root().join("tests/interop/java"), "test")
}

fn maven(folder: &Path, goal: &str) -> Command {
    let mut maven = Command::new("mvn");
    maven
        .current_dir(folder)
        .args(["--batch-mode", "--no-transfer-progress", goal]);
    maven
}

/// Builds the release binary with these features.
pub(crate) fn release_binary(features: &[&str]) -> Result<PathBuf> {
    let mut build = process::cargo();
    build.args(["build", "--release", "--package", "kerolox"]);
    process::run(build.arg(format!("--features={}", features.join(","))))?;
    let name = format!("kerolox{}", std::env::consts::EXE_SUFFIX);
    Ok(process::target_dir()?.join("release").join(name))
}

/// The class path of the reference's servers.
pub(crate) fn reference_class_path() -> Result<String> {
    let folder = process::root().join("tests/interop/java/reference");
    class_path(
        &folder.join("target/classpath"),
        maven(&folder, "generate-resources"),
    )
}

/// That of the client by gRPC alone.
fn grpc_client_class_path() -> Result<String> {
    let folder = process::root().join("tests/interop/java");
    let file = folder.join("target/grpc-classpath");
    let goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath";
    let mut maven = maven(&folder, goal);
    maven.arg("-DincludeArtifactIds=rocketmq-client-java");
    maven.arg(format!("-Dmdep.outputFile={}", file.display()));
    class_path(&file, maven)
}

/// Has Maven fetch jars and write their class path to a file, unless it did and all of them are
/// still there.
fn class_path(file: &Path, mut maven: Command) -> Result<String> {
    let read = || fs::read_to_string(file).map(|path| path.trim().to_owned());
    if let Ok(class_path) = read()
        && !class_path.is_empty()
        && std::env::split_paths(&class_path).all(|jar| jar.exists())
    {
        return Ok(class_path);
    }
    process::run(&mut maven)?;
    read().map_err(|error| told(file, &error))
}
