//! Streams of this machine's processes, by programs in the kernel (eBPF).
//!
//! The programs (`bpf/trace.bpf.c`) give what processes send and receive over TCP, and what they
//! give to OpenSSL before it encrypts, piece by piece, into a ring. Here the pieces get into their
//! order, and of a connection whose two ends are both on this machine only one is listened to.

mod openssl;
mod pieces;

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use libbpf_rs::{
    Error, ErrorKind, Link, MapCore, MapFlags, MapHandle, Object, ObjectBuilder, OpenObject,
    ProgramMut, RingBuffer, RingBufferBuilder,
};
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};

use self::openssl::Probes;
use self::pieces::{Piece, Streams};
use super::live::{self, Live};
use super::processes::Owners;
use super::{Observed, Source};

/// The programs, compiled for the kernel.
const PROGRAMS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/trace.bpf.o"));
/// Those that are attached to tracepoints of the kernel.
const KERNEL_PROGRAMS: [&str; 3] = ["call_begins", "call_ends", "state_changes"];
/// Pieces of several processors come in nearly their order; so long is waited for earlier ones.
const ORDER: Duration = Duration::from_millis(5);
/// Most pieces that are taken out of the ring at a time, so that a ring which fills as fast as it is
/// read does not become memory of this process.
const MOST: usize = 4096;
/// How often new processes are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// The kernel's description of its own types.
const KERNEL_TYPES: &str = "/sys/kernel/btf/vmlinux";

/// The source.
pub(super) struct Ebpf {
    /// What the ring's reader puts where it can be taken from.
    come: Arc<Mutex<Vec<Piece>>>,
    ring: RingBuffer<'static>,
    /// Pieces whose order is not certain yet.
    waiting: Vec<Piece>,
    streams: Streams,
    chosen: Option<Chosen>,
    probes: Probes,
    looked: Instant,
    not_kept: MapHandle,
    lost: u64,
    /// The programs run for as long as these are there.
    _links: Vec<Link>,
    object: Object,
}

/// The chosen processes, and the map by which the kernel knows them.
struct Chosen {
    owners: Owners,
    told: HashSet<u32>,
    map: MapHandle,
}

impl Ebpf {
    pub(super) fn open(live: &Live) -> io::Result<Self> {
        let owners = match live.processes.is_empty() {
            true => None,
            false => Some(Owners::find(&live.processes)?),
        };
        // What libbpf says would be in the middle of what the user looks at.
        libbpf_rs::set_print(None);
        let object = load(live).map_err(|error| explained(&error))?;
        Self::begin(object, owners).map_err(|error| explained(&error))
    }

    fn begin(object: Object, owners: Option<Owners>) -> Result<Self, Error> {
        let mut chosen = match owners {
            None => None,
            Some(owners) => Some(Chosen {
                owners,
                told: HashSet::new(),
                map: map(&object, "processes")?,
            }),
        };
        if let Some(chosen) = &mut chosen {
            chosen.tell()?;
        }
        let come = Arc::new(Mutex::new(Vec::new()));
        let mut ring = RingBufferBuilder::new();
        let (events, put) = (map(&object, "events")?, come.clone());
        ring.add(&events, move |bytes| {
            put.lock().extend(Piece::read(bytes));
            0
        })?;
        let ring = ring.build()?;
        let mut probes = Probes::default();
        probes.look(&object, chosen.as_ref().map(|chosen| chosen.owners.ids()));
        let links = KERNEL_PROGRAMS.map(|name| program(&object, name)?.attach());
        Ok(Self {
            come,
            ring,
            waiting: Vec::new(),
            streams: Streams::default(),
            chosen,
            probes,
            looked: Instant::now(),
            not_kept: map(&object, "lost")?,
            lost: 0,
            _links: links.into_iter().collect::<Result<_, Error>>()?,
            object,
        })
    }

    /// Takes what has come, and gives what is old enough to be in its order; whether there was any.
    fn give(&mut self, sink: &mut dyn FnMut(Observed<'_>)) -> io::Result<bool> {
        let now = nanoseconds(ClockId::Monotonic);
        let taken = self.ring.consume_raw_n(MOST);
        if taken < 0 {
            return Err(io::Error::from_raw_os_error(-taken));
        }
        self.waiting.append(&mut self.come.lock());
        // Those that stay in the ring may be earlier than the latest of these, but not by much.
        let latest = match self.waiting.last() {
            Some(piece) if taken as usize == MOST => piece.time.min(now),
            _ => now,
        };
        // Pieces of one call have one time, and stay in their order.
        self.waiting.sort_by_key(|piece| piece.time);
        let certain = latest.saturating_sub(ORDER.as_nanos() as i64);
        let certain = self.waiting.partition_point(|piece| piece.time <= certain);
        let since_1970 = nanoseconds(ClockId::Realtime) - now;
        for piece in self.waiting.drain(..certain) {
            self.streams.give(&piece, since_1970, sink);
        }
        Ok(certain > 0)
    }

    fn look(&mut self) -> Result<(), Error> {
        if self.looked.elapsed() < LOOK {
            return Ok(());
        }
        self.looked = Instant::now();
        if let Some(chosen) = &mut self.chosen {
            chosen.owners.look();
            chosen.tell()?;
        }
        let ids = self.chosen.as_ref().map(|chosen| chosen.owners.ids());
        self.probes.look(&self.object, ids);
        let lost = self.not_kept.lookup(&0u32.to_ne_bytes(), MapFlags::ANY)?;
        let lost = lost.as_deref().and_then(<[u8]>::first_chunk);
        self.lost = lost.map_or(self.lost, |lost| u64::from_ne_bytes(*lost));
        Ok(())
    }
}

impl Source for Ebpf {
    fn read(&mut self, patience: Duration, sink: &mut dyn FnMut(Observed<'_>)) -> io::Result<bool> {
        let begun = Instant::now();
        loop {
            self.look().map_err(io::Error::other)?;
            let left = patience.saturating_sub(begun.elapsed());
            if self.give(sink)? || left.is_zero() {
                return Ok(true);
            }
            thread::sleep(left.min(ORDER));
        }
    }

    fn lost(&self) -> u64 {
        self.lost
    }
}

impl Chosen {
    /// Tells the kernel which processes they are now.
    fn tell(&mut self) -> Result<(), Error> {
        let now: HashSet<u32> = self.owners.ids().iter().copied().collect();
        for gone in self.told.difference(&now) {
            // It may be gone already.
            let _ = self.map.delete(&gone.to_ne_bytes());
        }
        for new in now.difference(&self.told) {
            self.map.update(&new.to_ne_bytes(), &[1], MapFlags::ANY)?;
        }
        self.told = now;
        Ok(())
    }
}

/// Loads the programs, which then know what is wanted.
fn load(live: &Live) -> Result<Object, Error> {
    let mut open = ObjectBuilder::default().open_memory(PROGRAMS)?;
    settle(&mut open, live)?;
    let object = open.load()?;
    let ports = map(&object, "ports")?;
    for port in &live.ports {
        ports.update(&port.to_be_bytes(), &[1], MapFlags::ANY)?;
    }
    let hosts = map(&object, "hosts")?;
    for host in &live.hosts {
        let host = match host.to_canonical() {
            IpAddr::V4(host) => host.to_ipv6_mapped(),
            IpAddr::V6(host) => host,
        };
        hosts.update(&host.octets(), &[1], MapFlags::ANY)?;
    }
    Ok(object)
}

/// Sets what must be known before loading.
fn settle(open: &mut OpenObject, live: &Live) -> Result<(), Error> {
    let mut wanted = std::process::id().to_ne_bytes().to_vec();
    let asked = [
        !live.processes.is_empty(),
        !live.ports.is_empty(),
        !live.hosts.is_empty(),
        false,
    ];
    wanted.extend(asked.map(u8::from));
    wanted.extend(u32::from(live.sample).to_ne_bytes());
    wanted.extend(live::PORTS_FACTOR.to_ne_bytes());
    for mut map in open.maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        match name.as_str() {
            "pieces" => map.set_max_entries(libbpf_rs::num_possible_cpus()? as u32)?,
            "events" => {
                let bytes = live.buffer.clamp(1 << 20, 1 << 30).next_power_of_two();
                map.set_max_entries(bytes as u32)?;
            }
            name if name.ends_with(".rodata") => map.set_initial_value(&wanted)?,
            _ => {}
        }
    }
    Ok(())
}

fn map(object: &Object, name: &str) -> Result<MapHandle, Error> {
    let map = object.maps().find(|map| map.name() == name);
    let map = map.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    MapHandle::try_from(&map)
}

fn program<'a>(object: &'a Object, name: &str) -> Result<ProgramMut<'a>, Error> {
    let mut programs = object.progs_mut();
    let program = programs.find(|program| program.name() == name);
    program.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound).into())
}

fn nanoseconds(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Why processes cannot be traced, and what to do.
fn explained(error: &Error) -> io::Error {
    let (kind, why) = if error.kind() == ErrorKind::PermissionDenied {
        let why = live::missing_capability(
            "tracing processes",
            "CAP_BPF and CAP_PERFMON",
            "cap_bpf,cap_perfmon,cap_net_raw,cap_sys_ptrace",
        );
        (io::ErrorKind::PermissionDenied, why)
    } else if !Path::new(KERNEL_TYPES).exists() {
        let why = format!(
            "this kernel does not describe its types ({KERNEL_TYPES} is not there), which tracing \
             processes needs: CONFIG_DEBUG_INFO_BTF"
        );
        (io::ErrorKind::Unsupported, why)
    } else {
        let why = format!(
            "this kernel does not let processes be traced, which needs Linux 5.17: {error:#}"
        );
        (io::ErrorKind::Unsupported, why)
    };
    io::Error::new(kind, why)
}

#[cfg(test)]
mod tests;
