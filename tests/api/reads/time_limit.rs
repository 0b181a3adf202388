//! Lists that cannot be completed in their time.

use futures_util::future::join;
use reqwest::Method;
use shortline::auth::Scope;

use crate::support::{Answer, App, GROUPS, check};

async fn execute(app: &App, statement: &'static str) {
    sqlx::raw_sql(statement).execute(&mut app.connection().await).await.unwrap();
}

#[test]
fn a_slow_list_is_the_clients_fault_only_if_it_ran_alone_without_an_index() {
    check(async |app| {
        // Every group takes longer than the time limit of a statement.
        execute(
            app,
            "alter table did_groups rename to fast;
             create view did_groups as select * from fast where pg_sleep(6) is not null",
        )
        .await;
        let filtered = format!("{GROUPS}?filter=name%20like%20%22x%25%22");
        // On a busy machine, maintenance can run a statement just when the list ends.
        let mut alone = app.get(&filtered).await;
        for _ in 0..2 {
            if alone.status == 503 {
                alone = app.get(&filtered).await;
            }
        }
        assert_eq!(alone.expect_error(400, "bad request"), ["filter"]);
        assert!(alone.text.contains("takes too long without an index"), "{}", alone.text);
        // Another partner's, which has a share of its own of the connections.
        let token = app.token(app.unrelated.sid, &[Scope::PhonenumberRead]);
        let other = app.anonymous(Method::GET, &filtered).bearer_auth(token);
        let (one, other) = join(app.get(&filtered), Answer::to(other)).await;
        for busy in [one, other] {
            assert_eq!(busy.expect_error(503, "service unavailable"), [""]);
            assert!(busy.header("retry-after").is_some());
        }
        execute(app, "drop view did_groups; alter table fast rename to did_groups").await;
    });
}
