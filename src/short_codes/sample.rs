//! The sample of CarrierX's page "Update Short Code", for the OpenAPI document.

use serde_json::{Value, json};

/// The sid of the short code in the sample.
pub const SID: &str = "531f65b7-dff7-42b4-b638-597f91da9ccc";

/// The body of the request.
pub fn patch() -> Value {
    json!({"name": "new shortcode name"})
}

/// The body of the response, with the name of the request. The page shows another name.
pub fn answer() -> Value {
    json!({
        "attributes": {},
        "callback_url": null,
        "country_code": "USA",
        "did_group_sid": "9cf3c0aa-3f80-43f7-b8c2-8f88251ff562",
        "locality": null,
        "lrn_sid": null,
        "name": "new shortcode name",
        "partner_sid": "b9ba2c8b-2368-4a0b-9ba0-866ff2618417",
        "short_code": "26399",
        "short_code_sid": SID,
        "state": "IL",
        "string_key_1": null,
        "string_key_2": null,
    })
}
