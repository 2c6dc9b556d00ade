//! What a home asks of an engine elsewhere, and what that says.
//!
//! Must not know channels. Invariant: a local engine is asked nothing.

use super::Home;
use crate::contract::engine::{Answer, Call, Engine};

impl<E: Engine> Home<E> {
    /// Hands a call over.
    ///
    /// # Errors
    /// Gives it back when there is no credit for it, or nobody to ask.
    pub(super) fn call(&mut self, call: Call) -> Result<(), Call> {
        match self.engine.bridged_mut() {
            Some(engine) => engine.call(call),
            None => Err(call),
        }
    }

    /// Could a call be handed over now?
    #[must_use]
    pub fn has_credit(&self) -> bool {
        self.engine.bridged().is_some_and(|engine| engine.has_credit())
    }

    /// Is there a call for the bridge?
    #[must_use]
    pub fn has_call(&self) -> bool {
        self.engine.bridged().is_some_and(|engine| engine.has_outgoing())
    }

    /// The next call for the bridge. What finds its lane full is put back.
    pub fn next_call(&mut self) -> Option<Call> {
        self.engine.bridged_mut()?.outgoing()
    }

    /// Puts a call back that found its lane full.
    pub fn put_back_call(&mut self, call: Call) {
        if let Some(engine) = self.engine.bridged_mut() {
            engine.put_back(call);
        }
    }

    /// Takes what the bridge said, for `take_answer` to look at in its turn.
    pub fn hear(&mut self, answer: Answer) {
        match self.engine.bridged_mut() {
            Some(engine) => engine.incoming(answer),
            None => debug_assert!(false, "nobody was asked for {answer:?}"),
        }
    }
}
