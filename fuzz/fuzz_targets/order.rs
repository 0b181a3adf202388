//! The order of a list: no text makes the parser panic, and a parsed order that is written as text
//! parses to the same order.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shortline::short_codes::ShortCode;
use shortline::store::list::{Direction, Order};

fuzz_target!(|text: &str| {
    let Ok(order) = Order::parse::<ShortCode>(text) else { return };
    let written = match &order {
        Order::Creation => panic!("{text} is not an order"),
        Order::Shuffled => "shuffle".to_owned(),
        Order::By(keys) => {
            assert_eq!(keys.len(), text.split(',').count(), "{text}");
            let keys = keys.iter().map(|(column, direction)| {
                let member = if *column == "sid" { "short_code_sid" } else { column };
                match direction {
                    Direction::Ascending => member.to_owned(),
                    Direction::Descending => format!("{member} desc"),
                }
            });
            keys.collect::<Vec<_>>().join(",")
        }
    };
    assert_eq!(Order::parse::<ShortCode>(&written), Ok(order), "{text} became {written}");
});
