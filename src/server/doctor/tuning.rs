//! The tuning files as data: the lines that `scripts/tune` applies, parsed from the same text.
//!
//! Must not know the machine. Invariant: a line that cannot be parsed is an error with its file
//! and number; the files that are built in can all be parsed.

use std::fmt;

/// The tuning files that are built in: name, text.
pub const FILES: [(&str, &str); 3] = [
    ("tuning/sysctl.tune", include_str!("../../../tuning/sysctl.tune")),
    ("tuning/sysfs.tune", include_str!("../../../tuning/sysfs.tune")),
    ("tuning/limits.tune", include_str!("../../../tuning/limits.tune")),
];

/// Deepest nesting of parentheses.
const DEPTH: usize = 32;

/// How the current value is compared with the wanted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Equal,
    AtLeast,
    AtMost,
    /// Equal to one word.
    Is,
    /// One of several words.
    In,
    /// A range that contains the wanted one.
    Covers,
    /// A list that contains these ports.
    Holds,
    /// A mask of cores, or a list of them, computed for the queue.
    Mask,
    Cpus,
}

const RULES: [(&str, Rule); 9] = [
    ("=", Rule::Equal),
    (">=", Rule::AtLeast),
    ("<=", Rule::AtMost),
    ("is", Rule::Is),
    ("in", Rule::In),
    ("covers", Rule::Covers),
    ("holds", Rule::Holds),
    ("mask", Rule::Mask),
    ("cpus", Rule::Cpus),
];

/// One item of a tuning file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub name: &'a str,
    pub rule: Rule,
    pub want: &'a str,
    pub cost: &'a str,
}

/// A line that cannot be parsed: where, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed {
    pub file: String,
    pub line: usize,
    pub why: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.why)
    }
}

/// The values that the sums in a file may name.
#[derive(Clone, Copy, Debug)]
pub struct Values {
    pub connections: u64,
    pub cores: u64,
    pub memory_bytes: u64,
    pub page_bytes: u64,
}

impl Values {
    fn named(&self, name: &str) -> Option<u64> {
        Some(match name {
            "connections" => self.connections,
            "cores" => self.cores,
            "memory_bytes" => self.memory_bytes,
            "memory_pages" => self.memory_bytes / self.page_bytes.max(1),
            "page_bytes" => self.page_bytes,
            _ => return None,
        })
    }
}

/// Parses a file's items.
///
/// # Errors
/// The first line that cannot be parsed.
pub fn read<'a>(file: &str, text: &'a str) -> Result<Vec<Line<'a>>, Malformed> {
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |why| Malformed { file: file.to_owned(), line: index + 1, why };
        lines.push(item(line).map_err(wrong)?);
    }
    Ok(lines)
}

fn item(text: &str) -> Result<Line<'_>, String> {
    let columns: Vec<&str> = text.split('|').map(str::trim).collect();
    let [name, rule, want, cost, why] = columns[..] else {
        return Err(format!("{} columns, not 5", columns.len()));
    };
    if [name, rule, want, cost, why].contains(&"") {
        return Err("a column is empty".to_owned());
    }
    let (_, rule) = RULES
        .into_iter()
        .find(|(text, _)| *text == rule)
        .ok_or_else(|| format!("unknown rule {rule:?}"))?;
    if matches!(rule, Rule::Equal | Rule::AtLeast | Rule::AtMost | Rule::Covers) {
        numbers(want, &Values { connections: 1, cores: 1, memory_bytes: 1, page_bytes: 1 })?;
    }
    Ok(Line { name, rule, want, cost })
}

/// The numbers in a column; `unlimited` is the largest possible.
///
/// # Errors
/// What is wrong with the sum.
pub fn numbers(text: &str, values: &Values) -> Result<Vec<u64>, String> {
    if text == "unlimited" {
        return Ok(vec![u64::MAX]);
    }
    let mut sums = Sums { rest: text.trim(), values, depth: 0 };
    let mut found = Vec::new();
    while !sums.rest.is_empty() {
        found.push(sums.sum()?);
    }
    Ok(found)
}

/// Sums of whole numbers: + - * /, min(), max(), parentheses.
struct Sums<'a> {
    rest: &'a str,
    values: &'a Values,
    depth: usize,
}

impl<'a> Sums<'a> {
    fn take(&mut self, mark: char) -> bool {
        let taken = self.rest.strip_prefix(mark).map(str::trim_start);
        if let Some(rest) = taken {
            self.rest = rest;
        }
        taken.is_some()
    }

    fn word(&mut self, fits: fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|letter| !fits(letter)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        word
    }

    fn sum(&mut self) -> Result<u64, String> {
        let mut result = self.product()?;
        loop {
            if self.take('+') {
                result = result.saturating_add(self.product()?);
            } else if self.take('-') {
                result = result.saturating_sub(self.product()?);
            } else {
                return Ok(result);
            }
        }
    }

    fn product(&mut self) -> Result<u64, String> {
        let mut result = self.atom()?;
        loop {
            if self.take('*') {
                result = result.saturating_mul(self.atom()?);
            } else if self.take('/') {
                result = result.checked_div(self.atom()?).ok_or("division by zero")?;
            } else {
                return Ok(result);
            }
        }
    }

    fn atom(&mut self) -> Result<u64, String> {
        let number = self.word(|letter| letter.is_ascii_digit() || letter == '_');
        if !number.is_empty() {
            return number
                .replace('_', "")
                .parse()
                .map_err(|_| format!("{number} is not a number"));
        }
        let name = self.word(|letter| letter.is_ascii_lowercase() || letter == '_');
        match name {
            "" | "min" | "max" if self.take('(') => self.inside(name),
            "" => Err(format!("{:?} is neither a number nor a name", self.rest)),
            _ => self.values.named(name).ok_or_else(|| format!("unknown name {name:?}")),
        }
    }

    fn inside(&mut self, function: &str) -> Result<u64, String> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err("too many parentheses".to_owned());
        }
        let mut result = self.sum()?;
        while !function.is_empty() && self.take(',') {
            let other = self.sum()?;
            result = if function == "min" { result.min(other) } else { result.max(other) };
        }
        self.depth -= 1;
        if self.take(')') { Ok(result) } else { Err("a \")\" is missing".to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: Values =
        Values { connections: 100, cores: 4, memory_bytes: 1 << 30, page_bytes: 4096 };

    #[test]
    fn the_files_built_in_can_be_read() {
        for (file, text) in FILES {
            let lines = read(file, text).unwrap_or_else(|wrong| panic!("{wrong}"));
            assert!(lines.len() > 1, "{file}");
        }
    }

    #[test]
    fn sums() {
        for (text, expected) in [
            ("1_000", vec![1000]),
            ("2 * connections + 5", vec![205]),
            ("(5 + 2) * 3", vec![21]),
            ("max(1, connections, 7)", vec![100]),
            ("min(connections, cores * 2)", vec![8]),
            ("100 - 1 - 1", vec![98]),
            ("7 / 2", vec![3]),
            ("connections / 16  cores 3", vec![6, 4, 3]),
            ("memory_pages", vec![1 << 18]),
            ("unlimited", vec![u64::MAX]),
        ] {
            assert_eq!(numbers(text, &VALUES), Ok(expected), "{text}");
        }
        let deep = "(".repeat(99);
        for bad in ["40x", "conections", "4 ; 5", "max(1", "1 +", "1 / 0", &deep, "max", "1 max("] {
            assert!(numbers(bad, &VALUES).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_malformed_line_is_named() {
        let good = "net.core.somaxconn | >= | 4096 | storms | cited";
        for (bad, why) in [
            ("a | >= | 1 | cost", "4 columns, not 5"),
            ("a | >= |  | cost | why", "a column is empty"),
            ("a | => | 1 | cost | why", "unknown rule \"=>\""),
            ("a | >= | x | cost | why", "unknown name \"x\""),
        ] {
            let wrong = read("sysctl.tune", &format!("# comment\n{good}\n{bad}\n")).map(|_| ());
            let wrong = wrong.map_err(|wrong| wrong.to_string());
            assert_eq!(wrong, Err(format!("sysctl.tune:3: {why}")));
        }
    }
}
