//! Which of the configurations assigned to a device it is offered.

use crate::model::{Config, Device};

/// The newest that was signed for the device's fleet. None: there is none, or the device has it, or a newer one already: a hub whose database is
/// from yesterday offers nothing old. Of two with one generation the one uploaded later is meant; the device takes only one of them anyway.
pub fn choose<'a>(device: &Device, assigned: &'a [Config]) -> Option<&'a Config> {
    let ours = assigned.iter().filter(|config| device.fleet.is_empty() || config.fleet == device.fleet);
    let best = ours.max_by_key(|config| (config.generation, config.uploaded_at))?;
    (best.generation > device.config_generation).then_some(best)
}

#[cfg(test)]
mod tests {
    use machine_config::types::Digest;

    use super::*;
    use crate::enrol::testing::device;
    use crate::model::Time;

    fn config(generation: u64, fleet: &str) -> Config {
        Config {
            digest: Digest::of(format!("{fleet} {generation}").as_bytes()),
            size: 1,
            fleet: fleet.into(),
            name: "a".into(),
            generation,
            target: "any".into(),
            key_id: "00112233445566aa".parse().unwrap(),
            uploaded_by: "host".into(),
            uploaded_at: Time::from_millis(0),
        }
    }

    #[test]
    fn a_device_is_never_offered_what_it_would_refuse_as_old() {
        let all = [config(3, "acme"), config(5, "acme"), config(9, "other"), config(4, "acme")];
        let at = |generation| {
            let device = Device { config_generation: generation, fleet: "acme".into(), ..device(1) };
            choose(&device, &all).map(|config| config.generation)
        };
        assert_eq!([at(0), at(4), at(5), at(6)], [Some(5), Some(5), None, None]);
        assert_eq!(choose(&device(1), &[]), None);
    }
}
