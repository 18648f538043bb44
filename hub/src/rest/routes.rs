//! The one table route -> role. What is not in it cannot be called.

use http::Method;

use crate::auth::Area;
use crate::people::Role::{self, Admin, Installer, Operator, Reader};

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Anybody: it says nothing about devices or people.
    Anybody,
    /// Whoever is proven, whatever their role.
    Anyone,
    /// Who has this role or one that includes it.
    Role(Role),
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, with its parts in braces.
    pub path: &'static str,
    /// Who may.
    pub who: Who,
    /// The scope that a limited token needs.
    pub area: Area,
}

const fn route(method: Method, path: &'static str, role: Role, area: Area) -> Route {
    Route { method, path, who: Who::Role(role), area }
}

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const PATCH: Method = Method::PATCH;
const DELETE: Method = Method::DELETE;

/// Every route of the REST interface.
pub const ROUTES: &[Route] = &[
    Route { method: GET, path: "/api/v1/openapi.json", who: Who::Anybody, area: Area::Own },
    Route { method: GET, path: "/api/v1/me", who: Who::Anyone, area: Area::Own },
    route(GET, "/api/v1/overview", Reader, Area::Own),
    route(GET, "/api/v1/devices", Reader, Area::Devices),
    route(POST, "/api/v1/devices/approve", Operator, Area::Devices),
    route(POST, "/api/v1/devices/refuse", Operator, Area::Devices),
    route(POST, "/api/v1/devices/quarantine", Operator, Area::Devices),
    route(POST, "/api/v1/devices/remove", Operator, Area::Devices),
    route(GET, "/api/v1/devices/{device}", Reader, Area::Devices),
    route(PATCH, "/api/v1/devices/{device}", Operator, Area::Devices),
    route(GET, "/api/v1/devices/{device}/events", Reader, Area::Devices),
    route(GET, "/api/v1/devices/{device}/deliveries", Reader, Area::Devices),
    route(POST, "/api/v1/devices/{device}/replace", Operator, Area::Devices),
    // With secrets: it is the fleet's configuration, to be signed.
    route(GET, "/api/v1/devices/{device}/replacement-draft", Admin, Area::Configs),
    // The device judges the operator's own certificate; the hub carries bytes it cannot read.
    route(GET, "/api/v1/devices/{device}/tunnel", Reader, Area::Tunnels),
    route(GET, "/api/v1/claims/{kind}/{value}", Installer, Area::Claims),
    route(POST, "/api/v1/claims/{kind}/{value}", Installer, Area::Claims),
    route(GET, "/api/v1/tokens", Reader, Area::Tokens),
    route(POST, "/api/v1/tokens", Operator, Area::Tokens),
    route(GET, "/api/v1/tokens/{id}", Reader, Area::Tokens),
    route(DELETE, "/api/v1/tokens/{id}", Operator, Area::Tokens),
    route(GET, "/api/v1/fleets", Reader, Area::Fleets),
    route(POST, "/api/v1/fleets", Admin, Area::Fleets),
    route(DELETE, "/api/v1/fleets/{name}", Admin, Area::Fleets),
    route(GET, "/api/v1/stations", Reader, Area::Fleets),
    route(POST, "/api/v1/stations", Admin, Area::Fleets),
    route(DELETE, "/api/v1/stations/{id}", Admin, Area::Fleets),
    route(GET, "/api/v1/configs", Reader, Area::Configs),
    route(POST, "/api/v1/configs", Operator, Area::Configs),
    route(GET, "/api/v1/configs/{digest}", Reader, Area::Configs),
    route(DELETE, "/api/v1/configs/{digest}", Operator, Area::Configs),
    route(GET, "/api/v1/configs/{digest}/masked", Reader, Area::Configs),
    route(GET, "/api/v1/configs/{digest}/deliveries", Reader, Area::Configs),
    route(POST, "/api/v1/configs/{digest}/assignments", Operator, Area::Configs),
    route(DELETE, "/api/v1/configs/{digest}/assignments", Operator, Area::Configs),
    route(GET, "/api/v1/rules", Reader, Area::Rules),
    route(POST, "/api/v1/rules", Admin, Area::Rules),
    route(DELETE, "/api/v1/rules/{name}", Admin, Area::Rules),
    route(GET, "/api/v1/policy", Reader, Area::Rules),
    route(PUT, "/api/v1/policy", Admin, Area::Rules),
    route(GET, "/api/v1/expected", Reader, Area::Expected),
    route(DELETE, "/api/v1/expected/{key}", Operator, Area::Expected),
    route(POST, "/api/v1/manifests", Operator, Area::Expected),
    route(POST, "/api/v1/records", Operator, Area::Expected),
    route(GET, "/api/v1/users", Admin, Area::People),
    route(PUT, "/api/v1/users/{name}", Admin, Area::People),
    route(PATCH, "/api/v1/users/{name}", Admin, Area::People),
    route(GET, "/api/v1/installers", Admin, Area::People),
    route(PUT, "/api/v1/installers/{actor}", Admin, Area::People),
    route(GET, "/api/v1/api-tokens", Admin, Area::People),
    route(POST, "/api/v1/api-tokens", Admin, Area::People),
    route(DELETE, "/api/v1/api-tokens/{id}", Admin, Area::People),
    route(GET, "/api/v1/audit", Reader, Area::Audit),
    route(GET, "/api/v1/images", Reader, Area::Images),
    route(GET, "/api/v1/images/{name}", Reader, Area::Images),
    route(GET, "/api/v1/phone-home", Reader, Area::Images),
    route(PUT, "/api/v1/phone-home", Admin, Area::Images),
    // It makes a join token.
    route(POST, "/api/v1/images/{name}/downloads", Operator, Area::Images),
    route(GET, "/api/v1/downloads/{id}", Operator, Area::Images),
];

/// The route of a request; what asks for the headers alone is what asks for the whole.
pub fn route_of(method: &Method, path: &str) -> Option<&'static Route> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    ROUTES.iter().find(|route| route.method == *method && route.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_stands_there_once() {
        for (at, route) in ROUTES.iter().enumerate() {
            let again = ROUTES[at + 1..].iter().any(|other| (&other.method, other.path) == (&route.method, route.path));
            assert!(!again, "{} {}", route.method, route.path);
        }
        assert!(route_of(&Method::HEAD, "/api/v1/images/{name}").is_some());
        assert!(route_of(&Method::PUT, "/api/v1/me").is_none());
    }

    #[test]
    fn only_the_interface_itself_is_told_to_anybody() {
        let open: Vec<_> = ROUTES.iter().filter(|route| route.who == Who::Anybody).map(|route| route.path).collect();
        assert_eq!(open, ["/api/v1/openapi.json"]);
    }

    #[test]
    fn an_installer_claims_and_nothing_else() {
        let allowed = |route: &&Route| matches!(route.who, Who::Role(needed) if Role::Installer.includes(needed));
        let paths: Vec<_> = ROUTES.iter().filter(allowed).map(|route| route.path).collect();
        assert_eq!(paths, ["/api/v1/claims/{kind}/{value}"; 2]);
    }

    #[test]
    fn a_reader_changes_nothing() {
        for route in ROUTES.iter().filter(|route| route.method != GET) {
            assert!(matches!(route.who, Who::Role(needed) if !Role::Reader.includes(needed)), "{}", route.path);
        }
    }
}
