//! Decimal numbers in tags, compared exactly as they are written.
//!
//! Invariant: nothing is rounded or allocated. The grammar is Centrifugo's: an optional sign,
//! digits, and after a point 1 to 19 more digits; at most 200 letters; no exponent.

use std::cmp::Ordering;

const LETTERS_MAX: usize = 200;
const FRACTION_MAX: usize = 19;

/// A number: its sign, and its digits without redundant zeros.
#[derive(Clone, Copy)]
struct Decimal<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
}

/// How two numbers compare; `None` if one of them is not a number.
#[must_use]
pub fn compare(left: &str, right: &str) -> Option<Ordering> {
    let (left, right) = (Decimal::parse(left)?, Decimal::parse(right)?);
    Some(match (left.negative, right.negative) {
        (false, false) => left.magnitude(right),
        (true, true) => right.magnitude(left),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    })
}

impl<'a> Decimal<'a> {
    fn parse(text: &'a str) -> Option<Decimal<'a>> {
        let bytes = text.as_bytes();
        if bytes.len() > LETTERS_MAX {
            return None;
        }
        let (negative, digits) = match bytes {
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] => (false, digits),
            digits => (false, digits),
        };
        let (whole, fraction) = match digits.iter().position(|byte| *byte == b'.') {
            None => (digits, None),
            Some(point) => (&digits[..point], Some(&digits[point + 1..])),
        };
        let numeric = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        let fits = |digits: &[u8]| numeric(digits) && digits.len() <= FRACTION_MAX;
        if !numeric(whole) || !fraction.is_none_or(fits) {
            return None;
        }
        let leading = whole.iter().take_while(|digit| **digit == b'0').count();
        let fraction = fraction.unwrap_or_default();
        let trailing = fraction.iter().rev().take_while(|digit| **digit == b'0').count();
        let (whole, fraction) = (&whole[leading..], &fraction[..fraction.len() - trailing]);
        let zero = whole.is_empty() && fraction.is_empty();
        Some(Decimal { negative: negative && !zero, whole, fraction })
    }

    fn magnitude(self, other: Decimal<'_>) -> Ordering {
        let longer = self.whole.len().cmp(&other.whole.len());
        longer
            .then_with(|| self.whole.cmp(other.whole))
            .then_with(|| self.fraction.cmp(other.fraction))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_by_value() {
        let rising = [
            "-1000",
            "-9.5",
            "-9.05",
            "-1",
            "0",
            "0.0000000000000000001",
            "1.5",
            "1.50001",
            "2",
            "10",
        ];
        for (at, left) in rising.iter().enumerate() {
            for (other, right) in rising.iter().enumerate() {
                assert_eq!(compare(left, right), Some(at.cmp(&other)), "{left} and {right}");
            }
        }
        let huge = "9".repeat(200);
        for (left, right) in
            [("1", "+01.00"), ("-0", "0.0"), ("0012.30", "12.3"), (huge.as_str(), huge.as_str())]
        {
            assert_eq!(compare(left, right), Some(Ordering::Equal), "{left} and {right}");
        }
        assert_eq!(compare("9007199254740993", "9007199254740992"), Some(Ordering::Greater));
    }

    #[test]
    fn what_is_no_number_does_not_compare() {
        let digits = "1".repeat(201);
        let fraction = format!("0.{}", "1".repeat(20));
        for text in
            ["", "-", "+", ".5", "-.5", "5.", "1e3", "0x1", " 1", "1 ", "1.2.3", "--1", "٣", "NaN"]
        {
            assert_eq!(compare(text, "1"), None, "{text}");
        }
        for text in [digits, fraction] {
            assert_eq!((compare(&text, "1"), compare("1", &text)), (None, None), "{text}");
        }
    }
}
