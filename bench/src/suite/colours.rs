//! How a contender is told from others in pictures. Invariant: it looks the same in all of them.

/// The class that gives a contender its colour.
#[must_use]
pub fn colour(name: &str) -> &'static str {
    match name {
        "floor-ring" | "floor-epoll" => "floor",
        "uwebsockets" => "c3",
        "ws" => "c4",
        "centrifuge" | "centrifugo" => "c5",
        "socketio" | "socketio-redis" => "c6",
        name if name.starts_with("centrif") => "c5",
        name if name.starts_with("corecast-epoll") => "c2",
        _ => "c1",
    }
}

/// Those that share a colour are distinguished by a dashed line.
#[must_use]
pub fn dash(name: &str) -> &'static str {
    let second = ["floor-epoll", "-raw", "-protobuf", "-msgpack", "-redis"];
    if second.iter().any(|end| name.ends_with(end)) { " dash" } else { "" }
}
