//! The addresses of name servers, as settings and tools have them.

use std::borrow::Cow;

/// Addresses that are asked one after the other, and by what protocol others are spoken to that
/// these servers tell of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    list: Vec<String>,
}

impl Addresses {
    /// Addresses joined by semicolons, such as `a:9876; ws://b:9876`.
    pub fn parse(text: &str) -> Self {
        let list = text.split(';').map(str::trim);
        let list = list.filter(|address| !address.is_empty());
        Self {
            list: list.map(str::to_owned).collect(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Each address, in the order in which they are asked.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(String::as_str)
    }

    /// An address that one of these servers told, with the scheme of the first of them. Name
    /// servers tell of brokers by host and port alone.
    pub fn told<'a>(&self, address: &'a str) -> Cow<'a, str> {
        let scheme = self.list.first().and_then(|first| first.split_once("://"));
        match scheme {
            Some((scheme, _)) if !address.contains("://") => {
                Cow::Owned(format!("{scheme}://{address}"))
            }
            _ => Cow::Borrowed(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_told_of_is_spoken_to_as_the_first_of_those_who_tell() {
        let addresses = Addresses::parse(" tls://a:1 ;; b:2;");
        assert_eq!(addresses.iter().collect::<Vec<_>>(), ["tls://a:1", "b:2"]);
        assert_eq!(addresses.told("c:3"), "tls://c:3");
        assert_eq!(addresses.told("ws://c:3"), "ws://c:3");
        for plain in ["a:1; tls://b:2", "unix:/run/ns.sock", ""] {
            assert_eq!(Addresses::parse(plain).told("c:3"), "c:3");
        }
    }
}
