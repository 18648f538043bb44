//! The interface's own description, made of the handlers, so that it cannot say anything else than they do.

use std::sync::LazyLock;

use http::{Method, header};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder, RefOr, SecurityRequirement};

use super::described;
use super::routes::{Who, route_of};

/// The description as text, made once.
static TEXT: LazyLock<String> = LazyLock::new(|| document().to_pretty_json().expect("the description is JSON") + "\n");

/// The description of every route.
pub fn document() -> OpenApi {
    let (_, found) = described().split_for_parts();
    let bearer = SecurityScheme::Http(
        HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API token of this hub")).build(),
    );
    let components = found.components.unwrap_or_default();
    let components = ComponentsBuilder::from(components).security_scheme("token", bearer).build();
    let about = "Devices, tokens, configurations, people and images of a Skerry hub.";
    let info = InfoBuilder::new().title("Skerry hub").version("1").description(Some(about)).build();
    let mut paths = found.paths;
    for (path, item) in &mut paths.paths {
        for (method, operation) in operations(item) {
            explain(path, &method, operation);
        }
    }
    OpenApiBuilder::new()
        .info(info)
        .paths(paths)
        .components(Some(components))
        .security(Some([SecurityRequirement::new("token", Vec::<String>::new())]))
        .build()
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let all = [
        (Method::GET, &mut item.get),
        (Method::PUT, &mut item.put),
        (Method::POST, &mut item.post),
        (Method::PATCH, &mut item.patch),
        (Method::DELETE, &mut item.delete),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Says who may, as the table has it, and what an answer is where nothing else is said.
fn explain(path: &str, method: &Method, operation: &mut Operation) {
    operation.description = route_of(method, path).map(|route| match route.who {
        Who::Anybody => "For anybody.".to_owned(),
        Who::Anyone => "For whoever is signed in.".to_owned(),
        Who::Role(role) => format!("Role: {role}. Scope: {}.", route.area),
    });
    for (status, response) in &mut operation.responses.responses {
        match response {
            RefOr::T(response) if response.description.is_empty() => {
                let said = if status == "default" { "Not done; the code says why" } else { "Done" };
                response.description = said.to_owned();
            }
            RefOr::T(_) | RefOr::Ref(_) => {}
        }
    }
}

/// This description.
#[utoipa::path(get, operation_id = "getDescription", path = "/api/v1/openapi.json", tag = "own", responses((status = 200, description = "OpenAPI", content_type = "application/json")))]
pub(super) async fn serve() -> ([(header::HeaderName, &'static str); 1], &'static str) {
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str())
}
