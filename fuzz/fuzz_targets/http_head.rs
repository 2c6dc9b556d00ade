//! Request heads: dripping in or whole, they are read alike, and never in a way that another parser
//! would read otherwise.
#![no_main]

use corecast::http::request::{self, Framing};
use corecast::limits;
use libfuzzer_sys::fuzz_target;

/// Low, so that inputs reach it.
const HEAD_BYTES: usize = 2 << 10;

/// What a head says, for comparison.
fn read(bytes: &[u8], searched: &mut usize) -> Result<Option<(String, usize)>, String> {
    match request::parse(bytes, searched, HEAD_BYTES) {
        Err(error) => {
            assert!(!error.reason().is_empty());
            Err(format!("{error:?}"))
        }
        Ok(None) => Ok(None),
        Ok(Some((head, length))) => {
            assert!(length <= HEAD_BYTES);
            assert!(head.headers().len() <= limits::HTTP_HEADERS);
            assert!(bytes[..length].ends_with(b"\r\n\r\n"));
            assert!(!head.method.is_empty());
            assert_eq!(
                head.has_body(),
                !matches!(head.framing, Framing::None | Framing::Length(0))
            );
            if head.http_1_1 {
                let hosts =
                    head.headers().iter().filter(|(name, _)| name.eq_ignore_ascii_case("host"));
                assert_eq!(hosts.count(), 1, "exactly one Host");
            }
            agrees(&bytes[..length], &head);
            Ok(Some((format!("{head:?}"), length)))
        }
    }
}

/// The length of a body can be read in one way alone.
fn agrees(bytes: &[u8], head: &request::Head<'_>) {
    let mut lines = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut lines);
    assert!(request.parse(bytes).is_ok_and(|status| status.is_complete()));
    let of = |name: &str| {
        let named = request.headers.iter().filter(|line| line.name.eq_ignore_ascii_case(name));
        named.map(|line| line.value).collect::<Vec<_>>()
    };
    let (lengths, codings) = (of("content-length"), of("transfer-encoding"));
    match head.framing {
        Framing::Chunked => assert!(lengths.is_empty() && codings.len() == 1),
        Framing::Length(length) => {
            assert!(codings.is_empty() && lengths.len() == 1);
            let text = std::str::from_utf8(lengths[0]).expect("digits").trim();
            assert!(text.bytes().all(|byte| byte.is_ascii_digit()), "{text}");
            // One that no number holds is over every bound.
            assert_eq!(text.parse().unwrap_or(u64::MAX), length);
        }
        Framing::None => assert!(codings.is_empty() && lengths.is_empty()),
    }
}

fuzz_target!(|input: &[u8]| {
    let whole = read(input, &mut 0);
    let mut searched = 0;
    let mut dripped = Ok(None);
    for end in 1..=input.len() {
        dripped = read(&input[..end], &mut searched);
        if !matches!(dripped, Ok(None)) {
            break;
        }
    }
    match (&whole, &dripped) {
        // Dripping, an error may be seen before another one that comes first in the whole.
        (Err(_), Err(_)) => {}
        _ => assert_eq!(whole, dripped),
    }
});
