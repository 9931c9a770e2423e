#![no_main]
//! SQL92 expressions, and properties to evaluate them with.

use libfuzzer_sys::fuzz_target;
use wire::message::{properties, sql92::Expression};

fuzz_target!(|input: (&str, &str)| {
    let (expression, text) = input;
    if let Ok(expression) = Expression::parse(expression) {
        let _ = expression.evaluate(|name| properties::get(text, name));
    }
});
