//! Defaults that depend on the machine.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;

/// The user's home directory, `.` where none is known: `${user.home}`.
pub fn user_home() -> PathBuf {
    std::env::home_dir()
        .filter(|home| !home.as_os_str().is_empty())
        .unwrap_or_else(|| PathBuf::from("."))
}

/// A path under the home directory as text, as configuration keys hold it.
pub fn in_user_home(path: &str) -> String {
    user_home().join(path).to_string_lossy().into_owned()
}

/// The machine's name: `${hostname}`; `DEFAULT_BROKER` where it has none, as
/// in the reference.
pub fn host_name() -> String {
    let system = rustix::system::uname();
    match system.nodename().to_string_lossy().trim() {
        "" => "DEFAULT_BROKER".to_owned(),
        name => name.to_owned(),
    }
}

/// The address other machines would see: `${local address}`; `127.0.0.1` on a
/// machine without network.
pub fn local_address() -> String {
    // Connecting a datagram socket sends nothing; it only asks the system
    // which of its addresses the way out starts from. The target is from the
    // block reserved for documentation.
    let address = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| {
            socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
            socket.local_addr()
        })
        .map(|address| address.ip().to_string());
    address.unwrap_or_else(|_| Ipv4Addr::LOCALHOST.to_string())
}
