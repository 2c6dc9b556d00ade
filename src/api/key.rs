//! The key of the server API, compared in constant time. Must not know calls.

/// May this call be made? `key` is the configured key; `open` says whether calls need no key if
/// none is set (`--dev`); then the values of `X-API-Key` and `Authorization`. The key may be in
/// either.
#[must_use]
pub fn authorized(
    key: Option<&[u8]>,
    open: bool,
    x_api_key: Option<&[u8]>,
    authorization: Option<&[u8]>,
) -> bool {
    let Some(key) = key else {
        return open;
    };
    let after_scheme = authorization.and_then(|value| {
        let (scheme, rest) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"apikey ").then(|| rest.trim_ascii())
    });
    [x_api_key, after_scheme].into_iter().flatten().any(|given| same(given, key))
}

/// Compares in a time that reveals only the length.
fn same(given: &[u8], key: &[u8]) -> bool {
    let difference = given.iter().zip(key).fold(0, |all, (a, b)| all | std::hint::black_box(a ^ b));
    given.len() == key.len() && std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_opens_and_nothing_else() {
        let key = Some(b"secret".as_slice());
        let header = |value: &'static str| Some(value.as_bytes());
        let cases = [
            (key, header("secret"), None, true),
            (key, None, header("apikey secret"), true),
            (key, None, header("ApiKey  secret"), true),
            (key, header("wrong"), header("apikey secret"), true),
            (key, None, None, false),
            (key, header(""), header("apikey "), false),
            (key, header("secre"), None, false),
            (key, header("secrets"), None, false),
            (key, header("Secret"), None, false),
            (key, None, header("Bearer secret"), false),
            (key, None, header("secret"), false),
            (None, header("secret"), None, false),
            (None, header(""), None, false),
        ];
        for (index, (key, x_api_key, authorization, allowed)) in cases.into_iter().enumerate() {
            assert_eq!(authorized(key, false, x_api_key, authorization), allowed, "case {index}");
        }
        assert!(authorized(None, true, None, None));
        assert!(!authorized(key, true, None, None), "a key that is set is asked for");
    }
}
