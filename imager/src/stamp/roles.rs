//! What k3s may be on a board: a configuration that asks for more than the board's memory allows is refused at the warehouse and not found out
//! on site.

use machine_config::MachineConfig;
use machine_config::schema;

use crate::board::K3sRole;

/// The role that a configuration asks for and the board does not allow.
pub fn refused(config: &MachineConfig, allowed: &[K3sRole]) -> Option<K3sRole> {
    let wanted = match config.k3s.as_ref()?.role {
        schema::K3sRole::Server => K3sRole::Server,
        schema::K3sRole::Agent => K3sRole::Agent,
    };
    (!allowed.contains(&wanted)).then_some(wanted)
}

/// What a board allows, in words that follow a comma.
pub fn allowed(board: &str, roles: &[K3sRole]) -> String {
    match roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().as_slice() {
        [] => format!("and `{board}` is not strong enough for k3s; leave `k3s` out of its configuration"),
        roles => format!("and `{board}` is strong enough for a k3s {} only; change the role in it", roles.join(" or ")),
    }
}

/// Memory, in MiB, below which no k3s server is of use.
pub const SERVER_MIB: u64 = 2048;

/// What to know before a configuration makes a device of this board a k3s server, when not every machine of its kind has the memory for it.
pub fn scarce(config: &MachineConfig, board: &str, memory_mib: u64) -> Option<String> {
    let is_server = config.k3s.as_ref().is_some_and(|k3s| k3s.role == schema::K3sRole::Server);
    (is_server && memory_mib < SERVER_MIB).then(|| {
        format!("a k3s server wants {SERVER_MIB} MiB of memory, and there are `{board}` with {memory_mib} MiB: see that the device has enough")
    })
}

#[cfg(test)]
mod tests {
    use machine_config::judge_for_fleet;

    use super::*;
    use crate::stamp::testing::{config_with, fleet};

    #[test]
    fn a_server_on_a_kind_of_machine_that_may_be_too_small_is_warned_of() {
        for (more, memory, warned) in
            [("k3s: {role: server}\n", SERVER_MIB - 1, true), ("k3s: {role: server}\n", SERVER_MIB, false), ("", 1024, false)]
        {
            let config = judge_for_fleet(&config_with("a", "any: true", more), &fleet(1).trust()).expect("good");
            let text = scarce(config.content(), "rpi4", memory);
            assert_eq!(text.is_some(), warned, "{more} {memory}");
            assert!(text.is_none_or(|text| text.contains("there are `rpi4` with 2047 MiB")));
        }
    }
}
