//! Numbers as text, for every kind of report.
//!
//! Must not know what is measured.

use super::stats::Estimate;

/// A number with as many digits as say something.
#[must_use]
pub fn number(value: f64) -> String {
    match value.abs() {
        big if big >= 1_000.0 => {
            let digits = format!("{value:.0}");
            let first = digits.len() % 3;
            let mut text = digits[..first].to_owned();
            for (index, digit) in digits[first..].chars().enumerate() {
                if index % 3 == 0 && !text.is_empty() {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
        big if big >= 100.0 => format!("{value:.0}"),
        big if big >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The same at an axis: without zeros that say nothing.
#[must_use]
pub fn tick(value: f64) -> String {
    let text = number(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

#[must_use]
pub fn maybe(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), number)
}

/// Microseconds as milliseconds.
#[must_use]
pub fn milliseconds(us: Option<f64>) -> String {
    us.map_or_else(|| "-".into(), |us| format!("{:.2}", us / 1_000.0))
}

#[must_use]
pub fn interval(ratio: Option<Estimate>) -> String {
    let text = |it: Estimate| format!("{:.2} ({:.2}-{:.2})", it.median, it.low, it.high);
    ratio.map_or_else(String::new, text)
}

#[test]
fn numbers_keep_what_says_something() {
    let cases = [
        (0.5, "0.50"),
        (3.456, "3.46"),
        (34.56, "34.6"),
        (345.6, "346"),
        (9_999.0, "9,999"),
        (12_345.0, "12,345"),
        (123_456.0, "123,456"),
        (1_234_567.8, "1,234,568"),
    ];
    for (value, expected) in cases {
        assert_eq!(number(value), expected);
    }
    for (value, expected) in [(0.5, "0.5"), (1.0, "1"), (20.0, "20"), (200.0, "200"), (0.0, "0")] {
        assert_eq!(tick(value), expected);
    }
}
