//! Bit sets carried as integers: a message's system flag, a pull's, a topic's and a
//! subscription group's.

/// Bits of a message's system flag (`MessageSysFlag`).
pub mod message {
    /// The body is compressed; which way say the [`COMPRESSION_MASK`] bits.
    pub const COMPRESSED: i32 = 0x1;
    /// The message has several tags.
    pub const MULTI_TAGS: i32 = 0x1 << 1;
    /// Not part of a transaction.
    pub const TRANSACTION_NOT_TYPE: i32 = 0;
    /// A transaction's half message.
    pub const TRANSACTION_PREPARED_TYPE: i32 = 0x1 << 2;
    /// A committed transactional message.
    pub const TRANSACTION_COMMIT_TYPE: i32 = 0x2 << 2;
    /// A rolled back transactional message; also the mask of the transaction bits.
    pub const TRANSACTION_ROLLBACK_TYPE: i32 = 0x3 << 2;
    /// The born host of the stored record is an IPv6 address.
    pub const BORN_HOST_V6: i32 = 0x1 << 4;
    /// The store host of the stored record is an IPv6 address.
    pub const STORE_HOST_V6: i32 = 0x1 << 5;
    /// The body of an inner batch must be unwrapped for a consumer that cannot do it.
    pub const NEED_UNWRAP: i32 = 0x1 << 6;
    /// The body is a batch of messages stored as one record.
    pub const INNER_BATCH: i32 = 0x1 << 7;
    /// The body is compressed with LZ4 (frame format).
    pub const COMPRESSION_LZ4: i32 = 0x1 << 8;
    /// The body is compressed with Zstandard.
    pub const COMPRESSION_ZSTD: i32 = 0x2 << 8;
    /// The body is compressed with ZLIB; so it is when the bits are 0.
    pub const COMPRESSION_ZLIB: i32 = 0x3 << 8;
    /// The bits that tell the compression type.
    pub const COMPRESSION_MASK: i32 = 0x7 << 8;

    /// The transaction bits of `sys_flag`: one of the four `TRANSACTION_*_TYPE`.
    pub const fn transaction_type(sys_flag: i32) -> i32 {
        sys_flag & TRANSACTION_ROLLBACK_TYPE
    }

    /// `sys_flag` with its transaction bits replaced by `transaction_type`.
    pub const fn with_transaction_type(sys_flag: i32, transaction_type: i32) -> i32 {
        (sys_flag & !TRANSACTION_ROLLBACK_TYPE) | transaction_type
    }

    /// Whether the body is compressed.
    pub const fn is_compressed(sys_flag: i32) -> bool {
        sys_flag & COMPRESSED != 0
    }

    /// Whether all bits of `flag` are set.
    pub const fn has(sys_flag: i32, flag: i32) -> bool {
        sys_flag & flag == flag
    }
}

/// Bits of a pull request's system flag (`PullSysFlag`).
pub mod pull {
    /// The request commits an offset.
    pub const COMMIT_OFFSET: i32 = 0x1;
    /// The broker may hold the request until messages come.
    pub const SUSPEND: i32 = 0x1 << 1;
    /// The request carries its subscription.
    pub const SUBSCRIPTION: i32 = 0x1 << 2;
    /// Filter by class (retired in the reference).
    pub const CLASS_FILTER: i32 = 0x1 << 3;
    /// The request is of a lite pull consumer.
    pub const LITE_PULL_MESSAGE: i32 = 0x1 << 4;

    /// The flag of a request with these properties.
    pub const fn build(
        commit_offset: bool,
        suspend: bool,
        subscription: bool,
        class_filter: bool,
        lite_pull: bool,
    ) -> i32 {
        (if commit_offset { COMMIT_OFFSET } else { 0 })
            | (if suspend { SUSPEND } else { 0 })
            | (if subscription { SUBSCRIPTION } else { 0 })
            | (if class_filter { CLASS_FILTER } else { 0 })
            | (if lite_pull { LITE_PULL_MESSAGE } else { 0 })
    }

    /// Whether the request commits an offset.
    pub const fn has_commit_offset(sys_flag: i32) -> bool {
        sys_flag & COMMIT_OFFSET != 0
    }

    /// Whether the broker may hold the request.
    pub const fn has_suspend(sys_flag: i32) -> bool {
        sys_flag & SUSPEND != 0
    }

    /// Whether the request carries its subscription.
    pub const fn has_subscription(sys_flag: i32) -> bool {
        sys_flag & SUBSCRIPTION != 0
    }
}

/// Bits of a topic's system flag (`TopicSysFlag`).
pub mod topic {
    /// The topic belongs to a unit.
    pub const UNIT: i32 = 0x1;
    /// The topic has subscribers of a unit.
    pub const UNIT_SUB: i32 = 0x1 << 1;

    /// The flag of a topic with these properties.
    pub const fn build(unit: bool, unit_sub: bool) -> i32 {
        (if unit { UNIT } else { 0 }) | (if unit_sub { UNIT_SUB } else { 0 })
    }

    /// Whether the topic belongs to a unit.
    pub const fn has_unit(sys_flag: i32) -> bool {
        sys_flag & UNIT != 0
    }

    /// Whether the topic has subscribers of a unit.
    pub const fn has_unit_sub(sys_flag: i32) -> bool {
        sys_flag & UNIT_SUB != 0
    }
}

/// Bits of a subscription's system flag (`SubscriptionSysFlag`).
pub mod subscription {
    /// The subscriber belongs to a unit.
    pub const UNIT: i32 = 0x1;
}
