//! RESP 3 as a server speaks it: commands are taken, values written. It shares no code with the
//! bridge's.
//!
//! Must not know commands. Invariant: a command is taken once, when all of it has come.

use bytes::Bytes;

/// What came is no command.
#[derive(Debug, PartialEq, Eq)]
pub struct NoCommand;

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Status(&'static str),
    Error(String),
    Number(i64),
    Blob(Bytes),
    /// A text for people.
    Verbatim(String),
    Null,
    List(Vec<Reply>),
    Map(Vec<(Reply, Reply)>),
    Push(Vec<Reply>),
}

impl Reply {
    /// A text as bytes.
    #[must_use]
    pub fn text(text: &str) -> Reply {
        Reply::Blob(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Reply::Status(text) => line(out, '+', text),
            Reply::Error(text) => line(out, '-', text),
            Reply::Number(number) => line(out, ':', number),
            Reply::Null => line(out, '_', ""),
            Reply::Blob(bytes) => {
                line(out, '$', bytes.len());
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
            }
            Reply::Verbatim(text) => {
                line(out, '=', text.len() + 4);
                line(out, 't', format_args!("xt:{text}"));
            }
            Reply::List(parts) => write_all(out, '*', parts),
            Reply::Push(parts) => write_all(out, '>', parts),
            Reply::Map(pairs) => {
                line(out, '%', pairs.len());
                for (key, value) in pairs {
                    key.write(out);
                    value.write(out);
                }
            }
        }
    }
}

fn line(out: &mut Vec<u8>, kind: char, text: impl std::fmt::Display) {
    out.extend_from_slice(format!("{kind}{text}\r\n").as_bytes());
}

fn write_all(out: &mut Vec<u8>, kind: char, parts: &[Reply]) {
    line(out, kind, parts.len());
    parts.iter().for_each(|part| part.write(out));
}

/// Takes the first command out of what has come; `None` while a part of it is missing.
///
/// # Errors
/// It is no list of blobs.
pub fn take_command(input: &mut Vec<u8>) -> Result<Option<Vec<Bytes>>, NoCommand> {
    let mut at = 0;
    let Some(count) = take_head(input, &mut at, b'*')? else { return Ok(None) };
    let mut parts = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        let Some(length) = take_head(input, &mut at, b'$')? else { return Ok(None) };
        let Some(part) = input.get(at..at + length) else { return Ok(None) };
        let Some(end) = input.get(at + length..at + length + 2) else { return Ok(None) };
        if end != b"\r\n" {
            return Err(NoCommand);
        }
        parts.push(Bytes::copy_from_slice(part));
        at += length + 2;
    }
    input.drain(..at);
    Ok(Some(parts))
}

/// Passes over a line of the kind that has a number, and gives that.
fn take_head(input: &[u8], at: &mut usize, kind: u8) -> Result<Option<usize>, NoCommand> {
    let rest = &input[*at..];
    if rest.first().is_some_and(|first| *first != kind) {
        return Err(NoCommand);
    }
    let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
    let digits = std::str::from_utf8(&rest[1..end]).map_err(|_| NoCommand)?;
    *at += end + 2;
    digits.parse().map(Some).map_err(|_| NoCommand)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_taken_when_it_is_whole() {
        let whole = b"*2\r\n$4\r\nPING\r\n$2\r\n\r\n\r\n*1\r\n";
        for cut in 0..whole.len() {
            let mut input = whole[..cut].to_vec();
            let taken = take_command(&mut input).expect("it is one so far");
            assert_eq!(taken.is_some(), cut >= 22, "{cut}");
        }
        let mut input = whole.to_vec();
        let taken = take_command(&mut input).expect("it is one").expect("it is whole");
        assert_eq!((taken, input.as_slice()), (vec!["PING".into(), "\r\n".into()], &whole[22..]));
        for wrong in ["PING\r\n", "*x\r\n", "*1\r\n:1\r\n", "*1\r\n$1\r\nabc"] {
            assert_eq!(take_command(&mut wrong.as_bytes().to_vec()), Err(NoCommand), "{wrong}");
        }
    }

    #[test]
    fn a_value_is_written_as_redis_does() {
        let value = Reply::Push(vec![
            Reply::Map(vec![(Reply::text("a"), Reply::Number(-1))]),
            Reply::List(vec![Reply::Null, Reply::Status("OK"), Reply::Error("ERR no".into())]),
            Reply::Verbatim("b".into()),
        ]);
        let mut out = Vec::new();
        value.write(&mut out);
        let expected = ">3\r\n%1\r\n$1\r\na\r\n:-1\r\n*3\r\n_\r\n+OK\r\n-ERR no\r\n=5\r\ntxt:b\r\n";
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }
}
