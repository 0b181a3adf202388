//! `shortline short-code import`.

use std::io::Write;

use serde_json::json;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use super::commands::{error_of, json_of};
use crate::support::{App, check};

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

async fn short_codes(database: &PgConnectOptions) -> i64 {
    let mut connection = database.connect().await.unwrap();
    sqlx::query_scalar("select count(*) from short_codes").fetch_one(&mut connection).await.unwrap()
}

#[test]
fn csv_and_ndjson_are_imported() {
    check(async |app: &App| {
        let (database, partner) = (&app.database, app.partner.sid.to_string());
        let csv = file(&format!(
            "short_code,name,attributes,did_group_sid\r\n\
             20001,\"One, \"\"two\"\"\",\"{{\"\"a\"\": 1e2}}\",{}\r\n\
             20002,,,\r\n",
            app.partner.group_sid
        ));
        let path = csv.path().to_str().unwrap();
        assert_eq!(
            json_of(database, &["short-code", "import", path, "--partner", &partner]),
            json!({"created": 2})
        );
        let ndjson = file(&format!(
            "{{\"short_code\":\"20003\",\"attributes\":{{\"b\":[1]}}}}\n\n\
             {{\"short_code\":\"20003\",\"country_code\":\"CAN\",\"partner_sid\":\"{}\"}}\n",
            app.unrelated.sid
        ));
        let path = ndjson.path().to_str().unwrap();
        assert_eq!(
            json_of(database, &["short-code", "import", path, "--partner", &partner]),
            json!({"created": 2})
        );

        let imported: Vec<(String, String, String, String)> = sqlx::query_as(
            "select short_code, country_code, name, attributes::text from short_codes
             where short_code >= '2' order by ordinal",
        )
        .fetch_all(&mut app.connection().await)
        .await
        .unwrap();
        let row = |code: &str, country: &str, name: &str, attributes: &str| {
            (code.to_owned(), country.to_owned(), name.to_owned(), attributes.to_owned())
        };
        let expected = [
            row("20001", "USA", "One, \"two\"", r#"{"a": 100}"#),
            row("20002", "USA", "N/A", "{}"),
            row("20003", "USA", "N/A", r#"{"b": [1]}"#),
            row("20003", "CAN", "N/A", "{}"),
        ];
        assert_eq!(imported, expected);
    });
}

#[test]
fn empty_columns_of_a_spreadsheet_are_ignored() {
    check(async |app: &App| {
        let (database, partner) = (&app.database, app.partner.sid.to_string());
        let csv = file("short_code,name,,\r\n20001,\"a\nb\",,\r\n20002,,,,\r\n20003,\"\"\r\n");
        let path = csv.path().to_str().unwrap();
        let message = error_of(database, &["short-code", "import", path, "--partner", &partner]);
        assert!(message.contains("line 2: name: must be a string"), "{message}");
        let csv = file("short_code,name,,\r\n20001,\"a\"\"b\",,\r\n20002,,,,\r\n20003,\"\"\r\n");
        let path = csv.path().to_str().unwrap();
        assert_eq!(
            json_of(database, &["short-code", "import", path, "--partner", &partner]),
            json!({"created": 3})
        );
    });
}

#[test]
fn a_failed_import_changes_nothing_and_names_the_line() {
    check(async |app: &App| {
        let (database, partner) = (&app.database, app.partner.sid.to_string());
        let before = short_codes(database).await;
        let good: String = (20_000..22_000).map(|number| format!("{number},\n")).collect();
        for (line, expected) in [
            ("12,", "line 2002: short_code: must be a string of 3 to 8 digits"),
            ("10003,", "line 2002: short_code: 10003 is taken in USA"),
            ("20000,", "line 2002: short_code: 20000 is taken in USA"),
            (
                "23000,unrelated",
                "line 2002: did_group_sid: must be a DID group of the short code's owner",
            ),
            ("23000,x", "line 2002: did_group_sid: must be a sid"),
            ("23000,a,b", "line 2002: has 3 cells; expected 2"),
            ("23000", "line 2002: has 1 cells; expected 2"),
            // Spreadsheets write empty cells, but these have content.
            ("23000,,,b", "line 2002: has 4 cells; expected 2"),
            ("23000,\"", "line 2002: a quote is not closed before the file ends"),
            ("23000,\"a\"b", "line 2002: text follows a closing quote"),
            ("23000,a\"b", "line 2002: a quote is inside a cell"),
            ("23000,a\0b", "line 2002: did_group_sid: must not contain the character \\u0000"),
        ] {
            let line = line.replace("unrelated", &app.unrelated.group_sid.to_string());
            let csv = file(&format!("short_code,did_group_sid\n{good}{line}\n"));
            let path = csv.path().to_str().unwrap();
            let message =
                error_of(database, &["short-code", "import", path, "--partner", &partner]);
            assert!(message.contains(expected), "{message}");
            assert_eq!(short_codes(database).await, before);
        }
        for (text, expected) in [
            (
                "short_code,name\r\n20000,a\r\n\r\n20001,b\r\n12,c\r\n",
                "line 5: short_code: must be a string of 3",
            ),
            ("short_code,name\r20000,a\r\r12,c\r", "line 4: short_code: must be a string of 3"),
            ("short_code,name\r20000,\"a\rb\"\r20001,\"c", "line 4: a quote is not closed"),
            (
                "short_code,short_code\n20000,20001\n",
                "the file has several columns `short_code`; expected one",
            ),
            (
                "[{\"short_code\":\"20000\"}]",
                "contains a JSON array; expected CSV or one JSON object per line (NDJSON)",
            ),
            ("short_code,string_key_1\n10001,\"abc\n10002,def\n", "line 2: a quote is not closed"),
            (
                "short_code,name\n20000,\"a\nb\"\n20001,\"c\" \n",
                "line 4: text follows a closing quote",
            ),
            ("short_code,,name\n20000,,a\n", "column 2 has no name"),
            ("\"short_code\n20000\n", "line 1: a quote is not closed"),
            ("short_code\n", "contains no short codes"),
            ("", "contains no short codes"),
            (
                "{\"short_code\":\"20000\"}\n{\"short_code\":}\n",
                "line 2: no JSON object could be decoded",
            ),
        ] {
            let path = file(text);
            let message = error_of(
                database,
                &["short-code", "import", path.path().to_str().unwrap(), "--partner", &partner],
            );
            assert!(message.contains(expected), "{text}: {message}");
            assert_eq!(short_codes(database).await, before);
        }
        let mut invalid = file("short_code,name\n20000,a\n20001,");
        invalid.write_all(b"M\xfcller\n").unwrap();
        let path = invalid.path().to_str().unwrap();
        let message = error_of(database, &["short-code", "import", path, "--partner", &partner]);
        assert!(message.contains("line 3: contains bytes that are not UTF-8"), "{message}");
        assert_eq!(short_codes(database).await, before);
        let csv = file("short_code,colour\n20000,red\n");
        let message = error_of(
            database,
            &["short-code", "import", csv.path().to_str().unwrap(), "--partner", &partner],
        );
        assert!(message.contains("line 2: colour: unknown member"), "{message}");
    });
}
