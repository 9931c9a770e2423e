//! What the proxy tells those who watch it (`ProxyMetricsManager`): a page of Prometheus, on a
//! port of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use transport::{
    BoxFuture, Http2, HttpPeer, HttpService, RemotingServer, RemotingServerConfig, RequestBody,
    ResponseBody, TransportError,
};

use crate::settings::{MetricsExporterType, ProxyConfig, ProxySettings};

/// Prometheus' text format.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Starts to answer those who ask for the page, if settings want that.
pub(crate) async fn serve(
    settings: &ProxySettings,
) -> Result<Option<RemotingServer>, TransportError> {
    let config = &settings.proxy;
    match config.metrics_exporter_type {
        MetricsExporterType::Disable => return Ok(None),
        MetricsExporterType::Prom => {}
        other => {
            let wanted = other.word();
            tracing::warn!("metricsExporterType={wanted} is not served: use PROM");
            return Ok(None);
        }
    }
    let host = match config.metrics_prom_exporter_host.as_str() {
        "" => &settings.server.bind_address,
        host => host,
    };
    let server = RemotingServerConfig {
        bind_address: host.to_owned(),
        listen_port: config.metrics_prom_exporter_port,
        ..RemotingServerConfig::default()
    };
    let page = Arc::new(Page {
        text: page(config).into(),
    });
    let port = RemotingServer::bind(server).await?;
    let server = port.protocol(Arc::new(Http2::only(page)));
    Ok(Some(server.only(&["http2"]).start()))
}

/// The page: what it says stays the same for as long as the proxy runs.
struct Page {
    text: Bytes,
}

impl HttpService for Page {
    fn serves(&self, head: &http::request::Parts) -> bool {
        head.method == Method::GET && matches!(head.uri.path(), "/" | "/metrics")
    }

    fn call(
        &self,
        _: Request<RequestBody>,
        _: HttpPeer,
    ) -> BoxFuture<'static, Response<ResponseBody>> {
        let text = Full::new(self.text.clone()).map_err(|never| match never {});
        let mut response = Response::new(text.boxed_unsync());
        response.headers_mut().insert(CONTENT_TYPE, TEXT);
        Box::pin(async { response })
    }
}

fn page(config: &ProxyConfig) -> String {
    let labels = labels(config);
    let labels = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
        .collect::<Vec<_>>()
        .join(",");
    format!(
        "# HELP rocketmq_proxy_up proxy status\n# TYPE rocketmq_proxy_up gauge\n\
         rocketmq_proxy_up{{{labels}}} 1.0\n"
    )
}

/// What every number is labelled with; the proxy's own word outweighs that of `metricsLabel`.
fn labels(config: &ProxyConfig) -> BTreeMap<&str, String> {
    let own = config.metrics_label.split(',');
    let own = own.filter_map(|pair| match pair.split(':').collect::<Vec<_>>()[..] {
        [name, value] => Some((name, value.to_owned())),
        _ => None,
    });
    let mut labels: BTreeMap<_, _> = own.collect();
    if config.metrics_in_delta {
        labels.insert("aggregation", "delta".to_owned());
    }
    labels.insert("otel_scope_name", "broker-meter".to_owned());
    labels.insert("node_type", "proxy".to_owned());
    labels.insert("cluster", config.proxy_cluster_name.clone());
    labels.insert("node_id", config.proxy_name.clone());
    labels.insert("proxy_mode", config.proxy_mode.word().to_ascii_lowercase());
    labels
}

fn escaped(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}
