//! The interface's own description, made of the handlers, so that it cannot say anything else than they do.

use std::sync::LazyLock;

use http::header;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder, SecurityRequirement};

use super::described;

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
    let about =
        "Devices, tokens, configurations, people and images of a Skerry hub. Which role a route needs stands in docs/hub-api.md.";
    let info = InfoBuilder::new().title("Skerry hub").version("1").description(Some(about)).build();
    OpenApiBuilder::new()
        .info(info)
        .paths(found.paths)
        .components(Some(components))
        .security(Some([SecurityRequirement::new("token", Vec::<String>::new())]))
        .build()
}

/// This description.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "own", responses((status = 200, description = "OpenAPI", content_type = "application/json")))]
pub(super) async fn serve() -> ([(header::HeaderName, &'static str); 1], &'static str) {
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str())
}
