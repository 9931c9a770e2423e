//! What an expression consists of, and its evaluation.

use super::Incomparable;
use super::value::Value;

/// A part of an expression. Its depth is bounded, so that going through it needs little stack.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Constant(Value<Box<str>>),
    /// The property of a name.
    Property(Box<str>),
    /// A property where a truth is wanted: being a text, it is false, or unknown.
    Truth(Box<str>),
    Negate(Box<Node>),
    Not(Box<Node>),
    Logic {
        operator: Logic,
        nodes: Vec<Node>,
    },
    Equal(Box<[Node; 2]>),
    Order {
        order: Order,
        nodes: Box<[Node; 2]>,
    },
    IsNull(Box<Node>),
    In {
        property: Box<str>,
        /// In their order.
        texts: Box<[Box<str>]>,
        negated: bool,
    },
    Search {
        search: Search,
        node: Box<Node>,
        text: Box<str>,
        negated: bool,
    },
}

/// How truths are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logic {
    And,
    Or,
}

/// How values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// Where in a text another one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    Contains,
    StartsWith,
    EndsWith,
}

impl Node {
    /// Whether its value is true, false or unknown, and nothing else.
    pub(super) fn is_truth(&self) -> bool {
        match self {
            Node::Constant(value) => matches!(value, Value::Null | Value::Boolean(_)),
            Node::Property(_) | Node::Negate(_) => false,
            _ => true,
        }
    }

    /// Its value for the properties that a function tells.
    pub(super) fn evaluate<'a>(
        &'a self,
        property: &impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Value<&'a str>, Incomparable> {
        let truth = |truth: Option<bool>| Ok(truth.map_or(Value::Null, Value::Boolean));
        match self {
            Node::Constant(value) => Ok(value.borrowed()),
            Node::Property(name) => Ok(property(name).map_or(Value::Null, Value::Text)),
            Node::Truth(name) => truth(property(name).map(|_| false)),
            Node::Negate(node) => Ok(node.evaluate(property)?.negated()),
            Node::Not(node) => truth(node.evaluate(property)?.truth().map(|known| !known)),
            Node::Logic { operator, nodes } => {
                let decisive = *operator == Logic::Or;
                let mut result = Some(!decisive);
                for node in nodes {
                    match node.evaluate(property)?.truth() {
                        Some(known) if known == decisive => return truth(Some(decisive)),
                        Some(_) => {}
                        None => result = None,
                    }
                }
                truth(result)
            }
            Node::Equal(nodes) => {
                let [left, right] = &**nodes;
                match (left.evaluate(property)?, right.evaluate(property)?) {
                    (Value::Null, Value::Null) => truth(Some(true)),
                    (Value::Null, _) => truth(None),
                    (_, Value::Null) => truth(Some(false)),
                    (left, right) => truth(Some(left.equals(right)?)),
                }
            }
            Node::Order { order, nodes } => {
                let [left, right] = &**nodes;
                let left = left.evaluate(property)?;
                if left == Value::Null {
                    return truth(None);
                }
                let right = right.evaluate(property)?;
                if right == Value::Null {
                    return truth(None);
                }
                let found = left.cmp(right)?;
                truth(Some(match order {
                    Order::Greater => found.is_gt(),
                    Order::GreaterOrEqual => found.is_ge(),
                    Order::Less => found.is_lt(),
                    Order::LessOrEqual => found.is_le(),
                }))
            }
            Node::IsNull(node) => truth(Some(node.evaluate(property)? == Value::Null)),
            Node::In {
                property: name,
                texts,
                negated,
            } => truth(property(name).map(|value| {
                let found = texts.binary_search_by(|text| (**text).cmp(value));
                found.is_ok() != *negated
            })),
            Node::Search {
                search,
                node,
                text,
                negated,
            } => {
                if text.is_empty() {
                    return truth(Some(false));
                }
                let found = node.evaluate(property)?.text().map(|value| match search {
                    Search::Contains => value.contains(&**text),
                    Search::StartsWith => value.starts_with(&**text),
                    Search::EndsWith => value.ends_with(&**text),
                });
                truth(Some(found.is_some_and(|found| found != *negated)))
            }
        }
    }
}
