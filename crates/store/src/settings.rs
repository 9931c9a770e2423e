//! The store's settings: keys of the reference's `MessageStoreConfig` that mean something here.

use std::path::PathBuf;

use wire::message::delay_levels::DelayLevels;

use crate::consume_queue::{BATCH_ENTRY_SIZE, ENTRY_SIZE};
use crate::error::StoreError;
use crate::index::Layout;

config::choices! {
    /// When a message counts as stored.
    pub enum FlushDiskType {
        /// When it is written; the disk follows within `flushIntervalCommitLog`.
        AsyncFlush = "ASYNC_FLUSH",
        /// When it is on the disk.
        SyncFlush = "SYNC_FLUSH",
    }
}

config::settings! {
    /// Where and how messages are kept.
    pub struct StoreConfig from "MessageStoreConfig" {
        /// Directory of everything the broker keeps.
        "storePathRootDir" store_path_root_dir: String = config::machine::in_user_home("store"), shown("${user.home}/store"), important;
        /// Directory of the commit log; unset: `commitlog` in `storePathRootDir`.
        "storePathCommitLog" store_path_commit_log: Option<String> = None, important;
        /// Bytes of one commit log file. Cannot change once there are files.
        "mappedFileSizeCommitLog" mapped_file_size_commit_log: usize = 1 << 30, range(1024..=i32::MAX as usize);
        /// Bytes of one consume queue file, a multiple of 20. Cannot change once there are files.
        "mappedFileSizeConsumeQueue" mapped_file_size_consume_queue: usize = 300_000 * 20, range(20..=i32::MAX as usize);
        /// Bytes of one file of a batch consume queue, a multiple of 46. Cannot change once there are files.
        "mapperFileSizeBatchConsumeQueue" mapper_file_size_batch_consume_queue: usize = 300_000 * 46, range(46..=i32::MAX as usize);
        /// Whether each message gets a unit in `consumequeue_ext` beside its entry in a simple consume queue.
        "enableConsumeQueueExt" enable_consume_queue_ext: bool = false;
        /// Bytes of one file of `consumequeue_ext`. Cannot change once there are files.
        "mappedFileSizeConsumeQueueExt" mapped_file_size_consume_queue_ext: usize = 48 << 20, range(64..=i32::MAX as usize);
        /// Whether there are light queues, named `%LMQ%…`, which messages of other topics are entered into as well. The offsets of groups are in `lmqConsumerOffset.json` then, not in `consumerOffset.json`.
        "enableLmq" enable_lmq: bool = false;
        /// Whether messages are entered into the light queues that their property INNER_MULTI_DISPATCH names; for `enableLmq`.
        "enableMultiDispatch" enable_multi_dispatch: bool = false;
        /// Whether there is a limit to the number of light queues.
        "enableLmqQuota" enable_lmq_quota: bool = false, reloadable;
        /// Most light queues; for `enableLmqQuota`.
        "maxLmqConsumeQueueNum" max_lmq_consume_queue_num: usize = 20_000, range(0..=i32::MAX as usize), reloadable;
        /// When a message counts as stored: ASYNC_FLUSH as soon as it is written, SYNC_FLUSH once it is on the disk.
        "flushDiskType" flush_disk_type: FlushDiskType = FlushDiskType::AsyncFlush, important;
        /// Longest wait for the disk before a sender is told FLUSH_DISK_TIMEOUT, in milliseconds; for SYNC_FLUSH.
        "syncFlushTimeout" sync_flush_timeout: u32 = 5000, range(1..=i32::MAX as u32), reloadable;
        /// Time between two flushes of the commit log, in milliseconds; for ASYNC_FLUSH.
        "flushIntervalCommitLog" flush_interval_commit_log: u32 = 500, range(1..=i32::MAX as u32), reloadable;
        /// Time between two rounds of writing queue entries to their files, in milliseconds.
        "flushIntervalConsumeQueue" flush_interval_consume_queue: u32 = 1000, range(1..=i32::MAX as u32), reloadable;
        /// Longest time between two checkpoints, for which all queue files are flushed, in milliseconds. A checkpoint is also made after 256 MiB of messages, and 4 KiB for each queue that they went to.
        "flushConsumeQueueThoroughInterval" flush_consume_queue_thorough_interval: u32 = 60_000, range(1..=i32::MAX as u32), reloadable;
        /// Longest wait for an append that the disk holds up before a sender is told SYSTEM_BUSY, in milliseconds.
        "osPageCacheBusyTimeOutMills" os_page_cache_busy_time_out_mills: u32 = 1000, range(1..=i32::MAX as u32), reloadable;
        /// Largest message body, in bytes.
        "maxMessageSize" max_message_size: usize = 4 << 20, range(10..=(i32::MAX as usize) / 2), reloadable;
        /// Most bytes in one pull answer while the messages are young enough to be in memory.
        "maxTransferBytesOnMessageInMemory" max_transfer_bytes_on_message_in_memory: usize = 256 << 10, range(1..=i32::MAX as usize), reloadable;
        /// Most messages in one pull answer while they are young enough to be in memory.
        "maxTransferCountOnMessageInMemory" max_transfer_count_on_message_in_memory: usize = 32, range(1..=i32::MAX as usize), reloadable;
        /// Most bytes in one pull answer of older messages.
        "maxTransferBytesOnMessageInDisk" max_transfer_bytes_on_message_in_disk: usize = 64 << 10, range(1..=i32::MAX as usize), reloadable;
        /// Most messages in one pull answer of older messages.
        "maxTransferCountOnMessageInDisk" max_transfer_count_on_message_in_disk: usize = 8, range(1..=i32::MAX as usize), reloadable;
        /// Part of the machine's memory, in percent, that the youngest messages are taken to be in.
        "accessMessageInMemoryMaxRatio" access_message_in_memory_max_ratio: u32 = 40, range(0..=100), reloadable;
        /// Bytes of queue entries (20 each) that one pull looks at while its filter matches none.
        "maxFilterMessageSize" max_filter_message_size: usize = 16_000, range(20..=i32::MAX as usize), reloadable;
        /// Consume queue files that one pull goes through while its filter matches nothing.
        "travelCqFileNumWhenGetMessage" travel_cq_file_num_when_get_message: usize = 1, range(1..=1_000_000), reloadable;
        /// Whether recovery compares bodies with their CRC.
        "checkCRCOnRecover" check_crc_on_recover: bool = true;
        /// Whether each record ends in a CRC of the whole of it.
        "enabledAppendPropCRC" enabled_append_prop_crc: bool = false;
        /// Whether recovery compares whole records with the CRC that `enabledAppendPropCRC` adds, instead of bodies.
        "forceVerifyPropCRC" force_verify_prop_crc: bool = false;
        /// Whether topics longer than 127 bytes may be stored, in records of version 2.
        "autoMessageVersionOnTopicLen" auto_message_version_on_topic_len: bool = true, reloadable;
        /// Whether messages are entered into the index, by which they are found by key.
        "messageIndexEnable" message_index_enable: bool = true, important;
        /// Slots of one index file. If it changes, the index is made anew.
        "maxHashSlotNum" max_hash_slot_num: usize = 5_000_000, range(1..=500_000_000);
        /// Most entries of one index file, and one. If it changes, the index is made anew.
        "maxIndexNum" max_index_num: usize = 5_000_000 * 4, range(2..=100_000_000);
        /// Most messages found by one question for a key.
        "maxMsgsNumBatch" max_msgs_num_batch: usize = 64, range(1..=1_000_000), reloadable;
        /// Most messages found by one question for a unique id.
        "defaultQueryMaxNum" default_query_max_num: usize = 32, range(1..=1_000_000), reloadable;
        /// Hours of the day, local time, two digits each, at which old files are removed: `04` or `04;16`.
        "deleteWhen" delete_when: String = "04".to_owned(), check(|text| check_hours(text)), reloadable, important;
        /// Hours a commit log file is kept after its last write.
        "fileReservedTime" file_reserved_time: u32 = 72, range(0..=10_000_000), reloadable, important;
        /// Space in use, in percent, from which on old files are removed at any hour; counts as 10 to 95.
        "diskMaxUsedSpaceRatio" disk_max_used_space_ratio: u32 = 75, range(0..=100), reloadable;
        /// Space in use, in percent, from which on files are removed however young; counts as 30 to 85.
        "diskSpaceCleanForciblyRatio" disk_space_clean_forcibly_ratio: u32 = 85, range(0..=100), reloadable;
        /// Space in use, in percent, from which on messages are refused; counts as 35 to 90.
        "diskSpaceWarningLevelRatio" disk_space_warning_level_ratio: u32 = 90, range(0..=100), reloadable;
        /// Whether files may be removed before their time when the disk is too full.
        "cleanFileForciblyEnable" clean_file_forcibly_enable: bool = true, reloadable;
        /// Time between two looks for old files, in milliseconds.
        "cleanResourceInterval" clean_resource_interval: u32 = 10_000, range(1..=i32::MAX as u32), reloadable;
        /// Pause between the removal of two commit log files, in milliseconds.
        "deleteCommitLogFilesInterval" delete_commit_log_files_interval: u32 = 100, range(0..=60_000), reloadable;
        /// Most commit log files removed in one go.
        "deleteFileBatchMax" delete_file_batch_max: usize = 10, range(1..=1_000_000), reloadable;
        /// Delay of each level, the first for level 1: numbers with a unit of `s`, `m`, `h` or `d`.
        "messageDelayLevel" message_delay_level: String = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h".to_owned(), check(|text| DelayLevels::check(text));
        /// Whether messages may have a time of their own. If not, they are refused.
        "timerWheelEnable" timer_wheel_enable: bool = true, reloadable, important;
        /// Milliseconds of one moment of the timer wheel: messages are delivered at the first moment that is not before their time. Cannot change once there is a wheel.
        "timerPrecisionMs" timer_precision_ms: u32 = 1000, range(1..=60_000);
        /// Longest time from now for which messages are taken, in seconds.
        "timerMaxDelaySec" timer_max_delay_sec: u32 = 3600 * 24 * 3, range(1..=i32::MAX as u32), reloadable, important;
        /// Moments after which a message that is due later is stored once more, so that it does not leave the commit log; at most 7 days of seconds, less a minute.
        "timerRollWindowSlot" timer_roll_window_slot: u32 = 3600 * 24 * 2, range(2..=i32::MAX as u32);
        /// Bytes of one file of the timer log. Cannot change once there are files.
        "mappedFileSizeTimerLog" mapped_file_size_timer_log: usize = 100 << 20, range(128..=i32::MAX as usize);
        /// Longest time between two checkpoints of the timer, in milliseconds.
        "timerFlushIntervalMs" timer_flush_interval_ms: u32 = 1000, range(1..=i32::MAX as u32), reloadable;
        /// Messages due at one moment from which on more are refused at random, and all from twice as many on.
        "timerCongestNumEachSlot" timer_congest_num_each_slot: i32 = i32::MAX, range(1..), reloadable;
        /// Whether messages with a time stay in their queue and do not enter the wheel.
        "timerStopEnqueue" timer_stop_enqueue: bool = false, reloadable;
        /// Whether messages stay in the wheel although they are due.
        "timerStopDequeue" timer_stop_dequeue: bool = false, reloadable;
        /// Whether a message is taken back by topic and unique id, not by the unique id only. Both brokers of a store have to agree.
        "appendTopicForTimerDeleteKey" append_topic_for_timer_delete_key: bool = false;
        /// Whether topics with `cleanup.policy=COMPACTION` are compacted. If not, they are as others.
        "enableCompaction" enable_compaction: bool = true;
        /// Time between two looks for queues to compact, in milliseconds.
        "compactionScheduleInternal" compaction_schedule_internal: u32 = 900_000, range(1..=i32::MAX as u32), reloadable;
        /// Bytes of messages from which on the older ones of a queue are compacted.
        "compactionMappedFileSize" compaction_mapped_file_size: usize = 100 << 20, range(1..=i32::MAX as usize), reloadable;
        /// Bytes of entries, 46 a message, from which on the older messages of a queue are compacted.
        "compactionCqMappedFileSize" compaction_cq_mapped_file_size: usize = 10 << 20, range(92..=i32::MAX as usize), reloadable;
        /// Bytes of memory for the keys of the messages that are compacted in one go.
        "maxOffsetMapSize" max_offset_map_size: usize = 100 << 20, range(1..=i32::MAX as usize), reloadable;
        /// Bytes of the youngest messages kept in memory, so that consumers at the end of the log need no disk.
        "kerolox.tailCacheSize" tail_cache_size: usize = 32 << 20, range(0..=1 << 40), ours;
        /// Bytes of the youngest messages that the system may keep in its page cache; older ones leave it once they are on the disk. 0 leaves all to the system.
        "kerolox.pageCacheSize" page_cache_size: usize = 256 << 20, range(0..=1 << 50), ours, reloadable;
    }
}

fn check_hours(text: &str) -> Result<(), String> {
    if hours(text).is_some() {
        Ok(())
    } else {
        Err("the hours are two digits each, 00 to 23, with `;` between".to_owned())
    }
}

fn hours(text: &str) -> Option<Vec<u32>> {
    text.split(';')
        .map(|hour| hour.trim().parse().ok().filter(|hour| *hour < 24))
        .collect()
}

impl StoreConfig {
    /// Directory of everything the broker keeps.
    pub fn root(&self) -> PathBuf {
        PathBuf::from(&self.store_path_root_dir)
    }

    /// Directory of the broker's configuration files.
    pub fn config_dir(&self) -> PathBuf {
        self.root().join("config")
    }

    /// Directory of the commit log.
    pub fn commit_log_dir(&self) -> PathBuf {
        match &self.store_path_commit_log {
            Some(path) => PathBuf::from(path),
            None => self.root().join("commitlog"),
        }
    }

    /// Whether messages are entered into light queues.
    pub(crate) fn enters_light_queues(&self) -> bool {
        self.enable_lmq && self.enable_multi_dispatch
    }

    /// How the files of the index are laid out.
    pub(crate) fn index_layout(&self) -> Layout {
        Layout {
            slots: self.max_hash_slot_num,
            numbers: self.max_index_num as i32,
        }
    }

    /// The delay levels; none where the text is not valid, which setting the key refuses.
    pub fn delay_levels(&self) -> DelayLevels {
        DelayLevels::parse(&self.message_delay_level).unwrap_or_default()
    }

    /// Whether files are removed at this local hour.
    pub fn deletes_at(&self, hour: u32) -> bool {
        hours(&self.delete_when).is_some_and(|hours| hours.contains(&hour))
    }

    /// From which part of the disk in use on old files are removed at any hour, 0 to 1
    /// (`getDiskMaxUsedSpaceRatio`).
    pub(crate) fn clean_level(&self) -> f64 {
        f64::from(self.disk_max_used_space_ratio.clamp(10, 95)) / 100.0
    }

    /// From which part of the disk in use on messages are refused, 0 to 1.
    pub(crate) fn warning_level(&self) -> f64 {
        f64::from(self.disk_space_warning_level_ratio.clamp(35, 90)) / 100.0
    }

    /// From which part of the disk in use on files are removed however young, 0 to 1.
    pub(crate) fn clean_forcibly_level(&self) -> f64 {
        f64::from(self.disk_space_clean_forcibly_ratio.clamp(30, 85)) / 100.0
    }

    /// What single keys cannot know about each other.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let entries = [
            (
                "mappedFileSizeConsumeQueue",
                self.mapped_file_size_consume_queue,
                ENTRY_SIZE,
                "queue entries have 20 bytes, so it must be a multiple of 20",
            ),
            (
                "mapperFileSizeBatchConsumeQueue",
                self.mapper_file_size_batch_consume_queue,
                BATCH_ENTRY_SIZE,
                "entries of batch queues have 46 bytes, so it must be a multiple of 46",
            ),
        ];
        for (key, file_size, entry_size, reason) in entries {
            if !file_size.is_multiple_of(entry_size) {
                return Err(StoreError::Setting {
                    key,
                    value: file_size.to_string(),
                    reason,
                });
            }
        }
        if self.index_layout().len() > i32::MAX as u64 {
            return Err(StoreError::Setting {
                key: "maxIndexNum",
                value: self.max_index_num.to_string(),
                reason: "an index file, 4 bytes for each of maxHashSlotNum and 20 for each of maxIndexNum, would be larger than 2 GB",
            });
        }
        match &self.store_path_commit_log {
            Some(path) if path.contains(',') => Err(StoreError::Setting {
                key: "storePathCommitLog",
                value: path.clone(),
                reason: "a commit log over several directories is not supported, give one",
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Settings;

    #[test]
    fn hours_are_those_of_the_reference() {
        let mut settings = StoreConfig::default();
        assert!(settings.deletes_at(4) && !settings.deletes_at(5));
        settings.set("deleteWhen", "04;16").unwrap();
        assert!(settings.deletes_at(16));
        assert!(settings.set("deleteWhen", "24").is_err());
    }

    #[test]
    fn the_disk_ratios_keep_within_the_reference_s_bounds() {
        let mut settings = StoreConfig::default();
        settings.set("diskSpaceWarningLevelRatio", "99").unwrap();
        settings.set("diskSpaceCleanForciblyRatio", "1").unwrap();
        settings.set("diskMaxUsedSpaceRatio", "99").unwrap();
        assert_eq!(settings.clean_level(), 0.95);
        assert_eq!(settings.warning_level(), 0.90);
        assert_eq!(settings.clean_forcibly_level(), 0.30);
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let mut settings = StoreConfig::default();
        settings.check().unwrap();
        settings.mapped_file_size_consume_queue = 30;
        assert!(
            settings
                .check()
                .unwrap_err()
                .to_string()
                .contains("multiple of 20")
        );
        settings = StoreConfig::default();
        settings.store_path_commit_log = Some("/a,/b".to_owned());
        assert!(
            settings
                .check()
                .unwrap_err()
                .to_string()
                .contains("storePathCommitLog")
        );
        assert!(settings.set("messageDelayLevel", "1x").is_err());
    }
}
