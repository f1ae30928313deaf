//! Which address gives what. One place answers every request, so that none gets past the rules: who may ask, what a browser
//! may do with the answer, what is not there.

use super::access::{Access, Judgement, parameter};
use super::assets::ASSETS;
use super::document::stats_document;
use super::stories;
use crate::live::Watch;
use crate::{advice, metrics};
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, OriginalUri, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What a browser may do with what it gets: show it, run our scripts, ask us again, and nothing else.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (header::CACHE_CONTROL, "no-store"),
];

/// Below this a story has its name.
const STORY: &str = "/api/explain/";

/// What a person sees who has come without the token.
const ASKS_FOR_TOKEN: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Afterimage</title>\
<h1>This page asks for its token</h1><p>Whoever started the server chose it, or read it there.</p>\
<form action=\"./\" method=\"get\"><label>Token <input name=\"token\" type=\"password\" autofocus></label> \
<button>Open</button></form></html>\n";

/// Answers that are made at a time: a look may wait for a disk, a story is a recovery. Others wait for one of these.
const WORKING_MAX: usize = 4;

/// The page and its JSON, for a server of one's own; at `/`, or under a prefix by `nest_service` (`nest` knows no address that ends in a slash, and the
/// page's does). It needs a Tokio runtime.
///
/// Without a token ([`Access::loopback`]) only this machine is answered, so the server has to say who asks: serve it by
/// `into_make_service_with_connect_info::<SocketAddr>()`. Behind a proxy, and on any other address, a token is needed.
///
/// # Examples
///
/// ```
/// use afterimage_server::http::{Access, router};
/// use afterimage_server::live::{Source, Watch};
/// use std::net::SocketAddr;
/// use std::sync::Arc;
///
/// # let world = afterimage_io::sim::Sim::new(1);
/// # let db = afterimage::Options::new().io(world.io()).background(false).open("bank")?;
/// let watch = Arc::new(Watch::start(Source::from(db))?);
/// let app = axum::Router::new().nest_service("/afterimage", router(watch, Access::loopback()));
/// let service = app.into_make_service_with_connect_info::<SocketAddr>();
/// // axum::serve(listener, service).await
/// # drop(service);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn router(watch: Arc<Watch>, access: Access) -> Router {
    router_for(watch, access, None)
}

/// As [`router`]; `from`: where all come from who ask at all.
pub(super) fn router_for(watch: Arc<Watch>, access: Access, from: Option<IpAddr>) -> Router {
    let answers = Arc::new(Answers {
        watch,
        access,
        from,
    });
    let free = Arc::new(Semaphore::new(WORKING_MAX));
    Router::new().fallback(move |request: Request| {
        let (answers, free) = (Arc::clone(&answers), Arc::clone(&free));
        async move {
            let permit = free.acquire_owned().await;
            let work = move || {
                let response = answers.to(&request);
                drop(permit);
                response
            };
            let answered = tokio::task::spawn_blocking(work).await;
            with_headers(answered.unwrap_or_else(|error| {
                text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
            }))
        }
    })
}

struct Answers {
    watch: Arc<Watch>,
    access: Access,
    from: Option<IpAddr>,
}

impl Answers {
    fn to(&self, request: &Request) -> Response {
        let (path, query) = (request.uri().path(), request.uri().query());
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let from = peer.map(|peer| peer.0.ip()).or(self.from);
        match self.access.judge(request.headers(), query, from) {
            Judgement::Welcome => {}
            Judgement::NotHere => {
                let what =
                    "without a token only this machine is answered, and not through a proxy\n";
                return text(StatusCode::FORBIDDEN, what);
            }
            Judgement::WrongHost => {
                let what = "asked for by a name that is not this machine's: use http://127.0.0.1 or http://localhost\n";
                return text(StatusCode::MISDIRECTED_REQUEST, what);
            }
            Judgement::NoToken if path == "/" => {
                return answer(
                    StatusCode::UNAUTHORIZED,
                    "text/html; charset=utf-8",
                    ASKS_FOR_TOKEN,
                );
            }
            Judgement::NoToken => {
                let what = "a token is needed: Authorization: Bearer TOKEN, or ?token=TOKEN\n";
                let mut response = text(StatusCode::UNAUTHORIZED, what);
                set(&mut response, header::WWW_AUTHENTICATE, "Bearer");
                return response;
            }
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "there is nothing here but to be read\n",
            );
            set(&mut response, header::ALLOW, "GET, HEAD");
            return response;
        }
        // Everything that the page asks for is named from where the page is: that has to end in a slash.
        let whole = request.extensions().get::<OriginalUri>();
        let whole = whole.map_or(path, |whole| whole.path());
        if path == "/" && !whole.ends_with('/') {
            let query = query.map_or_else(String::new, |query| format!("?{query}"));
            return see_other(&format!("{whole}/{query}"));
        }
        match path {
            // Out of the address, into a cookie: it does not stay where others see it.
            "/" if query.is_some_and(|query| parameter(query, "token").is_some()) => {
                self.keep_token()
            }
            "/api/stats" => self.stats(query),
            "/api/explain" => json(&stories::list()),
            _ if path.starts_with(STORY) => self.story(&path[STORY.len()..], query),
            "/metrics" => self.metrics(),
            "/api/advise" => self.advice(),
            _ => match ASSETS.iter().find(|asset| asset.path == path) {
                Some(asset) => answer(StatusCode::OK, asset.mime, asset.bytes),
                None => text(StatusCode::NOT_FOUND, "there is nothing at this address\n"),
            },
        }
    }

    fn keep_token(&self) -> Response {
        let mut response = see_other("./");
        if let Some(cookie) = self.access.cookie() {
            set(&mut response, header::SET_COOKIE, &cookie);
        }
        response
    }

    fn story(&self, name: &str, query: Option<&str>) -> Response {
        let crash_after = query.and_then(|query| parameter(query, "crash_after"));
        let crash_after = match crash_after.map(str::parse) {
            None => None,
            Some(Ok(clrs)) => Some(clrs),
            Some(Err(_)) => {
                let what = "crash_after is to be a number: of CLRs\n";
                return text(StatusCode::BAD_REQUEST, what);
            }
        };
        match stories::story(self.watch.source(), name, crash_after) {
            None => text(StatusCode::NOT_FOUND, "there is no such story\n"),
            Some(Ok(story)) => json(&story),
            Some(Err(trouble)) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{trouble}\n")),
        }
    }

    /// What would better be set otherwise.
    fn advice(&self) -> Response {
        match self.watch.look() {
            Ok(Some(look)) => {
                let findings = advice::of_database(&look.status);
                json(&findings.iter().map(advice::Finding::json).collect())
            }
            Ok(None) => unavailable(),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    /// For Prometheus.
    fn metrics(&self) -> Response {
        match self.watch.look() {
            Ok(Some(look)) => answer(
                StatusCode::OK,
                metrics::CONTENT_TYPE,
                metrics::text(&look.status),
            ),
            Ok(None) => unavailable(),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    fn stats(&self, query: Option<&str>) -> Response {
        let since = match query
            .and_then(|query| parameter(query, "since"))
            .map(str::parse)
        {
            None => None,
            Some(Ok(since)) => Some(since),
            Some(Err(_)) => {
                return text(
                    StatusCode::BAD_REQUEST,
                    "since is to be a number: that of a point\n",
                );
            }
        };
        match stats_document(&self.watch, since) {
            Ok(document) => json(&document),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }
}

fn see_other(location: &str) -> Response {
    let mut response = text(StatusCode::SEE_OTHER, "");
    set(&mut response, header::LOCATION, location);
    response
}

fn unavailable() -> Response {
    let what = "there is no status of this database, or it is being written just now\n";
    text(StatusCode::SERVICE_UNAVAILABLE, what)
}

fn json(document: &Value) -> Response {
    answer(StatusCode::OK, "application/json", document.to_string())
}

fn text(status: StatusCode, text: impl Into<Body>) -> Response {
    answer(status, "text/plain; charset=utf-8", text)
}

fn answer(status: StatusCode, mime: &str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_TYPE, mime);
    response
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    // All that is set here is plain ASCII: a token is checked to be, the rest stands in this file.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn with_headers(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
