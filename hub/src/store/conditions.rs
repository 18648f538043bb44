//! The conditions of a list that people filter: the text is ours, and what comes from outside is bound to it. Only what was asked for stands in
//! it, so that the database finds the index that fits.

use sqlx::AssertSqlSafe;

use super::query::Statement;

/// Conditions of which all must hold.
#[derive(Default)]
pub(super) struct Conditions {
    text: Vec<String>,
    values: Vec<Value>,
}

/// A value of a condition.
pub(super) enum Value {
    Text(String),
    Int(i64),
}

impl Conditions {
    /// A condition without a value.
    pub(super) fn say(&mut self, condition: &'static str) {
        self.text.push(condition.to_owned());
    }

    /// `condition` names its value `?` as often as it likes.
    pub(super) fn add(&mut self, condition: &'static str, value: Value) {
        self.values.push(value);
        self.text.push(condition.replace('?', &format!("${}", self.values.len())));
    }

    /// The same, if there is a value.
    pub(super) fn add_text(&mut self, condition: &'static str, value: Option<String>) {
        if let Some(value) = value {
            self.add(condition, Value::Text(value));
        }
    }

    /// A statement with these conditions between its beginning and its end.
    pub(super) fn statement(self, begin: &str, end: &str) -> Statement {
        let conditions = if self.text.is_empty() { String::new() } else { format!("WHERE {}", self.text.join(" AND ")) };
        let text = format!("{begin} {conditions} {end}");
        self.values.into_iter().fold(sqlx::query(AssertSqlSafe(text)), |statement, value| match value {
            Value::Text(text) => statement.bind(text),
            Value::Int(number) => statement.bind(number),
        })
    }
}
