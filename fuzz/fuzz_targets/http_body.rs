//! Request bodies: whatever the cuts between reads, the same bytes and the same end; and what a
//! plain reader of chunks reads.
#![no_main]

use corecast::http::body::{Body, Framing};
use corecast::limits;
use corecast_fuzz::choices::Choices;
use libfuzzer_sys::fuzz_target;

/// The body, whether it is whole, and how many bytes of the input it took.
fn read(
    framing: Framing,
    wire: &[u8],
    mut cut: impl FnMut() -> usize,
) -> Result<(Vec<u8>, bool, usize), String> {
    let mut body = Body::new(framing).map_err(|error| format!("{error:?}"))?;
    let mut at = 0;
    while at < wire.len() && !body.is_whole() {
        let end = wire.len().min(at + cut().max(1));
        let taken = body.read(&wire[at..end]).map_err(|error| format!("{error:?}"))?;
        assert!(taken <= end - at);
        assert!(taken == end - at || body.is_whole(), "what is left is the next request's");
        at += taken;
        assert!(body.bytes().len() <= limits::HTTP_BODY_BYTES);
        assert!(body.bytes().len() <= at, "a body is no longer than what came");
    }
    Ok((body.bytes().to_vec(), body.is_whole(), at))
}

/// A plain reader of well-formed chunks without trailers; none where it is not sure.
fn chunks(mut wire: &[u8]) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let end = wire.windows(2).position(|pair| pair == b"\r\n")?;
        let size = std::str::from_utf8(&wire[..end]).ok()?;
        let plain =
            !size.is_empty() && size.len() <= 8 && size.bytes().all(|c| c.is_ascii_hexdigit());
        let size = plain.then(|| usize::from_str_radix(size, 16).ok())??;
        wire = &wire[end + 2..];
        if size == 0 {
            return wire.starts_with(b"\r\n").then_some(data);
        }
        let piece = wire.get(..size)?;
        data.extend_from_slice(piece);
        wire = wire[size..].strip_prefix(b"\r\n")?;
    }
}

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices::new(input);
    let framing = match choices.below(4) {
        0 => Framing::None,
        1 => Framing::Length(u64::from(choices.byte())),
        2 => Framing::Length(u64::from(choices.byte()) << (choices.byte() % 64)),
        _ => Framing::Chunked,
    };
    let cuts = choices.bytes();
    let wire = choices.rest();
    let whole = read(framing, wire, || wire.len());
    let mut at = 0;
    let cut = read(framing, wire, || {
        at += 1;
        cuts.get((at - 1) % cuts.len().max(1)).map_or(1, |cut| usize::from(*cut % 16))
    });
    assert_eq!(whole, cut);
    if framing == Framing::Chunked
        && let Some(data) = chunks(wire)
    {
        let (read, is_whole, _) = whole.expect("a plain body is read");
        assert!(is_whole);
        assert_eq!(read, data);
    }
});
