//! The query of a list, and the statements that read its page.

use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::filter::Filter;
use super::order::Order;
use crate::auth::Visibility;
use crate::store::counts;
use crate::store::resource::Resource;
use crate::store::sql::{ORDINAL, columns_without};

/// The position of a page in its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The page starts after that number of rows.
    Offset(i64),
    /// The page starts after the row of that sid, in the order of creation.
    After(Uuid),
    /// The page ends before the row of that sid, in the order of creation.
    Before(Uuid),
}

/// The rows of a list, their order and the page.
#[derive(Clone, Debug)]
pub struct Query {
    /// The conditions of the client that the rows meet.
    pub filter: Filter,
    /// The conditions of the operation that the rows meet.
    pub subset: Filter,
    /// The order of the rows.
    pub order: Order,
    /// The position of the page.
    pub start: Start,
    /// The most rows of the page.
    pub limit: i64,
    /// Whether the rows of all pages are counted.
    pub counts: bool,
    /// The nested members that are not shown and therefore not read.
    pub omitted: Vec<&'static str>,
}

/// A page of rows.
#[derive(Debug)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Whether rows precede the page.
    pub has_previous: bool,
    /// Whether rows follow the page.
    pub has_next: bool,
    /// The number of rows of all pages, if they were counted.
    pub total: Option<i64>,
}

impl Query {
    /// Returns the argument because of which the list cannot use an index, and what would help.
    pub(crate) fn unindexed<R: Resource>(&self) -> Option<(&'static str, String)> {
        let help = match R::INDEXED {
            [] => "ask for fewer objects".to_owned(),
            members => format!("add a condition with `eq` or `in` on {}", members.join(", ")),
        };
        if self.filter.scans(R::INDEXED) {
            return Some(("filter", format!("takes too long without an index; {help}")));
        }
        let is_sorted = self.order != Order::Creation;
        is_sorted
            .then(|| ("order", format!("takes too long without an index; leave it out or {help}")))
    }

    /// The number of rows that are skipped; 0 if the page starts at a row.
    pub fn offset(&self) -> i64 {
        match self.start {
            Start::Offset(offset) => offset,
            Start::After(_) | Start::Before(_) => 0,
        }
    }

    /// The statement that reads the page and one more row. `anchor` is the ordinal of the row that
    /// the page starts after or ends before.
    pub(crate) fn page<R: Resource>(
        &self,
        visibility: Visibility,
        anchor: Option<i64>,
    ) -> QueryBuilder<Postgres> {
        let (columns, owner, table) = (columns_without::<R>(&self.omitted), R::OWNER, R::TABLE);
        let order = match self.start {
            Start::Before(_) => " order by ordinal desc".to_owned(),
            Start::After(_) | Start::Offset(_) => self.order.sql(),
        };
        let (rows, skipped) = (self.limit + 1, self.offset());
        let mut sql = QueryBuilder::new(format!("select {columns} from "));
        match Owners::of(visibility) {
            // Merges a page of each partner in the tree, so that not all rows are sorted. The
            // inner query carries ordinals and sort keys; only the rows of the page are read whole.
            Owners::Relatives { partner_sid, of, .. } => {
                sql.push(format_args!("(select {owner} as owner, ordinal as row_ordinal"))
                    .push(" from partner_tree cross join lateral (select * from ");
                self.push_rows::<R>(&mut sql, visibility);
                self.push_side(&mut sql, anchor);
                sql.push(&order).push(" limit ").push_bind(rows.saturating_add(skipped));
                sql.push(format_args!(") as rows where {of} = "));
                sql.push_bind(partner_sid).push(&order);
                push_limit(&mut sql, rows, skipped);
                sql.push(format_args!(
                    ") as page join {table} on {owner} = page.owner and ordinal = page.row_ordinal"
                ));
                // Again, for an index of the rows that meet these conditions.
                self.subset.push(&mut sql);
                sql.push(&order);
            }
            Owners::One(_) | Owners::All => {
                self.push_rows::<R>(&mut sql, visibility);
                self.push_side(&mut sql, anchor);
                sql.push(&order);
                push_limit(&mut sql, rows, skipped);
            }
        }
        sql
    }

    /// The statement that reads the position of the page: the number of rows of all pages, if they
    /// are counted; the ordinal of the row that the page starts at, if it is or was visible; and
    /// whether rows precede that row, in the direction of the page.
    pub(crate) fn around<R: Resource>(&self, visibility: Visibility) -> QueryBuilder<Postgres> {
        let mut sql = QueryBuilder::new("");
        let (sid, side) = match self.start {
            Start::Offset(skipped) => {
                sql.push("select (");
                self.push_count::<R>(&mut sql, visibility);
                sql.push("), null::bigint, ").push_bind(skipped > 0);
                return sql;
            }
            Start::After(sid) => (sid, "<="),
            Start::Before(sid) => (sid, ">="),
        };
        sql.push("with anchor as materialized (");
        push_ordinal::<R>(&mut sql, visibility, sid);
        sql.push(") select (");
        self.push_count::<R>(&mut sql, visibility);
        sql.push("), (select ordinal from anchor), exists (");
        let owners = Owners::of(visibility);
        if let Owners::Relatives { .. } = owners {
            sql.push("select from partner_tree cross join lateral (");
        }
        sql.push("select from ");
        self.push_rows::<R>(&mut sql, visibility);
        sql.push(format_args!(" and ordinal {side} (select ordinal from anchor) limit 1"));
        owners.push_end(&mut sql);
        sql.push(")");
        sql
    }

    fn push_count<R: Resource>(&self, sql: &mut QueryBuilder<Postgres>, visibility: Visibility) {
        if !self.counts {
            sql.push("null::bigint");
            return;
        }
        let owners = Owners::of(visibility);
        if let Owners::Relatives { .. } = owners {
            sql.push("select coalesce(sum(rows.count), 0)::bigint")
                .push(" from partner_tree cross join lateral (");
        }
        if self.filter.is_empty() && self.subset.is_empty() && counts::are_stored(R::KIND) {
            sql.push("select coalesce(sum(change), 0)::bigint as count from object_counts where ");
            owners.push_each(sql, "partner_sid");
            sql.push(format_args!(" and kind = '{}'", R::KIND));
        } else {
            sql.push("select count(*) from ");
            self.push_rows::<R>(sql, visibility);
        }
        owners.push_end(sql);
    }

    /// Appends the rows that meet the conditions. The rows of a tree are read one partner at a
    /// time, in a lateral join with a limit or an aggregate, so that the planner cannot read the
    /// rows of all tenants and discard those that are not visible.
    fn push_rows<R: Resource>(&self, sql: &mut QueryBuilder<Postgres>, visibility: Visibility) {
        sql.push(R::TABLE).push(" where ");
        Owners::of(visibility).push_each(sql, R::OWNER);
        self.subset.push(sql);
        self.filter.push(sql);
    }

    /// Restricts the rows to the page's side of the anchor.
    fn push_side(&self, sql: &mut QueryBuilder<Postgres>, anchor: Option<i64>) {
        match (self.start, anchor) {
            (Start::After(_), Some(anchor)) => sql.push(" and ordinal > ").push_bind(anchor),
            (Start::Before(_), Some(anchor)) => sql.push(" and ordinal < ").push_bind(anchor),
            _ => sql,
        };
    }
}

/// The partners whose rows a list reads.
pub(in crate::store) enum Owners {
    One(Uuid),
    /// The relatives of a partner: the column of the tree that holds the partner, and the one that
    /// holds each relative.
    Relatives {
        partner_sid: Uuid,
        of: &'static str,
        each: &'static str,
    },
    All,
}

impl Owners {
    pub fn of(visibility: Visibility) -> Self {
        let (ancestor, descendant) = ("ancestor_sid", "descendant_sid");
        match visibility {
            Visibility::Own(partner_sid) => Self::One(partner_sid),
            Visibility::Subtree(partner_sid) => {
                Self::Relatives { partner_sid, of: ancestor, each: descendant }
            }
            Visibility::Ancestors(partner_sid) => {
                Self::Relatives { partner_sid, of: descendant, each: ancestor }
            }
            Visibility::All => Self::All,
        }
    }

    /// Appends the condition that the column names the partner, or the one of the tree whose rows
    /// are read.
    fn push_each(&self, sql: &mut QueryBuilder<Postgres>, column: &str) {
        match self {
            Self::One(partner_sid) => {
                sql.push(format_args!("{column} = ")).push_bind(*partner_sid);
            }
            Self::Relatives { each, .. } => {
                sql.push(format_args!("{column} = {each}"));
            }
            Self::All => {
                sql.push("true");
            }
        }
    }

    /// Appends the end of a lateral join with the tree.
    fn push_end(&self, sql: &mut QueryBuilder<Postgres>) {
        if let Self::Relatives { partner_sid, of, .. } = self {
            sql.push(format_args!(") as rows where {of} = ")).push_bind(*partner_sid);
        }
    }
}

/// Appends the query for the ordinal of the row of that sid, if it is visible. If the row was
/// deleted, the entry of the deletion records the ordinal; otherwise it is null.
fn push_ordinal<R: Resource>(sql: &mut QueryBuilder<Postgres>, visibility: Visibility, sid: Uuid) {
    sql.push(format_args!("select coalesce((select ordinal from {} where sid = ", R::TABLE))
        .push_bind(sid);
    push_visible(sql, visibility, R::OWNER);
    sql.push(format_args!(
        "), (select {ORDINAL} from history where kind = '{}' and sid = ",
        R::KIND
    ))
    .push_bind(sid);
    push_visible(sql, visibility, "partner_sid");
    sql.push(" order by version desc limit 1)) as ordinal");
}

/// Appends the condition that the partner in that column is visible.
pub(in crate::store) fn push_visible(
    sql: &mut QueryBuilder<Postgres>,
    visibility: Visibility,
    owner: &str,
) {
    match Owners::of(visibility) {
        Owners::One(partner_sid) => {
            sql.push(format_args!(" and {owner} = ")).push_bind(partner_sid);
        }
        Owners::Relatives { partner_sid, of, each } => {
            sql.push(format_args!(" and exists (select from partner_tree where {of} = "))
                .push_bind(partner_sid)
                .push(format_args!(" and {each} = {owner})"));
        }
        Owners::All => {}
    }
}

fn push_limit(sql: &mut QueryBuilder<Postgres>, rows: i64, skipped: i64) {
    sql.push(" limit ").push_bind(rows).push(" offset ").push_bind(skipped);
}
