//! The page of all configuration keys, `docs/configuration.md`.

use std::fmt::Write;

use broker::BrokerSettings;
use config::{Settings, page, reference};
use nameserver::NameServerSettings;
use proxy::ProxySettings;
use transport::RemotingClientConfig;

const HEAD: &str = "# Configuration

<!-- Written by `cargo xtask docs` from the declarations in the code. -->

`kerolox nameserver -c FILE`, `kerolox broker -c FILE` and `kerolox proxy -c FILE` read Java
properties, the format of the reference's `namesrv.conf` and `broker.conf`; JSON, that of its
`rmq-proxy.json`, if the file's name ends in `.json`; TOML if it ends in `.toml`. The keys are the
reference's; those that begin with `kerolox.` are Kerolox's own. Options of the command
line outweigh the file. `kerolox send`, `consume` and `bench` read such a file by `--client-config FILE` or
`KEROLOX_CLIENT_CONFIG`, and single keys by `--set KEY=VALUE`; under `kerolox start`, what the broker's
file says about connecting counts for all roles.

- A key that none of them knows is an error that names the line and the nearest key.
- A key of the reference that has no meaning here is accepted, and said so once; the last section
  lists them.
- A key that can change while running is changed by the reference's own commands,
  `updateBrokerConfig` and `updateNamesrvConfig`. Another key is refused there unless its value
  stays the same.
- `${user.home}`, `${hostname}` and `${local address}` below stand for what they are on the machine.
";

/// The whole page.
pub(crate) fn page() -> String {
    let mut out = HEAD.to_owned();
    out.push('\n');
    out.push_str(&page::section::<NameServerSettings>("Name server"));
    out.push('\n');
    out.push_str(&page::section::<BrokerSettings>("Broker"));
    out.push('\n');
    out.push_str(&page::section::<ProxySettings>("Proxy"));
    out.push('\n');
    out.push_str(&page::section::<RemotingClientConfig>(
        "Commands that connect: send, consume, bench",
    ));
    out.push_str("\n## Accepted without effect\n");
    let mut class = "";
    for (owner, key) in reference::keys() {
        if NameServerSettings::key(key).is_some()
            || BrokerSettings::key(key).is_some()
            || ProxySettings::key(key).is_some()
        {
            continue;
        }
        let first = owner != class;
        if first {
            class = owner;
            let _ = write!(out, "\n{owner}:");
        }
        let _ = write!(out, "{}\n`{key}`", if first { "" } else { "," });
    }
    out.push('\n');
    out
}
