//! Many partners that rent at once.

use std::collections::HashSet;

use futures_util::StreamExt;
use futures_util::stream::iter;
use reqwest::Method;
use serde_json::json;
use shortline::auth::{Actor, Scope};
use shortline::input::FromMember;
use shortline::input::types::Name;
use shortline::partners::Partner;
use shortline::store;
use uuid::Uuid;

use crate::support::{Answer, App, DIDS, check};

const PARTNERS: usize = 20;
const RENTERS: usize = 1_000;
/// The most requests in flight. A debug build cannot serve all in the time that a request may wait.
const IN_FLIGHT: usize = 250;

/// Creates children of the partner, each a subtree of its own.
async fn create_children(app: &App) -> Vec<Uuid> {
    let mut connection = app.connection().await;
    let mut children = Vec::new();
    for _ in 0..PARTNERS {
        let (sid, name) = (Uuid::now_v7(), Name::from_member("renter".into()).unwrap());
        let scopes = [Scope::PhonenumberManage].into_iter().collect();
        let partner = Partner::new(&mut connection, sid, Some(app.partner.sid), name, scopes).await;
        store::create_one(&mut connection, &Actor::operator(), partner.unwrap()).await.unwrap();
        children.push(sid);
    }
    children
}

#[test]
fn a_thousand_renters_over_two_instances_get_different_numbers_without_waiting() {
    check(async |app| {
        let numbers: Vec<_> =
            (0..RENTERS).map(|n| json!({"phonenumber": format!("1516555{n:04}")})).collect();
        app.partner.add_numbers(app, &numbers).await;
        let children = create_children(app).await;
        let (other, server) = app.second_instance().await;
        // Another transaction holds the first number all the time. A request that waits for it gets
        // 503.
        let mut connection = app.connection().await;
        let lock = "select from did_stock where phonenumber = $1 for update";
        sqlx::query("begin").execute(&mut connection).await.unwrap();
        sqlx::query(lock).bind(app.partner.available).execute(&mut connection).await.unwrap();

        let tokens: Vec<_> =
            children.iter().map(|sid| app.token(*sid, &[Scope::PhonenumberManage])).collect();
        let rentals = (0..RENTERS).map(|n| {
            let base = if n % 2 == 0 { &app.base } else { &other };
            let request = app.request_to(Method::POST, &format!("{base}{DIDS}"));
            Answer::to(request.bearer_auth(&tokens[n % PARTNERS]).json(&json!({})))
        });
        let answers: Vec<_> = iter(rentals).buffer_unordered(IN_FLIGHT).collect().await;
        let rented: HashSet<String> = answers
            .iter()
            .map(|answer| answer.expect(200)["phonenumber"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(rented.len(), RENTERS);
        assert!(!rented.contains(app.partner.available));
        sqlx::query("rollback").execute(&mut connection).await.unwrap();
        server.stop(false).await;
    });
}
