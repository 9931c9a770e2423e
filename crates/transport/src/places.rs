//! How many connections a server takes, in all and from one address.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// The places of a server's connections, counted from the moment that one is accepted.
#[derive(Debug, Default)]
pub(crate) struct Places {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How many connections there may be.
    limit: usize,
    /// How many of them from one address; 0: as many as in all.
    limit_per_address: usize,
    taken: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A limit that is reached, as the key and value of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    key: &'static str,
    limit: usize,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} is reached", self.key, self.limit)
    }
}

/// One place, taken until dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    address: Mutex<IpAddr>,
}

impl Places {
    /// Changes the limits. Connections beyond the new ones stay.
    pub(crate) fn set_limits(&self, limit: usize, per_address: usize) {
        let mut state = self.state.lock();
        state.limit = limit;
        state.limit_per_address = per_address;
    }

    /// Takes a place for a connection from this address.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Arc<Place>, Full> {
        let mut state = self.state.lock();
        if state.taken >= state.limit {
            return Err(Full {
                key: "kerolox.serverMaxConnections",
                limit: state.limit,
            });
        }
        state.enter(address)?;
        state.taken += 1;
        Ok(Arc::new(Place {
            places: Arc::clone(self),
            address: Mutex::new(address),
        }))
    }
}

impl State {
    fn enter(&mut self, address: IpAddr) -> Result<(), Full> {
        let limit = self.limit_per_address;
        let count = self.by_address.entry(address).or_default();
        if limit > 0 && *count >= limit {
            return Err(Full {
                key: "kerolox.serverMaxConnectionsPerAddress",
                limit,
            });
        }
        *count += 1;
        Ok(())
    }

    fn leave(&mut self, address: IpAddr) {
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

impl Place {
    /// Counts the connection as one from another address, which a proxy tells.
    pub(crate) fn move_to(&self, address: IpAddr) -> Result<(), Full> {
        let mut at = self.address.lock();
        let mut state = self.places.state.lock();
        state.enter(address)?;
        state.leave(*at);
        *at = address;
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.state.lock();
        state.taken -= 1;
        state.leave(*self.address.lock());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gives_back_what_it_took() {
        let places = Arc::new(Places::default());
        places.set_limits(4, 2);
        let [one, other] = [1_u32, 2].map(|number| IpAddr::V4(number.into()));
        let first = places.take(one).unwrap();
        let _second = places.take(one).unwrap();
        let full = places.take(one).unwrap_err().to_string();
        assert_eq!(
            full,
            "kerolox.serverMaxConnectionsPerAddress = 2 is reached"
        );
        first.move_to(other).unwrap();
        let _third = places.take(one).unwrap();
        let _fourth = places.take(other).unwrap();
        let full = places.take(other).unwrap_err().to_string();
        assert_eq!(full, "kerolox.serverMaxConnections = 4 is reached");
        assert!(first.move_to(one).is_err());
        drop(first);
        assert_eq!(places.state.lock().by_address.len(), 2);
        assert!(places.take(other).is_ok());
    }
}
