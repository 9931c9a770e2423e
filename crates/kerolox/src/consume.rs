//! `kerolox consume`: reads messages on the command line.
//!
//! Without a group it only looks ([`reading`]); with one it is a member of the group like any
//! other client ([`group`]).

mod group;
pub(crate) mod message;
mod reading;
pub(crate) mod time;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::Duration;

use wire::message::MessageError;
use wire::message::names;
use wire::message::tags::{SUB_ALL, TagExpression};

use self::message::Message;
use self::time::parse_time;
use crate::client::queue::Queue;
use crate::client::{Client, ClientError, ClusterArgs, OutputFormat, print_line};
use crate::error::CliError;

/// Options of `kerolox consume`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Topic to read
    topic: String,
    /// Consume as a member of this group, sharing the messages with its other members and going
    /// on where the group has come to; without a group all messages are shown and the broker
    /// keeps no trace of it
    #[arg(short, long)]
    group: Option<String>,
    /// Only messages with this tag, or one of several: A || B
    #[arg(short, long, value_name = "EXPRESSION", default_value = SUB_ALL)]
    tag: String,
    /// Wait for more messages at the end
    #[arg(short, long)]
    follow: bool,
    /// Where to begin: first, last (behind the last message), or a time: 2026-01-31T12:00:00 in
    /// UTC, or milliseconds since 1970. With a group, only where it has never been
    #[arg(long, value_name = "PLACE", default_value = "first", value_parser = From::parse)]
    from: From,
    /// Stop after so many messages
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// How messages are written; json: one object a line
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    output: OutputFormat,
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    First,
    Last,
    /// Milliseconds since 1970.
    Time(i64),
}

impl From {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "first" => Ok(Self::First),
            "last" => Ok(Self::Last),
            time => parse_time(time).map(Self::Time).ok_or_else(|| {
                "write first, last, 2026-01-31T12:00:00 or milliseconds since 1970".to_owned()
            }),
        }
    }

    /// The offset in a queue.
    async fn offset(self, client: &Client, queue: &Queue) -> Result<i64, ClientError> {
        match self {
            Self::First => client.min_offset(queue).await,
            Self::Last => client.max_offset(queue).await,
            Self::Time(time) => client.offset_at(queue, time).await,
        }
    }
}

/// Reads messages and prints them.
pub(crate) async fn run(args: Args) -> Result<(), CliError> {
    let wrong = |error: &dyn std::error::Error| ClientError::Argument(error.to_string());
    names::validate_topic(&args.topic).map_err(|error| wrong(&error))?;
    TagExpression::parse(&args.tag).map_err(|error| wrong(&error))?;
    match &args.group {
        None => reading::run(&args).await,
        Some(group) => {
            names::validate_group(group).map_err(|error| wrong(&error))?;
            group::run(&args, group).await
        }
    }
}

/// Shows messages until there are enough.
struct Printer<'a> {
    expression: TagExpression<'a>,
    output: OutputFormat,
    /// How many more are wanted.
    left: u64,
}

impl<'a> Printer<'a> {
    fn new(args: &'a Args) -> Result<Self, MessageError> {
        Ok(Self {
            expression: TagExpression::parse(&args.tag)?,
            output: args.output,
            left: args.count.unwrap_or(u64::MAX),
        })
    }

    /// Shows a message unless its tag is not wanted: the broker goes by the tags' hashes, which
    /// different tags may share. Broken off: that was the last one wanted.
    fn show(&mut self, message: &Message) -> Result<ControlFlow<()>, ClientError> {
        if !self.expression.matches(message.tag()) {
            return Ok(ControlFlow::Continue(()));
        }
        let read_on = print_line(&message.line(self.output))?;
        self.left -= 1;
        Ok(if self.left == 0 {
            ControlFlow::Break(())
        } else {
            read_on
        })
    }
}

/// Time until a queue that could not be read is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Tells on standard error what goes wrong for the time being, each thing once.
#[derive(Default)]
struct Troubles {
    told: HashSet<String>,
}

impl Troubles {
    fn tell(&mut self, error: &ClientError) {
        let text = error.to_string();
        if !self.told.contains(&text) {
            eprintln!("kerolox: {text} (trying again)");
            self.told.insert(text);
        }
    }

    /// All is well again: what goes wrong from now on is told anew.
    fn over(&mut self) {
        self.told.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_to_begin_at_are_read() {
        assert_eq!(From::parse("first"), Ok(From::First));
        assert_eq!(From::parse("last"), Ok(From::Last));
        assert_eq!(
            From::parse("1700000000000"),
            Ok(From::Time(1_700_000_000_000))
        );
        assert_eq!(
            From::parse("2023-11-14T22:13:20"),
            Ok(From::Time(1_700_000_000_000))
        );
        assert!(From::parse("yesterday").is_err());
    }
}
