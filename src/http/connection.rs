//! The connections of clients, and the errors that actix-http sends on them by itself.
//!
//! A head that is malformed, too large or not received in time never becomes a request, so no
//! middleware can see it: actix-http sends a response without a body and closes the connection.
//! [`Connection`] replaces these responses with errors in the form of all others, and records them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderName;
use actix_web::rt::net::TcpStream;
use actix_web::web::Data;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use uuid::Uuid;

use crate::error::{ErrorBody, FieldError};
use crate::telemetry::metrics::Metrics;

/// The header that names a request. Every response has it.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The beginning of the responses that are replaced.
const CLIENT_ERROR: &[u8] = b"HTTP/1.1 4";
/// The most bytes of such a response.
const MAX_BYTES: usize = 256;

/// The connection of a client.
pub struct Connection {
    stream: TcpStream,
    metrics: Data<Metrics>,
    /// The response that replaces one of actix-http, and how much of it has been written.
    replacement: Option<(Vec<u8>, usize)>,
}

impl Connection {
    /// Wraps an accepted connection. It sends at once what it is given: a body is written in
    /// pieces, and with Nagle's algorithm the last one would wait for the client, which may delay
    /// its acknowledgement by 40 ms.
    pub fn new(stream: TcpStream, metrics: Data<Metrics>) -> Self {
        if let Err(error) = stream.set_nodelay(true) {
            // The client has closed the connection.
            tracing::debug!("cannot set TCP_NODELAY: {error}");
        }
        Self { stream, metrics, replacement: None }
    }

    /// The connection itself.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Records the response of actix-http, and returns the one that replaces it.
    fn replace(&self, head: &str) -> Vec<u8> {
        let id = Uuid::now_v7();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or(StatusCode::BAD_REQUEST);
        self.metrics.observe_rejected_head(status);
        let code = status.as_u16();
        tracing::info!(request_id = %id, status = code, "rejected the head of a request {code}");
        let (message, error) = describe(status);
        let errors = vec![FieldError::general(error)];
        let body = ErrorBody { message: message.into(), errors, error: None };
        let body = serde_json::to_string(&body).unwrap_or_default();
        let kept = |line: &&str| !line.starts_with("content-length") && !line.starts_with("conn");
        let mut response: String =
            head.trim_end().split("\r\n").filter(kept).map(|line| format!("{line}\r\n")).collect();
        response += &format!(
            "connection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             x-content-type-options: nosniff\r\n{REQUEST_ID}: {id}\r\n\r\n{body}",
            body.len()
        );
        response.into_bytes()
    }
}

/// Returns the kind of error and its description.
fn describe(status: StatusCode) -> (&'static str, &'static str) {
    match status {
        StatusCode::REQUEST_TIMEOUT => {
            ("request timeout", "the head of the request was not received in time")
        }
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            ("request header fields too large", "the head of the request is too large")
        }
        _ => ("bad request", "the request is not valid HTTP/1.1"),
    }
}

/// Returns where the bytes to be sent end in an error of actix-http. The middleware adds a request
/// ID to every other response, and no body ends in an empty line with carriage returns.
fn find_error(bytes: &[u8]) -> Option<(usize, &str)> {
    if !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let from = bytes.len().saturating_sub(MAX_BYTES);
    let mut windows = bytes[from..].windows(CLIENT_ERROR.len());
    let start = from + windows.rposition(|window| window == CLIENT_ERROR)?;
    let head = str::from_utf8(&bytes[start..]).ok()?;
    (head.contains("\r\ncontent-length: 0\r\n") && !head.contains(REQUEST_ID.as_str()))
        .then_some((start, head))
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let head = match find_error(bytes) {
            None => return Pin::new(&mut this.stream).poll_write(context, bytes),
            Some((0, head)) => head,
            // The responses before it are sent first.
            Some((start, _)) => {
                return Pin::new(&mut this.stream).poll_write(context, &bytes[..start]);
            }
        };
        let (response, mut written) =
            this.replacement.take().unwrap_or_else(|| (this.replace(head), 0));
        while written < response.len() {
            match Pin::new(&mut this.stream).poll_write(context, &response[written..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    this.replacement = Some((response, written));
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::rt::net::TcpListener;

    use super::*;
    use crate::shutdown::Shutdown;
    use crate::telemetry::activity::Activity;

    #[actix_web::test]
    async fn a_connection_delays_no_small_write() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let metrics =
            Metrics::new(Box::new(Vec::new), Activity::new().unwrap(), Shutdown::default())
                .unwrap();
        let connection = Connection::new(stream, Data::new(metrics));
        assert!(connection.stream().nodelay().unwrap());
    }
}
