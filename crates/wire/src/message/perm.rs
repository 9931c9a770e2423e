//! A topic's permission bits (`PermName`).

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
