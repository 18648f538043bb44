//! Which of the configurations assigned to a device it is offered.

use std::cmp::Reverse;
use std::time::Duration;

use machine_config::schema::Target;

use super::describe;
use crate::model::{Config, Device, Hardware};

/// How long a configuration that a device refused is not offered to it again, unless somebody assigns it anew.
pub(crate) const AFTER_REFUSAL: Duration = Duration::from_secs(3600);

/// Those that may be for the device, the best first: signed for its fleet, aimed at it, newer than what it has. A hub whose database is from
/// yesterday offers nothing old. Of two with one generation the one uploaded later is meant; the device takes only one of them anyway.
///
/// A group holds files for each of its devices: what is for another one must not stand in the way of what is for this one. Whether the signature
/// still counts is not known here.
pub fn candidates<'a>(device: &Device, assigned: &'a [Config]) -> Vec<&'a Config> {
    let targets = targets(device);
    let is_meant = |config: &&Config| {
        (device.fleet.is_empty() || config.fleet == device.fleet)
            && config.generation > device.config_generation
            && targets.contains(&config.target)
    };
    let mut found: Vec<_> = assigned.iter().filter(is_meant).collect();
    found.sort_by_key(|config| Reverse((config.generation, config.uploaded_at)));
    found
}

/// Everything that a target which means this device may say, in the words of [`describe`].
fn targets(device: &Device) -> Vec<String> {
    let Hardware { serials, macs } = device.known();
    let serials = serials.into_iter().map(|serial| Target { serial: Some(serial), ..Target::default() });
    let macs = macs.into_iter().map(|mac| Target { mac: Some(mac), ..Target::default() });
    let own = Target { device_id: Some(device.id.clone()), ..Target::default() };
    let any = Target { any: Some(true), ..Target::default() };
    serials.chain(macs).chain([own, any]).map(|target| describe(&target)).collect()
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
            candidates(&device, &all).first().map(|config| config.generation)
        };
        assert_eq!([at(0), at(4), at(5), at(6)], [Some(5), Some(5), None, None]);
        assert!(candidates(&device(1), &[]).is_empty());
    }

    #[test]
    fn a_neighbours_newer_configuration_does_not_stand_in_the_way() {
        let id = device(1).id;
        let aimed = |generation, target: &str| Config { target: target.into(), ..config(generation, "acme") };
        let all = [
            aimed(3, "serial S1"),
            aimed(9, "serial S2"),
            aimed(4, "mac 52:54:00:12:34:56"),
            aimed(8, "mac 52:54:00:12:34:57"),
            aimed(5, &format!("device {id}")),
            aimed(7, &format!("device {}", device(2).id)),
            aimed(2, "any"),
            aimed(6, "none"),
        ];
        let mac = "52:54:00:12:34:56".parse().unwrap();
        let device = Device { serials: vec!["S1".into()], macs: vec![mac], fleet: "acme".into(), ..device(1) };
        let generations: Vec<_> = candidates(&device, &all).iter().map(|config| config.generation).collect();
        assert_eq!(generations, [5, 4, 3, 2], "the best first, and the others behind it");
    }
}
