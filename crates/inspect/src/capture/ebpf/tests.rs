//! Against the kernel. Without the capabilities, or on an old kernel, all that can be tested is
//! that the error says so.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::capture::{Flow, Who};

const PATIENCE: Duration = Duration::from_secs(30);

fn open(live: &Live) -> Option<Box<dyn Source + Send>> {
    match live.streams() {
        Ok(source) => Some(source),
        Err(error) => {
            let said = error.to_string();
            let known = ["CAP_BPF", "CONFIG_DEBUG_INFO_BTF", "Linux 5.17"];
            assert!(known.iter().any(|why| said.contains(why)), "{said}");
            assert!(!live::must_work(), "{said}");
            None
        }
    }
}

/// The streams by their flows.
#[derive(Default)]
struct Heard {
    streams: HashMap<Flow, Vec<u8>>,
    names: HashMap<Flow, String>,
    ended: Vec<Flow>,
    missing: u64,
}

impl Heard {
    fn take(&mut self, observed: Observed<'_>) {
        let Observed::Chunk(chunk) = observed else {
            panic!("processes give chunks");
        };
        self.missing += chunk.missing;
        if chunk.ends {
            self.ended.push(chunk.flow);
        } else {
            let stream = self.streams.entry(chunk.flow).or_default();
            stream.extend(chunk.data);
            let name = chunk.process.unwrap().name.to_string();
            self.names.insert(chunk.flow, name);
        }
    }

    fn of(&self, flow: Flow) -> &[u8] {
        self.streams.get(&flow).map_or(&[], Vec::as_slice)
    }
}

/// What was said, by whom to whom.
impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (flow, stream) in &self.streams {
            let Flow {
                source,
                destination,
            } = flow;
            let start = stream.get(..64).unwrap_or(stream).escape_ascii();
            let (name, len) = (&self.names[flow], stream.len());
            writeln!(
                f,
                "{name} from {source} to {destination}: {len} bytes, {start}"
            )?;
        }
        write!(
            f,
            "{} bytes are missing, {:?} ended",
            self.missing, self.ended
        )
    }
}

fn hear(source: &mut dyn Source, done: impl Fn(&Heard) -> bool) -> Heard {
    let (mut heard, begun) = (Heard::default(), Instant::now());
    while !done(&heard) {
        assert!(begun.elapsed() < PATIENCE, "no more was heard than {heard}");
        let more = source.read(Duration::from_millis(50), &mut |seen| heard.take(seen));
        assert!(more.unwrap());
    }
    heard
}

fn flow(source: SocketAddr, destination: SocketAddr) -> Flow {
    Flow {
        source,
        destination,
    }
}

/// A child that does not outlive the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_a_process_sends_and_receives_is_heard_with_its_name() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // It connects when it is told to, so that the source is there before.
    let script = "read; exec 3<>/dev/tcp/127.0.0.1/$0; echo hello >&3; read answer <&3; \
                  head -c 3000000 /dev/zero >&3; read <&3";
    let mut talker = Running(
        Command::new("bash")
            .args(["-c", script, &port.to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let live = Live {
        ports: vec![port],
        hosts: vec!["127.0.0.1".parse().unwrap()],
        ..Live::default()
    };
    let Some(mut source) = open(&live) else {
        return;
    };
    let mut stdin = talker.0.stdin.take().unwrap();
    stdin.write_all(b"\n").unwrap();
    let (mut server, client) = listener.accept().unwrap();
    let own = server.local_addr().unwrap();
    server.read_exact(&mut [0; 6]).unwrap();
    server.write_all(b"thanks\n").unwrap();
    server.read_exact(&mut vec![0; 3_000_000]).unwrap();
    server.write_all(b"\n").unwrap();
    assert!(talker.0.wait().unwrap().success());
    drop(server);
    let (there, back) = (flow(client, own), flow(own, client));
    let heard = hear(&mut *source, |heard| heard.ended.len() == 2);
    assert_eq!(heard.missing, 0);
    assert_eq!(heard.of(there).len(), 3_000_006);
    assert!(heard.of(there).starts_with(b"hello\n\0"));
    assert_eq!(heard.of(back), b"thanks\n\n");
    assert_eq!(heard.names[&back], "bash");
    assert_eq!(heard.names[&there], "head", "who wrote the last of it");
    assert!(heard.ended.contains(&there) && heard.ended.contains(&back));
    assert_eq!(heard.streams.len(), 2, "nothing else is heard");
    assert_eq!(source.lost(), 0);
}

#[test]
fn only_the_chosen_process_is_heard() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let script = "read; exec 3<>/dev/tcp/127.0.0.1/$0; echo $$ >&3; read <&3";
    let mut talkers = [0, 1].map(|_| {
        let mut bash = Command::new("bash");
        let bash = bash.args(["-c", script, &port]).stdin(Stdio::piped());
        Running(bash.spawn().unwrap())
    });
    let chosen = talkers[0].0.id();
    let live = Live {
        processes: vec![Who::Id(chosen)],
        ..Live::default()
    };
    let Some(mut source) = open(&live) else {
        return;
    };
    // The other one first: what it says would be heard by the time the chosen one is.
    let mut connections = Vec::new();
    for talker in talkers.iter_mut().rev() {
        let stdin = talker.0.stdin.as_mut().unwrap();
        stdin.write_all(b"\n").unwrap();
        let (mut server, client) = listener.accept().unwrap();
        let said = format!("{}\n", talker.0.id());
        server.read_exact(&mut vec![0; said.len()]).unwrap();
        connections.push((flow(client, server.local_addr().unwrap()), said, server));
    }
    let (there, said, _) = &connections[1];
    let heard = hear(&mut *source, |heard| !heard.of(*there).is_empty());
    assert_eq!(heard.of(*there), said.as_bytes());
    assert_eq!(heard.streams.len(), 1);
}

#[test]
fn of_many_connections_a_sample_is_heard() {
    const CONNECTIONS: usize = 128;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = "read; for i in $(seq $1); do exec {fd}<>/dev/tcp/127.0.0.1/$0; \
                  echo hello >&$fd; done; read";
    let mut bash = Command::new("bash");
    let bash = bash.args(["-c", script, &port.to_string(), &CONNECTIONS.to_string()]);
    let mut talker = Running(bash.stdin(Stdio::piped()).spawn().unwrap());
    let live = Live {
        ports: vec![port],
        sample: 4,
        ..Live::default()
    };
    let Some(mut source) = open(&live) else {
        return;
    };
    let stdin = talker.0.stdin.as_mut().unwrap();
    stdin.write_all(b"\n").unwrap();
    let mut servers = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut server = listener.accept().unwrap().0;
        server.read_exact(&mut [0; 6]).unwrap();
        servers.push(server);
    }
    let heard = hear(&mut *source, |heard| heard.streams.len() > 1);
    assert!(heard.streams.values().all(|said| said == b"hello\n"));
    assert!(heard.streams.len() < CONNECTIONS * 3 / 4);
}

#[test]
fn what_openssl_encrypts_is_heard_in_plain_text() {
    let folder = tempfile::tempdir().unwrap();
    let openssl = || {
        let mut openssl = Command::new("openssl");
        openssl.current_dir(folder.path());
        openssl.stdout(Stdio::null()).stderr(Stdio::null());
        openssl
    };
    let mut make = openssl();
    make.args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=localhost",
    ]);
    if make
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .status()
        .is_err()
    {
        return; // There is no OpenSSL here whose bytes could be heard.
    }
    let mut serve = openssl();
    serve.args(["s_server", "-rev", "-accept", "0"]);
    serve.args(["-cert", "certificate.pem", "-key", "key.pem"]);
    let serve = serve.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut server = Running(serve.spawn().unwrap());
    let mut said = BufReader::new(server.0.stdout.take().unwrap()).lines();
    // It says `ACCEPT [::]:37269`.
    let port = said.find_map(|line| line.unwrap().rsplit_once(':')?.1.parse().ok());
    let port: u16 = port.expect("the server listens");
    let live = Live {
        ports: vec![port],
        ..Live::default()
    };
    let Some(mut source) = open(&live) else {
        return;
    };
    let mut ask = openssl();
    ask.args([
        "s_client",
        "-quiet",
        "-connect",
        &format!("127.0.0.1:{port}"),
    ]);
    let mut client = Running(ask.stdin(Stdio::piped()).spawn().unwrap());
    let stdin = client.0.stdin.as_mut().unwrap();
    stdin.write_all(b"a word in confidence\n").unwrap();
    let answer = b"ecnedifnoc ni drow a\n";
    let heard = hear(&mut *source, |heard| {
        heard.streams.values().any(|stream| stream == answer)
    });
    let said = heard
        .streams
        .iter()
        .find(|(flow, _)| flow.destination.port() == port);
    let (there, said) = said.unwrap();
    assert_eq!(said, b"a word in confidence\n");
    assert_eq!(heard.names[there], "openssl");
    assert_eq!(heard.streams.len(), 2, "nothing of it is heard encrypted");
    assert_eq!(heard.missing, 0);
}
