//! Lists, the same for every resource: filter, order and page.

mod filter;
mod order;
mod query;
mod target;

pub use filter::{Filter, FilterError};
pub use order::{Direction, Order};
pub use query::{Page, Query, Start};
pub use target::Target;
