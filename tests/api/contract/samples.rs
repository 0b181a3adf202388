//! The samples of CarrierX's documentation, unchanged, against the data of `shortline dev`.

use serde_json::json;

use crate::operations::dev::Dev;

#[test]
fn carrierx_samples_work_when_only_the_host_changes() {
    let dev = Dev::start(&["--ephemeral"]);

    let page = include_str!("../samples/update-did-group.sh");
    let expected = json!({
        "callback_url": null,
        "did_group_sid": "41e21049-e5eb-433c-a93d-d57417b1863c",
        "name": "my_did_group",
        "partner_sid": "e00430c3-a7d0-4666-ab5c-f7202448382f"
    });
    assert_eq!(dev.run_sample(page), expected);

    // The request of the page has "new shortcode name" and its response "new short code name".
    // Shortline returns the name that was sent.
    let page = include_str!("../samples/update-short-code.sh");
    let expected = json!({
        "attributes": {},
        "callback_url": null,
        "country_code": "USA",
        "did_group_sid": "9cf3c0aa-3f80-43f7-b8c2-8f88251ff562",
        "locality": null,
        "lrn_sid": null,
        "name": "new shortcode name",
        "partner_sid": "b9ba2c8b-2368-4a0b-9ba0-866ff2618417",
        "short_code": "26399",
        "short_code_sid": "531f65b7-dff7-42b4-b638-597f91da9ccc",
        "state": "IL",
        "string_key_1": null,
        "string_key_2": null
    });
    assert_eq!(dev.run_sample(page), expected);
}
