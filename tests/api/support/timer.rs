//! How long each test takes, for the list of the slowest ones.

use std::cell::OnceCell;
use std::fs::File;
use std::io::Write;
use std::sync::OnceLock;
use std::time::Instant;

/// The file with one line for each test of the last run: seconds and name.
const FILE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/test-times.txt");

/// The time of one test. Each test has a thread of its own, so the end of the thread is that of the
/// test.
struct Timer(Instant);

impl Timer {
    fn start() -> Self {
        Self(Instant::now())
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // The first test of a run truncates the file.
        static TIMES: OnceLock<File> = OnceLock::new();
        let mut times = TIMES.get_or_init(|| File::create(FILE).unwrap());
        let (thread, seconds) = (std::thread::current(), self.0.elapsed().as_secs_f64());
        let line = format!("{seconds:.3} {}\n", thread.name().unwrap_or("unknown"));
        times.write_all(line.as_bytes()).unwrap();
    }
}

/// Starts the time of the current test, unless it runs.
pub fn start_timer() {
    thread_local! {
        static TIMER: OnceCell<Timer> = const { OnceCell::new() };
    }
    TIMER.with(|timer| {
        timer.get_or_init(Timer::start);
    });
}
