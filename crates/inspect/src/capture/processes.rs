//! Whose connection is whose: the processes of this machine, their sockets and their containers,
//! as `/proc` tells them.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::live::{self, Who};
use super::{Flow, Process, Timestamp};

/// Most connections that are kept in mind.
const MAX_FLOWS: usize = 1 << 16;
/// The state of a socket that waits for connections, in `/proc/net/tcp`.
const LISTENING: &str = "0A";
/// Where Docker keeps what it knows of a container.
const DOCKER: &str = "/var/lib/docker/containers";

/// The chosen processes, and which connections are theirs.
#[derive(Debug)]
pub(super) struct Owners {
    chosen: Vec<Who>,
    processes: Vec<u32>,
    sockets: Sockets,
    /// When the sockets were last looked at.
    looked: Timestamp,
    known: HashMap<Flow, Known, foldhash::fast::RandomState>,
}

/// What is known of a connection.
#[derive(Debug, Clone, Copy)]
struct Known {
    own: bool,
    at: Timestamp,
}

/// How long a connection counts as another's before one looks again, in nanoseconds.
const LOOK_AGAIN: i64 = 1_000_000_000;

impl Owners {
    /// Finds the chosen processes.
    ///
    /// # Errors
    /// There is none, or their sockets are hidden from this process.
    pub(super) fn find(chosen: &[Who]) -> io::Result<Self> {
        let mut owners = Self {
            chosen: chosen.to_vec(),
            processes: Vec::new(),
            sockets: Sockets::default(),
            looked: Timestamp::default(),
            known: HashMap::default(),
        };
        owners.look();
        for who in chosen {
            if !all().any(|id| is(id, who)) {
                return Err(io::Error::new(io::ErrorKind::NotFound, nobody(who)));
            }
        }
        for id in &owners.processes {
            let why = match look_at_one(*id) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    let what = format!("looking at the sockets of process {id}");
                    live::missing_capability(&what, "CAP_SYS_PTRACE", "cap_net_raw,cap_sys_ptrace")
                }
                _ => continue,
            };
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        Ok(owners)
    }

    /// The network namespace of the chosen processes, if it is not that of this thread.
    pub(super) fn other_namespace(&self) -> io::Result<Option<Namespace>> {
        let namespaces: HashSet<_> = self
            .processes
            .iter()
            .filter_map(|id| namespace(*id))
            .collect();
        if namespaces.len() > 1 {
            let why =
                "the chosen processes live in several network namespaces: choose those of one";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let own = fs::read_link("/proc/thread-self/ns/net")?;
        let mut others = self.processes.iter();
        let other = others.find(|id| {
            let theirs = fs::read_link(format!("/proc/{id}/ns/net"));
            theirs.is_ok_and(|theirs| theirs != own)
        });
        let Some(id) = other else {
            return Ok(None);
        };
        Ok(Some(Namespace(File::open(format!("/proc/{id}/ns/net"))?)))
    }

    /// Whether the connection of a packet that was captured at `time` is of one of them.
    pub(super) fn own(&mut self, flow: Flow, begins: bool, time: Timestamp) -> bool {
        if let Some(known) = self.known.get(&flow)
            && !begins
            && (known.own || time.0 - known.at.0 < LOOK_AGAIN)
        {
            return known.own;
        }
        // The socket is older than its packets: who looked after the packet has seen it.
        if self.looked < time {
            self.look();
        }
        let own = self.sockets.owner(flow).is_some();
        if self.known.len() >= MAX_FLOWS {
            self.known.clear();
        }
        self.known.insert(flow, Known { own, at: time });
        own
    }

    /// The numbers of the processes.
    #[cfg(feature = "ebpf")]
    pub(super) fn ids(&self) -> &[u32] {
        &self.processes
    }

    /// Looks which processes there are now, and what sockets they have.
    pub(super) fn look(&mut self) {
        self.looked = Timestamp::now();
        self.processes = all()
            .filter(|id| self.chosen.iter().any(|who| is(*id, who)))
            .collect();
        self.sockets = Sockets::of(&self.processes);
    }
}

/// The sockets of some processes.
#[derive(Debug, Default)]
struct Sockets {
    connected: HashMap<Flow, Arc<Process>>,
    /// By the port.
    listening: HashMap<u16, Vec<(IpAddr, Arc<Process>)>>,
}

impl Sockets {
    fn of(processes: &[u32]) -> Self {
        let mut sockets = Self::default();
        let mut tables = HashMap::new();
        for id in processes {
            let Some(namespace) = namespace(*id) else {
                continue;
            };
            let table = tables.entry(namespace).or_insert_with(|| table(*id));
            let process = Arc::new(process(*id));
            for inode in inodes(*id) {
                match table.get(&inode) {
                    Some(Socket::Connected(flow)) => {
                        sockets.connected.insert(*flow, process.clone());
                    }
                    Some(Socket::Listening(address)) => {
                        let listening = sockets.listening.entry(address.port()).or_default();
                        listening.push((address.ip(), process.clone()));
                    }
                    None => {}
                }
            }
        }
        sockets
    }

    /// The process at either end.
    fn owner(&self, flow: Flow) -> Option<&Arc<Process>> {
        let other_way = Flow {
            source: flow.destination,
            destination: flow.source,
        };
        let connected = [flow, other_way];
        let mut connected = connected.iter().filter_map(|way| self.connected.get(way));
        connected
            .next()
            .or_else(|| self.listener(flow.destination))
            .or_else(|| self.listener(flow.source))
    }

    /// Who waits for connections at an address: those that it has not accepted yet are nobody's.
    fn listener(&self, address: SocketAddr) -> Option<&Arc<Process>> {
        let mut listening = self.listening.get(&address.port())?.iter();
        listening
            .find(|(ip, _)| ip.is_unspecified() || *ip == address.ip())
            .map(|(_, process)| process)
    }
}

/// A socket of TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Socket {
    /// From this end to the other.
    Connected(Flow),
    Listening(SocketAddr),
}

/// A network namespace.
#[derive(Debug)]
pub(super) struct Namespace(File);

impl Namespace {
    /// Brings this thread there.
    pub(super) fn enter(&self) -> io::Result<()> {
        let network = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(self.0.as_fd(), network).map_err(|error| {
            let what = "capturing in another network namespace";
            let why = live::missing_capability(what, "CAP_SYS_ADMIN", "cap_net_raw,cap_sys_admin");
            io::Error::new(io::Error::from(error).kind(), why)
        })
    }
}

/// What is known of a process.
pub(super) fn process(id: u32) -> Process {
    let name = read(id, "comm");
    let container = container(id).map(|long| match docker_name(&long) {
        Some(name) => name.into(),
        None => long.get(..12).unwrap_or(&long).into(),
    });
    Process {
        id,
        name: name.trim_end().into(),
        container,
    }
}

fn nobody(who: &Who) -> String {
    match who {
        Who::Id(id) => format!("there is no process {id}"),
        Who::Name(name) => format!("no process is called {name}"),
        Who::Container(name) => {
            format!(
                "no process runs in a container that is called {name}, or whose identifier begins so"
            )
        }
    }
}

/// The processes that there are.
pub(super) fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn read(id: u32, file: &str) -> String {
    // It may have ended, or be another user's: then nothing is known of it.
    let bytes = fs::read(format!("/proc/{id}/{file}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn is(id: u32, who: &Who) -> bool {
    match who {
        Who::Id(wanted) => id == *wanted,
        Who::Name(name) => is_called(name, read(id, "comm").trim_end(), &read(id, "cmdline")),
        Who::Container(name) => container(id).is_some_and(|long| {
            long.starts_with(name.as_str()) || docker_name(&long).is_some_and(|own| own == *name)
        }),
    }
}

/// Whether a process has a name: the kernel's, that of its program, or of a Java program the main
/// class. With others the command line says what they look for, as that of this process does.
fn is_called(name: &str, comm: &str, command_line: &str) -> bool {
    let short = |word: &str| {
        let end = word.strip_suffix(name);
        end.is_some_and(|before| before.is_empty() || before.ends_with(['/', '.']))
    };
    let mut words = command_line.split('\0');
    comm == name || words.next().is_some_and(short) || comm == "java" && words.any(short)
}

/// The identifier of a process's container, which the paths of its control groups hold: 64
/// hexadecimal digits with every common runtime.
fn container(id: u32) -> Option<String> {
    container_in(&read(id, "cgroup")).map(str::to_owned)
}

fn container_in(control_groups: &str) -> Option<&str> {
    let words = control_groups.split(|c: char| !c.is_ascii_hexdigit());
    words.rev().find(|word| word.len() == 64)
}

/// The name that Docker has for a container, where it may be read.
fn docker_name(container: &str) -> Option<String> {
    let path = Path::new(DOCKER).join(container).join("config.v2.json");
    let known: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let name = known.get("Name")?.as_str()?;
    Some(name.trim_start_matches('/').to_owned())
}

/// What stands for a process's network namespace.
fn namespace(id: u32) -> Option<std::path::PathBuf> {
    fs::read_link(format!("/proc/{id}/ns/net")).ok()
}

/// Looks at the first open file of a process: seeing that there are some is allowed more often
/// than seeing what they are.
fn look_at_one(id: u32) -> io::Result<()> {
    match fs::read_dir(format!("/proc/{id}/fd"))?.next() {
        Some(entry) => fs::read_link(entry?.path()).map(drop),
        None => Ok(()),
    }
}

/// The inodes of a process's sockets.
fn inodes(id: u32) -> impl Iterator<Item = u64> {
    let open = fs::read_dir(format!("/proc/{id}/fd")).into_iter();
    open.flatten().flatten().filter_map(|entry| {
        let link = fs::read_link(entry.path()).ok()?;
        let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        inode.parse().ok()
    })
}

/// The sockets of a process's network namespace by their inodes.
fn table(id: u32) -> HashMap<u64, Socket> {
    let tables = ["net/tcp", "net/tcp6"].map(|file| read(id, file));
    let lines = tables.iter().flat_map(|table| table.lines());
    lines.filter_map(socket).collect()
}

/// A line of `/proc/net/tcp`: number, local and remote address, state, and the inode in the tenth
/// column.
fn socket(line: &str) -> Option<(u64, Socket)> {
    let columns: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, local, remote, state, _, _, _, _, _, inode, ..] = columns[..] else {
        return None;
    };
    let source = address(local)?;
    let socket = if state == LISTENING {
        Socket::Listening(source)
    } else {
        let destination = address(remote)?;
        Socket::Connected(Flow {
            source,
            destination,
        })
    };
    Some((inode.parse().ok()?, socket))
}

/// An address as `/proc/net/tcp` has it: words in this machine's order of bytes, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (words, port) = text.split_once(':')?;
    let word = |at: usize| {
        let word = u32::from_str_radix(words.get(at..at + 8)?, 16).ok()?;
        Some(u32::from_be_bytes(word.to_ne_bytes()))
    };
    let ip = match words.len() {
        8 => IpAddr::V4(Ipv4Addr::from_bits(word(0)?)),
        32 => {
            let high = u128::from(word(0)?) << 96 | u128::from(word(8)?) << 64;
            let low = u128::from(word(16)?) << 32 | u128::from(word(24)?);
            IpAddr::V6(Ipv6Addr::from_bits(high | low)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernels_table_is_read() {
        let line = "   0: 0100007F:2AAF 0200007F:9C40 01 00000000:00000000 00:00000000 00000000  1000        0 42187 1 0000000000000000";
        let flow = Flow {
            source: "127.0.0.1:10927".parse().unwrap(),
            destination: "127.0.0.2:40000".parse().unwrap(),
        };
        let little_endian = cfg!(target_endian = "little");
        assert_eq!(
            socket(line) == Some((42187, Socket::Connected(flow))),
            little_endian
        );
        let mapped = address("0000000000000000FFFF00000100007F:0050");
        assert_eq!(
            mapped == Some("127.0.0.1:80".parse().unwrap()),
            little_endian
        );
        assert_eq!(socket("  sl  local_address rem_address   st"), None);
    }

    #[test]
    fn a_process_is_called_as_its_program_or_main_class_and_not_as_what_it_looks_for() {
        let broker = "/usr/bin/java\0-Xmx1g\0org.apache.rocketmq.broker.BrokerStartup\0-c\0b.conf";
        assert!(is_called("BrokerStartup", "java", broker));
        assert!(is_called("java", "java", broker));
        assert!(!is_called("Startup", "java", broker));
        assert!(is_called(
            "a-program-of-a-long-name",
            "a-program-of-a-",
            "./a-program-of-a-long-name\0"
        ));
        let watch = "kerolox\0inspect\0watch\0--process\0BrokerStartup\0";
        assert!(!is_called("BrokerStartup", "kerolox", watch));
        assert!(!is_called("kthread", "kworker", ""));
    }

    #[test]
    fn a_container_is_told_by_the_paths_of_its_control_groups() {
        let id = "4f".repeat(32);
        for path in [
            format!("0::/system.slice/docker-{id}.scope\n"),
            format!("12:pids:/docker/{id}\n0::/\n"),
            format!("0::/kubepods.slice/pod12/cri-containerd-{id}.scope"),
        ] {
            assert_eq!(container_in(&path), Some(id.as_str()), "{path}");
        }
        assert_eq!(container_in("0::/user.slice/session-4.scope"), None);
    }
}
