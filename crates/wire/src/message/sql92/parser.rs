//! From a text to an expression.

use super::node::{Logic, Node, Order, Search};
use super::token::{Token, Tokens, error_at};
use super::value::Value;
use super::{MAX_DEPTH, MAX_LENGTH, ParseError};

/// How closely an operator binds, the loosest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Or,
    And,
    Equality,
    Comparison,
}

/// A part of an expression, and where it stands.
struct Part {
    node: Node,
    /// Levels of its nodes.
    depth: usize,
    /// Byte positions in the text.
    start: usize,
    end: usize,
}

/// Reads an expression, token by token.
pub(super) struct Parser<'a> {
    text: &'a str,
    tokens: Tokens<'a>,
    /// The next token, once it was looked at, and where it begins.
    next: Option<(Token<'a>, usize)>,
    /// Where the last token taken ends.
    end: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            tokens: Tokens::new(text),
            next: None,
            end: 0,
        }
    }

    /// Reads the whole, which must be true, false or unknown.
    pub(super) fn selector(mut self) -> Result<Node, ParseError> {
        if self.text.len() > MAX_LENGTH {
            let reason = format!("it is longer than {MAX_LENGTH} bytes");
            return Err(error_at(self.text, 0, reason));
        }
        let whole = self.expression(Binding::Or, 0)?;
        Ok(self.truth(whole)?.node)
    }

    /// Reads operands and operators that bind at least as closely as `loosest`; `nesting` counts
    /// the levels around it.
    fn expression(&mut self, loosest: Binding, nesting: usize) -> Result<Part, ParseError> {
        let mut left = self.unary(nesting)?;
        // Behind an operator none is taken that binds more closely: it ends the expression.
        let mut closest = Binding::Comparison;
        loop {
            let (token, start) = self.peek()?;
            let fits = |binding: &Binding| (loosest..=closest).contains(binding);
            let Some(binding) = binding(token).filter(fits) else {
                return Ok(left);
            };
            closest = binding;
            self.take()?;
            left = match (binding, token) {
                (Binding::Or, _) => {
                    let right = self.expression(Binding::And, nesting)?;
                    self.logic(Logic::Or, left, right)?
                }
                (Binding::And, _) => {
                    let right = self.expression(Binding::Equality, nesting)?;
                    self.logic(Logic::And, left, right)?
                }
                (Binding::Equality, Token::Is) => self.is_null(left)?,
                (Binding::Equality, _) => {
                    let right = self.expression(Binding::Comparison, nesting)?;
                    self.equal(left, right, token == Token::NotEqual)?
                }
                (Binding::Comparison, Token::Not) => {
                    let operator = self.take()?;
                    self.comparison(left, operator, true, nesting)?
                }
                (Binding::Comparison, _) => {
                    self.comparison(left, (token, start), false, nesting)?
                }
            };
        }
    }

    fn unary(&mut self, nesting: usize) -> Result<Part, ParseError> {
        let (token, start) = self.take()?;
        if nesting > MAX_DEPTH {
            return Err(self.too_deep(start));
        }
        let constant = |value| Ok(Node::Constant(value));
        let node = match token {
            Token::Plus => {
                let operand = self.unary(nesting + 1)?;
                return Ok(Part { start, ..operand });
            }
            Token::Minus => {
                let operand = self.unary(nesting + 1)?;
                let (start, end) = (start, operand.end);
                return self.part(operand.depth, start, end, Node::Negate(operand.node.into()));
            }
            Token::Not => {
                let operand = self.unary(nesting + 1)?;
                let operand = self.truth(operand)?;
                let (start, end) = (start, operand.end);
                return self.part(operand.depth, start, end, Node::Not(operand.node.into()));
            }
            Token::Open => {
                let inner = self.expression(Binding::Or, nesting + 1)?;
                self.expect(Token::Close)?;
                let end = self.end;
                return Ok(Part {
                    start,
                    end,
                    ..inner
                });
            }
            Token::Name(name) => Ok(Node::Property(name.into())),
            Token::Text(quoted) => constant(Value::Text(unquoted(quoted))),
            Token::Whole(digits) => match (digits.parse(), digits.parse()) {
                (Ok(number), _) => constant(Value::Integer(number)),
                (_, Ok(number)) => constant(Value::Long(number)),
                _ => Err(format!("{digits} is more than 64 bits hold")),
            },
            Token::Decimal(digits) => match digits.parse() {
                Ok(number) if number > f64::MAX => Err(format!("{digits} is too large")),
                Ok(number) if number > 0.0 => constant(Value::Double(number)),
                _ => Err(format!(
                    "{digits} is too small a decimal number, write 0 for zero"
                )),
            },
            Token::True => constant(Value::Boolean(true)),
            Token::False => constant(Value::Boolean(false)),
            Token::Null => constant(Value::Null),
            token => return Err(self.unexpected(token, start, "a value")),
        };
        let node = node.map_err(|reason| error_at(self.text, start, reason))?;
        self.part(0, start, self.end, node)
    }

    /// What follows a first operand and the operator, which stands at a byte position.
    fn comparison(
        &mut self,
        left: Part,
        (operator, at): (Token<'a>, usize),
        negated: bool,
        nesting: usize,
    ) -> Result<Part, ParseError> {
        let order = match operator {
            Token::Greater => Some(Order::Greater),
            Token::GreaterOrEqual => Some(Order::GreaterOrEqual),
            Token::Less => Some(Order::Less),
            Token::LessOrEqual => Some(Order::LessOrEqual),
            _ => None,
        };
        let search = match operator {
            Token::Contains => Some(Search::Contains),
            Token::StartsWith => Some(Search::StartsWith),
            Token::EndsWith => Some(Search::EndsWith),
            _ => None,
        };
        match (operator, order, search) {
            (_, Some(order), _) if !negated => {
                let right = self.unary(nesting)?;
                self.order(order, left, right)
            }
            (_, _, Some(search)) => {
                let text = self.string()?;
                let node = Node::Search {
                    search,
                    node: left.node.into(),
                    text,
                    negated,
                };
                self.part(left.depth, left.start, self.end, node)
            }
            (Token::Between, ..) => {
                let low = self.unary(nesting)?;
                self.expect(Token::And)?;
                let high = self.unary(nesting)?;
                self.between(left, low, high, negated)
            }
            (Token::In, ..) => self.is_in(left, negated),
            _ => {
                let wanted = "BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH";
                Err(self.unexpected(operator, at, wanted))
            }
        }
    }

    fn logic(&self, operator: Logic, left: Part, right: Part) -> Result<Part, ParseError> {
        let (left, right) = (self.truth(left)?, self.truth(right)?);
        let (start, end) = (left.start, right.end);
        // What is joined in the same way is joined at the same level.
        match left.node {
            Node::Logic {
                operator: same,
                mut nodes,
            } if same == operator => {
                nodes.push(right.node);
                let depth = (left.depth - 1).max(right.depth);
                self.part(depth, start, end, Node::Logic { operator, nodes })
            }
            node => {
                let nodes = vec![node, right.node];
                let depth = left.depth.max(right.depth);
                self.part(depth, start, end, Node::Logic { operator, nodes })
            }
        }
    }

    fn is_null(&mut self, left: Part) -> Result<Part, ParseError> {
        let (mut token, mut start) = self.take()?;
        let negated = token == Token::Not;
        if negated {
            (token, start) = self.take()?;
        }
        if token != Token::Null {
            return Err(self.unexpected(token, start, "NULL"));
        }
        let is_null = self.part(
            left.depth,
            left.start,
            self.end,
            Node::IsNull(left.node.into()),
        )?;
        if negated {
            self.not(is_null)
        } else {
            Ok(is_null)
        }
    }

    fn equal(&self, left: Part, right: Part, negated: bool) -> Result<Part, ParseError> {
        for part in [&left, &right] {
            if part.node == Node::Constant(Value::Null) {
                return Err(self.wrong(part, "cannot be compared; write IS NULL"));
            }
        }
        if let (Node::Constant(Value::Boolean(_)), Node::Constant(value)) =
            (&left.node, &right.node)
            && !matches!(value, Value::Boolean(_))
        {
            return Err(self.wrong(&right, "cannot be compared with TRUE or FALSE"));
        }
        let depth = left.depth.max(right.depth);
        let (start, end) = (left.start, right.end);
        let equal = Node::Equal(Box::new([left.node, right.node]));
        let equal = self.part(depth, start, end, equal)?;
        if negated { self.not(equal) } else { Ok(equal) }
    }

    fn order(&self, order: Order, left: Part, right: Part) -> Result<Part, ParseError> {
        for part in [&left, &right] {
            if part.node.is_truth() || matches!(part.node, Node::Constant(Value::Text(_))) {
                let reason = "cannot be compared by order, only numbers and properties can";
                return Err(self.wrong(part, reason));
            }
        }
        let depth = left.depth.max(right.depth);
        let (start, end) = (left.start, right.end);
        let nodes = Box::new([left.node, right.node]);
        self.part(depth, start, end, Node::Order { order, nodes })
    }

    fn between(
        &self,
        value: Part,
        low: Part,
        high: Part,
        negated: bool,
    ) -> Result<Part, ParseError> {
        if let (false, Node::Constant(least), Node::Constant(most)) =
            (negated, &low.node, &high.node)
            && !most
                .borrowed()
                .cmp(least.borrowed())
                .is_ok_and(std::cmp::Ordering::is_ge)
        {
            return Err(self.wrong(&high, "is no number, or less than the number before AND"));
        }
        let again = Part {
            node: value.node.clone(),
            ..value
        };
        let (below, above, operator) = match negated {
            false => (Order::GreaterOrEqual, Order::LessOrEqual, Logic::And),
            true => (Order::Less, Order::Greater, Logic::Or),
        };
        let (low, high) = (
            self.order(below, value, low)?,
            self.order(above, again, high)?,
        );
        self.logic(operator, low, high)
    }

    fn is_in(&mut self, left: Part, negated: bool) -> Result<Part, ParseError> {
        self.expect(Token::Open)?;
        let mut texts = vec![self.string()?];
        while self.peek()?.0 == Token::Comma {
            self.take()?;
            texts.push(self.string()?);
        }
        self.expect(Token::Close)?;
        let Node::Property(property) = left.node else {
            return Err(self.wrong(&left, "is no property, only those are IN"));
        };
        texts.sort_unstable();
        let texts = texts.into();
        let node = Node::In {
            property,
            texts,
            negated,
        };
        self.part(left.depth, left.start, self.end, node)
    }

    fn not(&self, part: Part) -> Result<Part, ParseError> {
        self.part(
            part.depth,
            part.start,
            part.end,
            Node::Not(part.node.into()),
        )
    }

    /// A part where a truth is wanted.
    fn truth(&self, part: Part) -> Result<Part, ParseError> {
        let node = match part.node {
            Node::Property(name) => Node::Truth(name),
            node if node.is_truth() => node,
            node => {
                let part = Part { node, ..part };
                return Err(self.wrong(&part, "is neither true nor false"));
            }
        };
        Ok(Part { node, ..part })
    }

    /// A part with a node whose deepest part has `depth` levels.
    fn part(&self, depth: usize, start: usize, end: usize, node: Node) -> Result<Part, ParseError> {
        let depth = depth + 1;
        if depth > MAX_DEPTH {
            return Err(self.too_deep(start));
        }
        Ok(Part {
            node,
            depth,
            start,
            end,
        })
    }

    fn string(&mut self) -> Result<Box<str>, ParseError> {
        match self.take()? {
            (Token::Text(quoted), _) => Ok(unquoted(quoted)),
            (token, start) => Err(self.unexpected(token, start, "a text in quotes")),
        }
    }

    fn peek(&mut self) -> Result<(Token<'a>, usize), ParseError> {
        if let Some(next) = self.next {
            return Ok(next);
        }
        let next = self.tokens.next()?;
        self.next = Some(next);
        Ok(next)
    }

    fn take(&mut self) -> Result<(Token<'a>, usize), ParseError> {
        let taken = self.peek()?;
        self.next = None;
        self.end = self.tokens.position();
        Ok(taken)
    }

    fn expect(&mut self, wanted: Token<'static>) -> Result<(), ParseError> {
        let (token, start) = self.take()?;
        if token == wanted {
            return Ok(());
        }
        Err(self.unexpected(token, start, &wanted.to_string()))
    }

    fn unexpected(&self, token: Token<'_>, at: usize, wanted: &str) -> ParseError {
        error_at(
            self.text,
            at,
            format!("{token} stands where {wanted} should"),
        )
    }

    fn wrong(&self, part: &Part, what: &str) -> ParseError {
        let source = self.text.get(part.start..part.end).unwrap_or_default();
        error_at(self.text, part.start, format!("{source} {what}"))
    }

    fn too_deep(&self, at: usize) -> ParseError {
        error_at(
            self.text,
            at,
            format!("it is more than {MAX_DEPTH} levels deep"),
        )
    }
}

/// How closely an operator binds; `None` for what is none.
fn binding(token: Token<'_>) -> Option<Binding> {
    Some(match token {
        Token::Or => Binding::Or,
        Token::And => Binding::And,
        Token::Equal | Token::NotEqual | Token::Is => Binding::Equality,
        Token::Greater
        | Token::GreaterOrEqual
        | Token::Less
        | Token::LessOrEqual
        | Token::Between
        | Token::In
        | Token::Contains
        | Token::StartsWith
        | Token::EndsWith
        | Token::Not => Binding::Comparison,
        _ => return None,
    })
}

fn unquoted(quoted: &str) -> Box<str> {
    quoted.replace("''", "'").into()
}
