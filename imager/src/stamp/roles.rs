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
