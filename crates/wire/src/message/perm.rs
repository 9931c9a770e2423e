//! A topic's permission bits (`PermName`).

/// The topic takes part in priority (not a permission users can set).
pub const PRIORITY: i32 = 0x1 << 3;
/// Consumers may read.
pub const READ: i32 = 0x1 << 2;
/// Producers may write.
pub const WRITE: i32 = 0x1 << 1;
/// A topic made automatically takes its settings from this one.
pub const INHERIT: i32 = 0x1;

/// Whether consumers may read.
pub const fn is_readable(perm: i32) -> bool {
    perm & READ == READ
}

/// Whether producers may write.
pub const fn is_writable(perm: i32) -> bool {
    perm & WRITE == WRITE
}

/// Whether automatic topics take their settings from this one.
pub const fn is_inherited(perm: i32) -> bool {
    perm & INHERIT == INHERIT
}

/// Whether the topic takes part in priority.
pub const fn is_priority(perm: i32) -> bool {
    perm & PRIORITY == PRIORITY
}

/// Whether anybody may do anything.
pub const fn is_accessible(perm: i32) -> bool {
    is_readable(perm) || is_writable(perm)
}

/// Whether a user may set `perm`: 0 to 7.
pub const fn is_valid(perm: i32) -> bool {
    perm >= 0 && perm < PRIORITY
}

/// The bits as `RWX`, with `-` for each that is missing.
pub const fn as_str(perm: i32) -> &'static str {
    match perm & (READ | WRITE | INHERIT) {
        7 => "RWX",
        6 => "RW-",
        5 => "R-X",
        4 => "R--",
        3 => "-WX",
        2 => "-W-",
        1 => "--X",
        _ => "---",
    }
}
