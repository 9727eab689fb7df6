//! Label selectors: `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b)`, `a`, `!a`, `a>1`, `a<1`, joined by commas.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use super::SelectorError;
use crate::tree::{at, items};
use supple_resize::validate::names;

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `a=b`.
    Equals,
    /// `a in (…)`.
    In,
    /// `a!=b`; an absent label matches.
    NotEquals,
    /// `a notin (…)`; an absent label matches.
    NotIn,
    /// `a`.
    Exists,
    /// `!a`.
    DoesNotExist,
    /// `a>1`.
    GreaterThan,
    /// `a<1`.
    LessThan,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// How it compares.
    pub operator: Operator,
    /// With what; one decimal number for [`Operator::GreaterThan`] and [`Operator::LessThan`].
    pub values: BTreeSet<String>,
}

impl Requirement {
    fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        let label = labels.and_then(|it| it.get(&self.key)).and_then(Value::as_str);
        let number = |text: &str| text.parse::<i64>().ok();
        let compare = |holds: fn(i64, i64) -> bool| {
            let bound = self.values.first().and_then(|it| number(it));
            matches!((label.and_then(number), bound), (Some(label), Some(bound)) if holds(label, bound))
        };
        match self.operator {
            Operator::Equals | Operator::In => label.is_some_and(|it| self.values.contains(it)),
            Operator::NotEquals | Operator::NotIn => label.is_none_or(|it| !self.values.contains(it)),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::GreaterThan => compare(|label, bound| label > bound),
            Operator::LessThan => compare(|label, bound| label < bound),
        }
    }
}

/// A conjunction of requirements; empty matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// All must hold.
    pub requirements: Vec<Requirement>,
}

impl LabelSelector {
    /// Reads the query parameter `labelSelector`.
    ///
    /// # Errors
    /// [`SelectorError`] with the reference's text.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let requirements = Parser { lexer: Lexer { text, position: 0 } }.requirements().map_err(SelectorError)?;
        Ok(Self { requirements })
    }

    /// The selector that an object holds (`metav1.LabelSelector`): its `matchLabels` and `matchExpressions`, by label.
    ///
    /// # Errors
    /// [`SelectorError`] for an operator that is none.
    pub fn of(selector: &Value) -> Result<Self, SelectorError> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut requirements: Vec<Requirement> = Vec::new();
        for (key, value) in at(selector, "matchLabels").as_object().into_iter().flatten() {
            let values = BTreeSet::from([text(value)]);
            requirements.push(Requirement { key: key.clone(), operator: Operator::Equals, values });
        }
        for expression in items(selector, "matchExpressions") {
            let operator = match at(expression, "operator").as_str().unwrap_or_default() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(SelectorError(format!("{other:?} is not a valid label selector operator"))),
            };
            let values = items(expression, "values").iter().map(text).collect();
            requirements.push(Requirement { key: text(at(expression, "key")), operator, values });
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements })
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether an object matches (its `metadata.labels`).
    pub fn matches(&self, object: &Value) -> bool {
        if self.is_empty() {
            return true;
        }
        let labels = at(object, "metadata.labels").as_object();
        self.requirements.iter().all(|it| it.matches(labels))
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, operator, values } = self;
        let list = || values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        match operator {
            Operator::Equals => write!(f, "{key}={}", list()),
            Operator::In => write!(f, "{key} in ({})", list()),
            Operator::NotEquals => write!(f, "{key}!={}", list()),
            Operator::NotIn => write!(f, "{key} notin ({})", list()),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{}", list()),
            Operator::LessThan => write!(f, "{key}<{}", list()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    End,
    Comma,
    Open,
    Close,
    Equals,
    DoubleEquals,
    NotEquals,
    Not,
    Greater,
    Less,
    In,
    NotIn,
    Word(&'a str),
}

impl<'a> Token<'a> {
    /// The characters of the token, as error texts show it.
    fn literal(self) -> &'a str {
        match self {
            Self::End => "",
            Self::Comma => ",",
            Self::Open => "(",
            Self::Close => ")",
            Self::Equals => "=",
            Self::DoubleEquals => "==",
            Self::NotEquals => "!=",
            Self::Not => "!",
            Self::Greater => ">",
            Self::Less => "<",
            Self::In => "in",
            Self::NotIn => "notin",
            Self::Word(word) => word,
        }
    }
}

/// Splits the text. Symbols are runs of `=!(),<>`, of which the longest that means something is taken.
#[derive(Clone, Copy)]
struct Lexer<'a> {
    text: &'a str,
    position: usize,
}

const SYMBOLS: &[u8] = b"=!(),<>";

impl<'a> Lexer<'a> {
    fn next(&mut self) -> Token<'a> {
        let bytes = self.text.as_bytes();
        while bytes.get(self.position).is_some_and(|it| matches!(it, b' ' | b'\t' | b'\r' | b'\n')) {
            self.position += 1;
        }
        let start = self.position;
        let Some(first) = bytes.get(start) else { return Token::End };
        if SYMBOLS.contains(first) {
            let two = bytes.get(start..start + 2).unwrap_or_default();
            let (token, length) = match (first, two) {
                (_, b"==") => (Token::DoubleEquals, 2),
                (_, b"!=") => (Token::NotEquals, 2),
                (b'=', _) => (Token::Equals, 1),
                (b'!', _) => (Token::Not, 1),
                (b'(', _) => (Token::Open, 1),
                (b')', _) => (Token::Close, 1),
                (b',', _) => (Token::Comma, 1),
                (b'>', _) => (Token::Greater, 1),
                _ => (Token::Less, 1),
            };
            self.position += length;
            return token;
        }
        let length = bytes[start..]
            .iter()
            .take_while(|it| !SYMBOLS.contains(it) && !matches!(it, b' ' | b'\t' | b'\r' | b'\n'))
            .count();
        self.position += length;
        // Words end before ASCII, so that the slice cannot split a character.
        match self.text.get(start..self.position).unwrap_or_default() {
            "in" => Token::In,
            "notin" => Token::NotIn,
            word => Token::Word(word),
        }
    }
}

/// Recursive descent with one token of lookahead; errors are the reference's sentences.
struct Parser<'a> {
    lexer: Lexer<'a>,
}

impl<'a> Parser<'a> {
    /// The next token without taking it; `in` and `notin` are words like others except as operators.
    fn peek(&self) -> Token<'a> {
        Self { lexer: self.lexer }.take()
    }

    /// The next token, where an operator cannot stand.
    fn take(&mut self) -> Token<'a> {
        match self.lexer.next() {
            Token::In => Token::Word("in"),
            Token::NotIn => Token::Word("notin"),
            other => other,
        }
    }

    fn requirements(&mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                Token::Word(_) | Token::Not => {}
                Token::End => return Ok(requirements),
                other => return Err(found(other, "!, identifier, or 'end of string'")),
            }
            let requirement = self.requirement().map_err(|why| format!("unable to parse requirement: {why}"))?;
            requirements.push(requirement);
            match self.take() {
                Token::End => return Ok(requirements),
                Token::Comma => match self.peek() {
                    Token::Word(_) | Token::Not => {}
                    other => return Err(found(other, "identifier after ','")),
                },
                other => return Err(found(other, "',' or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let mut absent = false;
        let mut token = self.take();
        if token == Token::Not {
            absent = true;
            token = self.take();
        }
        let Token::Word(key) = token else { return Err(found(token, "identifier")) };
        let problems = names::qualified(key);
        if !problems.is_empty() {
            return Err(invalid("key", key, &problems));
        }
        if absent || matches!(self.peek(), Token::End | Token::Comma) {
            let operator = if absent { Operator::DoesNotExist } else { Operator::Exists };
            return Ok(Requirement { key: key.to_owned(), operator, values: BTreeSet::new() });
        }
        let (operator, several) = match self.lexer.next() {
            Token::In => (Operator::In, true),
            Token::NotIn => (Operator::NotIn, true),
            Token::Equals | Token::DoubleEquals => (Operator::Equals, false),
            Token::NotEquals => (Operator::NotEquals, false),
            Token::Greater => (Operator::GreaterThan, false),
            Token::Less => (Operator::LessThan, false),
            other => return Err(found(other, "in, notin, =, ==, !=, gt, lt")),
        };
        let values = if several { self.list()? } else { BTreeSet::from([self.single()?.to_owned()]) };
        checked(key, operator, values)
    }

    /// The value after `=`, `!=`, `>` or `<`; nothing there is the empty value.
    fn single(&mut self) -> Result<&'a str, String> {
        match self.peek() {
            Token::End | Token::Comma => Ok(""),
            Token::Word(word) => {
                self.take();
                Ok(word)
            }
            other => Err(found(other, "identifier")),
        }
    }

    /// `(a,b)`; an empty place is the empty value.
    fn list(&mut self) -> Result<BTreeSet<String>, String> {
        let open = self.take();
        if open != Token::Open {
            return Err(format!("found '{}' expected: '('", open.literal()));
        }
        let mut values = BTreeSet::new();
        match self.peek() {
            Token::Close => {
                self.take();
                values.insert(String::new());
                return Ok(values);
            }
            Token::Word(_) | Token::Comma => {}
            other => return Err(found(other, "',', ')' or identifier")),
        }
        // Whether the place before the next comma or the end holds a word.
        let mut filled = false;
        loop {
            match self.take() {
                Token::Word(word) if !filled => {
                    values.insert(word.to_owned());
                    filled = true;
                }
                Token::Comma => {
                    if !filled {
                        values.insert(String::new());
                    }
                    filled = false;
                }
                Token::Close => {
                    if !filled {
                        values.insert(String::new());
                    }
                    return Ok(values);
                }
                other if filled => return Err(found(other, "',' or ')'")),
                other => return Err(found(other, "',', or identifier")),
            }
        }
    }
}

fn found(token: Token<'_>, expected: &str) -> String {
    format!("found '{}', expected: {expected}", token.literal())
}

/// A requirement whose values fit its operator.
fn checked(key: &str, operator: Operator, values: BTreeSet<String>) -> Result<Requirement, String> {
    let ordered = matches!(operator, Operator::GreaterThan | Operator::LessThan);
    for (index, value) in values.iter().enumerate() {
        if ordered && value.parse::<i64>().is_err() {
            let problem = "for 'Gt', 'Lt' operators, the value must be an integer".to_owned();
            return Err(invalid(&format!("values[{index}]"), value, &[problem]));
        }
        let problems = names::label_value(value);
        if !problems.is_empty() {
            return Err(invalid(&format!("values[{index}][{key}]"), value, &problems));
        }
    }
    Ok(Requirement { key: key.to_owned(), operator, values })
}

fn invalid(field: &str, value: &str, problems: &[String]) -> String {
    format!("{field}: Invalid value: {value:?}: {}", problems.join("; "))
}
