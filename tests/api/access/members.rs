//! Members that a caller can neither set nor read.

use serde_json::json;
use uuid::Uuid;

use crate::support::{CODES, GROUPS, JSON, check};

#[test]
fn internal_columns_cannot_be_set_or_queried() {
    check(async |app| {
        let stored = async || {
            let rows =
                "select string_agg(t::text, ' ') from (select * from short_codes order by sid) t";
            sqlx::query_scalar::<_, String>(rows)
                .fetch_one(&mut app.connection().await)
                .await
                .unwrap()
        };
        let before = stored().await;
        let path = app.partner.code_path();
        for internal in [
            "sid",
            "version",
            "head",
            "ordinal",
            "changed_at",
            "id",
            "date_created",
            "__proto__",
            "constructor",
        ] {
            let body = json!({internal: app.unrelated.sid});
            assert_eq!(
                app.patch(&path, &body).await.expect_error(422, "object validation error"),
                [internal]
            );
            let ignored = [JSON, ("prefer", "handling=lenient")];
            app.patch_text(&path, body.to_string(), &ignored).await.expect(200);
            for argument in ["filter", "order", "include_fields"] {
                let value = if argument == "filter" {
                    format!("{internal}+eq+1")
                } else {
                    internal.to_owned()
                };
                let answer = app.get(&format!("{CODES}?{argument}={value}")).await;
                assert_eq!(answer.expect_error(400, "bad request"), [argument], "{internal}");
            }
        }
        // Neither a creation nor an update can choose the owner.
        let owned =
            json!({"partner_sid": app.unrelated.sid, "did_group_sid": app.unrelated.group_sid});
        let group = app.post(GROUPS, &owned).await.expect(200);
        assert_eq!(group["partner_sid"], json!(app.partner.sid));
        assert_ne!(group["did_group_sid"], json!(app.unrelated.group_sid));
        let read_only = json!({
            "partner_sid": app.unrelated.sid, "short_code_sid": Uuid::new_v4(), "short_code": "1"
        });
        app.patch(&path, &read_only).await.expect(200);
        assert_eq!(stored().await, before);
    });
}

#[test]
fn secrets_and_hashes_cannot_be_queried() {
    check(async |app| {
        for (list, columns) in [
            ("/core/v2/oauth/tokens", &["access_hash", "refresh_hash", "family_sid", "head"][..]),
            ("/core/v2/partners", &["password_hash", "secret_hash", "head"]),
        ] {
            for column in columns {
                for argument in ["include_fields", "order", "filter"] {
                    let value = if argument == "filter" {
                        format!("{column}+ne+null")
                    } else {
                        (*column).to_owned()
                    };
                    let answer = app.get(&format!("{list}?{argument}={value}")).await;
                    assert_eq!(answer.expect_error(400, "bad request"), [argument], "{column}");
                }
            }
            let text = app.get(&format!("{list}?limit=1000")).await.text;
            assert!(!columns.iter().any(|column| text.contains(column)), "{text}");
        }
        // A filter cannot guess a value that every response hides.
        let answer = app.get("/core/v2/oauth/tokens?filter=access_token+like+'5%25'").await;
        assert!(answer.status == 400 || answer.text.contains(r#""total":0"#), "{}", answer.text);
    });
}
