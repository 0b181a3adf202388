//! What a condition or an order refers to.

use crate::store::resource::{Kind, Resource};

/// A column, or a key inside a nested object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The column.
    pub column: &'static str,
    /// The keys inside the object, outermost first.
    pub path: Vec<String>,
    /// How the values compare.
    pub kind: Kind,
}

impl Target {
    /// The member of `R` called `name`, or with a key after a dot, that key inside the nested object.
    pub fn of<R: Resource>(name: &str) -> Option<Self> {
        let (member, path) =
            name.split_once('.').map_or((name, None), |(member, path)| (member, Some(path)));
        let (column, kind) = R::comparable(member)?;
        let path: Vec<String> =
            path.into_iter().flat_map(|path| path.split('.')).map(str::to_owned).collect();
        // A nested object compares by its keys only; no other member has keys.
        let fits = (kind == Kind::Json) != path.is_empty() && !path.iter().any(String::is_empty);
        fits.then_some(Self { column, path, kind })
    }
}

/// A column as an order refers to it. A sid sorts as its text, in the same order: the index of sids
/// covers all tenants, and a list that used it would read their rows.
pub(super) fn sortable(column: &'static str) -> &'static str {
    if column == "sid" { r#"sid::text collate "C""# } else { column }
}
