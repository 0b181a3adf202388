//! Lists: pages, order and the selection of members.

use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;

use super::{numbers, numbers_of, rejected};
use crate::support::{Answer, App, CODES, check, snapshot};

/// Creates the short codes 20000, 20001, ... of the partner, which already has 10001.
async fn add_numbered(app: &App, count: u32) {
    let codes: Vec<_> = (0..count)
        .map(|number| {
            let key = format!("k{}", number % 3);
            json!({"short_code": (20_000 + number).to_string(), "string_key_1": key})
        })
        .collect();
    app.partner.add_codes(app, &codes).await;
}

#[test]
fn a_page_has_its_members_and_defaults() {
    check(async |app| {
        add_numbered(app, 11).await;
        let mut page = app.get(CODES).await.expect(200);
        let items = page["items"].take();
        assert_eq!(items[0], app.get(&app.partner.code_path()).await.expect(200));
        assert_eq!(items.as_array().unwrap().len(), 10);
        insta::assert_snapshot!(snapshot(app, &page), @r#"
        {
          "count": 10,
          "has_more": true,
          "items": null,
          "limit": 10,
          "offset": 0,
          "pagination": {"next": "[base]/core/v2/phonenumber/short_codes?offset=10"},
          "total": 12
        }
        "#);

        let empty = app.get(&format!("{CODES}?filter=name+eq+unknown")).await.expect(200);
        insta::assert_snapshot!(snapshot(app, &empty), @r#"
        {
          "count": 0,
          "has_more": false,
          "items": [],
          "limit": 10,
          "offset": 0,
          "pagination": {},
          "total": 0
        }
        "#);

        // Beyond the end there are no items, and the total is the same.
        let past = app.get(&format!("{CODES}?offset=9223372036854775807")).await.expect(200);
        insta::assert_snapshot!(snapshot(app, &past), @r#"
        {
          "count": 0,
          "has_more": false,
          "items": [],
          "limit": 10,
          "offset": 9223372036854775807,
          "pagination": {
            "previous": "[base]/core/v2/phonenumber/short_codes?offset=9223372036854775797"
          },
          "total": 12
        }
        "#);
    });
}

#[test]
fn next_links_visit_every_row_once_and_previous_links_lead_back() {
    check(async |app| {
        add_numbered(app, 25).await;
        let all = numbers(app, &[("limit", "1000")]).await;
        assert_eq!(all.len(), 26);
        let first_after = app.partner.code_sid.to_string();
        for (start, skipped) in [
            (format!("{CODES}?limit=7&filter=name+ne+%22a+%26+b%22&include_fields=short_code"), 0),
            (format!("{CODES}?limit=7&order=short_code&with_related=true"), 0),
            (format!("{CODES}?limit=7&after={first_after}"), 1),
        ] {
            let mut url = format!("{}{start}", app.base);
            let mut pages = Vec::new();
            loop {
                let page =
                    Answer::to(app.request(Method::GET, &url[app.base.len()..])).await.expect(200);
                pages.push(numbers_of(&page));
                assert_eq!(page["has_more"], json!(page["pagination"]["next"].is_string()));
                match page["pagination"]["next"].as_str() {
                    Some(next) => next.clone_into(&mut url),
                    None => break,
                }
            }
            assert_eq!(pages.concat(), all[skipped..], "{start}");
            for expected in pages.iter().rev().skip(1) {
                let page =
                    Answer::to(app.request(Method::GET, &url[app.base.len()..])).await.expect(200);
                page["pagination"]["previous"].as_str().unwrap().clone_into(&mut url);
                let page =
                    Answer::to(app.request(Method::GET, &url[app.base.len()..])).await.expect(200);
                assert_eq!(numbers_of(&page), *expected, "back from {start}");
            }
        }
    });
}

#[test]
fn before_returns_the_preceding_rows() {
    check(async |app| {
        add_numbered(app, 9).await;
        let sids: Vec<String> = app.get(&format!("{CODES}?limit=100")).await.expect(200)["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["short_code_sid"].as_str().unwrap().to_owned())
            .collect();
        let page = app.get(&format!("{CODES}?limit=3&before={}", sids[5])).await.expect(200);
        assert_eq!(numbers_of(&page), ["20001", "20002", "20003"]);
        assert_eq!((&page["has_more"], &page["total"]), (&json!(true), &json!(10)));
        let page = app.get(&format!("{CODES}?limit=3&before={}", sids[2])).await.expect(200);
        assert_eq!(numbers_of(&page), ["10001", "20000"]);
        assert!(page["pagination"]["previous"].is_null());
        assert!(
            page["pagination"]["next"].as_str().unwrap().ends_with(&format!("after={}", sids[1]))
        );
    });
}

#[test]
fn paging_arguments_are_validated() {
    check(async |app| {
        for (query, field) in [
            (("limit", "1001"), "limit"),
            (("limit", "-1"), "limit"),
            (("limit", "ten"), "limit"),
            (("offset", "9223372036854775808"), "offset"),
            (("after", "nonsense"), "after"),
            (("after", "00000000-0000-0000-0000-000000000000"), "after"),
            (("before", &app.unrelated.code_sid.to_string()), "before"),
            (("with_related", "yes"), "with_related"),
            (("include_fields", "colour"), "include_fields"),
            (("excludeFields", "name.first"), "excludeFields"),
            (("order", "colour"), "order"),
            (("order", "name up"), "order"),
            (("order", "attributes"), "order"),
            (("order", "name; drop table short_codes"), "order"),
        ] {
            assert_eq!(rejected(app, &[query]).await.0, field, "{query:?}");
        }
        let own = app.partner.code_sid.to_string();
        for query in [
            vec![("after", &*own), ("order", "name")],
            vec![("after", &own), ("offset", "1")],
            vec![("after", &own), ("before", &own)],
            vec![("limit", "1"), ("limit", "2")],
        ] {
            rejected(app, &query).await;
        }
        // Empty arguments mean the default; reads ignore unknown ones.
        for query in [
            vec![("limit", "0")],
            vec![("limit", ""), ("order", ""), ("filter", "")],
            vec![("colour", "red")],
        ] {
            assert_eq!(numbers(app, &query).await, ["10001"], "{query:?}");
        }
        app.get(&format!("{CODES}?limit&offset=0&after={own}")).await.expect(200);
    });
}

#[test]
fn lists_are_ordered_by_several_members_with_nulls_last() {
    check(async |app| {
        app.partner
            .add_codes(
                app,
                &[
                    json!({"short_code": "20001", "name": "b", "string_key_2": "x"}),
                    json!({"short_code": "20002", "name": "a", "string_key_2": "x"}),
                    json!({"short_code": "20003", "name": "Z", "string_key_2": "w"}),
                ],
            )
            .await;
        for (order, expected) in [
            ("short_code desc", ["20003", "20002", "20001", "10001"]),
            // Text is ordered by code point.
            ("name", ["20003", "20002", "20001", "10001"]),
            ("string_key_2, name ASC", ["20003", "20002", "20001", "10001"]),
            ("string_key_2 desc , short_code", ["10001", "20001", "20002", "20003"]),
        ] {
            assert_eq!(numbers(app, &[("order", order)]).await, expected, "{order}");
        }
        let mut shuffled = numbers(app, &[("order", "shuffle")]).await;
        shuffled.sort();
        assert_eq!(shuffled, ["10001", "20001", "20002", "20003"]);
    });
}

#[test]
fn fields_are_selected_in_lists_and_single_objects() {
    check(async |app| {
        let path = app.partner.code_path();
        for (query, expected) in [
            ("include_fields=name,short_code", json!({"name": "before", "short_code": "10001"})),
            ("includeFields=attributes.a.b", json!({"attributes": {"a": {"b": 1}}})),
            (
                "include_fields=attributes,name&exclude_fields=attributes.a,name",
                json!({"attributes": {"n": 5}}),
            ),
            (
                "include_fields=partner.name&with_related=true",
                json!({"partner": {"name": "a tenant"}}),
            ),
        ] {
            assert_eq!(app.get(&format!("{path}?{query}")).await.expect(200), expected);
            assert_eq!(
                app.get(&format!("{CODES}?{query}")).await.expect(200)["items"],
                json!([expected])
            );
        }
        let mut without = app.get(&path).await.expect(200);
        without.as_object_mut().unwrap().remove("state");
        assert_eq!(app.get(&format!("{path}?excludeFields=state")).await.expect(200), without);
        let unknown = app.get(&format!("{path}?include_fields=partner")).await;
        assert_eq!(unknown.expect_error(400, "bad request"), ["include_fields"]);
    });
}

#[test]
fn with_related_adds_the_owner() {
    check(async |app| {
        let path = app.partner.code_path();
        let plain = app.get(&format!("{path}?with_related=false")).await.expect(200);
        assert!(plain.get("partner").is_none());
        let related = app.get(&format!("{path}?with_related=true")).await.expect(200);
        assert_eq!(related["partner"]["partner_sid"], json!(app.partner.sid));
        let rejected = app.get(&format!("{path}?with_related=1")).await;
        assert_eq!(rejected.expect_error(400, "bad request"), ["with_related"]);
    });
}

#[test]
fn a_list_contains_only_visible_rows() {
    check(async |app| {
        add_numbered(app, 3).await;
        assert_eq!(numbers(app, &[]).await, ["10001", "20000", "20001", "20002"]);
        let wide =
            app.token(app.partner.sid, &[Scope::PhonenumberRead, Scope::PhonenumberReadDescendant]);
        let page = async |query: &str| {
            let request =
                app.anonymous(Method::GET, &format!("{CODES}?{query}")).bearer_auth(&wide);
            Answer::to(request).await.expect(200)
        };
        let all = page("with_related=true").await;
        assert_eq!(numbers_of(&all), ["10001", "10002", "20000", "20001", "20002"]);
        assert_eq!(all["total"], 5);
        assert_eq!(all["items"][1]["partner"]["partner_sid"], json!(app.child.sid));
        assert_eq!(numbers_of(&page("limit=2&offset=1").await), ["10002", "20000"]);
        assert_eq!(numbers_of(&page("order=short_code+desc&limit=2").await), ["20002", "20001"]);
        let after = format!("limit=2&after={}", app.child.code_sid);
        assert_eq!(numbers_of(&page(&after).await), ["20000", "20001"]);
        assert_eq!(
            numbers_of(&page("filter=short_code+in+(10001,10002,10003)").await),
            ["10001", "10002"]
        );
    });
}

#[test]
fn groups_are_listed_like_short_codes() {
    check(async |app| {
        let groups = "/core/v2/phonenumber/did_groups";
        app.post(groups, &json!({"name": "second", "callback_url": "http://example.com"}))
            .await
            .expect(200);
        let page = app
            .get(&format!("{groups}?order=name+desc&filter=name+like+%22%25%22"))
            .await
            .expect(200);
        assert_eq!((&page["total"], &page["items"][0]["name"]), (&json!(2), &json!("second")));
        let page = app.get(&format!("{groups}?filter=callback_url+eq+null")).await.expect(200);
        assert_eq!(page["items"][0]["did_group_sid"], json!(app.partner.group_sid));
    });
}

#[test]
fn partners_are_listed_with_their_descendants() {
    check(async |app| {
        let sids = async |query: &str| {
            let page = app.get(&format!("/core/v2/partners?{query}")).await.expect(200);
            let sid = |item: &Value| item["partner_sid"].clone();
            (
                page["items"].as_array().unwrap().iter().map(sid).collect::<Vec<_>>(),
                page["total"].clone(),
            )
        };
        let (own, child) = (json!(app.partner.sid), json!(app.child.sid));
        assert_eq!(sids("").await, (vec![own.clone(), child.clone()], json!(2)));
        assert_eq!(sids("limit=1&order=display_id+desc").await, (vec![child.clone()], json!(2)));
        assert_eq!(
            sids(&format!("after={}", app.partner.sid)).await,
            (vec![child.clone()], json!(2))
        );
        let of_parent = format!(
            "filter=parent_sid+eq+{}+and+date_created+gt+2020-01-01T00:00:00Z",
            app.partner.sid
        );
        assert_eq!(sids(&of_parent).await, (vec![child], json!(1)));
        assert_eq!(sids("filter=available_scopes+like+%22%25admin.manage%25%22").await.1, 2);
    });
}

#[test]
fn tokens_are_listed_without_secrets() {
    check(async |app| {
        let page = app.get("/core/v2/oauth/tokens?order=date_created").await.expect(200);
        assert_eq!(page["total"], 2, "those of the partner and of its child");
        for token in page["items"].as_array().unwrap() {
            assert_eq!(
                (&token["access_token"], &token["refresh_token"]),
                (&Value::Null, &Value::Null)
            );
            assert_eq!(token["token_type"], "bearer");
        }
        for hidden in ["access_hash", "refresh_hash", "family_sid", "access_token"] {
            let rejected = app.get(&format!("/core/v2/oauth/tokens?filter={hidden}+ne+null")).await;
            assert_eq!(rejected.expect_error(400, "bad request"), ["filter"]);
        }
        let rejected = app.get("/core/v2/oauth/tokens?include_fields=access_hash").await;
        assert_eq!(rejected.expect_error(400, "bad request"), ["include_fields"]);
    });
}
