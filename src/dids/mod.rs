//! Phone numbers (DIDs) that partners rent. Each rental is an object of its own, with its own sid
//! and history; the stock that numbers are rented from is in `did_stock`.

mod did;
pub mod handlers;
mod members;
mod rental;
mod sample;

pub use self::did::{Did, DidChanges, NewDid};
pub use self::members::{Capabilities, DidStatus, Price};
pub use self::rental::{RentalRules, end_aging};
