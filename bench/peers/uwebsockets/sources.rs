//! Empty: cargo wants a target beside the pin in Cargo.toml.
