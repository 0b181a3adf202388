//! The OpenAPI document compared with real responses, and the page made from it.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::document::Document;
use crate::support::{Answer, GROUPS, check, group_path};

fn names(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn every_operation_documents_its_errors() {
    check(async |app| {
        let document = Document::fetch(app).await;
        for operation in document.operations() {
            let described = operation.described;
            let mut statuses = vec!["405"];
            let security = described["security"].as_array().map_or(&[][..], Vec::as_slice);
            if !security.is_empty() {
                statuses.extend(["400", "401", "503"]);
            }
            if security.iter().any(|scheme| scheme["bearer"][0].is_string()) {
                statuses.push("403");
            }
            if operation.names_an_object() {
                statuses.push("404");
            }
            if described["requestBody"].is_object() {
                statuses.extend(["408", "413", "415"]);
            }
            if described["requestBody"]["content"]["application/json"].is_object() {
                statuses.push("422");
            }
            for status in statuses {
                let answer = document.resolved(&described["responses"][status]);
                let content = &answer["content"];
                assert_eq!(names(content), ["application/json", "application/problem+json"]);
                assert!(answer["headers"]["X-Request-Id"].is_object(), "{operation} {status}");
                assert_ne!(answer["description"], "", "{operation} {status}");
            }
            for (status, answer) in described["responses"].as_object().unwrap() {
                let description = document.resolved(answer)["description"].as_str();
                assert!(description.is_some_and(|text| !text.is_empty()), "{operation} {status}");
                let schema = &document.resolved(answer)["content"]["application/json"]["schema"];
                assert_eq!(
                    schema.is_object(),
                    !["204", "304"].contains(&status.as_str()),
                    "{operation} {status}"
                );
            }
        }
    });
}

#[test]
fn documented_errors_match_real_errors() {
    check(async |app| {
        let document = Document::fetch(app).await;
        let unknown = group_path(Uuid::now_v7());
        let sent = [
            ("Unauthorized", app.anonymous(Method::GET, &unknown).bearer_auth("no token of ours")),
            ("NotFound", app.request(Method::GET, &unknown)),
            (
                "UnsupportedMediaType",
                app.request(Method::PATCH, &app.partner.group_path()).body("x"),
            ),
        ];
        for (name, request) in sent {
            let documented = &document.0["components"]["responses"][name];
            let example = &documented["content"]["application/json"]["example"];
            let answer = Answer::to(request).await;
            // Only for a body with a content coding.
            let headers = names(&documented["headers"]).into_iter();
            for header in headers.filter(|header| *header != "Accept-Encoding") {
                assert!(answer.header(header).is_some(), "{name} {header}");
            }
            assert_eq!(
                serde_json::from_str::<Value>(&answer.text).unwrap()["message"],
                example["message"]
            );
        }
    });
}

#[test]
fn schemas_have_the_members_of_real_responses() {
    check(async |app| {
        let document = Document::fetch(app).await;
        let schemas = &document.0["components"]["schemas"];
        let list = app.get(GROUPS).await.expect(200);
        let error = app.get(&group_path(Uuid::now_v7())).await.expect(404);
        let related = format!("{}?with_related=true", app.partner.code_path());
        let related = app.get(&related).await.expect(200);
        let history = app.get(&format!("{}/history", app.partner.code_path())).await.expect(200);
        for (name, answer) in [
            ("DidGroup", &app.get(&app.partner.group_path()).await.expect(200)),
            ("ShortCode", &app.get(&app.partner.code_path()).await.expect(200)),
            ("ShortCodeWithPartner", &related),
            ("Partner", &related["partner"]),
            ("HistoryEntryList", &history),
            ("HistoryEntry", &history["items"][0]),
            ("OauthToken", &app.get("/core/v2/oauth/tokens").await.expect(200)["items"][0]),
            ("Whoami", &app.get("/core/v2/oauth/whoami").await.expect(200)),
            ("DidGroupList", &list),
            ("ErrorBody", &error),
            ("FieldError", &error["errors"][0]),
        ] {
            let schema = &schemas[name];
            let mut required: Vec<_> = schema["required"]
                .as_array()
                .unwrap()
                .iter()
                .map(|name| name.as_str().unwrap())
                .collect();
            required.sort_unstable();
            let mut members = names(&schema["properties"]);
            // Only the token endpoints have the first, only entries of commands the second, and only
            // the response that issues a token the others.
            let optional = [
                ("ErrorBody", "error"),
                ("HistoryEntry", "operator"),
                ("OauthToken", "expires_in"),
                ("OauthToken", "scope"),
            ];
            members.retain(|member| !optional.contains(&(name, *member)));
            assert_eq!(members, names(answer), "{name}");
            assert_eq!(required, names(answer), "{name} leaves nothing out");
        }
    });
}

#[test]
fn patch_requires_no_member_and_put_every_writable_one() {
    check(async |app| {
        let document = Document::fetch(app).await;
        let schemas = &document.0["components"]["schemas"];
        for (noun, writable) in [
            ("DidGroup", json!(["callback_url", "name"])),
            (
                "ShortCode",
                json!([
                    "attributes",
                    "callback_url",
                    "did_group_sid",
                    "name",
                    "string_key_1",
                    "string_key_2"
                ]),
            ),
            // Only an ancestor can write the other members.
            ("Partner", json!(["attributes", "callbacks", "company_name", "country_code", "name"])),
        ] {
            let (patch, put) =
                (&schemas[format!("{noun}Patch")], &schemas[format!("{noun}Replacement")]);
            assert_eq!(patch["required"], Value::Null);
            assert_eq!(put["required"], writable);
            for schema in [patch, put] {
                assert_eq!(schema["additionalProperties"], false);
                assert_eq!(names(&schema["properties"]), names(&schemas[noun]["properties"]));
                // Not nullable: a name cannot be cleared.
                assert_eq!(schema["properties"]["name"]["$ref"], "#/components/schemas/Name");
            }
        }
    });
}

#[test]
fn the_examples_are_the_samples_of_carrierx() {
    check(async |app| {
        let document = Document::fetch(app).await;
        for (path, sent, returned) in [
            (
                "did_groups/{did_group_sid}",
                json!({"name": "my_did_group"}),
                json!({
                    "callback_url": null,
                    "did_group_sid": "41e21049-e5eb-433c-a93d-d57417b1863c",
                    "name": "my_did_group",
                    "partner_sid": "e00430c3-a7d0-4666-ab5c-f7202448382f",
                }),
            ),
            (
                "short_codes/{short_code_sid}",
                json!({"name": "new shortcode name"}),
                json!({
                    "attributes": {},
                    "callback_url": null,
                    "country_code": "USA",
                    "did_group_sid": "9cf3c0aa-3f80-43f7-b8c2-8f88251ff562",
                    "locality": null,
                    "lrn_sid": null,
                    "name": "new shortcode name",
                    "partner_sid": "b9ba2c8b-2368-4a0b-9ba0-866ff2618417",
                    "short_code": "26399",
                    "short_code_sid": "531f65b7-dff7-42b4-b638-597f91da9ccc",
                    "state": "IL",
                    "string_key_1": null,
                    "string_key_2": null,
                }),
            ),
        ] {
            let item = &document.0["paths"][format!("/core/v2/phonenumber/{path}")];
            for kind in ["application/json", "application/merge-patch+json"] {
                assert_eq!(item["patch"]["requestBody"]["content"][kind]["example"], sent);
            }
            for method in ["patch", "put"] {
                let content = &item[method]["responses"]["200"]["content"]["application/json"];
                assert_eq!(content["example"], returned);
            }
        }
    });
}

#[test]
fn the_documentation_page_loads_nothing_from_other_hosts() {
    check(async |app| {
        let page = Answer::to(app.anonymous(Method::GET, "/docs/")).await;
        assert_eq!(page.status, 200);
        assert!(page.header("content-type").unwrap().starts_with("text/html"));
        assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
        assert!(!page.text.contains("//"), "{}", page.text);
        for file in page.text.split('"').filter(|text| text.starts_with("/")) {
            let answer = Answer::to(app.anonymous(Method::GET, file)).await;
            assert_eq!(answer.status, 200, "{file}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        }
        let answer = Answer::to(app.anonymous(Method::POST, "/docs")).await;
        assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
        answer.expect_error(405, "method not allowed");
        assert_eq!(Document::fetch(app).await.0["paths"]["/docs"], Value::Null);
    });
}
