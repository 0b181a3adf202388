//! Writes: PATCH, PUT, POST and DELETE, alone and concurrently.

mod batching;
mod bodies;
mod callback_urls;
mod concurrency;
mod conditional;
mod dids;
mod dry_run;
mod idempotency;
mod objects;
mod patch;
mod put;
mod renters;
