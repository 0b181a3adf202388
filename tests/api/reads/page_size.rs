//! Pages are bounded in bytes: lists reject a limit that is too large, histories end a page early.

use serde_json::{Value, json};

use crate::support::{App, CODES, check};

/// Attributes of about 60 KiB.
fn large(number: usize) -> Value {
    json!({"number": number, "text": "x".repeat(60 * 1024)})
}

async fn patched(app: &App, times: usize) -> String {
    let path = app.partner.code_path();
    for number in 0..times {
        app.patch(&path, &json!({"attributes": large(number)})).await.expect(200);
    }
    format!("{path}/history")
}

#[test]
fn a_history_page_ends_after_4_mib_and_the_next_one_continues() {
    check(async |app| {
        let history = patched(app, 50).await;
        let (mut url, mut versions) = (format!("{history}?limit=1000"), Vec::new());
        loop {
            let page = app.get(&url).await;
            assert!(page.text.len() < 5 * 1024 * 1024, "{}", page.text.len());
            let page = page.expect(200);
            let items = page["items"].as_array().unwrap();
            assert_eq!(page["offset"], versions.len());
            assert_eq!((&page["total"], &page["limit"]), (&json!(51), &json!(1000)));
            assert_eq!(page["count"], items.len());
            versions.extend(items.iter().map(|item| item["version"].as_i64().unwrap()));
            let next = page["pagination"]["next"].as_str();
            assert_eq!(page["has_more"], next.is_some());
            let Some(next) = next else { break };
            url = next.strip_prefix(&*app.base).unwrap().to_owned();
        }
        assert_eq!(versions, (1..=51).collect::<Vec<_>>());
        let past_the_end = app.get(&format!("{history}?offset=60")).await.expect(200);
        assert_eq!((&past_the_end["count"], &past_the_end["total"]), (&json!(0), &json!(51)));
    });
}

#[test]
fn a_list_over_16_mib_names_a_limit_that_fits() {
    check(async |app| {
        let codes: Vec<_> = (0..300)
            .map(|number| json!({"short_code": format!("{}", 20_000 + number), "attributes": large(number)}))
            .collect();
        app.partner.add_codes(app, &codes).await;
        let rejected = app.get(&format!("{CODES}?limit=1000")).await;
        assert_eq!(rejected.expect_error(400, "bad request"), ["limit"]);
        let message = rejected.expect(400)["errors"][0]["message"].as_str().unwrap().to_owned();
        let fitting: usize = message
            .strip_prefix("the page would exceed 16 MiB; a limit of ")
            .and_then(|rest| rest.strip_suffix(" fits")?.parse().ok())
            .unwrap_or_else(|| panic!("{message}"));
        assert!((200..300).contains(&fitting), "{fitting}");
        let page = app.get(&format!("{CODES}?limit={fitting}")).await.expect(200);
        assert_eq!(page["count"], fitting);
        // What is not shown is not read.
        for fields in ["include_fields=name", "exclude_fields=attributes"] {
            let page = app.get(&format!("{CODES}?limit=1000&{fields}")).await.expect(200);
            assert_eq!(page["count"], 301, "{fields}");
        }
        // The owner counts as often as it is shown.
        let partner = format!("/core/v2/partners/{}", app.partner.sid);
        app.patch(&partner, &json!({"attributes": large(0)})).await.expect(200);
        let related = format!("{CODES}?limit=1000&exclude_fields=attributes&with_related=true");
        assert_eq!(app.get(&related).await.expect_error(400, "bad request"), ["limit"]);
        let fields = "exclude_fields=attributes,partner.attributes";
        app.get(&format!("{CODES}?limit=1000&with_related=true&{fields}")).await.expect(200);
    });
}

#[test]
fn the_number_of_selected_members_is_limited() {
    check(async |app| {
        for argument in ["include_fields", "exclude_fields"] {
            let select = |names: usize| {
                let names: Vec<_> = (0..names).map(|name| format!("attributes.{name}")).collect();
                names.join(",")
            };
            app.get(&format!("{CODES}?{argument}={}", select(1_000))).await.expect(200);
            let rejected = app.get(&format!("{CODES}?{argument}={}", select(1_001))).await;
            assert_eq!(rejected.expect_error(400, "bad request"), [argument]);
        }
    });
}
