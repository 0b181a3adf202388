//! Reads: objects, lists and their history.

mod history;
mod lists;
