//! The demo data, with which the samples of CarrierX's documentation work on this host.

use serde_json::json;
use sqlx::{Connection, PgConnection};
use time::Duration;
use uuid::{Uuid, uuid};

use crate::auth::{Actor, Scope};
use crate::did_groups::DidGroup;
use crate::did_stock::NewAvailableDid;
use crate::dids::NewDid;
use crate::error::ApiError;
use crate::input::date;
use crate::input::types::Name;
use crate::input::{Completeness, FromMember, Members};
use crate::oauth::OauthToken;
use crate::partners::Partner;
use crate::short_codes::NewShortCode;
use crate::store;

/// The token and the objects in the samples.
pub struct Sample {
    /// The bearer token of both samples.
    pub token: &'static str,
    /// The DID group of "Update DID Group", and its owner.
    pub did_group_sid: Uuid,
    did_group_partner_sid: Uuid,
    /// The short code of "Update Short Code", its group and the owner of both.
    short_code_sid: Uuid,
    short_code_group_sid: Uuid,
    short_code_partner_sid: Uuid,
}

/// The values in the samples.
pub const SAMPLE: Sample = Sample {
    token: "5ebc03d6-8b2b-44ad-bf65-72d4f1491dda",
    did_group_sid: uuid!("41e21049-e5eb-433c-a93d-d57417b1863c"),
    did_group_partner_sid: uuid!("e00430c3-a7d0-4666-ab5c-f7202448382f"),
    short_code_sid: uuid!("531f65b7-dff7-42b4-b638-597f91da9ccc"),
    short_code_group_sid: uuid!("9cf3c0aa-3f80-43f7-b8c2-8f88251ff562"),
    short_code_partner_sid: uuid!("b9ba2c8b-2368-4a0b-9ba0-866ff2618417"),
};

/// The partner above both owners. The token belongs to it, so that it can see the objects of both.
/// The samples do not name this partner.
const CARRIER: Uuid = uuid!("c0ffee00-0000-4000-8000-000000000001");

/// Creates the demo data if it does not exist.
///
/// # Errors
/// If the database is not available.
pub async fn load(connection: &mut PgConnection) -> anyhow::Result<()> {
    match store::get::<Partner>(&mut *connection, &Actor::operator(), CARRIER).await {
        Ok(_) => Ok(()),
        Err(ApiError::NoItem) => Ok(create(connection).await?),
        Err(error) => Err(error.into()),
    }
}

async fn create(connection: &mut PgConnection) -> Result<(), ApiError> {
    let operator = Actor::operator();
    let mut tx = connection.begin().await?;
    let carrier_scopes = Scope::DEFAULT.into_iter().chain([
        Scope::PhonenumberManageDescendant,
        Scope::AdminManage,
        Scope::EventsManage,
    ]);
    let children = [
        (SAMPLE.did_group_partner_sid, "Demo partner 1"),
        (SAMPLE.short_code_partner_sid, "Demo partner 2"),
    ];
    let carrier =
        Partner::new(&mut tx, CARRIER, None, name("Demo carrier"), carrier_scopes.collect())
            .await?;
    store::create_one(&mut tx, &operator, carrier).await?;
    for (sid, partner_name) in children {
        let scopes = Scope::DEFAULT.into_iter().collect();
        let partner = Partner::new(&mut tx, sid, Some(CARRIER), name(partner_name), scopes).await?;
        store::create_one(&mut tx, &operator, partner).await?;
    }

    let scopes =
        [Scope::PhonenumberManage, Scope::PhonenumberManageDescendant, Scope::EventsManage]
            .into_iter()
            .collect();
    let (now, century) = (date::now(), Duration::days(36_500));
    let token =
        OauthToken::with_secret(Uuid::now_v7(), CARRIER, scopes, SAMPLE.token, now, now + century);
    store::create_one(&mut tx, &operator, token).await?;

    let groups = vec![
        DidGroup {
            did_group_sid: SAMPLE.did_group_sid,
            ..DidGroup::new(SAMPLE.did_group_partner_sid)
        },
        DidGroup {
            did_group_sid: SAMPLE.short_code_group_sid,
            ..DidGroup::new(SAMPLE.short_code_partner_sid)
        },
    ];
    store::create_all(&mut tx, &operator, groups).await?;

    let members = json!({
        "did_group_sid": SAMPLE.short_code_group_sid,
        "name": "new short code name",
        "partner_sid": SAMPLE.short_code_partner_sid,
        "short_code": "26399",
        "state": "IL",
    });
    let members = members.as_object().cloned().unwrap_or_default();
    let code = Members::parse::<NewShortCode>(members, Completeness::Partial, false)?.input;
    store::create_one(&mut tx, &operator, code.build(SAMPLE.short_code_sid)?).await?;
    create_dids(&mut tx).await?;
    Ok(tx.commit().await?)
}

/// The first number of the stock, which the owner of the DID group rents, and others.
const RENTED: &str = "15162065574";
const AVAILABLE: [(&str, &str); 4] =
    [("15165550100", "NY"), ("15165550101", "NY"), ("12125550102", "NY"), ("13125550103", "IL")];

/// The sid of the rental.
const RENTAL: Uuid = uuid!("7d9a41f2-6c0e-4b57-9a52-1d1c3f0e8b64");

async fn create_dids(tx: &mut PgConnection) -> Result<(), ApiError> {
    let operator = Actor::operator();
    let number = |number: &str, state: &str| {
        let members = json!({
            "capabilities": 7, "phonenumber": number, "price": "0.6", "state": state,
        });
        let members = members.as_object().cloned().unwrap_or_default();
        let parsed = Members::parse::<NewAvailableDid>(members, Completeness::Partial, false)?;
        Ok(parsed.input.build(Uuid::now_v7(), CARRIER))
    };
    let stock = [(RENTED, "NY")].into_iter().chain(AVAILABLE);
    let stock = stock.map(|(digits, state)| number(digits, state));
    let stock = stock.collect::<Result<Vec<_>, ApiError>>()?;
    store::create_all(tx, &operator, stock).await?;
    let rental = json!({"did_group_sid": SAMPLE.did_group_sid, "phonenumber": RENTED});
    let rental = rental.as_object().cloned().unwrap_or_default();
    let rental = Members::parse::<NewDid>(rental, Completeness::Partial, false)?.input;
    let rental = rental.rent_for(tx, SAMPLE.did_group_partner_sid, RENTAL).await?;
    store::create_one(tx, &operator, rental).await?;
    Ok(())
}

fn name(text: &str) -> Name {
    Name::from_member(text.into()).unwrap_or_default()
}
