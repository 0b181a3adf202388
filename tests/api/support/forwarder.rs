//! A forwarder between the service and PostgreSQL, which ends connections as a server, a pooler or
//! a network does.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use actix_web::rt::spawn;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::select;
use tokio::sync::Notify;

/// How the forwarder ends a connection.
#[derive(Clone, Copy, Debug)]
pub enum Ending {
    /// By a fatal error of this SQLSTATE, sent before the end, as PostgreSQL does.
    Error(&'static str),
    /// Without a word.
    Closed,
    /// Not at all, but no byte passes any more.
    Silent,
}

/// Forwards connections to a PostgreSQL server.
pub struct Forwarder {
    address: SocketAddr,
    state: Rc<State>,
}

#[derive(Default)]
struct State {
    ending: RefCell<Option<Ending>>,
    ended: Notify,
}

impl Forwarder {
    /// Forwards to the server of that database.
    pub async fn start(database: &PgConnectOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, database) = (Rc::new(State::default()), database.clone());
        let shared = state.clone();
        spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (state, database) = (shared.clone(), database.clone());
                spawn(async move {
                    if let Some(folder) = database.get_socket() {
                        let path = folder.join(format!(".s.PGSQL.{}", database.get_port()));
                        let (read, write) = UnixStream::connect(path).await.unwrap().into_split();
                        forward(client, read, write, &state).await;
                    } else {
                        let address = (database.get_host(), database.get_port());
                        let (read, write) = TcpStream::connect(address).await.unwrap().into_split();
                        forward(client, read, write, &state).await;
                    }
                });
            }
        });
        Self { address, state }
    }

    /// The options of a database through the forwarder.
    pub fn options(&self, database: &PgConnectOptions) -> PgConnectOptions {
        let name = database.get_database().unwrap();
        PgConnectOptions::new_without_pgpass()
            .host(&self.address.ip().to_string())
            .port(self.address.port())
            .ssl_mode(PgSslMode::Disable)
            .username(database.get_username())
            .database(name)
    }

    /// Ends the open connections.
    pub fn end(&self, ending: Ending) {
        *self.state.ending.borrow_mut() = Some(ending);
        self.state.ended.notify_waiters();
    }
}

async fn forward(
    mut client: TcpStream,
    mut from_server: impl AsyncRead + Unpin,
    mut to_server: impl AsyncWrite + Unpin,
    state: &State,
) {
    let (mut from_client, mut to_client) = client.split();
    let ended = select! {
        () = state.ended.notified() => true,
        _ = copy(&mut from_client, &mut to_server) => false,
        _ = copy(&mut from_server, &mut to_client) => false,
    };
    let ending = *state.ending.borrow();
    match ending.filter(|_| ended) {
        Some(Ending::Error(code)) => {
            let _ = client.write_all(&fatal(code)).await;
        }
        Some(Ending::Silent) => {
            let mut sink = Vec::new();
            let _ = client.read_to_end(&mut sink).await;
        }
        Some(Ending::Closed) | None => {}
    }
}

/// The message of a fatal error (PostgreSQL's protocol, section 55.8).
fn fatal(code: &str) -> Vec<u8> {
    let fields = format!("SFATAL\0VFATAL\0C{code}\0Mended by the test\0\0");
    let length = (fields.len() + 4) as u32;
    [&b"E"[..], &length.to_be_bytes(), fields.as_bytes()].concat()
}
