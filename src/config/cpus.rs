//! Lists of cores ("0,2-3") and the file that the tuner writes. Pure text.

/// Highest core number that a list may name.
const CPU_MAX: usize = 4_095;

/// Reads "0,2-3" in the order written; the empty text names none.
///
/// # Errors
/// The rule that the text breaks.
pub fn list(text: &str) -> Result<Vec<usize>, String> {
    let mut cpus = Vec::new();
    for part in text.split(',').map(str::trim) {
        if part.is_empty() && text.trim().is_empty() {
            break;
        }
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last {
            return Err(format!("{part:?} runs backwards"));
        }
        for cpu in first..=last {
            if cpus.contains(&cpu) {
                return Err(format!("core {cpu} appears twice"));
            }
            cpus.push(cpu);
        }
    }
    Ok(cpus)
}

fn number(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(cpu) if cpu <= CPU_MAX => Ok(cpu),
        _ => Err(format!("{text:?} is not a core: write numbers and ranges, such as \"0,2-3\"")),
    }
}

/// One line of the tuner's file.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its number, from 1.
    pub number: usize,
    /// The configuration key that it sets.
    pub key: &'static str,
    pub value: &'a str,
}

/// Reads the tuner's file: lines `workers=0,2-3` and `bridge=1`, `#` for comments.
///
/// # Errors
/// The number of the first invalid line, and why it is invalid.
pub fn file(text: &str) -> Result<Vec<Line<'_>>, (usize, String)> {
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let line = line.split('#').next().unwrap_or("").trim();
        if line.is_empty() {
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let key = match key.trim() {
            "workers" if line.contains('=') => "worker_cpus",
            "bridge" if line.contains('=') => "bridge_cpu",
            _ => return Err((number, format!("{line:?} is neither workers= nor bridge="))),
        };
        lines.push(Line { number, key, value: value.trim() });
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores() {
        assert_eq!(list(""), Ok(vec![]));
        assert_eq!(list("0"), Ok(vec![0]));
        assert_eq!(list("3, 0-1"), Ok(vec![3, 0, 1]));
        for bad in ["a", "1-", "-1", "2-1", "1,1", "0-2,1", "1,,2", "1,", "99999", "0-99999"] {
            assert!(list(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_tuners_file() {
        let text = "# by the tuner\nworkers = 0,2-3\n\nbridge=1 # shared\n";
        let workers = Line { number: 2, key: "worker_cpus", value: "0,2-3" };
        let bridge = Line { number: 4, key: "bridge_cpu", value: "1" };
        assert_eq!(file(text), Ok(vec![workers, bridge]));
        assert_eq!(file("workers=0\nirq=2").map_err(|(line, _)| line), Err(2));
        assert_eq!(file("workers").map_err(|(line, _)| line), Err(1));
    }
}
