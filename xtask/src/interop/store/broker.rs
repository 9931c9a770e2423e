//! The brokers of the legs, and the Java programs that drive and read them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;

use super::dump::{Dump, parse};
use crate::network::{answers, free_ports};
use crate::process::{self, Process, Result, told, until};

/// Who runs a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::interop) enum Kind {
    /// Apache RocketMQ 5.5.0.
    Reference,
    Kerolox,
}

/// How a leg ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::interop) enum End {
    /// SIGTERM, and the broker takes its time.
    Stop,
    /// SIGKILL, amid sends.
    Kill,
}

/// What is needed to run legs.
#[derive(Debug)]
pub(in crate::interop) struct Programs {
    pub(in crate::interop) kerolox: PathBuf,
    class_path: String,
    /// The same with the client by gRPC in front, which has classes of the proxy's names.
    grpc_class_path: String,
    /// Where everything here lies.
    pub(in crate::interop) folder: PathBuf,
}

impl Programs {
    /// Builds Kerolox, fetches the reference and compiles the Java programs.
    /// All lies in a folder of this name.
    pub(in crate::interop) fn prepare(name: &str) -> Result<Self> {
        let kerolox = super::super::release_binary(&[])?;
        let reference = super::super::reference_class_path()?;
        let grpc_client = super::super::grpc_client_class_path()?;
        let folder = process::target_dir()?.join(name);
        // What a run that failed has left.
        let _ = fs::remove_dir_all(&folder);
        let classes = folder.join("classes");
        fs::create_dir_all(&classes).map_err(|error| told(&classes, &error))?;
        let sources = process::root().join("tests/interop/java/store");
        let mut compiler = Command::new("javac");
        compiler.args(["--release", "17", "-Xlint:all,-processing,-classfile"]);
        let libraries = format!("{reference}:{grpc_client}");
        compiler.args(["-cp", &libraries, "-d"]).arg(&classes);
        for entry in fs::read_dir(&sources).map_err(|error| told(&sources, &error))? {
            compiler.arg(entry.map_err(|error| told(&sources, &error))?.path());
        }
        process::run(&mut compiler)?;
        let class_path = format!("{}:{reference}", classes.display());
        let grpc_class_path = format!("{grpc_client}:{class_path}");
        Ok(Self {
            kerolox,
            class_path,
            grpc_class_path,
            folder,
        })
    }

    /// A JVM whose logs go below `home`.
    pub(in crate::interop) fn java(&self, home: &Path, heap: &str, class: &str) -> Command {
        java(&self.class_path, home, heap, class)
    }

    /// The same for a program that uses the client by gRPC.
    pub(in crate::interop) fn grpc_java(&self, home: &Path, heap: &str, class: &str) -> Command {
        java(&self.grpc_class_path, home, heap, class)
    }

    /// What the reference's own store finds in a directory, which it recovers.
    pub(super) fn read_store(&self, home: &Path, store: &Path) -> Result<Dump> {
        let mut java = self.java(home, "-Xmx512m", "kerolox.store.ReadStore");
        Dump::read(Teller::run(
            java.arg(store).arg(home.join("broker.conf")),
            home,
        )?)
    }

    /// Has a store repaired, as it must need, and verified. Only where there is no index any more
    /// the sizes of its files have to be told.
    pub(super) fn repair(&self, home: &Path, store: &Path) -> Result<()> {
        let conf = home.join("broker.conf");
        let has_index = store.join("index").exists();
        let log = home.join("store.log");
        let run = |command: &str, more: &[&str]| {
            let mut program = Command::new(&self.kerolox);
            program.args(["store", command]).arg(store).args(more);
            if !has_index {
                program.arg("-c").arg(&conf);
            }
            let ended = Process::spawn_logged(&mut program, &log)?.0.wait();
            let well = ended.is_ok_and(|status| status.success());
            Ok::<_, String>(well)
        };
        if run("verify", &[])? {
            return Err("verifying finds no damage".to_owned());
        }
        let mended = run("repair", &["--yes"])? && run("verify", &[])?;
        let failed = || format!("the store is not mended, see {}", log.display());
        mended.then_some(()).ok_or_else(failed)
    }

    /// What a broker answers.
    pub(super) fn read_broker(&self, home: &Path, broker: &Broker) -> Result<Dump> {
        let mut java = self.java(home, "-Xmx512m", "kerolox.store.ReadBroker");
        Dump::read(Teller::run(java.arg(broker.address.to_string()), home)?)
    }

    /// Has clients work with a broker; `sends` of 0 are endless.
    pub(super) fn traffic(
        &self,
        home: &Path,
        broker: &Broker,
        leg: usize,
        seed: u64,
        sends: u32,
        extras: &[&str],
    ) -> Result<Teller> {
        let mut java = self.java(home, "-Xmx512m", "kerolox.store.Traffic");
        java.arg(broker.name_server.to_string())
            .arg(broker.address.to_string());
        java.args([leg.to_string(), seed.to_string(), sends.to_string()]);
        Teller::run(java.args(extras), home)
    }

    /// The clients that see a store through all its handovers; each broker has to be
    /// [told](Teller::tell) to them.
    pub(super) fn handover(&self, home: &Path) -> Result<Teller> {
        Teller::run(
            &mut self.java(home, "-Xmx512m", "kerolox.store.Handover"),
            home,
        )
    }
}

fn java(class_path: &str, home: &Path, heap: &str, class: &str) -> Command {
    let mut java = Command::new("java");
    java.env("ROCKETMQ_HOME", home);
    // Most of its life is its start.
    java.args([heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    java.arg(format!("-Duser.home={}", home.display()));
    java.args(["-cp", class_path, class]);
    java
}

/// A running client that tells what it does and finds.
#[derive(Debug)]
pub(in crate::interop) struct Teller {
    process: Process,
    lines: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Teller {
    pub(in crate::interop) fn run(program: &mut Command, home: &Path) -> Result<Self> {
        let log = home.join("client.log");
        let file = File::options().create(true).append(true).open(&log);
        let file = file.map_err(|error| told(&log, &error))?;
        let program = program.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::spawn(program.stderr(file))?;
        let output = process.0.stdout.take().ok_or("a client has no output")?;
        Ok(Self {
            process,
            lines: BufReader::new(output),
            log,
        })
    }

    /// Tells the program which broker has the store now, and a word about it.
    pub(super) fn tell(&mut self, broker: &Broker, word: &str) -> Result<()> {
        let Broker {
            name_server,
            address,
            ..
        } = broker;
        self.say(&format!("{name_server} {address} {word}"))
    }

    /// Writes a line for the program to read.
    pub(in crate::interop) fn say(&mut self, line: &str) -> Result<()> {
        let input = self
            .process
            .0
            .stdin
            .as_mut()
            .ok_or("a client has no input")?;
        writeln!(input, "{line}").map_err(|error| format!("{error}; see {}", self.log.display()))
    }

    /// Has the program end.
    pub(super) fn close(&mut self) {
        self.process.0.stdin = None;
    }

    /// What comes next, read from its JSON; `None` when all is told and went well.
    pub(in crate::interop) fn next<L: DeserializeOwned>(&mut self) -> Result<Option<L>> {
        self.next_line()?.map(|line| parse(&line)).transpose()
    }

    /// The line that comes next; `None` when all is told and went well.
    pub(in crate::interop) fn next_line(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        let failed = |what: String| format!("{what}; see {}", self.log.display());
        match self.lines.read_line(&mut line) {
            Ok(0) => {}
            Ok(_) => return Ok(Some(line.trim_end().to_owned())),
            Err(error) => return Err(failed(error.to_string())),
        }
        match self.process.0.wait() {
            Ok(status) if status.success() => Ok(None),
            Ok(status) => Err(failed(format!("a client ended with {status}"))),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

/// A running broker with a name server.
#[derive(Debug)]
pub(in crate::interop) struct Broker {
    process: Process,
    command: Command,
    log: PathBuf,
    pub(in crate::interop) name_server: SocketAddr,
    pub(in crate::interop) address: SocketAddr,
    /// Its name server, unless that is in the same process.
    _name_server: Option<Process>,
}

impl Broker {
    /// Starts both on the store in `home`, and waits until the broker answers.
    pub(in crate::interop) fn start(
        kind: Kind,
        programs: &Programs,
        home: &Path,
        settings: &[&str],
    ) -> Result<Self> {
        let plan = Plan::new(programs, home, settings)?;
        let [mut for_names, mut for_messages] = match kind {
            Kind::Kerolox => [plan.kerolox("nameserver"), plan.kerolox("broker")],
            Kind::Reference => [
                plan.java("-Xmx256m", NAME_SERVER),
                plan.java("-Xmx1g", "broker.BrokerStartup"),
            ],
        };
        for_names.arg("-c").arg(&plan.name_server_conf);
        for_messages.arg("-c").arg(&plan.broker_conf);
        plan.run(Some(for_names), for_messages)
    }

    /// The same with a proxy in the broker's process, which serves the gRPC API at an address.
    pub(in crate::interop) fn start_with_proxy(
        kind: Kind,
        programs: &Programs,
        home: &Path,
        settings: &[&str],
    ) -> Result<(Self, SocketAddr)> {
        let settings = [settings, &["brokerClusterName=DefaultCluster"]].concat();
        let plan = Plan::new(programs, home, &settings)?;
        let proxy = local(free_ports(1)?);
        let (for_names, for_all) = match kind {
            Kind::Kerolox => {
                let mut start = plan.kerolox("start");
                start.arg("--data").arg(home.join("data"));
                for (option, address) in [
                    ("--nameserver-port", plan.name_server),
                    ("--broker-port", plan.broker),
                    ("--grpc-port", proxy),
                ] {
                    start.args([option, &address.port().to_string()]);
                }
                start.arg("-c").arg(&plan.broker_conf);
                (None, start)
            }
            Kind::Reference => {
                let lines = [format!(
                    r#"{{"rocketMQClusterName": "DefaultCluster", "proxyMode": "LOCAL",
                    "grpcServerPort": {}, "remotingListenPort": {}}}"#,
                    proxy.port(),
                    free_ports(1)?
                )];
                let proxy_conf = write(home, "rmq-proxy.json", &lines)?;
                let mut for_names = plan.java("-Xmx256m", NAME_SERVER);
                for_names.arg("-c").arg(&plan.name_server_conf);
                let mut start = plan.java("-Xmx1g", "proxy.ProxyStartup");
                start.args(["-pm", "LOCAL", "-n", &plan.name_server.to_string()]);
                start.arg("-bc").arg(&plan.broker_conf);
                start.arg("-pc").arg(proxy_conf);
                (Some(for_names), start)
            }
        };
        Ok((plan.run(for_names, for_all)?, proxy))
    }

    /// The number of the broker's process.
    pub(in crate::interop) fn id(&self) -> u32 {
        self.process.0.id()
    }

    /// Ends the broker at once; its name server ends with this value.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Asks the broker to end, and waits until it has.
    pub(in crate::interop) fn stop(mut self) -> Result<()> {
        self.end()
    }

    /// Has the broker's process, with all that is in it, end and start again.
    pub(in crate::interop) fn restart(&mut self) -> Result<()> {
        self.end()?;
        self.process = launch(&mut self.command, &self.log, self.address)?;
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.process.terminate()?;
        until("the broker has ended", || self.process.has_ended())
    }
}

/// Starts a broker, and waits until it answers.
fn launch(command: &mut Command, log: &Path, address: SocketAddr) -> Result<Process> {
    let mut process = Process::spawn_logged(command, log)?;
    until("the broker answers", || {
        if process.has_ended()? {
            return Err("the broker ends at its start".to_owned());
        }
        Ok(answers(address))
    })?;
    Ok(process)
}

/// The class of the reference's name server.
const NAME_SERVER: &str = "namesrv.NamesrvStartup";

/// What is to be run, with its configuration written.
struct Plan<'a> {
    programs: &'a Programs,
    home: &'a Path,
    name_server: SocketAddr,
    broker: SocketAddr,
    name_server_conf: PathBuf,
    broker_conf: PathBuf,
}

impl<'a> Plan<'a> {
    fn new(programs: &'a Programs, home: &'a Path, settings: &[&str]) -> Result<Self> {
        let name_server = local(free_ports(1)?);
        // The reference uses the ports two below and one above its broker's too.
        let broker = local(free_ports(4)? + 2);
        let store = home.join("store");
        let mut lines = vec![
            "brokerName=broker-a".to_owned(),
            "brokerIP1=127.0.0.1".to_owned(),
            format!("namesrvAddr={name_server}"),
            format!("listenPort={}", broker.port()),
            format!("haListenPort={}", broker.port() + 1),
            format!("storePathRootDir={}", store.display()),
            format!("storePathCommitLog={}", store.join("commitlog").display()),
        ];
        lines.extend(settings.iter().map(|&line| line.to_owned()));
        let broker_conf = write(home, "broker.conf", &lines)?;
        let lines = [
            format!("listenPort={}", name_server.port()),
            format!("kvConfigPath={}", home.join("kvConfig.json").display()),
        ];
        let name_server_conf = write(home, "namesrv.conf", &lines)?;
        Ok(Self {
            programs,
            home,
            name_server,
            broker,
            name_server_conf,
            broker_conf,
        })
    }

    fn kerolox(&self, role: &str) -> Command {
        let mut program = Command::new(&self.programs.kerolox);
        program.arg(role);
        program
    }

    fn java(&self, heap: &str, class: &str) -> Command {
        let class = format!("org.apache.rocketmq.{class}");
        self.programs.java(self.home, heap, &class)
    }

    fn run(self, names: Option<Command>, mut command: Command) -> Result<Broker> {
        let names = names
            .map(|mut names| Process::spawn_logged(&mut names, &self.home.join("namesrv.log")));
        let _name_server = names.transpose()?;
        if _name_server.is_some() {
            // A broker that does not find its name server tries again only after ten seconds.
            until("the name server answers", || Ok(answers(self.name_server)))?;
        }
        let log = self.home.join("broker.log");
        Ok(Broker {
            process: launch(&mut command, &log, self.broker)?,
            command,
            log,
            name_server: self.name_server,
            address: self.broker,
            _name_server,
        })
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn write(home: &Path, name: &str, lines: &[String]) -> Result<PathBuf> {
    let path = home.join(name);
    let written = fs::write(&path, lines.join("\n"));
    written.map_err(|error| told(&path, &error)).map(|()| path)
}
