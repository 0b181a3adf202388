//! Responses.

use std::time::Duration;

use reqwest::RequestBuilder;
use reqwest::header::HeaderMap;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::App;

/// A complete response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub async fn to(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    /// Returns the body and checks the status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        let body: Value = serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text));
        // Members are in alphabetical order, except in the OpenAPI document.
        let ordered =
            status >= 300 || body.get("openapi").is_some() || *self.text == *body.to_string();
        assert!(ordered, "{}", self.text);
        body
    }

    /// Returns the fields that an error names and checks its status, message and shape.
    #[track_caller]
    pub fn expect_error(&self, status: u16, message: &str) -> Vec<String> {
        let body = self.expect(status);
        assert_eq!(body["message"], message, "{body}");
        assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
        let errors = body["errors"].as_array().unwrap();
        for error in errors {
            assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
            assert_eq!(error.as_object().unwrap().len(), 3, "{body}");
        }
        errors.iter().map(|error| error["field"].as_str().unwrap_or_default().to_owned()).collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Sends raw bytes and returns everything up to the end of the connection, which may be nothing.
pub async fn send_raw(app: &App, bytes: &[u8]) -> String {
    let host = app.base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    // The service may respond and close the connection before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(2), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}
