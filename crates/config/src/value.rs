//! The types a key can have.

/// What a key takes, for error messages and documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number within the limits of its type.
    Integer {
        /// Least number of the type.
        min: i128,
        /// Greatest number of the type.
        max: i128,
    },
    /// A number with a fraction.
    Decimal,
    /// Any text.
    Text,
    /// One of some words.
    Choice(&'static [&'static str]),
}

/// A type that a key of a configuration can have.
pub trait Value: Clone + PartialEq + Send + Sync + 'static {
    /// What the key takes.
    const KIND: Kind;

    /// Reads the value; the text has no white space around it.
    fn parse(text: &str) -> Option<Self>;

    /// The value as it stands in a configuration file; `None` when it is not
    /// set, which leaves the key out of listings as the reference does.
    fn show(&self) -> Option<String>;
}

impl Value for bool {
    const KIND: Kind = Kind::Boolean;

    fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("true") {
            Some(true)
        } else if text.eq_ignore_ascii_case("false") {
            Some(false)
        } else {
            None
        }
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

macro_rules! integers {
    ($($ty:ty),*) => {$(
        impl Value for $ty {
            const KIND: Kind = Kind::Integer { min: <$ty>::MIN as i128, max: <$ty>::MAX as i128 };

            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }

            fn show(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}

integers!(i32, i64, u16, u32, u64, usize);

impl Value for f64 {
    const KIND: Kind = Kind::Decimal;

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number: &f64| number.is_finite())
    }

    fn show(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }
}

impl Value for String {
    const KIND: Kind = Kind::Text;

    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn show(&self) -> Option<String> {
        Some(self.clone())
    }
}

/// Empty text means "not set".
impl<T: Value> Value for Option<T> {
    const KIND: Kind = T::KIND;

    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            Some(None)
        } else {
            T::parse(text).map(Some)
        }
    }

    fn show(&self) -> Option<String> {
        self.as_ref().and_then(Value::show)
    }
}
