//! Who may ask: on loopback whoever is on this machine, under loopback's own names; anywhere else whoever has the token.
//!
//! A website that somebody visits could point a name of its own at 127.0.0.1 and have their browser ask here as if it were
//! that site (DNS rebinding). Such a request carries the site's name in `Host`, and is refused. With a token that is not
//! needed: the browser does not send the cookie to another name. Nor is a name enough: whoever asks from another machine can
//! write what they like into `Host`, so it also counts from where they ask.

use axum::http::{HeaderMap, header};
use std::hint::black_box;
use std::net::IpAddr;

/// The cookie in which a browser keeps the token.
const COOKIE: &str = "afterimage_token";
/// What a proxy says of whom it asks for.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
/// Fewer characters could be guessed over a network.
const TOKEN_MIN: usize = 16;

/// Who may ask.
#[derive(Clone)]
pub struct Access {
    token: Option<String>,
}

/// What is to be said to whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// What was asked for.
    Welcome,
    /// Under a name that is not this machine's.
    WrongHost,
    /// From another machine, or nobody knows from where.
    NotHere,
    /// Without the token, or with another.
    NoToken,
}

impl Access {
    /// No token: requests must come from loopback, and name it.
    pub fn loopback() -> Access {
        Access { token: None }
    }

    /// Whoever has the token, under any name. `None` if it is too short to be one: 16 characters at least, all of them
    /// printable ASCII without blanks and `;`, so that they pass through a header, a cookie and an address.
    pub fn token(token: &str) -> Option<Access> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        (token.len() >= TOKEN_MIN && token.bytes().all(plain)).then(|| Access {
            token: Some(token.to_owned()),
        })
    }

    /// Whether a token is asked for.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// `from`: who asks, as far as that is known.
    pub(super) fn judge(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
        from: Option<IpAddr>,
    ) -> Judgement {
        let Some(token) = &self.token else {
            // A proxy on this machine asks for others.
            let forwarded = FORWARDED.iter().any(|name| headers.contains_key(*name));
            if forwarded || !from.is_some_and(|from| from.to_canonical().is_loopback()) {
                return Judgement::NotHere;
            }
            let host = headers
                .get(header::HOST)
                .and_then(|host| host.to_str().ok());
            return match host.is_some_and(is_loopback) {
                true => Judgement::Welcome,
                false => Judgement::WrongHost,
            };
        };
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let bearer = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let cookie = text(header::COOKIE).and_then(cookie);
        let asked = query.and_then(|query| parameter(query, "token"));
        let given = [bearer, cookie, asked];
        match given.into_iter().flatten().any(|given| same(given, token)) {
            true => Judgement::Welcome,
            false => Judgement::NoToken,
        }
    }

    /// The cookie for a browser that has shown the token in the address.
    pub(super) fn cookie(&self) -> Option<String> {
        let token = self.token.as_ref()?;
        Some(format!(
            "{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict"
        ))
    }
}

/// A parameter of a query; nothing in it is ever escaped.
pub(super) fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn cookie(cookies: &str) -> Option<&str> {
    let mut pairs = cookies
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value)
}

/// Whether `Host` is one of loopback's names, with a port or without.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(name, _)| name),
        None => host.split(':').next(),
    };
    let Some(name) = name else { return false };
    let address: Option<std::net::IpAddr> = name.parse().ok();
    name.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback())
}

/// Compares without saying by the time it takes how much of it was right.
fn same(given: &str, token: &str) -> bool {
    let (given, token) = (given.as_bytes(), token.as_bytes());
    let mut differs = u8::from(given.len() != token.len());
    for (index, byte) in token.iter().enumerate() {
        let other = given.get(index).copied().unwrap_or(0);
        differs = black_box(differs | (byte ^ other));
    }
    black_box(differs) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    const TOKEN: &str = "0123456789abcdef-";

    const HERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        let value = HeaderValue::from_str(value).expect("a legal value");
        HeaderMap::from_iter([(name, value)])
    }

    #[test]
    fn on_loopback_only_loopbacks_names_are_answered() {
        let access = Access::loopback();
        for (host, judgement) in [
            ("localhost", Judgement::Welcome),
            ("LOCALHOST:8080", Judgement::Welcome),
            ("127.0.0.1:8080", Judgement::Welcome),
            ("127.3.2.1", Judgement::Welcome),
            ("[::1]:8080", Judgement::Welcome),
            ("127.0.0.1.evil.example", Judgement::WrongHost),
            ("localhost.evil.example:8080", Judgement::WrongHost),
            ("evil.example", Judgement::WrongHost),
            ("[::1", Judgement::WrongHost),
            ("192.0.2.1:8080", Judgement::WrongHost),
            ("", Judgement::WrongHost),
        ] {
            let judged = access.judge(&headers(header::HOST, host), None, HERE);
            assert_eq!(judged, judgement, "{host:?}");
        }
        let nameless = access.judge(&HeaderMap::new(), Some("token=x"), HERE);
        assert_eq!(nameless, Judgement::WrongHost);
    }

    #[test]
    fn loopbacks_name_does_for_nobody_who_asks_from_elsewhere() {
        let access = Access::loopback();
        let named = headers(header::HOST, "localhost:8080");
        let from = |from: &str| access.judge(&named, None, from.parse().ok());
        assert_eq!(from("127.0.0.1"), Judgement::Welcome);
        assert_eq!(from("::1"), Judgement::Welcome);
        assert_eq!(from("::ffff:127.0.0.1"), Judgement::Welcome);
        for elsewhere in ["192.0.2.7", "2001:db8::1", "unknown"] {
            assert_eq!(from(elsewhere), Judgement::NotHere, "{elsewhere}");
        }
        for name in FORWARDED {
            let mut through = named.clone();
            through.insert(name, HeaderValue::from_static("192.0.2.7"));
            assert_eq!(
                access.judge(&through, None, HERE),
                Judgement::NotHere,
                "{name}"
            );
        }
    }

    #[test]
    fn with_a_token_whoever_has_it_is_answered_and_nobody_else() {
        let access = Access::token(TOKEN).expect("long enough");
        let asks = |name, value: &str| access.judge(&headers(name, value), None, None);
        assert_eq!(
            asks(header::AUTHORIZATION, &format!("Bearer {TOKEN}")),
            Judgement::Welcome
        );
        assert_eq!(
            asks(header::COOKIE, &format!("a=b; {COOKIE}={TOKEN}")),
            Judgement::Welcome
        );
        let query = format!("since=3&token={TOKEN}");
        assert_eq!(
            access.judge(&HeaderMap::new(), Some(&query), None),
            Judgement::Welcome
        );
        for wrong in [
            "",
            "0123456789abcdef",
            "0123456789abcdef-x",
            "0123456789abcdeF-",
        ] {
            let query = format!("token={wrong}");
            assert_eq!(
                access.judge(&HeaderMap::new(), Some(&query), None),
                Judgement::NoToken,
                "{wrong}"
            );
            assert_eq!(
                asks(header::AUTHORIZATION, &format!("Bearer {wrong}")),
                Judgement::NoToken
            );
            assert_eq!(
                asks(header::COOKIE, &format!("{COOKIE}={wrong}")),
                Judgement::NoToken
            );
        }
        assert_eq!(asks(header::AUTHORIZATION, TOKEN), Judgement::NoToken);
        assert_eq!(asks(header::HOST, "localhost"), Judgement::NoToken);
    }

    #[test]
    fn a_token_that_could_be_guessed_or_garbled_is_none() {
        for wrong in [
            "",
            "short",
            "0123456789abcde",
            "0123456789abcdef;",
            "0123456789 abcdef",
            "0123456789abcdef&x",
        ] {
            assert!(Access::token(wrong).is_none(), "{wrong:?}");
        }
        assert!(Access::token(TOKEN).is_some_and(|access| access.has_token()));
    }
}
