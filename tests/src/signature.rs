//! Standard Webhooks signatures, checked by code of our own that shares nothing
//! with the collector's.
//!
//! Format: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.

use anyhow::{Context, Result, ensure};
use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

/// How far a delivery's time may be from ours, in seconds, as the specification says.
const TOLERANCE_SECONDS: i64 = 300;

/// A secret shared with a receiver of webhooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

impl WebhookSecret {
    /// A secret of these bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Reads `whsec_` and base64.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let encoded = text.trim().strip_prefix("whsec_").context("a secret begins with whsec_")?;
        Ok(Self(BASE64.decode(encoded.as_bytes()).context("the secret is not base64")?))
    }

    /// Writes `whsec_` and base64.
    pub fn to_text(&self) -> String {
        format!("whsec_{}", BASE64.encode(&self.0))
    }

    /// Checks one delivery: that one of the signatures in `header` is ours over
    /// `id.timestamp.body`, and that it is of these minutes.
    ///
    /// # Errors
    /// Says what does not hold.
    pub fn check(&self, id: &str, timestamp: &str, body: &[u8], header: &str) -> Result<()> {
        let seconds: i64 = timestamp.parse().context("the timestamp is not a number of seconds")?;
        let age = Timestamp::now().as_second() - seconds;
        ensure!(age.abs() <= TOLERANCE_SECONDS, "the timestamp is {age} seconds off");
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).context("the secret is no key")?;
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        let ours = BASE64.encode(&mac.finalize().into_bytes());
        let signed =
            header.split(' ').filter_map(|part| part.strip_prefix("v1,")).any(|theirs| theirs == ours);
        ensure!(signed, "no signature in {header:?} is the secret's");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(secret: &WebhookSecret, message: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret.0).unwrap();
        mac.update(message.as_bytes());
        BASE64.encode(&mac.finalize().into_bytes())
    }

    /// The example of the specification's reference libraries.
    #[test]
    fn the_reference_vector_holds() {
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let message = "msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}";
        assert_eq!(sign(&secret, message), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn only_the_whole_message_of_now_holds() {
        let secret = WebhookSecret::new(*b"0123456789abcdef01234567");
        assert_eq!(WebhookSecret::parse(&secret.to_text()).unwrap(), secret);
        let now = Timestamp::now().as_second().to_string();
        let header = format!("v1a,x v1,{}", sign(&secret, &format!("id.{now}.{{}}")));
        let old = (Timestamp::now().as_second() - 301).to_string();
        let old_header = format!("v1,{}", sign(&secret, &format!("id.{old}.{{}}")));
        for (id, time, body, header, holds) in [
            ("id", &now, "{}", &header, true),
            ("di", &now, "{}", &header, false),
            ("id", &now, "{ }", &header, false),
            ("id", &old, "{}", &header, false),
            ("id", &old, "{}", &old_header, false),
        ] {
            assert_eq!(secret.check(id, time, body.as_bytes(), header).is_ok(), holds, "{id} {body}");
        }
    }
}
