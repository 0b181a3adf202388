//! Lists of objects: filter, order and page. They are the same for every resource.

mod filter;
mod order;
mod page_size;
mod query;
mod target;

pub use filter::{Filter, FilterError};
pub use order::{Direction, Order};
pub use page_size::PageSize;
pub(super) use query::{Owners, push_visible};
pub use query::{Page, Query, Start};
pub use target::Target;
