//! Names that are banned, with the places that are exempt and the reason for each.

use crate::source::{Source, Token, closing, tokens};

/// What is banned, why, and the exempt paths (as prefixes).
pub struct Ban {
    pub name: &'static str,
    pub reason: &'static str,
    pub except: &'static [Exception],
}

pub struct Exception {
    pub prefix: &'static str,
    pub reason: &'static str,
}

const fn except(prefix: &'static str, reason: &'static str) -> Exception {
    Exception { prefix, reason }
}

const SOCKETS: &[Exception] = &[
    except("src/driver/", "speaks to the kernel"),
    except("src/bridge/", "talks outward"),
    except("src/server", "opens the listeners"),
];
const CLOCKS: &[Exception] = &[
    except("src/driver/", "time-outs of its own waits"),
    except("src/bridge/", "runs on a runtime"),
    except("src/server", "takes the moment of each turn"),
];
const KERNEL: &[Exception] = &[
    except("src/driver/", "speaks to the kernel"),
    except("src/server", "opens listeners, reads limits, pins threads"),
];
const ATOMICS: &[Exception] = &[
    except("src/mesh/", "doorbell and want-room flags"),
    except("src/metrics", "counters with one writer"),
    except("src/driver/uring/buffers.rs", "the ring's tail, which the kernel reads"),
    except("src/rules.rs", "the rule that is switched off, under sabotage"),
    except("src/server", "the signal that ends the process"),
    except("src/logging.rs", "lines that any thread dropped, and that the process ends"),
];
const ARCS: &[Exception] = &[
    except("src/contract/name.rs", "a name that edge and home both keep"),
    except("src/contract/infos.rs", "what members are told of each other, kept and sent"),
    except("src/contract/user.rs", "a command for connections of several cores"),
    except("src/mesh/", "the flags of a lane, shared by its two ends"),
    except("src/metrics", "counters that any core may read"),
    except("src/edge/mod.rs", "handles on counters"),
    except("src/worker/", "handles on counters"),
    except("src/bridge/", "handles on counters"),
    except("src/sim/", "handles on counters"),
    except("src/server", "hands counters and configuration to the cores"),
];

/// The table. A name is a sequence of words and marks; `*` at the end of one matches any rest.
pub const BANS: &[Ban] = &[
    Ban { name: "TcpListener", reason: "sockets belong to the driver", except: SOCKETS },
    Ban { name: "TcpStream", reason: "sockets belong to the driver", except: SOCKETS },
    Ban { name: "UdpSocket", reason: "sockets belong to the driver", except: SOCKETS },
    Ban { name: "UnixStream", reason: "sockets belong to the driver", except: SOCKETS },
    Ban { name: "ToSocketAddrs", reason: "resolving names blocks a core", except: SOCKETS },
    Ban { name: "Instant", reason: "time is an argument: clock::Now", except: CLOCKS },
    Ban { name: "SystemTime", reason: "time is an argument: clock::Now", except: CLOCKS },
    Ban { name: "io_uring::", reason: "only the driver knows io_uring", except: KERNEL },
    Ban { name: "rustix::", reason: "system calls belong to the driver", except: KERNEL },
    Ban { name: "libc::", reason: "system calls belong to the driver", except: KERNEL },
    Ban { name: "core_affinity::", reason: "the server pins threads", except: KERNEL },
    Ban {
        name: "monoio::",
        reason: "the bridge's runtime",
        except: &[except("src/bridge/", "runs on it"), except("src/server", "starts it")],
    },
    Ban {
        name: "rtrb::",
        reason: "lanes are the mesh's",
        except: &[except("src/mesh/", "a lane is such a ring")],
    },
    Ban { name: "Mutex", reason: "nothing on the data path is shared", except: &[] },
    Ban { name: "RwLock", reason: "nothing on the data path is shared", except: &[] },
    Ban { name: "Condvar", reason: "cores sleep in their driver", except: &[] },
    Ban {
        name: "mpsc",
        reason: "cores talk through mesh lanes",
        except: &[except("src/logging.rs", "lines of any thread, to the one that writes them")],
    },
    Ban { name: "Atomic*", reason: "nothing on the data path is shared", except: ATOMICS },
    Ban { name: "Arc", reason: "nothing on the data path is shared", except: ARCS },
    Ban { name: "thread::sleep", reason: "a core waits in its driver", except: &[] },
    Ban {
        name: "thread::spawn",
        reason: "threads are the server's",
        except: &[except("src/server", "starts the cores")],
    },
    Ban { name: "HashMap::new", reason: "default hasher: use foldhash's, seeded", except: &[] },
    Ban { name: "HashSet::new", reason: "default hasher: use foldhash's, seeded", except: &[] },
    Ban {
        name: "println!",
        reason: "panics where nobody reads: tell::out, or log through tracing",
        except: &[],
    },
    Ban {
        name: "eprintln!",
        reason: "panics where nobody reads: tell::err, or log through tracing",
        except: &[],
    },
    Ban {
        name: "process::exit",
        reason: "drops nothing: log lines stay unwritten; return an ExitCode",
        except: &[],
    },
    Ban { name: "dbg!", reason: "left over from debugging", except: &[] },
    Ban { name: "todo!", reason: "no stubs", except: &[] },
    Ban { name: "unimplemented!", reason: "no stubs", except: &[] },
    Ban { name: "static mut", reason: "nothing is shared", except: &[] },
    Ban { name: "topic*", reason: "one word for one thing: channel", except: &[] },
];

/// The only files that may contain `unsafe`, tests included.
const UNSAFE: [&str; 2] = ["src/driver/uring/mod.rs", "src/driver/uring/buffers.rs"];

/// Banned names in a file's product code, and `unsafe` anywhere in its code.
pub fn check(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    for ban in BANS {
        if ban.except.iter().any(|exception| source.path.starts_with(exception.prefix)) {
            continue;
        }
        for line in lines_with(&source.product, ban.name) {
            wrong.push(format!("{}:{line}: {}: {}", source.path, ban.name, ban.reason));
        }
    }
    if !UNSAFE.contains(&source.path.as_str()) {
        for line in lines_with(&source.code, "unsafe") {
            wrong.push(format!("{}:{line}: unsafe outside {UNSAFE:?}", source.path));
        }
    }
    for line in lines_with(&source.code, "allow(dead_code") {
        wrong.push(format!("{}:{line}: dead code is deleted", source.path));
    }
    for line in default_hashers(&source.product) {
        wrong.push(format!("{}:{line}: a map with the default hasher: foldhash's", source.path));
    }
    wrong
}

/// The lines where a sequence of words and marks begins.
pub fn lines_with(code: &[Token], name: &str) -> Vec<usize> {
    let name = name_tokens(name);
    let fits = |window: &[Token]| {
        window.iter().zip(&name).all(|(token, wanted)| match wanted.strip_suffix('*') {
            Some(start) => token.text.starts_with(start),
            None => token.text == *wanted,
        })
    };
    code.windows(name.len()).filter(|window| fits(window)).map(|window| window[0].line).collect()
}

fn name_tokens(name: &str) -> Vec<String> {
    match name.strip_suffix('*') {
        Some(start) => vec![format!("{start}*")],
        None => tokens(name).into_iter().map(|token| token.text).collect(),
    }
}

/// Lines that name a map or set without a hasher, in files that do not use foldhash's.
fn default_hashers(code: &[Token]) -> Vec<usize> {
    let own = |name: &str| {
        ["foldhash::", "foldhash::{"]
            .iter()
            .any(|start| !lines_with(code, &format!("{start}{name}")).is_empty())
            || names_in_group(code, "foldhash", name)
    };
    let mut lines = Vec::new();
    for (index, token) in code.iter().enumerate() {
        let contents = match token.text.as_str() {
            "HashMap" if !own("HashMap") => 2,
            "HashSet" if !own("HashSet") => 1,
            _ => continue,
        };
        if code.get(index + 1).is_some_and(|next| next.text == "<")
            && generics(code, index + 1) == contents
        {
            lines.push(token.line);
        }
    }
    lines
}

/// Is `name` in the braces of `use krate::{...}`?
fn names_in_group(code: &[Token], krate: &str, name: &str) -> bool {
    code.windows(3).enumerate().any(|(at, window)| {
        window[0].text == krate
            && window[1].text == "::"
            && window[2].text == "{"
            && code[at + 2..closing(code, at + 2)].iter().any(|token| token.text == name)
    })
}

/// Arguments between the `<` at `open` and its `>`.
fn generics(code: &[Token], open: usize) -> usize {
    let (mut depth, mut count, mut filled) = (0_usize, 0, false);
    for index in open..code.len() {
        let arrow = code[index - 1].text == "-";
        match code[index].text.as_str() {
            "<" | "(" | "[" => depth += 1,
            ">" if arrow => {}
            ">" | ")" | "]" => depth -= 1,
            "," if depth == 1 => {
                count += 1;
                filled = false;
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            return count + usize::from(filled);
        }
        filled |= index > open;
    }
    count
}

#[test]
fn planted_names_are_found() {
    let cases = [
        ("src/home/mod.rs", "use std::net::TcpStream;", 1),
        ("src/home/mod.rs", "use std::net::{IpAddr, SocketAddr};", 0),
        ("src/bridge/redis.rs", "let s = TcpStream::connect(a);", 0),
        ("src/edge/mod.rs", "let t = std::time::Instant::now();", 1),
        ("src/driver/epoll/mod.rs", "let t = Instant::now();", 0),
        ("src/edge/mod.rs", "let t = SystemTime::now();", 1),
        ("src/worker/mod.rs", "use io_uring::IoUring;", 1),
        ("src/config/mod.rs", "match text { \"io_uring\" => 1, _ => 2 }", 0),
        ("src/edge/mod.rs", "use monoio::net; use rtrb::Producer; use rustix::io;", 3),
        ("src/server.rs", "use rtrb::Producer;", 1),
        ("src/mesh/lane.rs", "use rtrb::Producer; use std::sync::Mutex;", 1),
        ("src/home/mod.rs", "use std::sync::{Arc, RwLock};", 2),
        ("src/contract/name.rs", "use std::sync::Arc;", 0),
        ("src/edge/connection/rate.rs", "static N: AtomicU64 = AtomicU64::new(0);", 2),
        ("src/server/mod.rs", "std::thread::sleep(WAIT);", 1),
        ("src/home/mod.rs", "let mut m = HashMap::new();", 1),
        ("src/home/mod.rs", "struct A { m: HashMap<u32, Vec<(u8, u8)>> }", 1),
        ("src/home/mod.rs", "struct A { m: HashMap<u32, fn(u8) -> u8, FixedState> }", 0),
        ("src/home/mod.rs", "struct A { m: HashMap<\n    u32,\n    u8,\n    FixedState,\n> }", 0),
        ("src/home/mod.rs", "struct A { m: HashSet<u32>, n: BTreeMap<u8, u8> }", 1),
        ("src/home/mod.rs", "use foldhash::HashMap; struct A { m: HashMap<u32, u8> }", 0),
        ("src/home/mod.rs", "use foldhash::{HashMap, fast}; struct A { m: HashMap<u32, u8> }", 0),
        ("src/home/mod.rs", "fn topic_of(a: &Topic) {}", 1),
        ("src/home/mod.rs", "fn f() { unsafe { g() } }", 1),
        ("src/home/mod.rs", "#[cfg(test)]\nmod tests { fn f() { unsafe { g() } } }", 1),
        ("src/driver/uring/mod.rs", "fn f() { unsafe { g() } }", 0),
        ("src/driver/epoll/mod.rs", "fn f() { unsafe { g() } }", 1),
        ("src/home/mod.rs", "#[allow(dead_code)]\nfn f() {}", 1),
        ("src/home/mod.rs", "#![allow(dead_code, unused)]", 1),
        ("src/home/mod.rs", "fn f() { println!(\"{}\", 1); todo!() }", 2),
        ("src/home/mod.rs", "// unsafe Mutex\n/* Arc /* Arc */ Arc */ const A: &str = \"Arc\";", 0),
        (
            "src/home/mod.rs",
            "const A: &str = r#\"Arc \" Arc\"#; const B: char = '\"'; type C = Arc;",
            1,
        ),
        ("src/home/mod.rs", "#[cfg(test)]\nuse std::time::Instant;\nfn f<'a>(x: &'a str) {}", 0),
        ("src/home/tests.rs", "let t = Instant::now();", 0),
    ];
    for (path, text, expected) in cases {
        let wrong = check(&Source::new(path, text));
        assert_eq!(wrong.len(), expected, "{path}: {text}: {wrong:#?}");
    }
}

#[test]
fn every_ban_and_exception_has_a_reason() {
    for ban in BANS {
        assert!(ban.reason.len() > 5, "{}", ban.name);
        for exception in ban.except {
            assert!(exception.reason.len() > 5, "{}: {}", ban.name, exception.prefix);
            let planted = format!("{}x.rs", exception.prefix.trim_end_matches(".rs"));
            let name = ban.name.replace('*', "U64");
            let code = Source::new(&planted, &format!("{name} x;"));
            let elsewhere = Source::new("src/nowhere.rs", &format!("{name} x;"));
            assert_eq!(check(&elsewhere).len(), 1, "{} is banned elsewhere", ban.name);
            if exception.prefix.ends_with('/') {
                assert_eq!(check(&code), Vec::<String>::new());
            }
        }
    }
}
