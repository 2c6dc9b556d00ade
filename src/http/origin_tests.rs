//! Origins against lists: which are admitted, and tricks that must not be.

use super::origin::*;
use proptest::prelude::*;

fn listed(entries: &[&str]) -> Origins {
    let listed = entries.iter().map(|entry| Listed::read(entry).expect(entry)).collect();
    Origins { listed, ..Origins::default() }
}

fn allows(entry: &str, origin: &str) -> bool {
    listed(&[entry]).allow(origin, Some("server.example"))
}

#[test]
fn an_origin_is_compared_in_its_parts() {
    // Entry, origin, and whether it is admitted.
    let table = [
        ("https://a.example:444", "https://a.example:444", true),
        ("https://a.example:444", "https://a.example", false),
        ("https://a.example:444", "http://a.example:444", false),
        ("https://a.example:444", "https://b.a.example:444", false),
        // The default port counts as no port, on either side; that of another scheme does not.
        ("https://a:443", "https://a", true),
        ("https://a", "https://a:443", true),
        ("http://a:80", "http://a", true),
        ("https://a", "https://a:80", false),
        ("http://a", "http://a:443", false),
        ("capacitor://localhost", "capacitor://localhost:443", false),
        // Case does not matter, as in URLs.
        ("https://App.Example", "https://app.example", true),
        ("https://app.example", "HTTPS://APP.example", true),
        // A name with a final dot is another origin.
        ("https://a.example", "https://a.example.", false),
        ("https://a.example.", "https://a.example.", true),
        ("http://[::1]:8000", "http://[::1]:8000", true),
        ("http://[::1]:8000", "http://[::1]", false),
        // Schemes of apps and extensions.
        ("capacitor://localhost", "capacitor://localhost", true),
        ("tauri://localhost", "tauri://localhost", true),
        ("tauri://localhost", "https://localhost", false),
        ("ionic://localhost", "capacitor://localhost", false),
        ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop", true),
        ("chrome-extension://abcdefghijklmnop", "chrome-extension://ponmlkjihgfedcba", false),
        ("chrome-extension://*", "chrome-extension://ponmlkjihgfedcba", true),
        ("file://", "file://", true),
        ("file://", "file:///", false),
        ("http://localhost:*", "http://localhost:5173", true),
        ("http://localhost:*", "http://localhost", true),
        ("http://localhost:*", "https://localhost:5173", false),
        ("http://localhost:*", "http://localhost:5173.evil.com", false),
    ];
    for (entry, origin, allowed) in table {
        assert_eq!(allows(entry, origin), allowed, "{entry} {origin}");
    }
}

#[test]
fn a_pattern_stands_for_subdomains_alone() {
    let table = [
        ("https://*.example.com", "https://a.example.com", true),
        ("https://*.example.com", "https://a.b.example.com", true),
        ("https://*.example.com", "https://A.EXAMPLE.com:443", true),
        ("https://*.example.com:8443", "https://a.example.com:8443", true),
        ("https://*.example.com:*", "https://a.example.com:1", true),
        ("https://app-*.example.com", "https://app-7f3.example.com", true),
        ("https://*-team.example.com", "https://a-team.example.com", true),
        ("https://app-*.example.com", "https://app-.example.com", false),
        ("https://app-*.example.com", "https://app-a.b.example.com", false),
        ("https://app-*.example.com", "https://app.example.com", false),
    ];
    for (entry, origin, allowed) in table {
        assert_eq!(allows(entry, origin), allowed, "{entry} {origin}");
    }
    for origin in [
        "https://example.com",
        "https://.example.com",
        "https://..example.com",
        "https://a..example.com",
        "https://evilexample.com",
        "https://a.example.com.evil.com",
        "https://a.example.community",
        "https://evil.com/.example.com",
        "https://evil.com?.example.com",
        "https://evil.com#.example.com",
        "https://evil.com\\.example.com",
        "https://evil.com@a.example.com",
        "https://a.example.com@evil.com",
        "https://evil.com:443@a.example.com",
        "https://evil.com:a.example.com",
        "https://evil.com:443.example.com",
        "https://a.example.com:",
        "https://a.example.com:0443",
        "https://a.example.com:+443",
        "https://a.example.com:65979",
        "https://a.example.com:8443",
        "https://a.example.com.",
        "https://a.example.com/",
        "http://a.example.com",
        "https:/a.example.com",
        "https:a.example.com",
        "//a.example.com",
        " https://a.example.com",
        "https://a.example.com ",
        "https://evil.com .example.com",
        "https://evil.com,https://a.example.com",
        "https://evil.com https://a.example.com",
        "https://evil.com%2f.example.com",
        "https://evil.com\0.example.com",
        "https://a。example.com",
        "https://а.example.com",
        "https://*.example.com",
        "https://[::1].example.com",
        "https://[::1",
        "https://::1]",
        "null",
        "*",
        "",
    ] {
        assert!(!allows("https://*.example.com", origin), "{origin:?}");
    }
}

#[test]
fn null_and_everybody_are_let_in_where_they_are_listed() {
    for origin in ["null", "NULL", "", "https://a.example", "nonsense", "https://a/b"] {
        assert!(allows("*", origin), "{origin}");
        assert_eq!(allows("null", origin), origin == "null", "{origin}");
        assert!(!allows("https://*", "null") && !allows("file://", "null"));
    }
    assert!(allows("https://*", "https://a.b.example") && !allows("https://*", "http://a"));
}

#[test]
fn what_cannot_be_listed_is_told_apart() {
    use ListedError::{Host, Path, Port, Scheme, Star, Unicode, User};
    let table = [
        ("", Scheme),
        ("a.example", Scheme),
        ("*.example.com", Scheme),
        ("localhost:3000", Scheme),
        ("://a", Scheme),
        ("1a://a", Scheme),
        ("*://a.example", Scheme),
        ("Null", Scheme),
        ("https://a.example/", Path),
        ("https://a.example/chat", Path),
        ("https://a.example?x", Path),
        ("file:///", Path),
        ("https://me@a.example", User),
        ("https://bücher.example", Unicode),
        ("https://", Host),
        ("https://:443", Host),
        ("file://:80", Host),
        ("https://.example.com", Host),
        ("https://a b", Host),
        ("https://a.example, https://b.example", Path),
        ("https://[::1", Host),
        ("https://[a.example]", Host),
        ("https://**.example.com", Star),
        ("https://a.*.example.com", Star),
        ("https://example.*", Star),
        ("https://*a*.example.com", Star),
        ("https://192.168.1.*", Star),
        ("https://a:", Port),
        ("https://a:x", Port),
        ("https://a:65536", Port),
        ("https://a:8*", Port),
        ("https://a:80:*", Port),
    ];
    for (entry, error) in table {
        assert_eq!(Listed::read(entry), Err(error), "{entry}");
    }
}

#[test]
fn loopback_is_only_loopback() {
    let dev = Origins { loopback: true, ..Origins::default() };
    let allowed = |origin: &str| dev.allow(origin, Some("server.example"));
    for own in
        ["http://localhost", "http://localhost:5173", "http://127.0.0.1:8000", "http://[::1]:1"]
    {
        assert!(allowed(own) && !Origins::default().allow(own, None), "{own}");
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
        assert!(!allowed(foreign), "{foreign}");
    }
}

#[test]
fn a_page_is_our_own_where_it_was_asked_for_here() {
    let dev = Origins { own: true, ..Origins::default() };
    let table = [
        ("http://192.168.1.5:8000", "192.168.1.5:8000", true),
        ("http://box.local:8000", "BOX.local:8000", true),
        ("http://box", "box:80", true),
        ("https://box.example", "box.example", true),
        ("https://box.example", "box.example:443", true),
        ("http://[fe80::1]:8000", "[fe80::1]:8000", true),
        ("http://box:8000", "box", false),
        ("http://box", "box:8000", false),
        ("https://box:80", "box", false),
        ("http://evil.example:8000", "192.168.1.5:8000", false),
        ("http://192.168.1.5:8000.evil.example", "192.168.1.5:8000", false),
        ("http://192.168.1.5:8000", "evil@192.168.1.5:8000", false),
        ("http://192.168.1.5:8000", "192.168.1.5:8000, x", false),
        ("capacitor://localhost", "localhost", false),
        ("null", "null", false),
        ("file://", "", false),
        ("http://", "", false),
    ];
    for (origin, host, own) in table {
        assert_eq!(dev.allow(origin, Some(host)), own, "{origin} {host}");
        assert!(!dev.allow(origin, None) && !Origins::default().allow(origin, Some(host)));
    }
}

proptest! {
    /// Whatever surrounds a listed name: only its subdomains are admitted.
    #[test]
    fn no_text_around_a_listed_name_gets_in(
        before in "[a-zA-Z0-9.:/@\\\\?#\\[\\]*%_ -]{0,12}",
        after in "[a-zA-Z0-9.:/@\\\\?#\\[\\]*%_ -]{0,12}",
    ) {
        let origin = format!("https://{before}example.com{after}");
        let labels = before.strip_suffix('.').is_some_and(|labels| {
            labels.split('.').all(|label| {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
                !label.is_empty() && label.bytes().all(plain)
            })
        });
        let expected = labels && (after.is_empty() || after == ":443");
        prop_assert_eq!(allows("https://*.example.com", &origin), expected, "{}", origin);
    }
}
