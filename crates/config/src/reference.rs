//! The configuration keys of the reference, as data.
//!
//! `reference.tsv` holds the settable fields of its configuration classes as
//! read from Apache RocketMQ 5.5.0: class, key, Java type, default, separated
//! by tabs. `null` is Java's; `${ROCKETMQ_HOME}`, `${user.home}`, `${hostname}`
//! and `${local address}` stand for what differs between machines; thread
//! counts are those of a machine with two cores. `BrokerStartup` stands for
//! keys that the reference reads from the file without a class; those of
//! `TlsSystemConfig` are system properties of Java there.

use std::sync::LazyLock;

use crate::settings::Settings;
use crate::value::Kind;

/// What keys begin with that the reference does not have, so that they never
/// meet a key that it gets later.
const OWN_PREFIX: &str = "kerolox.";

/// A key of the reference.
struct ReferenceKey {
    class: &'static str,
    key: &'static str,
    java_type: &'static str,
    default: &'static str,
}

static KEYS: LazyLock<Vec<ReferenceKey>> = LazyLock::new(|| {
    let rows = include_str!("reference.tsv").lines().skip(1);
    rows.filter_map(|row| {
        let mut columns = row.split('\t');
        Some(ReferenceKey {
            class: columns.next()?,
            key: columns.next()?,
            java_type: columns.next()?,
            default: columns.next()?,
        })
    })
    .collect()
});

/// Every key of the reference's name server, broker, controller and proxy, with its
/// class; the keys of a class stand together.
pub fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    KEYS.iter().map(|row| (row.class, row.key))
}

/// Whether the reference has such a key, in whichever role. Such a key may
/// stand in any configuration file; without a meaning here it is accepted
/// and has no effect.
pub fn has(key: &str) -> bool {
    keys().any(|(_, known)| known == key)
}

/// Compares a group's declarations with the reference, for a test of the
/// crate that declares it: every key is the reference's in one of the group's
/// classes with a fitting type and the same default, or is marked `ours`, or
/// says with `differs` why its default is another. Returns one sentence for
/// each fault; call it on the types made by `settings!`, not on those made by
/// `groups!`.
pub fn check<S: Settings>() -> Vec<String> {
    S::keys()
        .iter()
        .filter_map(|info| {
            let key = info.key;
            if info.ours && !key.starts_with(OWN_PREFIX) {
                return Some(format!("`{key}` is marked `ours`: begin it with `{OWN_PREFIX}`"));
            }
            let row = KEYS
                .iter()
                .find(|row| row.key == key && info.classes.contains(&row.class));
            let Some(row) = row else {
                let classes = info.classes.join(", ");
                return (!info.ours).then(|| {
                    format!(
                        "`{key}` is not a key of {classes}: \
                         mark it `ours` or name its class behind `from`"
                    )
                });
            };
            let fits = match info.kind {
                Kind::Boolean => row.java_type == "boolean",
                Kind::Integer { .. } => matches!(row.java_type, "int" | "long"),
                Kind::Decimal => row.java_type == "double",
                Kind::Text => row.java_type == "String",
                Kind::Choice(_) => !matches!(row.java_type, "boolean" | "int" | "long" | "double"),
            };
            if !fits {
                return Some(format!("`{key}` takes {}, but is a {} in {}", info.takes, row.java_type, row.class));
            }
            let default = info.default.as_deref().unwrap_or("null");
            match (default == row.default, info.differs) {
                (false, None) => Some(format!(
                    "`{key}` is `{default}` by default, but `{}` in {}: say why with `differs(\"…\")`",
                    row.default, row.class
                )),
                (true, Some(_)) => Some(format!("`{key}` has the default of {}: drop `differs`", row.class)),
                _ => None,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_data_is_whole() {
        let rows = include_str!("reference.tsv").lines().skip(1).count();
        assert_eq!(KEYS.len(), rows);
        assert!(has("mappedFileSizeCommitLog") && has("kvConfigPath") && !has("nothing"));
    }

    crate::settings! {
        /// A group with every kind of fault.
        struct Faulty from "MessageStoreConfig" {
            /// Right.
            "deleteWhen" delete_when: String = "04".into();
            /// Right, with a machine's part.
            "storePathRootDir" root: String = "/root/store".into(), shown("${user.home}/store");
            /// Right: another default, with a reason.
            "fileReservedTime" reserved: u32 = 48, differs("a test");
            /// Another default.
            "maxMessageSize" max_message_size: u32 = 1;
            /// No such key in the class.
            "listenPort" listen_port: u16 = 0;
            /// Not ours, or with the wrong name.
            "brokerRole" role: String = "x".into(), ours;
            /// Another type.
            "messageIndexEnable" index: u32 = 1;
            /// No reason needed.
            "haListenPort" ha: u16 = 10912, differs("nothing");
        }
    }

    #[test]
    fn faults_are_told() {
        assert_eq!(
            check::<Faulty>(),
            [
                "`maxMessageSize` is `1` by default, but `4194304` in MessageStoreConfig: say why with `differs(\"…\")`",
                "`listenPort` is not a key of MessageStoreConfig: mark it `ours` or name its class behind `from`",
                "`brokerRole` is marked `ours`: begin it with `kerolox.`",
                "`messageIndexEnable` takes a whole number of 0 or more, but is a boolean in MessageStoreConfig",
                "`haListenPort` has the default of MessageStoreConfig: drop `differs`",
            ]
        );
    }
}
