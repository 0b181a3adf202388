//! The tenants of every test, with fixed sids.

use std::time::Duration;

use serde_json::{Value, json};
use shortline::auth::{Actor, Keys, Scope};
use shortline::did_groups::DidGroup;
use shortline::did_stock::{AvailableDid, NewAvailableDid};
use shortline::dids::NewDid;
use shortline::input::types::Name;
use shortline::input::{Completeness, FromMember, Members};
use shortline::oauth::OauthToken;
use shortline::partners::Partner;
use shortline::settings::TokenFormat;
use shortline::short_codes::{NewShortCode, ShortCode};
use shortline::store;
use shortline::webhooks::{AddressRules, EndpointRules, NewEventEndpoint, SecretBox};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{App, settings};

/// A partner with one token, one DID group, one short code, and a stock of two phone numbers, of which
/// it rents one.
pub struct Tenant {
    pub sid: Uuid,
    pub token_sid: Uuid,
    pub group_sid: Uuid,
    pub code_sid: Uuid,
    /// The phone number that it rents.
    pub did_sid: Uuid,
    pub rented: &'static str,
    /// The available phone number of its stock.
    pub stock_sid: Uuid,
    pub available: &'static str,
    /// A webhook endpoint, which is disabled.
    pub endpoint_sid: Uuid,
    parent_sid: Option<Uuid>,
    short_code: &'static str,
}

/// A partner without a parent.
pub const PARTNER: Tenant = Tenant::new(1, "10001", "12125550101", "13125550201");
/// The only child of [`PARTNER`].
pub const CHILD: Tenant = Tenant {
    parent_sid: Some(PARTNER.sid),
    ..Tenant::new(2, "10002", "12125550102", "13125550202")
};
/// Another partner without a parent.
pub const UNRELATED: Tenant = Tenant::new(3, "10003", "12125550103", "13125550203");

/// Creates the tenants in a migrated database.
pub async fn create_tenants(connection: &mut PgConnection) {
    for tenant in [PARTNER, CHILD, UNRELATED] {
        tenant.create(connection).await;
    }
}

impl Tenant {
    const fn new(
        number: u128,
        short_code: &'static str,
        rented: &'static str,
        available: &'static str,
    ) -> Self {
        const fn sid(kind: u128, number: u128) -> Uuid {
            Uuid::from_u128((kind << 96) + 0x4000_8000_0000_0000_0000 + number)
        }
        Self {
            sid: sid(0xa, number),
            token_sid: sid(0xb, number),
            group_sid: sid(0xc, number),
            code_sid: sid(0xd, number),
            did_sid: sid(0xe, number),
            rented,
            stock_sid: sid(0xf, number),
            available,
            endpoint_sid: sid(0x10, number),
            parent_sid: None,
            short_code,
        }
    }

    async fn create(&self, connection: &mut PgConnection) {
        let (operator, scopes) = (Actor::operator(), Scope::ALL.into_iter().collect());
        let name = Name::from_member("a tenant".into()).unwrap();
        let partner = Partner::new(connection, self.sid, self.parent_sid, name, scopes).await;
        store::create_one(connection, &operator, partner.unwrap()).await.unwrap();

        let keys = Keys::from_settings(&settings(&[])).unwrap();
        let (scopes, hour) = (Scope::DEFAULT.into_iter().collect(), Duration::from_secs(3_600));
        let (mut token, _) =
            OauthToken::issue(&keys, TokenFormat::Opaque, self.sid, scopes, hour).unwrap();
        token.token_sid = self.token_sid;
        store::create_one(connection, &operator, token).await.unwrap();

        let group = DidGroup { did_group_sid: self.group_sid, ..DidGroup::new(self.sid) };
        store::create_one(connection, &operator, group).await.unwrap();

        let code = self.new_code(
            self.code_sid,
            &json!({
                "attributes": {"a": {"b": 1, "c": [1, 2]}, "n": 5},
                "callback_url": "https://example.com/before",
                "did_group_sid": self.group_sid,
                "name": "before",
                "short_code": self.short_code,
                "state": "IL",
                "string_key_1": "before",
            }),
        );
        store::create_one(connection, &operator, code).await.unwrap();
        self.create_dids(connection).await;
        self.create_endpoint(connection).await;
    }

    async fn create_endpoint(&self, connection: &mut PgConnection) {
        let members = json!({"enabled": false, "url": "https://example.com/before"});
        let members = members.as_object().unwrap().clone();
        let new = Members::parse::<NewEventEndpoint>(members, Completeness::Partial, false);
        let rules = EndpointRules { scopes: Vec::new(), addresses: AddressRules::default() };
        let secrets = SecretBox::of(&settings(&[]).webhooks).unwrap();
        let new = new.unwrap().input;
        let new = new.build_for(connection, self.sid, self.endpoint_sid, &rules, &secrets).await;
        store::create_one(connection, &Actor::operator(), new.unwrap()).await.unwrap();
    }

    async fn create_dids(&self, connection: &mut PgConnection) {
        let operator = Actor::operator();
        let stock = [(Uuid::now_v7(), self.rented), (self.stock_sid, self.available)];
        let stock =
            stock.map(|(sid, number)| self.new_number(sid, &json!({"phonenumber": number})));
        store::create_all(connection, &operator, stock.into()).await.unwrap();
        let rented = json!({"name": "before", "phonenumber": self.rented});
        let rented = rented.as_object().unwrap().clone();
        let rented = Members::parse::<NewDid>(rented, Completeness::Partial, false).unwrap();
        let rented = rented.input.rent_for(connection, self.sid, self.did_sid).await.unwrap();
        store::create_one(connection, &operator, rented).await.unwrap();
    }

    fn new_number(&self, sid: Uuid, members: &Value) -> AvailableDid {
        let mut members = members.as_object().unwrap().clone();
        members.entry("state").or_insert(json!("NY"));
        members.entry("capabilities").or_insert(json!(7));
        let number = Members::parse::<NewAvailableDid>(members, Completeness::Partial, false);
        number.unwrap().input.build(sid, self.sid)
    }

    /// Puts numbers into the stock of the tenant in the given order.
    pub async fn add_numbers(&self, app: &App, numbers: &[Value]) {
        let numbers = numbers.iter().map(|members| self.new_number(Uuid::now_v7(), members));
        let (numbers, mut connection) = (numbers.collect(), app.connection().await);
        store::create_all(&mut connection, &Actor::operator(), numbers).await.unwrap();
    }

    fn new_code(&self, sid: Uuid, members: &Value) -> ShortCode {
        let mut members = members.as_object().unwrap().clone();
        members.insert("partner_sid".to_owned(), json!(self.sid));
        let code = Members::parse::<NewShortCode>(members, Completeness::Partial, false);
        code.unwrap().input.build(sid).unwrap()
    }

    /// Creates short codes of the tenant in the given order.
    pub async fn add_codes(&self, app: &App, codes: &[Value]) {
        let codes = codes.iter().map(|members| self.new_code(Uuid::now_v7(), members)).collect();
        let mut connection = app.connection().await;
        store::create_all(&mut connection, &Actor::operator(), codes).await.unwrap();
    }

    pub fn group_path(&self) -> String {
        group_path(self.group_sid)
    }

    pub fn code_path(&self) -> String {
        code_path(self.code_sid)
    }

    pub fn did_path(&self) -> String {
        did_path(self.did_sid)
    }
}

/// The path of a DID group.
pub fn group_path(sid: impl std::fmt::Display) -> String {
    format!("/core/v2/phonenumber/did_groups/{sid}")
}

/// The path of a webhook endpoint.
pub fn endpoint_path(sid: impl std::fmt::Display) -> String {
    format!("/core/v2/events/endpoints/{sid}")
}

/// The path of a rented phone number.
pub fn did_path(sid: impl std::fmt::Display) -> String {
    format!("/core/v2/phonenumber/dids/{sid}")
}

/// The path of a short code.
pub fn code_path(sid: impl std::fmt::Display) -> String {
    format!("/core/v2/phonenumber/short_codes/{sid}")
}
