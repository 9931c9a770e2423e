//! The telemetry stream: settings from clients, and the server's word on them (`ClientActivity`,
//! `GrpcClientSettingsManager`).

use wire::body::group::{GroupRetryPolicyType, SubscriptionGroupConfig};
use wire::grpc::{
    Address, AddressScheme, BackoffStrategy, ClientType, Code, Command, CustomizedBackoff,
    Duration, Endpoints, ExponentialBackoff, FilterType, Metric, PubSub, RetryPolicy, Settings,
    Subscription, TelemetryCommand, ThreadStackTrace, VerifyMessageResult,
};
use wire::message::sql92::Expression;
use wire::message::tags::TagExpression;

use crate::call::Call;
use crate::error::{ProxyError, ok};
use crate::grpc::{Answers, GrpcCode, GrpcError, Requests};
use crate::settings::{MetricCollectorMode, ProxyConfig};
use crate::{lite, validate};

/// Serves a client's telemetry stream to its end.
pub(crate) async fn telemetry(
    call: Call,
    mut requests: Requests<TelemetryCommand>,
    answers: Answers<TelemetryCommand>,
) {
    loop {
        let next = tokio::select! {
            next = requests.next() => next,
            () = answers.given_up() => break,
            () = call.state.stopped() => break,
        };
        // A broken stream is ended as well; the client makes another.
        let Ok(Some(told)) = next else {
            break;
        };
        match &told.command {
            Some(Command::Settings(settings)) => {
                let settings = Settings::clone(settings);
                if let Err(error) = accept(&call, settings, &answers).await {
                    call.state.clients.detach(&call.client_id, &answers);
                    answers.fail(grpc_error(&error)).await;
                    return;
                }
            }
            Some(
                Command::ThreadStackTrace(ThreadStackTrace { nonce, .. })
                | Command::VerifyMessageResult(VerifyMessageResult { nonce }),
            ) => {
                let nonce = nonce.clone();
                call.state.questions.answer(&call.client_id, &nonce, told);
            }
            _ => {}
        }
    }
    let left = call.state.clients.detach(&call.client_id, &answers);
    if let Some(settings) = left {
        lite::leave(&call.state, &call.client_id, &settings).await;
    }
}

/// Settings that are refused end the stream; the fault is the client's or ours.
fn grpc_error(error: &ProxyError) -> GrpcError {
    let faulty = (Code::BadRequest..Code::InternalError).contains(&error.code());
    let code = if faulty {
        GrpcCode::InvalidArgument
    } else {
        GrpcCode::Internal
    };
    GrpcError::new(
        code,
        format!("process client telemetryCommand failed. {error}"),
    )
}

/// Takes note of a client's settings and answers with those that hold.
async fn accept(
    call: &Call,
    settings: Settings,
    answers: &Answers<TelemetryCommand>,
) -> Result<(), ProxyError> {
    check(call, &settings).await?;
    let state = &call.state;
    state
        .clients
        .enter(&call.client_id, settings.clone(), answers.clone());
    let command = TelemetryCommand {
        status: ok(),
        command: Some(Command::Settings(Box::new(in_force(call, settings).await))),
    };
    // Who has left already needs no answer.
    let _ = answers.send(&command).await;
    state.heartbeat_due.notify_one();
    Ok(())
}

/// Refuses settings that make no sense, or don't fit the group.
async fn check(call: &Call, settings: &Settings) -> Result<(), ProxyError> {
    match &settings.pub_sub {
        Some(PubSub::Publishing(publishing)) => publishing
            .topics
            .iter()
            .try_for_each(|topic| validate::topic(Some(topic)).map(drop)),
        Some(PubSub::Subscription(subscription)) => {
            let group = validate::group(subscription.group.as_ref())?;
            if matches!(
                settings.client_type(),
                ClientType::Unspecified | ClientType::Producer | ClientType::PullConsumer
            ) {
                return Err(ProxyError::new(
                    Code::InternalServerError,
                    format!(
                        "Client type is not consumer, type: {:?}",
                        settings.client_type()
                    ),
                ));
            }
            check_expressions(subscription)?;
            let config = call.state.cluster.known_group(group).await?;
            lite::check_client(settings, subscription, group, &config)
        }
        None => Err(ProxyError::new(
            Code::BadRequest,
            "there is no publishing or subscription data in settings",
        )),
    }
}

fn check_expressions(subscription: &Subscription) -> Result<(), ProxyError> {
    for entry in &subscription.subscriptions {
        let Some(filter) = &entry.expression else {
            continue;
        };
        let readable = match filter.r#type() {
            FilterType::Sql => Expression::parse(&filter.expression).is_ok(),
            FilterType::Tag | FilterType::Unspecified => {
                TagExpression::parse(&filter.expression).is_ok()
            }
        };
        if !readable {
            return Err(ProxyError::new(
                Code::IllegalFilterExpression,
                "expression format is not correct",
            ));
        }
    }
    Ok(())
}

/// A client's settings with the server's word in them.
async fn in_force(call: &Call, mut settings: Settings) -> Settings {
    let config = &call.state.config;
    match &mut settings.pub_sub {
        Some(PubSub::Publishing(publishing)) => {
            publishing.max_body_size = i32::try_from(config.max_message_size).unwrap_or(i32::MAX);
            publishing.validate_message_type = config.enable_topic_message_type_check;
            settings.backoff_policy = Some(producer_backoff(config));
        }
        Some(PubSub::Subscription(subscription)) => {
            let name = subscription.group.as_ref().map_or("", |group| &group.name);
            let group = call.state.cluster.group(name).await.unwrap_or_default();
            subscription.fifo = Some(group.consume_message_orderly);
            subscription.receive_batch_size =
                Some(config.grpc_client_consumer_long_polling_batch_size);
            subscription.long_polling_timeout = Some(Duration::from_millis(
                config.grpc_client_consumer_max_long_polling_timeout_millis,
            ));
            subscription.lite_subscription_quota = Some(group.lite_client_quota());
            subscription.max_lite_topic_size = i32::try_from(config.max_lite_topic_size).ok();
            settings.backoff_policy = Some(consumer_backoff(&group));
        }
        None => {}
    }
    settings.metric = Some(metric(config, settings.access_point.as_ref()));
    settings
}

/// Where a client is to send what it measures (`GrpcClientSettingsManager.mergeMetric`).
fn metric(config: &ProxyConfig, access_point: Option<&Endpoints>) -> Metric {
    let endpoints = match config.metric_collector_mode {
        MetricCollectorMode::Off => None,
        MetricCollectorMode::On => config.collector().map(|(host, port)| Endpoints {
            scheme: AddressScheme::Ipv4 as i32,
            addresses: vec![Address {
                host: host.to_owned(),
                port: port.into(),
            }],
        }),
        MetricCollectorMode::Proxy => Some(access_point.cloned().unwrap_or_default()),
    };
    Metric {
        on: endpoints.is_some(),
        endpoints,
    }
}

fn producer_backoff(config: &ProxyConfig) -> RetryPolicy {
    let millis = |millis| Some(Duration::from_millis(millis));
    RetryPolicy {
        max_attempts: config.grpc_client_producer_max_attempts,
        strategy: Some(BackoffStrategy::Exponential(ExponentialBackoff {
            initial: millis(config.grpc_client_producer_backoff_initial_millis),
            max: millis(config.grpc_client_producer_backoff_max_millis),
            multiplier: f32::from(config.grpc_client_producer_backoff_multiplier),
        })),
    }
}

fn consumer_backoff(group: &SubscriptionGroupConfig) -> RetryPolicy {
    let policy = &group.group_retry_policy;
    let strategy = match policy.policy_type {
        GroupRetryPolicyType::Exponential => {
            let growing = policy.exponential_retry_policy.unwrap_or_default();
            BackoffStrategy::Exponential(ExponentialBackoff {
                initial: Some(Duration::from_millis(growing.initial)),
                max: Some(Duration::from_millis(growing.max)),
                multiplier: growing.multiplier as f32,
            })
        }
        GroupRetryPolicyType::Customized => {
            let listed = policy.customized_retry_policy.clone().unwrap_or_default();
            let next = listed.next.into_iter().map(Duration::from_millis).collect();
            BackoffStrategy::Customized(CustomizedBackoff { next })
        }
    };
    RetryPolicy {
        max_attempts: max_attempts(group),
        strategy: Some(strategy),
    }
}

/// How often a message is delivered to a group before it is given up.
pub(crate) fn max_attempts(group: &SubscriptionGroupConfig) -> i32 {
    group.retry_max_times.saturating_add(1)
}
