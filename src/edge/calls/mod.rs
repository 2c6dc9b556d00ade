//! Calls of the server API: checks the key, reads the body, sends for each command the same
//! requests as a client's command, and collects the answers.
//!
//! A delivery never causes a push (rule 3): an answer is stored, and the next requests are sent
//! when it is the connection's turn. Invariant: bytes of bodies and answers are counted while they
//! are held (`Exchange::call_bytes`).

mod commands;
mod listing;

use crate::api;
use crate::api::answer::Answer;
use crate::api::{ApiMethod, answer};
use crate::clock::Now;
use crate::codec::command::ErrorCode;
use crate::contract::envelope::{Delivery, Request};
use crate::contract::key::ReplyTo;
use crate::edge::connection::Life;
use crate::edge::connection::call::{Broadcasting, Call, Listing, Next, State};
use crate::edge::connection::exchange::PendingBody;
use crate::edge::responses::{JSON, No, RETRY_AFTER, TEXT};
use crate::edge::{ConnectionId, Edge, Turn};
use crate::http::body::Body;
use crate::http::request::Head;
use crate::http::response;
use crate::http::response::Status;
use crate::limits::{API_ANSWER_BYTES, CALL_STEPS_PER_TURN, COMMANDS_IN_FLIGHT};
use crate::metrics::Cause;
use crate::work::cost;

/// The header, and its value, with which a caller asks for errors as HTTP statuses.
const ERROR_MODE: (&str, &[u8]) = ("X-Centrifugo-Error-Mode", b"transport");

/// Bytes that a broadcast holds per channel until all are answered, roughly.
const BROADCAST_CHANNEL_BYTES: usize = 160;

/// The result of beginning a command.
pub(super) enum Begun {
    /// A request to a home.
    Ask(u16, Request),
    Broadcast(Box<Broadcasting>),
    List(Box<Listing>),
    /// It is answered at once.
    Answer(Vec<u8>),
}

impl Edge {
    /// Begins a call of the server API. Its key is checked before any byte of its body is kept.
    pub(in crate::edge) fn call(
        &mut self,
        conn: ConnectionId,
        head: &Head<'_>,
        method: ApiMethod,
        now: Now,
    ) {
        if !self.require_key(conn, head, now) {
            return;
        }
        if self.http.api_key.is_none() && !self.is_origin_allowed(head, None) {
            // Without a key any page that the developer visits could make calls, and a page whose
            // name resolves to this server for a moment (DNS rebinding) would count as the server's
            // own.
            let reason = "origin not allowed; list it in allowed_origins";
            let no = No::new(Cause::Origin, Status::FORBIDDEN, reason).to(head);
            return self.refuse(conn, &no, now);
        }
        let mode = head.header(ERROR_MODE.0);
        let statuses = mode.is_some_and(|mode| mode.eq_ignore_ascii_case(ERROR_MODE.1));
        match Body::new(head.framing) {
            Ok(body) => {
                if head.expects_continue {
                    let range = self.output.bytes(|out| out.extend_from_slice(response::CONTINUE));
                    self.output.mark(conn.index, range);
                }
                let wait = u64::from(self.limits.http_body_timeout_ms);
                self.set_deadline(conn, now.monotonic_ms() + wait);
                let pending = PendingBody { method, statuses, body };
                self.exchange(conn).body = Some(Box::new(pending));
            }
            Err(error) => {
                let no = No::new(Cause::BodySize, error.status(), error.reason()).to(head);
                self.refuse(conn, &no, now);
            }
        }
    }

    /// Reads more of a call's body; `None` if that ended the connection.
    pub(in crate::edge) fn read_body(
        &mut self,
        conn: ConnectionId,
        bytes: &[u8],
        turn: &mut Turn<'_>,
    ) -> Option<usize> {
        let pending = self.exchange(conn).body.as_mut()?;
        let before = pending.body.bytes().len();
        let taken = match pending.body.read(bytes) {
            Ok(taken) => taken,
            Err(error) => {
                self.discharge(conn);
                let no = No::new(Cause::BodySize, error.status(), error.reason());
                self.refuse(conn, &no, turn.now);
                return None;
            }
        };
        let whole = pending.body.is_whole();
        let grown = pending.body.bytes().len() - before;
        if !self.charge(conn, grown) {
            self.exchange(conn).body = None;
            self.discharge(conn);
            let reason = "too many calls at once; see limits.api_bytes_per_worker";
            let no = No::new(Cause::ApiBytes, Status::UNAVAILABLE, reason);
            self.refuse(conn, &no.headers(&[TEXT, RETRY_AFTER]), turn.now);
            return None;
        }
        if whole {
            let PendingBody { method, statuses, body } = *self.exchange(conn).body.take()?;
            self.begin_call(conn, method, statuses, body.into_bytes(), turn);
        }
        Some(taken)
    }

    fn begin_call(
        &mut self,
        conn: ConnectionId,
        method: ApiMethod,
        statuses: bool,
        body: Vec<u8>,
        turn: &mut Turn<'_>,
    ) {
        let call = Call::new(method, statuses, body).and_then(|call| {
            let charged = self.charge(conn, call.tasks() * Call::TASK_BYTES);
            if charged { Ok(call) } else { Err((ErrorCode::LimitExceeded, Vec::new())) }
        });
        match call {
            Ok(mut call) => {
                call.begun_us = turn.now.monotonic_us;
                self.exchange(conn).call = Some(Box::new(call));
                self.call_on(conn, turn);
            }
            Err((error, body)) => {
                let malformed = error == ErrorCode::BadRequest;
                let detail = if malformed { api::explain(method, &body) } else { None };
                let detail = detail.unwrap_or_default();
                self.call_refused(conn, error, method, "", &detail, turn.now);
                self.metrics.call(method as usize, 0, true);
                self.respond_error(conn, error, &detail, statuses, turn.now);
            }
        }
    }

    /// Continues a connection's call: begins commands, and sends further requests of those that
    /// have begun, as far as lanes, answers and the turn allow.
    pub(in crate::edge) fn call_on(&mut self, conn: ConnectionId, turn: &mut Turn<'_>) {
        if self.life(conn) != Life::Http {
            return;
        }
        let Some(mut call) = self.exchange(conn).call.take() else { return };
        let mut steps = 0;
        while !self.at(conn).is_parked() && self.at(conn).in_flight < COMMANDS_IN_FLIGHT {
            if self.draining {
                call.refuse_rest(ErrorCode::Internal);
            }
            if steps == CALL_STEPS_PER_TURN || self.work.is_slice_spent() {
                self.make_ready(conn);
                break;
            }
            steps += 1;
            self.work.charge(cost::COMMAND);
            match call.next() {
                Some(Next::Begin(task)) => self.begin_task(conn, &mut call, task, turn),
                Some(Next::AskOn(task)) => self.ask_on(conn, &mut call, task, turn),
                None => break,
            }
        }
        self.settle_call(conn, call, turn.now);
    }

    fn begin_task(
        &mut self,
        conn: ConnectionId,
        call: &mut Call,
        task: usize,
        turn: &mut Turn<'_>,
    ) {
        let to = ReplyTo { connection: self.key(conn), command: call.next_question() };
        let (method, body) = call.command(task);
        let begun =
            api::read(method, body).and_then(|request| self.begin_command(to, request, turn.now));
        if let Err(error) = &begun {
            let (channel, detail) = self.why_not_called(method, body, *error);
            self.call_refused(conn, *error, method, &channel, &detail, turn.now);
            let detail = Some(detail.as_str()).filter(|detail| !detail.is_empty());
            call.explain(task, detail);
        }
        match begun {
            Ok(Begun::Ask(home, request)) => {
                *call.state(task) = State::Asked;
                call.ask(task, 0);
                self.issue(conn, home, request, turn);
            }
            Ok(Begun::Broadcast(broadcast)) => {
                let bytes = broadcast.channels.len() * BROADCAST_CHANNEL_BYTES;
                if !self.charge(conn, bytes) {
                    return self.finish_task(conn, call, task, Err(ErrorCode::LimitExceeded));
                }
                *call.state(task) = State::Broadcasting(broadcast);
                call.make_ready(task);
            }
            Ok(Begun::List(listing)) => {
                *call.state(task) = State::Listing(listing);
                call.make_ready(task);
            }
            Ok(Begun::Answer(result)) => self.finish_task(conn, call, task, Ok(result)),
            Err(error) => self.finish_task(conn, call, task, Err(error)),
        }
    }

    /// Sends the next request of a command that has begun.
    fn ask_on(&mut self, conn: ConnectionId, call: &mut Call, task: usize, turn: &mut Turn<'_>) {
        let to = ReplyTo { connection: self.key(conn), command: call.next_question() };
        match call.state(task) {
            State::Broadcasting(broadcast) => {
                let place = broadcast.next;
                broadcast.next += 1;
                let more = broadcast.next < broadcast.channels.len();
                let channel = &broadcast.channels[place];
                match self.publish_request(to, channel, &broadcast.what, turn.now) {
                    Ok((home, request)) => {
                        call.ask(task, place);
                        self.issue(conn, home, request, turn);
                    }
                    Err(error) => {
                        let channel = channel.clone();
                        let why = self.why_not_in(&channel, error).unwrap_or_default();
                        self.call_refused(
                            conn,
                            error,
                            ApiMethod::Broadcast,
                            &channel,
                            &why,
                            turn.now,
                        );
                        self.answer_part(conn, call, task, place, Err(error));
                    }
                }
                if more {
                    call.make_ready(task);
                }
            }
            State::Listing(_) => self.list_on(conn, call, (task, to), turn),
            State::Waiting(_) | State::Asked | State::Finished(_) => {}
        }
    }

    /// Takes a delivery that answers a call, and returns any other.
    pub(in crate::edge) fn take_for_call(
        &mut self,
        mut delivery: Delivery,
        now: Now,
    ) -> Option<Delivery> {
        let Some(to) = answers(&delivery) else { return Some(delivery) };
        let asker = self.of(to.connection).filter(|conn| self.life(*conn) == Life::Http);
        if asker.is_none() {
            return Some(delivery);
        }
        let conn = self.answered(to)?;
        let mut call = self.exchange(conn).call.take()?;
        if let Some((task, part)) = call.answered(to.command)
            && !self.take_listed(conn, &mut call, task, &mut delivery)
        {
            if let Delivery::UserUnanswered { nodes, .. } = &delivery {
                call.explain(task, Some(&unanswered(nodes)));
            }
            let answer = self.call_answer(&delivery, now);
            self.answer_part(conn, &mut call, task, part, answer);
        }
        self.settle_call(conn, call, now);
        None
    }

    /// A part of a command is answered: for a broadcast one channel, else the whole command.
    fn answer_part(
        &mut self,
        conn: ConnectionId,
        call: &mut Call,
        task: usize,
        part: usize,
        answer: Answer,
    ) {
        let State::Broadcasting(broadcast) = call.state(task) else {
            return self.finish_task(conn, call, task, answer);
        };
        let error = answer.as_ref().err().copied();
        let last = broadcast.answered(part, answer).then(|| broadcast.result());
        if let Some(error) = error {
            self.count_error(error);
        }
        if let Some(result) = last {
            self.finish_task(conn, call, task, Ok(result));
        }
    }

    fn finish_task(&mut self, conn: ConnectionId, call: &mut Call, task: usize, answer: Answer) {
        let answer = answer.and_then(|result| {
            let fits = call.takes(result.len(), API_ANSWER_BYTES);
            let fits = fits && self.charge(conn, result.len());
            if fits { Ok(result) } else { Err(ErrorCode::LimitExceeded) }
        });
        if let Err(error) = &answer {
            self.count_error(*error);
        }
        call.finish(task, answer);
    }

    /// Sends the answer of a finished call; an unfinished one continues later.
    fn settle_call(&mut self, conn: ConnectionId, mut call: Box<Call>, now: Now) {
        if self.draining && !call.is_finished() {
            call.refuse_rest(ErrorCode::Internal);
        }
        if !call.is_finished() {
            self.exchange(conn).call = Some(call);
            return;
        }
        self.discharge(conn);
        let lasted_us = now.monotonic_us.saturating_sub(call.begun_us);
        self.metrics.call(call.method() as usize, lasted_us, call.error().is_some());
        match call.error().filter(|_| call.statuses) {
            Some((error, detail)) => self.respond_status(conn, error, detail, now),
            None => {
                let mut body = Vec::with_capacity(128);
                call.write(&mut body);
                self.respond(conn, Status::OK, &[JSON], &body, now);
            }
        }
    }

    fn respond_error(
        &mut self,
        conn: ConnectionId,
        error: ErrorCode,
        detail: &str,
        statuses: bool,
        now: Now,
    ) {
        self.count_error(error);
        self.discharge(conn);
        if statuses {
            return self.respond_status(conn, error, detail, now);
        }
        let mut body = Vec::with_capacity(64);
        answer::whole(&mut body, &Err(error), detail);
        self.respond(conn, Status::OK, &[JSON], &body, now);
    }

    fn respond_status(&mut self, conn: ConnectionId, error: ErrorCode, detail: &str, now: Now) {
        let mut body = Vec::with_capacity(64);
        answer::write_error(&mut body, error, detail);
        self.respond(conn, answer::status(error), &[JSON], &body, now);
    }

    /// A request waited for its lane when the shutdown began, and will not be sent.
    pub(in crate::edge) fn call_not_asked(&mut self, conn: ConnectionId, question: u32) {
        let Some(mut call) = self.exchange(conn).call.take() else { return };
        if let Some((task, part)) = call.answered(question) {
            self.answer_part(conn, &mut call, task, part, Err(ErrorCode::Internal));
        }
        self.exchange(conn).call = Some(call);
    }

    /// The shutdown has begun: requests of a call that were not sent yet are answered with an
    /// error.
    pub(in crate::edge) fn drain_call(&mut self, conn: ConnectionId, now: Now) {
        if let Some(call) = self.exchange(conn).call.take() {
            self.settle_call(conn, call, now);
        }
    }
}

/// Explains that it is not known of these nodes whether a command took effect there.
fn unanswered(nodes: &str) -> String {
    if nodes.is_empty() {
        return "it took effect on this node; the others could not be asked".to_owned();
    }
    format!("not known to have taken effect on: {nodes}")
}

/// The destination of a delivery that may answer a call.
fn answers(delivery: &Delivery) -> Option<ReplyTo> {
    match delivery {
        Delivery::Published { to, .. }
        | Delivery::Refused { to, subscribe: None, .. }
        | Delivery::PresenceStats { to, .. }
        | Delivery::UserAnswered { to, .. }
        | Delivery::UserUnanswered { to, .. }
        | Delivery::Nodes { to, .. }
        | Delivery::Channels { to, .. }
        | Delivery::OtherChannels { to, .. }
        | Delivery::HistoryRemoved { to } => Some(*to),
        Delivery::History(answer) => Some(answer.to),
        Delivery::Presence(answer) => Some(answer.to),
        _ => None,
    }
}
