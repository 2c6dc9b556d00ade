//! Which pages a browser may connect from (attack: cross-site WebSocket hijacking).
//!
//! A browser says truthfully where a page is from; what is not a browser need not say anything.
//! Must not know heads. Invariant: an origin is compared in its parts (scheme, host, port), never
//! as a text that merely begins or ends like one that is listed.

/// Origins that are let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    pub listed: Vec<Listed>,
    /// Any port of localhost, 127.0.0.1 and `[::1]` too.
    pub loopback: bool,
    /// Pages that this server handed out itself too: those whose origin is the address that the
    /// request was sent to.
    pub own: bool,
}

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// `*`: every origin, `null` and what is none included.
    Every,
    /// `null`: pages without an origin, such as files and sandboxed frames.
    Null,
    /// Scheme, host and port. The host's first label may have a `*`, and the port may be one.
    Site { scheme: Box<str>, host: Box<str>, port: Port },
}

/// The port of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    Any,
    /// None: the scheme's default, which browsers leave out, or a scheme without ports.
    Exactly(Option<u16>),
}

/// Why a text cannot be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedError {
    /// Without `://`, or with what is no scheme before it.
    Scheme,
    /// Something stands behind host and port.
    Path,
    /// A user stands before the host.
    User,
    /// The host, or something else, is not ASCII.
    Unicode,
    /// No host, or none that a browser would send.
    Host,
    /// A `*` outside the host's first label, or more than one in it.
    Star,
    /// The port is no number from 0 to 65535.
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
    /// May a page of this origin connect? An absent one is not asked about. `host` is what the
    /// request's Host says.
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
    /// Reads an entry: an origin as browsers send it, in any case, with a default port or without;
    /// a pattern; `null`; `*`.
    ///
    /// # Errors
    /// What makes it none of these.
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
        // A host with a star is one without it, but for the star.
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

    /// Does it let in pages that anybody may have made?
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

/// Does a host fit a pattern? A `*` that is all of the first label stands for one label or more, a
/// `*` beside other letters for some letters of that label.
fn host_fits(pattern: &str, host: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return host.eq_ignore_ascii_case(pattern);
    };
    let whole_label = before.is_empty() && (after.is_empty() || after.starts_with('.'));
    let Some(length) = host.len().checked_sub(before.len() + after.len()) else { return false };
    // Hosts are ASCII: they may be cut anywhere.
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
    /// None where it is the scheme's default, or none is told.
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
        // Pages of a WebView may have the origin `file://`; on the web there is no page without a
        // host.
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

    /// Was its page asked for at what this Host says?
    fn is_at(self, host: &str) -> bool {
        let Ok((name, port)) = split_port(host, false) else { return false };
        let port = port.filter(|port| default_port(self.scheme) != Some(*port));
        self.is_of_the_web() && self.host.eq_ignore_ascii_case(name) && self.port == port
    }

    fn is_of_the_web(self) -> bool {
        ["http", "https"].iter().any(|scheme| self.scheme.eq_ignore_ascii_case(scheme))
    }
}

/// Host and port, the host without a port where there is none.
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

/// A port as browsers write it: without sign, and without zeros before it.
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
