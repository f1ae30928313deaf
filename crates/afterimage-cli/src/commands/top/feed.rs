//! Where `top` gets its numbers: from a watch of its own over a directory, or from a server by one plain HTTP request at a
//! time. Both give the same document.

use crate::failure::Failure;
use crate::open;
use afterimage_server::http::stats_document;
use afterimage_server::live::{KEPT, Level, Point, Source, Verdict, Watch};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// The longest answer that is read: ten minutes of points are a tenth of it.
const ANSWER_MAX: u64 = 16 << 20;

/// Where it looks, and the points it has.
pub struct Feed {
    from: From,
    points: Vec<Point>,
    next: u64,
    began: u64,
}

enum From {
    Directory(Watch),
    Server {
        address: String,
        token: Option<String>,
    },
}

/// What there is to be shown.
pub struct Seen {
    /// All of it, as the server gives it, without the points.
    pub document: Value,
    /// What is to be said.
    pub verdict: Verdict,
    /// The latest points, oldest first.
    pub points: Vec<Point>,
}

impl Seen {
    /// Whether somebody works with the database, as far as one can know.
    pub fn is_running(&self) -> bool {
        let state = self.document["database"]["state"].as_str();
        matches!(state, Some("running" | "not closed"))
    }

    /// The last look failed: what is shown is from before.
    #[cfg(unix)]
    pub fn silent(&mut self, failure: &Failure) {
        self.verdict = Verdict {
            level: Level::Bad,
            about: "server".to_owned(),
            headline: "No answer: what stands below is from before".to_owned(),
            detail: failure
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        };
    }
}

impl Feed {
    /// Watches a directory by its status file.
    pub fn of_directory(dir: &Path) -> Result<Feed, Failure> {
        open::must_be_database(dir)?;
        let watch = Watch::start(Source::Directory(dir.to_owned()))
            .map_err(|e| Failure::refused(format!("no thread can be had: {e}")))?;
        Ok(Feed::new(From::Directory(watch)))
    }

    /// Asks a server.
    pub fn of_url(url: &str, token: Option<&str>) -> Result<Feed, Failure> {
        let address = url
            .strip_prefix("http://")
            .map(|rest| rest.trim_end_matches('/'));
        let address = address.filter(|address| !address.is_empty() && !address.contains('/'));
        let address = address.ok_or_else(|| {
            Failure::usage(format!("{url} is no address of a server"))
                .advise("write for example http://127.0.0.1:8080")
        })?;
        let port = address
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let token = token
            .map(str::to_owned)
            .or_else(|| std::env::var(super::super::serve::TOKEN).ok());
        Ok(Feed::new(From::Server {
            address: if port {
                address.to_owned()
            } else {
                format!("{address}:80")
            },
            token,
        }))
    }

    fn new(from: From) -> Feed {
        Feed {
            from,
            points: Vec::new(),
            next: 0,
            began: 0,
        }
    }

    /// What there is now.
    pub fn look(&mut self) -> Result<Seen, Failure> {
        let mut document = self.ask(self.next)?;
        let began = document["server"]["began_micros"].as_u64().unwrap_or(0);
        if began != self.began && self.next > 0 {
            // Another server: its points are counted anew.
            self.next = 0;
            document = self.ask(0)?;
        }
        self.began = began;
        let odd = |e: serde_json::Error| {
            Failure::refused(format!("the answer is not what this version expects: {e}"))
        };
        let points: Vec<Point> = serde_json::from_value(document["points"].take()).map_err(odd)?;
        let verdict = serde_json::from_value(document["verdict"].clone()).map_err(odd)?;
        self.next = document["next"].as_u64().unwrap_or(0);
        self.points.extend(points);
        let over = self.points.len().saturating_sub(KEPT);
        self.points.drain(..over);
        Ok(Seen {
            document,
            verdict,
            points: self.points.clone(),
        })
    }

    fn ask(&self, since: u64) -> Result<Value, Failure> {
        match &self.from {
            From::Directory(watch) => stats_document(watch, Some(since))
                .map_err(|e| open::from_engine(e, watch.source().directory())),
            From::Server { address, token } => {
                let body = get(
                    address,
                    &format!("/api/stats?since={since}"),
                    token.as_deref(),
                )?;
                serde_json::from_str(&body)
                    .map_err(|_| Failure::refused("the answer is not from a live page").at(address))
            }
        }
    }
}

/// One request, one answer.
fn get(address: &str, path: &str, token: Option<&str>) -> Result<String, Failure> {
    let silent = |e: std::io::Error| {
        Failure::refused(format!("the server does not answer: {e}")).at(address)
    };
    let at = address.to_socket_addrs().map_err(silent)?.next();
    let at = at.ok_or_else(|| Failure::usage("there is no such server").at(address))?;
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE).map_err(silent)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(silent)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(silent)?;
    let token = token.map_or_else(String::new, |token| {
        format!("Authorization: Bearer {token}\r\n")
    });
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{token}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(silent)?;
    let mut answer = String::new();
    stream
        .take(ANSWER_MAX)
        .read_to_string(&mut answer)
        .map_err(silent)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or("nothing");
    match status {
        "200" => Ok(body.to_owned()),
        "401" => Err(Failure::refused("the server asks for its token")
            .at(address)
            .advise("--token, or AFTERIMAGE_TOKEN")),
        _ => Err(
            Failure::refused(format!("the server answered {status}: {}", body.trim())).at(address),
        ),
    }
}
