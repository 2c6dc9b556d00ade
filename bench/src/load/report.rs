//! What a run prints: one line of JSON, or text.
//!
//! Must not measure. Invariant: a run with a failure is never printed as verified.

use super::meter::Figures;
use super::options::Options;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Steps of the latency curve from one halving of the rest to the next.
const CURVE_STEPS: u32 = 4;

/// A finished run.
pub struct Report<'a> {
    pub scenario: &'a str,
    pub options: &'a Options,
    /// The scenario's own options.
    pub own: Value,
    pub offered_per_s: Option<f64>,
    pub figures: Figures,
}

fn us(ns: u64) -> f64 {
    (ns as f64 / 10.0).round() / 100.0
}

/// A figure per delivery, if there were deliveries.
fn per(ns: u64, deliveries: u64) -> Option<f64> {
    (deliveries > 0).then(|| (ns as f64 / deliveries as f64).round() / 1e3)
}

fn latency(histogram: &Histogram<u64>) -> Value {
    let at = |share: f64| us(histogram.value_at_quantile(share));
    let curve: Vec<Value> = histogram
        .iter_quantiles(CURVE_STEPS)
        .map(|step| json!([step.quantile_iterated_to() * 100.0, us(step.value_iterated_to())]))
        .collect();
    json!({
        "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999),
        "max": us(histogram.max()), "curve": curve,
    })
}

/// The slope of the least-squares line; `None` for fewer than two points.
#[must_use]
pub fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let product: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let square: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    (square > 0.0).then(|| product / square)
}

fn rss(states: &[(u64, u64)]) -> Value {
    let (Some(before), Some(after)) = (states.first(), states.last()) else { return Value::Null };
    // What the first connections make a server allocate for all is not a cost of each.
    let some = states.iter().filter(|(connections, _)| *connections > 0);
    let points: Vec<(f64, f64)> =
        some.map(|(connections, bytes)| (*connections as f64, *bytes as f64)).collect();
    json!({
        "before": before.1, "after": after.1,
        "slope_per_connection": slope(&points).map(|slope| slope.round()),
        "states": states,
    })
}

impl Report<'_> {
    /// The line of JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let figures = &self.figures;
        let histogram = figures.histogram();
        let mut params = serde_json::to_value(self.options).unwrap_or_default();
        if let (Some(params), Some(own)) = (params.as_object_mut(), self.own.as_object()) {
            params.extend(own.clone());
        }
        let measures_server = !self.options.server_pid.is_empty();
        json!({
            "scenario": self.scenario,
            "dialect": self.options.dialect,
            "verified": figures.failure.is_none(),
            "failure": figures.failure,
            "offered_per_s": figures.offered_per_s.or(self.offered_per_s),
            "messages": figures.messages,
            "deliveries": figures.deliveries,
            "deliveries_due": (!histogram.is_empty()).then_some(histogram.len()),
            "window_s": figures.window_s,
            "server_cpu_ns": measures_server.then_some(figures.server_cpu_ns),
            "server_cpu_us_per_delivery":
                per(figures.server_cpu_ns, figures.deliveries).filter(|_| measures_server),
            "generator_cpu_us_per_delivery": per(figures.own_cpu_ns, figures.deliveries),
            "latency_us": if histogram.is_empty() { Value::Null } else { latency(&histogram) },
            "rss_bytes": rss(&figures.rss),
            "more": figures.more,
            "params": params,
        })
    }

    /// Prints it as the options want it.
    pub fn print(&self) {
        let json = self.json();
        if self.options.json {
            println!("{json}");
            return;
        }
        if self.figures.failure.is_some() {
            return;
        }
        for (name, value) in json.as_object().into_iter().flatten() {
            match value {
                Value::Object(parts) => {
                    let plain = parts.iter().filter(|(_, value)| !value.is_array());
                    plain.for_each(|(part, value)| line(&format!("{name}.{part}"), value));
                }
                value => line(name, value),
            }
        }
    }
}

fn line(name: &str, value: &Value) {
    if !value.is_null() {
        println!("{name:<34} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_a_line_is_found_among_noise() {
        let points: Vec<(f64, f64)> = (0..6)
            .map(|number| (f64::from(number) * 2_000.0, f64::from(number) * 1_024_000.0))
            .collect();
        assert!((slope(&points).expect("a slope") - 512.0).abs() < 0.001);
        let noise = |index: usize| if index.is_multiple_of(2) { 100.0 } else { -100.0 };
        let noisy: Vec<(f64, f64)> = points
            .iter()
            .enumerate()
            .map(|(index, point)| (point.0, point.1 + noise(index)))
            .collect();
        assert!((slope(&noisy).expect("a slope") - 512.0).abs() < 0.1);
        assert_eq!(slope(&points[..1]), None);
    }
}
