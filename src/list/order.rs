//! The order of a list.

use super::{Kind, Target};
use crate::store::Resource;

/// In which order the rows of a list come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// In that of their creation.
    #[default]
    Creation,
    /// In none: another one at every request.
    Shuffled,
    /// By these columns, those first named weighing most; ties by sid. Nulls come last in ascending order.
    By(Vec<(&'static str, Direction)>),
}

/// Up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The smallest first.
    Ascending,
    /// The largest first.
    Descending,
}

impl Order {
    /// Reads `member`, `member asc`, `member desc` or `shuffle`, or several members with commas between them.
    ///
    /// # Errors
    /// What is wrong, for people.
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

/// A column as it is put in order. A sid is as text, which sorts the same: the index of sids is of all tenants, and would lead a
/// list over their rows.
pub(super) fn sortable(column: &'static str) -> &'static str {
    if column == "sid" { r#"sid::text collate "C""# } else { column }
}

fn key<R: Resource>(text: &str) -> Result<(&'static str, Direction), String> {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap_or_default();
    let direction = match words.next().map(str::to_ascii_lowercase).as_deref() {
        None | Some("asc") => Direction::Ascending,
        Some("desc") => Direction::Descending,
        Some(other) => return Err(format!("after a member comes `asc` or `desc`, not `{other}`")),
    };
    match (Target::of::<R>(name), words.next()) {
        (Some(target), None) if target.kind != Kind::Json => Ok((target.column, direction)),
        (_, Some(more)) => Err(format!("between members comes a comma, not `{more}`")),
        _ => Err(format!("cannot order by `{name}`")),
    }
}
