//! The server as a browser, a program and a stranger meet it: what it answers, to whom, and what it refuses.

use afterimage::{Database, Options};
use afterimage_server::http::{Access, Server, router};
use afterimage_server::live::{Source, Watch};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const TOKEN: &str = "a-token-nobody-guesses";

/// A database with some commits in it, and its page.
struct World {
    _place: TempDir,
    db: Database,
    server: Server,
}

impl World {
    fn new(access: Access) -> World {
        let place = tempfile::tempdir().expect("a directory");
        let db = Options::new()
            .open(place.path().join("bank"))
            .expect("it opens");
        let accounts = db.table("accounts").expect("a table");
        for n in 0..50_u32 {
            db.put(&accounts, &n.to_be_bytes(), b"100")
                .expect("it is put");
        }
        let any = "127.0.0.1:0".parse().expect("an address");
        let server = Server::start(Source::from(db.clone()), any, access).expect("it listens");
        World {
            _place: place,
            db,
            server,
        }
    }

    /// Asks with these headers beside a right `Host`.
    fn get(&self, path: &str, headers: &[&str]) -> Answer {
        let host = format!("Host: {}", self.server.address());
        let headers: Vec<&str> = headers.iter().copied().chain([host.as_str()]).collect();
        ask(self.server.address(), "GET", path, &headers)
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("one JSON document")
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

fn ask(address: SocketAddr, method: &str, path: &str, headers: &[&str]) -> Answer {
    let mut stream = TcpStream::connect(address).expect("it accepts");
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a timeout");
    let headers: String = headers
        .iter()
        .map(|header| format!("{header}\r\n"))
        .collect();
    let request = format!("{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).expect("a status");
    Answer {
        status: status.parse().expect("a number"),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

#[test]
fn stats_are_those_of_the_database_and_points_come_each_second() {
    let world = World::new(Access::loopback());
    let answer = world.get("/api/stats", &[]);
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/json"))
    );
    let document = answer.json();
    assert_eq!(document["status"]["commits"], world.db.stats().commits);
    assert_eq!(document["status"]["max_wal_size"], 1 << 30);
    assert_eq!(document["database"]["state"], "running");
    assert_eq!(document["database"]["pid"], std::process::id());
    assert!(document.get("points").is_none(), "{document}");
    assert!(document["advice"].is_array(), "{document}");
    let metrics = world.get("/metrics", &[]);
    let is_text = metrics.header("content-type");
    assert!(is_text.is_some_and(|mime| mime.starts_with("application/openmetrics-text")));
    let commits = format!("\nafterimage_commits_total {}\n", world.db.stats().commits);
    assert!(metrics.body.contains(&commits), "{}", metrics.body);
    let accounts = world.db.table("accounts").expect("a table");
    let until = Instant::now() + Duration::from_secs(60);
    let points = loop {
        world.db.put(&accounts, b"alice", b"1").expect("it is put");
        let document = world.get("/api/stats?since=0", &[]).json();
        let points = document["points"].as_array().expect("points").clone();
        assert_eq!(document["next"], points.len());
        if points.len() > 1 {
            break points;
        }
        assert!(Instant::now() < until, "{document}");
    };
    assert!(
        points[1]["commits"].as_f64().expect("a rate") > 0.0,
        "{points:?}"
    );
    assert!(points[1]["waiting"]["sync"].is_number());
    let later = world
        .get(&format!("/api/stats?since={}", points.len()), &[])
        .json();
    let later = later["points"].as_array().expect("points");
    assert!(later.len() < points.len(), "{later:?}");
}

#[test]
fn a_closed_database_says_so() {
    let world = World::new(Access::loopback());
    world.db.clone().close().expect("it closes");
    let document = world.get("/api/stats", &[]).json();
    assert_eq!(document["database"]["state"], "closed since");
    assert_eq!(document["verdict"]["about"], "closed");
    assert_eq!(document["verdict"]["level"], "warning");
}

#[test]
fn a_database_of_another_process_is_watched_by_its_status_file() {
    let world = World::new(Access::loopback());
    let any = "127.0.0.1:0".parse().expect("an address");
    let beside = Source::Directory(world.db.directory().to_owned());
    let server = Server::start(beside, any, Access::loopback()).expect("it listens");
    let host = format!("Host: {}", server.address());
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let document = ask(server.address(), "GET", "/api/stats", &[&host]).json();
        assert_eq!(document["database"]["source"], "status file");
        if document["status"]["commits"] == world.db.stats().commits {
            return;
        }
        assert!(Instant::now() < until, "{document}");
    }
}

#[test]
fn the_page_and_all_that_it_asks_for_is_there_and_nothing_of_it_is_elsewhere() {
    let world = World::new(Access::loopback());
    let page = world.get("/", &[]);
    assert_eq!(page.status, 200);
    assert!(
        !page.body.contains("=\"/"),
        "an address that leaves the prefix"
    );
    let named = page
        .body
        .split(" href=\"")
        .chain(page.body.split(" src=\""));
    let named = named.skip(1).filter_map(|part| part.split('"').next());
    let mut asked = 0;
    for path in named.filter(|path| path.contains('.') && !path.contains('<')) {
        let answer = world.get(&format!("/{path}"), &[]);
        assert_eq!(answer.status, 200, "{path}");
        let imports = answer
            .body
            .lines()
            .filter_map(|line| line.split_once(" from \"./"));
        for (_, import) in imports {
            let import = import.split('"').next().expect("a name");
            assert_eq!(
                world.get(&format!("/{import}"), &[]).status,
                200,
                "{import}"
            );
            asked += 1;
        }
        asked += 1;
    }
    assert!(asked > 6, "{asked}");
    assert!(!page.body.contains("http"), "{}", page.body);
    for (path, status) in [
        ("/nothing", 404),
        ("/../Cargo.toml", 404),
        ("/%2e%2e/Cargo.toml", 404),
        ("/assets/index.html", 404),
        ("/api/stats?since=many", 400),
        ("/api/stats?since=-1", 400),
        ("/api/stats?since=", 400),
        ("/api/stats?other=1", 200),
    ] {
        assert_eq!(world.get(path, &[]).status, status, "{path}");
    }
}

#[test]
fn metrics_and_advice_are_those_of_the_same_look() {
    let world = World::new(Access::loopback());
    let metrics = world.get("/metrics", &[]);
    let kind = metrics.header("content-type").expect("a type");
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let commits = format!("afterimage_commits_total {}\n", world.db.stats().commits);
    assert!(metrics.body.contains(&commits), "{}", metrics.body);
    assert!(metrics.body.ends_with("# EOF\n"));
    let advice = world.get("/api/advise", &[]);
    assert_eq!(advice.status, 200);
    assert!(advice.json().is_array(), "{advice:?}");
}

#[test]
fn stories_are_told_and_crash_again_where_that_is_asked_for() {
    let world = World::new(Access::loopback());
    let list = world.get("/api/explain", &[]).json();
    let scenarios = list["scenarios"].as_array().expect("a list");
    assert!(scenarios.len() >= 12, "{list}");
    for scenario in scenarios {
        let name = scenario["name"].as_str().expect("a name");
        let story = world.get(&format!("/api/explain/{name}"), &[]).json();
        assert_eq!(story["title"], scenario["title"]);
        assert!(story["recoveries"][0]["outcome"].is_string(), "{name}");
    }
    let once = world.get("/api/explain/fuzzy-checkpoint", &[]).json();
    let twice = world
        .get("/api/explain/fuzzy-checkpoint?crash_after=1", &[])
        .json();
    assert_eq!(once["recoveries"].as_array().map(Vec::len), Some(1));
    assert_eq!(twice["recoveries"].as_array().map(Vec::len), Some(2));
    assert_eq!(twice["recoveries"][0]["outcome"], "crashed");
    assert_eq!(once["result"], twice["result"]);
    let last = world.get("/api/explain/last", &[]).json();
    assert_eq!(
        last["result"],
        "No recovery is known: every stop was a clean one."
    );
    for (path, status) in [
        ("/api/explain/", 404),
        ("/api/explain/nothing", 404),
        ("/api/explain/fuzzy-checkpoint/x", 404),
        ("/api/explain/fuzzy-checkpoint?crash_after=x", 400),
        ("/api/explain/fuzzy-checkpoint?crash_after=99999999", 200),
    ] {
        assert_eq!(world.get(path, &[]).status, status, "{path}");
    }
}

#[test]
fn every_answer_tells_the_browser_what_it_may_do() {
    let world = World::new(Access::loopback());
    for path in ["/", "/page.js", "/api/stats", "/nothing"] {
        let answer = world.get(path, &[]);
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
    }
}

#[test]
fn a_name_that_is_not_this_machines_is_refused_and_so_is_whatever_would_change_something() {
    let world = World::new(Access::loopback());
    let address = world.server.address();
    for path in ["/", "/api/stats", "/page.js", "/nothing"] {
        for host in [
            "Host: evil.example",
            "Host: localhost.evil.example",
            "X-Host: localhost",
        ] {
            let refused = ask(address, "GET", path, &[host]);
            assert!(
                matches!(refused.status, 400 | 421),
                "{path} {host}: {refused:?}"
            );
            assert!(!refused.body.contains("commits"), "{refused:?}");
        }
    }
    let host = format!("Host: {address}");
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let refused = ask(address, method, "/api/stats", &[&host]);
        assert_eq!(
            (refused.status, refused.header("allow")),
            (405, Some("GET, HEAD")),
            "{method}"
        );
    }
    let head = ask(address, "HEAD", "/api/stats", &[&host]);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn with_a_token_only_who_has_it_sees_anything() {
    let world = World::new(Access::token(TOKEN).expect("a token"));
    for path in [
        "/",
        "/api/stats",
        "/page.js",
        "/nothing",
        "/?token=wrong-but-long-enough",
    ] {
        let refused = world.get(path, &[]);
        assert_eq!(refused.status, 401, "{path}");
        assert!(!refused.body.contains("commits"), "{refused:?}");
    }
    let bearer = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(world.get("/api/stats", &[&bearer]).status, 200);
    // A browser shows it once, in the address, and gets a cookie and an address without it.
    let kept = world.get(&format!("/?token={TOKEN}"), &[]);
    assert_eq!((kept.status, kept.header("location")), (303, Some("./")));
    let cookie = kept.header("set-cookie").expect("a cookie");
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    let cookie = format!(
        "Cookie: {}",
        cookie.split(';').next().expect("a name and a value")
    );
    assert_eq!(world.get("/", &[&cookie]).status, 200);
    assert_eq!(world.get("/api/stats", &[&cookie]).status, 200);
    // Who has the token may ask under any name.
    let named = ask(
        world.server.address(),
        "GET",
        "/api/stats",
        &["Host: db.example", &bearer],
    );
    assert_eq!(named.status, 200);
}

/// A server of an application's own, which says who asks or does not, for as long as `work` takes.
fn in_own_server(app: axum::Router, says: bool, work: impl FnOnce(SocketAddr)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("it binds");
    listener.set_nonblocking(true).expect("it can be");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serve = async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        let until = async move { drop(stopped.await) };
        if says {
            let service = app.into_make_service_with_connect_info::<SocketAddr>();
            return axum::serve(listener, service)
                .with_graceful_shutdown(until)
                .await;
        }
        axum::serve(listener, app)
            .with_graceful_shutdown(until)
            .await
    };
    let serving = std::thread::spawn(move || runtime.block_on(serve));
    work(address);
    stop.send(()).expect("it serves");
    serving.join().expect("no panic").expect("it served");
}

#[test]
fn in_an_applications_own_server_it_works_under_a_prefix_and_only_for_this_machine() {
    let place = tempfile::tempdir().expect("a directory");
    let db = Options::new().open(place.path().join("bank"));
    let watch = Watch::start(Source::from(db.expect("it opens"))).expect("a thread");
    let page = router(Arc::new(watch), Access::loopback());
    let app = axum::Router::new().nest_service("/ops/bank", page);
    in_own_server(app.clone(), true, |address| {
        let host = format!("Host: {address}");
        let get = |path: &str| ask(address, "GET", path, &[&host]);
        // Without the slash at its end a browser would look beside it for what the page needs.
        let sent = get("/ops/bank");
        let sent = (sent.status, sent.header("location"));
        assert_eq!(sent, (303, Some("/ops/bank/")));
        let sent = get("/ops/bank?a=b");
        assert_eq!(sent.header("location"), Some("/ops/bank/?a=b"));
        let page = get("/ops/bank/");
        assert!(page.body.contains("<title>Afterimage</title>"), "{page:?}");
        for path in ["page.js", "vendor/uPlot.min.css", "api/stats", "metrics"] {
            assert_eq!(get(&format!("/ops/bank/{path}")).status, 200, "{path}");
        }
        assert_eq!(get("/ops/bank/api/explain/two-pages").status, 200);
        assert_eq!(get("/ops/bank/nothing").status, 404);
        // A proxy on this machine asks for others.
        let headers = [host.as_str(), "X-Forwarded-For: 192.0.2.7"];
        let through = ask(address, "GET", "/ops/bank/api/stats", &headers);
        assert_eq!(through.status, 403);
        assert!(!through.body.contains("commits"), "{through:?}");
    });
    // Where nobody says who asks, it may be anybody.
    in_own_server(app, false, |address| {
        let host = format!("Host: {address}");
        let refused = ask(address, "GET", "/ops/bank/api/stats", &[&host]);
        assert_eq!(refused.status, 403);
    });
}

#[test]
fn an_address_that_others_can_reach_needs_a_token() {
    let world = World::new(Access::loopback());
    let everywhere = "0.0.0.0:0".parse().expect("an address");
    let source = Source::from(world.db.clone());
    let refused = Server::start(source, everywhere, Access::loopback());
    let kind = refused.err().map(|error| error.kind());
    assert_eq!(kind, Some(std::io::ErrorKind::InvalidInput));
}

#[test]
fn a_stop_waits_for_nobody_long() {
    let world = World::new(Access::loopback());
    // One that asks nothing, and one that stops in the middle of asking.
    let silent = TcpStream::connect(world.server.address()).expect("it accepts");
    let mut half = TcpStream::connect(world.server.address()).expect("it accepts");
    half.write_all(b"GET / HTTP/1.1\r\nHost: loc")
        .expect("it reads");
    let begun = Instant::now();
    let World { server, db, .. } = world;
    drop(server);
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    db.close().expect("it closes");
    drop(silent);
}

#[test]
fn more_strangers_than_there_are_places_wait_and_others_are_answered_when_they_go() {
    let world = World::new(Access::loopback());
    let crowd: Vec<TcpStream> = (0..100)
        .map(|_| TcpStream::connect(world.server.address()).expect("the system queues it"))
        .collect();
    drop(crowd);
    assert_eq!(world.get("/api/stats", &[]).status, 200);
}
