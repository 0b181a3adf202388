//! The sample of CarrierX's page "Update DID Group", for the OpenAPI document.

use serde_json::{Value, json};

/// The sid of the group in the sample.
pub const SID: &str = "41e21049-e5eb-433c-a93d-d57417b1863c";

/// The body of the request.
pub fn patch() -> Value {
    json!({"name": "my_did_group"})
}

/// The body of the response.
pub fn answer() -> Value {
    json!({
        "callback_url": null,
        "did_group_sid": SID,
        "name": "my_did_group",
        "partner_sid": "e00430c3-a7d0-4666-ab5c-f7202448382f",
    })
}
