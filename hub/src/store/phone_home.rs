//! How stamped devices find this hub beside its own address: further addresses, and the proxy on the way. One setting of all the hub's processes.

use machine_config::schema::{Hub, HubProxy};
use machine_config::types::Secret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::Store;
use super::error::StoreError;
use crate::model::By;

const NAME: &str = "phone-home";

/// What stamped devices are told beside the hub's address and pin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PhoneHome {
    /// Further addresses of this hub, `https://HOST[:PORT]`, tried in turn; at most seven.
    pub fallbacks: Vec<String>,
    /// The proxy through which they call; none: they call directly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
}

/// A proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proxy {
    /// `http://HOST:PORT` or `https://HOST:PORT`.
    pub url: String,
    /// The name it asks for; none: it asks for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The password that belongs to it. It is never shown again; left out where `url` and `user` stay, it stays too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub password: Option<Secret>,
    /// SHA-256 of the public key of a proxy with `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<String>,
}

impl PhoneHome {
    /// What devices are told of the hub with this address and pin.
    pub fn hub(self, url: String, pin: String) -> Hub {
        let proxy = self.proxy.map(|Proxy { url, user, password, pin }| HubProxy { url, user, password, pin });
        Hub { url, pin, fallbacks: self.fallbacks, proxy }
    }

    /// Without what nobody may see.
    #[must_use]
    pub fn masked(mut self) -> Self {
        if let Some(proxy) = &mut self.proxy {
            proxy.password = None;
        }
        self
    }

    /// With the password of `before`, where nothing else is said and it is the same proxy's.
    fn with_password_of(mut self, before: &Self) -> Self {
        if let (Some(proxy), Some(before)) = (&mut self.proxy, &before.proxy)
            && proxy.password.is_none()
            && (&proxy.url, &proxy.user, &proxy.pin) == (&before.url, &before.user, &before.pin)
        {
            proxy.password.clone_from(&before.password);
        }
        self
    }

    /// As the database has it. A secret's own form is a mask.
    fn kept(&self) -> String {
        let mut value = json!(self);
        if let Some(password) = self.proxy.as_ref().and_then(|proxy| proxy.password.as_ref()) {
            value["proxy"]["password"] = password.expose().into();
        }
        value.to_string()
    }

    fn check(&self, url: &str, pin: &str) -> Result<(), StoreError> {
        let wrong = machine_config::check_hub(&self.clone().hub(url.to_owned(), pin.to_owned())).err().unwrap_or_default();
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(StoreError::Invalid {
                what: "the way to the hub",
                why: wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            }),
        }
    }
}

impl Store {
    /// What stamped devices are told.
    ///
    /// # Errors
    /// The database failed.
    pub async fn phone_home(&self) -> Result<PhoneHome, StoreError> {
        let Some(text) = self.setting(NAME).await? else { return Ok(PhoneHome::default()) };
        serde_json::from_str(&text).map_err(|error| StoreError::Corrupt { what: NAME, message: error.to_string() })
    }

    /// Changes what devices are told that are stamped from now on, by the hub with this address and pin.
    ///
    /// # Errors
    /// No device could use it.
    pub async fn put_phone_home(&self, new: PhoneHome, [url, pin]: [&str; 2], by: &By) -> Result<(), StoreError> {
        let new = new.with_password_of(&self.phone_home().await?);
        new.check(url, pin)?;
        self.put_setting(NAME, &new.kept(), json!(new.masked()), by).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(url: &str, user: Option<&str>, password: Option<&str>) -> PhoneHome {
        let password = password.map(|text| Secret::from(text.to_owned()));
        let proxy = Proxy { url: url.into(), user: user.map(Into::into), password, pin: None };
        PhoneHome { fallbacks: vec!["https://10.0.0.1".into()], proxy: Some(proxy) }
    }

    #[test]
    fn what_no_device_could_use_is_refused() {
        let check = |new: &PhoneHome| new.check("https://hub.example", &"ab".repeat(32));
        assert!(check(&PhoneHome::default()).is_ok() && check(&proxy("http://p:3128", Some("kim"), Some("x"))).is_ok());
        for bad in [
            proxy("socks5://p:1", None, None),
            proxy("http://p:3128", Some("kim"), None),
            PhoneHome { fallbacks: vec!["https://hub.example".into()], proxy: None },
            PhoneHome { fallbacks: vec!["http://a".into()], proxy: None },
        ] {
            assert!(check(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_password_goes_with_its_proxy_and_to_no_other() {
        let before = proxy("http://p:3128", Some("kim"), Some("pa55"));
        let password = |new: PhoneHome| new.with_password_of(&before).proxy.and_then(|proxy| proxy.password);
        assert!(password(proxy("http://p:3128", Some("kim"), None)).is_some());
        assert!(password(proxy("http://other:3128", Some("kim"), None)).is_none());
        assert!(password(proxy("http://p:3128", None, None)).is_none());
        assert_eq!(serde_json::from_str::<PhoneHome>(&before.kept()).unwrap(), before);
        assert!(!json!(before).to_string().contains("pa55"));
        assert!(before.clone().masked().proxy.is_some_and(|proxy| proxy.password.is_none()));
    }
}
