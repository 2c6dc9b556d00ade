//! Did you mean: the nearest known name to a mistyped one. Knows nothing of configuration.

/// The nearest of `known` within a third of the name's length (at least one slip), or nothing.
#[must_use]
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.len() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (slips(name, candidate), candidate))
        .filter(|(slips, _)| *slips <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, drop or change to get from one name to the other (Levenshtein).
fn slips(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, letter) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for column in 0..to.len() {
            let change = diagonal + usize::from(letter != to[column]);
            diagonal = row[column + 1];
            row[column + 1] = change.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_meant() {
        let known = ["listen", "limits", "log", "workers", "worker_cpus"];
        let cases = [
            ("lisen", Some("listen")),
            ("worker", Some("workers")),
            ("workerss", Some("workers")),
            ("lag", Some("log")),
            ("worker_cpu", Some("worker_cpus")),
            ("redis", None),
            ("x", None),
        ];
        for (name, meant) in cases {
            assert_eq!(did_you_mean(name, known), meant, "{name}");
        }
        assert_eq!(slips("kitten", "sitting"), 3);
        assert_eq!(slips("", "abc"), 3);
    }
}
