//! Reads: lists and history.

mod history;
mod lists;
