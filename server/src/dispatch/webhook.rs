//! The webhook driver: posts orders, signed, to targets of the configuration.

use std::sync::Arc;
use std::time::Duration;

use congruent_protocol::path::escape;
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use super::signature::sign;
use super::{Driver, Order, Outcome};
use crate::config::{Config, Webhook};
use crate::ingest::chain_of;

/// How long a platform may take to answer, connecting included.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Posts orders.
pub(crate) struct WebhookDriver {
    http: reqwest::Client,
    config: Arc<Config>,
}

impl WebhookDriver {
    /// A driver for the webhooks of the configuration.
    ///
    /// It follows no redirect, since an order is for the target that the
    /// configuration names and for nobody else; nor does it take a proxy from
    /// the environment.
    pub(crate) fn new(config: Arc<Config>) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("congruent-server/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, config })
    }

    async fn post(&self, webhook: &Webhook, order: Order, at: Timestamp) -> reqwest::Result<Response> {
        let signature = sign(&webhook.secret, &order.id, at, &order.body);
        self.http
            .post(webhook.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", order.id)
            .header("webhook-timestamp", at.as_second())
            .header("webhook-signature", signature)
            .body(order.body)
            .send()
            .await
    }
}

impl Driver for WebhookDriver {
    async fn deliver(&self, target: &str, order: Order, at: Timestamp) -> Outcome {
        let Some(webhook) = self.config.webhooks.get(target) else {
            let why = format!("the webhook {target} is not configured any more");
            return Outcome::Failed { why, retry_after: None };
        };
        match self.post(webhook, order, at).await {
            Ok(response) => of_answer(response.status(), response.headers(), at),
            // A URL may hold a key of the platform's in its path or query.
            Err(error) => {
                let why = escape(chain_of(&error.without_url()).as_bytes()).into_owned();
                Outcome::Failed { why, retry_after: None }
            }
        }
    }
}

/// What an answer says: only 2xx is success, and 410 is for good.
fn of_answer(status: StatusCode, headers: &HeaderMap, at: Timestamp) -> Outcome {
    let said = format!("the platform answered {}", status.as_u16());
    match status {
        status if status.is_success() => Outcome::Accepted { answer: said },
        StatusCode::GONE => Outcome::Gone { why: format!("{said}: it takes no more orders here") },
        _ => Outcome::Failed { why: said, retry_after: retry_after(headers, at) },
    }
}

/// `Retry-After`: seconds, or a date.
fn retry_after(headers: &HeaderMap, at: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    date.duration_since(at).try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::time;

    fn check(status: u16, header: Option<&str>) -> Outcome {
        let mut headers = HeaderMap::new();
        if let Some(value) = header {
            headers.insert(RETRY_AFTER, value.parse().unwrap());
        }
        of_answer(StatusCode::from_u16(status).unwrap(), &headers, time("1994-11-06T08:49:07Z"))
    }

    #[test]
    fn only_2xx_is_success_and_410_is_for_good() {
        for status in [200, 202, 204] {
            assert!(matches!(check(status, None), Outcome::Accepted { .. }), "{status}");
        }
        assert!(matches!(check(410, None), Outcome::Gone { .. }));
        for status in [301, 307, 400, 404, 429, 500, 503] {
            assert!(matches!(check(status, None), Outcome::Failed { retry_after: None, .. }), "{status}");
        }
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        for (value, expected) in [
            ("120", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", None),
            ("soon", None),
        ] {
            let Outcome::Failed { retry_after, .. } = check(503, Some(value)) else { panic!("{value}") };
            assert_eq!(retry_after, expected.map(Duration::from_secs), "{value}");
        }
    }
}
