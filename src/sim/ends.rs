//! A client's end of the wire below HTTP: plain, or `record`'s other side, by code that shares
//! nothing with the server's. It keeps the handshake and numbers every record, and it may sin.
//!
//! Must not know what the bytes mean. Invariant: what a server's transport sends that is not
//! exactly what is due is `Corrupt`.

use super::dialect::Corrupt;
use super::random::Random;

/// What a client does to its transport on purpose. Its server ends the connection for it, and no
/// other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sin {
    /// Its hello is none.
    BadHello,
    /// It speaks HTTP to a listener that wants a handshake.
    NoHello,
    /// Its proof is of another secret.
    BadProof,
    /// It never sends its proof; nor all of its hello.
    Silence,
    /// A record that opens with another key.
    BadRecord,
    /// An alert.
    Alert,
    /// A goodbye, although it would still like to be served.
    Goodbye,
}

impl Sin {
    const EARLY: [Sin; 4] = [Sin::BadHello, Sin::NoHello, Sin::BadProof, Sin::Silence];
    const LATE: [Sin; 3] = [Sin::BadRecord, Sin::Alert, Sin::Goodbye];

    /// The cause under which its server counts it; none for what is no failure.
    #[must_use]
    pub fn cause(self) -> Option<&'static str> {
        match self {
            Sin::BadHello | Sin::NoHello | Sin::BadProof | Sin::Silence => {
                Some("transport_handshake")
            }
            Sin::BadRecord => Some("transport_record"),
            Sin::Alert => Some("transport_alert"),
            Sin::Goodbye => None,
        }
    }

    /// Is it answered with an alert?
    fn is_alerted(self) -> bool {
        matches!(self, Sin::BadHello | Sin::NoHello | Sin::BadProof | Sin::BadRecord)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Answer,
    Done,
    Open,
    /// An alert came, or the server's goodbye: nothing may follow.
    Over,
}

/// One client's end of one connection.
#[derive(Debug, Default)]
pub struct Ends {
    /// None: plain.
    sealed: Option<Sealed>,
}

#[derive(Debug)]
struct Sealed {
    stage: Stage,
    record_bytes: usize,
    nonce: u64,
    secret: u64,
    server_nonce: u64,
    partial: Vec<u8>,
    /// What is to be sent once the handshake is done.
    queued: Vec<u8>,
    sent: u32,
    came: u32,
    sin: Option<Sin>,
    alerted: bool,
}

impl Ends {
    /// An end of a connection with records of so many bytes; it commits the sin, one of a
    /// handshake, as soon as it can.
    pub fn sealed(record_bytes: usize, sins: bool, random: &mut Random) -> Ends {
        let sin = sins.then(|| random.pick(&Sin::EARLY));
        Ends {
            sealed: Some(Sealed {
                stage: Stage::Answer,
                record_bytes,
                nonce: random.word(),
                secret: 0,
                server_nonce: 0,
                partial: Vec::new(),
                queued: Vec::new(),
                sent: 0,
                came: 0,
                sin,
                alerted: false,
            }),
        }
    }

    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.sealed.is_some()
    }

    #[must_use]
    pub fn is_open(&self) -> bool {
        self.sealed.as_ref().is_some_and(|it| it.stage == Stage::Open)
    }

    /// What it has sinned, or will.
    #[must_use]
    pub fn sin(&self) -> Option<Sin> {
        self.sealed.as_ref()?.sin
    }

    /// Was it told by an alert what it did?
    #[must_use]
    pub fn is_alerted(&self) -> bool {
        self.sealed.as_ref().is_some_and(|it| it.alerted)
    }

    /// Was it not told although it had to be, by the time that its server sent its FIN?
    #[must_use]
    pub fn misses_an_alert(&self) -> bool {
        let Some(sealed) = &self.sealed else { return false };
        sealed.sin.is_some_and(Sin::is_alerted) && !sealed.alerted && sealed.stage != Stage::Over
    }

    /// The first bytes that it sends.
    pub fn begin(&mut self) -> Vec<u8> {
        let Some(it) = &mut self.sealed else { return Vec::new() };
        match it.sin {
            Some(Sin::NoHello) => return b"GET /connection/websocket HTTP/1.1\r\n\r\n".to_vec(),
            Some(Sin::BadHello) => return vec![1, 0, 8, 0xA5, 1, 2, 3],
            _ => {}
        }
        let mut hello = vec![1, 0, 8, 0xA4];
        hello.extend_from_slice(&it.nonce.to_be_bytes());
        if it.sin == Some(Sin::Silence) && it.nonce.is_multiple_of(2) {
            hello.truncate(4 + (it.nonce % 8) as usize);
        }
        hello
    }

    /// What goes over the wire for plain bytes; what may not go yet is queued.
    pub fn send(&mut self, plain: &[u8]) -> Vec<u8> {
        match &mut self.sealed {
            None => plain.to_vec(),
            Some(it) if it.stage == Stage::Answer || it.stage == Stage::Done => {
                it.queued.extend_from_slice(plain);
                Vec::new()
            }
            Some(it) => it.seal(5, plain),
        }
    }

    /// Takes what came: plain bytes into `plain`, and what is to be sent at once into `back`.
    pub fn take(
        &mut self,
        wire: &[u8],
        plain: &mut Vec<u8>,
        back: &mut Vec<u8>,
    ) -> Result<(), Corrupt> {
        let Some(it) = &mut self.sealed else {
            plain.extend_from_slice(wire);
            return Ok(());
        };
        it.partial.extend_from_slice(wire);
        let came = std::mem::take(&mut it.partial);
        let mut rest = came.as_slice();
        while let Some((&[kind, high, low, check], after)) = rest.split_first_chunk::<4>() {
            let length = usize::from(high) << 8 | usize::from(low);
            let Some((body, after)) = after.split_at_checked(length) else { break };
            it.message(kind, check, body, plain, back)?;
            rest = after;
        }
        it.partial = rest.to_vec();
        Ok(())
    }

    /// Sins now that all is well: what it sends.
    pub fn sin_now(&mut self, random: &mut Random) -> Vec<u8> {
        let Some(it) = &mut self.sealed else { return Vec::new() };
        let sin = random.pick(&Sin::LATE);
        it.sin = Some(sin);
        match sin {
            Sin::Alert => it.seal(8, &[0]),
            Sin::Goodbye => it.seal(7, &[0]),
            _ => {
                let key = it.key(it.sent, false);
                let (kind, check) = random.pick(&[(5, !key), (9, key)]);
                vec![kind, 0, 2, check, 1, 2]
            }
        }
    }
}

impl Sealed {
    fn mix(a: u64, b: u64) -> u64 {
        let first = a.wrapping_mul(11_400_714_819_323_198_485) ^ b.rotate_left(23);
        let folded = first ^ first >> 29;
        folded.wrapping_mul(13_787_848_793_156_543_929)
    }

    fn key(&self, number: u32, from_server: bool) -> u8 {
        let direction = u64::from(from_server);
        (Sealed::mix(self.secret ^ direction, u64::from(number)) >> 56) as u8
    }

    /// A message in records, each of its kind.
    fn seal(&mut self, kind: u8, plain: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        for piece in plain.chunks(self.record_bytes) {
            let key = self.key(self.sent, false);
            self.sent += 1;
            wire.extend_from_slice(&[kind, (piece.len() >> 8) as u8, piece.len() as u8, key]);
            wire.extend(piece.iter().map(|byte| byte ^ key));
        }
        wire
    }

    fn message(
        &mut self,
        kind: u8,
        check: u8,
        body: &[u8],
        plain: &mut Vec<u8>,
        back: &mut Vec<u8>,
    ) -> Result<(), Corrupt> {
        if kind == 8 {
            let due = match self.stage {
                Stage::Open => self.key(self.came, true),
                _ => 0xAD,
            };
            self.alerted = true;
            let before = std::mem::replace(&mut self.stage, Stage::Over);
            let fair = self.sin.is_some_and(Sin::is_alerted) && check == due;
            let fair = fair && before != Stage::Over;
            return if fair { Ok(()) } else { Err(Corrupt("an alert for nothing")) };
        }
        match (self.stage, kind) {
            (Stage::Answer, 2) if check == 0xA7 && body.len() == 8 => {
                self.server_nonce = number(body);
                self.secret = Sealed::mix(self.nonce, self.server_nonce);
                self.prove(back);
                self.stage = Stage::Done;
                Ok(())
            }
            (Stage::Done, 4) if check == 0xA1 && body.len() == 8 => {
                if number(body) != Sealed::mix(self.server_nonce, self.secret) {
                    return Err(Corrupt("the server's proof"));
                }
                self.stage = Stage::Open;
                let queued = std::mem::take(&mut self.queued);
                back.append(&mut self.seal(5, &queued));
                Ok(())
            }
            (Stage::Open, 5..=7) => self.record(kind, check, body, plain),
            _ => Err(Corrupt("a transport's message out of turn")),
        }
    }

    fn prove(&self, back: &mut Vec<u8>) {
        let mut proof = Sealed::mix(self.secret, self.server_nonce);
        match self.sin {
            Some(Sin::Silence) => return,
            Some(Sin::BadProof) => proof ^= 1,
            _ => {}
        }
        back.extend_from_slice(&[3, 0, 8, 0xA6]);
        back.extend_from_slice(&proof.to_be_bytes());
    }

    fn record(
        &mut self,
        kind: u8,
        check: u8,
        body: &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<(), Corrupt> {
        let key = self.key(self.came, true);
        if check != key {
            return Err(Corrupt("a record out of turn"));
        }
        self.came += 1;
        match kind {
            5 => plain.extend(body.iter().map(|byte| byte ^ key)),
            // It says how many records of ours were opened.
            6 => {
                let opened = body.iter().fold(0, |sum, byte| sum << 8 | u32::from(byte ^ key));
                if body.len() != 4 || opened > self.sent {
                    return Err(Corrupt("a ticket"));
                }
            }
            _ => self.stage = Stage::Over,
        }
        Ok(())
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}
