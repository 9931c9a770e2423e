//! What requests must keep to (`GrpcValidator`, `SendMessageActivity`).

use wire::grpc::{Code, Duration, Resource};
use wire::message::names;

use crate::error::ProxyError;
use crate::settings::ProxyConfig;

/// The names that clients may use for one kind of things (`Validators`).
struct Names {
    code: Code,
    /// How refusals begin.
    what: &'static str,
    /// Characters of the longest one.
    most: usize,
    too_long: fn(&str) -> String,
    is_system: fn(&str) -> bool,
    system: &'static str,
}

const TOPICS: Names = Names {
    code: Code::IllegalTopic,
    what: "The specified topic",
    most: names::TOPIC_MAX_LENGTH,
    too_long: |_| " is longer than topic max length 127.".into(),
    is_system: names::is_system_topic,
    system: "cannot access system topic",
};

const GROUPS: Names = Names {
    code: Code::IllegalConsumerGroup,
    what: "the specified group",
    most: names::GROUP_MAX_LENGTH,
    too_long: |name| format!("[{name}] is longer than group max length: 120."),
    is_system: names::is_system_group,
    system: "cannot use system consumer group",
};

impl Names {
    fn check<'a>(&self, resource: Option<&'a Resource>) -> Result<&'a str, ProxyError> {
        let name = resource.map_or("", |resource| &resource.name);
        let what = self.what;
        let problem = if name.trim().is_empty() {
            format!("{what} is blank")
        } else if name.chars().count() > self.most {
            format!("{what}{}", (self.too_long)(name))
        } else if names::is_illegal(name) {
            format!("{what}[{name}] contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$")
        } else if (self.is_system)(name) {
            self.system.into()
        } else {
            return Ok(name);
        };
        Err(ProxyError::new(self.code, problem))
    }
}

/// The name of a topic that clients may use.
pub(crate) fn topic(topic: Option<&Resource>) -> Result<&str, ProxyError> {
    TOPICS.check(topic)
}

/// The name of a group that clients may use.
pub(crate) fn group(group: Option<&Resource>) -> Result<&str, ProxyError> {
    GROUPS.check(group)
}

/// How long a message is hidden, in milliseconds.
pub(crate) fn invisible_millis(
    duration: Option<Duration>,
    least: i64,
    config: &ProxyConfig,
) -> Result<i64, ProxyError> {
    let millis = duration.map_or(0, Duration::to_millis);
    let refused = |message| Err(ProxyError::new(Code::IllegalInvisibleTime, message));
    let most = config.max_invisible_time_mills;
    if millis < least {
        return refused(format!("the invisibleTime is too small. min is {least}"));
    }
    if most > 0 && millis > most {
        return refused(format!("the invisibleTime is too large. max is {most}"));
    }
    Ok(millis)
}

/// A tag, unless it is empty.
pub(crate) fn tag(tag: &str) -> Result<(), ProxyError> {
    text("tag", tag, Code::IllegalMessageTag)?;
    if tag.contains('|') {
        return Err(ProxyError::new(
            Code::IllegalMessageTag,
            "tag cannot contain '|'",
        ));
    }
    Ok(())
}

/// A key, unless it is empty.
pub(crate) fn key(key: &str) -> Result<(), ProxyError> {
    text("key", key, Code::IllegalMessageKey)
}

/// A message group, unless it is empty.
pub(crate) fn message_group(group: &str, config: &ProxyConfig) -> Result<(), ProxyError> {
    text("message group", group, Code::IllegalMessageGroup)?;
    let limit = config.max_message_group_size;
    if limit > 0 && group.len() >= limit {
        let message = format!("message group exceed the max size {limit}");
        return Err(ProxyError::new(Code::IllegalMessageGroup, message));
    }
    Ok(())
}

/// A lite topic's name.
pub(crate) fn lite_topic(name: &str, config: &ProxyConfig) -> Result<(), ProxyError> {
    let refused = |message| Err(ProxyError::new(Code::IllegalLiteTopic, message));
    if name.chars().all(char::is_whitespace) {
        return refused("lite topic cannot be the char sequence of whitespace".into());
    }
    let most = config.max_lite_topic_size;
    if name.len() > most {
        return refused(format!("lite topic exceed the max size {most}"));
    }
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !name.bytes().all(is_fit) {
        let fit = "lite topic can only contain alphanumeric characters, hyphens(-), and \
                   underscores(_)";
        return refused(fit.into());
    }
    Ok(())
}

/// A property of the application.
pub(crate) fn property(name: &str, value: &str) -> Result<(), ProxyError> {
    let refused = |message: String| ProxyError::new(Code::IllegalMessagePropertyKey, message);
    if wire::message::property::is_reserved(name) {
        return Err(refused(format!("property is used by system: {name}")));
    }
    for (what, text) in [("key", name), ("value", value)] {
        if has_control_character(text) {
            let message = format!("the {what} of property cannot contain control character");
            return Err(refused(message));
        }
    }
    Ok(())
}

fn text(what: &str, text: &str, code: Code) -> Result<(), ProxyError> {
    if !text.is_empty() && text.chars().all(char::is_whitespace) {
        let message = format!("{what} cannot be the char sequence of whitespace");
        return Err(ProxyError::new(code, message));
    }
    if has_control_character(text) {
        let message = format!("{what} cannot contain control character");
        return Err(ProxyError::new(code, message));
    }
    Ok(())
}

/// Java's `Character.isISOControl` of any of its characters.
fn has_control_character(text: &str) -> bool {
    text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<(), ProxyError>) -> Option<Code> {
        result.err().map(|error| error.code())
    }

    #[test]
    fn names_that_clients_must_not_use_are_refused() {
        let named = |name: &str| Some(Resource::named(name));
        let topic_code = |name: &str| code(topic(named(name).as_ref()).map(drop));
        let group_code = |name: &str| code(group(named(name).as_ref()).map(drop));
        assert_eq!(topic_code("orders"), None);
        for wrong in [
            "",
            " ",
            "a b",
            "a!",
            "TBW102",
            "rmq_sys_x",
            &"a".repeat(128),
        ] {
            assert_eq!(topic_code(wrong), Some(Code::IllegalTopic), "{wrong}");
        }
        assert_eq!(code(topic(None).map(drop)), Some(Code::IllegalTopic));
        assert_eq!(group_code("payments"), None);
        assert_eq!(topic_code(&"a".repeat(127)), None);
        assert_eq!(group_code(&"a".repeat(120)), None);
        for wrong in ["", "a b", "CID_RMQ_SYS_x", &"a".repeat(121)] {
            assert_eq!(
                group_code(wrong),
                Some(Code::IllegalConsumerGroup),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_message_group_stays_below_the_limit_in_bytes() {
        let config = ProxyConfig::default();
        let check = |group: &str| code(message_group(group, &config));
        assert_eq!(check(""), None);
        assert_eq!(check(&"g".repeat(63)), None);
        assert_eq!(check(&"g".repeat(64)), Some(Code::IllegalMessageGroup));
        assert_eq!(check(&"é".repeat(32)), Some(Code::IllegalMessageGroup));
        assert_eq!(check(" "), Some(Code::IllegalMessageGroup));
        assert_eq!(check("a\u{1}"), Some(Code::IllegalMessageGroup));
    }

    #[test]
    fn a_lite_topic_is_of_letters_digits_hyphens_and_underscores() {
        let config = ProxyConfig::default();
        let check = |name: &str| code(lite_topic(name, &config));
        assert_eq!(check("Chat-7_b"), None);
        assert_eq!(check(&"l".repeat(64)), None);
        for wrong in ["", " ", "a b", "a.b", "é", &"l".repeat(65)] {
            assert_eq!(check(wrong), Some(Code::IllegalLiteTopic), "{wrong}");
        }
    }

    #[test]
    fn invisible_times_have_bounds() {
        let config = ProxyConfig::default();
        let check = |millis| {
            let duration = Some(Duration::from_millis(millis));
            invisible_millis(duration, 10_000, &config).ok()
        };
        assert_eq!(check(10_000), Some(10_000));
        assert_eq!(check(43_200_000), Some(43_200_000));
        assert_eq!(check(9_999), None);
        assert_eq!(check(43_200_001), None);
        assert_eq!(invisible_millis(None, 0, &config).ok(), Some(0));
    }

    #[test]
    fn properties_of_the_system_and_control_characters_are_refused() {
        let wrong = Some(Code::IllegalMessagePropertyKey);
        assert_eq!(code(property("color", "blue")), None);
        assert_eq!(code(property("KEYS", "k")), wrong);
        assert_eq!(code(property("a\u{1}", "b")), wrong);
        assert_eq!(code(property("a", "b\u{2}")), wrong);
        assert_eq!(code(tag("a|b")), Some(Code::IllegalMessageTag));
        assert_eq!(code(key("\t")), Some(Code::IllegalMessageKey));
    }
}
