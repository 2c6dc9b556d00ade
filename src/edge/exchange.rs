//! An HTTP exchange in progress: what a connection needs before it is a WebSocket, or instead.

/// The state of a connection that speaks HTTP.
#[derive(Debug, Default)]
pub struct Exchange {
    /// Bytes of the head that were searched for its end already.
    pub searched: usize,
    /// The request whose answer comes from a home: nothing more is read before it.
    pub awaiting: Option<Awaiting>,
    /// Does the connection end with this response?
    pub last: bool,
    /// Requests answered.
    pub served: u32,
}

/// What an API call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaiting {
    Publish,
    Disconnect,
}
