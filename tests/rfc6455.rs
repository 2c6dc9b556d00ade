//! RFC 6455 against slow references: valid input, cut anywhere, gives the messages of the
//! definition, and invalid input gives the first violation.

use corecast::ws::deframer::{Deframer, Item, MessageLimits, Violation};
use corecast::ws::frame::{self, OpCode};
use corecast::ws::{mask::unmask, utf8::Utf8State};
use proptest::collection::vec;
use proptest::prelude::*;

const LIMITS: MessageLimits = MessageLimits { message_bytes: 700, fragments_per_message: 3 };

/// What a receiver sees.
#[derive(Clone, Debug, PartialEq)]
enum Event {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>, Vec<u8>),
    Violated(Violation),
}

impl Event {
    fn is_last(&self) -> bool {
        matches!(self, Event::Close(..) | Event::Violated(_))
    }
}

/// Feeds a deframer as a connection does: a spill, and pieces as they arrive.
fn receive<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Event> {
    let (mut deframer, mut spill, mut events) = (Deframer::default(), Vec::new(), Vec::new());
    let mut received = 0;
    for piece in pieces {
        spill.extend_from_slice(piece);
        received += piece.len();
        loop {
            let next = match deframer.next(&mut spill, LIMITS) {
                Ok(next) => next,
                Err(violation) => {
                    events.push(Event::Violated(violation));
                    return events;
                }
            };
            let (consumed, more) = (next.consumed, next.item.is_some());
            events.extend(next.item.map(|item| match item {
                Item::Text(text) => Event::Text(text.to_vec()),
                Item::Binary(bytes) => Event::Binary(bytes.to_vec()),
                Item::Ping(payload) => Event::Ping(payload.to_vec()),
                Item::Pong => Event::Pong,
                Item::Close { code, reason } => Event::Close(code, reason.to_vec()),
            }));
            spill.drain(..consumed);
            assert!(
                deframer.held_bytes() <= (2 * received).max(8),
                "memory without received bytes"
            );
            if events.last().is_some_and(Event::is_last) {
                return events;
            }
            if !more {
                break;
            }
        }
    }
    events
}

/// Cuts a stream into pieces at the given places.
fn pieces<'a>(stream: &'a [u8], cuts: &[usize]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    places.extend([0, stream.len()]);
    places.sort_unstable();
    let ranges: Vec<_> = places.windows(2).map(|pair| pair[0]..pair[1]).collect();
    ranges.into_iter().map(move |range| &stream[range])
}

/// The reference: the sections' rules one after another, octet by octet, on the whole stream.
struct Reference<'a> {
    rest: &'a [u8],
    message: Option<(bool, Vec<u8>)>,
    frames: u64,
    events: Vec<Event>,
}

impl Reference<'_> {
    fn read(stream: &[u8]) -> Vec<Event> {
        let mut reference =
            Reference { rest: stream, message: None, frames: 0, events: Vec::new() };
        loop {
            match reference.frame() {
                Ok(Some(())) if !reference.events.last().is_some_and(Event::is_last) => {}
                Ok(_) => return reference.events,
                Err(violation) => {
                    reference.events.push(Event::Violated(violation));
                    return reference.events;
                }
            }
        }
    }

    fn octet(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn octets(&mut self, count: u32) -> Option<u64> {
        (0..count).try_fold(0, |sum, _| Some(sum << 8 | u64::from(self.octet()?)))
    }

    /// One frame; `None` if the stream ends inside it.
    fn frame(&mut self) -> Result<Option<()>, Violation> {
        let Some(first) = self.octet() else { return Ok(None) };
        let (fin, opcode) = (first >= 0x80, first & 0xf);
        let control = opcode >= 8;
        check(first & 0x70 == 0, Violation::ReservedBits)?;
        check(matches!(opcode, 0..=2 | 8..=10), Violation::ReservedOpCode)?;
        check(!control || fin, Violation::FragmentedControl)?;
        let Some(second) = self.octet() else { return Ok(None) };
        check(second >= 0x80, Violation::Unmasked)?;
        check(!control || second & 0x7f <= 125, Violation::LongControl)?;
        let (length, least) = match second & 0x7f {
            126 => (self.octets(2), 126),
            127 => (self.octets(8), 65_536),
            short => (Some(u64::from(short)), 0),
        };
        let Some(length) = length else { return Ok(None) };
        check(length < 1 << 63, Violation::LengthTooLarge)?;
        check(length >= least, Violation::LengthNotMinimal)?;
        let Some(key) = self.octets(4) else { return Ok(None) };
        let key = (key as u32).to_be_bytes();
        let mut payload = Vec::new();
        if !control {
            self.may_follow(opcode, length)?;
        }
        while (payload.len() as u64) < length {
            let Some(octet) = self.octet() else { break };
            payload.push(octet ^ key[payload.len() % 4]);
        }
        let whole = payload.len() as u64 == length;
        if control {
            return if whole { self.control(opcode, payload).map(Some) } else { Ok(None) };
        }
        self.data(opcode, fin, whole, payload)
    }

    fn may_follow(&self, opcode: u8, length: u64) -> Result<(), Violation> {
        check(self.message.is_some() || opcode != 0, Violation::StrayContinuation)?;
        check(self.message.is_none() || opcode == 0, Violation::InterleavedMessage)?;
        let bytes = self.message.as_ref().map_or(0, |(_, bytes)| bytes.len() as u64) + length;
        check(bytes <= u64::from(LIMITS.message_bytes), Violation::MessageTooBig)?;
        let bound = u64::from(LIMITS.fragments_per_message) + bytes / 16;
        check(opcode != 0 || self.frames < bound, Violation::TooManyFragments)
    }

    fn control(&mut self, opcode: u8, payload: Vec<u8>) -> Result<(), Violation> {
        self.events.push(match opcode {
            9 => Event::Ping(payload),
            10 => Event::Pong,
            _ if payload.is_empty() => Event::Close(None, Vec::new()),
            _ => {
                check(payload.len() >= 2, Violation::CloseBody)?;
                let code = u16::from(payload[0]) << 8 | u16::from(payload[1]);
                let allowed = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011];
                let registered = [1012, 1013, 1014];
                let sendable = allowed.contains(&code)
                    || registered.contains(&code)
                    || (3000..5000).contains(&code);
                check(sendable, Violation::CloseCode)?;
                let reason = payload[2..].to_vec();
                check(std::str::from_utf8(&reason).is_ok(), Violation::CloseReason)?;
                Event::Close(Some(code), reason)
            }
        });
        Ok(())
    }

    fn data(
        &mut self,
        opcode: u8,
        fin: bool,
        whole: bool,
        payload: Vec<u8>,
    ) -> Result<Option<()>, Violation> {
        let (text, mut bytes) = self.message.take().unwrap_or((opcode == 1, Vec::new()));
        bytes.extend(payload);
        let last = whole && fin;
        let verdict = std::str::from_utf8(&bytes);
        let valid = verdict.map_or_else(|error| !last && error.error_len().is_none(), |_| true);
        check(!text || valid, Violation::BadUtf8)?;
        if last {
            self.events.push(if text { Event::Text(bytes) } else { Event::Binary(bytes) });
            self.frames = 0;
            return Ok(Some(()));
        }
        self.frames += 1;
        self.message = Some((text, bytes));
        Ok(whole.then_some(()))
    }
}

fn check(holds: bool, violation: Violation) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(violation) }
}

/// Text with adjacent characters of every width, and sometimes invalid bytes.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let character = prop_oneof![
        12 => "[a-z\u{e9}\u{20ac}\u{1f600}]".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 1..3),
    ];
    vec(character, 0..24).prop_map(|characters| characters.concat())
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => text(), 1 => vec(any::<u8>(), 0..130), 1 => vec(Just(b'x'), 120..400)]
}

/// A message in as many fragments, with a control frame between them.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![Just(OpCode::Text), Just(OpCode::Binary)];
    let between = prop_oneof![
        4 => Just(None),
        1 => vec(any::<u8>(), 0..126).prop_map(|payload| Some((OpCode::Ping, payload))),
        1 => Just(Some((OpCode::Pong, Vec::new()))),
    ];
    (opcode, vec((payload(), any::<[u8; 4]>(), between), 1..4)).prop_map(|(opcode, fragments)| {
        let mut stream = Vec::new();
        let last = fragments.len() - 1;
        for (i, (payload, key, between)) in fragments.into_iter().enumerate() {
            if let Some((control, payload)) = between {
                frame::write_masked(&mut stream, control, true, key, &payload);
            }
            let opcode = if i == 0 { opcode } else { OpCode::Continuation };
            frame::write_masked(&mut stream, opcode, i == last, key, &payload);
        }
        stream
    })
}

/// A frame whose header is valid most of the time.
fn loose_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        4 => prop_oneof![Just(0x81), Just(0x82), Just(0x01), Just(0x02), Just(0x00), Just(0x80)],
        2 => prop_oneof![Just(0x89), Just(0x8a), Just(0x88)],
        1 => any::<u8>(),
    ];
    let close = prop_oneof![Just(1000), Just(3500), 990..1020u16, any::<u16>()];
    (first, payload(), close, any::<[u8; 4]>(), 0..40u8).prop_map(
        |(first, mut payload, code, key, twist)| {
            if first & 0xf == 8 && payload.len() > 1 {
                payload[..2].copy_from_slice(&code.to_be_bytes());
            }
            if first & 0x8 != 0 {
                payload.truncate(125);
            }
            let mut stream = Vec::new();
            frame::write_masked(&mut stream, OpCode::Text, true, key, &payload);
            stream[0] = first;
            match twist {
                0 => stream[1] &= 0x7f,
                1 => stream[1] = 0xfe,
                2 => stream[1] = 0xff,
                3 => stream.truncate(3),
                _ => {}
            }
            stream
        },
    )
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![Just(Vec::new()), vec(any::<usize>(), 0..12), Just((0..5_000).collect())]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn messages_cut_anywhere_are_those_of_the_definition(
        messages in vec(message(), 1..5),
        cuts in cuts(),
    ) {
        let stream = messages.concat();
        prop_assert_eq!(receive(pieces(&stream, &cuts)), Reference::read(&stream));
    }

    #[test]
    fn loose_frames_give_the_violation_that_comes_first(
        frames in vec(loose_frame(), 1..8),
        cuts in cuts(),
    ) {
        let stream = frames.concat();
        prop_assert_eq!(receive(pieces(&stream, &cuts)), Reference::read(&stream));
    }

    #[test]
    fn garbage_is_judged_as_by_the_definition(stream in vec(any::<u8>(), 0..300), cuts in cuts()) {
        prop_assert_eq!(receive(pieces(&stream, &cuts)), Reference::read(&stream));
    }

    #[test]
    fn unmasking_in_pieces_is_the_definition(
        bytes in vec(any::<u8>(), 0..400),
        key: [u8; 4],
        cuts in cuts(),
    ) {
        let mut wide = Vec::new();
        for piece in pieces(&bytes, &cuts) {
            let at = wide.len();
            wide.extend_from_slice(piece);
            unmask(&mut wide[at..], key, at);
        }
        let naive: Vec<u8> = bytes.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
        prop_assert_eq!(wide, naive);
    }

    #[test]
    fn text_in_pieces_has_the_verdict_of_std(text in text(), cuts in cuts()) {
        let mut state = Utf8State::default();
        let mut seen = 0;
        for piece in pieces(&text, &cuts) {
            seen += piece.len();
            let possible = std::str::from_utf8(&text[..seen])
                .map_or_else(|error| error.error_len().is_none(), |_| true);
            prop_assert_eq!(state.push(piece), possible);
            if !possible {
                return Ok(());
            }
        }
        prop_assert_eq!(state.finish(b""), std::str::from_utf8(&text).is_ok());
    }

    #[test]
    fn frames_written_are_walked_by_their_lengths(
        payloads in vec((vec(any::<u8>(), 0..300), any::<bool>()), 0..6),
    ) {
        let mut out = Vec::new();
        let mut ends = Vec::new();
        for (payload, begun) in &payloads {
            if *begun {
                let mark = frame::begin(&mut out, OpCode::Binary);
                out.extend_from_slice(payload);
                frame::finish(&mut out, mark);
            } else {
                frame::write(&mut out, OpCode::Binary, payload);
            }
            prop_assert!(out.ends_with(payload));
            ends.push(out.len());
        }
        let mut at = 0;
        let walked: Vec<usize> = std::iter::from_fn(|| {
            at += frame::frame_len(&out[at..])?;
            Some(at)
        })
        .collect();
        prop_assert_eq!(walked, ends);
    }
}
