//! The declaring macros.

/// Declares a group of settings: a struct with a field for each key.
///
/// ```text
/// settings! {
///     /// Doc of the group.
///     pub struct Name from "ReferenceClass", "AnotherClass" {
///         /// Doc of the key, with its unit.
///         "keyInFiles" field_name: Type = default, option, option(argument);
///     }
/// }
/// ```
///
/// `from` names the classes of the reference the keys come from and is left
/// out when all keys are Kerolox's own. Types are those with
/// [`Value`](crate::Value): `bool`, integers, `f64`, `String`, `Option` of
/// these, and enums made by [`choices!`](crate::choices). Options are the
/// methods of [`Key`](crate::Key): `range(1..=10)`, `check(function)`,
/// `reloadable`, `important`, `ours`, `differs("reason")`,
/// `shown("${hostname}")`.
///
/// The struct gets `Debug`, `Clone`, `PartialEq`, `Default` and
/// [`Settings`](crate::Settings). Two fields with the same key are a compile
/// warning (unreachable pattern).
#[macro_export]
macro_rules! settings {
    (
        $(#[doc = $about:literal])+
        $vis:vis struct $name:ident $(from $($class:literal),+)? {
            $(
                $(#[doc = $doc:literal])+
                $key:literal $field:ident : $ty:ty = $default:expr
                    $(, $option:ident $(($($argument:tt)*))?)* ;
            )*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq)]
        $vis struct $name {
            $( $(#[doc = $doc])+ $vis $field: $ty, )*
        }

        impl ::core::default::Default for $name {
            fn default() -> Self {
                $name { $( $field: $default, )* }
            }
        }

        const _: () = {
            const CLASSES: &[&str] = &[$($($class),+)?];
            // The one place that knows a key's options; used for telling
            // about it and for reading it.
            #[allow(non_camel_case_types, reason = "one type for each field, named after it")]
            mod keys {
                $( pub(super) struct $field; )*
            }
            $(
                impl keys::$field {
                    fn key() -> $crate::Key<$ty> {
                        $crate::Key::<$ty>::new(
                            $key,
                            ::core::concat!($($doc, "\n"),+),
                            ::core::stringify!($name),
                            CLASSES,
                            || $default,
                        )
                        $(.$option($($($argument)*)?))*
                    }
                }
            )*

            impl $crate::Settings for $name {
                fn keys() -> &'static [$crate::KeyInfo] {
                    static KEYS: ::std::sync::LazyLock<::std::vec::Vec<$crate::KeyInfo>> =
                        ::std::sync::LazyLock::new(|| ::std::vec![
                            $( keys::$field::key().into_info(), )*
                        ]);
                    &KEYS
                }

                fn get(&self, key: &str) -> ::core::option::Option<::std::string::String> {
                    match key {
                        $( $key => $crate::Value::show(&self.$field), )*
                        _ => ::core::option::Option::None,
                    }
                }

                fn set(&mut self, key: &str, text: &str) -> ::core::result::Result<(), $crate::ConfigError> {
                    match key {
                        $( $key => self.$field = keys::$field::key().parse(text)?, )*
                        _ => return ::core::result::Result::Err($crate::unknown_key::<Self>(key)),
                    }
                    ::core::result::Result::Ok(())
                }
            }
        };
    };
}

/// Declares an enum whose values are words in configuration files.
///
/// ```text
/// choices! {
///     /// When a message counts as stored.
///     pub enum FlushDiskType {
///         /// After a while.
///         AsyncFlush = "ASYNC_FLUSH",
///         /// Before the sender gets its answer.
///         SyncFlush = "SYNC_FLUSH",
///     }
/// }
/// ```
///
/// Words are read whatever their case.
#[macro_export]
macro_rules! choices {
    (
        $(#[doc = $about:literal])+
        $vis:vis enum $name:ident {
            $( $(#[doc = $doc:literal])+ $variant:ident = $word:literal ),+ $(,)?
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $vis enum $name {
            $( $(#[doc = $doc])+ $variant, )+
        }

        impl $name {
            /// The word in configuration files.
            pub fn word(self) -> &'static str {
                match self {
                    $( $name::$variant => $word, )+
                }
            }
        }

        impl $crate::Value for $name {
            const KIND: $crate::Kind = $crate::Kind::Choice(&[$($word),+]);

            fn parse(text: &str) -> ::core::option::Option<Self> {
                $(
                    if text.eq_ignore_ascii_case($word) {
                        return ::core::option::Option::Some($name::$variant);
                    }
                )+
                ::core::option::Option::None
            }

            fn show(&self) -> ::core::option::Option<::std::string::String> {
                ::core::option::Option::Some(self.word().to_owned())
            }
        }
    };
}

/// Joins groups of settings into one flat name space: what a role reads from
/// its configuration file.
///
/// ```text
/// groups! {
///     /// All settings of a broker.
///     pub struct BrokerSettings {
///         /// What the broker does.
///         pub broker: BrokerConfig,
///         /// Where it listens.
///         pub server: ServerConfig = ServerConfig { listen_port: 10911, ..ServerConfig::default() },
///     }
/// }
/// ```
///
/// A key that several groups declare is told about once and set in all. A
/// default behind `=` replaces the group's own.
#[macro_export]
macro_rules! groups {
    (
        $(#[doc = $about:literal])+
        $vis:vis struct $name:ident {
            $( $(#[doc = $doc:literal])+ pub $field:ident : $ty:ty $(= $default:expr)? ),+ $(,)?
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq)]
        $vis struct $name {
            $( $(#[doc = $doc])+ pub $field: $ty, )+
        }

        impl ::core::default::Default for $name {
            fn default() -> Self {
                $name { $( $field: $crate::groups!(@default $ty $(= $default)?), )+ }
            }
        }

        impl $crate::Settings for $name {
            fn keys() -> &'static [$crate::KeyInfo] {
                static KEYS: ::std::sync::LazyLock<::std::vec::Vec<$crate::KeyInfo>> =
                    ::std::sync::LazyLock::new(|| {
                        let mut keys = ::std::vec::Vec::new();
                        $(
                            let group: $ty = $crate::groups!(@default $ty $(= $default)?);
                            $crate::KeyInfo::join(&mut keys, &group);
                        )+
                        keys
                    });
                &KEYS
            }

            fn get(&self, key: &str) -> ::core::option::Option<::std::string::String> {
                $(
                    if let value @ ::core::option::Option::Some(_) = $crate::Settings::get(&self.$field, key) {
                        return value;
                    }
                )+
                ::core::option::Option::None
            }

            fn set(&mut self, key: &str, text: &str) -> ::core::result::Result<(), $crate::ConfigError> {
                let mut known = false;
                $(
                    if <$ty as $crate::Settings>::key(key).is_some() {
                        $crate::Settings::set(&mut self.$field, key, text)?;
                        known = true;
                    }
                )+
                if known {
                    ::core::result::Result::Ok(())
                } else {
                    ::core::result::Result::Err($crate::unknown_key::<Self>(key))
                }
            }
        }
    };
    (@default $ty:ty) => { <$ty as ::core::default::Default>::default() };
    (@default $ty:ty = $default:expr) => { $default };
}
