//! The only way in which cores communicate: lanes for every ordered pair, and doorbells.
//!
//! Generic over what crosses; must not know an envelope. Invariant: each end of a lane has one
//! owner.

mod doorbell;
mod lane;
mod room;
mod sync;

pub use doorbell::Doorbell;
pub use lane::{Receiver, Sender, lane};
pub use room::Room;

/// A worker's ends: `R` requests and `D` deliveries between workers, `U` up to the bridge and `A`
/// back from it. Lists are indexed by the other core.
pub struct Endpoint<R, D, U, A> {
    pub core: usize,
    pub requests_out: Vec<Sender<R>>,
    pub requests_in: Vec<Receiver<R>>,
    pub deliveries_out: Vec<Sender<D>>,
    pub deliveries_in: Vec<Receiver<D>>,
    pub to_bridge: Sender<U>,
    pub from_bridge: Receiver<A>,
    /// Every core's doorbell, the bridge's last.
    pub bells: Vec<Doorbell>,
}

/// The bridge's ends, indexed by worker.
pub struct BridgeEndpoint<U, A> {
    pub from_workers: Vec<Receiver<U>>,
    pub to_workers: Vec<Sender<A>>,
    pub bells: Vec<Doorbell>,
}

/// Lane capacities.
#[derive(Clone, Copy, Debug)]
pub struct Slots {
    pub requests: usize,
    pub deliveries: usize,
    pub bridge: usize,
}

/// Every worker's ends, and the bridge's.
pub type Mesh<R, D, U, A> = (Vec<Endpoint<R, D, U, A>>, BridgeEndpoint<U, A>);

/// Builds the lanes between `workers` cores and the bridge.
#[must_use]
pub fn mesh<R, D, U, A>(workers: usize, slots: Slots) -> Mesh<R, D, U, A> {
    assert!(workers > 0, "a host has a worker");
    let bells: Vec<Doorbell> = (0..=workers).map(|_| Doorbell::default()).collect();
    let mut bridge =
        BridgeEndpoint { from_workers: Vec::new(), to_workers: Vec::new(), bells: bells.clone() };
    let mut endpoints: Vec<Endpoint<R, D, U, A>> = (0..workers)
        .map(|core| {
            let (to_bridge, from_worker) = lane(slots.bridge);
            let (to_worker, from_bridge) = lane(slots.bridge);
            bridge.from_workers.push(from_worker);
            bridge.to_workers.push(to_worker);
            Endpoint {
                core,
                requests_out: Vec::with_capacity(workers),
                requests_in: Vec::with_capacity(workers),
                deliveries_out: Vec::with_capacity(workers),
                deliveries_in: Vec::with_capacity(workers),
                to_bridge,
                from_bridge,
                bells: bells.clone(),
            }
        })
        .collect();
    for from in 0..workers {
        for to in 0..workers {
            let (sender, receiver) = lane(slots.requests);
            endpoints[from].requests_out.push(sender);
            endpoints[to].requests_in.push(receiver);
            let (sender, receiver) = lane(slots.deliveries);
            endpoints[from].deliveries_out.push(sender);
            endpoints[to].deliveries_in.push(receiver);
        }
    }
    assert_eq!(bridge.from_workers.len(), bridge.to_workers.len(), "a lane each way");
    for end in &endpoints {
        assert_eq!(end.requests_out.len(), workers, "a lane to every home, its own too");
        assert_eq!(end.requests_in.len(), workers, "a lane from every edge, its own too");
        assert_eq!(end.deliveries_out.len(), workers, "a lane to every edge, its own too");
        assert_eq!(end.deliveries_in.len(), workers, "a lane from every home, its own too");
    }
    (endpoints, bridge)
}
