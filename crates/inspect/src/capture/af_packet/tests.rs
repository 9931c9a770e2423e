//! Against the kernel. Without the capability all that can be tested is that the error says so.

use std::collections::{BTreeMap, HashMap};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::*;
use crate::capture::Who;

const PATIENCE: Duration = Duration::from_secs(60);

/// Opens a source, or tells that this process may not.
fn open(live: &Live) -> Option<Box<dyn Source + Send>> {
    match live.packets() {
        Ok(source) => Some(source),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            let said = error.to_string();
            assert!(
                said.contains("CAP_NET_RAW") && said.contains("setcap"),
                "{said}"
            );
            assert!(!live::must_work(), "{said}");
            None
        }
    }
}

/// The payloads by flow and place in its stream, and how many of them were seen twice.
#[derive(Default)]
struct Heard {
    /// The number of each stream's first byte: numbers begin anywhere, and go around.
    starts: HashMap<Flow, u32>,
    pieces: BTreeMap<(SocketAddr, SocketAddr, u32), Vec<u8>>,
    twice: usize,
    latest: Timestamp,
}

impl Heard {
    fn take(&mut self, observed: Observed<'_>) {
        let Observed::Packet(packet) = observed else {
            panic!("a packet socket gives packets");
        };
        assert_eq!(packet.link, LinkType::RAW);
        assert_eq!(packet.original_len as usize, packet.data.len());
        self.latest = self.latest.max(packet.time);
        let (flow, _) = ends(packet.data).unwrap();
        let header = if packet.data[0] >> 4 == 4 { 20 } else { 40 };
        let tcp = &packet.data[header..];
        let payload = &tcp[4 * usize::from(tcp[12] >> 4)..];
        let sequence = u32::from_be_bytes(*tcp[4..].first_chunk().unwrap());
        let synchronizes = u32::from(tcp[13] & 2 != 0);
        let start = self
            .starts
            .entry(flow)
            .or_insert(sequence.wrapping_add(synchronizes));
        let place = sequence.wrapping_sub(*start);
        if !payload.is_empty() {
            let key = (flow.source, flow.destination, place);
            let piece = self.pieces.entry(key).or_default();
            self.twice += usize::from(!piece.is_empty());
            if piece.len() < payload.len() {
                payload.clone_into(piece);
            }
        }
    }

    /// What was sent from one end to the other; a busy machine may send some of it again.
    fn stream(&self, source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
        let mut stream = Vec::new();
        for ((from, to, place), piece) in &self.pieces {
            if (*from, *to) == (source, destination) {
                let again = stream.len().saturating_sub(*place as usize);
                stream.extend(piece.iter().skip(again));
            }
        }
        stream
    }
}

/// Reads until `done` says so.
fn hear(source: &mut dyn Source, done: impl Fn(&Heard) -> bool) -> Heard {
    let (mut heard, begun) = (Heard::default(), Instant::now());
    while !done(&heard) {
        assert!(begun.elapsed() < PATIENCE, "not everything was heard");
        let more = source.read(Duration::from_millis(50), &mut |seen| heard.take(seen));
        assert!(more.unwrap());
    }
    heard
}

fn pair(address: &str) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[test]
fn what_passes_a_port_is_heard_once_and_nothing_else() {
    for (address, interface) in [
        ("127.0.0.1", Some("lo")),
        ("127.0.0.1", None),
        ("::1", None),
    ] {
        let (listener, port) = {
            let listener = TcpListener::bind((address, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            (listener, port)
        };
        let live = Live {
            interface: interface.map(str::to_owned),
            ports: vec![port],
            hosts: vec![address.parse().unwrap()],
            buffer: 8 << 20,
            ..Live::default()
        };
        let Some(mut source) = open(&live) else {
            return;
        };
        let mut client = TcpStream::connect((address, port)).unwrap();
        let mut server = listener.accept().unwrap().0;
        let (mut other, _other_server) = pair("127.0.0.1");
        other.write_all(b"not for these ears").unwrap();
        let sent: Vec<u8> = (0..300_000u32).flat_map(u32::to_be_bytes).collect();
        let answer = b"thank you".to_vec();
        let writer = {
            let (sent, mut client) = (sent.clone(), client.try_clone().unwrap());
            std::thread::spawn(move || client.write_all(&sent).unwrap())
        };
        server.read_exact(&mut vec![0; sent.len()]).unwrap();
        writer.join().unwrap();
        server.write_all(&answer).unwrap();
        client.read_exact(&mut vec![0; answer.len()]).unwrap();
        let ends = (client.local_addr().unwrap(), server.local_addr().unwrap());
        let heard = hear(&mut *source, |heard| {
            let there = heard.stream(ends.0, ends.1).len();
            there >= sent.len() && heard.stream(ends.1, ends.0).len() >= answer.len()
        });
        assert!(heard.twice * 2 < heard.pieces.len(), "{interface:?}");
        assert_eq!(heard.stream(ends.1, ends.0), answer);
        assert!(heard.stream(ends.0, ends.1) == sent, "{interface:?}");
        let foreign = heard.pieces.keys().find(|(from, to, _)| {
            let both = [*from, *to];
            !both.contains(&ends.0) || !both.contains(&ends.1)
        });
        assert_eq!(foreign, None);
        assert_eq!(source.lost(), 0);
        let now = Timestamp::now();
        assert!(
            (0..60).contains(&heard.latest.until(now).as_secs()),
            "the time is the clock's"
        );
    }
}

#[test]
fn packets_that_find_no_room_are_counted() {
    let (listener, port) = listen();
    let live = Live {
        interface: Some("lo".to_owned()),
        ports: vec![port],
        // The smallest ring: two blocks of a megabyte.
        buffer: 0,
        ..Live::default()
    };
    let Some(mut source) = open(&live) else {
        return;
    };
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut server = listener.accept().unwrap().0;
    let writer = std::thread::spawn(move || client.write_all(&vec![7; 16 << 20]).unwrap());
    server.read_exact(&mut vec![0; 16 << 20]).unwrap();
    writer.join().unwrap();
    let mut heard = Heard::default();
    source
        .read(Duration::ZERO, &mut |seen| heard.take(seen))
        .unwrap();
    assert!(!heard.pieces.is_empty());
    assert!(source.lost() > 0);
}

#[test]
fn of_many_connections_a_sample_is_heard_whole() {
    let (listener, port) = listen();
    let live = Live {
        ports: vec![port],
        sample: 4,
        buffer: 8 << 20,
        ..Live::default()
    };
    let Some(mut source) = open(&live) else {
        return;
    };
    let pairs: Vec<(TcpStream, TcpStream)> = std::iter::repeat_with(|| {
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut server = listener.accept().unwrap().0;
        client.write_all(b"question").unwrap();
        server.write_all(b"answer").unwrap();
        (client, server)
    })
    .take(128)
    .collect();
    let whole = |heard: &Heard, (client, server): &(TcpStream, TcpStream)| {
        let (client, server) = (client.local_addr().unwrap(), server.local_addr().unwrap());
        let there = heard.stream(client, server) == b"question";
        there && heard.stream(server, client) == b"answer"
    };
    let heard = hear(&mut *source, |heard| {
        pairs.iter().filter(|pair| whole(heard, pair)).count() > 1
    });
    let known = pairs.iter().filter(|(client, _)| {
        let address = client.local_addr().unwrap();
        heard.starts.keys().any(|flow| flow.source == address)
    });
    assert!(known.count() < pairs.len() * 3 / 4);
}

#[test]
fn only_the_chosen_process_is_heard() {
    let (listener, port) = listen();
    // It connects when it is told to, so that the source is there before.
    let mut chosen = Command::new("bash")
        .args([
            "-c",
            "read; exec 3<>/dev/tcp/127.0.0.1/$0; echo chosen >&3; read <&3",
        ])
        .arg(port.to_string())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let live = Live {
        processes: vec![Who::Id(chosen.id())],
        // What other tests send meanwhile must not take the room.
        ports: vec![port],
        buffer: 8 << 20,
        ..Live::default()
    };
    let Some(mut source) = open(&live) else {
        let _ = chosen.kill();
        let _ = chosen.wait();
        return;
    };
    let mut other = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let _other_server = listener.accept().unwrap();
    other.write_all(b"not for these ears").unwrap();
    chosen.stdin.take().unwrap().write_all(b"\n").unwrap();
    let (mut server, client) = listener.accept().unwrap();
    let mut said = [0; 7];
    server.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"chosen\n");
    let own = server.local_addr().unwrap();
    let heard = hear(&mut *source, |heard| heard.stream(client, own) == said);
    assert!(
        heard
            .pieces
            .keys()
            .all(|(from, to, _)| *from == client && *to == own)
    );
    server.write_all(b"\n").unwrap();
    assert!(chosen.wait().unwrap().success());
}

/// A process in a network namespace of its own, which connects when it is told a port. Says
/// `chosen` then, and waits. `None` where namespaces cannot be made.
fn elsewhere() -> Option<Child> {
    let script = "ip link set lo up && echo up; read port; exec 3<>/dev/tcp/127.0.0.1/$port; \
                  echo chosen >&3; read <&3";
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "bash", "-c", script]);
    let piped = unshare.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = piped.stderr(Stdio::null()).spawn().ok()?;
    let mut said = [0; 3];
    let is_up = child.stdout.as_mut()?.read_exact(&mut said).is_ok();
    if !is_up {
        let _ = child.kill();
        let _ = child.wait();
        assert!(!live::must_work(), "a network namespace cannot be made");
        eprintln!("a network namespace cannot be made here, so nothing in one is heard");
    }
    is_up.then_some(child)
}

/// Hears what the process says, chosen by `who`, and nothing that others say in its namespace.
fn hear_elsewhere(mut child: Child, who: Who) {
    let namespace = std::fs::File::open(format!("/proc/{}/ns/net", child.id())).unwrap();
    // Sockets stay where they were opened; this thread does not go there.
    let there = std::thread::spawn(move || {
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(namespace.as_fd(), kind).unwrap();
        let (listener, port) = listen();
        let other = TcpStream::connect(("127.0.0.1", port)).unwrap();
        (listener.accept().unwrap(), other, listener, port)
    });
    let (_accepted, mut other, listener, port) = there.join().unwrap();
    let live = Live {
        processes: vec![who],
        ports: vec![port],
        buffer: 8 << 20,
        ..Live::default()
    };
    if let Some(mut source) = open(&live) {
        other.write_all(b"not for these ears").unwrap();
        writeln!(child.stdin.as_ref().unwrap(), "{port}").unwrap();
        let (mut server, client) = listener.accept().unwrap();
        let own = server.local_addr().unwrap();
        let heard = hear(&mut *source, |heard| {
            heard.stream(client, own) == b"chosen\n"
        });
        assert_eq!(heard.pieces.len(), 1, "{:?}", heard.pieces.keys());
        server.write_all(b"\n").unwrap();
        assert!(child.wait().unwrap().success());
    } else {
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[test]
fn a_process_is_heard_in_its_own_network_namespace() {
    if let Some(child) = elsewhere() {
        let who = Who::Id(child.id());
        hear_elsewhere(child, who);
    }
}

#[test]
fn a_container_is_heard_in_its_own_network_namespace() {
    // What a runtime does: a control group with the container's identifier, and a namespace.
    let hierarchies = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let mut hierarchies = hierarchies.iter().map(Path::new);
    let Some(hierarchy) = hierarchies.find(|path| path.join("cgroup.procs").exists()) else {
        eprintln!("there are no control groups here, so no container is heard");
        return;
    };
    let id = format!("{:08x}{}", std::process::id(), "c0ffee00".repeat(7));
    let group = hierarchy.join(&id);
    if let Err(error) = std::fs::create_dir(&group) {
        eprintln!("no control group can be made here, so no container is heard: {error}");
        return;
    }
    if let Some(child) = elsewhere() {
        std::fs::write(group.join("cgroup.procs"), child.id().to_string()).unwrap();
        hear_elsewhere(child, Who::Container(id[..12].to_owned()));
    }
    // It is busy until the kernel has buried the process.
    let begun = Instant::now();
    while std::fs::remove_dir(&group).is_err() {
        assert!(begun.elapsed() < PATIENCE, "{} stays", group.display());
    }
}

#[test]
fn what_does_not_exist_is_named() {
    let no_interface = Live {
        interface: Some("eth-nowhere".to_owned()),
        ..Live::default()
    };
    let error = no_interface.packets().err().unwrap().to_string();
    assert!(
        error.contains("eth-nowhere") && error.contains("lo"),
        "{error}"
    );
    let nobody = Live {
        processes: vec![Who::Name("nobody-is-called-so".to_owned())],
        ..Live::default()
    };
    let error = nobody.packets().err().unwrap().to_string();
    assert_eq!(error, "no process is called nobody-is-called-so");
    let many = Live {
        ports: (1..=3000).collect(),
        ..Live::default()
    };
    let error = many.packets().err().unwrap().to_string();
    assert!(error.contains("name fewer"), "{error}");
}

#[test]
fn an_interface_that_is_removed_is_told() {
    let name = format!("kx{}", std::process::id());
    let ip = |arguments: &[&str]| {
        Command::new("ip")
            .args(arguments)
            .stderr(Stdio::null())
            .status()
    };
    // Where interfaces cannot be made, none can be removed.
    if !ip(&["link", "add", &name, "type", "veth"]).is_ok_and(|status| status.success()) {
        return;
    }
    ip(&["link", "set", &name, "up"]).unwrap();
    let live = Live {
        interface: Some(name.clone()),
        ..Live::default()
    };
    let source = open(&live);
    ip(&["link", "del", &name]).unwrap();
    let Some(mut source) = source else {
        return;
    };
    let error = source.read(PATIENCE, &mut |_| {}).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("the interface {name} went down or was removed")
    );
}

#[test]
fn a_packet_that_passes_several_interfaces_is_taken_at_the_first() {
    let flow = |port| Flow {
        source: SocketAddr::from(([10, 0, 0, 1], port)),
        destination: SocketAddr::from(([10, 0, 0, 2], 9876)),
    };
    let mut passages = Passages::default();
    let mut first = |port, interface, milliseconds: i64| {
        passages.first(flow(port), interface, Timestamp(milliseconds * 1_000_000))
    };
    assert!(first(1, 4, 0) && !first(1, 5, 1) && first(1, 4, 2) && !first(1, 5, 3));
    assert!(first(2, 5, 3), "another connection has its own way");
    assert!(first(1, 5, 1003), "a way may change");
    assert!(!first(1, 4, 1004));
}
