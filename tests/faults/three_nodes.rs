//! Nothing fails but connections: clients are cut and moved between three nodes.

use crate::crowd::{Crowd, Shape, USUAL};
use crate::node::Node;
use crate::redis::Redis;
use std::time::{Duration, Instant};

#[test]
fn three_nodes() {
    let count = std::env::var("CORECAST_TEST_PUBLICATIONS").unwrap_or("5000".into());
    let count: u64 = count.parse().expect("a number");
    let redis = Redis::start();
    let nodes: Vec<Node> = (0..3).map(|_| Node::start(redis.port)).collect();
    let shape =
        Shape { channels: 8, publishers: 2, window: 32, pause: Duration::from_millis(1), ..USUAL };
    let crowd = Crowd::start(&nodes, shape);
    crowd.cut_at_random();
    let end = Instant::now() + Duration::from_secs(600);
    while crowd.acknowledged() < count {
        crowd.goes_on(count.min(1_000));
        assert!(Instant::now() < end, "too slow");
    }
    let declared = crowd.finish("three nodes");
    assert_eq!(declared, 0, "nothing was lost that had to be declared");
}
