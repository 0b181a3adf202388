//! The order of a list.

use super::target::{Target, sortable};
use crate::store::resource::{Kind, Resource};

/// The order of the rows of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The order of creation.
    #[default]
    Creation,
    /// A new random order for each request.
    Shuffled,
    /// By these columns, then by sid. Nulls are last in ascending order.
    By(Vec<(&'static str, Direction)>),
}

/// The direction of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

impl Order {
    /// Parses `<member>`, `<member> asc`, `<member> desc`, `shuffle`, or a comma-separated list of
    /// members.
    ///
    /// # Errors
    /// A message that says what was found and what was expected.
    pub fn parse<R: Resource>(text: &str) -> Result<Self, String> {
        if text.trim().eq_ignore_ascii_case("shuffle") {
            return Ok(Self::Shuffled);
        }
        text.split(',').map(key::<R>).collect::<Result<_, _>>().map(Self::By)
    }

    pub(super) fn sql(&self) -> String {
        match self {
            Self::Creation => " order by ordinal".to_owned(),
            Self::Shuffled => " order by random()".to_owned(),
            Self::By(keys) => {
                let keys: String = keys
                    .iter()
                    .map(|(column, direction)| (sortable(column), direction))
                    .map(|(column, direction)| match direction {
                        Direction::Ascending => format!("{column}, "),
                        Direction::Descending => format!("{column} desc, "),
                    })
                    .collect();
                format!(" order by {keys}sid")
            }
        }
    }
}

fn key<R: Resource>(text: &str) -> Result<(&'static str, Direction), String> {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap_or_default();
    let direction = match words.next().map(str::to_ascii_lowercase).as_deref() {
        None | Some("asc") => Direction::Ascending,
        Some("desc") => Direction::Descending,
        Some(other) => return Err(format!("expected `asc` or `desc`, found `{other}`")),
    };
    match (Target::of::<R>(name), words.next()) {
        (Some(target), None) if target.kind != Kind::Json => Ok((target.column, direction)),
        (_, Some(more)) => Err(format!("expected a comma or the end, found `{more}`")),
        _ => Err(format!("cannot order by `{name}`; expected a member with a single value")),
    }
}
