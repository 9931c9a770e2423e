//! The configuration keys of a name server.

use transport::{RemotingClientConfig, RemotingServerConfig};

config::settings! {
    /// What the name server keeps, tells and forbids.
    pub struct NamesrvConfig from "NamesrvConfig" {
        /// File that the key-value configuration is kept in.
        "kvConfigPath" kv_config_path: String = config::machine::in_user_home("namesrv/kvConfig.json"), shown("${user.home}/namesrv/kvConfig.json"), important;
        /// File that settings are written to when they are changed at run time.
        "configStorePath" config_store_path: String = config::machine::in_user_home("namesrv/namesrv.properties"), shown("${user.home}/namesrv/namesrv.properties"), important;
        /// Whether routes carry the order configuration of their topic.
        "orderMessageEnable" order_message_enable: bool = false, reloadable;
        /// Whether brokers that register are told all order configurations.
        "returnOrderTopicConfigToBroker" return_order_topic_config_to_broker: bool = true, reloadable;
        /// How many requests other than routes and registrations run at a time.
        "defaultThreadPoolNums" default_thread_pool_nums: usize = 16, range(1..=1024);
        /// How many requests of a kind may wait for their turn before more are turned away.
        "defaultThreadPoolQueueCapacity" default_thread_pool_queue_capacity: usize = 10_000, range(1..);
        /// Time between two searches for brokers that have fallen silent, in milliseconds.
        "scanNotActiveBrokerInterval" scan_not_active_broker_interval: u64 = 5000, range(10..), reloadable;
        /// Whether routes name a replica as master where the master is gone and the broker group allows it.
        "supportActingMaster" support_acting_master: bool = false, reloadable;
        /// Whether clients may list the topics of all clusters.
        "enableAllTopicList" enable_all_topic_list: bool = true, reloadable;
        /// Whether clients may list the topics of a cluster and those of units.
        "enableTopicList" enable_topic_list: bool = true, reloadable;
        /// Whether the brokers of a group are told when the smallest id among them changes.
        "notifyMinBrokerIdChanged" notify_min_broker_id_changed: bool = false, reloadable;
        /// Whether routes are withheld for a while after the start, until brokers have registered.
        "needWaitForService" need_wait_for_service: bool = false, reloadable;
        /// For how long they are withheld, in seconds.
        "waitSecondsForService" wait_seconds_for_service: u64 = 45, reloadable;
        /// Whether topics that a broker no longer names when it registers are deleted from it.
        "deleteTopicWithBrokerRegistration" delete_topic_with_broker_registration: bool = false, reloadable;
        /// Keys that no request may change, joined by semicolons; the paths and this key are always among them.
        "configBlackList" config_black_list: String = "configBlackList;configStorePath;kvConfigPath".into();
    }
}

config::groups! {
    /// All settings of a name server, as they stand in its configuration file.
    pub struct NameServerSettings {
        /// What it does.
        pub namesrv: NamesrvConfig,
        /// Where it listens.
        pub server: RemotingServerConfig = RemotingServerConfig { listen_port: 9876, ..Default::default() },
        /// How it connects to brokers, to tell them of changes.
        pub client: RemotingClientConfig,
        /// What is logged.
        pub log: config::LogConfig,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_defaults_are_the_references() {
        assert_eq!(
            config::reference::check::<NamesrvConfig>(),
            [] as [String; 0]
        );
    }
}
