//! Compiles the programs that run in the kernel, if the feature `ebpf` asks for them.

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

const SOURCE: &str = "bpf/trace.bpf.c";

fn main() -> ExitCode {
    println!("cargo:rerun-if-changed={SOURCE}");
    if env::var_os("CARGO_FEATURE_EBPF").is_none()
        || env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux")
    {
        return ExitCode::SUCCESS;
    }
    match compile() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("the feature ebpf cannot be built: {why}");
            ExitCode::FAILURE
        }
    }
}

fn compile() -> Result<(), String> {
    let variable = |name: &str| env::var(name).map_err(|_| format!("cargo does not set {name}"));
    let processor = variable("CARGO_CFG_TARGET_ARCH")?;
    // As the headers of libbpf call it.
    let target = match processor.as_str() {
        "x86_64" => "x86",
        "aarch64" => "arm64",
        other => return Err(format!("it knows nothing of the registers of {other}")),
    };
    // libbpf-sys says so where its headers are.
    let headers = variable("DEP_BPF_INCLUDE")?;
    let object = PathBuf::from(variable("OUT_DIR")?).join("trace.bpf.o");
    let status = Command::new("clang")
        .args(["-target", "bpf", "-O2", "-g", "-Wall", "-Werror"])
        .arg(format!("-D__TARGET_ARCH_{target}"))
        .arg(format!("-I{headers}"))
        .arg(format!("-I/usr/include/{processor}-linux-gnu"))
        .args(["-c", SOURCE, "-o"])
        .arg(object)
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("clang ended with {status}")),
        Err(error) => Err(format!("clang cannot be run: {error}; is it installed?")),
    }
}
