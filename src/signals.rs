//! The signals that stop the process: SIGTERM and SIGINT.
//!
//! A thread of its own receives them, so that they work at every moment: also as process 1, for
//! which the kernel ignores signals without a handler, and while the other threads are busy.

use std::io;
use std::process::exit;
use std::sync::{Mutex, PoisonError};
use std::thread;

use tokio::runtime::Builder;
use tokio::select;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The exit status of a process that a signal ended is the number of the signal and this.
const ENDED_BY: i32 = 128;

/// The number of signals that were received; `None` before the thread was started.
static RECEIVED: Mutex<Option<watch::Sender<usize>>> = Mutex::new(None);

/// From now on, signals end the process at once, unless [`Signals`] receives them.
///
/// # Errors
/// If the system does not provide the thread.
pub fn end_process() -> io::Result<()> {
    Signals::new().map(drop)
}

/// Receives the signals of the process until it is dropped.
pub struct Signals(watch::Receiver<usize>);

impl Signals {
    /// Begins to receive signals.
    ///
    /// # Errors
    /// If the system does not provide the thread.
    pub fn new() -> io::Result<Self> {
        let mut received = RECEIVED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(received) = &*received {
            return Ok(Self(received.subscribe()));
        }
        let sender = watch::Sender::new(0);
        let signals = Self(sender.subscribe());
        receive(sender.clone())?;
        *received = Some(sender);
        Ok(signals)
    }

    /// Waits for the next signal.
    pub async fn stop(&mut self) {
        // The sender is static.
        let _ = self.0.changed().await;
    }
}

/// Starts the thread.
fn receive(received: watch::Sender<usize>) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let entered = runtime.enter();
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    drop(entered);
    let receive = async move {
        loop {
            let kind = select! {
                _ = terminate.recv() => SignalKind::terminate(),
                _ = interrupt.recv() => SignalKind::interrupt(),
            };
            if received.receiver_count() == 0 {
                exit(ENDED_BY + kind.as_raw_value());
            }
            received.send_modify(|count| *count += 1);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(receive))?;
    Ok(())
}
