//! Renting, releasing and restoring: what happens to a number of the stock when a rental begins or
//! ends. Each function takes part in the transaction that creates or deletes the rental.

use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::did::{Did, NewDid, invalid_group};
use crate::auth::Actor;
use crate::did_groups::DidGroup;
use crate::error::{ApiError, FieldError};
use crate::input::patch::Patch;
use crate::input::phone_number::PhoneNumber;
use crate::input::types::Nested;
use crate::settings::Settings;
use crate::store::{self, Resource};

/// The limits of rentals.
#[derive(Clone, Copy, Debug)]
pub struct RentalRules {
    /// The most numbers that a partner can rent; without a limit if `None`.
    pub limit: Option<u32>,
    /// How long a released number is not available, in days.
    pub aging_days: u32,
}

impl Did {
    /// Returns the rental of a number by any partner.
    ///
    /// # Errors
    /// If the database is not available.
    pub async fn find(
        connection: &mut PgConnection,
        number: &PhoneNumber,
    ) -> Result<Option<Self>, sqlx::Error> {
        let find = "select * from dids where e164 = '+' || $1";
        sqlx::query_as(find).bind(number).fetch_optional(connection).await
    }
}

/// A number of the stock that is locked for a rental.
#[derive(FromRow)]
struct Found {
    sid: Uuid,
    is_available: bool,
}

impl NewDid {
    /// Takes the number from the stock and returns the rental of it, which belongs to the actor's
    /// partner.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] if the number is in no stock that the partner can rent from, or none
    /// is left; [`ApiError::Conflict`] if the number is not available or the partner rents too
    /// many.
    pub async fn rent(
        self,
        connection: &mut PgConnection,
        actor: &Actor,
        rules: &RentalRules,
    ) -> Result<Did, ApiError> {
        let partner_sid = actor.own_partner_sid()?;
        rules.check_limit(connection, partner_sid).await?;
        self.rent_for(connection, partner_sid, Uuid::now_v7()).await
    }

    /// Rents the number for that partner, as [`Self::rent`], with that sid and without a limit.
    ///
    /// # Errors
    /// As [`Self::rent`].
    pub async fn rent_for(
        self,
        connection: &mut PgConnection,
        partner_sid: Uuid,
        did_sid: Uuid,
    ) -> Result<Did, ApiError> {
        let Self { phonenumber, writable } = self;
        let assigned = match phonenumber {
            Some(number) => assign(connection, partner_sid, did_sid, &number).await,
            None => assign_first(connection, partner_sid, did_sid).await,
        };
        let number = match assigned {
            Err(ApiError::Invalid(mut errors)) => {
                if !has_group(connection, partner_sid, &writable.did_group_sid).await? {
                    errors.push(invalid_group());
                }
                return Err(ApiError::Invalid(errors));
            }
            assigned => assigned?,
        };
        let mut new = Did { did_sid, partner_sid: Some(partner_sid), ..number };
        new.change(writable, Nested::Replace)?;
        Ok(new)
    }
}

/// Assigns a number to the rental of that sid.
async fn assign(
    connection: &mut PgConnection,
    partner_sid: Uuid,
    did_sid: Uuid,
    number: &PhoneNumber,
) -> Result<Did, ApiError> {
    let found: Option<Found> = sqlx::query_as(
        "select sid,
             status = 'available' or status = 'aging' and aging_until <= now() as is_available
         from did_stock
         where e164 = '+' || $1 and exists (
             select from partner_tree
             where descendant_sid = $2 and ancestor_sid = stock_partner_sid)
         for update",
    )
    .bind(number)
    .bind(partner_sid)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(Found { sid, is_available }) = found else {
        let message = "must be in a stock that your partner can rent from";
        return Err(ApiError::invalid("phonenumber", message));
    };
    if !is_available {
        let message = "is not available; choose a number of /phonenumber/available_dids";
        return Err(ApiError::Conflict(FieldError::new("phonenumber", message)));
    }
    let assign = "update did_stock set status = 'assigned', rental_sid = $2, aging_until = null
                  where sid = $1 returning did_stock.*";
    Ok(sqlx::query_as(assign).bind(sid).bind(did_sid).fetch_one(connection).await?)
}

/// Assigns the first available number to the rental of that sid: of the nearest ancestor's stock
/// the oldest entry. Numbers that another transaction is about to rent are skipped, so that no
/// rental waits for another one.
async fn assign_first(
    connection: &mut PgConnection,
    partner_sid: Uuid,
    did_sid: Uuid,
) -> Result<Did, ApiError> {
    // The lateral join reads the stocks in the order of `stocks` and ends with the first number, so
    // that it locks no other one. The nearest ancestor is the one with the most ancestors.
    let assign = "
        update did_stock set status = 'assigned', rental_sid = $2
        where sid = (
            select number.sid
            from (
                select ancestor_sid as stock_partner_sid
                from partner_tree as tree
                where descendant_sid = $1
                order by (
                    select count(*) from partner_tree as above
                    where above.descendant_sid = tree.ancestor_sid
                ) desc
            ) as stocks
            cross join lateral (
                select sid from did_stock
                where did_stock.stock_partner_sid = stocks.stock_partner_sid
                  and status = 'available'
                order by ordinal limit 1
                for update skip locked
            ) as number
            limit 1
        )
        returning did_stock.*";
    let assigned: Option<Did> = sqlx::query_as(assign)
        .bind(partner_sid)
        .bind(did_sid)
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(number) = assigned {
        return Ok(number);
    }
    let exists = "select exists (
                      select from partner_tree
                      join did_stock on stock_partner_sid = ancestor_sid and status = 'available'
                      where descendant_sid = $1)";
    if sqlx::query_scalar(exists).bind(partner_sid).fetch_one(connection).await? {
        // Other requests are about to rent those that are left, and may fail.
        return Err(ApiError::Unavailable(None));
    }
    Err(ApiError::invalid("phonenumber", "no number is available in the stocks of your partner"))
}

/// Whether the group is one of the partner's, or none.
async fn has_group(
    connection: &mut PgConnection,
    partner_sid: Uuid,
    did_group_sid: &Patch<Uuid>,
) -> Result<bool, ApiError> {
    let Patch::Value(sid) = *did_group_sid else { return Ok(true) };
    let groups = store::get_many::<DidGroup>(connection, &Actor::operator(), &[sid]).await?;
    Ok(groups.iter().any(|group| Resource::partner_sid(group) == partner_sid))
}

impl RentalRules {
    /// Returns the limits that the settings define.
    pub fn from_settings(settings: &Settings) -> Self {
        Self { limit: settings.did_rentals, aging_days: settings.did_aging_days }
    }

    /// The most numbers that a partner can rent. `None` if they are not limited.
    pub fn limit(&self) -> Option<u32> {
        self.limit
    }

    /// Checks whether the partner can rent another number. Other transactions that check the same
    /// partner wait until this one has ended, so that together they cannot exceed the limit.
    async fn check_limit(
        &self,
        connection: &mut PgConnection,
        partner_sid: Uuid,
    ) -> Result<(), ApiError> {
        /// The key of these locks: "rent" in ASCII. The second key is the hash of the partner.
        const LOCKS: i32 = 0x7265_6e74;
        let Some(limit) = self.limit else { return Ok(()) };
        sqlx::query("select pg_advisory_xact_lock($1, hashtext($2::text))")
            .bind(LOCKS)
            .bind(partner_sid)
            .execute(&mut *connection)
            .await?;
        // A statement of its own, which sees what was committed before the lock was free.
        let rentals: i64 = sqlx::query_scalar(
            "select count(*) from (
                 select from dids where partner_sid = $1 limit $2
             ) as rentals",
        )
        .bind(partner_sid)
        .bind(i64::from(limit))
        .fetch_one(connection)
        .await?;
        if rentals < i64::from(limit) {
            return Ok(());
        }
        let message = format!("your partner already rents {limit} numbers, which is the limit");
        Err(ApiError::Conflict(FieldError::general(message)))
    }

    /// Returns the number of a rental that was deleted to the stock.
    ///
    /// # Errors
    /// As this module.
    pub async fn release(&self, connection: &mut PgConnection, did: &Did) -> Result<(), ApiError> {
        let statement = "
            update did_stock set
                status = case when $3 > 0 then 'aging' else 'available' end,
                rental_sid = case when $3 > 0 then rental_sid end,
                aging_until = case when $3 > 0 then now() + make_interval(days => $3) end
            where e164 = '+' || $1 and rental_sid = $2";
        sqlx::query(statement)
            .bind(&did.phonenumber)
            .bind(did.did_sid)
            .bind(self.aging_days.cast_signed())
            .execute(connection)
            .await?;
        Ok(())
    }

    /// Takes the number of a rental that is restored from the stock again.
    ///
    /// # Errors
    /// [`ApiError::Conflict`] if its aging is over, or the partner rents too many.
    pub async fn take_back(
        &self,
        connection: &mut PgConnection,
        did: &Did,
    ) -> Result<(), ApiError> {
        self.check_limit(connection, did.partner_sid()).await?;
        let statement = "update did_stock set status = 'assigned', aging_until = null
                         where e164 = '+' || $1 and rental_sid = $2
                           and status = 'aging' and aging_until > now()";
        let taken = sqlx::query(statement)
            .bind(&did.phonenumber)
            .bind(did.did_sid)
            .execute(connection)
            .await?;
        if taken.rows_affected() == 1 {
            return Ok(());
        }
        let message = "its aging is over, so the rental cannot be restored; rent it again";
        Err(ApiError::Conflict(FieldError::new("phonenumber", message)))
    }
}

/// Makes the numbers available whose aging is over, in small batches.
///
/// # Errors
/// If the database is not available.
pub async fn end_aging(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    const BATCH: i64 = 1_000;
    let statement = "
        update did_stock set status = 'available', rental_sid = null, aging_until = null
        where sid = any(array(
            select sid from did_stock
            where status = 'aging' and aging_until <= now()
            order by aging_until limit $1
            for update skip locked
        ))";
    loop {
        let ended = sqlx::query(statement).bind(BATCH).execute(&mut *connection).await?;
        if ended.rows_affected() < BATCH as u64 {
            return Ok(());
        }
    }
}
