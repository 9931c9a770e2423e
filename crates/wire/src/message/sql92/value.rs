//! Values of SQL92 expressions, and how they are compared (`ComparisonExpression.__compare`).

use std::cmp::Ordering;

use super::Incomparable;

/// A value; `T` is a text, owned or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<T> {
    /// Unknown.
    Null,
    Boolean(bool),
    /// A whole number that 32 bits hold. A text compared with it must be such a number, too.
    Integer(i32),
    /// Any other whole number.
    Long(i64),
    Double(f64),
    Text(T),
}

impl<T: AsRef<str>> Value<T> {
    /// The same with a text that is not owned.
    pub(super) fn borrowed(&self) -> Value<&str> {
        match self {
            Value::Null => Value::Null,
            Value::Boolean(boolean) => Value::Boolean(*boolean),
            Value::Integer(number) => Value::Integer(*number),
            Value::Long(number) => Value::Long(*number),
            Value::Double(number) => Value::Double(*number),
            Value::Text(text) => Value::Text(text.as_ref()),
        }
    }
}

/// A number as it is compared.
#[derive(Clone, Copy)]
enum Number {
    Whole(i64),
    Decimal(f64),
}

impl Number {
    fn cmp(self, other: Number) -> Ordering {
        let decimal = |number| match number {
            Number::Whole(number) => number as f64,
            Number::Decimal(number) => number,
        };
        match (self, other) {
            (Number::Whole(left), Number::Whole(right)) => left.cmp(&right),
            // As Java does: -0.0 is less than 0.0, and NaN greater than all.
            _ => decimal(self).total_cmp(&decimal(other)),
        }
    }
}

impl<'a> Value<&'a str> {
    /// The value of an expression that is true, false or unknown.
    pub(super) fn truth(self) -> Option<bool> {
        match self {
            Value::Boolean(boolean) => Some(boolean),
            _ => None,
        }
    }

    /// The text, where it is one.
    pub(super) fn text(self) -> Option<&'a str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number with the other sign; unknown for all else.
    pub(super) fn negated(self) -> Self {
        match self {
            Value::Integer(number) => Value::Integer(number.wrapping_neg()),
            Value::Long(number) => Value::Long(number.wrapping_neg()),
            Value::Double(number) => Value::Double(-number),
            _ => Value::Null,
        }
    }

    /// Whether two values that are known are equal.
    pub(super) fn equals(self, other: Self) -> Result<bool, Incomparable> {
        match (self, other) {
            (Value::Text(left), Value::Text(right)) => Ok(left == right),
            (Value::Boolean(left), Value::Boolean(right)) => Ok(left == right),
            (Value::Text(text), Value::Boolean(boolean)) => {
                Ok(text.eq_ignore_ascii_case("true") == boolean)
            }
            // The reference takes the truth for a text here, and fails.
            (Value::Boolean(_), Value::Text(_)) => Err(Incomparable),
            (Value::Boolean(_), _) | (_, Value::Boolean(_)) => Ok(false),
            _ => Ok(self.number(other)?.cmp(other.number(self)?).is_eq()),
        }
    }

    /// The order of two values that are known; two texts are compared as decimal numbers.
    pub(super) fn cmp(self, other: Self) -> Result<Ordering, Incomparable> {
        let (left, right) = match (self, other) {
            (Value::Text(left), Value::Text(right)) => (
                Number::Decimal(double(left)?),
                Number::Decimal(double(right)?),
            ),
            _ => (self.number(other)?, other.number(self)?),
        };
        Ok(left.cmp(right))
    }

    /// The number to compare with another value: a text takes the type of that one.
    fn number(self, other: Self) -> Result<Number, Incomparable> {
        let whole = |number: Option<i64>| number.map(Number::Whole).ok_or(Incomparable);
        match (self, other) {
            (Value::Integer(number), _) => Ok(Number::Whole(number.into())),
            (Value::Long(number), _) => Ok(Number::Whole(number)),
            (Value::Double(number), _) => Ok(Number::Decimal(number)),
            (Value::Text(text), Value::Integer(_)) => {
                whole(text.parse().ok().map(|number: i32| number.into()))
            }
            (Value::Text(text), Value::Long(_)) => whole(text.parse().ok()),
            (Value::Text(text), Value::Double(_)) => double(text).map(Number::Decimal),
            _ => Err(Incomparable),
        }
    }
}

/// The decimal number that a text is (`Double.valueOf`): with blanks around it, with one of `f`,
/// `F`, `d`, `D` behind it, or `NaN` or `Infinity`. Hexadecimal ones are not read.
fn double(text: &str) -> Result<f64, Incomparable> {
    let text = text.trim_matches(|c| c <= ' ');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let size = match unsigned {
        "NaN" => return Ok(f64::NAN),
        "Infinity" => f64::INFINITY,
        digits if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
            let digits = digits.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(digits);
            digits.parse().map_err(|_| Incomparable)?
        }
        _ => return Err(Incomparable),
    };
    Ok(if text.starts_with('-') { -size } else { size })
}
