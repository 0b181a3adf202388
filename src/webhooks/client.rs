//! The client of deliveries. It connects to permitted addresses only.
//!
//! A connection is opened to an address that the same look-up of the name has returned and
//! [`AddressRules`] permit. There is no second look-up that could return another address.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, redirect, retry};

use super::address::AddressRules;
use super::schedule::{self, Answer};
use super::signature::Signer;

/// The longest time of a delivery: name, connection, request and answer.
pub const TIMEOUT: Duration = Duration::from_secs(15);
/// How much of an answer is read, in bytes.
const READ_BYTES: usize = 16 * 1024;
/// How much of an answer is stored, in bytes.
const STORED_BYTES: usize = 1024;
/// How long a connection that is not in use stays open.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest description of an error, in characters.
const ERROR_LENGTH: usize = 200;

/// A message to deliver.
pub struct Message {
    /// The same for every attempt: `webhook-id`.
    pub id: String,
    /// The JSON text.
    pub body: Vec<u8>,
    /// The trace of the request that caused it (W3C Trace Context).
    pub traceparent: Option<String>,
}

/// Sends signed messages.
#[derive(Clone)]
pub struct DeliveryClient {
    /// `None` if the service signs nothing.
    http: Option<Client>,
    rules: AddressRules,
}

impl DeliveryClient {
    /// Returns a client with these rules, which resolves names as this machine does.
    ///
    /// # Errors
    /// If the trusted certificates of the machine cannot be read.
    pub fn new(rules: AddressRules) -> anyhow::Result<Self> {
        Self::with_resolver(rules, Arc::new(SystemResolver))
    }

    /// Returns a client that sends nothing and needs no certificates.
    pub fn idle(rules: AddressRules) -> Self {
        Self { http: None, rules }
    }

    /// Returns a client that resolves names by `resolver`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_resolver(rules: AddressRules, resolver: Arc<dyn Resolve>) -> anyhow::Result<Self> {
        let guarded = GuardedResolver { resolver, rules: rules.clone() };
        let http = Client::builder()
            .dns_resolver(Arc::new(guarded))
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .timeout(TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(1)
            .user_agent(concat!("Shortline/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http: Some(http), rules })
    }

    /// Returns the rules.
    pub fn rules(&self) -> &AddressRules {
        &self.rules
    }

    /// Sends the message once.
    pub async fn send(&self, url: &str, signer: &Signer, message: &Message) -> Answer {
        let started = Instant::now();
        let mut answer = match self.rules.check_url(url) {
            Err(problem) => Answer::failure(format!("the URL {problem}")),
            Ok(()) => match tokio::time::timeout(TIMEOUT, self.post(url, signer, message)).await {
                Ok(answer) => answer,
                Err(_) => Answer::failure(timed_out()),
            },
        };
        answer.milliseconds = started.elapsed().as_millis().try_into().unwrap_or(i64::MAX);
        answer
    }

    async fn post(&self, url: &str, signer: &Signer, message: &Message) -> Answer {
        let Some(http) = &self.http else {
            return Answer::failure("this service sends no webhooks".to_owned());
        };
        let Message { id, body, traceparent } = message;
        let now = SystemTime::now();
        let timestamp = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let signature = signer.sign(id, timestamp as i64, body);
        let mut request = http
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(body.clone());
        if let Some(traceparent) = traceparent {
            request = request.header("traceparent", traceparent);
        }
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Answer::failure(describe(&error)),
        };
        let mut read = Vec::new();
        // The status decides; an answer that breaks off is stored as far as it was received.
        while read.len() < READ_BYTES
            && let Ok(Some(chunk)) = response.chunk().await
        {
            read.extend_from_slice(&chunk);
        }
        read.truncate(STORED_BYTES);
        Answer {
            status: Some(response.status().as_u16()),
            error: None,
            milliseconds: 0,
            retry_after: retry_after(response.headers(), now),
            response: stored_text(&read),
        }
    }
}

fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    schedule::retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, now)
}

/// Returns the text as PostgreSQL can store it.
fn stored_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}")
}

fn timed_out() -> String {
    format!("there was no answer within {} s", TIMEOUT.as_secs())
}

/// Returns the innermost cause, without the URL.
fn describe(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return timed_out();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    stored_text(cause.to_string().as_bytes()).chars().take(ERROR_LENGTH).collect()
}

/// Returns the permitted addresses of another resolver.
struct GuardedResolver {
    resolver: Arc<dyn Resolve>,
    rules: AddressRules,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolving, rules) = (self.resolver.resolve(name), self.rules.clone());
        Box::pin(async move {
            let addresses: Vec<_> =
                resolving.await?.filter(|address| rules.permit(address.ip())).collect();
            if addresses.is_empty() {
                let message = "the name has no address that deliveries may connect to";
                return Err(message.into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Resolves names as this machine does.
struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addresses = tokio::net::lookup_host((name.as_str(), 0)).await;
            let not_found = |error: io::Error| format!("the name cannot be resolved: {error}");
            Ok(Box::new(addresses.map_err(not_found)?.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::webhooks::keys::{Secret, SigningKeys};
    use crate::webhooks::secrets::Secrets;

    fn rules(allowed: &[&str]) -> AddressRules {
        AddressRules::allowing(allowed.iter().map(|network| network.parse().unwrap()).collect())
    }

    fn signer() -> Signer {
        let current = SigningKeys { secret: Secret::random().unwrap(), seed: None };
        Secrets { current, old: None }.signer(false).unwrap()
    }

    fn message() -> Message {
        Message { id: "msg_1".to_owned(), body: b"{}".to_vec(), traceparent: None }
    }

    /// Returns the answers of a resolver in turn, and then the last one.
    struct Fickle(Mutex<Vec<&'static str>>);

    impl Resolve for Fickle {
        fn resolve(&self, _: Name) -> Resolving {
            let mut answers = self.0.lock().unwrap();
            let address = if answers.len() > 1 { answers.remove(0) } else { answers[0] };
            let addresses = vec![SocketAddr::new(address.parse().unwrap(), 0)];
            Box::pin(async move { Ok(Box::new(addresses.into_iter()) as Addrs) })
        }
    }

    async fn sink() -> (TcpListener, u16) {
        let sink = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = sink.local_addr().unwrap().port();
        (sink, port)
    }

    async fn has_connection(sink: &TcpListener) -> bool {
        tokio::time::timeout(Duration::from_millis(50), sink.accept()).await.is_ok()
    }

    /// A sink that gives this answer to every request.
    async fn answering(answer: String) -> u16 {
        let (sink, port) = sink().await;
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = sink.accept().await {
                let mut head = [0; 4096];
                let _ = connection.read(&mut head).await;
                let _ = connection.write_all(answer.as_bytes()).await;
            }
        });
        port
    }

    #[tokio::test]
    async fn no_connection_reaches_a_hostile_address() {
        let (sink, port) = sink().await;
        let client = DeliveryClient::new(rules(&[])).unwrap();
        for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"] {
            let url = format!("http://{host}:{port}/");
            let answer = client.send(&url, &signer(), &message()).await;
            assert!(answer.status.is_none() && answer.error.is_some(), "{host}: {answer:?}");
            assert!(!has_connection(&sink).await, "{host}");
        }
    }

    #[tokio::test]
    async fn a_resolver_that_changes_its_mind_leads_to_no_other_address() {
        let (sink, port) = sink().await;
        let url = format!("http://rebinding.example:{port}/");
        for answers in [
            vec!["127.0.0.2", "127.0.0.1"],
            vec!["127.0.0.1", "127.0.0.2"],
            vec!["169.254.169.254", "127.0.0.1"],
        ] {
            let resolver = Arc::new(Fickle(Mutex::new(answers.clone())));
            // Nothing listens there.
            let rules = rules(&["127.0.0.2/32"]);
            let client = DeliveryClient::with_resolver(rules, resolver).unwrap();
            for attempt in 0..3 {
                let answer = client.send(&url, &signer(), &message()).await;
                assert!(answer.status.is_none(), "{answers:?} {attempt}: {answer:?}");
                assert!(!has_connection(&sink).await, "{answers:?} {attempt}");
            }
        }
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let (target, target_port) = sink().await;
        let redirect = format!(
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:{target_port}/\r\n\
             content-length: 0\r\n\r\n"
        );
        let url = format!("http://127.0.0.1:{}/", answering(redirect).await);
        let client = DeliveryClient::new(rules(&["127.0.0.1/32"])).unwrap();
        let answer = client.send(&url, &signer(), &message()).await;
        assert_eq!(answer.status, Some(307));
        assert!(!has_connection(&target).await);
    }

    #[tokio::test]
    async fn an_answer_is_read_to_its_limit() {
        let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}\0", "x".repeat(100_000));
        let url = format!("http://127.0.0.1:{}/", answering(endless).await);
        let client = DeliveryClient::new(rules(&["127.0.0.1/32"])).unwrap();
        let answer = client.send(&url, &signer(), &message()).await;
        assert_eq!((answer.status, answer.response.len()), (Some(200), STORED_BYTES));
        let nul = "HTTP/1.1 500 Oops\r\nretry-after: 7\r\ncontent-length: 3\r\n\r\na\0b".to_owned();
        let url = format!("http://127.0.0.1:{}/", answering(nul).await);
        let answer = client.send(&url, &signer(), &message()).await;
        assert_eq!((answer.status, &*answer.response), (Some(500), "a\u{fffd}b"));
        assert_eq!(answer.retry_after, Some(Duration::from_secs(7)));
    }
}
