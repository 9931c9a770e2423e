//! The servers that are measured, and the folders that they keep their stores in.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::usage::Memory;
use crate::interop;
use crate::network::{answers, free_ports};
use crate::process::{self, Process, Result, told, until, with_logs};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Answers success to everything.
    Null,
    /// Apache RocketMQ 5.5.0.
    Reference,
    Kerolox,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Reference => "reference",
            Self::Kerolox => "kerolox",
        }
    }

    /// Its name in a table.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Kerolox => "Kerolox",
            Self::Null | Self::Reference => self.name(),
        }
    }
}

/// What is needed to start servers.
#[derive(Debug)]
pub(super) struct Programs {
    /// The release build.
    pub(super) kerolox: PathBuf,
    /// Class path of the reference, if it is to run.
    pub(super) reference: Option<String>,
    /// A folder for stores and logs.
    pub(super) folder: PathBuf,
}

impl Programs {
    /// Builds Kerolox, and fetches the reference if it is to run.
    pub(super) fn ready(with_reference: bool) -> Result<Self> {
        Ok(Self {
            kerolox: interop::release_binary(&[])?,
            reference: match with_reference {
                true => Some(interop::reference_class_path()?),
                false => None,
            },
            folder: process::target_dir()?.join("bench"),
        })
    }

    /// Reference and Kerolox, as far as they are to run.
    pub(super) fn brokers(&self) -> Vec<Kind> {
        let reference = self.reference.as_ref().map(|_| Kind::Reference);
        reference.into_iter().chain([Kind::Kerolox]).collect()
    }

    /// A `kerolox bench` for a server, with a report in JSON.
    pub(super) fn bench(&self, server: &Server) -> Command {
        let mut command = Command::new(&self.kerolox);
        command.args(["bench", "--output", "json"]);
        command.args(["--broker", &server.address.to_string()]);
        command
    }
}

/// Settings of a broker, by key.
pub(super) type Settings = BTreeMap<String, String>;

/// A folder for a server's store, settings and logs. Dropped, it is removed.
#[derive(Debug)]
pub(super) struct Home(PathBuf);

impl Home {
    /// An empty one.
    pub(super) fn new(kind: Kind, programs: &Programs) -> Result<Self> {
        let folder = programs.folder.join(kind.name());
        // What an interrupted run has left.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(|error| told(&folder, &error))?;
        Ok(Self(folder))
    }

    /// The broker's data directory.
    pub(super) fn store(&self) -> PathBuf {
        // Where Kerolox has it below its own.
        self.0.join("data/store")
    }

    /// A place for a file of this name.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, settings: &Settings) -> Result<PathBuf> {
        let path = self.path(name);
        let lines = settings
            .iter()
            .map(|(key, value)| format!("{key}={value}\n"));
        let written = fs::write(&path, lines.collect::<String>());
        written.map_err(|error| told(&path, &error)).map(|()| path)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Of 100,000 queues that takes minutes.
        eprintln!("   removing the store {}", self.0.display());
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server that answers. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Server {
    /// The broker last.
    processes: Vec<Process>,
    folder: PathBuf,
    /// Where the broker listens.
    pub(super) address: SocketAddr,
    /// When the broker was started; a name server of its own ran already.
    begun: Instant,
    /// From there to its first answer.
    pub(super) start: Duration,
}

impl Server {
    /// Starts a server on what is in its folder, and waits until it answers.
    pub(super) fn start(
        kind: Kind,
        programs: &Programs,
        home: &Home,
        settings: &Settings,
    ) -> Result<Self> {
        let mut server = Self {
            processes: Vec::new(),
            folder: home.0.clone(),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            begun: Instant::now(),
            start: Duration::ZERO,
        };
        let name_server = free_ports(1)?;
        // The reference uses the ports two below and one above its broker's too.
        let broker = free_ports(4)? + 2;
        server.address.set_port(broker);
        let kerolox = || Command::new(&programs.kerolox);
        match (kind, &programs.reference) {
            (Kind::Null, _) => {
                let address = server.address.to_string();
                let mut null = kerolox();
                null.args(["bench", "--null", "--listen", &address]);
                server.run_until_answer(&mut null, server.address)?;
            }
            (Kind::Kerolox, _) => {
                let (name_server, broker) = (name_server.to_string(), broker.to_string());
                let ports = ["--nameserver-port", &name_server, "--broker-port", &broker];
                let ports = [&ports[..], &["--grpc-port", "0"]].concat();
                let mut start = kerolox();
                start.args(["start", "--data"]).arg(home.0.join("data"));
                start.arg("-c").arg(home.write("broker.conf", settings)?);
                server.run_until_answer(start.args(ports), server.address)?;
            }
            (Kind::Reference, Some(class_path)) => {
                server.start_reference(home, settings, class_path, name_server, broker)?;
            }
            (Kind::Reference, None) => return Err("the reference is left out".to_owned()),
        }
        Ok(server)
    }

    fn start_reference(
        &mut self,
        home: &Home,
        settings: &Settings,
        class_path: &str,
        name_server: u16,
        broker: u16,
    ) -> Result<()> {
        let port = [("listenPort".to_owned(), name_server.to_string())];
        let name_server_file = home.write("namesrv.conf", &port.into())?;
        let store = home.store();
        let mut all = settings.clone();
        all.extend(
            [
                ("brokerIP1", "127.0.0.1".to_owned()),
                ("namesrvAddr", format!("127.0.0.1:{name_server}")),
                ("listenPort", broker.to_string()),
                ("haListenPort", (broker + 1).to_string()),
                ("storePathRootDir", store.display().to_string()),
                (
                    "storePathCommitLog",
                    store.join("commitlog").display().to_string(),
                ),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        let broker_file = home.write("broker.conf", &all)?;
        let home = &home.0;
        let java = |options: &str, class: &str, file: &Path| {
            let mut java = Command::new("java");
            java.env("ROCKETMQ_HOME", home)
                .args(options.split_whitespace());
            java.arg(format!("-Duser.home={}", home.display()));
            java.args(["-cp", class_path, class, "-c"]).arg(file);
            java
        };
        let class = "org.apache.rocketmq.namesrv.NamesrvStartup";
        let mut command = java("-Xms256m -Xmx256m", class, &name_server_file);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, name_server));
        self.run_until_answer(&mut command, address)?;
        // Those of runbroker.sh, but for the size of the heap.
        let options = "-server -Xms4g -Xmx4g -XX:+UseG1GC -XX:G1HeapRegionSize=16m \
            -XX:G1ReservePercent=25 -XX:InitiatingHeapOccupancyPercent=30 \
            -XX:SoftRefLRUPolicyMSPerMB=0 -XX:-OmitStackTraceInFastThrow -XX:+AlwaysPreTouch \
            -XX:MaxDirectMemorySize=15g -XX:-UseLargePages -XX:+IgnoreUnrecognizedVMOptions";
        let class = "org.apache.rocketmq.broker.BrokerStartup";
        self.run_until_answer(&mut java(options, class, &broker_file), self.address)
    }

    /// Starts a process, the broker last, and waits for its first answer.
    fn run_until_answer(&mut self, command: &mut Command, address: SocketAddr) -> Result<()> {
        let number = self.processes.len();
        let log = self.folder.join(format!("output-{number}.log"));
        self.begun = Instant::now();
        self.processes.push(Process::spawn_logged(command, &log)?);
        self.start = self.time_until(&format!("{address} answers"), || answers(address))?;
        Ok(())
    }

    /// Waits until something is so; tells the time since the broker's start.
    pub(super) fn time_until(&mut self, what: &str, so: impl Fn() -> bool) -> Result<Duration> {
        let waited = until(what, || match self.processes.last_mut() {
            Some(server) => match server.has_ended()? {
                true => Err("a server has ended".to_owned()),
                false => Ok(so()),
            },
            None => Err("no server was started".to_owned()),
        });
        let time = self.begun.elapsed();
        waited
            .map(|()| time)
            .map_err(|error| with_logs(error, &self.folder))
    }

    /// The broker's process.
    pub(super) fn process(&self) -> u32 {
        self.processes.last().map_or(0, |process| process.0.id())
    }

    /// What all processes take, where the system tells it.
    pub(super) fn memory(&self) -> Option<Memory> {
        let processes = self.processes.iter();
        processes.map(|process| Memory::of(process.0.id())).sum()
    }

    /// Has the broker stop by itself, and ends the rest.
    pub(super) fn stop(mut self) -> Result<()> {
        let Some(mut broker) = self.processes.pop() else {
            return Ok(());
        };
        broker.terminate()?;
        until("the broker has ended", || broker.has_ended())
    }
}
