//! The stock: lists, filters and coverage of the numbers that can be rented; lists of rented ones.

use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::Scope;

use crate::support::{AVAILABLE, Answer, App, DIDS, check};

const COVERAGE: &str = "/core/v2/phonenumber/coverage";

async fn add_numbers(app: &App) {
    let numbers = [
        json!({"phonenumber": "15165550001", "locality": "Hempstead", "capabilities": 4}),
        json!({"phonenumber": "15165560002", "locality": "Hempstead", "capabilities": 3}),
        json!({"phonenumber": "15175550003", "state": "MI", "capabilities": 5}),
        json!({"phonenumber": "442071838750", "state": null, "country_code": "GBR"}),
    ];
    app.partner.add_numbers(app, &numbers).await;
}

async fn listed(app: &App, list: &str, query: &[(&str, &str)]) -> Vec<String> {
    let page = Answer::to(app.request(Method::GET, list).query(query)).await.expect(200);
    let number = |item: &Value| item["phonenumber"].as_str().unwrap().to_owned();
    page["items"].as_array().unwrap().iter().map(number).collect()
}

#[test]
fn available_numbers_are_listed_without_a_count() {
    check(async |app| {
        add_numbers(app).await;
        let page = app.get(&format!("{AVAILABLE}?limit=2")).await.expect(200);
        assert_eq!((&page["total"], &page["count"]), (&Value::Null, &json!(2)));
        assert_eq!(page["has_more"], true);
        assert_eq!(page["items"][0]["phonenumber"], app.partner.available);
        assert_eq!(page["items"][0]["partner_sid"], Value::Null);
        assert_eq!(page["items"][0].as_object().unwrap().len(), 26);
        let last = page["items"][1]["did_sid"].as_str().unwrap();
        let next = listed(app, AVAILABLE, &[("after", last), ("limit", "2")]).await;
        assert_eq!(next, ["15165560002", "15175550003"]);
        let old = listed(app, &format!("{DIDS}/inventory"), &[]).await;
        assert_eq!(old, listed(app, AVAILABLE, &[]).await);
        for method in [Method::PATCH, Method::PUT, Method::DELETE, Method::POST] {
            let request = app.request(method, &format!("{DIDS}/inventory")).json(&json!({}));
            let rejected = Answer::to(request).await;
            assert_eq!(rejected.header("allow"), Some("GET, HEAD, OPTIONS"));
            rejected.expect_error(405, "method not allowed");
        }
    });
}

#[test]
fn the_status_of_a_number_has_a_schema_of_its_own() {
    check(async |app| {
        let document = app.get("/openapi.json").await.expect(200);
        let values = |name: &str| document["components"]["schemas"][name]["enum"].clone();
        assert_eq!(values("DidStatus"), json!(["available", "assigned", "aging"]));
        assert_eq!(values("Status"), json!(["active", "suspended"]));
    });
}

#[test]
fn filters_compare_integers_bits_and_prefixes() {
    check(async |app| {
        add_numbers(app).await;
        for (filter, expected) in [
            (
                "capabilities bit 4",
                &["13125550201", "15165550001", "15175550003", "442071838750"][..],
            ),
            ("capabilities BIT '5'", &["13125550201", "15175550003", "442071838750"]),
            ("capabilities bit 5 and capabilities lt 7", &["15175550003"]),
            ("capabilities eq 3", &["15165560002"]),
            ("capabilities in (3, 4)", &["15165550001", "15165560002"]),
            ("capabilities gt 4 and capabilities ne 7", &["15175550003"]),
            ("capabilities eq null", &[]),
            ("phonenumber like '1516%'", &["15165550001", "15165560002"]),
            ("phonenumber like \"1516555%\"", &["15165550001"]),
            ("phonenumber like '15165550001'", &["15165550001"]),
            ("phonenumber like '%0002'", &["15165560002"]),
            ("phonenumber like '151_5550___'", &["15165550001", "15175550003"]),
            ("state eq null", &["442071838750"]),
            ("locality like 'Hemp%'", &["15165550001", "15165560002"]),
        ] {
            assert_eq!(listed(app, AVAILABLE, &[("filter", filter)]).await, expected, "{filter}");
        }
        for (filter, position) in [
            ("phonenumber bit 4", "at position 13: expected a member with integers"),
            (
                "capabilities like '4%'",
                "at position 14: expected one of eq, ne, gt, ge, lt, le, in, bit",
            ),
            ("capabilities bit x", "at position 18: expected a whole number"),
            ("capabilities bit null", "at position 18: expected a whole number"),
            ("capabilities eq 1.5", "at position 17: expected a whole number"),
            ("capabilities eq 99999999999999999999", "expected a whole number"),
            ("attributes.a bit 4", "at position 1: expected the name of a member"),
            ("in_country_format like '(5%'", "at position 1: expected the name of a member"),
        ] {
            let request = app.request(Method::GET, AVAILABLE).query(&[("filter", filter)]);
            let rejected = Answer::to(request).await;
            assert!(rejected.text.contains(position), "{filter}: {}", rejected.text);
            assert_eq!(rejected.expect_error(400, "bad request"), ["filter"]);
        }
        // Of rented numbers, `attributes` can be compared, but not by bits.
        let filter = [("filter", "attributes.a bit 4")];
        let rejected = Answer::to(app.request(Method::GET, DIDS).query(&filter)).await;
        assert_eq!(rejected.expect_error(400, "bad request"), ["filter"]);
    });
}

#[test]
fn rented_numbers_are_found_by_trunk_group() {
    check(async |app| {
        let trunk = app.child.sid.to_string();
        app.patch(&app.partner.did_path(), &json!({"trunk_group_sid": trunk})).await.expect(200);
        app.post(DIDS, &json!({})).await.expect(200);
        let argument = [("trunk_group_sid", trunk.as_str())];
        assert_eq!(listed(app, DIDS, &argument).await, [app.partner.rented]);
        let page = Answer::to(app.request(Method::GET, DIDS).query(&argument)).await.expect(200);
        assert_eq!(page["total"], 1);
        assert_eq!(listed(app, DIDS, &[]).await.len(), 2);
        assert_eq!(listed(app, DIDS, &[("trunk_group_sid", "")]).await.len(), 2);
        let rejected = app.get(&format!("{DIDS}?trunk_group_sid=x")).await;
        assert_eq!(rejected.expect_error(400, "bad request"), ["trunk_group_sid"]);
        let fields = format!("{DIDS}?exclude_fields=transformations,attributes&limit=1");
        let page = app.get(&fields).await.expect(200);
        assert_eq!(page["items"][0].as_object().unwrap().len(), 24);
    });
}

#[test]
fn only_the_owner_of_a_stock_sees_its_aging_numbers() {
    check(async |app| {
        app.delete(&app.partner.did_path()).await;
        let aging = format!("{AVAILABLE}?status=aging");
        let page = app.get(&aging).await.expect(200);
        assert_eq!(page["items"][0]["phonenumber"], app.partner.rented);
        assert_eq!(page["items"][0]["status"], "aging");
        assert!(!listed(app, AVAILABLE, &[]).await.contains(&app.partner.rented.to_owned()));
        let token = app.token(app.child.sid, &[Scope::PhonenumberManage]);
        let page = Answer::to(app.anonymous(Method::GET, &aging).bearer_auth(token)).await;
        assert_eq!(page.expect(200)["count"], 0);
        let rejected = app.get(&format!("{AVAILABLE}?status=assigned")).await;
        assert_eq!(rejected.expect_error(400, "bad request"), ["status"]);
    });
}

#[test]
fn coverage_counts_the_available_numbers_of_visible_stocks() {
    check(async |app| {
        add_numbers(app).await;
        let coverage = async |group_by: &str, token: &str| {
            let request = app.anonymous(Method::GET, COVERAGE).bearer_auth(token);
            let answer = Answer::to(request.query(&[("group_by", group_by)])).await.expect(200);
            let item = |item: &Value| format!("{} {}", item["key"], item["count"]);
            let items: Vec<_> = answer["items"].as_array().unwrap().iter().map(item).collect();
            assert_eq!(answer["total"], items.len());
            items.join(", ").replace('"', "")
        };
        for (group_by, expected) in [
            ("state", "MI 1, NY 3, null 1"),
            ("locality", "Hempstead 2, null 3"),
            ("npa", "312 1, 516 2, 517 1, null 1"),
            ("npa_nxx", "312555 1, 516555 1, 516556 1, 517555 1, null 1"),
            ("country_code", "GBR 1, USA 4"),
        ] {
            assert_eq!(coverage(group_by, &app.token).await, expected, "{group_by}");
        }
        // A child also counts its own stock, and a rented number does not count.
        app.post(DIDS, &json!({"phonenumber": "15175550003"})).await.expect(200);
        let child = app.token(app.child.sid, &[Scope::PhonenumberRead]);
        assert_eq!(coverage("state", &child).await, "NY 4, null 1");
        let stranger = app.token(app.unrelated.sid, &[Scope::PhonenumberRead]);
        assert_eq!(coverage("state", &stranger).await, "NY 1");

        let page = app.get(&format!("{COVERAGE}?group_by=npa&limit=1&offset=1")).await.expect(200);
        assert_eq!(page["items"], json!([{"count": 2, "key": "516"}]));
        assert_eq!((&page["total"], &page["has_more"]), (&json!(3), &json!(true)));
        let beyond = app.get(&format!("{COVERAGE}?group_by=npa&offset=9")).await.expect(200);
        assert_eq!((&beyond["items"], &beyond["total"]), (&json!([]), &json!(3)));
        for query in ["", "?group_by=colour", "?group_by=state&filter=key eq NY"] {
            let rejected = app.get(&format!("{COVERAGE}{query}")).await;
            let field = if query.contains("filter") { "filter" } else { "group_by" };
            assert_eq!(rejected.expect_error(400, "bad request"), [field], "{query}");
        }
    });
}
