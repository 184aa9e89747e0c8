//! Requests by route, method and class of status. The route is the template that
//! matched, never the path: what callers make up makes no series.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Unit;

use super::Durations;

/// The route of what matched none.
pub(crate) const UNMATCHED: &str = "unmatched";
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "DELETE", "other"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Every request that was answered; clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requests {
    /// Written to at the first request of each route, and only read from then on.
    routes: Arc<RwLock<HashMap<String, Arc<Route>>>>,
}

/// The requests of one route, by method.
#[derive(Debug, Default)]
struct Route([Answers; METHODS.len()]);

#[derive(Debug, Default)]
struct Answers {
    by_class: [Counter; CLASSES.len()],
    took: Durations,
}

impl Requests {
    /// A request was answered.
    pub(crate) fn observe(&self, route: &str, method: &Method, status: StatusCode, took: Duration) {
        let known = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(route) {
            return known.observe(method, status, took);
        }
        drop(known);
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.entry(route.to_owned()).or_default().observe(method, status, took);
    }

    /// The routes in order, so that two answers read alike.
    fn sorted(&self) -> Vec<(String, Arc<Route>)> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let mut sorted: Vec<_> =
            routes.iter().map(|(name, route)| (name.clone(), Arc::clone(route))).collect();
        sorted.sort_by(|one, other| one.0.cmp(&other.0));
        sorted
    }
}

impl Route {
    fn observe(&self, method: &Method, status: StatusCode, took: Duration) {
        let at = METHODS.iter().position(|known| *known == method.as_str());
        let answers = &self.0[at.unwrap_or(METHODS.len() - 1)];
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        answers.by_class[class].inc();
        answers.took.observe(took);
    }

    /// The methods that were asked with.
    fn used(&self) -> impl Iterator<Item = (&'static str, &Answers)> {
        let used = |answers: &&Answers| answers.by_class.iter().any(|count| count.get() > 0);
        METHODS.into_iter().zip(&self.0).filter(move |(_, answers)| used(answers))
    }
}

impl Collector for Requests {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let routes = self.sorted();
        let help = "Requests that were answered, by the template of their route";
        let mut requests = encoder.encode_descriptor("http_requests", help, None, MetricType::Counter)?;
        for (route, method, answers) in each(&routes) {
            for (class, count) in CLASSES.into_iter().zip(&answers.by_class).filter(|(_, c)| c.get() > 0) {
                let labels = [("route", route), ("method", method), ("status", class)];
                requests.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count.get(), None)?;
            }
        }
        let (name, help) = ("http_request_duration", "How long requests took until their answer began");
        let mut took = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (route, method, answers) in each(&routes) {
            answers.took.encode(took.encode_family(&[("route", route), ("method", method)])?)?;
        }
        Ok(())
    }
}

fn each(routes: &[(String, Arc<Route>)]) -> impl Iterator<Item = (&str, &'static str, &Answers)> {
    routes.iter().flat_map(|(name, route)| route.used().map(|(method, of)| (name.as_str(), method, of)))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use prometheus_client::encoding::prometheus_text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    const ROUNDS: u32 = 200_000;

    #[test]
    fn requests_count_by_route_method_and_class_and_cost_next_to_nothing() {
        let requests = Requests::default();
        let observe = |method: &Method, status| {
            let status = StatusCode::from_u16(status).unwrap();
            requests.observe("/v1/heartbeats", method, status, Duration::from_millis(2));
        };
        observe(&Method::from_bytes(b"BREW").unwrap(), 999);
        observe(&Method::GET, 404);
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..ROUNDS).for_each(|_| observe(&Method::POST, 200)));
            }
        });
        let each = begun.elapsed() / (2 * ROUNDS);
        println!("a request is counted in {} ns, by two threads at once, unoptimised", each.as_nanos());
        assert!(each < Duration::from_micros(20), "{each:?}");
        let mut registry = Registry::default();
        registry.register_collector(Box::new(requests.clone()));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "http_requests_total{route=\"/v1/heartbeats\",method=\"POST\",status=\"2xx\"} 400000",
            "http_requests_total{route=\"/v1/heartbeats\",method=\"GET\",status=\"4xx\"} 1",
            "http_requests_total{route=\"/v1/heartbeats\",method=\"other\",status=\"5xx\"} 1",
            "http_request_duration_seconds_bucket{route=\"/v1/heartbeats\",method=\"POST\",le=\"0.001\"} 0",
            "http_request_duration_seconds_bucket{route=\"/v1/heartbeats\",method=\"POST\",le=\"0.0025\"} 400000",
        ] {
            assert!(text.lines().any(|said| said == line), "{line} in {text}");
        }
    }
}
