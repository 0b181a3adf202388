//! The command line.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;
use sqlx::postgres::PgConnectOptions;

use crate::support::{
    Answer, App, Contents, SECRET, check, check_database, snapshot, url, wait_until,
};

pub fn shortline(database: &PgConnectOptions, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shortline"));
    command
        .args(arguments)
        .args(["--database-url", &url(database), "--jwt-secret", SECRET])
        .output()
        .unwrap()
}

/// Runs a command that succeeds and returns its JSON.
#[track_caller]
pub fn json_of(database: &PgConnectOptions, arguments: &[&str]) -> Value {
    let output = shortline(database, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs a command with `input` as its standard input.
fn shortline_reading(database: &PgConnectOptions, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shortline"));
    command.args(arguments).args(["--json", "--database-url", &url(database)]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // The command may fail before it reads its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Runs a command that fails and returns its error message.
#[track_caller]
pub fn error_of(database: &PgConnectOptions, arguments: &[&str]) -> String {
    let output = shortline(database, arguments);
    assert!(!output.status.success());
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

fn sid(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn migrate_lists_the_applied_migrations() {
    check_database(Contents::Empty, async |database| {
        let applied = json_of(database, &["migrate"]);
        let newest = applied["applied"].as_array().unwrap().last().unwrap().as_str().unwrap();
        let expected = format!("V{}__", shortline::store::migrations::newest());
        assert!(newest.starts_with(&expected), "{newest}");
        assert_eq!(json_of(database, &["migrate"]), json!({"applied": [], "corrected": 0}));
    });
}

#[test]
fn an_operator_sets_up_a_partner() {
    check(async |app: &App| {
        let database = &app.database;
        let partner = json_of(database, &["partner", "create", "--name", "Acme"]);
        let partner_sid = sid(&partner["partner_sid"]);
        insta::assert_snapshot!(snapshot(app, &partner), @r#"
        {
          "attributes": {},
          "available_scopes": ["oauth.manage", "partners.manage", "phonenumber.manage"],
          "callbacks": {},
          "company_name": null,
          "country_code": null,
          "date_created": "[date]",
          "display_id": "CX00000004",
          "login": null,
          "name": "Acme",
          "parent_sid": null,
          "partner_sid": "[sid]",
          "status": "active"
        }
        "#);
        let child = ["partner", "create", "--name", "Sub", "--parent", partner_sid];
        let child = json_of(database, &[&child[..], &["--scope", "phonenumber.read"]].concat());
        assert_eq!(child["parent_sid"], partner["partner_sid"]);
        assert_eq!(child["available_scopes"], json!(["phonenumber.read"]));

        let create = ["short-code", "create", "--partner", partner_sid, "--short-code", "26399"];
        let code = json_of(database, &[&create[..], &["--state", "IL"]].concat());
        insta::assert_snapshot!(snapshot(app, &code), @r#"
        {
          "attributes": {},
          "callback_url": null,
          "country_code": "USA",
          "did_group_sid": null,
          "locality": null,
          "lrn_sid": null,
          "name": "N/A",
          "partner_sid": "[sid]",
          "short_code": "26399",
          "short_code_sid": "[sid]",
          "state": "IL",
          "string_key_1": null,
          "string_key_2": null
        }
        "#);
        let taken = error_of(database, &create);
        assert_eq!(taken, "shortline: short_code: 26399 is taken in USA\n");

        let suspended = json_of(database, &["partner", "suspend", partner_sid]);
        assert_eq!(suspended["status"], "suspended");
        assert_eq!(json_of(database, &["partner", "activate", partner_sid]), partner);
        let partners = json_of(database, &["partner", "list"]);
        assert_eq!(partners.as_array().unwrap().len(), 2 + 3);
    });
}

#[test]
fn issued_tokens_work_until_they_are_revoked() {
    check(async |app: &App| {
        let database = &app.database;
        let partner = json_of(database, &["partner", "create", "--name", "Acme"]);
        let issue = ["token", "issue", "--partner", sid(&partner["partner_sid"])];
        let kinds = [&issue[..], &[&issue[..], &["--opaque"]].concat()];
        let issued = kinds.map(|arguments| json_of(database, arguments));
        let status = async |token: &Value| {
            let secret = token["access_token"].as_str().unwrap();
            let get = app.anonymous(Method::GET, "/core/v2/oauth/whoami").bearer_auth(secret);
            Answer::to(get).await.status
        };
        for token in &issued {
            assert_eq!(token["scopes"], partner["available_scopes"]);
            assert_eq!(token["token_type"], "bearer");
            assert_eq!(status(token).await, 200);
            json_of(database, &["token", "revoke", sid(&token["token_sid"])]);
        }
        for token in &issued {
            wait_until("the token is rejected", async || status(token).await == 401).await;
        }
        let tokens = json_of(database, &["token", "list"]);
        // Each of the three tenants has one token.
        assert_eq!(tokens.as_array().unwrap().len(), 2 + 3);
        assert!(tokens.as_array().unwrap().iter().all(|token| token["access_token"].is_null()));
    });
}

#[test]
fn invalid_arguments_are_named() {
    check_database(Contents::Migrated, async |database| {
        let unknown = "00000000-0000-0000-0000-000000000000";
        for (arguments, expected) in [
            (&["partner", "create", "--name", ""][..], "1 to 255 characters"),
            (
                &["partner", "create", "--name", "x", "--scope", "phonenumber.reed"],
                "phonenumber.read",
            ),
            (
                &["partner", "create", "--name", "x", "--parent", unknown],
                "parent_sid: must be a partner",
            ),
            (&["partner", "suspend", unknown], "no object has this sid"),
            (&["partner", "suspend", "x"], "a sid is a hyphenated UUID"),
            (&["token", "issue", "--partner", unknown], "no object has this sid"),
            (&["token", "issue", "--partner", unknown, "--expires-in", "0"], "0 is not in"),
            (
                &["short-code", "create", "--partner", unknown, "--short-code", "12"],
                "short_code: must be a string of 3",
            ),
            (
                &["short-code", "create", "--partner", unknown, "--short-code", "123"],
                "partner_sid: must be a partner",
            ),
        ] {
            let message = error_of(database, arguments);
            assert!(message.contains(expected), "{arguments:?}: {message}");
        }
    });
}

#[test]
fn a_token_cannot_have_a_scope_that_its_partner_lacks() {
    check_database(Contents::Migrated, async |database| {
        let partner =
            json_of(database, &["partner", "create", "--name", "x", "--scope", "phonenumber.read"]);
        let message = error_of(
            database,
            &[
                "token",
                "issue",
                "--partner",
                sid(&partner["partner_sid"]),
                "--scope",
                "phonenumber.manage",
            ],
        );
        assert!(
            message.contains("does not have the scope phonenumber.manage; it has phonenumber.read"),
            "{message}"
        );
        // A scope of the partner covers others.
        let partner = json_of(database, &["partner", "create", "--name", "y"]);
        let issue = ["token", "issue", "--scope", "phonenumber.read", "--partner"];
        let issue = [&issue[..], &[sid(&partner["partner_sid"])]].concat();
        assert_eq!(json_of(database, &issue)["scopes"], json!(["phonenumber.read"]));
    });
}

#[test]
fn clients_and_logins_made_by_an_operator_get_tokens() {
    check(async |app: &App| {
        let (database, partner) = (&app.database, app.child.sid.to_string());
        let small = ["client", "create", "--partner", &partner, "--scope", "phonenumber.read"];
        let client = json_of(database, &small);
        assert_eq!(client["scopes"], json!(["phonenumber.read"]));
        let lacking = Scope::PhonenumberManage;
        let read_only = [Scope::PhonenumberRead].into_iter().collect();
        app.update_partner(app.child.sid, |partner| partner.available_scopes = read_only).await;
        let more = ["client", "create", "--partner", &partner, "--scope", lacking.as_str()];
        assert!(error_of(database, &more).contains("does not have the scope"));

        let create = ["login", "create", "--partner", &partner, "--login", "ann"];
        let set = ["login", "set-password", "--login", "ann"];
        let stderr = |output: &Output| String::from_utf8(output.stderr.clone()).unwrap();
        let short = shortline_reading(database, &create, "too short 1\n");
        assert_eq!(stderr(&short), "shortline: the password must have at least 12 characters\n");
        let made = shortline_reading(database, &create, "the first password\n");
        assert!(made.status.success(), "{}", stderr(&made));
        let again = shortline_reading(database, &create, "the first password\n");
        assert!(stderr(&again).starts_with("shortline: login: "), "{}", stderr(&again));
        let changed = shortline_reading(database, &set, "the second password");
        assert!(changed.status.success(), "{}", stderr(&changed));
        let unknown = ["login", "set-password", "--login", "bob"];
        let unknown = shortline_reading(database, &unknown, "the second password");
        assert_eq!(stderr(&unknown), "shortline: the login `bob` does not exist\n");

        for (password, expected) in [("the first password", 401), ("the second password", 200)] {
            let body = format!("grant_type=password&username=ann&password={password}");
            let request = app
                .anonymous(Method::POST, "/core/v2/oauth/token")
                .basic_auth(sid(&client["client_id"]), client["client_secret"].as_str())
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body.replace(' ', "+"));
            Answer::to(request).await.expect(expected);
        }
        let shown = app.get(&format!("/core/v2/partners/{partner}")).await.expect(200);
        assert_eq!(shown["login"], "ann");

        let client_id = sid(&client["client_id"]);
        let status = |command: &str| json_of(database, &[command, "list"])[0]["status"].clone();
        assert_eq!((status("client"), status("login")), (json!("active"), json!("active")));
        let rotate = ["client", "rotate", client_id, "--keep-old", "12h"];
        let rotated = json_of(database, &rotate);
        assert_ne!(rotated["client_secret"], client["client_secret"]);
        assert!(rotated["date_old_secret_expires"].is_string(), "{rotated}");
        let bad = ["client", "rotate", client_id, "--keep-old", "12"];
        assert!(error_of(database, &bad).contains("expected a duration"));
        assert_eq!(json_of(database, &["client", "revoke", client_id])["status"], "revoked");
        let revoked = error_of(database, &["client", "rotate", client_id]);
        assert_eq!(revoked, "shortline: client_id: the client is revoked\n");
        let disabled = json_of(database, &["login", "disable", "--login", "ann"]);
        assert_eq!(disabled["status"], "disabled");
        assert_eq!((status("client"), status("login")), (json!("revoked"), json!("disabled")));
        let login: Value = serde_json::from_slice(&made.stdout).unwrap();
        assert_eq!(app.version(sid(&login["login_sid"]).parse().unwrap()).await, 3);
        assert_eq!(app.version(client_id.parse().unwrap()).await, 3);
    });
}

#[test]
fn history_verify_detects_changes_and_prints_a_hash() {
    check(async |app| {
        let database = &app.database;
        let verify = ["history", "verify", "--as-of", "2100-01-01T00:00:00Z"];
        let first = json_of(database, &verify);
        assert_eq!(
            (&first["broken"], &first["as_of"]),
            (&json!([]), &json!("2100-01-01T00:00:00.000Z"))
        );
        assert_eq!(json_of(database, &verify), first);
        app.patch(&app.partner.code_path(), &json!({"name": "second"})).await.expect(200);
        let second = json_of(database, &verify);
        assert_eq!(second["entries"], json!(first["entries"].as_i64().unwrap() + 1));
        assert_eq!(second["objects"], first["objects"]);
        assert_ne!(second["head"], first["head"]);
        // By default the last 20 seconds are excluded, and with them the change.
        let entries = |report: &Value| report["entries"].as_i64().unwrap();
        let settled = json_of(database, &["history", "verify"]);
        assert!(entries(&settled) <= entries(&first), "{settled}");

        let mut connection = app.connection().await;
        let damage =
            "update history set entry = replace(entry, 'second', 'third') where version = 2";
        sqlx::query(damage).execute(&mut connection).await.unwrap();
        let found = shortline(database, &[&verify[..], &["--json"]].concat());
        assert!(!found.status.success());
        let report: Value = serde_json::from_slice(&found.stdout).unwrap();
        assert_eq!(report["broken"][0]["version"], 2);
        assert!(String::from_utf8_lossy(&found.stderr).contains("violations found: "));
        let repair =
            "update history set entry = replace(entry, 'third', 'second') where version = 2";
        sqlx::query(repair).execute(&mut connection).await.unwrap();
    });
}

#[test]
fn an_operator_makes_if_match_mandatory() {
    check(async |app| {
        let (database, sid) = (&app.database, app.partner.sid.to_string());
        json_of(database, &["partner", "require-if-match", &sid, "on"]);
        // Callers are cached for some seconds; a new token is not in the cache.
        let path = app.partner.code_path();
        app.patch(&path, &json!({"name": "second"})).await.expect(428);
        json_of(database, &["partner", "require-if-match", &sid, "off"]);
        let fresh = app.token(app.partner.sid, &[Scope::PhonenumberManage]);
        let patch = app.anonymous(Method::PATCH, &path).bearer_auth(fresh);
        Answer::to(patch.json(&json!({"name": "second"}))).await.expect(200);
        assert_eq!(app.version(app.partner.sid).await, 3);
        let rejected = error_of(database, &["partner", "require-if-match", &sid, "perhaps"]);
        assert!(rejected.contains("perhaps"), "{rejected}");
    });
}

#[test]
fn a_sid_with_a_history_cannot_be_reused() {
    check(async |app| {
        let group = app.partner.group_sid.to_string();
        let owner = app.partner.sid.to_string();
        let create =
            ["short-code", "create", "--partner", &owner, "--short-code", "777", "--sid", &group];
        let rejected = error_of(&app.database, &create);
        assert!(rejected.contains("another object"), "{rejected}");
    });
}
