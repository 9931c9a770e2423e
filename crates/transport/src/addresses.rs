//! The addresses of name servers, as settings and tools have them.

use std::borrow::Cow;

use crate::network::UNIX;

/// Addresses that are asked one after the other, and by what protocol others are spoken to that
/// these servers tell of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    list: Vec<String>,
}

impl Addresses {
    /// Addresses joined by semicolons, such as `tls://a:9876; b:9876`. The scheme of the first
    /// counts for those behind it that have none.
    pub fn parse(text: &str) -> Self {
        let mut parsed = Self::default();
        for address in text.split(';').map(str::trim) {
            if !address.is_empty() {
                let address = parsed.told(address).into_owned();
                parsed.list.push(address);
            }
        }
        parsed
    }

    /// What stands against a setting that has such addresses: one without a host or a port.
    ///
    /// # Errors
    /// The address, and how one is written.
    pub fn check(setting: &Option<String>) -> Result<(), String> {
        let addresses = Self::parse(setting.as_deref().unwrap_or_default());
        let wrong = addresses.iter().find(|address| {
            let target = address.split_once("://").map_or(*address, |(_, it)| it);
            match address.strip_prefix(UNIX) {
                Some(path) => path.is_empty(),
                None => host_and_port(target).is_none(),
            }
        });
        wrong.map_or(Ok(()), |wrong| {
            Err(format!(
                "`{wrong}` is no address of a name server; write it as host:port"
            ))
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Each address, in the order in which they are asked.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(String::as_str)
    }

    /// Asks one server after the other until one answers: its address, and what it says.
    ///
    /// # Errors
    /// What the last one failed with; `None` if there is none.
    pub async fn ask_in_turn<'a, T, E, F>(
        &'a self,
        ask: impl Fn(&'a str) -> F,
    ) -> Result<(&'a str, T), Option<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let mut failure = None;
        for address in self.iter() {
            match ask(address).await {
                Ok(answer) => return Ok((address, answer)),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure)
    }

    /// An address that one of these servers told, with the scheme of the first of them. Name
    /// servers tell of brokers by host and port alone.
    pub fn told<'a>(&self, address: &'a str) -> Cow<'a, str> {
        let scheme = self.list.first().and_then(|first| first.split_once("://"));
        let says_itself = address.contains("://") || address.starts_with(UNIX);
        match scheme {
            Some((scheme, _)) if !says_itself => Cow::Owned(format!("{scheme}://{address}")),
            _ => Cow::Borrowed(address),
        }
    }
}

/// The parts of `host:port`; `None` if one is missing, or the port is none.
pub fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    Some((host, port.parse().ok()?)).filter(|_| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_told_of_is_spoken_to_as_the_first_of_those_who_tell() {
        let addresses = Addresses::parse(" tls://a:1 ;; b:2;unix:/run/ns.sock; tcp://d:4");
        let all: Vec<_> = addresses.iter().collect();
        assert_eq!(
            all,
            ["tls://a:1", "tls://b:2", "unix:/run/ns.sock", "tcp://d:4"]
        );
        assert_eq!(addresses.told("c:3"), "tls://c:3");
        assert_eq!(addresses.told("ws://c:3"), "ws://c:3");
        for plain in ["a:1; tls://b:2", "unix:/run/ns.sock", ""] {
            assert_eq!(Addresses::parse(plain).told("c:3"), "c:3");
        }
    }

    #[test]
    fn every_address_of_a_setting_has_a_host_and_a_port() {
        let check = |text: &str| Addresses::check(&Some(text.to_owned()));
        for right in ["", "a:1;", "tls://a:1; [::1]:2", "unix:/run/ns.sock"] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        for wrong in ["a", ":1", "a:", "a:1;b", "a:65536", "ws://a", "unix:"] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
