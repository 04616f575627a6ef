//! One question to a node's HTTP pages.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Errors name the option that says where the pages are.
pub(super) fn get(address: &str, path: &str) -> Result<Answer, String> {
    let failed = |error: std::io::Error| format!("http.listen: {address}: {error}");
    let mut stream = TcpStream::connect(address).map_err(failed)?;
    let timeout = Some(Duration::from_secs(5));
    stream.set_read_timeout(timeout).map_err(failed)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed)?;
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Ok(Answer {
        status: status.ok_or_else(|| format!("http.listen: {address}: no HTTP server"))?,
        body: body.to_owned(),
    })
}
