//! The servers that are measured, each started with an empty store.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::network::{answers, free_ports};
use crate::process::Result;

/// How long a server may take to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(120);

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

/// A server that answers. Dropped, it is killed and its store removed.
#[derive(Debug)]
pub(super) struct Server {
    /// The broker last.
    processes: Vec<Child>,
    folder: PathBuf,
    /// Where the broker listens.
    pub(super) address: SocketAddr,
    /// From the broker's start to its first answer; a name server of its own runs already.
    pub(super) start: Duration,
}

impl Server {
    /// Starts a server and waits until it answers.
    pub(super) fn start(kind: Kind, programs: &Programs) -> Result<Self> {
        let folder = programs.folder.join(kind.name());
        // What an interrupted run has left.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(|error| told(&folder, &error))?;
        let mut server = Self {
            processes: Vec::new(),
            folder,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
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
                let mut start = kerolox();
                start
                    .args(["start", "--data"])
                    .arg(server.folder.join("data"));
                server.run_until_answer(start.args(ports), server.address)?;
            }
            (Kind::Reference, Some(class_path)) => {
                server.start_reference(class_path, name_server, broker)?;
            }
            (Kind::Reference, None) => return Err("the reference is left out".to_owned()),
        }
        Ok(server)
    }

    fn start_reference(&mut self, class_path: &str, name_server: u16, broker: u16) -> Result<()> {
        let home = self.folder.clone();
        let write = |name: &str, lines: &[String]| {
            let path = home.join(name);
            let written = fs::write(&path, lines.join("\n"));
            written.map_err(|error| told(&path, &error)).map(|()| path)
        };
        let name_server_file = write("namesrv.conf", &[format!("listenPort={name_server}")])?;
        let store = home.join("store");
        let broker_file = write(
            "broker.conf",
            &[
                "brokerIP1=127.0.0.1".to_owned(),
                format!("namesrvAddr=127.0.0.1:{name_server}"),
                format!("listenPort={broker}"),
                format!("haListenPort={}", broker + 1),
                "flushDiskType=ASYNC_FLUSH".to_owned(),
                format!("storePathRootDir={}", store.display()),
                format!("storePathCommitLog={}", store.join("commitlog").display()),
            ],
        )?;
        let java = |options: &str, class: &str, file: &Path| {
            let mut java = Command::new("java");
            java.env("ROCKETMQ_HOME", &home)
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

    /// Starts a process and waits for its first answer.
    fn run_until_answer(&mut self, command: &mut Command, address: SocketAddr) -> Result<()> {
        let started = Instant::now();
        self.run(command)?;
        self.wait_for_answer(address)?;
        self.start = started.elapsed();
        Ok(())
    }

    /// Starts a process; the last one is the broker.
    fn run(&mut self, command: &mut Command) -> Result<()> {
        let path = self
            .folder
            .join(format!("output-{}.log", self.processes.len()));
        let log = File::create(&path).map_err(|error| told(&path, &error))?;
        let too = log.try_clone().map_err(|error| told(&path, &error))?;
        let command = command.stdin(Stdio::null()).stdout(log).stderr(too);
        let process = command.spawn().map_err(|error| {
            format!(
                "cannot run {}: {error}",
                command.get_program().to_string_lossy()
            )
        })?;
        self.processes.push(process);
        Ok(())
    }

    fn wait_for_answer(&mut self, address: SocketAddr) -> Result<()> {
        let started = Instant::now();
        while !answers(address) {
            let log = self.folder.display();
            if let Some(process) = self.processes.last_mut()
                && let Ok(Some(status)) = process.try_wait()
            {
                let (folder, last) = (&self.folder, self.processes.len() - 1);
                let log = fs::read_to_string(folder.join(format!("output-{last}.log")));
                return Err(format!(
                    "a server ended with {status}:\n{}",
                    log.unwrap_or_default()
                ));
            }
            if started.elapsed() > PATIENCE {
                return Err(format!(
                    "nothing answers at {address}; its output is in {log}"
                ));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// The broker's process.
    pub(super) fn process(&self) -> u32 {
        self.processes.last().map_or(0, Child::id)
    }

    /// Resident and private memory of all processes in bytes, where the system tells it.
    pub(super) fn memory(&self) -> Option<[u64; 2]> {
        let mut sum = [0, 0];
        for process in &self.processes {
            let status = fs::read_to_string(format!("/proc/{}/status", process.id())).ok()?;
            for (sum, name) in sum.iter_mut().zip(["VmRSS:", "RssAnon:"]) {
                let line = status.lines().find_map(|line| line.strip_prefix(name))?;
                let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
                *sum += kilobytes * 1024;
            }
        }
        Some(sum)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn told(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
