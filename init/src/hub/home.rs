//! Which hub counts, and what a session with it begins with: a pure function of SEED, the configuration in force and who the device is.
//!
//! The hub of the configuration in force counts; without one, SEED's. Without either there is none, and nobody is called.

use api::hub::v1::Release;
use api::internal::{HubProxy, HubSettings};
use machine_config::schema::Hub;
use machine_config::seed::Seed;
use machine_config::types::{HostName, Secret};
use machine_config::{SemanticError, check_hub};

use crate::node::InForce;
use crate::state::Identity;

/// What SEED says of phoning home.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HomeOfSeed {
    /// The hub.
    pub hub: Option<Hub>,
    /// Shown to it once.
    pub join_token: Option<Secret>,
    /// What the device is called until a configuration names it.
    pub device_name: Option<HostName>,
}

impl HomeOfSeed {
    /// What this SEED says. A hub that cannot be called is left out; the second is what is wrong with it, for a person.
    pub fn of(seed: &Seed) -> (Self, Option<String>) {
        let problem = seed.hub.as_ref().and_then(|hub| check_hub(hub).err());
        let hub = seed.hub.clone().filter(|_| problem.is_none());
        let home = Self { hub, join_token: seed.join_token.clone(), device_name: seed.device_name.clone() };
        let told = |errors: Vec<SemanticError>| {
            let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
            format!("SEED names one that cannot be called ({}); stamp the device again", all.join("; "))
        };
        (home, problem.map(told))
    }
}

/// Who calls.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// Its key.
    pub identity: &'a Identity,
    /// Whose keys it obeys; empty while unknown.
    pub fleet: &'a str,
    /// What it runs.
    pub release: &'a Release,
}

/// What apid phones home with; none: nobody is called.
pub fn settings(seed: &HomeOfSeed, in_force: Option<&InForce>, caller: Caller<'_>) -> Option<HubSettings> {
    let hub = in_force.and_then(|current| current.config.hub.as_ref()).or(seed.hub.as_ref())?;
    let name = in_force.map(|current| &current.config.metadata.name).or(seed.device_name.as_ref());
    Some(HubSettings {
        urls: std::iter::once(&hub.url).chain(&hub.fallbacks).map(|url| url.trim_end_matches('/').to_owned()).collect(),
        pin: hub.pin.clone(),
        proxy: hub.proxy.as_ref().map(proxy),
        join_token: join_token(seed, hub).map(|token| token.expose().to_owned()).unwrap_or_default(),
        device_name: name.map(ToString::to_string).unwrap_or_default(),
        fleet: caller.fleet.to_owned(),
        public_key: caller.identity.signing_key().verifying_key().to_bytes().to_vec(),
        release: Some(caller.release.clone()),
        config_generation: in_force.map_or(0, |current| current.generation),
        config_digest: in_force.map(|current| current.digest.clone()).unwrap_or_default(),
    })
}

/// SEED's token is for SEED's hub: a configuration that names another hub does not hand it over. Without a hub of its own it is for
/// whichever there is.
fn join_token<'a>(seed: &'a HomeOfSeed, hub: &Hub) -> Option<&'a Secret> {
    let meant = seed.hub.as_ref().is_none_or(|of_seed| of_seed.pin == hub.pin);
    seed.join_token.as_ref().filter(|_| meant)
}

fn proxy(proxy: &machine_config::schema::HubProxy) -> HubProxy {
    HubProxy {
        url: proxy.url.trim_end_matches('/').to_owned(),
        user: proxy.user.clone().unwrap_or_default(),
        password: proxy.password.as_ref().map(|password| password.expose().to_owned()).unwrap_or_default(),
        pin: proxy.pin.clone().unwrap_or_default(),
    }
}

/// Where whoever scans the console's code claims the device: the address that labels carry too.
pub fn claim_address(hub: &HubSettings, device_id: &str) -> Option<String> {
    hub.urls.first().map(|url| format!("{url}/claim/id/{device_id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(url: &str, pin: &str) -> Hub {
        Hub { url: url.into(), pin: pin.repeat(32), fallbacks: vec![], proxy: None }
    }

    fn seed(hub: Option<Hub>) -> HomeOfSeed {
        let device_name = Some("box-1".parse().expect("a name"));
        HomeOfSeed { hub, join_token: Some(Secret::from("a-token".to_owned())), device_name }
    }

    fn in_force(rest: &str) -> InForce {
        let head = "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetadata: {name: store-1, fleet: acme, generation: 7}\ntarget: {any: true}\n";
        let config = machine_config::parse(format!("{head}{rest}").as_bytes()).expect("valid");
        InForce { config, generation: 7, digest: "d".into(), key_id: "k".into() }
    }

    fn of(seed: &HomeOfSeed, in_force: Option<&InForce>) -> Option<HubSettings> {
        let identity = Identity::generate().expect("random bytes");
        let release = Release { version: "1".into(), ..Release::default() };
        let made = settings(seed, in_force, Caller { identity: &identity, fleet: "acme", release: &release });
        if let Some(made) = &made {
            assert_eq!(made.public_key, identity.signing_key().verifying_key().to_bytes());
            assert_eq!((made.fleet.as_str(), made.release.as_ref()), ("acme", Some(&release)));
        }
        made
    }

    #[test]
    fn a_hub_in_seed_that_cannot_be_called_is_left_out_and_told() {
        let key = machine_config::SigningKey::from_bytes(&[7; 32]).verifying_key().try_into().expect("a strong key");
        let fleet = machine_config::FleetTrust { name: "acme".parse().expect("a name"), keys: vec![key] };
        let mut seed = Seed { fleet, hub: None, join_token: None, device_name: None, config: None, identity: None };
        assert_eq!(HomeOfSeed::of(&seed), (HomeOfSeed::default(), None));
        seed.hub = Some(hub("https://hub.example", "ab"));
        assert_eq!(HomeOfSeed::of(&seed), (HomeOfSeed { hub: seed.hub.clone(), ..HomeOfSeed::default() }, None));
        seed.hub = Some(hub("http://hub.example", "ab"));
        let (home, problem) = HomeOfSeed::of(&seed);
        assert_eq!(home.hub, None);
        assert!(problem.expect("told").contains("hub.url: `http://hub.example` is not a hub's address"));
    }

    #[test]
    fn without_a_hub_nobody_is_called() {
        assert_eq!(of(&seed(None), None), None);
        assert_eq!(of(&seed(None), Some(&in_force(""))), None);
    }

    #[test]
    fn seed_says_where_to_until_a_configuration_does() {
        let seed = seed(Some(hub("https://seed.example/", "ab")));
        let before = of(&seed, None).expect("SEED's");
        assert_eq!(
            (before.urls.as_slice(), before.device_name.as_str()),
            (["https://seed.example".to_owned()].as_slice(), "box-1")
        );
        assert_eq!((before.join_token.as_str(), before.config_generation), ("a-token", 0));
        let silent = of(&seed, Some(&in_force(""))).expect("SEED's still");
        assert_eq!((silent.urls, silent.config_generation, silent.device_name.as_str()), (before.urls, 7, "store-1"));
        let text = format!("hub: {{url: \"https://a.example\", fallbacks: [\"https://b.example\"], pin: {}}}\n", "ab".repeat(32));
        let after = of(&seed, Some(&in_force(&text))).expect("the configuration's");
        assert_eq!(after.urls, ["https://a.example", "https://b.example"]);
        assert_eq!((after.join_token.as_str(), after.config_digest.as_str()), ("a-token", "d"));
    }

    #[test]
    fn a_token_for_one_hub_is_not_shown_to_another() {
        let text = format!("hub: {{url: \"https://a.example\", pin: {}}}\n", "cd".repeat(32));
        let other = of(&seed(Some(hub("https://seed.example", "ab"))), Some(&in_force(&text))).expect("the configuration's");
        assert_eq!(other.join_token, "");
        assert_eq!(of(&seed(None), Some(&in_force(&text))).expect("the configuration's").join_token, "a-token");
    }

    #[test]
    fn a_proxy_comes_along_with_its_password() {
        let text = format!(
            "hub: {{url: \"https://a.example\", pin: {pin}, proxy: {{url: \"https://p.example:3128\", user: kim, password: pa55, pin: {pin}}}}}\n",
            pin = "cd".repeat(32)
        );
        let proxy = of(&seed(None), Some(&in_force(&text))).expect("a hub").proxy.expect("a proxy");
        assert_eq!((proxy.url.as_str(), proxy.user.as_str(), proxy.password.as_str()), ("https://p.example:3128", "kim", "pa55"));
        assert_eq!(proxy.pin.len(), 64);
    }

    #[test]
    fn the_address_to_claim_at_is_that_of_the_label() {
        let seed = seed(Some(hub("https://hub.example:8443/", "ab")));
        let settings = of(&seed, None).expect("SEED's");
        assert_eq!(claim_address(&settings, "beef").as_deref(), Some("https://hub.example:8443/claim/id/beef"));
    }
}
