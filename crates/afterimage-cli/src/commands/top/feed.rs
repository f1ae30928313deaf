//! Where `top` gets its numbers: from a watch of its own over a directory, or from a server. Both give the same document.

use crate::failure::Failure;
use crate::open;
use crate::remote::{Remote, make_plain};
use afterimage_server::http::stats_document;
use afterimage_server::live::{KEPT, Level, Point, Source, Verdict, Watch};
use serde_json::Value;
use std::path::Path;

/// Where it looks, and the points it has.
pub struct Feed {
    from: From,
    points: Vec<Point>,
    next: u64,
    began: u64,
}

enum From {
    Directory(Watch),
    Server(Remote),
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
        Ok(Feed::new(From::Server(Remote::at(url, token)?)))
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
            From::Directory(watch) => {
                let mut document = stats_document(watch, Some(since))
                    .map_err(|e| open::from_engine(e, watch.source().directory()))?;
                make_plain(&mut document);
                Ok(document)
            }
            From::Server(server) => server.json(&format!("/api/stats?since={since}")),
        }
    }
}
