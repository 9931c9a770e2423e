//! Commands as JSON, for curl and gateways: `POST /v1/commands/NAME`.
//!
//! The name is the reference's, such as `SEND_MESSAGE`; all commands of the port's role can be
//! called. Request and answer are one object each:
//!
//! | member of a request | what |
//! |---|---|
//! | `extFields` | object: the fields of the command's header; values may be strings, numbers, booleans |
//! | `body` | the body, if it is text |
//! | `bodyBase64` | the body, if it is not |
//! | `language`, `version` | what the caller is and speaks, as in a frame; `HTTP` and 5.5.0 without them |
//!
//! | member of an answer | what |
//! |---|---|
//! | `code` | response code of the command; 0 is success |
//! | `name` | its name, if it has one |
//! | `remark` | words, mostly with other codes than 0; or null |
//! | `extFields` | object: the fields of the answer's header, all as strings |
//! | `body` or `bodyBase64` | the body, as text if it is UTF-8; neither without a body |
//!
//! The status is 200 whenever the command was answered, whatever its code; else the answer is
//! `{"error": …}`: 400 what came is no such object, 404 no such command, 408 the
//! body does not come, 413 too long, 415 not
//! JSON, 503 no memory or the server stops, 504 no answer within 90 seconds.
//!
//! The calls of one HTTP connection are requests of one connection inside of the server. What the
//! server would ask its client there is not passed on.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use wire::code::ResponseCode;
use wire::command::{COMMANDS, RequestCode};
use wire::frame::{Frame, Head, Language, SerializeType};

use super::{ResponseBody, Site, refuse};
use crate::connection::Connection;
use crate::error::TransportError;
use crate::reply::Body;

/// A command is answered within this time, longer than any broker holds a request.
const PATIENCE: Duration = Duration::from_secs(90);

/// A call as it comes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Call<'a> {
    #[serde(default)]
    ext_fields: BTreeMap<String, Value>,
    body: Option<String>,
    body_base64: Option<String>,
    #[serde(borrow)]
    language: Option<Cow<'a, str>>,
    version: Option<i32>,
}

/// An answer as it goes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    code: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
    remark: Option<&'a str>,
    ext_fields: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// Calls the commands of one HTTP connection.
#[derive(Default)]
pub(super) struct Commands {
    /// The asking end of a connection inside of the server, made by the first call.
    connection: Mutex<Option<Arc<Connection>>>,
}

impl Commands {
    /// Calls a command.
    pub(super) async fn call(
        &self,
        site: &Site,
        name: &str,
        body: &[u8],
    ) -> Response<ResponseBody> {
        match self.ask(site, name, body).await {
            Ok(answer) => super::json(StatusCode::OK, render(&answer)),
            Err((status, why)) => refuse(status, why),
        }
    }

    async fn ask(
        &self,
        site: &Site,
        name: &str,
        body: &[u8],
    ) -> Result<Frame, (StatusCode, String)> {
        let command = COMMANDS.iter().find(|known| known.code.name() == name);
        let command = command.ok_or_else(|| {
            let why = format!("there is no command {name}: see GET /v1/commands");
            (StatusCode::NOT_FOUND, why)
        })?;
        let (head, fields, body) =
            read(command.code, body).map_err(|why| (StatusCode::BAD_REQUEST, why))?;
        let connection = self.connection(site).await;
        let asked = connection.request(head, fields.as_slice(), body, PATIENCE);
        asked.await.map_err(|error| {
            let status = match error {
                TransportError::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            (status, error.to_string())
        })
    }

    /// The connection to the server's own endpoint, made if there is none that is open.
    async fn connection(&self, site: &Site) -> Arc<Connection> {
        let mut connection = self.connection.lock().await;
        if let Some(open) = connection.as_ref().filter(|it| it.is_open()) {
            return Arc::clone(open);
        }
        let open = site.endpoint.inside(|stream| site.link(stream));
        *connection = Some(Arc::clone(&open));
        open
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.get_mut() {
            connection.close();
        }
    }
}

/// The fields of a header, by name.
type Fields = Vec<(String, String)>;

/// The request that a call stands for.
fn read(code: RequestCode, body: &[u8]) -> Result<(Head, Fields, Body), String> {
    let call: Call<'_> = if body.is_empty() {
        serde_json::from_str("{}")
    } else {
        serde_json::from_slice(body)
    }
    .map_err(|error| format!("the call cannot be read: {error}"))?;
    let mut head = Head::request(code as i32, SerializeType::Json);
    head.language = Some(match call.language {
        None => Language::Http,
        Some(name) => {
            Language::from_name(&name).ok_or_else(|| format!("there is no language {name}"))?
        }
    });
    head.version = call.version.unwrap_or(head.version);
    let mut fields = Fields::with_capacity(call.ext_fields.len());
    for (name, value) in call.ext_fields {
        match value {
            Value::Null => {}
            Value::String(text) => fields.push((name, text)),
            Value::Number(_) | Value::Bool(_) => fields.push((name, value.to_string())),
            Value::Array(_) | Value::Object(_) => {
                return Err(format!("the field {name} is no string, number or boolean"));
            }
        }
    }
    let body = match (call.body, call.body_base64) {
        (None, None) => Body::Empty,
        (Some(text), None) => Body::from(text),
        (None, Some(text)) => {
            let bytes = STANDARD.decode(text);
            Body::from(bytes.map_err(|error| format!("bodyBase64 is no base64: {error}"))?)
        }
        (Some(_), Some(_)) => return Err("give body or bodyBase64, not both".to_owned()),
    };
    Ok((head, fields, body))
}

fn render(answer: &Frame) -> Bytes {
    let text = std::str::from_utf8(&answer.body).ok();
    let fields = answer.ext.iter();
    let answer = Answer {
        code: answer.head.code,
        name: ResponseCode::try_from(answer.head.code)
            .ok()
            .map(ResponseCode::name),
        remark: answer.remark.as_deref(),
        ext_fields: fields
            .filter_map(|(name, value)| Some((name, value?)))
            .collect(),
        body: text.filter(|text| !text.is_empty()),
        body_base64: text.is_none().then(|| STANDARD.encode(&answer.body)),
    };
    // Strings and numbers are always written.
    serde_json::to_vec(&answer).unwrap_or_default().into()
}

/// The commands and their fields, as JSON.
pub(super) fn list() -> String {
    let fields = |fields: fn() -> Vec<wire::header::Field>| {
        let field = |field: wire::header::Field| json!({ "name": field.name, "kind": field.kind.name(), "required": field.required });
        fields().into_iter().map(field).collect::<Vec<_>>()
    };
    let command = |command: &wire::command::CommandInfo| {
        json!({
            "name": command.code.name(),
            "code": command.code as i32,
            "request": fields(command.request.fields),
            "answer": fields(command.response.fields),
        })
    };
    Value::from_iter(COMMANDS.iter().map(command)).to_string()
}
