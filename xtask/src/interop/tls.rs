//! `cargo xtask interop tls`: OpenSSL's client against the modes of TLS.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::network::free_ports;
use crate::process::{self, Process, Result, told, until};

/// Settings of a server, then options of `openssl s_client`, each with what it must tell.
type Case = (&'static str, &'static [(&'static str, &'static str)]);

const CASES: [Case; 5] = [
    (
        "",
        &[
            ("-tls1_3", "New, TLSv1.3"),
            ("-tls1_2", "New, TLSv1.2"),
            ("-tls1_2 -reconnect", "Reused, TLSv1.2"),
            ("-tls1_1 -cipher ALL:@SECLEVEL=0", "alert handshake failure"),
            ("-alpn http/1.1,h2", "ALPN protocol: h2"),
            ("-alpn gopher", "alert no application protocol"),
        ],
    ),
    (
        "tls.server.mode=disabled",
        &[("", "alert handshake failure")],
    ),
    (
        "tls.server.mode=enforcing\ntls.test.mode.enable=false\n\
         tls.server.certPath=DIR/server.crt\ntls.server.keyPath=DIR/server.encrypted.key\n\
         tls.server.keyPassword=secret",
        &[
            (
                "-CAfile DIR/ca.crt -verify_hostname localhost",
                "Verification: OK",
            ),
            (
                "-CAfile DIR/other.crt",
                "unable to get local issuer certificate",
            ),
        ],
    ),
    (
        "tls.test.mode.enable=false\ntls.server.certPath=DIR/server.crt\n\
         tls.server.keyPath=DIR/server.key\ntls.server.need.client.auth=require\n\
         tls.server.authClient=true\ntls.server.trustCertPath=DIR/ca.crt",
        &[
            ("-tls1_2", "alert certificate required"),
            (
                "-tls1_2 -cert DIR/client.crt -key DIR/client.key",
                "New, TLSv1.2",
            ),
            (
                "-tls1_2 -cert DIR/other.crt -key DIR/other.key",
                "alert certificate unknown",
            ),
        ],
    ),
    (
        "tls.test.mode.enable=false\ntls.server.certPath=DIR/server.crt\n\
         tls.server.keyPath=DIR/server.key\n\
         kerolox.tlsCertificates=DIR/other.crt=DIR/other.key",
        &[
            ("-servername other", "subject=CN = other"),
            ("-servername elsewhere", "subject=CN = localhost"),
        ],
    ),
];

/// What makes the files that the cases name.
const FILES: [&str; 8] = [
    "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -subj /CN=ca -days 9",
    "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout other.key -out other.crt -subj /CN=other -addext subjectAltName=DNS:other -days 9",
    "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost -addext subjectAltName=DNS:localhost",
    "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -copy_extensions copy -out server.crt -days 9",
    "pkcs8 -topk8 -in server.key -out server.encrypted.key -passout pass:secret",
    "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout client.key -out client.csr -subj /CN=client -addext basicConstraints=CA:FALSE",
    "x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -copy_extensions copy -out client.crt -days 9",
    "verify -CAfile ca.crt server.crt client.crt",
];

/// Starts a name server for each case and asks it by OpenSSL.
pub(super) fn run() -> Result<()> {
    let kerolox = super::release_binary(&[])?;
    let folder = process::target_dir()?.join("interop-tls");
    fs::create_dir_all(&folder).map_err(|error| told(&folder, &error))?;
    for line in FILES {
        process::run(openssl(&folder, line).stderr(Stdio::null()))?;
    }
    let mut failed = Vec::new();
    for (settings, clients) in CASES {
        let server = Server::start(&kerolox, &folder, settings)?;
        for (options, wanted) in clients {
            let told = server.ask(&folder, options)?;
            let verdict = if told.contains(wanted) {
                "ok"
            } else {
                "FAILED"
            };
            eprintln!("{verdict}: {settings:?}, s_client {options}: {wanted}");
            if !told.contains(wanted) {
                failed.push(format!(
                    "s_client {options} does not tell \"{wanted}\" but:\n{told}"
                ));
            }
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(failed.join("\n"))
    }
}

fn openssl(folder: &Path, line: &str) -> Command {
    let mut command = Command::new("openssl");
    let words = line.replace("DIR", &folder.to_string_lossy());
    command
        .current_dir(folder)
        .args(words.split(' ').filter(|word| !word.is_empty()));
    command.stdin(Stdio::null());
    command
}

/// A name server.
struct Server {
    address: SocketAddr,
    _process: Process,
}

impl Server {
    fn start(kerolox: &Path, folder: &Path, settings: &str) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_ports(1)?));
        let settings = settings.replace("DIR", &folder.to_string_lossy());
        let file: PathBuf = folder.join("namesrv.conf");
        let kv = folder.join("kvConfig.json");
        let text = format!(
            "{settings}\nbindAddress=127.0.0.1\nlistenPort={}\nkvConfigPath={}\n",
            address.port(),
            kv.display()
        );
        fs::write(&file, text).map_err(|error| told(&file, &error))?;
        let mut command = Command::new(kerolox);
        command.arg("nameserver").arg("-c").arg(&file);
        let process = Process::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
        until(&format!("the server with {settings:?} listens"), || {
            Ok(TcpStream::connect(address).is_ok())
        })?;
        Ok(Self {
            address,
            _process: process,
        })
    }

    /// What the client says of a connection.
    fn ask(&self, folder: &Path, options: &str) -> Result<String> {
        let line = format!(
            "s_client -connect {} -servername localhost {options}",
            self.address
        );
        let output = openssl(folder, &line)
            .output()
            .map_err(|error| error.to_string())?;
        let all = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&all).into_owned())
    }
}
