//! A receiver of webhooks.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use actix_web::rt::spawn;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::wait_until;

/// A request that the sink has received.
#[derive(Clone, Debug)]
pub struct Received {
    pub headers: Vec<(String, String)>,
    pub text: String,
    pub body: Value,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.find(name).unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }

    /// The header of that name, if the request has it.
    pub fn find(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(other, _)| other == name);
        header.map(|(_, value)| value.as_str())
    }

    /// The type of the event.
    pub fn name(&self) -> &str {
        self.body["type"].as_str().unwrap()
    }

    /// The object of the event and its version.
    pub fn place(&self) -> (String, i64) {
        let data = &self.body["data"];
        (data["sid"].as_str().unwrap().to_owned(), data["version"].as_i64().unwrap())
    }
}

/// The answer to a request, as a complete response; `None` for no answer at all.
type Respond = dyn Fn(&Received) -> Option<String> + Send;

/// A server on this machine that records what it receives.
#[derive(Clone)]
pub struct Sink {
    pub url: String,
    received: Arc<Mutex<Vec<Received>>>,
    respond: Arc<Mutex<Box<Respond>>>,
    /// Whether responses wait.
    is_held: Arc<watch::Sender<bool>>,
}

impl Sink {
    /// Starts a sink that accepts everything.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let sink = Self {
            url,
            received: Arc::default(),
            respond: Arc::new(Mutex::new(Box::new(|_| Some(status(204))))),
            is_held: Arc::new(watch::Sender::new(false)),
        };
        let own = sink.clone();
        spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                spawn(own.clone().serve(connection));
            }
        });
        sink
    }

    /// Changes the answers.
    pub fn respond(&self, respond: impl Fn(&Received) -> Option<String> + Send + 'static) {
        *self.respond.lock().unwrap() = Box::new(respond);
    }

    /// Holds all responses until `release`. Requests are received meanwhile.
    pub fn hold(&self) {
        self.is_held.send_replace(true);
    }

    /// Sends the responses that are held, and later ones at once.
    pub fn release(&self) {
        self.is_held.send_replace(false);
    }

    /// Gives these statuses in turn, then 204.
    pub fn respond_in_turn(&self, statuses: &[u16]) {
        let statuses = Mutex::new(VecDeque::from(statuses.to_vec()));
        self.respond(move |_| Some(status(statuses.lock().unwrap().pop_front().unwrap_or(204))));
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Waits until that number of requests has arrived.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        let what = format!("{count} deliveries");
        wait_until(&what, async || self.received().len() >= count).await;
        self.received()
    }

    async fn serve(self, mut connection: TcpStream) {
        let mut buffer = Vec::new();
        while let Some(received) = read(&mut connection, &mut buffer).await {
            self.received.lock().unwrap().push(received.clone());
            self.is_held.subscribe().wait_for(|is_held| !is_held).await.unwrap();
            let response = (self.respond.lock().unwrap())(&received);
            match response {
                Some(response) => {
                    if connection.write_all(response.as_bytes()).await.is_err() {
                        return;
                    }
                }
                None => std::future::pending().await,
            }
        }
    }
}

/// A response with that status and no body.
pub fn status(status: u16) -> String {
    format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n")
}

async fn read(connection: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Received> {
    loop {
        let text = String::from_utf8_lossy(buffer).into_owned();
        if let Some((head, rest)) = text.split_once("\r\n\r\n") {
            let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
            let headers: Vec<_> =
                headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length: usize = length.map_or(0, |(_, length)| length.parse().unwrap());
            if rest.len() >= length {
                let text = rest[..length].to_owned();
                buffer.drain(..head.len() + 4 + length);
                let body = serde_json::from_str(&text).unwrap();
                return Some(Received { headers, text, body });
            }
        }
        let mut chunk = [0; 4096];
        match connection.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(length) => buffer.extend_from_slice(&chunk[..length]),
        }
    }
}
