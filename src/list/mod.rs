//! Listing, the same way for every resource: filter, order, page, pick members.

mod filter;
mod order;
mod selection;

use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

pub use filter::{Filter, FilterError};
pub use order::{Direction, Order};
pub use selection::Selection;

use crate::auth::Reach;
use crate::store::{Resource, columns};

/// How a member's values compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By code point.
    Text,
    /// As the text of a UUID in lower case.
    Sid,
    /// In time.
    Date,
    /// By the key below it, and by its JSON type.
    Json,
}

/// What a condition or an order speaks of: a column, or a key inside a nested object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The column.
    pub column: &'static str,
    /// The keys below it, outermost first.
    pub path: Vec<String>,
    /// How its values compare.
    pub kind: Kind,
}

impl Target {
    /// The member of `R` called `name`; with a key after a dot, that key inside the nested object.
    pub fn of<R: Resource>(name: &str) -> Option<Self> {
        let (member, path) =
            name.split_once('.').map_or((name, None), |(member, path)| (member, Some(path)));
        let (column, kind) = R::comparable(member)?;
        let path: Vec<String> =
            path.into_iter().flat_map(|path| path.split('.')).map(str::to_owned).collect();
        // A nested object compares by its keys alone, everything else has none.
        let fits = (kind == Kind::Json) != path.is_empty() && !path.iter().any(String::is_empty);
        fits.then_some(Self { column, path, kind })
    }
}

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// After so many rows.
    Offset(i64),
    /// After the row of this sid, in the order of creation.
    After(Uuid),
    /// So that the row of this sid follows it, in the order of creation.
    Before(Uuid),
}

/// Which rows, in which order, from where, and how many.
#[derive(Clone, Debug)]
pub struct Query {
    /// The rows.
    pub filter: Filter,
    /// Their order.
    pub order: Order,
    /// Where the page begins.
    pub start: Start,
    /// How many rows it has at most.
    pub limit: i64,
}

/// A page of rows.
#[derive(Debug)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Whether there are rows before the page.
    pub has_previous: bool,
    /// Whether there are rows after it.
    pub has_next: bool,
    /// How many rows there are on all pages.
    pub total: i64,
}

impl Query {
    /// How many rows are skipped before the page; none where it begins at a row.
    pub fn offset(&self) -> i64 {
        match self.start {
            Start::Offset(offset) => offset,
            Start::After(_) | Start::Before(_) => 0,
        }
    }

    /// The statement for the page and one row more. `anchor` is the place of the row that the page begins after or ends before.
    pub(crate) fn page<R: Resource>(
        &self,
        reach: Reach,
        anchor: Option<i64>,
    ) -> QueryBuilder<Postgres> {
        let (columns, owner, table) = (columns::<R>(), R::OWNER, R::TABLE);
        let order = match self.start {
            Start::Before(_) => " order by ordinal desc".to_owned(),
            Start::After(_) | Start::Offset(_) => self.order.sql(),
        };
        let (rows, skipped) = (self.limit + 1, self.offset());
        let mut sql = QueryBuilder::new(format!("select {columns} from "));
        match reach {
            // A page of every partner in the tree, merged: never all rows sorted. Until then a row is no more than its place and
            // what it is sorted by; those of the page alone are read whole.
            Reach::Tree(partner_sid) => {
                sql.push(format_args!("(select {owner} as owner, ordinal as place"))
                    .push(" from partner_tree cross join lateral (select * from ");
                self.push_rows::<R>(&mut sql, reach);
                self.push_side(&mut sql, anchor);
                sql.push(&order).push(" limit ").push_bind(rows.saturating_add(skipped));
                sql.push(") as rows where ancestor_sid = ").push_bind(partner_sid).push(&order);
                push_limit(&mut sql, rows, skipped);
                sql.push(format_args!(
                    ") as page join {table} on {owner} = page.owner and ordinal = page.place"
                ));
                sql.push(&order);
            }
            Reach::Own(_) | Reach::Everything => {
                self.push_rows::<R>(&mut sql, reach);
                self.push_side(&mut sql, anchor);
                sql.push(&order);
                push_limit(&mut sql, rows, skipped);
            }
        }
        sql
    }

    /// The statement that tells what the page itself does not: how many rows all pages have; the place of the row that this one
    /// begins at, if it is reached; and whether there is a row from there on, against the direction of the page.
    pub(crate) fn around<R: Resource>(&self, reach: Reach) -> QueryBuilder<Postgres> {
        let mut sql = QueryBuilder::new("");
        let (sid, side) = match self.start {
            Start::Offset(skipped) => {
                sql.push("select (");
                self.push_count::<R>(&mut sql, reach);
                sql.push("), null::bigint, ").push_bind(skipped > 0);
                return sql;
            }
            Start::After(sid) => (sid, "<="),
            Start::Before(sid) => (sid, ">="),
        };
        sql.push("with anchor as materialized (");
        push_place::<R>(&mut sql, reach, sid);
        sql.push(") select (");
        self.push_count::<R>(&mut sql, reach);
        sql.push("), (select ordinal from anchor), exists (");
        if let Reach::Tree(_) = reach {
            sql.push("select from partner_tree cross join lateral (");
        }
        sql.push("select from ");
        self.push_rows::<R>(&mut sql, reach);
        sql.push(format_args!(" and ordinal {side} (select ordinal from anchor) limit 1"));
        if let Reach::Tree(partner_sid) = reach {
            sql.push(") as rows where ancestor_sid = ").push_bind(partner_sid);
        }
        sql.push(")");
        sql
    }

    fn push_count<R: Resource>(&self, sql: &mut QueryBuilder<Postgres>, reach: Reach) {
        if let Reach::Tree(_) = reach {
            sql.push("select coalesce(sum(rows.count), 0)::bigint")
                .push(" from partner_tree cross join lateral (");
        }
        sql.push("select count(*) from ");
        self.push_rows::<R>(sql, reach);
        if let Reach::Tree(partner_sid) = reach {
            sql.push(") as rows where ancestor_sid = ").push_bind(partner_sid);
        }
    }

    /// The rows of the filter. Those of a tree are of one partner at a time, inside a lateral join with a limit or an aggregate: so
    /// the planner has no way to read the rows of all tenants and drop those that are not reached.
    fn push_rows<R: Resource>(&self, sql: &mut QueryBuilder<Postgres>, reach: Reach) {
        sql.push(R::TABLE).push(" where ");
        match reach {
            Reach::Own(partner_sid) => {
                sql.push(R::OWNER).push(" = ").push_bind(partner_sid);
            }
            Reach::Tree(_) => {
                sql.push(R::OWNER).push(" = descendant_sid");
            }
            Reach::Everything => {
                sql.push("true");
            }
        }
        self.filter.push(sql);
    }

    /// Only those on the page's side of the anchor.
    fn push_side(&self, sql: &mut QueryBuilder<Postgres>, anchor: Option<i64>) {
        match (self.start, anchor) {
            (Start::After(_), Some(anchor)) => sql.push(" and ordinal > ").push_bind(anchor),
            (Start::Before(_), Some(anchor)) => sql.push(" and ordinal < ").push_bind(anchor),
            _ => sql,
        };
    }
}

/// The place of the row of that sid in the order of creation.
fn push_place<R: Resource>(sql: &mut QueryBuilder<Postgres>, reach: Reach, sid: Uuid) {
    sql.push(format_args!("select ordinal from {} where sid = ", R::TABLE)).push_bind(sid);
    match reach {
        Reach::Own(partner_sid) => {
            sql.push(format_args!(" and {} = ", R::OWNER)).push_bind(partner_sid);
        }
        Reach::Tree(partner_sid) => {
            sql.push(" and exists (select from partner_tree where ancestor_sid = ")
                .push_bind(partner_sid)
                .push(format_args!(" and descendant_sid = {})", R::OWNER));
        }
        Reach::Everything => {}
    }
}

fn push_limit(sql: &mut QueryBuilder<Postgres>, rows: i64, skipped: i64) {
    sql.push(" limit ").push_bind(rows).push(" offset ").push_bind(skipped);
}
