//! Calls of the server API that are invalid, too many or too large: each is answered with an error
//! in its place, and the server keeps running.

use crate::client::{Answer, Client};
use crate::server::{API_KEY, Server, Setup, limits};
use crate::{on_both_drivers, serve};
use serde_json::{Value, json};

on_both_drivers!(
    bad_calls,
    methods_and_paths,
    errors_as_statuses,
    partial_failures,
    bounded_calls,
    memory_of_calls,
    lists_in_parts,
    pipelined_calls,
    commands_one_behind_the_other,
);

/// One call, with the key; returns its answer in JSON.
fn call(server: &Server, method: &str, body: &str) -> Value {
    let answer = Client::post(server.addr, &format!("/api/{method}"), body);
    assert_eq!(answer.status, 200, "{method} {body}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.body))
}

fn code(answer: &Value) -> u64 {
    answer["error"]["code"].as_u64().unwrap_or(0)
}

fn bad_calls(driver: &str) {
    let server = serve!(driver, Setup { workers: 2, ..limits("message_bytes = 1024") });
    let neighbour = server.neighbour();
    let deep = format!(r#"{{"channel":"n:a","data":{}{}}}"#, "[".repeat(65), "]".repeat(65));
    let large = format!(r#"{{"channel":"n:a","data":"{}"}}"#, "x".repeat(1_100));
    let long = format!(r#"{{"channel":"n:{}","data":1}}"#, "x".repeat(300));
    let epoch = "e".repeat(65);
    let epoch = format!(r#"{{"channel":"h:a","data":1,"version":1,"version_epoch":"{epoch}"}}"#);
    let cases: [(&str, &str, u64); 42] = [
        ("publish", "", 107),
        ("publish", "{", 107),
        ("publish", "null", 107),
        ("publish", "[]", 107),
        ("publish", r#"{"channel":"n:a"}"#, 107),
        ("publish", r#"{"channel":"n:a","data":1,"data":2}"#, 107),
        ("publish", r#"{"channel":7,"data":1}"#, 107),
        ("publish", r#"{"channel":"n:a","data":nul}"#, 107),
        ("publish", r#"{"channel":"n:a","b64data":"/w=="}"#, 107),
        ("publish", r#"{"channel":"nowhere:a","data":1}"#, 102),
        ("publish", &deep, 107),
        ("publish", &large, 106),
        ("publish", &long, 107),
        ("publish", r#"{"channel":"n:a","data":1,"version":1}"#, 108),
        ("broadcast", r#"{"channels":[],"data":1}"#, 107),
        ("publish", r#"{"channel":"h:a","data":1,"version":1,"skip_history":true}"#, 108),
        ("publish", &epoch, 107),
        ("broadcast", r#"{"channels":[],"data":1,"version":1}"#, 107),
        ("presence", "{}", 107),
        ("presence", r#"{"channel":"n:a"}"#, 108),
        ("presence", r#"{"channel":"nowhere:a"}"#, 102),
        ("presence_stats", r#"{"channel":"n:a"}"#, 108),
        ("history", r#"{"channel":"n:a"}"#, 108),
        ("history", r#"{"channel":"h:a","since":{"offset":1,"epoch":"other"}}"#, 112),
        ("history", r#"{"channel":"h:a","limit":"7"}"#, 107),
        ("history_remove", r#"{"channel":"n:a"}"#, 108),
        ("history_remove", r#"{"channel":"nowhere:a"}"#, 102),
        ("subscribe", r#"{"user":"u","channel":"nowhere:a"}"#, 102),
        ("subscribe", r#"{"channel":"n:a"}"#, 107),
        ("subscribe", r#"{"user":"u","channel":"n:a","expire_at":1}"#, 110),
        ("subscribe", r#"{"user":"u","channel":"n:a","session":"s"}"#, 108),
        ("unsubscribe", r#"{"user":"u","channel":"nowhere:a"}"#, 102),
        ("unsubscribe", r#"{"user":"u"}"#, 107),
        ("disconnect", r#"{"user":"u","session":"s"}"#, 108),
        ("disconnect", r#"{"user":"u","disconnect":{"code":1006,"reason":""}}"#, 107),
        ("refresh", r#"{"user":""}"#, 107),
        ("refresh", r#"{"user":"u","session":"s"}"#, 108),
        ("channels", r#"{"pattern":"[a"}"#, 107),
        ("rpc", r#"{"method":"unheard"}"#, 104),
        ("rpc", "{}", 107),
        ("batch", "{}", 107),
        ("batch", r#"{"commands":[{"publish":{"channel":"n:a","data":1}},]}"#, 107),
    ];
    for (method, body, expected) in cases {
        let answer = call(&server, method, body);
        assert_eq!(code(&answer), expected, "{method} {body}: {answer}");
    }
    server.settles("api_bytes", 0);
    neighbour.end();
    server.end();
}

/// One request with these bytes; the client closes the connection.
fn raw(server: &Server, head: &str, body: &str) -> Answer {
    let mut client = Client::open(server.addr);
    let length = body.len();
    client.send(format!("{head}Host: x\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes());
    client.answer().expect("an answer")
}

fn methods_and_paths(driver: &str) {
    let server = serve!(driver, limits(""));
    let neighbour = server.neighbour();
    let key = format!("X-API-Key: {API_KEY}\r\n");
    let body = r#"{"channel":"n:a","data":1}"#;
    let cases = [
        ("POST /api/publish", key.as_str(), 200),
        ("POST /api/publish?api_key=x", &key, 200),
        ("POST /api/publish", "Authorization: apikey key-of-the-tests\r\n", 200),
        // The content type of `curl -d`; no server looks at it.
        ("POST /api/publish", &format!("{key}Content-Type: text/plain\r\n"), 200),
        ("POST /api/publish", "", 401),
        ("POST /api/publish", "X-API-Key: key-of-the-test\r\n", 401),
        ("POST /api/publish", "Authorization: Bearer key-of-the-tests\r\n", 401),
        ("POST /api/publish?api_key=key-of-the-tests", "", 401),
        ("GET /api/publish", &key, 405),
        ("PUT /api/info", &key, 405),
        ("POST /api/map_publish", &key, 200),
        ("POST /api/maps", &key, 404),
        ("POST /api/", &key, 404),
        ("POST /api/publish/", &key, 404),
    ];
    for (line, headers, status) in cases {
        let answer = raw(&server, &format!("{line} HTTP/1.1\r\n{headers}"), body);
        assert_eq!(answer.status, status, "{line} {headers}: {}", answer.body);
    }
    let document = Client::get(server.addr, "/api/openapi.json").expect("an answer");
    let document: Value = serde_json::from_str(&document.body).expect("JSON");
    assert_eq!(document["openapi"], "3.1.0");
    neighbour.end();
    server.end();

    // Without a key a page of another origin could make calls: its browser sends the origin.
    let Some(open) = Server::start_dev(driver) else { return };
    for (origin, status) in
        [("", 200), ("http://localhost:3000", 200), ("https://evil.example", 403)]
    {
        let header =
            if origin.is_empty() { String::new() } else { format!("Origin: {origin}\r\n") };
        let head = format!("POST /api/publish HTTP/1.1\r\n{header}");
        assert_eq!(
            raw(&open, &head, r#"{"channel":"chat:a","data":1}"#).status,
            status,
            "{origin}"
        );
    }
    open.end();
}

/// Commands in the form of older libraries: `{"method", "params"}`, with one line for each answer.
fn commands_one_behind_the_other(driver: &str) {
    let server = serve!(driver, limits(""));
    let publish = |n: u32| json!({"method": "publish", "params": {"channel": "h:a", "data": n}});
    let post = |commands: &[Value], between: &str| {
        let body = commands.iter().map(Value::to_string).collect::<Vec<_>>().join(between);
        let answer = Client::post(server.addr, "/api", &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let lines = answer.body.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        lines.collect::<Vec<Value>>()
    };
    assert_eq!(post(&[publish(1)], "")[0]["result"]["offset"], 1);
    let mut offset = 1;
    for between in ["\n", "", " \r\n"] {
        let history = json!({"method": "history", "params": {"channel": "h:a", "limit": -1}});
        let unknown = json!({"method": "levitate", "params": {}});
        let nowhere = json!({"method": "publish", "params": {"channel": "x:a", "data": 1}});
        let info = json!({"method": "info"});
        let commands = [publish(2), unknown, nowhere, json!(7), history, info, publish(3)];
        let answers = post(&commands, between);
        let codes: Vec<u64> = answers.iter().map(code).collect();
        assert_eq!(codes, [0, 104, 102, 107, 0, 0, 0], "{between:?}: {answers:?}");
        assert_eq!(answers[0]["result"]["offset"], offset + 1);
        let kept = answers[4]["result"]["publications"].as_array().map(Vec::len);
        assert_eq!(kept, Some(offset + 1), "in their order");
        assert!(answers[5]["result"]["nodes"].is_array());
        offset += 2;
        assert_eq!(answers[6]["result"]["offset"], offset);
    }
    // If the body is not valid JSON as a whole, nothing of it is carried out.
    for body in
        ["", "{", "[1", &format!("{}x", publish(9)), &format!("{},{}", publish(9), publish(9))]
    {
        let answer = Client::post(server.addr, "/api", body);
        let answer: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(code(&answer), 107, "{body}: {answer}");
    }
    assert_eq!(post(&[publish(1)], "")[0]["result"]["offset"], offset + 1);
    let many = vec![json!({"method": "info"}); 10_001];
    assert_eq!(code(&post(&many, "\n")[0]), 106);
    let open = raw(&server, "POST /api HTTP/1.1\r\n", "{}");
    assert_eq!(open.status, 401);
    server.end();
}

fn errors_as_statuses(driver: &str) {
    let server = serve!(driver, limits(""));
    let head = |method: &str| {
        format!(
            "POST /api/{method} HTTP/1.1\r\nX-API-Key: {API_KEY}\r\n\
             X-Centrifugo-Error-Mode: transport\r\n"
        )
    };
    let many = json!({"channels": vec!["n:a"; 10_001], "data": 1}).to_string();
    let cases = [
        ("publish", r#"{"channel":"n:a","data":1}"#, 200, 0),
        ("publish", "{}", 400, 107),
        ("publish", r#"{"channel":"nowhere:a","data":1}"#, 404, 102),
        ("presence", r#"{"channel":"n:a"}"#, 400, 108),
        ("subscribe", r#"{"user":"u","channel":"n:a","expire_at":1}"#, 400, 110),
        ("rpc", r#"{"method":"x"}"#, 404, 104),
        ("history", r#"{"channel":"h:a","since":{"offset":1,"epoch":"x"}}"#, 416, 112),
        ("batch", "{}", 400, 107),
        ("broadcast", &many, 429, 106),
        ("batch", r#"{"commands":[{}]}"#, 200, 0),
    ];
    for (method, body, status, expected) in cases {
        let answer = raw(&server, &head(method), body);
        assert_eq!(answer.status, status, "{method} {body}: {}", answer.body);
        let json: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(json["code"].as_u64().unwrap_or(0), expected, "{json}");
    }
    server.end();
}

fn partial_failures(driver: &str) {
    let server = serve!(driver, Setup { workers: 3, ..limits("") });
    let neighbour = server.neighbour();
    let broadcast = call(
        &server,
        "broadcast",
        r#"{"channels":["h:a","nowhere:x","n:b","","h:a"],"data":{"a":1}}"#,
    );
    let codes = |answers: &Value| -> Vec<u64> {
        answers.as_array().expect("answers").iter().map(code).collect()
    };
    let responses = &broadcast["result"]["responses"];
    assert_eq!(codes(responses), [0, 102, 0, 107, 0]);
    assert_eq!(responses[0]["result"]["offset"], 1);
    assert_eq!(responses[4]["result"]["offset"], 2, "in the order of the list");
    assert_eq!(responses[2]["result"], json!({}));

    for parallel in [false, true] {
        let body = json!({"parallel": parallel, "commands": [
            {"publish": {"channel": "h:b", "data": 1}},
            {"publish": {"channel": "nowhere:x", "data": 1}},
            {"publish": {"channel": "h:b"}},
            {"broadcast": {"channels": ["h:b", "nowhere:x"], "data": 2}},
            {},
            {"unheard": {}},
            {"history": {"channel": "h:b", "limit": 2, "reverse": true}},
            {"rpc": {"method": "echo", "params": [1, {"a": null}]}},
            {"info": {}},
            {"presence": {"channel": "n:a"}},
            {"history_remove": {"channel": "h:b"}},
        ]});
        let answer = call(&server, "batch", &body.to_string());
        let replies = &answer["replies"];
        assert_eq!(codes(replies), [0, 102, 107, 0, 104, 104, 0, 0, 0, 108, 0], "{answer}");
        assert_eq!(codes(&replies[3]["broadcast"]["responses"]), [0, 102]);
        let page = &replies[6]["history"]["publications"];
        assert_eq!((&page[0]["data"], &page[1]["data"]), (&json!(2), &json!(1)), "{answer}");
        assert_eq!(replies[7]["rpc"]["data"], json!([1, {"a": null}]));
        assert!(replies[8]["info"]["nodes"][0]["uid"].is_string());
        assert_eq!(replies[10], json!({"history_remove": {}}));
    }
    server.settles("api_bytes", 0);
    neighbour.end();
    server.end();
}

fn bounded_calls(driver: &str) {
    let server = serve!(driver, limits(""));
    let neighbour = server.neighbour();
    let broadcast = |count: usize| json!({"channels": vec!["n:a"; count], "data": 1}).to_string();
    let all = call(&server, "broadcast", &broadcast(10_000));
    assert_eq!(all["result"]["responses"].as_array().map(Vec::len), Some(10_000));
    assert_eq!(code(&call(&server, "broadcast", &broadcast(10_001))), 106);
    let batch = |count: usize| json!({"commands": vec![json!({"rpc": {"method": "ping"}}); count]});
    let all = call(&server, "batch", &batch(10_000).to_string());
    assert_eq!(all["replies"].as_array().map(Vec::len), Some(10_000));
    assert_eq!(code(&call(&server, "batch", &batch(10_001).to_string())), 106);
    // An answer larger than one call may have: what does not fit is refused in its place.
    let payload = "x".repeat(60_000);
    for _ in 0..8 {
        server.publish("h:big", &format!("\"{payload}\""));
    }
    let history = json!({"history": {"channel": "h:big", "limit": -1}});
    let answer = call(&server, "batch", &json!({"commands": vec![history; 40]}).to_string());
    let codes: Vec<u64> = answer["replies"].as_array().expect("replies").iter().map(code).collect();
    assert_eq!(codes.len(), 40);
    assert_eq!((codes[0], codes[39]), (0, 106), "{codes:?}");
    server.settles("api_bytes", 0);
    server.settles("backlog_bytes", 0);
    neighbour.end();
    server.end();
}

/// Bodies that never end: they are counted, and over the bound the next call is refused.
fn memory_of_calls(driver: &str) {
    let server = serve!(driver, limits("api_bytes_per_worker = 1000000"));
    let neighbour = server.neighbour();
    let head = format!(
        "POST /api/publish HTTP/1.1\r\nHost: x\r\nX-API-Key: {API_KEY}\r\n\
         Content-Length: 400001\r\n\r\n"
    );
    let begun = || {
        let mut client = Client::open(server.addr);
        client.send(head.as_bytes());
        client.send(&vec![b' '; 400_000]);
        client
    };
    let (first, second) = (begun(), begun());
    server.settles("api_bytes", 800_000);
    let mut third = begun();
    let refused = third.answer().expect("an answer");
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.head.contains("retry-after: 5"), "{}", refused.head);
    server.settles("api_bytes", 800_000);
    drop(first);
    server.settles("api_bytes", 400_000);
    assert_eq!(code(&server.publish("n:a", "1")), 0, "there is room again");
    drop((second, third));
    server.settles("api_bytes", 0);
    neighbour.end();
    server.end();
}

/// Lists longer than a part, from homes on several workers.
fn lists_in_parts(driver: &str) {
    const CHANNELS: usize = 5_000;
    let server = serve!(driver, Setup { workers: 3, ..limits("channels_per_connection = 10000") });
    let mut client = server.client();
    for first in (0..CHANNELS).step_by(500) {
        let command = |at: usize| {
            json!({"id": at + 2, "subscribe": {"channel": format!("n:list{at}")}}).to_string()
        };
        client.text(&(first..first + 500).map(command).collect::<Vec<_>>().join("\n"));
        for at in first..first + 500 {
            assert!(client.answer_to(at as u32 + 2)["error"].is_null());
        }
    }
    let all = call(&server, "channels", "{}");
    let all = all["result"]["channels"].as_object().expect("channels");
    assert_eq!(all.len(), CHANNELS);
    assert!(all.values().all(|info| info["num_clients"] == 1));
    let some = call(&server, "channels", r#"{"pattern":"n:list4?"}"#);
    assert_eq!(some["result"]["channels"].as_object().map(serde_json::Map::len), Some(10));
    assert_eq!(call(&server, "info", "{}")["result"]["nodes"][0]["num_channels"], CHANNELS);
    server.end();
}

/// Pipelined calls on one connection are answered in order.
fn pipelined_calls(driver: &str) {
    let server = serve!(driver, Setup { workers: 2, ..limits("") });
    let mut client = Client::open(server.addr);
    let mut requests = Vec::new();
    for number in 0..50 {
        let body = match number % 2 {
            0 => r#"{"channels":["h:p","h:q"],"data":1}"#.to_owned(),
            _ => format!(r#"{{"method":"echo","params":{number}}}"#),
        };
        let method = ["broadcast", "rpc"][number % 2];
        let length = body.len();
        requests.extend(
            format!(
                "POST /api/{method} HTTP/1.1\r\nHost: x\r\nX-API-Key: {API_KEY}\r\n\
                 Content-Length: {length}\r\n\r\n{body}"
            )
            .bytes(),
        );
    }
    client.send(&requests);
    for number in 0..50 {
        let answer = client.answer().expect("an answer");
        let answer: Value = serde_json::from_str(&answer.body).expect("JSON");
        let result = &answer["result"];
        if number % 2 == 1 {
            assert_eq!(result["data"], number);
        } else {
            assert_eq!(result["responses"][0]["result"]["offset"], number / 2 + 1);
        }
    }
    server.end();
}
