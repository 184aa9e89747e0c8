//! How much of a port's room one address may have: whoever opens connections without
//! end keeps only itself out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::warn;

/// What a share is at least, for many nodes behind one address.
const MIN_SHARE: usize = 64;
/// A network of IPv6 hands out this many bits at will; who has one has all its addresses.
const HOST_BITS: u32 = 64;

/// The connections of each address on a port; clones count together.
#[derive(Debug, Clone)]
pub(super) struct Shares {
    most: usize,
    open: Arc<Mutex<HashMap<IpAddr, Open>>>,
}

/// The connections of one address.
#[derive(Debug, Default)]
struct Open {
    count: usize,
    /// Whether it was said that there are too many; once is enough, until none is left.
    told: bool,
}

/// The place of one connection, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    address: IpAddr,
    shares: Shares,
}

impl Shares {
    /// Shares of a port that has this room.
    pub(super) fn of(room: usize) -> Self {
        Self { most: (room / 4).max(MIN_SHARE), open: Arc::default() }
    }

    /// A place for a connection from `address`; none where it has its share.
    pub(super) fn take(&self, address: IpAddr) -> Option<Place> {
        let address = whose(address);
        let mut all = self.open();
        let open = all.entry(address).or_default();
        if open.count >= self.most {
            if !open.told {
                warn!(%address, most = self.most, "too many connections from one address; more are closed");
                open.told = true;
            }
            return None;
        }
        open.count += 1;
        Some(Place { address, shares: self.clone() })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.shares.open();
        if let Some(open) = all.get_mut(&self.address) {
            open.count -= 1;
            if open.count == 0 {
                all.remove(&self.address);
            }
        }
    }
}

/// What an address counts as: an IPv4 address itself, of IPv6 the network.
fn whose(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> HOST_BITS << HOST_BITS).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_a_share_and_no_more() {
        for (room, most) in [(16, 64), (512, 128), (65_536, 16_384)] {
            let shares = Shares::of(room);
            let take = |address: &str| shares.take(address.parse().unwrap());
            let mut kept: Vec<_> = (0..most).map_while(|_| take("192.0.2.1")).collect();
            assert_eq!(kept.len(), most);
            assert!(take("192.0.2.1").is_none() && take("::ffff:192.0.2.1").is_none());
            assert!(take("192.0.2.2").is_some());
            kept.pop();
            assert!(take("192.0.2.1").is_some());
            drop(kept);
            assert!(shares.open().is_empty(), "nothing is kept of who has gone");
        }
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let shares = Shares::of(0);
        let kept: Vec<_> =
            (0..70).map_while(|at| shares.take(format!("2001:db8::{at}").parse().unwrap())).collect();
        assert_eq!(kept.len(), MIN_SHARE);
        assert!(shares.take("2001:db8:0:1::1".parse().unwrap()).is_some());
    }
}
