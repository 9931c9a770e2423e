//! What the reference's filter module makes of expressions (`data/sql92`, and the lines of
//! `data/messages.jsonl` about them), made again; and expressions that nobody should write.

#![expect(
    clippy::unwrap_used,
    reason = "a test may stop at what it does not expect"
)]

use kerolox_wire::message::sql92::{Expression, MAX_DEPTH, MAX_LENGTH};
use proptest::prelude::*;
use serde_json::Value;

fn lines(data: &'static str) -> impl Iterator<Item = Value> {
    data.lines().map(|line| serde_json::from_str(line).unwrap())
}

/// What an expression is for properties, in the reference's words.
fn evaluate(expression: &Expression, properties: &Value) -> &'static str {
    let result = expression.evaluate(|name| {
        let value = properties.get(name)?;
        value.as_str()
    });
    match result {
        Ok(Some(true)) => "true",
        Ok(Some(false)) => "false",
        Ok(None) => "null",
        Err(_) => "error",
    }
}

#[test]
fn expressions_mean_what_the_reference_takes_them_for() {
    let mut wrong = Vec::new();
    let mut results = 0;
    for case in lines(include_str!("data/sql92/cases.jsonl")) {
        let text = case["expression"].as_str().unwrap();
        let parsed = Expression::parse(text);
        if parsed.is_ok() != case["error"].is_null() {
            wrong.push(format!("{text:?}: {parsed:?}, not {}", case["error"]));
        }
        let Ok(expression) = parsed else { continue };
        for result in case["results"].as_array().unwrap() {
            let (properties, expected) = (&result[0], result[1].as_str().unwrap());
            let found = evaluate(&expression, properties);
            results += 1;
            if found != expected {
                wrong.push(format!("{text:?} of {properties}: {found}, not {expected}"));
            }
        }
    }
    assert!(results > 2000, "{results} results");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn messages_are_selected_as_by_the_reference() {
    let data = lines(include_str!("data/messages.jsonl"));
    let cases: Vec<Value> = data.filter(|line| line["kind"] == "sql92").collect();
    assert!(cases.len() > 100, "{} cases", cases.len());
    for case in cases {
        let parsed = Expression::parse(case["expression"].as_str().unwrap());
        assert_eq!(parsed.is_ok(), case["compile"] == "ok", "{case}");
        let Ok(expression) = parsed else { continue };
        let found = evaluate(&expression, &case["properties"]);
        assert_eq!(
            found == "true",
            case["matches"].as_bool().unwrap(),
            "{case}"
        );
    }
}

#[test]
fn an_error_tells_what_is_wrong_and_where() {
    for (text, message) in [
        (
            "a > 5 AND",
            "the end stands where a value should, at character 10",
        ),
        ("你 = 'x'", "\"你\" means nothing, at character 1"),
        (
            "a = '你' AND b > 'x'",
            "'x' cannot be compared by order, only numbers and properties can, at character 17",
        ),
        (
            "NOT a > 5",
            "NOT a cannot be compared by order, only numbers and properties can, at character 1",
        ),
        (
            "a = NULL",
            "NULL cannot be compared; write IS NULL, at character 5",
        ),
        (
            "a IN (5)",
            "5 stands where a text in quotes should, at character 7",
        ),
        (
            "a NOT 5",
            "5 stands where BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH should, at character 7",
        ),
        (
            "(a = 5) IN ('x')",
            "(a = 5) is no property, only those are IN, at character 1",
        ),
        ("a OR 5 + 5", "5 is neither true nor false, at character 6"),
    ] {
        let error = Expression::parse(text).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("Invalid MessageSelector. {message}")
        );
    }
}

#[test]
fn what_is_too_long_or_too_deep_is_refused() {
    let refused = |text: &str| Expression::parse(text).unwrap_err().reason;
    let nested = |depth: usize| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Expression::parse(&nested(MAX_DEPTH)).is_ok());
    for text in [
        nested(MAX_DEPTH + 1),
        "(".repeat(MAX_LENGTH),
        "NOT ".repeat(MAX_LENGTH / 4 - 1) + "a",
        "- ".repeat(1000) + "a = 5",
        "(a = 5 OR a = 5 AND a = (".repeat(1000),
        "a".to_owned() + &" = a".repeat(1000),
        "a".to_owned() + &" IS NULL".repeat(1000),
        "a".to_owned() + &" CONTAINS 'x'".repeat(1000),
    ] {
        assert_eq!(refused(&text), "it is more than 128 levels deep");
    }
    assert_eq!(
        refused(&"a".repeat(MAX_LENGTH + 1)),
        "it is longer than 65536 bytes"
    );
}

#[test]
fn long_lists_of_alternatives_are_not_deep() {
    let text = "a = 1".to_owned() + &" OR a = 2".repeat(5000);
    let expression = Expression::parse(&text).unwrap();
    assert_eq!(expression.evaluate(|_| Some("2")), Ok(Some(true)));
    assert_eq!(expression.evaluate(|_| Some("3")), Ok(Some(false)));
}

/// Texts made of what expressions are made of.
fn any_soup() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "a",
        "b",
        "5",
        "5.5",
        "3000000000",
        "'x'",
        "'",
        "''",
        "(",
        ")",
        ",",
        "=",
        "<>",
        "<",
        ">=",
        "AND",
        "OR",
        "NOT",
        "IN",
        "IS",
        "NULL",
        "BETWEEN",
        "CONTAINS",
        "TRUE",
        "-",
        "+",
        "--",
        "/*",
        "*/",
        ".",
        "1e",
        "\n",
        "你",
        "(a = 5)",
        "a IS NULL",
        "a IN ('x', 'y')",
    ];
    let word = prop_oneof![9 => prop::sample::select(WORDS).prop_map(str::to_owned), 1 => ".{0,3}"];
    proptest::collection::vec(word, 0..40).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn any_text_is_an_expression_or_not(text in any_soup(), a in "[-+.0-9a-zA-Z ]{0,20}") {
        if let Ok(expression) = Expression::parse(&text) {
            let _ = expression.evaluate(|name| (name == "a").then_some(&*a));
        }
    }
}
