//! Op messages: which half messages are settled (`TransactionalMessageServiceImpl.getOpMessage`).
//!
//! An op message stands in `RMQ_SYS_TRANS_OP_HALF_TOPIC`, in the queue of the same number as the
//! half messages that it names. Its tag is `d`, and its body is text: the number of each of them
//! in the half queue, in decimal, each followed by a comma.

/// The properties of an op message: its tag.
pub(super) const PROPERTIES: &str = "TAGS\u{1}d\u{2}";

/// The tag of an op message (`TransactionalMessageUtil.REMOVE_TAG`).
pub(super) const TAG: &str = "d";

/// Follows each number.
const SEPARATOR: char = ',';

/// The body that names half messages.
pub(super) fn body(offsets: impl IntoIterator<Item = i64>) -> String {
    let mut body = String::new();
    for offset in offsets {
        body.push_str(&offset.to_string());
        body.push(SEPARATOR);
    }
    body
}

/// The half messages that a body names; what is no number is passed over.
pub(super) fn offsets(body: &[u8]) -> impl Iterator<Item = i64> + '_ {
    let parts = body.split(|byte| *byte == SEPARATOR as u8);
    parts.filter_map(|part| str::from_utf8(part).ok()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_numbers_with_commas() {
        assert_eq!(body([5, 12, 7]), "5,12,7,");
        assert_eq!(offsets(b"5,12,7,").collect::<Vec<_>>(), [5, 12, 7]);
        assert_eq!(offsets(b"9").collect::<Vec<_>>(), [9]);
        assert_eq!(offsets(b",x,\xff,3").collect::<Vec<_>>(), [3]);
    }
}
