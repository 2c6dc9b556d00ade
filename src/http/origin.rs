//! Which pages a browser may connect from (attack: cross-site WebSocket hijacking).
//!
//! A browser says truthfully where a page is from; what is not a browser need not say anything.

/// Origins that are let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// Exact: scheme, host and port as browsers write them.
    pub listed: Vec<String>,
    /// Any port of localhost, 127.0.0.1 and `[::1]` too.
    pub loopback: bool,
}

impl Origins {
    /// May a page of this origin connect? An absent one is not asked about.
    #[must_use]
    pub fn allow(&self, origin: &str) -> bool {
        self.listed.iter().any(|listed| listed == origin) || self.loopback && is_loopback(origin)
    }
}

fn is_loopback(origin: &str) -> bool {
    let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    host.is_some_and(|host| {
        ["localhost", "127.0.0.1", "[::1]"].into_iter().any(|loopback| {
            host.strip_prefix(loopback).is_some_and(|rest| {
                let port = rest.strip_prefix(':');
                rest.is_empty() || port.is_some_and(is_port)
            })
        })
    })
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_exact_and_loopback_is_only_loopback() {
        let listed = Origins { listed: vec!["https://a.example:444".into()], loopback: false };
        assert!(listed.allow("https://a.example:444"));
        for foreign in
            ["https://a.example", "http://a.example:444", "https://b.a.example:444", "null", ""]
        {
            assert!(!listed.allow(foreign), "{foreign}");
        }
        let dev = Origins { listed: Vec::new(), loopback: true };
        for own in
            ["http://localhost", "http://localhost:5173", "http://127.0.0.1:8000", "http://[::1]:1"]
        {
            assert!(dev.allow(own) && !listed.allow(own), "{own}");
        }
        for foreign in [
            "http://localhost.example",
            "http://localhost:1.example",
            "http://127.0.0.1.example:80",
            "http://127.0.0.1:80@evil.example",
            "http://evil.example/localhost",
            "http://localhost:",
            "http://localhost:+1",
            "http://127.0.0.10",
            "ftp://localhost",
            "null",
        ] {
            assert!(!dev.allow(foreign), "{foreign}");
        }
    }
}
