//! An HTTP exchange in progress: what a connection needs before it is a WebSocket, or instead.

use crate::api::ApiMethod;
use crate::edge::connection::call::Call;
use crate::http::body::Body;

/// The state of a connection that speaks HTTP.
#[derive(Debug, Default)]
pub struct Exchange {
    /// Bytes of the head that were searched for its end already.
    pub searched: usize,
    /// Bytes of the next head have come.
    pub head_begun: bool,
    /// A call whose body is still coming.
    pub body: Option<Box<PendingBody>>,
    /// The call that is under way: nothing more is read before its answer.
    pub call: Option<Box<Call>>,
    /// Bytes of its body and its answers, as the worker counts them.
    pub call_bytes: u64,
    /// The request's method is HEAD: its answer has no body, whatever it is.
    pub head_only: bool,
    /// Does the peer want the connection kept?
    pub keep_alive: bool,
    /// The last response was written; what still comes is not looked at.
    pub last: bool,
    /// Responses written.
    pub served: u32,
    /// An upgrade is asked for: it is answered when all before it has been sent, so that nothing of
    /// HTTP is left where frames begin.
    pub upgrading: bool,
    /// Until when it is kept between two requests, in milliseconds of the process.
    pub idle_until_ms: u64,
}

impl Exchange {
    /// Is no response awaited or on its way?
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.call.is_none() && !self.last
    }

    /// Does the connection merely idle between requests? Nothing has been begun then.
    #[must_use]
    pub fn is_idle(&self, head_begun: bool) -> bool {
        self.served > 0 && !head_begun && self.body.is_none() && self.call.is_none()
    }
}

/// A call's body, as far as it has come.
#[derive(Debug)]
pub struct PendingBody {
    pub method: ApiMethod,
    /// Its errors are to be told as statuses.
    pub statuses: bool,
    pub body: Body,
}
