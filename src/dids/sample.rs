//! A sample for the OpenAPI document: the number that the demo data rents out.

use serde_json::{Value, json};

/// The sid of the number in the sample.
pub const SID: &str = "7d9a41f2-6c0e-4b57-9a52-1d1c3f0e8b64";

/// The body of a PATCH.
pub fn patch() -> Value {
    json!({"name": "hotline"})
}

/// The body of a PUT: the writable members.
pub fn replacement() -> Value {
    json!({
        "attributes": {},
        "callback_url": null,
        "did_group_sid": "41e21049-e5eb-433c-a93d-d57417b1863c",
        "name": "hotline",
        "string_key_1": null,
        "string_key_2": null,
        "transformations": [],
        "trunk_group_sid": null,
    })
}

/// The body of a response.
pub fn answer() -> Value {
    json!({
        "active_capabilities": 7,
        "attributes": {},
        "callback_url": null,
        "campaign_sid": null,
        "capabilities": 7,
        "classification_sid": null,
        "country_code": "USA",
        "did_group_sid": "41e21049-e5eb-433c-a93d-d57417b1863c",
        "did_sid": SID,
        "in_country_format": "(516) 206-5574",
        "international_format": "+1 516-206-5574",
        "lata": null,
        "locality": null,
        "lrn_sid": null,
        "name": "hotline",
        "ocn": null,
        "partner_sid": "e00430c3-a7d0-4666-ab5c-f7202448382f",
        "phonenumber": "15162065574",
        "porting_pin": null,
        "price": "0.6",
        "state": "NY",
        "status": "assigned",
        "string_key_1": null,
        "string_key_2": null,
        "transformations": [],
        "trunk_group_sid": null,
    })
}
