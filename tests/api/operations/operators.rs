//! What an operator sees, ends and leaves in the history.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::commands::{error_of, json_of};
use crate::support::{App, CODES, check, url, wait_until};

/// The operator of the newest entry of an object, as the API shows it.
async fn operator(app: &App, path: &str) -> Value {
    let history = app.get(&format!("{path}/history?limit=1000")).await.expect(200);
    history["items"].as_array().unwrap().last().unwrap()["operator"].clone()
}

#[test]
fn what_a_command_makes_can_be_shown() {
    check(async |app| {
        let (database, sid) = (&app.database, app.partner.sid.to_string());
        let partner = json_of(database, &["partner", "show", &sid]);
        assert_eq!(partner, app.get(&format!("/core/v2/partners/{sid}")).await.expect(200));
        let code = app.partner.code_sid.to_string();
        let shown = json_of(database, &["short-code", "show", &code]);
        assert_eq!(shown, app.get(&app.partner.code_path()).await.expect(200));
        let token = json_of(database, &["token", "show", &app.partner.token_sid.to_string()]);
        assert_eq!(
            (&token["partner_sid"], &token["access_token"]),
            (&json!(app.partner.sid), &Value::Null)
        );
        let client = json_of(database, &["client", "create", "--partner", &sid]);
        let shown = json_of(database, &["client", "show", client["client_id"].as_str().unwrap()]);
        assert_eq!((&shown["status"], &shown["scopes"]), (&json!("active"), &client["scopes"]));
        assert!(shown["client_secret"].is_null(), "{shown}");
        let unknown = "00000000-0000-0000-0000-000000000000";
        for command in ["partner", "short-code", "token", "client"] {
            let error = error_of(database, &[command, "show", unknown]);
            assert_eq!(error, "shortline: no object has this sid\n");
        }
        assert!(error_of(database, &["login", "show", "--login", "x"]).contains("does not exist"));
    });
}

#[test]
fn a_long_list_is_printed_while_it_is_read() {
    const COUNT: u32 = 2_500;
    check(async |app| {
        let (database, sid) = (&app.database, app.unrelated.sid.to_string());
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for number in 0..COUNT {
            let name = "x".repeat(60);
            writeln!(file, "{{\"short_code\":\"{}\",\"name\":\"{name}\"}}", 30_000 + number)
                .unwrap();
        }
        let import = ["short-code", "import", file.path().to_str().unwrap(), "--partner", &sid];
        json_of(database, &import);
        let list = ["short-code", "list", "--partner", &sid];
        let listed = json_of(database, &list);
        let numbers = listed.as_array().unwrap().iter().map(|code| code["short_code"].clone());
        let mut expected = vec![json!("10003")];
        expected.extend((0..COUNT).map(|number| json!((30_000 + number).to_string())));
        assert_eq!(numbers.collect::<Vec<_>>(), expected);

        // A pipe holds 64 KiB, a sixth of the list.
        let mut command = Command::new(env!("CARGO_BIN_EXE_shortline"));
        command.args(list).args(["--database-url", &url(database)]).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        assert!(line.contains("10003"), "{line}");
        let mut connection = app.connection().await;
        let batch = "select exists (select from pg_stat_activity where query like 'fetch %'
                     and datname = current_database() and state = 'idle')";
        wait_until("the command has read a batch", async || {
            sqlx::query_scalar(batch).fetch_one(&mut connection).await.unwrap()
        })
        .await;
        assert!(process.try_wait().unwrap().is_none());
        drop(output);
        assert!(process.wait().unwrap().success());
    });
}

#[test]
fn short_codes_are_listed_and_deleted_by_commands() {
    check(async |app| {
        let (database, sid) = (&app.database, app.partner.sid.to_string());
        let of = |arguments: &[&str]| -> Vec<String> {
            let codes = json_of(database, arguments);
            let codes = codes.as_array().unwrap().iter();
            codes.map(|code| code["short_code"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(of(&["short-code", "list"]), ["10001", "10002", "10003"]);
        // Only its own, not those of its descendants.
        assert_eq!(of(&["short-code", "list", "--partner", &sid]), ["10001"]);
        let code = app.partner.code_sid.to_string();
        let before = app.get(&app.partner.code_path()).await.expect(200);
        assert_eq!(json_of(database, &["short-code", "delete", &code]), before);
        app.get(&app.partner.code_path()).await.expect(404);
        assert_eq!(of(&["short-code", "list", "--partner", &sid]), [""; 0]);
        assert!(error_of(database, &["short-code", "delete", &code]).contains("no object has"));
        let unknown = "00000000-0000-0000-0000-000000000000";
        let list = ["short-code", "list", "--partner", unknown];
        assert!(error_of(database, &list).contains("no object has this sid"));
    });
}

#[test]
fn scopes_of_a_partner_are_shown_and_set() {
    check(async |app| {
        let (database, child) = (&app.database, app.child.sid.to_string());
        let set = ["partner", "scopes", &child, "phonenumber.read", "oauth.manage"];
        let partner = json_of(database, &set);
        assert_eq!(partner["available_scopes"], json!(["oauth.manage", "phonenumber.read"]));
        let sid = app.partner.sid.to_string();
        json_of(database, &["partner", "scopes", &sid, "phonenumber.manage"]);
        let scopes = json_of(database, &["partner", "scopes", &child]);
        assert_eq!(scopes["available_scopes"], partner["available_scopes"]);
        assert!(!scopes["effective_scopes"].to_string().contains("oauth"), "{scopes}");
        let unknown = ["partner", "scopes", &child, "phonenumber.reed"];
        assert!(error_of(database, &unknown).contains("phonenumber.read"));
    });
}

#[test]
fn the_history_names_the_operator_of_a_command() {
    check(async |app| {
        let (database, sid) = (&app.database, app.partner.sid.to_string());
        let create = ["short-code", "create", "--partner", &sid, "--short-code"];
        let named =
            json_of(database, &[&create[..], &["20001", "--as", "Ann (ticket 7)"]].concat());
        let path = format!("{CODES}/{}", named["short_code_sid"].as_str().unwrap());
        assert_eq!(operator(app, &path).await, "Ann (ticket 7)");
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let user_and_host = format!("{}@{}", String::from_utf8(user).unwrap().trim(), host.trim());
        let unnamed = json_of(database, &[&create[..], &["20002"]].concat());
        let path = format!("{CODES}/{}", unnamed["short_code_sid"].as_str().unwrap());
        assert_eq!(operator(app, &path).await, *user_and_host);
        // A request has none.
        app.patch(&path, &json!({"name": "after"})).await.expect(200);
        let history = app.get(&format!("{path}/history")).await.expect(200);
        assert!(history["items"][1].get("operator").is_none(), "{history}");
        let selected = app.get(&format!("{path}/history?include_fields=operator")).await;
        assert_eq!(selected.expect(200)["items"], json!([{"operator": user_and_host}, {}]));
        for name in ["", "a\nb", &"x".repeat(256)] {
            let error = error_of(database, &["partner", "list", "--as", name]);
            assert!(error.contains("1 to 255 characters"), "{error}");
        }
        // Every command that changes something names its operator.
        let made = json_of(database, &["client", "create", "--partner", &sid, "--as", "Bob"]);
        let client = made["client_id"].as_str().unwrap();
        for arguments in [
            &["client", "rotate", client][..],
            &["client", "revoke", client],
            &["partner", "suspend", &sid],
            &["partner", "activate", &sid],
            &["token", "revoke", &app.partner.token_sid.to_string()],
        ] {
            json_of(database, &[arguments, &["--as", "Bob"]].concat());
        }
        let others = "select count(*) from history where date > (
                          select date from history where sid = $1 and version = 1)
                      and entry::json ->> 'operator' is distinct from 'Bob'";
        let others: i64 = sqlx::query_scalar(others)
            .bind(client.parse::<uuid::Uuid>().unwrap())
            .fetch_one(&mut app.connection().await)
            .await
            .unwrap();
        assert_eq!(others, 0);
    });
}
