//! Which OpenSSL the processes use, and probes at its functions.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use libbpf_rs::{Link, Object, UprobeOpts};

use super::program;
use crate::capture::processes;

/// Functions, the program for their beginning, and that for their end.
const FUNCTIONS: [(&str, &str, Option<&str>); 6] = [
    ("SSL_write", "ssl_call_begins", Some("ssl_write_ends")),
    ("SSL_read", "ssl_call_begins", Some("ssl_read_ends")),
    ("SSL_write_ex", "ssl_ex_begins", Some("ssl_write_ends")),
    ("SSL_read_ex", "ssl_ex_begins", Some("ssl_read_ends")),
    (
        "SSL_do_handshake",
        "ssl_handshake_begins",
        Some("ssl_handshake_ends"),
    ),
    ("SSL_free", "ssl_freed", None),
];

/// Where systems have it, so that processes which begin to use it later are known at once.
const USUAL: [&str; 4] = ["/usr/lib", "/usr/lib64", "/lib", "/usr/local/lib"];

/// Every process: a probe is at a file, and the programs choose.
const EVERY_PROCESS: i32 = -1;

/// The probes that are there.
#[derive(Default)]
pub(super) struct Probes {
    /// Device and inode of each library.
    libraries: HashSet<(u64, u64)>,
    /// They are there for as long as these are.
    links: Vec<Link>,
}

impl Probes {
    /// Puts probes at the libraries of these processes, or of all, that have none yet.
    pub(super) fn look(&mut self, object: &Object, chosen: Option<&[u32]>) {
        let mut paths = match chosen {
            Some(ids) => ids.iter().flat_map(|id| libraries(*id)).collect(),
            None => processes::all().flat_map(libraries).collect::<HashSet<_>>(),
        };
        if self.libraries.is_empty() {
            paths.extend(usual());
        }
        for path in paths {
            let Ok(file) = fs::metadata(&path) else {
                continue;
            };
            if self.libraries.insert((file.dev(), file.ino())) {
                self.attach(object, &path);
            }
        }
    }

    fn attach(&mut self, object: &Object, library: &Path) {
        for (function, begins, ends) in FUNCTIONS {
            let ends = ends.map(|name| (name, true));
            for (name, retprobe) in [Some((begins, false)), ends].into_iter().flatten() {
                let options = UprobeOpts {
                    func_name: Some(function.to_owned()),
                    retprobe,
                    ..UprobeOpts::default()
                };
                // Old releases have not all of the functions.
                let link = program(object, name).and_then(|program| {
                    program.attach_uprobe_with_opts(EVERY_PROCESS, library, 0, options)
                });
                self.links.extend(link);
            }
        }
    }
}

/// Whether a process uses OpenSSL.
pub(super) fn used_by(id: u32) -> bool {
    !libraries(id).is_empty()
}

/// The libraries of OpenSSL that a process has loaded, as they are reached from here.
fn libraries(id: u32) -> HashSet<PathBuf> {
    let maps = fs::read_to_string(format!("/proc/{id}/maps")).unwrap_or_default();
    let paths = maps
        .lines()
        .filter_map(|line| Some(&line[line.find('/')?..]));
    paths
        .filter(|path| path.rsplit('/').next().is_some_and(is_library))
        .map(|path| PathBuf::from(format!("/proc/{id}/root{path}")))
        .collect()
}

/// The libraries in the usual folders and those right below.
fn usual() -> impl Iterator<Item = PathBuf> {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = USUAL.into_iter().flat_map(move |folder| {
        let below = entries(Path::new(folder)).filter(|entry| entry.path().is_dir());
        let below: Vec<_> = below.map(|entry| entry.path()).collect();
        below.into_iter().chain([PathBuf::from(folder)])
    });
    folders
        .flat_map(move |folder| entries(&folder).collect::<Vec<_>>())
        .filter(|entry| entry.file_name().to_str().is_some_and(is_library))
        .map(|entry| entry.path())
}

fn is_library(name: &str) -> bool {
    name.starts_with("libssl.so") || (name.starts_with("libssl-") && name.contains(".so"))
}
