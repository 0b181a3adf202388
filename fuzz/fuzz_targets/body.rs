//! Bodies: no bytes make the parser or an input panic, and an object that is sent back unchanged
//! changes nothing.

#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use shortline::did_groups::{DidGroup, DidGroupChanges};
use shortline::input::json::parse_object;
use shortline::input::types::Nested;
use shortline::input::{Completeness, Input, Members};
use shortline::oauth::TokenChanges;
use shortline::partners::{NewPartner, PartnerChanges};
use shortline::short_codes::{NewShortCode, ShortCode, ShortCodeChanges};
use shortline::store::Resource;
use uuid::Uuid;

/// Members of the inputs, each with a valid value.
const MEMBERS: &[(&str, &str)] = &[
    ("attributes", r#"{"a":{"b":[1e3,null]}}"#),
    ("available_scopes", r#"["phonenumber.manage"]"#),
    ("callback_url", r#""http://a/""#),
    ("callbacks", r#"{"sms":"https://a/"}"#),
    ("company_name", r#""x""#),
    ("country_code", r#""USA""#),
    ("did_group_sid", r#""E00430C3-a7d0-4666-ab5c-f7202448382f""#),
    ("locality", r#""x""#),
    ("lrn_sid", r#""e00430c3-a7d0-4666-ab5c-f7202448382f""#),
    ("name", r#""x""#),
    ("parent_sid", r#""e00430c3-a7d0-4666-ab5c-f7202448382f""#),
    ("partner_sid", r#""e00430c3-a7d0-4666-ab5c-f7202448382f""#),
    ("scopes", r#"["phonenumber.read"]"#),
    ("short_code", r#""26399""#),
    ("state", r#""IL""#),
    ("status", r#""active""#),
    ("string_key_1", r#""x""#),
    ("string_key_2", r#""""#),
];
/// Values with an effect of their own.
const VALUES: &[&str] =
    &["null", "true", "-0", "1e3", "1.10", "9007199254740993", "[]", "{}", r#""""#, r#""\u0000""#];

/// Generates a body with known members, since random bytes are rarely valid.
fn object(input: &mut Unstructured, levels: u8) -> Result<String> {
    let mut members = Vec::new();
    for _ in 0..input.int_in_range(0..=6)? {
        let (name, valid) = *input.choose(MEMBERS)?;
        let name = if input.ratio(1, 16)? { input.arbitrary()? } else { name };
        let value = if input.ratio(1, 3)? { value(input, levels)? } else { valid.to_owned() };
        members.push(format!("{}:{value}", Value::from(name)));
    }
    Ok(format!("{{{}}}", members.join(",")))
}

fn value(input: &mut Unstructured, levels: u8) -> Result<String> {
    Ok(match input.int_in_range(0..=if levels == 0 { 2 } else { 4 })? {
        0 => (*input.choose(VALUES)?).to_owned(),
        1 => Value::from(input.arbitrary::<&str>()?).to_string(),
        2 => format!("{}e{}", input.arbitrary::<i64>()?, input.arbitrary::<i8>()?),
        3 => format!("[{}]", value(input, levels - 1)?),
        _ => object(input, levels - 1)?,
    })
}

fn input<T: Input>(body: &Map<String, Value>) -> Option<T> {
    for completeness in [Completeness::Whole, Completeness::Partial] {
        let strict = Members::parse::<T>(body.clone(), completeness, false).is_ok();
        let lenient = Members::parse::<T>(body.clone(), completeness, true).is_ok();
        assert!(lenient || !strict, "strict parsing accepts no more than lenient parsing");
    }
    Members::parse(body.clone(), Completeness::Partial, true).ok().map(|parsed| parsed.input)
}

/// Checks that an object is unchanged after its representation was sent back.
fn expect_same<T: Input, R: Resource>(object: &R, change: impl FnOnce(&mut R, T)) {
    let members = |object: &R| object.representation().expect("an object is JSON").members;
    let shown = members(object);
    let sent = serde_json::to_vec(&shown).expect("members are JSON");
    let parsed = parse_object(&sent).expect("serialized members can be parsed");
    assert_eq!(parsed, shown);
    let changes = Members::parse::<T>(parsed, Completeness::Whole, false)
        .expect("the members of an object are valid");
    let mut changed = object.clone();
    change(&mut changed, changes.input);
    assert_eq!(members(&changed), shown);
}

fn expect_same_code(code: &ShortCode) {
    expect_same::<ShortCodeChanges, _>(code, |code, changes| {
        code.change(changes, Nested::Replace).expect("a stored object is within the limits");
    });
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    if let Ok(body) = object(&mut Unstructured::new(bytes), 40) {
        check(body.as_bytes());
    }
});

fn check(bytes: &[u8]) {
    let Ok(body) = parse_object(bytes) else { return };
    let written = serde_json::to_vec(&body).expect("an object is JSON");
    assert_eq!(parse_object(&written).expect("a serialized object can be parsed"), body);

    input::<NewPartner>(&body);
    input::<PartnerChanges>(&body);
    input::<TokenChanges>(&body);
    let mut group = DidGroup::new(Uuid::nil());
    if let Some(changes) = input::<DidGroupChanges>(&body)
        && group.change(changes).is_ok()
    {
        expect_same::<DidGroupChanges, _>(&group, |group, changes| {
            group.change(changes).expect("any combination of valid members is valid");
        });
    }
    let new = input::<NewShortCode>(&body).and_then(|new| new.build(Uuid::nil()).ok());
    new.iter().for_each(expect_same_code);
    let stored = br#"{"partner_sid":"e00430c3-a7d0-4666-ab5c-f7202448382f","short_code":"26399",
        "attributes":{"a":{"b":1}}}"#;
    let stored = parse_object(stored).expect("the body is an object");
    let stored = input::<NewShortCode>(&stored)
        .and_then(|new| new.build(Uuid::nil()).ok())
        .expect("the body is a short code");
    for nested in [Nested::Merge, Nested::Replace] {
        let mut code = stored.clone();
        if let Some(changes) = input::<ShortCodeChanges>(&body)
            && code.change(changes, nested).is_ok()
        {
            expect_same_code(&code);
        }
    }
}
