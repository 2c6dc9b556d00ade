//! Which path leads to what. Must not know connections or bodies; the caller decides what a route
//! does.

use super::page::{self, Asset};
use crate::api::ApiMethod;

/// What a listener serves.
#[derive(Clone, Debug)]
pub struct RouteOptions {
    pub websocket_paths: Vec<String>,
    /// The demo page and `/echo`.
    pub dev: bool,
    /// `/api` and `/metrics`: the public listener has them unless there is an internal one.
    pub serves_api: bool,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// This worker is running.
    Health,
    /// Every worker answered its last probe in time.
    Ready,
    Metrics,
    Api(ApiMethod),
    /// The description of the server API.
    OpenApi,
    Asset(&'static Asset),
    /// Centrifugo's protocol, after an upgrade.
    WebSocket,
    /// Every message is sent back, after an upgrade.
    Echo,
    /// 404
    NotFound,
    /// 405, with this `Allow` header.
    MethodNotAllowed {
        allow: &'static str,
    },
}

const READ: &str = "GET, HEAD";

/// Finds a request's route; `target` is the request target as it was sent, with its query.
#[must_use]
pub fn route(method: &str, target: &str, options: &RouteOptions) -> Route {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let (allow, found) = match path {
        "/health" => (READ, Route::Health),
        "/ready" => (READ, Route::Ready),
        "/metrics" if options.serves_api => (READ, Route::Metrics),
        "/api/openapi.json" if options.serves_api => (READ, Route::OpenApi),
        _ if let Some(method) = api_method(path).filter(|_| options.serves_api) => {
            ("POST", Route::Api(method))
        }
        "/echo" if options.dev => ("GET", Route::Echo),
        _ if options.websocket_paths.iter().any(|known| known == path) => ("GET", Route::WebSocket),
        _ => match page::asset(path) {
            Some(asset) if options.dev => (READ, Route::Asset(asset)),
            _ => return Route::NotFound,
        },
    };
    if allow.split(", ").any(|allowed| allowed == method) {
        found
    } else {
        Route::MethodNotAllowed { allow }
    }
}

/// Is this path reserved for the server, on any listener and in any mode?
#[must_use]
pub fn is_own(path: &str) -> bool {
    let all = RouteOptions { websocket_paths: Vec::new(), dev: true, serves_api: true };
    path.starts_with("/api/") || route("GET", path, &all) != Route::NotFound
}

fn api_method(path: &str) -> Option<ApiMethod> {
    match path.strip_prefix("/api")? {
        "" => Some(ApiMethod::Commands),
        path => ApiMethod::named(path.strip_prefix('/')?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_and_method() {
        let websocket_paths = vec!["/connection/websocket".to_owned(), "/ws".to_owned()];
        let public = RouteOptions { websocket_paths, dev: false, serves_api: false };
        let internal = RouteOptions { serves_api: true, ..public.clone() };
        let dev = RouteOptions { dev: true, ..internal.clone() };
        let get_only = Route::MethodNotAllowed { allow: "GET" };
        let read_only = Route::MethodNotAllowed { allow: "GET, HEAD" };
        let post_only = Route::MethodNotAllowed { allow: "POST" };
        let publish = Route::Api(ApiMethod::Publish);
        let batch = Route::Api(ApiMethod::Batch);
        let map = Route::Api(ApiMethod::Map);
        let commands = Route::Api(ApiMethod::Commands);
        let page = Route::Asset(page::asset("/").expect("the page"));
        let missing = Route::NotFound;
        // Method, target, then the route on the public, the internal, and the dev listener.
        let cases = [
            ("GET", "/health", Route::Health, Route::Health, Route::Health),
            ("HEAD", "/ready?verbose", Route::Ready, Route::Ready, Route::Ready),
            ("POST", "/health", read_only, read_only, read_only),
            ("GET", "/metrics", missing, Route::Metrics, Route::Metrics),
            ("POST", "/api/publish", missing, publish, publish),
            ("GET", "/api/publish", missing, post_only, post_only),
            ("PUT", "/api/disconnect", missing, post_only, post_only),
            ("POST", "/api/batch?x=/api/info", missing, batch, batch),
            ("GET", "/api/openapi.json", missing, Route::OpenApi, Route::OpenApi),
            ("POST", "/api/map_publish", missing, map, map),
            ("POST", "/api/map", missing, missing, missing),
            ("POST", "/api/Publish", missing, missing, missing),
            ("POST", "/api/publish/", missing, missing, missing),
            ("POST", "/api/", missing, missing, missing),
            ("POST", "/api", missing, commands, commands),
            ("GET", "/api?x", missing, post_only, post_only),
            ("POST", "/apis", missing, missing, missing),
            ("POST", "/api/commands", missing, missing, missing),
            ("GET", "/ws", Route::WebSocket, Route::WebSocket, Route::WebSocket),
            ("GET", "/ws?format=json", Route::WebSocket, Route::WebSocket, Route::WebSocket),
            ("POST", "/connection/websocket", get_only, get_only, get_only),
            ("get", "/ws", get_only, get_only, get_only),
            ("GET", "/ws/", missing, missing, missing),
            ("GET", "/echo", missing, missing, Route::Echo),
            ("GET", "/", missing, missing, page),
            ("DELETE", "/", missing, missing, read_only),
            ("GET", "/../etc/passwd", missing, missing, missing),
            ("GET", "", missing, missing, missing),
        ];
        for (method, target, on_public, on_internal, on_dev) in cases {
            let routes = [&public, &internal, &dev].map(|options| route(method, target, options));
            assert_eq!(routes, [on_public, on_internal, on_dev], "{method} {target}");
        }
    }
}
