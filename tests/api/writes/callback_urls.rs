//! Callback URLs: stored, never fetched, and the same host to every parser.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::json;

use crate::support::{GROUPS, check, group_path};

#[test]
fn callback_urls_are_stored_and_never_fetched() {
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
        // A request to the URL could follow the response, so there is nothing to poll for.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(listener.accept().is_err(), "the URL was fetched");
    });
}

#[test]
fn ambiguous_callback_urls_are_rejected() {
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
            // The host is another one to some parsers.
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://0x7f000001/",
            "https://%65xample.com/",
            "https://[0:0:0:0:0:0:0:1]/",
            "https://münchen.example/",
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
