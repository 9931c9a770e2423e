//! The configuration keys of a proxy.

use std::time::Duration;

use transport::{Addresses, RemotingClientConfig, RemotingServerConfig, host_and_port};
use wire::message::delay_levels::DelayLevels;

config::choices! {
    /// Whom a proxy belongs to.
    pub enum ProxyMode {
        /// Nobody: brokers don't know its consumers.
        Cluster = "CLUSTER",
        /// A broker: its tools see the proxy's consumers, and may ask them.
        Local = "LOCAL",
    }
}

config::choices! {
    /// Whether clients are told to send what they measure.
    pub enum MetricCollectorMode {
        /// They keep it.
        Off = "off",
        /// To the collector that is named.
        On = "on",
        /// To where they reach the proxy.
        Proxy = "proxy",
    }
}

config::choices! {
    /// How the proxy's metrics are told.
    pub enum MetricsExporterType {
        /// Not at all.
        Disable = "DISABLE",
        /// To a collector, which is not served.
        OtlpGrpc = "OTLP_GRPC",
        /// To those who ask for the page.
        Prom = "PROM",
        /// In the log, which is not served.
        Log = "LOG",
    }
}

config::settings! {
    /// What the proxy asks, allows and promises.
    pub struct ProxyConfig from "ProxyConfig" {
        /// Addresses of the name servers, `host:port`, or with a protocol as in `tls://host:port`, which
        /// brokers are then spoken to by as well; joined by semicolons.
        "namesrvAddr" namesrv_addr: Option<String> = None, check(Addresses::check), important;
        /// Name of the cluster whose brokers know the groups.
        "rocketMQClusterName" rocketmq_cluster_name: String = "DefaultCluster".into(), important;
        /// Whether brokers are told of consumers by gRPC, so that tools see and ask them (`LOCAL`), or not (`CLUSTER`).
        "proxyMode" proxy_mode: ProxyMode = ProxyMode::Cluster, important;
        /// Port of the gRPC API; 0 lets the system choose one.
        "grpcServerPort" grpc_server_port: u16 = 8081, important;
        /// Milliseconds after which a connection without calls is closed; outweighs `serverChannelMaxIdleTimeSeconds`.
        "grpcClientIdleTimeMills" grpc_client_idle_time_mills: u32 = 120_000, range(1..);
        /// Seconds that a stopping proxy waits for calls to end; outweighs `shutdownWaitTimeSeconds`.
        "grpcShutdownTimeSeconds" grpc_shutdown_time_seconds: u32 = 30;
        /// Bytes of the largest request.
        "grpcMaxInboundMessageSize" grpc_max_inbound_message_size: usize = 136_314_880, range(1024..);
        /// Whether TLS works without certificate files, by a certificate that the proxy signs itself.
        "tlsTestModeEnable" tls_test_mode_enable: bool = true;
        /// File of the certificate, with those who vouch for it behind, in PEM; outweighs `tls.server.certPath`.
        "tlsCertPath" tls_cert_path: Option<String> = None, differs("without it `tls.server.certPath` counts");
        /// File of the certificate's private key, in PEM; outweighs `tls.server.keyPath`.
        "tlsKeyPath" tls_key_path: Option<String> = None, differs("without it `tls.server.keyPath` counts");
        /// What an encrypted private key is decrypted with; outweighs `tls.server.keyPassword`.
        "tlsKeyPassword" tls_key_password: String = String::new();
        /// Whether routes repeat the port that the client asked on; otherwise they name the port that it reached.
        "useEndpointPortFromRequest" use_endpoint_port_from_request: bool = false;

        /// Bytes of the largest body; 0 for no limit here.
        "maxMessageSize" max_message_size: usize = 4 * 1024 * 1024;
        /// Whether a message must have a body.
        "enableMessageBodyEmptyCheck" enable_message_body_empty_check: bool = true;
        /// Bytes of an application's properties, tag and keys of a message together.
        "maxUserPropertySize" max_user_property_size: usize = 16_384;
        /// Properties that an application may give a message.
        "userPropertyMaxNum" user_property_max_num: usize = 128;
        /// Bytes that a message group must stay below; 0 for no limit.
        "maxMessageGroupSize" max_message_group_size: usize = 64;
        /// Bytes of the longest name of a lite topic.
        "maxLiteTopicSize" max_lite_topic_size: usize = 64;
        /// Messages that a client of lite topics may have received and not acknowledged when it asks for more.
        "maxLiteRenewNumPerChannel" max_lite_renew_num_per_channel: usize = 100;
        /// How often a second all clients together may subscribe to lite topics.
        "maxSyncLiteSubscriptionRate" max_sync_lite_subscription_rate: u32 = 5000, range(1..);
        /// Milliseconds that a delayed message may wait; 0 for no limit.
        "maxDelayTimeMills" max_delay_time_mills: i64 = 86_400_000, range(0..);
        /// Whether delayed messages are given a delay level, the shortest that waits longer than they shall, which outweighs their time.
        "useDelayLevel" use_delay_level: bool = false;
        /// Delay of each level, as the brokers have them: numbers with a unit of `s`, `m`, `h` or `d`.
        "messageDelayLevel" message_delay_level: String = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h".to_owned(), check(|text| DelayLevels::check(text));
        /// Seconds that a transaction may stay undecided before its producer is asked; 0 for no limit.
        "maxTransactionRecoverySecond" max_transaction_recovery_second: i64 = 3600, range(0..);
        /// Whether the type of a message must be its topic's.
        "enableTopicMessageTypeCheck" enable_topic_message_type_check: bool = true;

        /// How often producers are told to try to send a message.
        "grpcClientProducerMaxAttempts" grpc_client_producer_max_attempts: i32 = 3, range(1..);
        /// Milliseconds until producers are told to try again.
        "grpcClientProducerBackoffInitialMillis" grpc_client_producer_backoff_initial_millis: i64 = 10, range(0..);
        /// Most milliseconds until producers are told to try again.
        "grpcClientProducerBackoffMaxMillis" grpc_client_producer_backoff_max_millis: i64 = 1000, range(0..);
        /// By which factor the time until producers try again grows.
        "grpcClientProducerBackoffMultiplier" grpc_client_producer_backoff_multiplier: u16 = 2, range(1..);
        /// Messages that push consumers are told to ask for at a time.
        "grpcClientConsumerLongPollingBatchSize" grpc_client_consumer_long_polling_batch_size: i32 = 32, range(1..);
        /// Fewest milliseconds that a receiving call waits for a message.
        "grpcClientConsumerMinLongPollingTimeoutMillis" grpc_client_consumer_min_long_polling_timeout_millis: i64 = 5000, range(0..);
        /// Most milliseconds that a receiving call waits for a message.
        "grpcClientConsumerMaxLongPollingTimeoutMillis" grpc_client_consumer_max_long_polling_timeout_millis: i64 = 20_000, range(0..);
        /// Fewest milliseconds that received messages may be hidden.
        "minInvisibleTimeMillsForRecv" min_invisible_time_mills_for_recv: i64 = 10_000, range(0..);
        /// Most milliseconds that received messages may be hidden; 0 for no limit.
        "maxInvisibleTimeMills" max_invisible_time_mills: i64 = 43_200_000, range(0..);

        /// Whether messages that a client acknowledges together are so by one request to their broker.
        "enableBatchAck" enable_batch_ack: bool = false;
        /// Whether messages stay hidden for as long as a client that asks for that lives.
        "enableProxyAutoRenew" enable_proxy_auto_renew: bool = true;
        /// Milliseconds that such messages are hidden at first.
        "defaultInvisibleTimeMills" default_invisible_time_mills: i64 = 60_000, range(1..);
        /// Milliseconds between two looks at what is to be hidden further.
        "renewSchedulePeriodMillis" renew_schedule_period_millis: u64 = 5000, range(1..);
        /// How many milliseconds before its time a message is hidden further.
        "renewAheadTimeMillis" renew_ahead_time_millis: i64 = 10_000, range(0..);
        /// Milliseconds for which a message is hidden at most; then it is delivered again.
        "renewMaxTimeMillis" renew_max_time_millis: i64 = 10_800_000, range(0..);
        /// Failures to hide a message further after which that is given up.
        "maxRenewRetryTimes" max_renew_retry_times: u32 = 3, range(1..);
        /// Milliseconds after which messages of a client that has left are delivered again.
        "invisibleTimeMillisWhenClear" invisible_time_millis_when_clear: i64 = 1000, range(0..);

        /// Whether metrics are told to those who ask for `/metrics` over HTTP (`PROM`); other ways are not served.
        "metricsExporterType" metrics_exporter_type: MetricsExporterType = MetricsExporterType::Disable;
        /// Port of the metrics; 0 lets the system choose one.
        "metricsPromExporterPort" metrics_prom_exporter_port: u16 = 5557;
        /// The address to answer for metrics on; without it `bindAddress` counts.
        "metricsPromExporterHost" metrics_prom_exporter_host: String = String::new();
        /// Labels that all metrics have, `name:value`, joined by commas.
        "metricsLabel" metrics_label: String = String::new();
        /// Whether metrics are labelled as differences (`aggregation`).
        "metricsInDelta" metrics_in_delta: bool = false;
        /// What metrics call the proxy (`node_id`).
        "proxyName" proxy_name: String = config::machine::host_name(), shown("${hostname}");
        /// What metrics call its cluster (`cluster`).
        "proxyClusterName" proxy_cluster_name: String = "DefaultCluster".into();
        /// Whether clients are told to send what they measure, and whom.
        "metricCollectorMode" metric_collector_mode: MetricCollectorMode = MetricCollectorMode::Off;
        /// Whom `metricCollectorMode=on` names, `host:port`; without it that is as `off`.
        "metricCollectorAddress" metric_collector_address: String = String::new(), check(|text| check_collector(text));
        /// Milliseconds without a heartbeat after which a client is forgotten.
        "channelExpiredTimeout" channel_expired_timeout: u64 = 120_000, range(1..);
        /// Seconds that a client has to answer a command.
        "grpcProxyRelayRequestTimeoutInSeconds" grpc_proxy_relay_request_timeout_in_seconds: u64 = 5, range(1..);
        /// Seconds between two heartbeats to brokers that may ask about transactions.
        "transactionHeartbeatPeriodSecond" transaction_heartbeat_period_second: u64 = 20, range(1..);
        /// Milliseconds for which a transaction can be ended after its message was sent, or asked about.
        "transactionDataExpireMillis" transaction_data_expire_millis: u64 = 30_000, range(1..);
        /// How many messages with the same transaction id are remembered.
        "transactionDataMaxNum" transaction_data_max_num: usize = 15, range(1..);

        /// Seconds after which a route is asked for again.
        "topicRouteServiceCacheRefreshSeconds" topic_route_service_cache_refresh_seconds: u64 = 20;
        /// Seconds for which a route holds when no name server answers.
        "topicRouteServiceCacheExpiredSeconds" topic_route_service_cache_expired_seconds: u64 = 300;
        /// How many routes are remembered.
        "topicRouteServiceCacheMaxNum" topic_route_service_cache_max_num: usize = 20_000, range(1..);
        /// Seconds after which a topic's settings are asked for again.
        "topicConfigCacheRefreshSeconds" topic_config_cache_refresh_seconds: u64 = 20;
        /// Seconds for which a topic's settings hold when no broker answers.
        "topicConfigCacheExpiredSeconds" topic_config_cache_expired_seconds: u64 = 300;
        /// How many topics' settings are remembered.
        "topicConfigCacheMaxNum" topic_config_cache_max_num: usize = 20_000, range(1..);
        /// Seconds after which a group's settings are asked for again.
        "subscriptionGroupConfigCacheRefreshSeconds" subscription_group_config_cache_refresh_seconds: u64 = 20;
        /// Seconds for which a group's settings hold when no broker answers.
        "subscriptionGroupConfigCacheExpiredSeconds" subscription_group_config_cache_expired_seconds: u64 = 300;
        /// How many groups' settings are remembered.
        "subscriptionGroupConfigCacheMaxNum" subscription_group_config_cache_max_num: usize = 20_000, range(1..);
    }
}

fn check_collector(text: &str) -> Result<(), String> {
    if text.is_empty() || host_and_port(text).is_some() {
        Ok(())
    } else {
        Err("the address is a host and a port, as in `metrics.example:4317`".to_owned())
    }
}

impl ProxyConfig {
    /// Host and port of the collector that clients are told of, if they are told of one.
    pub(crate) fn collector(&self) -> Option<(&str, u16)> {
        host_and_port(&self.metric_collector_address)
    }

    /// The level of a message that waits for so many milliseconds, if those have levels.
    pub(crate) fn delay_level(&self, millis: i64) -> Option<i32> {
        if !self.use_delay_level {
            return None;
        }
        DelayLevels::parse(&self.message_delay_level)?.level_longer_than(millis)
    }

    /// The name servers of the cluster.
    pub(crate) fn name_servers(&self) -> Addresses {
        Addresses::parse(self.namesrv_addr.as_deref().unwrap_or_default())
    }

    /// Time without a heartbeat after which a client is forgotten.
    pub(crate) fn client_expiry(&self) -> Duration {
        Duration::from_millis(self.channel_expired_timeout)
    }
}

config::groups! {
    /// All settings of a proxy, as they stand in its configuration file.
    pub struct ProxySettings {
        /// What it does.
        pub proxy: ProxyConfig,
        /// Where it listens; its port and times of patience are the proxy's own.
        pub server: RemotingServerConfig,
        /// How it connects to name servers and brokers.
        pub client: RemotingClientConfig,
        /// What is logged.
        pub log: config::LogConfig,
    }
}

impl ProxySettings {
    /// Where and how the proxy listens.
    pub(crate) fn server(&self) -> RemotingServerConfig {
        let (own, server) = (&self.proxy, self.server.clone());
        let password = Some(&own.tls_key_password).filter(|password| !password.is_empty());
        RemotingServerConfig {
            listen_port: own.grpc_server_port,
            server_channel_max_idle_time_seconds: own.grpc_client_idle_time_mills.div_ceil(1000),
            shutdown_wait_time_seconds: own.grpc_shutdown_time_seconds,
            tls_test_mode_enable: own.tls_test_mode_enable && server.tls_test_mode_enable,
            tls_server_cert_path: own.tls_cert_path.clone().or(server.tls_server_cert_path),
            tls_server_key_path: own.tls_key_path.clone().or(server.tls_server_key_path),
            tls_server_key_password: password.cloned().or(server.tls_server_key_password),
            ..server
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_defaults_are_the_references() {
        assert_eq!(config::reference::check::<ProxyConfig>(), [] as [String; 0]);
    }
}
