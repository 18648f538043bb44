//! Forms that came in: their fields as texts, and the texts as what they mean. A field that cannot be what it should be is told by its name.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Form, FromRequest, Request};

use super::oops::Oops;
use crate::auth::is_same_origin;
use crate::model::{Label, Labels, Time};

/// The fields of a form, in order.
pub(super) struct Fields(Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Oops;

    async fn from_request(request: Request, state: &S) -> Result<Self, Oops> {
        if !is_same_origin(request.headers(), request.uri()) {
            return Err(crate::auth::AuthError::Origin.into());
        }
        let form = Form::<Vec<(String, String)>>::from_request(request, state).await;
        let Form(fields) = form.map_err(|error| Oops::unusable(error.to_string()))?;
        if fields.iter().any(|(_, value)| value.contains('\0')) {
            return Err(Oops::malformed());
        }
        Ok(Self(fields))
    }
}

impl Fields {
    #[cfg(test)]
    pub(super) fn of(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    /// What shows that the form is from a page of somebody's login.
    pub(super) fn csrf(&self) -> Option<&str> {
        self.opt("csrf")
    }

    fn opt(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// A field without the space around it; empty when it is not there.
    pub(super) fn text(&self, name: &str) -> &str {
        self.opt(name).map_or("", str::trim)
    }

    /// All fields with this name.
    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// What a field means; none when it is empty.
    pub(super) fn parsed<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Oops>
    where
        T::Err: std::fmt::Display,
    {
        match self.text(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|error| Oops::unusable(format!("cannot use the field `{name}`: {error}"))),
        }
    }

    /// The lines of a field that say something.
    pub(super) fn lines(&self, name: &str) -> Vec<String> {
        self.text(name).lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// Labels, one a line.
    pub(super) fn labels(&self, name: &str) -> Result<Labels, Oops> {
        let mut labels = BTreeMap::new();
        for line in self.lines(name) {
            let Label { key, value } =
                line.parse().map_err(|error: crate::model::LabelError| Oops::unusable(error.to_string()))?;
            labels.insert(key, value);
        }
        Ok(labels)
    }

    /// A moment that many days ahead; none when the field is empty.
    pub(super) fn days(&self, name: &str, now: Time) -> Result<Option<Time>, Oops> {
        let days: Option<u32> = self.parsed(name)?;
        Ok(days.map(|days| now.after(Duration::from_secs(u64::from(days) * 86_400))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_mean_what_they_say_or_are_named() {
        let form = Fields::of(&[
            ("id", "a"),
            ("id", "b"),
            ("labels", " shop=1\r\n\r\nrow=2 "),
            ("uses", "x"),
            ("days", "2"),
            ("name", " kim "),
        ]);
        assert_eq!(form.all("id").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(form.text("name"), "kim");
        assert_eq!(form.text("nothing"), "");
        let labels = form.labels("labels").expect("labels");
        assert_eq!(labels, Labels::from([("shop".into(), "1".into()), ("row".into(), "2".into())]));
        assert!(form.parsed::<u32>("uses").expect_err("no number").message().contains("`uses`"));
        assert_eq!(form.days("days", Time::from_millis(0)).ok().flatten(), Some(Time::from_millis(172_800_000)));
        assert!(Fields::of(&[("labels", "shop")]).labels("labels").is_err());
    }
}
