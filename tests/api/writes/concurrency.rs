//! Several writers and several instances: no change is lost.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, check, plain_client};

#[test]
fn writers_on_two_instances_lose_no_changes() {
    check(async |app| {
        let (second, handle) = app.second_instance().await;
        let client = plain_client();
        let path = app.partner.code_path();
        let writes = (0..40).map(|number| {
            let base = if number % 2 == 0 { &app.base } else { &second };
            let body = json!({"attributes": {format!("key_{number}"): number}});
            client
                .request(Method::PATCH, format!("{base}{path}"))
                .bearer_auth(&app.token)
                .json(&body)
        });
        for answer in join_all(writes.map(Answer::to)).await {
            answer.expect(200);
        }
        let attributes = app.get(&path).await.expect(200)["attributes"].clone();
        let stored =
            (0..40).filter(|number| attributes[format!("key_{number}")] == json!(number)).count();
        assert_eq!(stored, 40, "{attributes}");
        assert_eq!(app.version(app.partner.code_sid).await, 41);
        handle.stop(false).await;
    });
}

#[test]
fn another_instance_reads_acknowledged_changes() {
    check(async |app| {
        let (second, handle) = app.second_instance().await;
        let client = plain_client();
        let path = app.partner.group_path();
        for number in 0..20 {
            let name = format!("name {number}");
            app.patch(&path, &json!({"name": name})).await.expect(200);
            let read =
                client.request(Method::GET, format!("{second}{path}")).bearer_auth(&app.token);
            assert_eq!(Answer::to(read).await.expect(200)["name"], name);
        }
        handle.stop(false).await;
    });
}
