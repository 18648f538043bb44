//! Images: listed with their hashes, downloaded as they are, or stamped for devices of this hub on the way.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use machine_config::types::Secret;

use super::Web;
use super::fields::Fields;
use super::oops::{Oops, shown};
use super::shell::{Section, Shell};
use super::view::size;
use super::visitor::Visitor;
use crate::auth::Area;
use crate::images::{Download, DownloadError, Image, ImageError, NewDownload};
use crate::model::Binding;
use crate::people::Role;
use crate::store::{PhoneHome, Proxy};

struct Row {
    name: String,
    size: String,
    sha256: String,
    beside: Vec<String>,
}

/// A stamped image that was made just now.
struct Made {
    name: String,
    path: String,
    size: String,
    token: String,
}

#[derive(Template)]
#[template(path = "images.html")]
struct Page {
    shell: Shell,
    made: Option<Made>,
    obstacle: Option<String>,
    rows: Vec<Row>,
    stampable: Vec<String>,
    fleets: Vec<String>,
    can_stamp: bool,
    /// Shown to those who may change it.
    phone_home: Option<PhoneHomeForm>,
    done: bool,
    csrf: String,
}

/// How stamped devices find this hub beside its own address.
#[derive(Default)]
struct PhoneHomeForm {
    fallbacks: String,
    proxy: String,
    user: String,
    pin: String,
    has_password: bool,
}

impl From<PhoneHome> for PhoneHomeForm {
    fn from(set: PhoneHome) -> Self {
        let fallbacks = set.fallbacks.join("\n");
        let Some(proxy) = set.proxy else { return Self { fallbacks, ..Self::default() } };
        let has_password = proxy.password.is_some();
        let (user, pin) = (proxy.user.unwrap_or_default(), proxy.pin.unwrap_or_default());
        Self { fallbacks, proxy: proxy.url, user, pin, has_password }
    }
}

impl From<&Image> for Row {
    fn from(image: &Image) -> Self {
        Self {
            name: image.name.clone(),
            size: size(image.bytes),
            sha256: image.sha256.clone().unwrap_or_default(),
            beside: image.beside.clone(),
        }
    }
}

impl From<Download> for Made {
    fn from(made: Download) -> Self {
        Self { name: made.name, path: made.path, size: size(made.bytes), token: made.token.id }
    }
}

/// What the address may say.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    done: String,
}

async fn render(web: &Web, visitor: &Visitor, asked: &Asked, made: Option<Made>) -> Result<Response, Oops> {
    let (images, obstacle) = match web.images.list().await {
        Ok(images) => (images, None),
        Err(ImageError::NoFolder) => (vec![], Some("This hub was started without --images, so it has none to offer.".to_owned())),
        Err(error) => return Err(Oops::internal(&error)),
    };
    let fleets = web.services.store.fleets().await?;
    let phone_home = match visitor.can_change(Role::Admin, Area::Images) && web.services.url.is_some() {
        true => Some(web.services.store.phone_home().await?.into()),
        false => None,
    };
    shown(&Page {
        shell: visitor.shell(web, Section::Images, "Images").await?,
        made,
        obstacle,
        rows: images.iter().map(Row::from).collect(),
        stampable: images.iter().filter(|image| image.stampable).map(|image| image.name.clone()).collect(),
        can_stamp: visitor.can_change(Role::Operator, Area::Images) && !fleets.is_empty() && web.services.url.is_some(),
        fleets: fleets.iter().map(|fleet| fleet.name.to_string()).collect(),
        phone_home,
        done: asked.done == "phone-home",
        csrf: visitor.csrf(),
    })
}

/// The page.
pub(super) async fn page(State(web): State<Web>, visitor: Visitor, Query(asked): Query<Asked>) -> Result<Response, Oops> {
    visitor.may_see(Role::Reader, Area::Images)?;
    render(&web, &visitor, &asked, None).await
}

/// Changes what devices are told that are stamped from now on.
pub(super) async fn phone_home(State(web): State<Web>, visitor: Visitor, fields: Fields) -> Result<Response, Oops> {
    visitor.may_change(fields.csrf(), Role::Admin, Area::Images)?;
    let given = |name: &str| Some(fields.text(name).to_owned()).filter(|text| !text.is_empty());
    let proxy = given("proxy").map(|url| Proxy {
        url,
        user: given("user"),
        password: given("password").map(Secret::from),
        pin: given("pin"),
    });
    web.put_phone_home(PhoneHome { fallbacks: fields.lines("fallbacks"), proxy }, &visitor.by()).await?;
    Ok(Redirect::to("/images?done=phone-home").into_response())
}

/// Makes a download of a stamped image.
pub(super) async fn stamp(State(web): State<Web>, visitor: Visitor, fields: Fields) -> Result<Response, Oops> {
    visitor.may_change(fields.csrf(), Role::Operator, Area::Images)?;
    let given = |name: &str| Some(fields.text(name).to_owned()).filter(|text| !text.is_empty());
    let new = NewDownload {
        device_name: fields.text("name").to_owned(),
        fleet: given("fleet"),
        uses: fields.parsed("uses")?.unwrap_or(1),
        binding: Binding { serial: given("serial"), ..Binding::default() },
        token_expires_at: fields.days("days", visitor.now)?,
        ..NewDownload::default()
    };
    let made =
        web.images.create_download(&web.services.store, fields.text("image"), new, web.hub().await?, &visitor.by()).await?;
    render(&web, &visitor, &Asked::default(), Some(made.into())).await
}

impl From<DownloadError> for Oops {
    fn from(error: DownloadError) -> Self {
        match error {
            DownloadError::Store(error) => error.into(),
            DownloadError::Image(error @ (ImageError::Read { .. } | ImageError::Stopping)) => Self::internal(&error),
            DownloadError::Image(
                ImageError::NoFolder | ImageError::Missing { .. } | ImageError::Damaged { .. } | ImageError::NotStampable { .. },
            )
            | DownloadError::NoUrl
            | DownloadError::Fleet(_)
            | DownloadError::Name(_)
            | DownloadError::Seed(_)
            | DownloadError::Over
            | DownloadError::Changed { .. } => Self::unusable(crate::rest::causes(&error)),
        }
    }
}
