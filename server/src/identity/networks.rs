//! Networks that a join token is bound to.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// The most networks that one token is bound to.
const MAX_NETWORKS: usize = 64;

/// Networks, in CIDR notation as text; none means everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether `address` lies in one of them, or there are none.
    pub(crate) fn admit(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.is_empty() || self.0.iter().any(|network| network.contains(&address))
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join(", "))
    }
}

impl Serialize for Networks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let refused = |why: String| serde::de::Error::custom(why);
        if texts.len() > MAX_NETWORKS {
            return Err(refused(format!("{} networks are over {MAX_NETWORKS}", texts.len())));
        }
        let parse = |text: &String| {
            let address = || text.parse().map(|address: IpAddr| IpNet::from(address));
            text.parse().or_else(|_| address())
        };
        let read = |text: &String| {
            parse(text).map_err(|_| refused(format!("{text:?} is no network; write one such as 10.0.0.0/8")))
        };
        texts.iter().map(read).collect::<Result<_, _>>().map(Self)
    }
}

/// A network of version 4. One of version 6 is too much for a pattern.
const IPV4_NETWORK: &str = concat!(
    r"^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}",
    r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])/([12]?[0-9]|3[0-2])$"
);

impl ToSchema for Networks {}
impl PartialSchema for Networks {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let network = AnyOfBuilder::new()
            .item(text().pattern(Some(IPV4_NETWORK)))
            .item(text().format(Some(SchemaFormat::Custom("ipv4".to_owned()))))
            .item(text().format(Some(SchemaFormat::Custom("ipv6".to_owned()))))
            .description(Some("A network such as `10.0.0.0/8` or `fd00::/8`, or an address."));
        let says = "The networks that it is bound to; none means everywhere.";
        ArrayBuilder::new().items(network).max_items(Some(MAX_NETWORKS)).description(Some(says)).into()
    }
}
