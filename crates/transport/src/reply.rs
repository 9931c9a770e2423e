//! What a handler answers.

use std::borrow::Cow;

use bytes::Bytes;
use wire::code::ResponseCode;
use wire::header::{HeaderError, NoHeader};

/// The body of a frame. Its parts are written one after the other and never joined first.
#[derive(Debug, Clone, Default)]
pub enum Body {
    /// No body.
    #[default]
    Empty,
    /// One piece.
    One(Bytes),
    /// Several pieces, such as messages cut from a commit log.
    Many(Vec<Bytes>),
}

impl Body {
    /// The size of all pieces together, in bytes.
    pub fn len(&self) -> usize {
        self.pieces().iter().map(Bytes::len).sum()
    }

    /// Whether there is not a single byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces in their order.
    pub fn pieces(&self) -> &[Bytes] {
        match self {
            Self::Empty => &[],
            Self::One(piece) => std::slice::from_ref(piece),
            Self::Many(pieces) => pieces,
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::One(bytes)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::One(bytes.into())
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::One(text.into())
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::One(Bytes::from_static(text.as_bytes()))
    }
}

impl From<Vec<Bytes>> for Body {
    fn from(pieces: Vec<Bytes>) -> Self {
        Self::Many(pieces)
    }
}

/// An answer to a request.
#[derive(Debug, Clone)]
pub struct Reply<H = NoHeader> {
    /// Response code; 0 is success.
    pub code: i32,
    /// A note in words; the reference's clients show it with codes other than 0.
    pub remark: Option<Cow<'static, str>>,
    /// The typed fields.
    pub header: H,
    /// The body.
    pub body: Body,
}

impl Reply {
    /// Success, with nothing more to say.
    pub const fn empty() -> Self {
        Self::ok(NoHeader)
    }
}

impl<H> Reply<H> {
    /// Success, with these fields.
    pub const fn ok(header: H) -> Self {
        Self {
            code: ResponseCode::Success as i32,
            remark: None,
            header,
            body: Body::Empty,
        }
    }

    /// The same with a body.
    #[must_use]
    pub fn with_body(self, body: impl Into<Body>) -> Self {
        Self {
            body: body.into(),
            ..self
        }
    }

    /// The same with another response code.
    #[must_use]
    pub fn with_code(self, code: ResponseCode) -> Self {
        Self {
            code: code as i32,
            ..self
        }
    }

    /// The same with a remark.
    #[must_use]
    pub fn with_remark(self, remark: impl Into<Cow<'static, str>>) -> Self {
        Self {
            remark: Some(remark.into()),
            ..self
        }
    }
}

/// The answer to a request that is not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why, as the peer's program understands it.
    pub code: ResponseCode,
    /// Why, as a person understands it.
    pub remark: Cow<'static, str>,
}

/// Most bytes of a refusal's remark: it may repeat what came, however long that is.
const LONGEST_REMARK: usize = 4096;

impl Refusal {
    /// Of a request that there is no room for, worded as the reference does.
    pub const OVERLOADED: Self = Self {
        code: ResponseCode::SystemBusy,
        remark: Cow::Borrowed("[OVERLOAD]system busy, start flow control for a while"),
    };

    /// A refusal with this code and remark, of which the first 4 KiB are told.
    pub fn new(code: ResponseCode, remark: impl Into<Cow<'static, str>>) -> Self {
        let mut remark = remark.into();
        if remark.len() > LONGEST_REMARK {
            let mut end = LONGEST_REMARK;
            while !remark.is_char_boundary(end) {
                end -= 1;
            }
            remark.to_mut().truncate(end);
            remark.to_mut().push('…');
        }
        Self { code, remark }
    }
}

/// A request whose fields can't be read gets `SYSTEM_ERROR` and what is wrong with them.
impl From<HeaderError> for Refusal {
    fn from(error: HeaderError) -> Self {
        Self::new(ResponseCode::SystemError, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remark_that_repeats_much_is_cut_between_characters() {
        let code = ResponseCode::SystemError;
        let short = "é".repeat(LONGEST_REMARK / 2);
        assert_eq!(Refusal::new(code, short.clone()).remark, short);
        let long = format!("x{}", "é".repeat(LONGEST_REMARK));
        let told = Refusal::new(code, long.clone()).remark;
        assert_eq!(told.len(), LONGEST_REMARK - 1 + '…'.len_utf8());
        assert!(long.starts_with(told.trim_end_matches('…')));
    }
}
