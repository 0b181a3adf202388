//! Guesses of secrets: slow, and no obstacle to those that have the secret.

use std::time::{Duration, Instant};

use futures_util::future::join;
use futures_util::stream::{self, StreamExt};
use reqwest::Method;
use shortline::auth::Scope;

use super::{CLIENT_CREDENTIALS, TOKEN, client, form};
use crate::support::{Answer, App, check, check_with};

/// A token request from an address, which the service learns from a trusted proxy.
async fn ask_from(app: &App, address: &str, id: &str, secret: &str) -> Answer {
    let fields = [CLIENT_CREDENTIALS, ("client_id", id), ("client_secret", secret)];
    let request = form(app.anonymous(Method::POST, TOKEN), &fields);
    Answer::to(request.header("x-forwarded-for", address)).await
}

const BEHIND_A_PROXY: [&str; 2] = ["--trusted-proxies", "127.0.0.1"];

/// Some of the spellings of a sid.
fn spellings(id: &str) -> Vec<String> {
    let letters = id.match_indices(|letter: char| letter.is_ascii_lowercase());
    let spelling = |(index, letter): (usize, &str)| {
        format!("{}{}{}", &id[..index], letter.to_uppercase(), &id[index + 1..])
    };
    letters.map(spelling).chain([id.to_owned(), id.to_uppercase()]).collect()
}

#[test]
fn right_secrets_are_accepted_beside_a_thousand_parallel_wrong_ones() {
    check_with(&BEHIND_A_PROXY, async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        let fresh = super::client(app, &app.child, &Scope::DEFAULT).await;
        ask_from(app, "192.0.2.1", &client.0, &client.1).await.expect(200);
        let spellings = spellings(&client.0);
        let guesses = stream::iter(0..1_000).map(|number| {
            let spelling = &spellings[number % spellings.len()];
            // From the address of the client, too.
            let address = if number % 2 == 0 { "192.0.2.1" } else { "198.51.100.1" };
            async move { ask_from(app, address, spelling, "a wrong secret").await.status }
        });
        let guesses = guesses.buffer_unordered(200).collect::<Vec<_>>();
        let right = async {
            let mut slowest = Duration::ZERO;
            for number in 0..40 {
                let started = Instant::now();
                ask_from(app, "192.0.2.1", &client.0, &client.1).await.expect(200);
                if number == 10 {
                    // A secret that was not verified before waits for its turn, which is soon.
                    ask_from(app, "203.0.113.1", &fresh.0, &fresh.1).await.expect(200);
                }
                slowest = slowest.max(started.elapsed());
            }
            slowest
        };
        let (statuses, slowest) = join(guesses, right).await;
        let count = |status| statuses.iter().filter(|found| **found == status).count();
        assert_eq!(count(401) + count(429), 1_000, "{statuses:?}");
        assert!(count(401) <= 30, "{} guesses were answered", count(401));
        assert!(slowest < Duration::from_secs(10), "{slowest:?}");
        // The right secret is still accepted from any address.
        ask_from(app, "203.0.113.2", &client.0, &client.1).await.expect(200);
    });
}

#[test]
fn all_spellings_of_a_client_id_have_one_counter() {
    check(async |app| {
        let client = client(app, &app.partner, &Scope::DEFAULT).await;
        let spellings = spellings(&client.0);
        let started = Instant::now();
        for number in 0..7 {
            let spelling = &spellings[number % spellings.len()];
            ask_from(app, "192.0.2.1", spelling, "a wrong secret").await.expect(401);
        }
        // The delays of the sixth and seventh failure.
        assert!(started.elapsed() >= Duration::from_millis(750), "{:?}", started.elapsed());
    });
}
