//! Columns read back as what they were written as. Whatever else stands there was not written by this program, and is told as such.

use std::str::FromStr;

use serde::de::DeserializeOwned;
use sqlx::any::AnyRow;
use sqlx::{Any, Decode, Row, Type};

use super::error::StoreError;
use crate::model::Time;

/// A row to read columns from.
pub(super) struct Fields<'r>(pub(super) &'r AnyRow);

fn corrupt(what: &'static str) -> impl FnOnce(String) -> StoreError {
    move |message| StoreError::Corrupt { what, message }
}

impl<'r> Fields<'r> {
    fn get<T: Decode<'r, Any> + Type<Any>>(&self, name: &'static str) -> Result<T, StoreError> {
        self.0.try_get(name).map_err(|error| corrupt(name)(error.to_string()))
    }

    pub(super) fn int(&self, name: &'static str) -> Result<i64, StoreError> {
        self.get(name)
    }

    pub(super) fn opt_int(&self, name: &'static str) -> Result<Option<i64>, StoreError> {
        self.get(name)
    }

    /// A number that is never negative.
    pub(super) fn count<T: TryFrom<i64>>(&self, name: &'static str) -> Result<T, StoreError> {
        let value = self.int(name)?;
        T::try_from(value).map_err(|_| corrupt(name)(format!("{value} is out of range")))
    }

    pub(super) fn opt_count<T: TryFrom<i64>>(&self, name: &'static str) -> Result<Option<T>, StoreError> {
        match self.opt_int(name)? {
            Some(_) => self.count(name).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn truth(&self, name: &'static str) -> Result<bool, StoreError> {
        self.int(name).map(|value| value != 0)
    }

    pub(super) fn time(&self, name: &'static str) -> Result<Time, StoreError> {
        self.int(name).map(Time::from_millis)
    }

    pub(super) fn opt_time(&self, name: &'static str) -> Result<Option<Time>, StoreError> {
        Ok(self.opt_int(name)?.map(Time::from_millis))
    }

    pub(super) fn text(&self, name: &'static str) -> Result<String, StoreError> {
        self.get(name)
    }

    pub(super) fn opt_text(&self, name: &'static str) -> Result<Option<String>, StoreError> {
        self.get(name)
    }

    pub(super) fn bytes(&self, name: &'static str) -> Result<Vec<u8>, StoreError> {
        self.get(name)
    }

    /// 32 bytes.
    pub(super) fn hash(&self, name: &'static str) -> Result<[u8; 32], StoreError> {
        self.bytes(name)?.try_into().map_err(|bytes: Vec<u8>| corrupt(name)(format!("{} bytes in place of 32", bytes.len())))
    }

    /// A text of a type of its own.
    pub(super) fn word<T: FromStr<Err: std::fmt::Display>>(&self, name: &'static str) -> Result<T, StoreError> {
        self.text(name)?.parse().map_err(|error: T::Err| corrupt(name)(error.to_string()))
    }

    pub(super) fn opt_word<T: FromStr<Err: std::fmt::Display>>(&self, name: &'static str) -> Result<Option<T>, StoreError> {
        match self.opt_text(name)? {
            Some(_) => self.word(name).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn json<T: DeserializeOwned>(&self, name: &'static str) -> Result<T, StoreError> {
        serde_json::from_str(&self.text(name)?).map_err(|error| corrupt(name)(error.to_string()))
    }

    pub(super) fn opt_json<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, StoreError> {
        match self.opt_text(name)? {
            Some(_) => self.json(name).map(Some),
            None => Ok(None),
        }
    }
}

/// As JSON, for a column.
pub(super) fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("the model's types have a JSON form")
}

/// Each row as a value.
pub(super) fn each<T>(rows: &[AnyRow], read: impl Fn(&Fields<'_>) -> Result<T, StoreError>) -> Result<Vec<T>, StoreError> {
    rows.iter().map(|row| read(&Fields(row))).collect()
}
