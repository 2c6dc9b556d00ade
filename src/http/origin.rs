//! Which pages may connect from a browser (against cross-site WebSocket hijacking).
//!
//! A browser states truthfully where a page is from; other clients may send anything or nothing.
//! Must not know heads. Invariant: an origin is compared by its parts (scheme, host, port), never
//! as a text that begins or ends like a listed one.

/// The origins that may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    pub listed: Vec<Listed>,
    /// Also any port of localhost, 127.0.0.1 and `[::1]`.
    pub loopback: bool,
    /// Also pages that this server itself served: those whose origin is the address that the
    /// request was sent to.
    pub own: bool,
}

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// `*`: every origin, including `null` and texts that are not origins.
    Every,
    /// `null`: pages without an origin, such as files and sandboxed frames.
    Null,
    /// Scheme, host and port. The host's first label may contain a `*`, and the port may be one.
    Site { scheme: Box<str>, host: Box<str>, port: Port },
}

/// The port of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    Any,
    /// `None`: the scheme's default, which browsers leave out, or a scheme without ports.
    Exactly(Option<u16>),
}

/// Why a text is not a valid entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedError {
    /// There is no `://`, or no scheme before it.
    Scheme,
    /// Something follows host and port.
    Path,
    /// A user comes before the host.
    User,
    /// The host, or another part, is not ASCII.
    Unicode,
    /// No host, or one that no browser would send.
    Host,
    /// A `*` outside the host's first label, or more than one in it.
    Star,
    /// The port is not a number from 0 to 65535.
    Port,
}

impl ListedError {
    /// What is wrong, and what to write instead.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            ListedError::Scheme => "is not an origin: it begins with a scheme, such as https://",
            ListedError::Path => "is more than an origin: leave out what follows host and port",
            ListedError::User => "is not an origin: it names a user before the host",
            ListedError::Unicode => {
                "is not as browsers send it: names beyond ASCII are written as xn--..."
            }
            ListedError::Host => "is not an origin: it has no host that a browser could send",
            ListedError::Star => {
                "has a * where none is allowed: write it once in the first label of the host, such \
                 as https://*.example.com, as the port, or alone for every origin"
            }
            ListedError::Port => "has no port from 0 to 65535 (* stands for every port)",
        }
    }
}

impl Origins {
    /// May a page of this origin connect? Requests without an Origin do not ask. `host` is the
    /// request's Host header.
    #[must_use]
    pub fn allow(&self, origin: &str, host: Option<&str>) -> bool {
        let site = Site::read(origin).ok();
        self.listed.iter().any(|listed| listed.fits(origin, site))
            || site.is_some_and(|site| {
                self.loopback && site.is_loopback()
                    || self.own && host.is_some_and(|host| site.is_at(host))
            })
    }
}

impl Listed {
    /// Reads an entry: an origin as browsers send it, in any case, with or without a default port;
    /// a pattern; `null`; `*`.
    ///
    /// # Errors
    /// If it is none of these.
    pub fn read(text: &str) -> Result<Listed, ListedError> {
        match text {
            "*" => return Ok(Listed::Every),
            "null" => return Ok(Listed::Null),
            _ => {}
        }
        let (plain, any_port) = match text.strip_suffix(":*") {
            Some(plain) => (plain, true),
            None => (text, false),
        };
        // A host with a star is checked like one without it.
        let site = Site::read_with(plain, true)?;
        let (first, rest) = site.host.split_once('.').unwrap_or((site.host, ""));
        if rest.contains('*') || first.matches('*').count() > 1 {
            return Err(ListedError::Star);
        }
        if any_port && site.port.is_some() {
            return Err(ListedError::Port);
        }
        Ok(Listed::Site {
            scheme: site.scheme.to_ascii_lowercase().into(),
            host: site.host.to_ascii_lowercase().into(),
            port: if any_port { Port::Any } else { Port::Exactly(site.port) },
        })
    }

    /// Does it admit pages that anybody could have made?
    #[must_use]
    pub fn is_anybodys(&self) -> bool {
        match self {
            Listed::Every | Listed::Null => true,
            Listed::Site { host, .. } => **host == *"*",
        }
    }

    fn fits(&self, origin: &str, site: Option<Site<'_>>) -> bool {
        match (self, site) {
            (Listed::Every, _) => true,
            (Listed::Null, _) => origin == "null",
            (Listed::Site { .. }, None) => false,
            (Listed::Site { scheme, host, port }, Some(site)) => {
                site.scheme.eq_ignore_ascii_case(scheme)
                    && (*port == Port::Any || *port == Port::Exactly(site.port))
                    && host_fits(host, site.host)
            }
        }
    }
}

/// Does a host match a pattern? A `*` that is the whole first label matches one label or more, a
/// `*` beside other letters matches some letters of that label.
fn host_fits(pattern: &str, host: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return host.eq_ignore_ascii_case(pattern);
    };
    let whole_label = before.is_empty() && (after.is_empty() || after.starts_with('.'));
    let Some(length) = host.len().checked_sub(before.len() + after.len()) else { return false };
    // Hosts are ASCII, so they can be cut anywhere.
    let (first, rest) = host.split_at(before.len());
    let (starred, last) = rest.split_at(length);
    first.eq_ignore_ascii_case(before)
        && last.eq_ignore_ascii_case(after)
        && starred.split('.').all(|label| !label.is_empty())
        && (whole_label || !starred.contains('.'))
        && !starred.contains(['[', ']'])
}

/// The parts of an origin (RFC 6454 section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Site<'a> {
    scheme: &'a str,
    host: &'a str,
    /// `None` if it is the scheme's default, or there is none.
    port: Option<u16>,
}

impl<'a> Site<'a> {
    fn read(origin: &'a str) -> Result<Site<'a>, ListedError> {
        Site::read_with(origin, false)
    }

    fn read_with(origin: &'a str, stars: bool) -> Result<Site<'a>, ListedError> {
        let (scheme, rest) = origin.split_once("://").ok_or(ListedError::Scheme)?;
        let mut letters = scheme.bytes();
        let scheme_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if !letters.next().is_some_and(|first| first.is_ascii_alphabetic())
            || !letters.all(scheme_letter)
        {
            return Err(ListedError::Scheme);
        }
        if !rest.is_ascii() {
            return Err(ListedError::Unicode);
        }
        if rest.contains(['/', '?', '#', '\\']) {
            return Err(ListedError::Path);
        }
        if rest.contains('@') {
            return Err(ListedError::User);
        }
        let (host, port) = split_port(rest, stars)?;
        // Pages of a WebView may have the origin `file://`; pages on the web always have a host.
        if host.is_empty() && (default_port(scheme).is_some() || port.is_some()) {
            return Err(ListedError::Host);
        }
        let port = port.filter(|port| default_port(scheme) != Some(*port));
        Ok(Site { scheme, host, port })
    }

    /// Is it a page of this machine?
    fn is_loopback(self) -> bool {
        self.is_of_the_web()
            && ["localhost", "127.0.0.1", "[::1]"]
                .iter()
                .any(|loopback| self.host.eq_ignore_ascii_case(loopback))
    }

    /// Was its page requested from the address in this Host header?
    fn is_at(self, host: &str) -> bool {
        let Ok((name, port)) = split_port(host, false) else { return false };
        let port = port.filter(|port| default_port(self.scheme) != Some(*port));
        self.is_of_the_web() && self.host.eq_ignore_ascii_case(name) && self.port == port
    }

    fn is_of_the_web(self) -> bool {
        ["http", "https"].iter().any(|scheme| self.scheme.eq_ignore_ascii_case(scheme))
    }
}

/// Splits host and port; a host may have no port.
fn split_port(text: &str, stars: bool) -> Result<(&str, Option<u16>), ListedError> {
    let host_end = match text.find(']') {
        Some(end) if text.starts_with('[') => end + 1,
        _ => text.find(':').unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at(host_end);
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let plain = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || b".-_".contains(&byte) || stars && byte == b'*'
        }),
    };
    if !plain || host.starts_with('.') {
        return Err(ListedError::Host);
    }
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => None,
        None => return Err(ListedError::Host),
        Some(digits) => Some(read_port(digits)?),
    };
    Ok((host, port))
}

/// A port as browsers write it: without a sign or leading zeros.
fn read_port(digits: &str) -> Result<u16, ListedError> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| plain).ok_or(ListedError::Port)
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        _ if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("ws") => Some(80),
        _ if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss") => {
            Some(443)
        }
        _ => None,
    }
}
