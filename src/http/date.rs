//! The `Date` of responses (RFC 9110 section 5.6.7).
//!
//! Must not know a clock: the time is an argument. Invariant: the text is made once per second,
//! however many responses carry it.

use std::fmt::Write;

const DAY_S: u64 = 24 * 3_600;
/// The last second of the year 9999: the format has four digits for a year.
const LAST_S: u64 = 253_402_300_799;
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The last date that was made.
#[derive(Debug, Default)]
pub struct Date {
    second: u64,
    /// Empty before the first call.
    text: String,
}

impl Date {
    /// The date of a time in Unix seconds, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub fn at(&mut self, unix_s: u64) -> &str {
        if self.second != unix_s || self.text.is_empty() {
            self.second = unix_s;
            self.write(unix_s.min(LAST_S));
        }
        &self.text
    }

    fn write(&mut self, unix_s: u64) {
        let (days, second) = (unix_s / DAY_S, unix_s % DAY_S);
        let (year, month, day) = civil(days);
        let name = DAYS[(days % 7) as usize];
        let month = MONTHS[month];
        let (hours, minutes, seconds) = (second / 3_600, second / 60 % 60, second % 60);
        self.text.clear();
        write!(
            self.text,
            "{name}, {day:02} {month} {year:04} {hours:02}:{minutes:02}:{seconds:02} GMT"
        )
        .expect("a string takes all");
    }
}

/// Year, month from 0 and day from 1 of a day since 1970-01-01. Years are counted from the 1st of
/// March, so that the leap day is the last of its year and months follow a pattern of 153 days
/// every five.
fn civil(days: u64) -> (u64, usize, u64) {
    // From 0000-03-01; 400 years are an era of 146,097 days.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let in_next_year = u64::from(month >= 10);
    (era * 400 + year + in_next_year, ((month + 2) % 12) as usize, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_their_dates() {
        // As `date -u -R -d @SECONDS` prints them.
        let table = [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (1_735_689_600, "Wed, 01 Jan 2025 00:00:00 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (LAST_S, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ];
        let mut date = Date::default();
        for (second, text) in table {
            assert_eq!(date.at(second), text);
            assert_eq!(date.at(second), text, "and again");
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut last = civil(0);
        for days in 1..200_000 {
            let next = civil(days);
            let (year, month, day) = next;
            let same_month = (year, month) == (last.0, last.1) && day == last.2 + 1;
            let next_month = (year, month) == (last.0, last.1 + 1) && day == 1;
            let next_year = year == last.0 + 1 && last.1 == 11 && month == 0 && day == 1;
            assert!(same_month || next_month || next_year, "{last:?} {next:?}");
            assert!(day <= 31 && (next_month || next_year) == (day == 1));
            last = next;
        }
    }
}
