//! A call of the server API in progress: its commands, what each of them waits for, and their
//! answers.
//!
//! Must not know homes or connections. Invariants: commands begin in their order; a request to a
//! home is in `asked` until its answer comes.

use crate::api::answer::Answer;
use crate::api::{ApiMethod, Batch, Extent, NO_PARAMS, Published, answer};
use crate::codec::command::ErrorCode;
use crate::contract::listing::{ChannelCounts, ChannelsPart, ListCursor, Pattern};
use crate::limits::CHANNELS_PER_PART;

/// One call: a command, or a batch of them.
#[derive(Debug)]
pub struct Call {
    method: ApiMethod,
    /// Errors are answered as HTTP statuses.
    pub statuses: bool,
    /// When its body was complete, in microseconds of the process.
    pub begun_us: u64,
    body: Vec<u8>,
    parallel: bool,
    tasks: Vec<Task>,
    /// Tasks before this one have begun.
    begun: usize,
    finished: usize,
    /// Tasks that have begun and have more requests to send, the next one at the end.
    ready: Vec<usize>,
    asked: Vec<Asked>,
    last_question: u32,
    answer_bytes: usize,
}

/// One command.
#[derive(Debug)]
struct Task {
    method: ApiMethod,
    state: State,
    /// Explains its error; `None` for no more than the code.
    detail: Option<Box<str>>,
}

impl Task {
    fn new(method: ApiMethod, state: State) -> Task {
        Task { method, state, detail: None }
    }

    fn detail(&self) -> &str {
        self.detail.as_deref().unwrap_or("")
    }
}

/// The state of a command.
#[derive(Debug)]
pub enum State {
    /// Its body is at this extent.
    Waiting(Extent),
    /// One request was sent to a home.
    Asked,
    Broadcasting(Box<Broadcasting>),
    Listing(Box<Listing>),
    Finished(Answer),
}

/// An unanswered request to a home: of which command, and which of its parts.
#[derive(Clone, Copy, Debug)]
struct Asked {
    question: u32,
    task: usize,
    part: usize,
}

/// One publication for many channels.
#[derive(Debug)]
pub struct Broadcasting {
    pub channels: Vec<Box<str>>,
    pub what: Published<'static>,
    /// The next channel.
    pub next: usize,
    pub unanswered: usize,
    pub answers: Vec<Answer>,
}

/// A list of channels: what other nodes have, and then home by home, part by part.
#[derive(Debug)]
pub struct Listing {
    pub pattern: Pattern,
    /// What other nodes have, and is not in the result; `None`: they have not been asked.
    pub others: Option<ChannelCounts>,
    home: u16,
    from: ListCursor,
    /// The next place of `others` to write, after all homes.
    place: usize,
    /// The result so far.
    pub text: Vec<u8>,
}

/// The next step of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    AskOthers,
    AskHome(u16, ListCursor),
    /// Write some of what only other nodes have.
    Write,
}

/// The next step of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Begin this command.
    Begin(usize),
    /// Send the next request of this command.
    AskOn(usize),
}

impl Call {
    /// Bytes per command, besides its body.
    pub const TASK_BYTES: usize = size_of::<Task>();

    /// Splits a call into its commands, which are read when it is their turn.
    ///
    /// # Errors
    /// If a batch is malformed, or has too many commands; with the body.
    pub fn new(
        method: ApiMethod,
        statuses: bool,
        body: Vec<u8>,
    ) -> Result<Call, (ErrorCode, Vec<u8>)> {
        let batch = match method {
            ApiMethod::Batch => Some(Batch::read(&body)),
            ApiMethod::Commands => Some(Batch::read_commands(&body)),
            _ => None,
        };
        let (tasks, parallel) = if let Some(batch) = batch {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => return Err((error, body)),
            };
            let task = |command| match command {
                Ok((method, extent)) => Task::new(method, State::Waiting(extent)),
                // There is no method under which to answer.
                Err(error) => Task::new(method, State::Finished(Err(error))),
            };
            (batch.commands.into_iter().map(task).collect(), batch.parallel)
        } else {
            let extent = Extent { start: 0, end: body.len() };
            (vec![Task::new(method, State::Waiting(extent))], false)
        };
        let finished =
            tasks.iter().filter(|task: &&Task| matches!(task.state, State::Finished(_))).count();
        Ok(Call {
            method,
            statuses,
            begun_us: 0,
            body,
            parallel,
            tasks,
            begun: 0,
            finished,
            ready: Vec::new(),
            asked: Vec::new(),
            last_question: 0,
            answer_bytes: 0,
        })
    }

    #[must_use]
    pub fn method(&self) -> ApiMethod {
        self.method
    }

    #[must_use]
    pub fn is_batch(&self) -> bool {
        matches!(self.method, ApiMethod::Batch | ApiMethod::Commands)
    }

    /// Number of commands, including finished ones.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.tasks.len()
    }

    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished == self.tasks.len()
    }

    /// The next step; `None` if an answer has to come first, or nothing is left to do.
    pub fn next(&mut self) -> Option<Next> {
        if let Some(task) = self.ready.pop() {
            return Some(Next::AskOn(task));
        }
        let known = |task: &Task| matches!(task.state, State::Finished(_));
        while self.tasks.get(self.begun).is_some_and(known) {
            self.begun += 1;
        }
        let waits = !self.parallel && self.tasks[..self.begun].last().is_some_and(|it| !known(it));
        if waits || self.begun == self.tasks.len() {
            return None;
        }
        self.begun += 1;
        Some(Next::Begin(self.begun - 1))
    }

    /// The method and the body of a command that is about to begin.
    #[must_use]
    pub fn command(&self, task: usize) -> (ApiMethod, &[u8]) {
        let Task { method, state, .. } = &self.tasks[task];
        let State::Waiting(Extent { start, end }) = state else { return (*method, b"") };
        match &self.body[*start..*end] {
            b"" if self.method == ApiMethod::Commands => (*method, NO_PARAMS),
            body => (*method, body),
        }
    }

    /// Stores the explanation of a command's error.
    pub fn explain(&mut self, task: usize, detail: Option<&str>) {
        self.tasks[task].detail = detail.map(Box::from);
    }

    /// The state of a command.
    pub fn state(&mut self, task: usize) -> &mut State {
        &mut self.tasks[task].state
    }

    /// The number of the next request.
    #[must_use]
    pub fn next_question(&self) -> u32 {
        // 0 would mean that no answer is expected.
        self.last_question.checked_add(1).unwrap_or(1)
    }

    /// Records a request to a home for a part of a command.
    pub fn ask(&mut self, task: usize, part: usize) {
        self.last_question = self.next_question();
        self.asked.push(Asked { question: self.last_question, task, part });
    }

    /// Lets a command send further requests.
    pub fn make_ready(&mut self, task: usize) {
        self.ready.push(task);
    }

    /// The command and part of a request that is answered now.
    pub fn answered(&mut self, question: u32) -> Option<(usize, usize)> {
        let place = self.asked.iter().position(|asked| asked.question == question)?;
        let Asked { task, part, .. } = self.asked.swap_remove(place);
        Some((task, part))
    }

    /// Counts an answer's bytes; false if the total exceeds `bytes_max`.
    pub fn takes(&mut self, bytes: usize, bytes_max: usize) -> bool {
        let takes = self.answer_bytes + bytes <= bytes_max;
        self.answer_bytes += if takes { bytes } else { 0 };
        takes
    }

    /// Stores the answer of a command.
    pub fn finish(&mut self, task: usize, answer: Answer) {
        let state = std::mem::replace(&mut self.tasks[task].state, State::Finished(answer));
        debug_assert!(!matches!(state, State::Finished(_)), "a command is answered once");
        self.finished += 1;
    }

    /// No more requests will be sent: commands that still need some are refused.
    pub fn refuse_rest(&mut self, error: ErrorCode) {
        self.ready.clear();
        for task in 0..self.tasks.len() {
            let asked = self.asked.iter().any(|asked| asked.task == task);
            match &mut self.tasks[task].state {
                State::Finished(_) | State::Asked => {}
                State::Broadcasting(broadcast) => {
                    let rest = broadcast.channels.len() - broadcast.next;
                    broadcast.answers[broadcast.next..].fill(Err(error));
                    broadcast.next += rest;
                    broadcast.unanswered -= rest;
                    if broadcast.unanswered == 0 {
                        let result = broadcast.result();
                        self.finish(task, Ok(result));
                    }
                }
                State::Listing(_) if asked => {}
                State::Waiting(_) | State::Listing(_) => self.finish(task, Err(error)),
            }
        }
        self.begun = self.tasks.len();
    }

    /// The whole answer of a finished call; for a sequence of commands one line each.
    pub fn write(&self, out: &mut Vec<u8>) {
        if !self.is_batch() {
            return answer::whole(out, self.single(), self.tasks[0].detail());
        }
        if self.method == ApiMethod::Commands {
            for task in &self.tasks {
                if let State::Finished(known) = &task.state {
                    answer::whole(out, known, task.detail());
                    out.push(b'\n');
                }
            }
            return;
        }
        out.extend_from_slice(br#"{"replies":["#);
        for (index, task) in self.tasks.iter().enumerate() {
            answer::separate(out, index);
            if let State::Finished(known) = &task.state {
                answer::reply(out, task.method, known, task.detail());
            }
        }
        out.extend_from_slice(b"]}");
    }

    /// The error of a finished call that is not a batch, if it failed, and its explanation.
    #[must_use]
    pub fn error(&self) -> Option<(ErrorCode, &str)> {
        if self.is_batch() {
            return None;
        }
        self.single().as_ref().err().map(|error| (*error, self.tasks[0].detail()))
    }

    fn single(&self) -> &Answer {
        match &self.tasks[0].state {
            State::Finished(answer) => answer,
            _ => &Err(ErrorCode::Internal),
        }
    }
}

impl Broadcasting {
    #[must_use]
    pub fn new(channels: Vec<Box<str>>, what: Published<'static>) -> Broadcasting {
        let unanswered = channels.len();
        let answers = vec![Err(ErrorCode::Internal); unanswered];
        Broadcasting { channels, what, next: 0, unanswered, answers }
    }

    /// Stores an answer; true if it was the last.
    pub fn answered(&mut self, channel: usize, answer: Answer) -> bool {
        self.answers[channel] = answer;
        self.unanswered -= 1;
        self.unanswered == 0
    }

    #[must_use]
    pub fn result(&self) -> Vec<u8> {
        let mut result = Vec::with_capacity(64 * self.channels.len());
        answer::broadcast(&mut result, self.answers.iter());
        result
    }
}

impl Listing {
    #[must_use]
    pub fn new(pattern: Pattern) -> Listing {
        let text = answer::CHANNELS_HEAD.to_vec();
        Listing { pattern, others: None, home: 0, from: ListCursor::default(), place: 0, text }
    }

    /// What is to be done next, at a node with so many homes.
    #[must_use]
    pub fn step(&self, homes: u16) -> Step {
        if self.others.is_none() {
            Step::AskOthers
        } else if self.home < homes {
            Step::AskHome(self.home, self.from)
        } else {
            Step::Write
        }
    }

    /// Adds a part of the list, with what other nodes have of its channels.
    pub fn add(&mut self, part: &ChannelsPart) {
        for (name, clients) in &part.channels {
            let name = name.as_str();
            if self.pattern.matches(name) {
                let elsewhere = self.others.as_mut().map_or(0, |others| others.take(name));
                answer::channel(&mut self.text, name, clients.saturating_add(elsewhere));
            }
        }
        self.from = part.next.unwrap_or_default();
        self.home += u16::from(part.next.is_none());
    }

    /// Adds as many channels that only other nodes have as a part has. True: those were the last.
    pub fn write_others(&mut self) -> bool {
        let Some(others) = &self.others else { return true };
        let end = others.len().min(self.place + CHANNELS_PER_PART);
        for (name, clients) in (self.place..end).map(|place| others.at(place)) {
            if clients > 0 {
                answer::channel(&mut self.text, name, clients);
            }
        }
        self.place = end;
        end == others.len()
    }
}
