//! The token in an upgrade request: in the header `Authorization: Bearer`, or in a cookie.
//!
//! Must not know what tokens say. A browser sends cookies for requests of any page; the check of
//! the origin, made at every upgrade, keeps other pages out.

/// The token of an upgrade; the header takes precedence over the cookie named `cookie`.
#[must_use]
pub fn token<'a>(headers: &[(&'a str, &'a [u8])], cookie: Option<&str>) -> Option<&'a str> {
    let all = |wanted: &'static str| {
        let named = headers.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(wanted));
        named.map(|(_, value)| *value)
    };
    let of_cookie =
        || cookie.and_then(|cookie| all("Cookie").find_map(|it| find_cookie(it, cookie)));
    all("Authorization").find_map(bearer).or_else(of_cookie)
}

/// The token of `Bearer TOKEN` (RFC 6750 section 2.1).
fn bearer(value: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(value).ok()?.trim().split_once(' ')?;
    let token = token.trim_start();
    (scheme.eq_ignore_ascii_case("Bearer") && !token.is_empty()).then_some(token)
}

/// The value of a cookie in `a=1; b=2` (RFC 6265 section 4.2), without quotes.
fn find_cookie<'a>(value: &'a [u8], wanted: &str) -> Option<&'a str> {
    let pairs = std::str::from_utf8(value).ok()?.split(';');
    let value = pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == wanted).then_some(value))?;
    let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let value = unquoted.unwrap_or(value);
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Headers = &'static [(&'static str, &'static str)];

    #[test]
    fn the_header_goes_before_the_cookie() {
        let table: [(Headers, Option<&str>); 11] = [
            (&[], None),
            (&[("Authorization", "Bearer a.b.c")], Some("a.b.c")),
            (&[("authorization", "bearer  a.b.c ")], Some("a.b.c")),
            (&[("Authorization", "Bearer ")], None),
            (&[("Authorization", "Basic a.b.c")], None),
            (&[("Cookie", "x=1; session=a.b.c; y=2")], Some("a.b.c")),
            (&[("Cookie", "session=\"a.b.c\"")], Some("a.b.c")),
            (&[("Cookie", "x=1"), ("cookie", "session=a.b.c")], Some("a.b.c")),
            (&[("Cookie", "Session=a.b.c; xsession=d; session=")], None),
            (&[("Cookie", "session=c"), ("Authorization", "Bearer h")], Some("h")),
            (&[("Cookie", "session=c"), ("Authorization", "Basic h")], Some("c")),
        ];
        for (headers, expected) in table {
            let bytes: Vec<(&str, &[u8])> =
                headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
            assert_eq!(token(&bytes, Some("session")), expected, "{headers:?}");
            let header_only = expected.filter(|_| headers.iter().any(|it| it.1.contains("earer")));
            assert_eq!(token(&bytes, None), header_only, "{headers:?}");
        }
        let garbage = [("Cookie", b"session=\xff".as_slice()), ("Authorization", b"Bearer \xff")];
        assert_eq!(token(&garbage, Some("session")), None);
    }
}
