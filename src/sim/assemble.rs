//! Builds the hosts that a plan asks for, out of the real parts, and runs them.
//!
//! Must not know how a run goes. Invariant: every seed that a part is given follows from the
//! plan's.

use super::beyond::Beyond;
use super::bridge::{Bridge, StoreFaults};
use super::caller::{API_KEY, Caller};
use super::client::Client;
use super::core::Core;
use super::driver::SimDriver;
use super::host::Host;
use super::ledger::{Ledger, SharedLedger};
use super::net::{Net, SharedNet};
use super::plan::{EngineKind, Plan, SECRET};
use super::random::Random;
use super::record::Record;
use super::redis::node::Node;
use super::redis::{Redis, SharedRedis};
use super::run::Outcome;
use crate::auth::{Auth, KeyOptions, Options};
use crate::bridge;
use crate::contract::engine::{Bridged, Engine, FromBridge, Memory, ToBridge};
use crate::contract::name::Name;
use crate::edge::ids::client_id::ClientIds;
use crate::edge::{ClientTimes, Edge, EdgeOptions, EdgeSecrets, HttpOptions};
use crate::hashing::Homes;
use crate::home::{Home, HomeOptions, HomeSecrets};
use crate::http::routes::RouteOptions;
use crate::mesh::{BridgeEndpoint, mesh};
use crate::metrics::CoreMetrics;
use crate::transport::{Plain, Transport};
use crate::worker::{Parts, Worker, WorkerEndpoint};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// Runs a plan with the engine and the transport that it drew.
#[must_use]
pub fn run(plan: Plan) -> Outcome {
    match (plan.record, plan.has_replicas()) {
        (None, false) => run_with(plan, |_| Plain, |_| Memory),
        (None, true) => run_with(plan, |_| Plain, bridged),
        (Some(_), false) => run_with(plan, record, |_| Memory),
        (Some(_), true) => run_with(plan, record, bridged),
    }
}

fn bridged(plan: &Plan) -> Bridged {
    Bridged::new(plan.slots.bridge)
}

fn record(plan: &Plan) -> Record {
    Record::new(plan.record.unwrap_or(1), plan.sealing.wears_after)
}

/// What all hosts of a run share.
struct Shared {
    net: SharedNet,
    ledger: SharedLedger,
    redis: Option<SharedRedis>,
}

impl Shared {
    fn new(plan: &Plan) -> Shared {
        let net = Rc::new(RefCell::new(Net::new(plan.cores(), plan.hosts())));
        let names = plan.channels.iter().map(|channel| channel.name.clone());
        let mut ledger = Ledger::new(names.clone());
        ledger.fails = plan.fails();
        let ledger = Rc::new(RefCell::new(ledger));
        let redis = (plan.engine == EngineKind::Redis).then(|| {
            let told = (Rc::clone(&ledger), plan.epoch_text);
            let random = Random::new(plan.seed ^ 0x4ED1_5EED);
            Rc::new(RefCell::new(Redis::new(plan.redis, names.collect(), told, random)))
        });
        Shared { net, ledger, redis }
    }
}

/// One host.
struct Made<T: Transport, E> {
    cores: Vec<Core<T, E>>,
    metrics: Vec<Arc<CoreMetrics>>,
    bridge: Beyond,
}

fn run_with<T: Transport, E: Engine>(
    plan: Plan,
    transport: impl Fn(&Plan) -> T,
    engine: impl Fn(&Plan) -> E,
) -> Outcome {
    let mut random = Random::new(plan.seed);
    let shared = Shared::new(&plan);
    let (mut cores, mut metrics, mut bridges) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..plan.hosts() {
        let made =
            make(&plan, (number, &shared), || (transport(&plan), engine(&plan)), &mut random);
        cores.extend(made.cores);
        metrics.extend(made.metrics);
        bridges.push(made.bridge);
    }
    let clients = (0..plan.clients).map(|n| Client::new(n as u16, &plan, random.fork())).collect();
    let mut host = Host {
        caller: Caller::new(random.fork()),
        lists: 0,
        net: shared.net,
        ledger: shared.ledger,
        redis: shared.redis,
        cores,
        bridges,
        clients,
        doomed: Vec::new(),
        names: names(&plan),
        random: random.fork(),
        now_us: 1_000_000,
        elsewhere: 0,
        steps: 0,
        metrics,
        plan,
    };
    host.run();
    outcome(&mut host)
}

/// Makes the host with this number.
fn make<T: Transport, E: Engine>(
    plan: &Plan,
    (number, shared): (usize, &Shared),
    parts: impl Fn() -> (T, E),
    random: &mut Random,
) -> Made<T, E> {
    let (net, ledger) = (&shared.net, &shared.ledger);
    let first = number * plan.workers;
    let (ends, bridge_ends) = mesh(plan.workers, plan.slots);
    let metrics: Vec<_> = (0..plan.workers).map(|_| Arc::new(CoreMetrics::default())).collect();
    let (homes, client_ids) = (random.key(), random.key());
    let cores = ends.into_iter().map(|ends: WorkerEndpoint| {
        let secrets = EdgeSecrets::drawn(homes, client_ids, || random.key());
        let home_secrets = HomeSecrets::drawn(|| random.key());
        let driver = SimDriver::new(
            (first + ends.core, bells(plan, number)),
            Rc::clone(net),
            Rc::clone(ledger),
            random.fork(),
            plan.faults,
        );
        let edge = edge_options(plan, ends.core as u16, secrets, &metrics);
        let home = home_options(plan, ends.core as u16, home_secrets);
        let (transport, engine) = parts();
        Core::new(Worker::new(Parts {
            driver,
            transport,
            internal_listener: None,
            edge: Edge::new(edge),
            home: Home::new(home, engine),
            metrics: Arc::clone(&metrics[ends.core]),
            mesh: ends,
            budgets: plan.budgets,
        }))
    });
    let cores: Vec<_> = cores.collect();
    let bridge = real_bridge(plan, bridge_ends, metrics.clone(), random);
    let of = (number as u8 + 1, Homes::new(homes, plan.workers), ClientIds::new(client_ids));
    let bridge = beyond(plan, (of, shared), bridge, random.fork());
    Made { cores, metrics, bridge }
}

/// The bells of a host among all.
fn bells(plan: &Plan, host: usize) -> Vec<usize> {
    let first = host * plan.workers;
    (first..first + plan.workers).chain([plan.cores() + host]).collect()
}

fn names(plan: &Plan) -> Vec<Name> {
    plan.channels.iter().map(|channel| Name::from(channel.name.as_str())).collect()
}

/// A host's bridge, and what it calls.
fn beyond(
    plan: &Plan,
    ((number, homes, ids), shared): ((u8, Homes, ClientIds), &Shared),
    bridge: bridge::Bridge,
    random: Random,
) -> Beyond {
    let net = Rc::clone(&shared.net);
    if let Some(redis) = &shared.redis {
        let index = usize::from(number) - 1;
        let place = (net, index * plan.workers, plan.cores() + index);
        let redis = (Rc::clone(redis), random);
        return Beyond::Redis(Box::new(Node::new(bridge, (number, homes, ids), place, redis)));
    }
    let faults = StoreFaults {
        loss: plan.loss_per_mille,
        double: plan.double_per_mille,
        failures: plan.failures,
        trim: plan.trim,
        epoch_text: plan.epoch_text,
    };
    let shared = (net, Rc::clone(&shared.ledger));
    Beyond::Store(Box::new(Bridge::new(bridge, faults, names(plan), shared, random)))
}

/// The bridge as the server has it, with bounds that are reached.
fn real_bridge(
    plan: &Plan,
    ends: BridgeEndpoint<ToBridge, FromBridge>,
    metrics: Vec<Arc<CoreMetrics>>,
    random: &mut Random,
) -> bridge::Bridge {
    bridge::Bridge::new(bridge::Parts {
        ends,
        metrics,
        probe_interval_us: plan.probe_us,
        items_per_lane: random.pick(&[1, 1, 4, 64]),
        most_notices: random.pick(&[1, 4, 16]),
    })
}

fn outcome<T: Transport, E: Engine>(host: &mut Host<T, E>) -> Outcome {
    let high = host.cores.iter_mut().map(|core| core.worker.driver().arena_high()).max();
    let ledger = host.ledger.borrow();
    Outcome {
        violations: ledger.violations.clone(),
        publications: ledger.publications.len() as u64,
        deliveries: ledger.deliveries,
        turns: host.cores.iter().map(|core| core.turns).sum(),
        steps: host.steps,
        simulated_us: host.now_us,
        told: ledger.told,
        latest_us: ledger.latest_us,
        most_passed: ledger.most_passed,
        stages_cut: host.metrics.iter().map(|core| core.stages_cut.get()).sum(),
        arena_over: high.unwrap_or(0).saturating_sub(host.plan.limits.arena_bytes as usize),
        ..Outcome::default()
    }
}

fn edge_options(
    plan: &Plan,
    core: u16,
    secrets: EdgeSecrets,
    metrics: &[Arc<CoreMetrics>],
) -> EdgeOptions {
    let routes = RouteOptions {
        websocket_paths: vec!["/connection/websocket".to_owned()],
        dev: false,
        serves_api: true,
    };
    EdgeOptions {
        core,
        homes: plan.workers as u16,
        namespaces: plan.namespaces.clone(),
        limits: plan.limits.clone(),
        times: ClientTimes {
            ping_interval_ms: plan.ping_ms as u32,
            pong_timeout_ms: plan.pong_ms as u32,
            connect_timeout_ms: 10_000,
        },
        auth: auth(),
        http: HttpOptions {
            internal_routes: routes.clone(),
            routes,
            origins: crate::http::origin::Origins::default(),
            trusted: crate::http::forwarded::Trusted::default(),
            api_key: Some(API_KEY.as_bytes().to_vec()),
            dev: false,
            node: ("uid".to_owned(), "name".to_owned()),
            process: Default::default,
            driver: "sim",
            store: None,
        },
        secrets,
        metrics: metrics.to_vec(),
    }
}

fn auth() -> Auth {
    let keys = KeyOptions { hmac_secrets: vec![SECRET.to_vec()], ..KeyOptions::default() };
    Auth::new(&Options { keys, allow_anonymous: true, ..Options::default() }).expect("a good key")
}

fn home_options(plan: &Plan, core: u16, secrets: HomeSecrets) -> HomeOptions {
    HomeOptions {
        core,
        cores: plan.workers,
        namespaces: plan.namespaces.clone(),
        limits: plan.limits.clone(),
        secrets,
    }
}
