//! What to capture live, and the source that does it.

use std::io;
use std::net::IpAddr;

use super::Source;

/// Which process's traffic is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// The one with this number.
    Id(u32),
    /// All with this name: the kernel's name of it, that of its program, or of a Java program its
    /// main class; what stands before the last `/` or `.` may be left out, as in `BrokerStartup`.
    Name(String),
    /// All in the container whose identifier begins so, or that Docker knows by this name.
    Container(String),
}

/// What to capture live.
#[derive(Debug, Clone)]
pub struct Live {
    /// The interface; `None` means all.
    pub interface: Option<String>,
    /// The ports, one of which must be at either end; none means all.
    pub ports: Vec<u16>,
    /// The hosts, one of which must be at either end; none means all.
    pub hosts: Vec<IpAddr>,
    /// The processes, one of which must be at either end; none means all. If they live in another
    /// network namespace, that is where packets are captured.
    pub processes: Vec<Who>,
    /// Of how many connections one is wanted, chosen by its ports; 1 means all.
    pub sample: u16,
    /// Bytes of memory for what waits to be read.
    pub buffer: usize,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            interface: None,
            ports: Vec::new(),
            hosts: Vec::new(),
            processes: Vec::new(),
            sample: 1,
            buffer: 64 << 20,
        }
    }
}

impl Live {
    /// Opens the packets of the interfaces.
    ///
    /// # Errors
    /// A capability is missing, or there is no such interface or process. The error is a sentence
    /// that says what to do.
    #[cfg(target_os = "linux")]
    pub fn packets(&self) -> io::Result<Box<dyn Source + Send>> {
        use super::af_packet::AfPacket;
        use super::processes::Owners;

        if self.processes.is_empty() {
            return Ok(Box::new(AfPacket::open(self, None)?));
        }
        let owners = Owners::find(&self.processes)?;
        let Some(namespace) = owners.other_namespace()? else {
            return Ok(Box::new(AfPacket::open(self, Some(owners))?));
        };
        // A socket stays in the namespace that it was opened in; a thread of its own goes there,
        // so that this one need not.
        std::thread::scope(|scope| {
            let opened = scope.spawn(|| {
                namespace.enter()?;
                AfPacket::open(self, Some(owners))
            });
            let source = opened
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread that captures ended")))?;
            Ok(Box::new(source) as Box<dyn Source + Send>)
        })
    }

    /// Opens the streams of the processes, by programs in the kernel (eBPF): with the names of
    /// processes and containers, and what OpenSSL encrypts. The interface is of no account.
    ///
    /// # Errors
    /// A capability is missing, the kernel is too old, there is no such process, or this program
    /// was built without it. The error is a sentence that says what to do.
    #[cfg(all(target_os = "linux", feature = "ebpf"))]
    pub fn streams(&self) -> io::Result<Box<dyn Source + Send>> {
        Ok(Box::new(super::ebpf::Ebpf::open(self)?))
    }

    /// Would open the streams of the processes, but this program was built without that.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(all(target_os = "linux", feature = "ebpf")))]
    pub fn streams(&self) -> io::Result<Box<dyn Source + Send>> {
        let why = "this program was built without tracing of processes: build it on Linux with \
                   `cargo build --release --features ebpf`";
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    }

    /// Opens the packets of the interfaces, which only Linux has.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(target_os = "linux"))]
    pub fn packets(&self) -> io::Result<Box<dyn Source + Send>> {
        let why = "capturing live needs Linux: capture to a file with tcpdump, and open that";
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    }
}

/// How the kernel mixes the sum of a connection's ports, to choose among connections: most ports of
/// clients are even, and follow each other.
#[cfg(target_os = "linux")]
pub(super) const PORTS_FACTOR: u32 = 0x9E37_79B1;

/// Has everything else that wants a processor go before this thread, and before the threads that it
/// starts. Under full load an analyser then loses packets, which it counts.
///
/// Where it leads a session of its own, as under a service manager, the session gives way as well:
/// Linux shares processors among sessions first.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "no safe function sets the scheduler's policy")]
pub fn give_way() {
    use rustix::process::{getpid, getsid};

    /// The least priority of a session.
    const PRIORITY: i32 = 19;
    let none = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads the parameter, which outlives the call. What is refused costs the
    // observed some time, and the observer nothing.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &none) };
    if getsid(None).is_ok_and(|session| session == getpid()) {
        let _ = std::fs::write("/proc/self/autogroup", PRIORITY.to_string());
    }
}

/// Says which capability something needs, and how to give it.
#[cfg(target_os = "linux")]
pub(super) fn missing_capability(what: &str, capability: &str, file_capability: &str) -> String {
    let program = std::env::current_exe().map_or_else(
        |_| "kerolox".to_owned(),
        |program| program.display().to_string(),
    );
    format!(
        "{what} needs {capability}, which this process does not have: run it as root, or give it \
         to the program by `setcap {file_capability}+ep {program}`"
    )
}

/// Says that there is no such interface, and which there are.
#[cfg(target_os = "linux")]
pub(super) fn unknown_interface(name: &str) -> io::Error {
    let mut names: Vec<String> = std::fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let why = format!(
        "there is no interface {name}; there are {}",
        names.join(", ")
    );
    io::Error::new(io::ErrorKind::NotFound, why)
}

/// Whether tests must not make do with an error where a capability is missing: `KEROLOX_LIVE=1`.
#[cfg(test)]
pub(super) fn must_work() -> bool {
    std::env::var("KEROLOX_LIVE").is_ok_and(|value| value == "1")
}
