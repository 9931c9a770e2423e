//! The machine that everything runs on.

use std::env;
use std::fs;
use std::process::Command;
use std::thread;

use super::usage::size;
use crate::process;

/// Memory that is used once before each measurement, in bytes.
const BALLAST: u64 = 2 << 30;

/// What this machine is, as far as it says.
pub(super) fn description() -> String {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let told = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = told.lines().find_map(|line| {
        let (_, model) = line.strip_prefix("model name")?.split_once(':')?;
        Some(model.trim())
    });
    let memory = memory("MemTotal:").map_or_else(
        || "unknown memory".to_owned(),
        |bytes| format!("{:.0} GB of memory", bytes as f64 / 1e9),
    );
    format!(
        "{processors} processors ({}), {memory}, {}",
        model.unwrap_or("unknown"),
        env::consts::OS
    )
}

fn memory(name: &str) -> Option<u64> {
    size("/proc/meminfo", name)
}

/// Uses memory once and gives it back. On a virtual machine, memory that was not in use for some
/// seconds is slow at its first use, many times slower than what is measured here: who writes
/// much would pay for what the machine is.
pub(super) fn touch_memory() {
    let half = memory("MemAvailable:").unwrap_or(0) / 2;
    let ballast = vec![1u8; half.min(BALLAST) as usize];
    std::hint::black_box(&ballast);
}

/// Has the system forget what it keeps of files; `false` where it does not let us.
pub(super) fn drop_page_cache() -> bool {
    process::works(&mut Command::new("sync")) && fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}
