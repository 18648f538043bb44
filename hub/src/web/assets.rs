//! Style, script and icon: inside the program, under an address that changes with their content, so that browsers keep them for ever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use sha2::{Digest as _, Sha256};

struct Asset {
    name: &'static str,
    kind: &'static str,
    content: &'static str,
}

const ASSETS: [Asset; 3] = [
    Asset { name: "hub.css", kind: "text/css; charset=utf-8", content: include_str!("../../assets/hub.css") },
    Asset { name: "hub.js", kind: "text/javascript; charset=utf-8", content: include_str!("../../assets/hub.js") },
    Asset { name: "icon.svg", kind: "image/svg+xml", content: include_str!("../../assets/icon.svg") },
];

/// The beginning of the hash of all of them.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let hasher = ASSETS.iter().fold(Sha256::new(), |hasher, asset| hasher.chain_update(asset.content));
    hex::encode(&hasher.finalize()[..8])
});

/// Where an asset is.
pub(super) fn href(name: &str) -> String {
    format!("/assets/{}/{name}", *VERSION)
}

/// An asset; also under the address of an earlier program, for pages that are still open.
pub(super) async fn serve(Path((version, name)): Path<(String, String)>) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else { return StatusCode::NOT_FOUND.into_response() };
    let keep = if version == *VERSION { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers =
        [(header::CONTENT_TYPE, asset.kind), (header::CACHE_CONTROL, keep), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (headers, asset.content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_ours_asks_another_host() {
        for asset in &ASSETS {
            let text = asset.content.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("//www") && !text.contains("http://") && !text.contains("https://"), "{}", asset.name);
        }
        assert!(href("hub.css").starts_with("/assets/") && href("hub.css").len() == "/assets//hub.css".len() + 16);
    }
}
