//! An HTTP exchange in progress: the state of a connection before it is a WebSocket, or if it never
//! is.

use crate::api::ApiMethod;
use crate::edge::connection::call::Call;
use crate::http::body::Body;

/// The state of a connection that speaks HTTP.
#[derive(Debug, Default)]
pub struct Exchange {
    /// Bytes of the head that were already searched for its end.
    pub searched: usize,
    /// Bytes of the next head have arrived.
    pub head_begun: bool,
    /// A call whose body is still arriving.
    pub body: Option<Box<PendingBody>>,
    /// The call in progress: nothing more is read before its answer.
    pub call: Option<Box<Call>>,
    /// Bytes of its body and answers that are counted for the worker.
    pub call_bytes: u64,
    /// The request's method is HEAD, so its answer has no body.
    pub head_only: bool,
    /// Does the client want to keep the connection open?
    pub keep_alive: bool,
    /// The last response was written; further bytes are ignored.
    pub last: bool,
    /// Responses written.
    pub served: u32,
    /// An upgrade was requested. It is answered when all earlier responses have been sent, so that
    /// no HTTP is left where frames begin.
    pub upgrading: bool,
    /// How long it is kept between two requests, in milliseconds of the process.
    pub idle_until_ms: u64,
}

impl Exchange {
    /// Is there no response to write or send?
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.call.is_none() && !self.last
    }

    /// Is the connection idle between two requests?
    #[must_use]
    pub fn is_idle(&self, head_begun: bool) -> bool {
        self.served > 0 && !head_begun && self.body.is_none() && self.call.is_none()
    }
}

/// A call's body, as far as it has arrived.
#[derive(Debug)]
pub struct PendingBody {
    pub method: ApiMethod,
    /// Errors are to be answered as HTTP statuses.
    pub statuses: bool,
    pub body: Body,
}
