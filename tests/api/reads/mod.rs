//! Reads: lists, filters and history.

mod deleted;
mod filters;
mod history;
mod keyset;
mod lists;
mod page_size;
mod resolve;
mod stock;
mod time_limit;
mod totals;

use reqwest::Method;
use serde_json::Value;

use crate::support::{Answer, App, CODES};

/// The numbers of the short codes on a page.
async fn numbers(app: &App, query: &[(&str, &str)]) -> Vec<String> {
    let page = Answer::to(app.request(Method::GET, CODES).query(query)).await.expect(200);
    numbers_of(&page)
}

fn numbers_of(page: &Value) -> Vec<String> {
    let number = |item: &Value| item["short_code"].as_str().unwrap().to_owned();
    page["items"].as_array().unwrap().iter().map(number).collect()
}

/// The field and the text of the error of a list with invalid arguments.
async fn rejected(app: &App, query: &[(&str, &str)]) -> (String, String) {
    let answer = Answer::to(app.request(Method::GET, CODES).query(query)).await;
    let text = answer.text.clone();
    (answer.expect_error(400, "bad request").concat(), text)
}
