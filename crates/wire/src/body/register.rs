//! The body of `REGISTER_BROKER`: all topics of a broker, plain or compressed.
//!
//! Plain it is the JSON of [`RegisterBrokerBody`]. Compressed (`RegisterBrokerBody.encode` of the
//! reference) it is a ZLIB stream of parts, each behind its length in 4 bytes, big endian:
//!
//! | part | what |
//! |---|---|
//! | once | JSON of the [`DataVersion`] |
//! | 4 bytes | number of topics |
//! | per topic | name, read queues, write queues, permission, filter type, attributes as JSON, with blanks between |
//! | once | JSON array of the filter servers |
//! | 4 bytes | number of static topics; brokers before 5.0.0 end in front of it |
//! | per static topic | JSON of its [`TopicQueueMappingInfo`] |
//!
//! The system flag and the order flag of topics, and the mappings in full, are in the plain form
//! alone.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::bufread::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};

use super::static_topic::TopicQueueMappingInfo;
use super::topic::{TopicConfig, TopicConfigAndMappingSerializeWrapper, TopicFilterType};
use super::version::DataVersion;
use super::{BodyError, json};

/// The most bytes that a compressed body may unpack to: some 500,000 topics.
pub const MAX_UNPACKED: u64 = 128 * 1024 * 1024;

/// What a broker registers with a name server.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegisterBrokerBody {
    /// Addresses of filter servers; kept for old brokers.
    pub filter_server_list: Vec<String>,
    /// All topics.
    pub topic_config_serialize_wrapper: TopicConfigAndMappingSerializeWrapper,
}

impl RegisterBrokerBody {
    /// Writes the compressed form.
    pub fn compress(&self) -> Bytes {
        let mut parts = Parts(ZlibEncoder::new(Vec::new(), Compression::best()));
        let topics = &self.topic_config_serialize_wrapper;
        parts.put(&json::write(&topics.data_version));
        parts.count(topics.topic_config_table.len());
        for topic in topics.topic_config_table.values() {
            parts.put(&topic_line(topic));
        }
        parts.put(&json::write(&self.filter_server_list));
        parts.count(topics.topic_queue_mapping_info_map.len());
        for mapping in topics.topic_queue_mapping_info_map.values() {
            parts.put(&json::write(mapping));
        }
        parts.finish()
    }

    /// Reads the compressed form.
    ///
    /// # Errors
    /// The stream is broken, a part is not what it should be, or more than [`MAX_UNPACKED`] bytes
    /// come out.
    pub fn decompress(body: &[u8]) -> Result<Self, BodyError> {
        let mut stream = Unpacked(ZlibDecoder::new(body).take(MAX_UNPACKED));
        let mut unpacked = Self::default();
        let topics = &mut unpacked.topic_config_serialize_wrapper;
        topics.data_version = json::read::<DataVersion>(&stream.part("data version")?)?;
        for _ in 0..stream.count("number of topics")? {
            let topic = parse_topic_line(&stream.part("topics")?)?;
            topics
                .topic_config_table
                .insert(topic.topic_name.clone(), topic);
        }
        unpacked.filter_server_list = json::read(&stream.part("filter servers")?)?;
        if let Some(mappings) = stream.count_unless_end("number of static topics")? {
            for _ in 0..mappings {
                let part = stream.part("static topics")?;
                let mapping: TopicQueueMappingInfo = json::read(&part)?;
                topics
                    .topic_queue_mapping_info_map
                    .insert(mapping.topic.clone(), mapping);
            }
        }
        Ok(unpacked)
    }
}

/// A topic as one line of text (`TopicConfig.encode` of the reference).
fn topic_line(topic: &TopicConfig) -> Vec<u8> {
    let TopicConfig {
        topic_name,
        read_queue_nums,
        write_queue_nums,
        perm,
        ..
    } = topic;
    let filter_type = topic.topic_filter_type.name();
    let mut line =
        format!("{topic_name} {read_queue_nums} {write_queue_nums} {perm} {filter_type} ")
            .into_bytes();
    line.extend_from_slice(&json::write(&topic.attributes));
    line
}

fn parse_topic_line(line: &[u8]) -> Result<TopicConfig, BodyError> {
    let line = str::from_utf8(line).map_err(|error| BodyError::NotUtf8(error.valid_up_to()))?;
    let parse = || {
        let mut parts = line.splitn(6, ' ');
        let topic = TopicConfig {
            topic_name: parts.next()?.to_owned(),
            read_queue_nums: parts.next()?.parse().ok()?,
            write_queue_nums: parts.next()?.parse().ok()?,
            perm: parts.next()?.parse().ok()?,
            topic_filter_type: TopicFilterType::from_name(parts.next()?)?,
            ..TopicConfig::default()
        };
        Some((topic, parts.next()))
    };
    let (mut topic, attributes) =
        parse().ok_or_else(|| BodyError::TopicConfig(line.chars().take(256).collect()))?;
    if let Some(attributes) = attributes.filter(|attributes| !attributes.is_empty()) {
        topic.attributes = json::read(attributes.as_bytes())?;
    }
    Ok(topic)
}

/// The parts going into a compressed body. Writing to memory does not fail.
struct Parts(ZlibEncoder<Vec<u8>>);

impl Parts {
    fn count(&mut self, count: usize) {
        let _ = self.0.write_all(&(count as u32).to_be_bytes());
    }

    fn put(&mut self, part: &[u8]) {
        self.count(part.len());
        let _ = self.0.write_all(part);
    }

    fn finish(self) -> Bytes {
        self.0.finish().unwrap_or_default().into()
    }
}

/// The parts coming out of a compressed body.
struct Unpacked<R>(R);

impl<R: Read> Unpacked<R> {
    /// The next number, or none at the stream's end.
    fn count_unless_end(&mut self, what: &'static str) -> Result<Option<u32>, BodyError> {
        let mut number = Vec::with_capacity(4);
        let read = self.0.by_ref().take(4).read_to_end(&mut number);
        match (read, number.first_chunk()) {
            (Ok(0), _) => Ok(None),
            (Ok(_), Some(number)) => Ok(Some(u32::from_be_bytes(*number))),
            _ => Err(BodyError::Truncated(what)),
        }
    }

    fn count(&mut self, what: &'static str) -> Result<u32, BodyError> {
        self.count_unless_end(what)?
            .ok_or(BodyError::Truncated(what))
    }

    /// The next part. Memory grows with what comes, not with the length that was said.
    fn part(&mut self, what: &'static str) -> Result<Vec<u8>, BodyError> {
        let length = u64::from(self.count(what)?);
        let mut part = Vec::new();
        match self.0.by_ref().take(length).read_to_end(&mut part) {
            Ok(read) if read as u64 == length => Ok(part),
            _ => Err(BodyError::Truncated(what)),
        }
    }
}
