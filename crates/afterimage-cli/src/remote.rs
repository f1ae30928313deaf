//! A server of the live page, as a command asks it: by its URL, one plain HTTP request at a time, with its token where it has one.
//! For `top --url` and `advise --url`.

use crate::failure::Failure;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// The environment variable for a token: a command line can be read by everybody on the machine.
pub const TOKEN: &str = "AFTERIMAGE_TOKEN";
/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// The longest answer that is read: ten minutes of points are a tenth of it.
const ANSWER_MAX: u64 = 16 << 20;

/// Where it is, and what it has to be shown.
pub struct Remote {
    address: String,
    token: Option<String>,
}

impl Remote {
    /// The server at this URL; the token of the environment, unless one is given.
    pub fn at(url: &str, token: Option<&str>) -> Result<Remote, Failure> {
        let rest = url.strip_prefix("http://");
        let address = rest.map(|rest| rest.trim_end_matches('/'));
        let address = address.filter(|address| !address.is_empty() && !address.contains('/'));
        let address = address.ok_or_else(|| {
            Failure::usage(format!("{url} is no address of a server"))
                .advise("write for example http://127.0.0.1:8080")
        })?;
        let after = address
            .rsplit_once(':')
            .map(|(_, port)| port.parse::<u16>());
        let has_port = after.is_some_and(|port| port.is_ok());
        Ok(Remote {
            address: match has_port {
                true => address.to_owned(),
                false => format!("{address}:80"),
            },
            token: token
                .map(str::to_owned)
                .or_else(|| std::env::var(TOKEN).ok()),
        })
    }

    /// The JSON at this path, with nothing in it that a terminal would obey.
    pub fn json(&self, path: &str) -> Result<Value, Failure> {
        let mut document = serde_json::from_str(&self.get(path)?).map_err(|_| {
            Failure::refused("the answer is not from a live page").at(&self.address)
        })?;
        make_plain(&mut document);
        Ok(document)
    }

    /// One request, one answer.
    fn get(&self, path: &str) -> Result<String, Failure> {
        let address = &self.address;
        let silent = |e: std::io::Error| {
            Failure::refused(format!("the server does not answer: {e}")).at(address)
        };
        let at = address.to_socket_addrs().map_err(silent)?.next();
        let at = at.ok_or_else(|| Failure::usage("there is no such server").at(address))?;
        let mut stream = TcpStream::connect_timeout(&at, PATIENCE).map_err(silent)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(silent)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(silent)?;
        let token = self.token.as_ref().map_or_else(String::new, |token| {
            format!("Authorization: Bearer {token}\r\n")
        });
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{token}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).map_err(silent)?;
        let mut answer = String::new();
        let mut stream = stream.take(ANSWER_MAX);
        stream.read_to_string(&mut answer).map_err(silent)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).unwrap_or("nothing");
        match status {
            "200" => Ok(body.to_owned()),
            "401" => Err(Failure::refused("the server asks for its token")
                .at(address)
                .advise("--token, or AFTERIMAGE_TOKEN")),
            _ => Err(
                Failure::refused(format!("the server answered {status}: {}", body.trim()))
                    .at(address),
            ),
        }
    }
}

/// Takes control characters out of every text: labels of transactions are whatever a program has chosen, and stand on a terminal.
pub fn make_plain(document: &mut Value) {
    match document {
        Value::String(text) if text.contains(char::is_control) => {
            *text = text.replace(char::is_control, "\u{fffd}");
        }
        Value::Array(all) => all.iter_mut().for_each(make_plain),
        Value::Object(all) => all.values_mut().for_each(make_plain),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_terminal_would_obey_is_taken_out() {
        let mut document = json!({ "pins": [{ "label": "\u{1b}[2Jx\ny" }], "n": 1 });
        make_plain(&mut document);
        assert_eq!(
            document,
            json!({ "pins": [{ "label": "\u{fffd}[2Jx\u{fffd}y" }], "n": 1 })
        );
    }
}
