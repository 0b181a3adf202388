//! `shortline did`.

use std::io::Write;

use serde_json::json;

use super::commands::{error_of, json_of};
use crate::support::{App, check};

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

async fn numbers(app: &App) -> i64 {
    let count = "select count(*) from did_stock";
    sqlx::query_scalar(count).fetch_one(&mut app.connection().await).await.unwrap()
}

#[test]
fn numbers_are_imported_listed_and_shown() {
    check(async |app| {
        let (database, stock) = (&app.database, app.child.sid.to_string());
        let csv = file(
            "phonenumber,state,capabilities,price\n+1 516-555-0001,NY,7,0.6\n15165550002,,4,\n",
        );
        let import = |path: &str| json_of(database, &["did", "import", path, "--stock", &stock]);
        assert_eq!(import(csv.path().to_str().unwrap()), json!({"created": 2}));
        let ndjson = file(&format!(
            "{{\"phonenumber\":\"15165550003\",\"capabilities\":31}}\n\
             {{\"phonenumber\":\"15165550004\",\"stock_partner_sid\":\"{}\"}}\n",
            app.unrelated.sid
        ));
        assert_eq!(import(ndjson.path().to_str().unwrap()), json!({"created": 2}));
        let listed = json_of(database, &["did", "list", "--stock", &stock]);
        let listed: Vec<_> =
            listed.as_array().unwrap().iter().map(|number| &number["phonenumber"]).collect();
        let expected = json!([
            app.child.rented,
            app.child.available,
            "15165550001",
            "15165550002",
            "15165550003"
        ]);
        assert_eq!(json!(listed), expected);
        let shown = json_of(database, &["did", "show", "+1 (516) 555-0001"]);
        assert_eq!((&shown["rental"], &shown["stock"]["price"]), (&json!(null), &json!("0.6")));
        assert_eq!(shown["stock_partner_sid"], stock);
        let shown = json_of(database, &["did", "show", app.child.rented]);
        assert_eq!(shown["rental"]["did_sid"], json!(app.child.did_sid));
        let rented = json_of(database, &["did", "list", "--partner", &stock]);
        assert_eq!(rented[0]["did_sid"], json!(app.child.did_sid));
        assert_eq!(json_of(database, &["did", "list"]).as_array().unwrap().len(), 3);
        assert!(error_of(database, &["did", "show", "15165559999"]).contains("is in no stock"));
        let deleted = json_of(database, &["did", "delete", "+1 516 555 0001"]);
        assert_eq!(deleted["phonenumber"], "15165550001");
        assert!(error_of(database, &["did", "delete", "15165550001"]).contains("is in no stock"));
        assert!(error_of(database, &["did", "delete", app.child.rented]).contains("rented"));
        assert_eq!(json_of(database, &["did", "show", app.child.rented])["stock"], shown["stock"]);
        assert!(
            error_of(database, &["did", "show", "1516555999"]).contains("must be a phone number")
        );
    });
}

#[test]
fn a_failed_import_of_numbers_changes_nothing_and_names_the_line() {
    check(async |app| {
        let (database, stock) = (&app.database, app.child.sid.to_string());
        let before = numbers(app).await;
        for (text, expected) in [
            (
                "phonenumber\n15165550001\n1516555002\n",
                "line 3: phonenumber: must be a phone number",
            ),
            (
                "phonenumber\n15165550001\n+1 516 555 0001\n",
                "line 3: phonenumber: 15165550001 is in a stock",
            ),
            (
                "phonenumber\n15165550001\n12125550103\n",
                "line 3: phonenumber: 12125550103 is in a stock",
            ),
            (
                "phonenumber,capabilities\n15165550001,x\n",
                "line 2: capabilities: must be a whole number",
            ),
            ("phonenumber,price\n15165550001,free\n", "line 2: price: must be a decimal number"),
            ("phonenumber,colour\n15165550001,red\n", "line 2: colour: unknown member"),
            (
                "phonenumber,stock_partner_sid\n15165550001,11111111-1111-4111-8111-111111111111\n",
                "line 2: stock_partner_sid: must be",
            ),
            ("phonenumber\n", "contains no phone numbers"),
        ] {
            let path = file(text);
            let import = ["did", "import", path.path().to_str().unwrap(), "--stock", &stock];
            let message = error_of(database, &import);
            assert!(message.contains(expected), "{text}: {message}");
            assert_eq!(numbers(app).await, before);
        }
        let path = file("phonenumber\n15165550001\n");
        let message = error_of(database, &["did", "import", path.path().to_str().unwrap()]);
        assert!(message.contains("line 2: stock_partner_sid: must be present"), "{message}");
    });
}
