//! Partners: the tenants. They form a tree by `parent_sid`.

pub mod handlers;
mod new_partner;
mod partner;

pub use new_partner::{DescendantLimit, NewPartner};
pub use partner::{MAX_DEPTH, Partner, PartnerChanges, Party, Status};
