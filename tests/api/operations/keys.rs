//! The rotation of keys without a restart.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use shortline::auth::{Claims, Keys, Scope};
use shortline::settings::Settings;
use time::OffsetDateTime;

use super::lifecycle::free_port;
use crate::support::{
    Contents, PARTNER, check_database, plain_client, url, wait_at_most, wait_until,
};

const OLD: &str = "the old secret of the tests, 32 bytes at least";
const NEW: &str = "the new secret of the tests, 32 bytes at least";
/// How long a change of a file takes until it has an effect.
const LIMIT: Duration = Duration::from_secs(5);

/// A token that is signed with a secret.
fn token(secret: &str) -> String {
    let settings = Settings::parse_from(["shortline", "--jwt-secret", secret]);
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let scopes = [Scope::OauthRead].into_iter().collect();
    let claims = Claims::new(PARTNER.sid, &scopes, None, now, now + 600);
    Keys::from_settings(&settings).unwrap().sign(claims).unwrap()
}

/// A running `shortline serve`.
struct Served {
    process: Child,
    base: String,
}

impl Served {
    async fn start(database: &str, flags: &[&str]) -> Self {
        let listen = format!("127.0.0.1:{}", free_port());
        let process = Command::new(env!("CARGO_BIN_EXE_shortline"))
            .args([
                "serve",
                "--listen",
                &listen,
                "--drain-seconds",
                "0",
                "--database-url",
                database,
            ])
            .args(flags)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let served = Self { process, base: format!("http://{listen}") };
        let ready = format!("{}/readyz", served.base);
        let is_ready = async || {
            plain_client().get(&ready).send().await.is_ok_and(|answer| answer.status() == 200)
        };
        wait_until("the service is ready", is_ready).await;
        served
    }

    async fn status(&self, token: &str) -> u16 {
        let whoami = format!("{}/core/v2/oauth/whoami", self.base);
        plain_client().get(whoami).bearer_auth(token).send().await.unwrap().status().as_u16()
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Replaces a file as a secret's mount does.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn secrets_are_rotated_without_a_restart() {
    check_database(Contents::Tenants, async |database| {
        let folder = tempfile::tempdir().unwrap();
        let (secret, previous) = (folder.path().join("secret"), folder.path().join("previous"));
        fs::write(&secret, format!("{OLD}\n")).unwrap();
        fs::write(&previous, OLD).unwrap();
        let flags = ["--jwt-secret-file", secret.to_str().unwrap()];
        let flags = [&flags[..], &["--jwt-secret-previous-file", previous.to_str().unwrap()]];
        let served = Served::start(&url(database), &flags.concat()).await;
        let (old, new) = (token(OLD), token(NEW));
        assert_eq!((served.status(&old).await, served.status(&new).await), (200, 401));

        replace(&secret, NEW);
        let accepted = async || served.status(&new).await == 200;
        wait_at_most(LIMIT, "the new secret is accepted", accepted).await;
        assert_eq!(served.status(&old).await, 200, "as the previous one");

        // A secret that is too short, or no file, changes nothing.
        replace(&secret, "short");
        fs::remove_file(&previous).unwrap();
        served.signal("-HUP");
        let until = Instant::now() + Duration::from_secs(4);
        while Instant::now() < until {
            assert_eq!((served.status(&old).await, served.status(&new).await), (200, 200));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }

        replace(&secret, NEW);
        replace(&previous, NEW);
        let rejected = async || served.status(&old).await == 401;
        wait_at_most(LIMIT, "the old secret is rejected", rejected).await;
        assert_eq!(served.status(&new).await, 200);
    });
}

#[test]
fn public_keys_are_read_again_on_sighup() {
    check_database(Contents::Tenants, async |database| {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys.pem");
        let key = |name| format!("{}/tests/api/keys/{name}", env!("CARGO_MANIFEST_DIR"));
        fs::copy(key("ed25519.pub.pem"), &keys).unwrap();
        let signing = Settings::parse_from([
            "shortline",
            "--jwt-keys",
            &key("p256.pub.pem"),
            "--jwt-signing-key",
            &key("p256.pem"),
        ]);
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let scopes = [Scope::OauthRead].into_iter().collect();
        let claims = Claims::new(PARTNER.sid, &scopes, None, now, now + 600);
        let token = Keys::from_settings(&signing).unwrap().sign(claims).unwrap();
        let flags = ["--jwt-keys", keys.to_str().unwrap()];
        let served = Served::start(&url(database), &flags).await;
        assert_eq!(served.status(&token).await, 401);
        fs::copy(key("p256.pub.pem"), &keys).unwrap();
        served.signal("-HUP");
        let accepted = async || served.status(&token).await == 200;
        wait_at_most(LIMIT, "the new key is accepted", accepted).await;
    });
}

#[test]
fn a_previous_secret_verifies_and_does_not_sign() {
    let flags = ["--jwt-secret", NEW, "--jwt-secret-previous", OLD];
    let settings = Settings::parse_from([&["shortline"], &flags[..]].concat());
    let keys = Keys::from_settings(&settings).unwrap();
    assert!(keys.verify(&token(OLD)).is_some() && keys.verify(&token(NEW)).is_some());
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let claims = Claims::new(PARTNER.sid, &Default::default(), None, now, now + 600);
    let signed = keys.sign(claims).unwrap();
    let only_new = Settings::parse_from(["shortline", "--jwt-secret", NEW]);
    assert!(Keys::from_settings(&only_new).unwrap().verify(&signed).is_some());
    let short = Settings::parse_from(["shortline", "--jwt-secret-previous", "short"]);
    let error = Keys::from_settings(&short).err().unwrap().to_string();
    assert!(error.starts_with("SHORTLINE_JWT_SECRET_PREVIOUS has 5 bytes"), "{error}");
}
