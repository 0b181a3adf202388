//! Filters: operators, types and syntax errors.

use reqwest::Method;
use serde_json::json;
use shortline::auth::Scope;
use sqlx::{AssertSqlSafe, ConnectOptions};

use super::{numbers, numbers_of, rejected};
use crate::support::{Answer, App, CODES, check, create_tenants};

/// Creates three short codes that differ in every member that a filter can name.
async fn add_varied(app: &App) {
    app.partner
        .add_codes(
            app,
            &[
                json!({
                    "short_code": "20001", "name": "Ärger %", "string_key_1": "a",
                    "attributes": {"n": 10, "t": "10", "b": true}
                }),
                json!({
                    "short_code": "20002", "name": "zebra",
                    "attributes": {"n": 9.5, "t": "9", "deep": {"x": null, "y": "z"}}
                }),
                json!({
                    "short_code": "20003", "name": "o'Neill \"x\" \\", "string_key_1": "B",
                    "attributes": {"n": "text", "b": false}
                }),
            ],
        )
        .await;
}

#[test]
fn filter_operators_compare_members() {
    check(async |app| {
        add_varied(app).await;
        let first = app.partner.code_sid.to_string();
        let upper = first.to_uppercase();
        let cases: Vec<(String, &[&str])> = vec![
            ("short_code eq 20001".into(), &["20001"]),
            ("short_code EQ '20001'".into(), &["20001"]),
            ("short_code ne \"20001\"".into(), &["10001", "20002", "20003"]),
            ("short_code gt 20001".into(), &["20002", "20003"]),
            ("short_code ge 20002 and short_code lt 20003".into(), &["20002"]),
            ("short_code le 20001 AND short_code ne 10001".into(), &["20001"]),
            ("name like '%r%'".into(), &["10001", "20001", "20002"]),
            ("name like 'Ärger _'".into(), &["20001"]),
            ("name like '%\\\\'".into(), &["20003"]),
            ("name eq \"o'Neill \\\"x\\\" \\\\\"".into(), &["20003"]),
            ("name ilike 'ZEB%'".into(), &["20002"]),
            ("string_key_1 eq null".into(), &["20002"]),
            ("string_key_1 ne null".into(), &["10001", "20001", "20003"]),
            ("string_key_1 eq 'null'".into(), &[]),
            // `ne` is the complement of `eq` and includes null.
            ("string_key_1 ne a".into(), &["10001", "20002", "20003"]),
            ("short_code in (20001, '20003', none)".into(), &["20001", "20003"]),
            (format!("short_code_sid eq {upper}"), &["10001"]),
            (format!("short_code_sid in ({first}, nonsense)"), &["10001"]),
            (format!("short_code_sid like '{}%'", &first[..18]), &["10001"]),
            ("short_code_sid eq nonsense".into(), &[]),
            ("short_code_sid ne nonsense and short_code le 10001".into(), &["10001"]),
            (format!("short_code_sid gt {upper}"), &["20001", "20002", "20003"]),
            (format!("short_code_sid le {upper}"), &["10001"]),
            (format!("partner_sid eq {}", app.partner.sid), &["10001", "20001", "20002", "20003"]),
            (format!("partner_sid eq {}", app.unrelated.sid), &[]),
            (format!("did_group_sid eq {}", app.partner.group_sid), &["10001"]),
            ("did_group_sid eq null".into(), &["20001", "20002", "20003"]),
        ];
        for (filter, expected) in cases {
            assert_eq!(numbers(app, &[("filter", &filter)]).await, *expected, "{filter}");
        }
    });
}

#[test]
fn filter_operators_compare_attributes_by_type() {
    check(async |app| {
        add_varied(app).await;
        let cases: [(&str, &[&str]); 15] = [
            // Numbers compare as numbers, text as text, booleans as booleans.
            ("attributes.n gt 9", &["20001", "20002"]),
            ("attributes.n eq 10.0", &["20001"]),
            ("attributes.n lt 1e1", &["10001", "20002"]),
            ("attributes.t gt '10'", &["20002"]),
            ("attributes.n eq text", &["20003"]),
            ("attributes.n eq '10'", &[]),
            ("attributes.b eq true", &["20001"]),
            ("attributes.b ne true", &["10001", "20002", "20003"]),
            ("attributes.b eq 'true'", &[]),
            ("attributes.t eq null", &["10001", "20003"]),
            ("attributes.deep.x eq null and attributes.deep.y eq z", &["20002"]),
            ("attributes.deep.y ne null", &["20002"]),
            ("attributes.deep.y like '_'", &["20002"]),
            ("attributes.n in (10, text)", &["20001", "20003"]),
            ("attributes.a.c.1 eq 2", &["10001"]),
        ];
        for (filter, expected) in cases {
            assert_eq!(numbers(app, &[("filter", filter)]).await, *expected, "{filter}");
        }
    });
}

#[test]
fn ilike_folds_ascii_letters_whatever_the_locale_of_the_database() {
    check(async |app| {
        // Under the locale of the other tests, `C`, `ilike` folds no other letters.
        let name = format!("{}_utf8", app.database.get_database().unwrap());
        let execute = async |statement: String| {
            let mut connection = app.connection().await;
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
        };
        execute(format!("create database {name} template template0 locale 'C.UTF-8'")).await;
        let database = app.database.clone().database(&name);
        let (base, server) = app.instance_with(&database, &[]).await;
        create_tenants(&mut database.connect().await.unwrap()).await;
        let token = app.token(app.partner.sid, &[Scope::PhonenumberManage]);
        let (path, url) = (app.partner.code_path(), format!("{base}{CODES}"));
        let patch = app.request_to(Method::PATCH, &format!("{base}{path}")).bearer_auth(&token);
        let members = json!({"name": "Éclair", "attributes": {"t": "Éclair", "nul": "xIX"}});
        Answer::to(patch.json(&members)).await.expect(200);
        for (filter, matches) in [
            ("name ilike 'ÉCLAIR'", true),
            ("attributes.t ilike 'ÉCLAIR'", true),
            ("name ilike 'éclair'", false),
            ("attributes.t ilike 'éclair'", false),
            ("name like 'ÉCLAIR'", false),
            ("attributes.t like 'ÉCLAIR'", false),
            ("attributes.nul ilike 'XiX'", true),
        ] {
            let list = app.request_to(Method::GET, &url).bearer_auth(&token);
            let page = Answer::to(list.query(&[("filter", filter)])).await.expect(200);
            assert_eq!(numbers_of(&page) == ["10001"], matches, "{filter}");
        }
        server.stop(false).await;
        execute(format!("drop database {name} with (force)")).await;
    });
}

#[test]
fn an_invalid_filter_is_rejected_with_the_position() {
    check(async |app| {
        for (filter, expected) in [
            ("colour eq red", "at position 1: expected the name of a member"),
            ("name is x", "at position 6: expected one of eq"),
            ("attributes eq x", "at position 1"),
            ("attributes. eq x", "at position 1"),
            ("name.x eq y", "at position 1"),
            ("ordinal eq 1", "at position 1"),
            ("head eq x", "at position 1"),
            ("name eq 'a\0b'", "without U+0000"),
            ("1=1; drop table short_codes", "at position 1"),
            (&"name eq x and ".repeat(33), "at most 32 conditions"),
            (&format!("name eq '{}'", "x".repeat(4_100)), "at most 4096 bytes"),
            ("attributes.n gt 1e131072", "at most 40 characters"),
        ] {
            let (field, text) = rejected(app, &[("filter", filter)]).await;
            assert_eq!(field, "filter");
            assert!(text.contains(expected), "{filter}: {text}");
        }
    });
}
