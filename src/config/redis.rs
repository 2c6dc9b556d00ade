//! `engine` and `[redis]`: where the order of channels is decided, and how that store is reached.
//! Pure text: no name is resolved.

use super::check::Rules;
use super::raw::RawRedis;
use super::{EngineChoice, ReadyChoice, Secret};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::path::PathBuf;

/// Redis' own port.
const PORT: u16 = 6379;
/// Databases are numbered below this by every server's default; more can be configured.
const DATABASES_MAX: u32 = 1 << 20;
/// Longest prefix of keys, in bytes: every command and every copy of a publication carries it.
const PREFIX_BYTES: usize = 32;

/// The message for an invalid URL.
const RULE: &str = "must be a URL such as \"redis://127.0.0.1:6379\", \
                    \"rediss://user:password@redis.example:6379/0\" (with TLS) or \
                    \"unix:///run/redis/redis.sock\"";

/// The Redis of `engine = "redis"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    pub server: RedisServer,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub database: u32,
    /// Before the names of all keys and channels.
    pub prefix: String,
    pub ready: ReadyChoice,
    pub tls: Option<RedisTls>,
}

/// TLS to a Redis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisTls {
    /// Certificates of those who are believed, as PEM text; "" for those whom the system believes.
    pub authorities: String,
}

/// Where a Redis listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisServer {
    Tcp {
        host: String,
        port: u16,
    },
    /// The path of a socket file.
    Unix(PathBuf),
}

impl std::fmt::Display for RedisServer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RedisServer::Tcp { host, port } if host.contains(':') => write!(out, "[{host}]:{port}"),
            RedisServer::Tcp { host, port } => write!(out, "{host}:{port}"),
            RedisServer::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

impl Rules {
    /// The Redis to use; `None` with `engine = "memory"`.
    pub(super) fn redis(&mut self, engine: EngineChoice, raw: &RawRedis) -> Option<Redis> {
        let prefix_is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if raw.prefix.is_empty()
            || raw.prefix.len() > PREFIX_BYTES
            || !raw.prefix.bytes().all(prefix_is_plain)
        {
            self.wrong(
                "redis.prefix",
                "must be 1 to 32 letters, digits, \"_\", \"-\" or \".\": it is the beginning of \
                 every key",
            );
        }
        if raw.url.is_empty() && engine == EngineChoice::Memory {
            return None;
        }
        let read = match read(&raw.url) {
            Ok(mut redis) => {
                let authorities = self.file_of_keys("redis.tls_ca_file", &raw.tls_ca_file);
                let authorities = authorities.as_str();
                if !authorities.is_empty() && !is_of_certificates(authorities) {
                    self.wrong("redis.tls_ca_file", "has to be certificates in PEM, and no others");
                }
                match &mut redis.tls {
                    Some(tls) => tls.authorities = authorities.into(),
                    None if !raw.tls_ca_file.is_empty() => self.relation(
                        "redis.tls_ca_file, redis.url",
                        "a file of authorities is for TLS: write \"rediss://\" in redis.url",
                    ),
                    None => {}
                }
                Redis { prefix: raw.prefix.clone(), ready: raw.ready, ..redis }
            }
            Err(rule) => {
                // The value may hold a password, so it is not shown.
                self.relation("redis.url", rule);
                return None;
            }
        };
        match engine {
            EngineChoice::Redis => Some(read),
            EngineChoice::Memory => {
                self.merged.warnings.push(
                    "redis.url is set, but engine = \"memory\": Redis is not used. Set engine = \
                     \"redis\" to use it"
                        .into(),
                );
                None
            }
        }
    }
}

/// Reads a URL: `redis[s]://[user[:password]@]host[:port][/database]` or `unix:///path[?db=N]`.
fn read(url: &str) -> Result<Redis, &'static str> {
    if let Some(path) = url.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        if !path.starts_with('/') || path.contains('\0') {
            return Err(RULE);
        }
        let number = query.strip_prefix("db=").unwrap_or(query);
        let server = RedisServer::Unix(path.into());
        return Ok(Redis { database: database(number)?, ..Redis::at(server) });
    }
    let (rest, tls) = match url.strip_prefix("rediss://") {
        Some(rest) => (rest, Some(RedisTls::default())),
        None => (url.strip_prefix("redis://").ok_or(RULE)?, None),
    };
    let (rest, number) = rest.split_once('/').unwrap_or((rest, ""));
    let (who, place) = match rest.rsplit_once('@') {
        Some((who, place)) => (Some(who), place),
        None => (None, rest),
    };
    let (user, password) = match who.map(|who| who.split_once(':').unwrap_or((who, ""))) {
        Some((user, password)) => (decoded(user)?, decoded(password)?),
        None => (None, None),
    };
    if user.is_some() && password.is_none() {
        return Err("names a user without a password: \"redis://user:password@host\"");
    }
    let (host, port) = host_and_port(place)?;
    let server = RedisServer::Tcp { host: host.to_owned(), port };
    let password = password.map(Secret);
    Ok(Redis { user, password, database: database(number)?, tls, ..Redis::at(server) })
}

fn is_of_certificates(text: &str) -> bool {
    let mut read = CertificateDer::pem_slice_iter(text.as_bytes()).peekable();
    read.peek().is_some() && read.all(|certificate| certificate.is_ok())
}

impl Redis {
    fn at(server: RedisServer) -> Redis {
        Redis {
            server,
            user: None,
            password: None,
            database: 0,
            prefix: String::new(),
            ready: ReadyChoice::Redis,
            tls: None,
        }
    }
}

fn host_and_port(place: &str) -> Result<(&str, u16), &'static str> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(RULE)?;
            (host, port.strip_prefix(':').unwrap_or(port))
        }
        None => place.split_once(':').unwrap_or((place, "")),
    };
    let is_host =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    if host.is_empty() || !host.bytes().all(is_host) {
        return Err(RULE);
    }
    let port = if port.is_empty() { Ok(PORT) } else { port.parse() };
    port.ok().filter(|port| *port > 0).map(|port| (host, port)).ok_or(RULE)
}

fn database(number: &str) -> Result<u32, &'static str> {
    if number.is_empty() {
        return Ok(0);
    }
    let read = number.parse().ok().filter(|number| *number < DATABASES_MAX);
    read.ok_or("names its database by something other than a number")
}

/// A part of a URL with its percent signs resolved; none where it is empty.
fn decoded(part: &str) -> Result<Option<String>, &'static str> {
    const BROKEN: &str = "has a percent sign that no two hexadecimal digits follow: write \"%25\" \
                          for a percent sign in a password";
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err(BROKEN);
        };
        bytes.push(u8::try_from(high << 4 | low).expect("two hexadecimal digits"));
    }
    let text = String::from_utf8(bytes).map_err(|_| "has a user or password that is not UTF-8")?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> RedisServer {
        RedisServer::Tcp { host: host.into(), port }
    }

    #[test]
    fn urls_are_read() {
        let whole = read("redis://me:p%40ss%3Aw@redis.example:6380/3").expect("a whole URL");
        assert_eq!(whole.server, tcp("redis.example", 6380));
        assert_eq!(whole.user.as_deref(), Some("me"));
        assert_eq!(whole.password.as_ref().map(Secret::as_str), Some("p@ss:w"));
        assert_eq!(whole.database, 3);
        let bare = read("redis://127.0.0.1").expect("a host");
        assert_eq!(bare, Redis::at(tcp("127.0.0.1", PORT)));
        let password = read("redis://:secret@[::1]:7000").expect("a password alone");
        assert_eq!((password.server, password.user), (tcp("::1", 7000), None));
        let sealed = read("rediss://redis.example").expect("TLS");
        assert_eq!(sealed.tls, Some(RedisTls::default()));
        let file = read("unix:///run/redis.sock?db=2").expect("a socket file");
        assert_eq!(file.server, RedisServer::Unix("/run/redis.sock".into()));
        assert_eq!(file.database, 2);
    }

    #[test]
    fn what_is_no_url_is_said() {
        for (url, says) in [
            ("", "must be a URL"),
            ("127.0.0.1:6379", "must be a URL"),
            ("redis://", "must be a URL"),
            ("redis://host:port", "must be a URL"),
            ("redis://host:0", "must be a URL"),
            ("redis://[::1", "must be a URL"),
            ("redis://host/first", "database"),
            ("redis://me@host", "without a password"),
            ("redis://:50%@host", "percent sign"),
            ("rediss:host", "must be a URL"),
            ("unix:redis.sock", "must be a URL"),
        ] {
            let error = read(url).expect_err(url);
            assert!(error.contains(says), "{url}: {error}");
        }
    }
}
