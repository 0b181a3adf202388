//! The OWASP API Security Top 10 of 2023, one section each: what other tests do not hold already, and where those are.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::Method;
use serde_json::{Value, json};
use shortline::auth::{Actor, Scope};
use shortline::input::FromMember;
use shortline::input::types::Name;
use shortline::oauth::{OauthClient, PartnerLogin, Password};
use shortline::store;
use sqlx::AssertSqlSafe;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::helpers::{Answer, App, SECRET, check, check_with, code_path, group_path};
use crate::log::log_of;

const CODES: &str = "/core/v2/phonenumber/short_codes";
const GROUPS: &str = "/core/v2/phonenumber/did_groups";
const JSON: (&str, &str) = ("content-type", "application/json");

/// Sends bytes that no HTTP client would. What comes back, up to its end; empty where the connection is just closed.
fn send_raw(app: &App, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(app.base.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    // The other end may have said no before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

// API1: broken object level authorization.
//
// Every operation on a stranger's or a child's object: contract.rs, `every_operation_is_404_for_a_strangers_row`; tenancy.rs.
// Lists hold no row of others, whatever the filter: lists.rs. A taken short code of a stranger: objects.rs,
// `a_taken_number_is_409_with_the_other_ones_sid_only_where_it_is_reached`.

#[test]
fn api1_a_sid_of_others_is_answered_as_one_of_nobody() {
    check(async |app| {
        let nobody = Uuid::new_v4();
        let of_others = [&app.stranger, &app.child];
        // What an answer says of a sid, with the sid left out.
        let told = |answer: Answer, sid: Uuid| {
            (answer.status, answer.text.replace(&sid.to_string(), "SID"))
        };
        let put = async |group: Uuid| {
            let mut whole = app.get(&app.partner.code_path()).await.expect(200);
            whole["did_group_sid"] = json!(group);
            app.put(&app.partner.code_path(), &whole).await
        };
        let post = async |group: Uuid| {
            let code = json!({"partner_sid": app.partner.sid, "short_code": "778", "did_group_sid": group});
            app.post(CODES, &code).await
        };
        let refused = (put(nobody).await.status, post(nobody).await.status);
        assert_eq!(refused, (422, 422));
        for other in of_others {
            let group = other.group.did_group_sid;
            assert_eq!(told(put(group).await, group), told(put(nobody).await, nobody));
            assert_eq!(told(post(group).await, group), told(post(nobody).await, nobody));
            let foreign_owner = json!({"partner_sid": app.stranger.sid, "short_code": "779"});
            app.post(CODES, &foreign_owner).await.expect_error(422, "object validation error");
            for (list, sid) in [(CODES, other.code.short_code_sid), (GROUPS, group)] {
                for argument in ["after", "before"] {
                    let from = async |sid| app.get(&format!("{list}?{argument}={sid}")).await;
                    assert_eq!(from(nobody).await.status, 400);
                    assert_eq!(told(from(sid).await, sid), told(from(nobody).await, nobody));
                }
                let filter =
                    async |sid| app.get(&format!("{list}?filter=partner_sid+eq+{sid}")).await;
                assert_eq!(
                    told(filter(other.sid).await, other.sid),
                    told(filter(nobody).await, nobody)
                );
            }
            for path in [other.code_path(), other.group_path()] {
                let head = Answer::to(app.request(Method::HEAD, &path)).await;
                assert_eq!((head.status, &*head.text), (404, ""));
            }
        }
        assert_eq!(app.version(app.partner.code.short_code_sid).await, 1);
    });
}

#[test]
fn api1_what_is_related_is_within_reach() {
    check(async |app| {
        for path in [CODES, GROUPS, &app.partner.code_path(), &app.partner.group_path()] {
            let text = app.get(&format!("{path}?with_related=true")).await.text;
            assert!(text.contains(r#""partner":{"#), "{text}");
            for other in [&app.stranger, &app.child] {
                assert!(!text.contains(&other.sid.to_string()), "{text}");
            }
        }
        // A child is not told of its parent.
        let token = app.token(app.child.sid, &[Scope::PhonenumberManage]);
        let request =
            app.anonymous(Method::GET, &format!("{}?with_related=true", app.child.code_path()));
        let shown = Answer::to(request.bearer_auth(token)).await.expect(200);
        assert_eq!(shown["partner"]["partner_sid"], json!(app.child.sid));
        let members = shown["partner"].as_object().unwrap();
        assert!(
            !members.keys().any(|name| name.contains("secret") || name.contains("hash")),
            "{shown}"
        );
    });
}

// API2: broken authentication.
//
// Algorithm none, other algorithms, a public key as the secret, expired, not yet valid, in the query, empty Basic, two headers,
// kid of another key: tokens.rs.

#[test]
fn api2_the_head_of_a_token_chooses_no_key_and_no_algorithm() {
    let rsa = format!("{}/tests/api/keys/rsa.pub.pem", env!("CARGO_MANIFEST_DIR"));
    check_with(&["--jwt-keys", &rsa], async |app| {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let claims = json!({"sub": app.partner.sid, "scope": "phonenumber.manage", "iat": now, "exp": now + 60});
        let whoami = async |token: &str| {
            let request = app.anonymous(Method::GET, "/core/v2/oauth/whoami").bearer_auth(token);
            Answer::to(request).await.status
        };
        let private = EncodingKey::from_rsa_pem(include_bytes!("keys/rsa.pem")).unwrap();
        let good = encode(&Header::new(Algorithm::RS256), &claims, &private).unwrap();
        assert_eq!(whoami(&good).await, 200);

        // HS256 by the public key, as everybody can have it.
        for public in [
            &include_bytes!("keys/rsa.pub.pem")[..],
            include_str!("keys/rsa.pub.pem").trim_end().as_bytes(),
        ] {
            let forged =
                encode(&Header::default(), &claims, &EncodingKey::from_secret(public)).unwrap();
            assert_eq!(whoami(&forged).await, 401);
        }
        // Heads that ask for a key of the sender's, or for none.
        let own = EncodingKey::from_secret(b"a key of the attacker's own, 32 bytes or more");
        let (_, signed) = good.split_once('.').unwrap();
        for head in [
            json!({"alg": "none"}),
            json!({"alg": "None"}),
            json!({"alg": "nOnE", "typ": "JWT"}),
            json!({"alg": ""}),
            json!({"alg": null}),
            json!({"alg": ["RS256"]}),
            json!({"typ": "JWT"}),
            json!({"alg": "HS256"}),
            json!({"alg": "PS256"}),
            json!({"alg": "RS512"}),
        ] {
            let head = BASE64_URL_SAFE_NO_PAD.encode(head.to_string());
            for token in [
                format!("{head}.{signed}"),
                format!("{head}.{}.", signed.split('.').next().unwrap()),
            ] {
                assert_eq!(whoami(&token).await, 401, "{token}");
            }
        }
        let by_kid = |kid: &str| Header { kid: Some(kid.to_owned()), ..Header::default() };
        let kids =
            ["../../../../dev/null", "' or '1'='1", "x\0", "http://127.0.0.1/key", ""].map(by_kid);
        let elsewhere = [
            Header { jku: Some("http://127.0.0.1:1/jwks".to_owned()), ..Header::default() },
            Header { x5u: Some("http://127.0.0.1:1/cert".to_owned()), ..Header::default() },
        ];
        for head in kids.into_iter().chain(elsewhere) {
            for key in [&own, &EncodingKey::from_secret(b"")] {
                assert_eq!(whoami(&encode(&head, &claims, key).unwrap()).await, 401, "{head:?}");
            }
        }
    });
}

#[test]
fn api2_a_token_counts_in_its_header_alone() {
    check(async |app| {
        let path = app.partner.code_path();
        let token = &app.token;
        let basic = BASE64_STANDARD.encode(format!("{token}:"));
        let elsewhere = [
            app.anonymous(
                Method::GET,
                &format!("{path}?access_token={token}&token={token}&authorization=Bearer+{token}"),
            ),
            app.anonymous(Method::GET, &path)
                .header("cookie", format!("access_token={token}; token={token}")),
            app.anonymous(Method::GET, &path).header("x-access-token", token),
            app.anonymous(Method::GET, &path).header("x-api-key", token),
            app.anonymous(Method::GET, &path)
                .header("proxy-authorization", format!("Bearer {token}")),
            app.anonymous(Method::GET, &path).header("authorization", format!("Basic {basic}")),
            app.anonymous(Method::GET, &path).header("authorization", token),
            app.anonymous(Method::PATCH, &path).json(&json!({"access_token": token})),
        ];
        for request in elsewhere {
            Answer::to(request).await.expect_error(401, "unauthorized");
        }
    });
}

// API3: broken object property level authorization.
//
// Read-only members: patch.rs, `read_only_members_have_no_effect_unless_handling_is_strict`; what a partner may set of itself and
// what only an ancestor may: partners.rs; scopes of a token shrink alone: oauth.rs.

#[test]
fn api3_columns_that_are_no_members_cannot_be_set_or_asked_for() {
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
            let body = json!({internal: app.stranger.sid});
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
        // An owner is not chosen by whoever creates or changes.
        let owned = json!({"partner_sid": app.stranger.sid, "did_group_sid": app.stranger.group.did_group_sid});
        let group = app.post(GROUPS, &owned).await.expect(200);
        assert_eq!(group["partner_sid"], json!(app.partner.sid));
        assert_ne!(group["did_group_sid"], json!(app.stranger.group.did_group_sid));
        app.patch(&path, &json!({"partner_sid": app.stranger.sid, "short_code_sid": Uuid::new_v4(), "short_code": "1"}))
            .await
            .expect(200);
        assert_eq!(stored().await, before);
    });
}

#[test]
fn api3_no_secret_or_its_hash_can_be_asked_for() {
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
        // What is null in every answer cannot be guessed by a filter either.
        let answer = app.get("/core/v2/oauth/tokens?filter=access_token+like+'5%25'").await;
        assert!(answer.status == 400 || answer.text.contains(r#""total":0"#), "{}", answer.text);
    });
}

// API4: unrestricted resource consumption.
//
// Bodies of 300 KiB, with and without a length, 5,000 levels, huge numbers, 20,000 unknown members, a name of 200 KB: bodies.rs.
// A limit of 1,001, a filter of 4 KiB or 33 conditions: lists.rs. A partner's rate: limits.rs. Slow clients: scripts/fault-test.

#[test]
fn api4_a_body_is_read_to_its_last_byte_and_not_further() {
    check(async |app| {
        let path = app.partner.code_path();
        let body = |bytes: usize| format!("{}{{}}", " ".repeat(bytes - 2));
        app.patch_text(&path, body(256 * 1024), &[JSON]).await.expect(200);
        let answer = app.patch_text(&path, body(256 * 1024 + 1), &[JSON]).await;
        answer.expect_error(413, "payload too large");
        // A length that is a lie is refused before anything of it comes.
        let head = format!(
            "PATCH {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n",
            app.token
        );
        let started = Instant::now();
        assert!(send_raw(app, head.as_bytes()).starts_with("HTTP/1.1 413 "));
        assert!(started.elapsed() < Duration::from_secs(10));
    });
}

#[test]
fn api4_depth_costs_nothing() {
    check(async |app| {
        let levels = 100_000;
        for body in [
            "[".repeat(levels),
            "{\"a\":".repeat(levels / 2),
            format!("{{\"attributes\":{}{}}}", "[".repeat(levels), "]".repeat(levels)),
        ] {
            let started = Instant::now();
            let answer = app.patch_text(&app.partner.code_path(), body, &[JSON]).await;
            answer.expect_error(400, "bad request");
            assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        }
    });
}

#[test]
fn api4_long_urls_and_many_arguments_are_refused_or_answered() {
    check(async |app| {
        let many = |name: &str, value: &str, count: usize| {
            format!("{CODES}?{}", format!("{name}={value}&").repeat(count))
        };
        let list = |name: &str, value: &str, count: usize| {
            format!("{CODES}?{name}={}", vec![value; count].join(","))
        };
        for (path, statuses) in [
            (many("a", "", 10_000), &[200][..]),
            (many("limit", "1", 7_000), &[400]),
            (list("order", "name", 10_000), &[200, 400]),
            (list("order", "short_code_sid,name+desc", 2_000), &[200, 400]),
            (list("include_fields", "name", 10_000), &[200]),
            (list("exclude_fields", "attributes.a", 5_000), &[200]),
            (format!("{CODES}?filter={}", "(".repeat(4_000)), &[400]),
            (format!("{CODES}?filter=name+in+({})", vec!["a"; 1_000].join(",")), &[200]),
            (format!("{CODES}?filter=name+like+'{}'", "%25_".repeat(1_000)), &[200]),
            (format!("{CODES}?filter=attributes{}+eq+1", ".a".repeat(2_000)), &[200, 400]),
            (code_path("x".repeat(60_000)), &[404]),
            (group_path("%2e%2e%2f".repeat(1_000)), &[404]),
        ] {
            let started = Instant::now();
            let answer = app.get(&path).await;
            assert!(
                statuses.contains(&answer.status),
                "{path:.80}: {} {:.300}",
                answer.status,
                answer.text
            );
            assert!(
                started.elapsed() < Duration::from_secs(2),
                "{path:.80}: {:?}",
                started.elapsed()
            );
        }
        // Heads that are far too large, or hold far too much, end with their connection.
        for head in [
            format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(1_000_000)),
            format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(1_000_000)),
            format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: x\r\n".repeat(10_000)),
        ] {
            let answer = send_raw(app, head.as_bytes());
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        }
        Answer::to(app.anonymous(Method::GET, "/readyz")).await.expect(200);
    });
}

// API5: broken function level authorization.
//
// Every operation with every scope but the named ones is 403: contract.rs. No token has a scope that its partner or an ancestor
// lacks, whatever it says of itself: tokens.rs.

#[test]
fn api5_a_method_is_the_one_that_was_sent() {
    check(async |app| {
        let reader = app.token(app.partner.sid, &[Scope::PhonenumberRead]);
        for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
            let path = format!("{}?_method=DELETE", app.partner.group_path());
            let get = app.anonymous(Method::GET, &path).bearer_auth(&reader).header(name, "DELETE");
            Answer::to(get).await.expect(200);
        }
        for method in ["get", "FOO", "PATCH\t"] {
            let answer = send_raw(
                app,
                format!(
                    "{method} {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                    app.partner.group_path()
                )
                .as_bytes(),
            );
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{method}: {answer}");
        }
        app.get(&app.partner.group_path()).await.expect(200);
    });
}

#[test]
fn api5_the_plain_token_of_a_partner_manages_numbers_alone() {
    check(async |app| {
        let plain = app.token(app.partner.sid, &[Scope::PhonenumberManage]);
        let document = Answer::to(app.anonymous(Method::GET, "/openapi.json")).await.expect(200);
        let mut refused = 0;
        for (template, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let scopes = operation["security"].to_string();
                let needs_more =
                    scopes.contains("bearer") && !scopes.contains("phonenumber.manage\"");
                if !needs_more || template.ends_with("/whoami") {
                    continue;
                }
                let path = match template.split_once('{') {
                    Some((folder, _)) => format!("{folder}{}", app.child.sid),
                    None => template.clone(),
                };
                let method = method.to_uppercase().parse().unwrap();
                let request = app.anonymous(method, &path).bearer_auth(&plain).json(&json!({}));
                Answer::to(request).await.expect_error(403, "forbidden");
                refused += 1;
            }
        }
        assert!(refused >= 10, "{refused}");
    });
}

// API6: unrestricted access to sensitive business flows.
//
// Guessing a client's secret or a password gets slower, nobody is locked out, a refresh token is good once: oauth.rs.

// API7: server side request forgery.

#[test]
fn api7_a_callback_url_is_kept_and_never_fetched() {
    check(async |app| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}/callback", listener.local_addr().unwrap());
        let body = json!({"callback_url": url});
        for path in [app.partner.code_path(), app.partner.group_path()] {
            app.patch(&path, &body).await.expect(200);
            let mut whole = app.get(&path).await.expect(200);
            whole["name"] = json!("called back?");
            app.put(&path, &whole).await.expect(200);
            app.get(&format!("{path}?with_related=true")).await.expect(200);
        }
        let group = app.post(GROUPS, &body).await.expect(200);
        app.delete(&group_path(group["did_group_sid"].as_str().unwrap())).await;
        let partner = format!("/core/v2/partners/{}", app.partner.sid);
        app.patch(&partner, &json!({"callbacks": {"sms": url}})).await.expect(200);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(listener.accept().is_err(), "somebody called");
    });
}

#[test]
fn api7_a_callback_url_means_the_same_host_to_everybody() {
    check(async |app| {
        for url in [
            "file:///etc/passwd",
            "gopher://127.0.0.1:6379/_",
            "javascript:alert(1)",
            "data:text/html,x",
            "//example.com/",
            "/relative",
            "http:/example.com",
            "http:///example.com",
            "http://",
            "http://?x",
            "https://user@example.com/",
            "https://user:password@example.com/",
            "https://example.com@127.0.0.1/",
            "https://:@example.com/",
            "http://example.com\\@127.0.0.1/",
            "http://exa mple.com/",
            "http://example.com/a b",
            "http://example.com/\r\nX-Injected: 1",
            "\thttp://example.com/",
            " http://example.com/",
            "HTTP://example.com/",
            "http://example.com:99999/",
            "http://[::1/",
            "http://\u{202e}/\u{0}",
        ] {
            for path in [app.partner.code_path(), app.partner.group_path()] {
                let answer = app.patch(&path, &json!({"callback_url": url})).await;
                assert_eq!(
                    answer.expect_error(422, "object validation error"),
                    ["callback_url"],
                    "{url}"
                );
            }
            let partner = format!("/core/v2/partners/{}", app.partner.sid);
            let answer = app.patch(&partner, &json!({"callbacks": {"sms": url}})).await;
            answer.expect_error(422, "object validation error");
        }
    });
}

// API8: security misconfiguration.
//
// A missing or weak secret stops the start with one line: lifecycle.rs. Keys that cannot work too: tokens.rs. TRACE is 405:
// contract.rs. `Cache-Control`: contract.rs, oauth.rs. CORS gives nothing away without a token: wire.rs.

#[test]
fn api8_trace_and_connect_are_refused_and_nothing_is_echoed() {
    check(async |app| {
        for line in [
            "TRACE / HTTP/1.1",
            "TRACE /healthz HTTP/1.1",
            "CONNECT example.com:443 HTTP/1.1",
            "CONNECT /healthz HTTP/1.1",
        ] {
            let answer = send_raw(
                app,
                format!("{line}\r\nHost: x\r\nX-Echo: canary\r\nConnection: close\r\n\r\n")
                    .as_bytes(),
            );
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{line}: {answer}");
            assert!(!answer.contains("canary"), "{answer}");
        }
    });
}

#[test]
fn api8_no_answer_says_what_it_is_made_of() {
    check(async |app| {
        let path = app.partner.code_path();
        let mut answers = vec![
            app.get("/core/v2/nothing").await,
            app.get(&path).await,
            app.get(&code_path("' or 1=1 --")).await,
            app.get(&format!("{CODES}?filter=name+eq+'")).await,
            app.get(&format!("{CODES}?order=name);drop+table+short_codes")).await,
            app.get(&format!("{CODES}?filter=name+eq+'%00'")).await,
            app.patch_text(&path, "{\"name\":", &[JSON]).await,
            app.patch_text(&path, vec![0xff, 0xfe], &[JSON]).await,
            app.patch(&path, &json!({"name": 1, "did_group_sid": Uuid::new_v4()})).await,
            app.delete(&app.partner.group_path()).await,
            Answer::to(app.anonymous(Method::GET, &path)).await,
            Answer::to(app.anonymous(Method::TRACE, &path)).await,
            Answer::to(app.anonymous(Method::POST, "/core/v2/oauth/token")).await,
        ];
        // A mistake of ours, made for the test.
        let rename = async |statement: &'static str| {
            sqlx::raw_sql(statement).execute(&mut app.connection().await).await.unwrap();
        };
        rename("alter table short_codes rename to away").await;
        let broken = app.get(&path).await;
        rename("alter table away rename to short_codes").await;
        assert_eq!(
            (broken.status, &*broken.text),
            (500, r#"{"message":"internal server error","errors":[]}"#)
        );
        answers.push(broken);
        for answer in answers {
            let said = answer.text.to_lowercase();
            for detail in [
                "sqlx",
                "postgres",
                "sqlstate",
                "panicked",
                "backtrace",
                ".rs",
                "select ",
                "relation",
                "serde",
                "actix",
                "0x",
            ] {
                assert!(!said.contains(detail), "{detail}: {said}");
            }
            assert_eq!(
                answer.header("content-type").map(|kind| kind.starts_with("application/json")),
                Some(true),
                "{answer:?}"
            );
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            for banner in ["server", "x-powered-by", "via", "x-aspnet-version"] {
                assert_eq!(answer.header(banner), None);
            }
        }
    });
}

// API9: improper inventory management.
//
// Every operation of the document is called by contract.rs. /metrics is on its own listener: metrics.rs.

#[test]
fn api9_what_is_not_in_the_document_is_not_there() {
    check(async |app| {
        let document = Answer::to(app.anonymous(Method::GET, "/openapi.json")).await.expect(200);
        let documented = document["paths"].as_object().unwrap();
        let probes = [
            "/",
            "/admin",
            "/metrics",
            "/.env",
            "/.git/config",
            "/api",
            "/core",
            "/core/v1",
            "/core/v1/phonenumber/short_codes",
            "/core/v2",
            "/core/v2/admin",
            "/core/v2/metrics",
            "/core/v2/phonenumber",
            "/core/v2/users",
            "/core/v2/oauth",
            "/core/v2/oauth/clients",
            "/core/v2/oauth/logins",
            "/core/v3/phonenumber/short_codes",
            "/actuator/health",
            "/console",
            "/debug/pprof",
            "/graphql",
            "/health",
            "/phonenumber/short_codes",
            "/robots.txt",
            "/server-status",
            "/status",
            "/swagger.json",
            "/swagger-ui",
            "/test",
            "/v2/core/phonenumber/short_codes",
            "/version",
            "/wp-login.php",
            "//core/v2/oauth/whoami",
            "/core/v2/../v2/oauth/whoami",
            "/core//v2/oauth/whoami",
            "/CORE/V2/oauth/whoami",
            "/core/v2/oauth/whoami/x",
            "/core/v2/oauth/whoami;x=1",
            "/core/v2/oauth/whoami%00",
        ];
        for probe in probes {
            assert!(!documented.contains_key(probe), "{probe}");
            for method in ["GET", "POST"] {
                // As it stands: a client would tidy it up.
                let answer = send_raw(app, format!(
                    "{method} {probe} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                    app.token
                ).as_bytes());
                let refused = answer.starts_with("HTTP/1.1 404 ")
                    && answer.contains(r#"{"message":"not found""#);
                assert!(refused, "{method} {probe}: {answer}");
            }
        }
        let versions: Vec<_> =
            documented.keys().filter_map(|path| path.strip_prefix("/core/")).collect();
        assert!(versions.iter().all(|path| path.starts_with("v2/")), "{versions:?}");
    });
}

// API10: unsafe consumption of APIs.
//
// Forwarded headers are believed of trusted proxies alone: lifecycle.rs, wire.rs.

#[test]
fn api10_a_host_header_reaches_links_as_a_host_alone() {
    let next = |app: &App, host: &str| {
        let head = format!(
            "GET {CODES}?limit=1 HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\nX-Forwarded-Host: forged.example\r\nForwarded: host=forged.example\r\nX-Forwarded-Prefix: /forged\r\nX-Original-URL: /forged\r\nConnection: close\r\n\r\n",
            app.token
        );
        let answer = send_raw(app, head.as_bytes());
        assert!(!answer.contains("forged"), "{answer}");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
        answer.starts_with("HTTP/1.1 200 ").then(|| {
            let body: Value = serde_json::from_str(&body).unwrap();
            body["pagination"]["next"].as_str().unwrap().to_owned()
        })
    };
    let hosts = [
        "evil.example/path?x=",
        "evil.example#",
        "user:password@evil.example",
        "\"><script>alert(1)</script>",
        "evil.example\\",
        "a b",
        "evil.example:99999",
        "%0d%0aX-Injected:1",
        "",
        &"x".repeat(10_000),
    ];
    check(async |app| {
        app.partner.add_codes(app, &[json!({"short_code": "20001"})]).await;
        assert_eq!(
            next(app, "api.example:8080"),
            Some(format!("http://api.example:8080{CODES}?limit=1&offset=1"))
        );
        for host in hosts {
            // Refused, or a link to that very host with our path.
            if let Some(link) = next(app, host) {
                let link = url::Url::parse(&link).unwrap_or_else(|error| panic!("{error}: {link}"));
                assert_eq!(
                    (link.path(), link.query(), link.username()),
                    (CODES, Some("limit=1&offset=1"), ""),
                    "{host}"
                );
            }
        }
    });
    check_with(&["--public-url", "https://api.example"], async |app| {
        app.partner.add_codes(app, &[json!({"short_code": "20001"})]).await;
        for host in hosts {
            if let Some(link) = next(app, host) {
                assert_eq!(link, format!("https://api.example{CODES}?limit=1&offset=1"), "{host}");
            }
        }
    });
}

// Secrets.
//
// The log of refused requests: log.rs. What the database keeps of each kind of secret: oauth.rs, tokens.rs.

#[test]
fn after_a_session_neither_the_database_nor_the_log_holds_a_secret() {
    const PASSWORD: &str = "a password of the session & nobody else's";
    check(async |app| {
        let scopes = Scope::DEFAULT.into_iter().collect();
        let (client, client_secret) = OauthClient::new(app.partner.sid, scopes).unwrap();
        let name = Name::from_member("ann".into()).unwrap();
        let login =
            PartnerLogin::new(app.partner.sid, name, &Password::new(PASSWORD).unwrap()).unwrap();
        let mut connection = app.connection().await;
        let client = store::create_one(&mut connection, &Actor::operator(), client)
            .await
            .unwrap()
            .object
            .client_id
            .to_string();
        store::create_one(&mut connection, &Actor::operator(), login).await.unwrap();

        let mut secrets = vec![
            SECRET.to_owned(),
            PASSWORD.to_owned(),
            url::form_urlencoded::byte_serialize(PASSWORD.as_bytes()).collect(),
            client_secret.clone(),
            BASE64_STANDARD.encode(format!("{client}:{client_secret}")),
            app.token.clone(),
        ];
        let log = log_of(app, "debug", async |base| {
            let http = reqwest::Client::new();
            let form = async |path: &str, bearer: Option<&str>, fields: &[(&str, &str)]| {
                let body = url::form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(fields)
                    .finish();
                let request = http.post(format!("{base}/core/v2/oauth/{path}"));
                let request =
                    request.header("content-type", "application/x-www-form-urlencoded").body(body);
                let request = match bearer {
                    Some(token) => request.bearer_auth(token),
                    None => request.basic_auth(&client, Some(&client_secret)),
                };
                Answer::to(request).await
            };
            let login = ("username", "ann");
            for fields in [
                vec![("grant_type", "client_credentials")],
                vec![("grant_type", "password"), login, ("password", PASSWORD)],
                vec![("grant_type", "password"), login, ("password", PASSWORD)],
            ] {
                let token = form("token", None, &fields).await.expect(200);
                let text = |member: &str| token[member].as_str().map(str::to_owned);
                let access = text("access_token").unwrap();
                let get = http.get(format!("{base}/core/v2/oauth/whoami")).bearer_auth(&access);
                Answer::to(get).await.expect(200);
                if let Some(refresh) = text("refresh_token") {
                    let fields = [("grant_type", "refresh_token"), ("refresh_token", &*refresh)];
                    let renewed = form("token", None, &fields).await.expect(200);
                    secrets.extend(
                        ["access_token", "refresh_token"]
                            .map(|member| renewed[member].as_str().unwrap().to_owned()),
                    );
                    // Used again, which ends the family.
                    assert_eq!(form("token", None, &fields).await.status, 400);
                    secrets.push(refresh);
                }
                assert_eq!(form("revoke", None, &[("token", &access)]).await.status, 204);
                secrets.push(access);
            }
            // A token of another system, remembered as revoked.
            assert_eq!(
                form("revoke", Some(&app.token), &[("token", &app.token)]).await.status,
                204
            );
            let wrong =
                [("grant_type", "password"), login, ("password", "a wrong guess, secret too")];
            assert_ne!(form("token", None, &wrong).await.status, 200);
        })
        .await;
        secrets.push("a wrong guess, secret too".to_owned());

        let tables: Vec<String> =
            sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'")
                .fetch_all(&mut connection)
                .await
                .unwrap();
        assert!(tables.len() >= 9, "{tables:?}");
        let mut kept: String = log.iter().map(|line| format!("{line}\n")).collect();
        assert!(log.len() > 10, "{kept}");
        for table in tables {
            let rows = format!("select coalesce(string_agg(t::text, ' '), '') from {table} t");
            kept += &sqlx::query_scalar::<_, String>(AssertSqlSafe(rows))
                .fetch_one(&mut connection)
                .await
                .unwrap();
        }
        for secret in secrets {
            // Bytes are dumped in hexadecimal.
            let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            assert!(!kept.contains(&secret) && !kept.contains(&hex), "{secret}");
            // Neither a JWT's signature alone, which would complete what claims anybody can rebuild.
            if let Some((_, signature)) = secret.rsplit_once('.') {
                assert!(!kept.contains(signature), "{signature}");
            }
        }
    });
}
