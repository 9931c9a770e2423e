//! SQL92 expressions, by which consumers select messages by their properties (the reference's
//! module `filter`, `SelectorParser`).
//!
//! ```text
//! or         := and { OR and }
//! and        := equality { AND equality }
//! equality   := comparison { ("=" | "<>") comparison | IS [NOT] NULL }
//! comparison := unary { (">" | ">=" | "<" | "<=") unary
//!                     | [NOT] BETWEEN unary AND unary
//!                     | [NOT] IN "(" text { "," text } ")"
//!                     | [NOT] (CONTAINS | STARTSWITH | ENDSWITH) text }
//! unary      := ("+" | "-" | NOT) unary | primary
//! primary    := text | whole number | decimal number | TRUE | FALSE | NULL | property | "(" or ")"
//! ```
//!
//! `NOT` binds more closely than comparing, so that `NOT a > 5` is refused. What follows a whole
//! expression is not looked at, except that the next token must be one. `token` says how a text is
//! cut into tokens, `value` how values are compared.
//!
//! An expression is true, false or unknown. A property that a message does not have is unknown;
//! `NOT`, `AND` and `OR` follow the logic of three values; a search in an unknown text is false.
//! Equality is not symmetric: unknown `= x` is unknown, `x =` unknown is false, unknown `=`
//! unknown is true. A property is a text, which takes the type of the number that it is compared
//! with; one that has not its form makes the evaluation fail. A message is selected if the
//! expression is true.
//!
//! An expression is at most [`MAX_LENGTH`] bytes long and [`MAX_DEPTH`] levels deep. Evaluating one
//! allocates nothing.

mod node;
mod parser;
mod token;
mod value;

use self::node::Node;
use self::parser::Parser;
use self::value::Value;

/// Bytes of the longest expression.
pub const MAX_LENGTH: usize = 64 << 10;
/// Levels of the deepest expression. `AND`s or `OR`s beside each other are one level.
pub const MAX_DEPTH: usize = 128;

/// The type of such expressions, as subscriptions name it (`ExpressionType.SQL92`).
pub const SQL92: &str = "SQL92";

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid MessageSelector. {reason}, at character {position}")]
pub struct ParseError {
    /// What is wrong.
    pub reason: String,
    /// Where, in characters from 1.
    pub position: usize,
}

/// A property has not the form of what it is compared with, or cannot be compared with it at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a property cannot be compared with what the expression compares it with")]
pub struct Incomparable;

/// An expression that was parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    root: Node,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`ParseError`] where it is none, or is too long or too deep.
    pub fn parse(text: &str) -> Result<Expression, ParseError> {
        let root = Parser::new(text).selector()?;
        Ok(Expression { root })
    }

    /// Whether it is true of the properties that a function tells; `None`: it is unknown.
    ///
    /// # Errors
    /// [`Incomparable`] where a property is compared with what it cannot be compared with.
    pub fn evaluate<'a>(
        &'a self,
        property: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Option<bool>, Incomparable> {
        self.root.evaluate(&property).map(Value::truth)
    }
}
