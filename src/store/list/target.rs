//! The targets of conditions and orders: members, and keys inside them.

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
    /// Returns the target called `name`: a member of `R`, or with keys after dots, a value inside
    /// its nested object. `None` if it cannot be compared.
    pub fn of<R: Resource>(name: &str) -> Option<Self> {
        let (member, path) =
            name.split_once('.').map_or((name, None), |(member, path)| (member, Some(path)));
        let (column, kind) = R::comparable(member)?;
        let path: Vec<String> =
            path.into_iter().flat_map(|path| path.split('.')).map(str::to_owned).collect();
        // A nested object compares by its keys only; no other member has keys.
        let is_valid =
            (kind == Kind::Json) != path.is_empty() && !path.iter().any(String::is_empty);
        is_valid.then_some(Self { column, path, kind })
    }
}

/// Returns a column as an expression to sort by. Sids sort as text, which is the same order. Their
/// index covers all tenants, and a list that used it would read the rows of all of them.
pub(super) fn sortable(column: &'static str) -> &'static str {
    if column == "sid" { r#"sid::text collate "C""# } else { column }
}
