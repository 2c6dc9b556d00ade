//! Commands to bytes: an array of blobs, the only form in which Redis takes them.
//!
//! Must not know commands. Invariant: a command has as many parts as its head says. Nothing is
//! allocated but the room for the bytes themselves.

/// Appends a command whose parts are at hand.
pub fn command(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let mut command = Command::new(out, parts.len());
    for part in parts {
        command.part(part);
    }
}

/// A command that is appended part by part.
#[derive(Debug)]
pub struct Command<'a> {
    out: &'a mut Vec<u8>,
    /// Parts that are still to come.
    left: usize,
}

impl<'a> Command<'a> {
    /// Begins a command of so many parts, its name included.
    ///
    /// # Panics
    /// If there are none: Redis would not answer it.
    pub fn new(out: &'a mut Vec<u8>, parts: usize) -> Command<'a> {
        assert!(parts > 0, "a command has a name");
        head(out, b'*', parts);
        Command { out, left: parts }
    }

    /// Appends the next part.
    pub fn part(&mut self, part: &[u8]) -> &mut Self {
        self.joined(&[part])
    }

    /// Appends the next part, which is in pieces.
    pub fn joined(&mut self, pieces: &[&[u8]]) -> &mut Self {
        debug_assert!(self.left > 0, "more parts than the head says");
        self.left = self.left.saturating_sub(1);
        head(self.out, b'$', pieces.iter().map(|piece| piece.len()).sum());
        for piece in pieces {
            self.out.extend_from_slice(piece);
        }
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Appends a number as the next part.
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.part(Decimal::new(number).as_bytes())
    }
}

impl Drop for Command<'_> {
    fn drop(&mut self) {
        debug_assert!(self.left == 0 || std::thread::panicking(), "{} parts short", self.left);
    }
}

/// Appends the line that says how many parts, or bytes, follow.
fn head(out: &mut Vec<u8>, kind: u8, length: usize) {
    out.push(kind);
    out.extend_from_slice(Decimal::new(length as u64).as_bytes());
    out.extend_from_slice(b"\r\n");
}

const DIGITS: usize = 20;

/// A number's decimal digits, without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    digits: [u8; DIGITS],
    start: usize,
}

impl Decimal {
    #[must_use]
    pub fn new(mut number: u64) -> Decimal {
        let (mut digits, mut start) = ([0; DIGITS], DIGITS);
        loop {
            start -= 1;
            // A remainder of 10 is one digit.
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return Decimal { digits, start };
            }
        }
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_arrays_of_blobs() {
        let mut out = b"before".to_vec();
        command(&mut out, &[b"GET", b"a\r\nb", b""]);
        let mut built = Command::new(&mut out, 4);
        built.part(b"SET").joined(&[b"a", b"", b"bc"]).number(0).number(u64::MAX);
        drop(built);
        let expected = "before*3\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n$0\r\n\r\n\
             *4\r\n$3\r\nSET\r\n$3\r\nabc\r\n$1\r\n0\r\n$20\r\n18446744073709551615\r\n";
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }

    #[test]
    fn numbers_are_written_as_by_the_standard_library() {
        let powers = (0..=19).map(|power| 10_u64.pow(power));
        let around = powers.flat_map(|it| [it - 1, it, it + 1]);
        for number in around.chain([0, u64::MAX - 1, u64::MAX]) {
            assert_eq!(Decimal::new(number).as_bytes(), number.to_string().as_bytes());
        }
    }

    #[test]
    #[should_panic(expected = "1 parts short")]
    fn a_command_that_is_too_short_is_noticed() {
        Command::new(&mut Vec::new(), 2).part(b"GET");
    }
}
