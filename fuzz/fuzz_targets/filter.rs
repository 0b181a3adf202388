//! The filter language: no text makes the parser panic, and what it takes becomes SQL in which nothing of the text stands.
//!
//! `cargo install cargo-fuzz`, then `cargo fuzz run --sanitizer none filter -- -dict=fuzz/words.dict`; it works on stable Rust.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shortline::store::list::{Filter, Target};
use shortline::short_codes::ShortCode;
use sqlx::QueryBuilder;

fuzz_target!(|text: &str| {
    if let Ok(filter) = Filter::parse(text, Target::of::<ShortCode>) {
        let mut sql = QueryBuilder::new("");
        filter.push(&mut sql);
        let sql = sql.sql();
        let sql = sql.as_str();
        // Our SQL has quotes around the names of JSON types, `{}`, `C` and the empty escape alone.
        let ours = sql.chars().all(|c| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || " _$.,:()#<>='{}\"C-".contains(c)
        });
        assert!(ours, "{text} became {sql}");
    }
});
