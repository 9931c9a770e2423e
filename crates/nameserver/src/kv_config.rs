//! The key-value configuration: names and values that administrators keep in the name server,
//! such as the order configuration of topics.
//!
//! It is kept in one file (`KVConfigManager` of the reference, key `kvConfigPath`), a JSON object
//! on one line: `{"configTable":{"<namespace>":{"<key>":"<value>"}}}`.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use wire::body::json;
use wire::body::kv::{KVConfigSerializeWrapper, KVTable};

use crate::error::NameServerError;
use crate::kept_file;

/// The namespace of order configurations: topic to `broker-a:4;broker-b:4`.
pub(crate) const ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";

/// All names and values, and the file that keeps them.
pub(crate) struct KvConfig {
    path: PathBuf,
    table: RwLock<KVConfigSerializeWrapper>,
    /// Held while the file is written, so that readers do not wait for the disk. Locked before
    /// `table`.
    changing: Mutex<()>,
}

impl KvConfig {
    /// Reads the file; without one there are no values.
    pub(crate) fn load(path: PathBuf) -> Result<Self, NameServerError> {
        let unreadable = |reason| NameServerError::KvConfigUnreadable {
            path: path.clone(),
            reason,
        };
        let table = match std::fs::read(&path) {
            // The reference takes an empty file for an empty table, too.
            Ok(content) if content.trim_ascii().is_empty() => KVConfigSerializeWrapper::default(),
            Ok(content) => json::read(&content).map_err(|error| unreadable(error.to_string()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                KVConfigSerializeWrapper::default()
            }
            Err(error) => return Err(unreadable(error.to_string())),
        };
        Ok(Self {
            path,
            table: RwLock::new(table),
            changing: Mutex::new(()),
        })
    }

    /// The value under a name.
    pub(crate) fn get(&self, namespace: &str, key: &str) -> Option<String> {
        let table = self.table.read();
        table.config_table.get(namespace)?.get(key).cloned()
    }

    /// All names and values of a namespace, as the JSON of a `KVTable`.
    pub(crate) fn list(&self, namespace: &str) -> Option<Bytes> {
        let table = self.table.read().config_table.get(namespace)?.clone();
        Some(json::write(&KVTable { table }))
    }

    /// Sets a value.
    pub(crate) fn put(
        &self,
        namespace: &str,
        key: &str,
        value: &str,
    ) -> Result<(), NameServerError> {
        self.change(|table| {
            let values = table.entry(namespace.to_owned()).or_default();
            values.insert(key.to_owned(), value.to_owned()).as_deref() != Some(value)
        })?;
        tracing::info!(namespace, key, value, "a configuration value was set");
        Ok(())
    }

    /// Deletes a value; its namespace stays, as in the reference.
    pub(crate) fn delete(&self, namespace: &str, key: &str) -> Result<(), NameServerError> {
        self.change(|table| {
            let values = table.get_mut(namespace);
            values.is_some_and(|values| values.remove(key).is_some())
        })?;
        tracing::info!(namespace, key, "a configuration value was deleted");
        Ok(())
    }

    /// Makes a change that is on disk before anybody sees it. `change` says whether there is one.
    fn change(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, BTreeMap<String, String>>) -> bool,
    ) -> Result<(), NameServerError> {
        let _changing = self.changing.lock();
        let mut table = self.table.read().clone();
        if !change(&mut table.config_table) {
            return Ok(());
        }
        kept_file::replace(&self.path, &json::write(&table)).map_err(|error| {
            NameServerError::NotKept {
                path: self.path.clone(),
                reason: error.to_string(),
                consequence: "the change was not made",
            }
        })?;
        *self.table.write() = table;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_in_the_references_form() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/for/it/kvConfig.json");
        let kv = KvConfig::load(path.clone()).unwrap();
        assert_eq!(kv.list(ORDER_TOPIC_CONFIG), None);
        kv.put(ORDER_TOPIC_CONFIG, "T", "broker-a:4").unwrap();
        kv.put("other", "name", "a \"quoted\" value").unwrap();
        kv.delete("other", "nothing").unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            r#"{"configTable":{"ORDER_TOPIC_CONFIG":{"T":"broker-a:4"},"other":{"name":"a \"quoted\" value"}}}"#
        );
        let kv = KvConfig::load(path.clone()).unwrap();
        assert_eq!(
            kv.get(ORDER_TOPIC_CONFIG, "T").as_deref(),
            Some("broker-a:4")
        );
        kv.delete(ORDER_TOPIC_CONFIG, "T").unwrap();
        let kv = KvConfig::load(path).unwrap();
        assert_eq!(kv.get(ORDER_TOPIC_CONFIG, "T"), None);
        assert_eq!(kv.list(ORDER_TOPIC_CONFIG).unwrap(), r#"{"table":{}}"#);
    }

    #[test]
    fn a_broken_file_is_not_taken_for_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kvConfig.json");
        std::fs::write(&path, r#"{"configTable":{"a":{"b":"#).unwrap();
        let error = KvConfig::load(path.clone()).err().unwrap().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        assert!(
            error.ends_with("repair the file or move it away"),
            "{error}"
        );
    }

    #[test]
    fn a_change_that_cannot_be_kept_is_not_made() {
        let directory = tempfile::tempdir().unwrap();
        let in_the_way = directory.path().join("file");
        std::fs::write(&in_the_way, "").unwrap();
        let kv = KvConfig::load(directory.path().join("missing/kvConfig.json")).unwrap();
        std::fs::write(directory.path().join("missing"), "").unwrap();
        let refusal = kv.put("a", "b", "c").unwrap_err().refusal();
        assert_eq!(refusal.code, wire::code::ResponseCode::SystemError);
        assert!(
            refusal.remark.ends_with("the change was not made"),
            "{}",
            refusal.remark
        );
        assert_eq!(kv.get("a", "b"), None);
    }
}
