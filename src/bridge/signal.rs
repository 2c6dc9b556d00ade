//! Wakes one task of the bridge's thread from another.
//!
//! Invariant: a signal that is raised while nobody waits is not lost: the next wait ends at once.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// See the module's page. One task waits at a time.
#[derive(Debug, Default)]
pub(super) struct Signal {
    raised: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Signal {
    /// Ends the wait, or the next one.
    pub fn raise(&self) {
        self.raised.set(true);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Takes back that it was raised.
    pub fn clear(&self) {
        self.raised.set(false);
    }

    /// Waits until it is raised.
    pub async fn wait(&self) {
        poll_fn(|context| {
            if self.raised.replace(false) {
                return Poll::Ready(());
            }
            *self.waiting.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;

    #[test]
    fn a_signal_is_kept_until_somebody_waits() {
        let signal = Signal::default();
        let mut context = Context::from_waker(Waker::noop());
        signal.raise();
        signal.raise();
        assert!(pin!(signal.wait()).poll(&mut context).is_ready());
        let mut wait = pin!(signal.wait());
        assert!(wait.as_mut().poll(&mut context).is_pending(), "two raises are one");
        signal.raise();
        assert!(wait.poll(&mut context).is_ready());
        signal.raise();
        signal.clear();
        assert!(pin!(signal.wait()).poll(&mut context).is_pending(), "it was taken back");
    }
}
