//! `serve` and `top`: the page from a database of one's own and beside another process, its rules, and the same in a terminal.

mod common;

use common::running::Running;
use common::{Holder, Scratch, ok, run};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

/// A server's answer at `path`: its status, and what follows the head.
fn get(url: &str, path: &str, header: &str) -> (u16, String) {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).expect("it accepts");
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{header}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

fn json(url: &str, path: &str) -> Value {
    serde_json::from_str(&get(url, path, "").1).expect("one JSON document")
}

fn terminate(running: &Running) {
    let pid = running.child.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(sent.expect("kill is there").success());
}

#[test]
fn serve_shows_a_database_and_closes_it_when_it_is_told_to_end() {
    let scratch = Scratch::new();
    let bank = scratch.path("bank");
    common::killed(&bank, "accounts", 500);
    let served = Running::start(&["serve", &bank, "--http", "127.0.0.1:0"]);
    let url = served.line();
    let document = json(&url, "/api/stats");
    assert_eq!(document["database"]["pid"], served.child.id());
    assert_eq!(document["database"]["source"], "this process");
    assert_eq!(document["status"]["tables"], 1);
    assert!(get(&url, "/", "").1.contains("<title>Afterimage</title>"));
    // What its open had to recover, record by record.
    let last = json(&url, "/api/explain/last");
    let steps = last["recoveries"][0]["steps"].as_array().expect("steps");
    let redone = |step: &&Value| step["phase"] == "redo" && step["what"].as_str() != Some("");
    assert!(steps.iter().filter(redone).count() > 1, "{last:#}");
    assert!(steps.iter().any(|step| step["lsn"] != ""), "{last:#}");
    // Whoever looks with `stats` sees the same.
    assert_eq!(
        ok(&["stats", &bank, "--json"]).json()["holder"]["state"],
        "running"
    );
    terminate(&served);
    assert_eq!(served.end(), (Some(0), String::new()));
    let stats = ok(&["stats", &bank, "--json"]).json();
    assert_eq!(stats["holder"]["state"], "closed since");
    assert_eq!(
        stats["checkpoints_shutdown"], 2,
        "one after the recovery, one at the end"
    );
}

#[test]
fn serve_looks_on_where_another_process_has_the_database_and_so_does_top() {
    let scratch = Scratch::new();
    let bank = scratch.path("bank");
    let holder = Holder::with_rows(&bank, "accounts", 200, 50);
    let served = Running::start(&["serve", &bank, "--http", "127.0.0.1:0", "--json"]);
    let announced: String = (0..5).map(|_| served.line()).collect();
    let announced: Value = serde_json::from_str(&announced).expect("one document");
    assert_eq!(announced["opened"], false);
    let url = announced["url"].as_str().expect("a URL");
    let document = json(url, "/api/stats");
    assert_eq!(document["database"]["pid"], holder.pid());
    assert_eq!(document["database"]["source"], "status file");
    for top in [
        ["top", &bank, "--once"],
        ["top", "--once", &format!("--url={url}")],
    ] {
        let shown = ok(&top).lines();
        assert!(
            shown[0].contains(&format!("process {}, running", holder.pid())),
            "{shown:?}"
        );
        assert!(!shown[1].contains("gone"), "{shown:?}");
        assert!(
            shown.iter().any(|line| line.starts_with(" commits/s")),
            "{shown:?}"
        );
    }
    let document = ok(&["top", &bank, "--once", "--json"]).json();
    assert_eq!(document["status"]["pid"], holder.pid());
    for advise in [&["advise", &bank][..], &["advise", "--url", url]] {
        let document = ok(&[advise, &["--json"]].concat()).json();
        assert_eq!(document["holder"]["pid"], holder.pid());
        assert_eq!(document["holder"]["state"], "running");
        assert_eq!(document["findings"], Value::Array(Vec::new()));
        let shown = ok(advise).lines();
        assert!(shown[0].starts_with("counted over "), "{shown:?}");
        assert!(
            shown[0].ends_with("running") || shown[0].ends_with("(running)"),
            "{shown:?}"
        );
        assert_eq!(shown[1], "nothing to change");
    }
    let pid = holder.pid();
    holder.kill();
    let shown = ok(&["top", &bank, "--once"]).lines();
    let gone = format!("■ Process {pid} has gone without closing the database");
    assert_eq!(shown[1], gone);
    terminate(&served);
    let (code, said) = served.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("watching it by its status file"), "{said}");
}

#[test]
fn an_address_that_others_reach_needs_a_token_and_says_what_that_means() {
    let scratch = Scratch::new();
    let bank = scratch.path("bank");
    ok(&["load", &bank, "accounts", "/dev/null"]);
    let refused = run(&["serve", &bank, "--http", "0.0.0.0:0"]).expect(2);
    assert!(
        refused.stderr.contains("there is no token"),
        "{}",
        refused.stderr
    );
    let short = run(&["serve", &bank, "--http", "0.0.0.0:0", "--token", "secret"]).expect(2);
    assert!(
        short.stderr.contains("too easily guessed"),
        "{}",
        short.stderr
    );
    let token = "a-token-nobody-guesses";
    let served = Running::start(&["serve", &bank, "--http", "0.0.0.0:0", "--token", token]);
    let url = served.line().replace("0.0.0.0", "127.0.0.1");
    assert_eq!(get(&url, "/api/stats", "").0, 401);
    assert_eq!(
        get(
            &url,
            "/api/stats",
            &format!("Authorization: Bearer {token}\r\n")
        )
        .0,
        200
    );
    let url = url.trim_end_matches('/');
    let refused = run(&["top", "--url", url, "--once"]).expect(3);
    assert!(
        refused.stderr.contains("asks for its token"),
        "{}",
        refused.stderr
    );
    ok(&["top", "--url", url, "--token", token, "--once"]);
    terminate(&served);
    let (code, said) = served.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("not encrypted"), "{said}");
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_happens() {
    let scratch = Scratch::new();
    let bank = scratch.path("bank");
    let nothing = run(&["serve", &bank]).expect(2);
    assert!(
        nothing.stderr.contains("there is no database here"),
        "{}",
        nothing.stderr
    );
    ok(&["load", &bank, "accounts", "/dev/null"]);
    for (words, code, said) in [
        (
            vec!["serve", &bank, "--http", "here"],
            2,
            "no address to listen at",
        ),
        (vec!["demo", "--http", "127.0.0.1:0"], 2, "name a port"),
        (
            vec!["bench", "commit", "--log-only", "--http", "127.0.0.1:0"],
            2,
            "cannot be used with",
        ),
        (vec!["top"], 2, "required"),
        (
            vec!["top", "--url", "ftp://there", "--once"],
            2,
            "no address of a server",
        ),
        (vec!["top", &bank], 2, "no terminal"),
        (
            vec!["top", "--url", "http://127.0.0.1:1", "--once"],
            3,
            "does not answer",
        ),
    ] {
        let refused = run(&words).expect(code);
        assert!(
            refused.stderr.contains(said),
            "{words:?}: {}",
            refused.stderr
        );
    }
}
