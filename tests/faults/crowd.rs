//! Publishers and subscribers in threads of their own, who keep the ledger and come back wherever
//! a node is.
//!
//! Must not know what fails. Invariant: `finish` ends them, and fails unless all is accounted for.

use crate::PATIENCE;
use crate::book::{Book, Payload};
use crate::client::{Client, Gone};
use crate::node::Node;
use crate::until;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

#[derive(Clone, Copy)]
pub struct Shape {
    pub channels: usize,
    /// Of each channel.
    pub publishers: usize,
    pub subscribers: usize,
    /// Publications of one publisher that wait for their answers, at most.
    pub window: usize,
    /// Between two publications of one publisher.
    pub pause: Duration,
}

pub const USUAL: Shape = Shape {
    channels: 4,
    publishers: 1,
    subscribers: 3,
    window: 8,
    pause: Duration::from_millis(4),
};

struct Shared {
    shape: Shape,
    book: Mutex<Book>,
    nodes: Mutex<Vec<SocketAddr>>,
    publishers: AtomicU32,
    publishes: AtomicBool,
    subscribes: AtomicBool,
    cuts: AtomicBool,
    chance: AtomicU64,
}

pub struct Crowd {
    shared: Arc<Shared>,
    publishers: Vec<JoinHandle<()>>,
    subscribers: Vec<JoinHandle<()>>,
}

impl Crowd {
    /// Starts with all subscribers subscribed.
    pub fn start(nodes: &[Node], shape: Shape) -> Crowd {
        let shared = Arc::new(Shared {
            shape,
            book: Mutex::default(),
            nodes: Mutex::new(nodes.iter().map(|node| node.addr).collect()),
            publishers: AtomicU32::new(0),
            publishes: AtomicBool::new(true),
            subscribes: AtomicBool::new(true),
            cuts: AtomicBool::new(false),
            chance: AtomicU64::new(1),
        });
        let run = |work: fn(&Shared, usize), number: usize| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || work(&shared, number))
        };
        let each = |count: usize| (0..shape.channels).flat_map(move |it| vec![it; count]);
        let open = |channel| shared.book().open(channel);
        let accounts: Vec<usize> = each(shape.subscribers).map(open).collect();
        let subscribers = accounts.into_iter().map(|who| run(subscribe, who)).collect();
        until("all have subscribed", || {
            shared.book().accounts.iter().all(|account| !account.epoch.is_empty())
        });
        let publishers = each(shape.publishers).map(|channel| run(publish, channel)).collect();
        Crowd { shared, publishers, subscribers }
    }

    pub fn cut_at_random(&self) {
        self.shared.cuts.store(true, Relaxed);
    }

    /// Nobody connects to a node any more.
    pub fn avoid(&self, node: &Node) {
        self.shared.nodes.lock().expect("nobody panics").retain(|addr| *addr != node.addr);
    }

    pub fn acknowledged(&self) -> u64 {
        self.shared.book().acknowledged()
    }

    pub fn errors(&self) -> u64 {
        self.shared.book().errors
    }

    /// Waits until so many more are acknowledged.
    pub fn goes_on(&self, more: u64) {
        let enough = self.acknowledged() + more;
        until("publications are acknowledged", || self.acknowledged() >= enough);
    }

    /// Waits until publications are answered with an error.
    pub fn fails(&self) {
        let before = self.errors();
        until("publications fail", || self.errors() > before + 4);
    }

    /// Waits until each subscriber was declared something, or fails.
    pub fn all_declared(&self) {
        let all = || self.shared.book().accounts.iter().all(|account| account.declared() > 0);
        until("all are told", all);
    }

    /// Ends all, and judges. Returns how often something was declared to a subscriber.
    pub fn finish(self, name: &str) -> u64 {
        let (faults, declared) = self.end(name);
        assert!(
            faults.is_empty(),
            "{name}: {}: {:#?}",
            faults.len(),
            &faults[..faults.len().min(9)]
        );
        declared
    }

    /// Ends all, and prints what is wrong.
    pub fn report(self, name: &str) {
        let (faults, _) = self.end(name);
        println!("{name}: {} faults", faults.len());
        faults.iter().take(3).for_each(|fault| println!("  {fault}"));
    }

    /// Ends all: what is wrong, and how often something was declared.
    fn end(self, name: &str) -> (Vec<String>, u64) {
        let shared = &self.shared;
        shared.publishes.store(false, Relaxed);
        for publisher in self.publishers {
            publisher.join().expect("a publisher");
        }
        shared.cuts.store(false, Relaxed);
        let channels = 0..shared.shape.channels;
        let unheard = channels.filter(|channel| !shared.last_arrives(*channel));
        let unheard: Vec<String> = unheard
            .map(|channel| format!("the last publication of channel {channel} does not arrive"))
            .collect();
        shared.subscribes.store(false, Relaxed);
        for subscriber in self.subscribers {
            subscriber.join().expect("a subscriber");
        }
        let book = shared.book();
        let (published, acknowledged) = (book.published, book.acknowledged());
        let (delivered, declared, errors) = (book.delivered, book.declared(), book.errors);
        println!(
            "{name}: {published} published, {acknowledged} acknowledged, {delivered} delivered, \
             {declared} declared, {errors} with error 100"
        );
        assert!(acknowledged > 0 && delivered > 0, "nothing was proved");
        let faults = book.faults.iter().cloned().chain(book.lacking());
        (unheard.into_iter().chain(faults).collect(), declared)
    }
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("nobody panics with the book")
    }

    fn channel(&self, channel: usize) -> String {
        format!("kept:ledger{channel}")
    }

    fn draw(&self, below: u64) -> u64 {
        let drawn = self.chance.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
        let mixed = (drawn ^ drawn >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ mixed >> 27) % below
    }

    fn connect(&self) -> Result<Client, Gone> {
        let nodes = self.nodes.lock().expect("nobody panics").clone();
        let at = nodes[self.draw(nodes.len() as u64) as usize];
        Client::connect(at).inspect_err(|_| std::thread::sleep(Duration::from_millis(20)))
    }

    /// Publishes until one has reached every subscriber of a channel: does it in time?
    fn last_arrives(&self, channel: usize) -> bool {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let publisher = self.publishers.fetch_add(1, Relaxed);
            let payload = (channel, publisher, 0);
            let Ok(mut client) = self.connect() else { continue };
            let Ok(true) = self.publish_one(&mut client, payload) else { continue };
            let soon = Instant::now() + Duration::from_secs(2);
            while Instant::now() < soon {
                let book = self.book();
                let mut who = (0..book.accounts.len()).filter(|who| book.is_of(*who, channel));
                if who.all(|who| book.has(who, &payload)) {
                    return true;
                }
                drop(book);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        false
    }

    fn publish_one(&self, client: &mut Client, payload: Payload) -> Result<bool, Gone> {
        let asked = Instant::now();
        self.book().published += 1;
        let answer = client.ask("publish", self.publication(payload))?;
        Ok(self.take_answer(payload, asked, &answer))
    }

    fn publication(&self, payload: Payload) -> Value {
        let (channel, publisher, number) = payload;
        json!({"channel": self.channel(channel), "data": [publisher, number]})
    }

    fn take_answer(&self, payload: Payload, asked: Instant, answer: &Value) -> bool {
        let mut book = self.book();
        match answer["error"]["code"].as_u64() {
            None => book.acknowledge(payload, asked),
            Some(100) => book.errors += 1,
            Some(_) => book.faults.push(format!("{payload:?}: {answer}")),
        }
        answer["error"].is_null()
    }
}

/// One publisher: as often as its connection ends, it comes back as another.
fn publish(shared: &Shared, channel: usize) {
    while shared.publishes.load(Relaxed) {
        // What it had asked for has an unknown fate, which the ledger allows.
        if let Ok(mut client) = shared.connect() {
            let _ = publish_on(shared, channel, &mut client);
        }
    }
}

fn publish_on(shared: &Shared, channel: usize, client: &mut Client) -> Result<(), Gone> {
    let publisher = shared.publishers.fetch_add(1, Relaxed);
    let mut unanswered: VecDeque<(u64, Payload, Instant)> = VecDeque::new();
    let mut number = 0;
    let mut next = Instant::now();
    loop {
        let goes_on = shared.publishes.load(Relaxed);
        if !goes_on && unanswered.is_empty() {
            return Ok(());
        }
        let may_more = unanswered.len() < shared.shape.window;
        if goes_on && may_more && Instant::now() >= next {
            let payload = (channel, publisher, number);
            number += 1;
            let asked = Instant::now();
            next = asked + shared.shape.pause;
            shared.book().published += 1;
            let id = client.tell("publish", shared.publication(payload))?;
            unanswered.push_back((id, payload, asked));
            if shared.cuts.load(Relaxed) && shared.draw(700) == 0 {
                return Ok(());
            }
            if unanswered.len() < shared.shape.window && shared.shape.pause.is_zero() {
                continue;
            }
        }
        let long = Instant::now() + Duration::from_millis(100);
        let Some(message) = client.next(if may_more && goes_on { next } else { long })? else {
            continue;
        };
        if message["id"].is_null() {
            continue;
        }
        let (id, payload, asked) = unanswered.pop_front().expect("something was asked");
        assert_eq!(message["id"], id, "answers come in order");
        if !shared.take_answer(payload, asked, &message) {
            next = Instant::now() + Duration::from_millis(50);
        }
    }
}

/// One subscriber: it comes back as often as its connection ends.
fn subscribe(shared: &Shared, who: usize) {
    while shared.subscribes.load(Relaxed) {
        if let Ok(mut client) = shared.connect() {
            let _ = listen(shared, who, &mut client);
        }
    }
}

fn listen(shared: &Shared, who: usize, client: &mut Client) -> Result<(), Gone> {
    let mut is_in = false;
    while shared.subscribes.load(Relaxed) {
        if !is_in {
            is_in = enter(shared, who, client)?;
            continue;
        }
        if shared.cuts.load(Relaxed) && shared.draw(3_000) == 0 {
            return Ok(());
        }
        let Some(message) = client.next(Instant::now() + Duration::from_millis(100))? else {
            continue;
        };
        let push = &message["push"];
        if push["pub"].is_object() {
            give(shared, who, &push["pub"]);
        } else if push["unsubscribe"].is_object() {
            is_in = false;
        } else if push["disconnect"].is_object() {
            return Err(Gone);
        }
    }
    Ok(())
}

/// Subscribes, from where it was.
fn enter(shared: &Shared, who: usize, client: &mut Client) -> Result<bool, Gone> {
    let (channel, epoch, last) = shared.book().place(who);
    let name = shared.channel(channel);
    let request = if epoch.is_empty() {
        json!({"channel": name})
    } else {
        json!({"channel": name, "recover": true, "epoch": epoch, "offset": last})
    };
    let answer = client.ask("subscribe", request)?;
    let Some(result) = answer["subscribe"].as_object() else {
        std::thread::sleep(Duration::from_millis(50));
        return Ok(false);
    };
    let told = result["epoch"].as_str().unwrap_or_default().to_owned();
    let offset = result.get("offset").and_then(Value::as_u64).unwrap_or(0);
    if result.get("recovered") == Some(&Value::Bool(true)) {
        if told != epoch {
            shared.book().faults.push(format!("subscriber {who}: recovered into {told}"));
        }
        for publication in result.get("publications").and_then(Value::as_array).unwrap_or(&vec![]) {
            give(shared, who, publication);
        }
    } else {
        shared.book().begin(who, (told, offset), Instant::now());
    }
    Ok(true)
}

fn give(shared: &Shared, who: usize, publication: &Value) {
    let offset = publication["offset"].as_u64().expect("an offset");
    let data = &publication["data"];
    let number = |at: usize| data[at].as_u64().expect("a number") as u32;
    let mut book = shared.book();
    let channel = book.place(who).0;
    book.deliver(who, offset, (channel, number(0), number(1)));
}
