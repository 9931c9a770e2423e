//! Tokens of SQL92 expressions.
//!
//! The longest token counts. Between tokens stand blanks (space, tab, line feed, carriage return,
//! form feed), comments from `--` to the end of a line, which must be there, and comments between
//! `/*` and `*/`. Words are told from properties in either case.

use std::fmt;

use super::ParseError;

/// A word, symbol, name or value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    And,
    Between,
    Contains,
    EndsWith,
    False,
    In,
    Is,
    Not,
    Null,
    Or,
    StartsWith,
    True,
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Open,
    Close,
    Comma,
    Plus,
    Minus,
    /// The name of a property: letters, digits, `_` and `$`, no digit first.
    Name(&'a str),
    /// A whole number, its digits: `0`, or from `1` to `9` on. An `l` behind it means nothing.
    Whole(&'a str),
    /// A number with a point or an exponent.
    Decimal(&'a str),
    /// What stands between the quotes, with each quote inside still written twice.
    Text(&'a str),
    End,
}

const WORDS: [(&str, Token<'static>); 12] = [
    ("AND", Token::And),
    ("BETWEEN", Token::Between),
    ("CONTAINS", Token::Contains),
    ("ENDSWITH", Token::EndsWith),
    ("FALSE", Token::False),
    ("IN", Token::In),
    ("IS", Token::Is),
    ("NOT", Token::Not),
    ("NULL", Token::Null),
    ("OR", Token::Or),
    ("STARTSWITH", Token::StartsWith),
    ("TRUE", Token::True),
];

/// Those that begin with another one stand before it.
const SYMBOLS: [(&str, Token<'static>); 11] = [
    ("<>", Token::NotEqual),
    ("<=", Token::LessOrEqual),
    (">=", Token::GreaterOrEqual),
    ("<", Token::Less),
    (">", Token::Greater),
    ("=", Token::Equal),
    ("(", Token::Open),
    (")", Token::Close),
    (",", Token::Comma),
    ("+", Token::Plus),
    ("-", Token::Minus),
];

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut known = WORDS.iter().chain(&SYMBOLS);
        match self {
            Token::Name(text) | Token::Whole(text) | Token::Decimal(text) => f.write_str(text),
            Token::Text(text) => write!(f, "'{text}'"),
            Token::End => f.write_str("the end"),
            token => match known.find(|(_, known)| known == token) {
                Some((text, _)) => f.write_str(text),
                None => Ok(()),
            },
        }
    }
}

/// Cuts a text into tokens.
pub(super) struct Tokens<'a> {
    text: &'a str,
    /// Byte position of the next one, or of blanks before it.
    at: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next token, and the byte position where it begins.
    pub(super) fn next(&mut self) -> Result<(Token<'a>, usize), ParseError> {
        self.skip_blanks()?;
        let start = self.at;
        let rest = self.rest();
        let (token, len) = match rest.bytes().next() {
            None => (Token::End, 0),
            Some(b'\'') => text(rest).ok_or_else(|| self.error("a text has no end"))?,
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$') => name(rest),
            Some(b'0'..=b'9' | b'.') => number(rest).ok_or_else(|| self.error("\".\" is alone"))?,
            Some(_) => SYMBOLS
                .iter()
                .find(|(symbol, _)| rest.starts_with(symbol))
                .map(|(symbol, token)| (*token, symbol.len()))
                .ok_or_else(|| {
                    let unknown: String = rest.chars().take(1).collect();
                    self.error(format!("{unknown:?} means nothing"))
                })?,
        };
        self.at += len;
        Ok((token, start))
    }

    /// Where the tokens so far end, in bytes.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// An error at the position.
    fn error(&self, reason: impl Into<String>) -> ParseError {
        error_at(self.text, self.at, reason)
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_blanks(&mut self) -> Result<(), ParseError> {
        loop {
            let rest = self.rest();
            self.at += if rest.starts_with([' ', '\t', '\n', '\r', '\u{c}']) {
                1
            } else if let Some(comment) = rest.strip_prefix("/*") {
                let end = comment.find("*/");
                end.ok_or_else(|| self.error("a comment has no end"))? + 4
            } else if rest.starts_with("--")
                && let Some(end) = rest.find(['\n', '\r'])
            {
                end
            } else {
                return Ok(());
            };
        }
    }
}

/// An error at a byte position of a text.
pub(super) fn error_at(text: &str, at: usize, reason: impl Into<String>) -> ParseError {
    let before = text.get(..at).unwrap_or(text);
    ParseError {
        reason: reason.into(),
        position: before.chars().count() + 1,
    }
}

/// The text at the front, with the bytes it takes; as long as it can be, where an end is missing.
fn text(rest: &str) -> Option<(Token<'_>, usize)> {
    let mut end = None;
    let mut inside = true;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match (byte, inside) {
            (b'\'', true) => {
                end = Some(at);
                inside = false;
            }
            (b'\'', false) => inside = true,
            (_, true) => {}
            (_, false) => break,
        }
    }
    let end = end?;
    Some((Token::Text(rest.get(1..end)?), end + 1))
}

fn name(rest: &str) -> (Token<'_>, usize) {
    let belongs = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
    let len = rest.bytes().take_while(|byte| belongs(*byte)).count();
    let name = rest.get(..len).unwrap_or_default();
    let word = WORDS
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(name));
    (word.map_or(Token::Name(name), |(_, word)| *word), len)
}

fn number(rest: &str) -> Option<(Token<'_>, usize)> {
    let digits = |at: usize| {
        let rest = rest.bytes().skip(at);
        rest.take_while(u8::is_ascii_digit).count()
    };
    let byte = |at: usize| rest.as_bytes().get(at).copied();
    let whole = digits(0);
    let mut end = whole;
    if byte(whole) == Some(b'.') {
        let fraction = digits(whole + 1);
        if whole + fraction == 0 {
            return None;
        }
        end = whole + 1 + fraction;
    }
    if matches!(byte(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(byte(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    if end > whole {
        return Some((Token::Decimal(rest.get(..end)?), end));
    }
    if byte(0) == Some(b'0') {
        return Some((Token::Whole("0"), 1));
    }
    let suffix = usize::from(matches!(byte(whole), Some(b'l' | b'L')));
    Some((Token::Whole(rest.get(..whole)?), whole + suffix))
}
