//! Builds the host that a plan asks for, out of the real parts, and runs it.
//!
//! Must not know how a run goes. Invariant: every seed that a part is given follows from the
//! plan's.

use super::bridge::{Bridge, StoreFaults};
use super::caller::{API_KEY, Caller};
use super::client::Client;
use super::core::Core;
use super::driver::SimDriver;
use super::host::Host;
use super::ledger::{Ledger, SharedLedger};
use super::net::{Net, SharedNet};
use super::plan::{Plan, SECRET};
use super::random::Random;
use super::record::Record;
use super::run::Outcome;
use crate::auth::{Auth, KeyOptions, Options};
use crate::bridge;
use crate::contract::engine::{Bridged, Engine, FromBridge, Memory, ToBridge};
use crate::contract::name::Name;
use crate::edge::{ClientTimes, Edge, EdgeOptions, EdgeSecrets, HttpOptions};
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
    match (plan.record, plan.late) {
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

fn run_with<T: Transport, E: Engine>(
    plan: Plan,
    transport: impl Fn(&Plan) -> T,
    engine: impl Fn(&Plan) -> E,
) -> Outcome {
    let mut random = Random::new(plan.seed);
    let net: SharedNet = Rc::new(RefCell::new(Net::new(plan.workers)));
    let names = plan.channels.iter().map(|channel| channel.name.clone());
    let mut ledger = Ledger::new(names);
    ledger.fails = plan.fails();
    let ledger: SharedLedger = Rc::new(RefCell::new(ledger));
    let (ends, bridge_ends) = mesh(plan.workers, plan.slots);
    let metrics: Vec<_> = (0..plan.workers).map(|_| Arc::new(CoreMetrics::default())).collect();
    let (homes, client_ids) = (random.key(), random.key());
    let cores = ends.into_iter().map(|ends: WorkerEndpoint| {
        let secrets = EdgeSecrets::drawn(homes, client_ids, || random.key());
        let home_secrets = HomeSecrets::drawn(|| random.key());
        let driver = SimDriver::new(
            ends.core,
            Rc::clone(&net),
            Rc::clone(&ledger),
            random.fork(),
            plan.faults,
        );
        let edge = edge_options(&plan, ends.core as u16, secrets, &metrics);
        let home = home_options(&plan, ends.core as u16, home_secrets);
        Core::new(Worker::new(Parts {
            driver,
            transport: transport(&plan),
            internal_listener: None,
            edge: Edge::new(edge),
            home: Home::new(home, engine(&plan)),
            metrics: Arc::clone(&metrics[ends.core]),
            mesh: ends,
            budgets: plan.budgets,
        }))
    });
    let cores: Vec<_> = cores.collect();
    let faults = StoreFaults {
        loss: plan.loss_per_mille,
        double: plan.double_per_mille,
        failures: plan.failures,
        trim: plan.trim,
        epoch_text: plan.epoch_text,
    };
    let names: Vec<Name> =
        plan.channels.iter().map(|channel| Name::from(channel.name.as_str())).collect();
    let shared = (Rc::clone(&net), Rc::clone(&ledger));
    let bridge = real_bridge(&plan, bridge_ends, metrics.clone(), &mut random);
    let bridge = Bridge::new(bridge, faults, names.clone(), shared, random.fork());
    let clients = (0..plan.clients).map(|n| Client::new(n as u16, &plan, random.fork())).collect();
    let mut host = Host {
        caller: Caller::new(random.fork()),
        net,
        ledger,
        cores,
        bridge,
        clients,
        doomed: Vec::new(),
        names,
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
