//! Downloads of stamped images. Making one makes a join token for it and gives a secret address; asking for that address gives the image.
//!
//! The token is derived from the download's own random name, which the database has as a hash, and from the hub's key: neither the token nor the
//! image lies anywhere, and yet every request gets the same bytes. Who reads the address in a log has no token. The image goes to whoever made it,
//! as long as the token counts, and to nobody else.

use std::sync::Arc;
use std::time::Duration;

use imager::seed_place;
use machine_config::FleetTrust;
use machine_config::schema::Hub;
use machine_config::seed::{self, EncodeError, Seed};
use machine_config::types::{HostName, Secret};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::answer::Served;
use super::folder::{ImageError, Images, OpenImage, blocking};
use super::stamp::Patched;
use crate::model::{Binding, By, Labels, Time, Token};
use crate::store::{NewToken, Store, StoreError, new_name};
use crate::tls::HubKey;
use crate::tokens::{self, PREFIX, TOKEN_BYTES, text};

/// How long a download can be gone on with.
const LIFE: Duration = Duration::from_secs(24 * 3600);
/// No other use of a name hashes bytes that begin like this.
const CONTEXT: &[u8] = b"skerry.dev/hub-download-token/v2\0";
/// And no other use of the hub's key is called like this.
const PURPOSE: &str = "skerry.dev/hub-download/v1";

/// What makes join tokens of downloads' names. All processes of a hub have the same.
#[derive(Clone)]
pub struct DownloadKey(Arc<Zeroizing<[u8; 32]>>);

impl std::fmt::Debug for DownloadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DownloadKey")
    }
}

impl DownloadKey {
    /// The key of this hub.
    pub fn of(hub: &HubKey) -> Self {
        Self(Arc::new(hub.derive(PURPOSE)))
    }

    /// The join token of the download with this name.
    fn token(&self, name: &str) -> Secret {
        let hash = Sha256::new().chain_update(CONTEXT).chain_update(self.0.as_slice()).chain_update(name).finalize();
        let mut bytes = [0; TOKEN_BYTES];
        bytes.copy_from_slice(&hash[..TOKEN_BYTES]);
        text(PREFIX, &bytes)
    }
}

/// What to stamp.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NewDownload {
    /// What the device is called until a configuration names it; empty: nothing.
    pub device_name: String,
    /// The fleet it obeys; may be left out when the hub has one fleet.
    pub fleet: Option<String>,
    /// Devices that may join with the token inside; 0: one.
    pub uses: u32,
    /// Which devices the token is good for.
    pub binding: Binding,
    /// Labels that a device which joins gets.
    pub labels: Labels,
    /// Groups that a device which joins gets.
    pub groups: Vec<String>,
    /// When the token ends; none: never.
    pub token_expires_at: Option<Time>,
}

/// A download that was made.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Download {
    /// Where it is, on this hub. Secret: the join token follows from it.
    pub path: String,
    /// What the file is called.
    pub name: String,
    /// Bytes of it.
    pub bytes: u64,
    /// SHA-256 of the image that is stamped.
    pub base_sha256: String,
    /// The join token inside, by its id.
    pub token: Token,
    /// When it ends.
    pub expires_at: Time,
}

/// What the database keeps.
#[derive(Serialize, Deserialize)]
struct Kept {
    image: String,
    base_sha256: String,
    device_name: Option<HostName>,
    fleet: FleetTrust,
    hub: Hub,
    /// Apart, because a secret's own form is a mask.
    #[serde(default)]
    proxy_password: Option<String>,
    file: String,
    /// The join token's id.
    token: String,
    made_by: String,
}

impl Kept {
    /// What the device is told of the hub.
    fn hub(&self) -> Hub {
        let mut hub = self.hub.clone();
        if let Some(proxy) = &mut hub.proxy {
            proxy.password = self.proxy_password.clone().map(Secret::from);
        }
        hub
    }
}

/// Why there is no download.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// There is no such image, or it is not usable.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The database failed, or the token cannot be.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody told the hub its address.
    #[error("cannot stamp an image: devices would not find this hub; start it with --url")]
    NoUrl,
    /// Which fleet?
    #[error("cannot tell whom the device is to obey: {0}")]
    Fleet(&'static str),
    /// A name that no host can have.
    #[error("cannot call the device that: {0}")]
    Name(String),
    /// It does not fit.
    #[error(transparent)]
    Seed(#[from] EncodeError),
    /// It is over, or never was.
    #[error("cannot find this download: it has ended, or you made none of this name; make a new one")]
    Over,
    /// The base is another file now.
    #[error("cannot go on with this download: the image `{image}` was changed; make a new one")]
    Changed {
        /// Which.
        image: String,
    },
}

impl Images {
    /// Makes a download of this image. `hub` is what devices are told of this hub.
    ///
    /// # Errors
    /// See [`DownloadError`].
    pub async fn create_download(
        &self,
        store: &Store,
        image: &str,
        new: NewDownload,
        hub: Hub,
        by: &By,
    ) -> Result<Download, DownloadError> {
        let device_name = Some(new.device_name.as_str()).filter(|name| !name.is_empty()).map(str::parse::<HostName>).transpose();
        let device_name = device_name.map_err(|error| DownloadError::Name(error.to_string()))?;
        let fleet = choose_fleet(store, new.fleet.as_deref()).await?;
        let base_sha256 = self.hash(image).await?;
        let file = file_name(image, device_name.as_ref());
        let name = new_name()?;
        let secret = self.key().token(name.expose());
        let kept = Kept {
            image: image.to_owned(),
            base_sha256: base_sha256.clone(),
            device_name,
            fleet,
            proxy_password: hub.proxy.as_ref().and_then(|proxy| proxy.password.as_ref()).map(|text| text.expose().to_owned()),
            hub,
            file: file.clone(),
            token: tokens::id(&tokens::hash(secret.expose())),
            made_by: by.actor.to_string(),
        };
        let stamped = self.stamp(&kept, &secret).await?;
        let (token, _) = store.create_token(new_token(new, &file, secret), by).await?;
        let expires_at = by.at.after(LIFE);
        let shown =
            json!({ "image": image, "baseSha256": base_sha256, "token": token.id, "file": file, "fleet": kept.fleet.name });
        let value = serde_json::to_string(&kept).expect("texts are JSON");
        store.put_download(&name, value, expires_at, shown, by).await?;
        let path = format!("/api/v1/downloads/{}", name.expose());
        Ok(Download { path, name: file, bytes: stamped.bytes, base_sha256, token, expires_at })
    }

    /// The image of a download, for whoever made it.
    ///
    /// # Errors
    /// It has ended, its token was revoked or has expired, somebody else made it, or the image was changed since.
    pub async fn download(&self, store: &Store, name: &str, by: &By) -> Result<Served, DownloadError> {
        let value = store.download(name, by.at).await?.ok_or(DownloadError::Over)?;
        let kept: Kept = serde_json::from_str(&value).map_err(|_| DownloadError::Over)?;
        let token = store.token(&kept.token).await?;
        let counts = token.is_some_and(|token| token.revoked_at.is_none() && token.expires_at.is_none_or(|end| end > by.at));
        if !counts || kept.made_by != by.actor.to_string() {
            return Err(DownloadError::Over);
        }
        if self.hash(&kept.image).await? != kept.base_sha256 {
            return Err(DownloadError::Changed { image: kept.image });
        }
        self.stamp(&kept, &self.key().token(name)).await
    }

    /// An image, or what stands beside one, as it is.
    ///
    /// # Errors
    /// There is none, or it is none that is shown.
    pub async fn file(&self, name: &str) -> Result<Served, ImageError> {
        let OpenImage { file, bytes } = self.open_offered(name).await?;
        let sha256 = self.hash(name).await?;
        Ok(Served {
            patched: Patched { file, at: 0, patch: vec![] },
            bytes,
            etag: format!("\"{sha256}\""),
            name: name.to_owned(),
        })
    }

    async fn stamp(&self, kept: &Kept, token: &Secret) -> Result<Served, DownloadError> {
        let seed = Seed {
            fleet: kept.fleet.clone(),
            hub: Some(kept.hub()),
            join_token: Some(token.clone()),
            device_name: kept.device_name.clone(),
            config: None,
            identity: None,
        };
        let patch = seed::encode(&seed)?;
        let OpenImage { file, bytes } = self.open(&kept.image).await?;
        let image = kept.image.clone();
        let (file, place) = blocking(move || {
            let place = seed_place::find(&file).map_err(|source| ImageError::NotStampable { name: image, source })?;
            Ok((file, place))
        })
        .await?;
        // The tag says which base and which SEED, and nothing of the token.
        let tag = Sha256::new().chain_update(&kept.base_sha256).chain_update(Sha256::digest(&patch)).finalize();
        let etag = format!("\"{}\"", hex::encode(&tag[..16]));
        Ok(Served { patched: Patched { file, at: place.offset, patch }, bytes, etag, name: kept.file.clone() })
    }
}

/// The fleet that is named, or the only one.
async fn choose_fleet(store: &Store, name: Option<&str>) -> Result<FleetTrust, DownloadError> {
    let mut fleets = store.fleets().await?;
    fleets.retain(|fleet| name.is_none_or(|name| fleet.name.as_str() == name));
    match (fleets.pop(), fleets.is_empty()) {
        (Some(fleet), true) => Ok(FleetTrust { name: fleet.name, keys: fleet.keys }),
        (Some(_), false) => Err(DownloadError::Fleet("this hub has several fleets; name one")),
        (None, _) if name.is_some() => Err(DownloadError::Fleet("this hub has no fleet of that name")),
        (None, _) => Err(DownloadError::Fleet("this hub has no fleet; register one with its `fleet.pub`")),
    }
}

/// What a stamped image is called: the device's name with the base's ending, or the base's own name.
fn file_name(image: &str, device: Option<&HostName>) -> String {
    match (device, image.rsplit_once('.')) {
        (Some(device), Some((_, ending))) => format!("{device}.{ending}"),
        (Some(device), None) => device.to_string(),
        (None, _) => image.to_owned(),
    }
}

fn new_token(new: NewDownload, file: &str, text: Secret) -> NewToken {
    let NewDownload { device_name: _, fleet: _, uses, binding, labels, groups, token_expires_at } = new;
    NewToken {
        name: format!("download of {file}"),
        uses,
        binding,
        labels,
        groups,
        expires_at: token_expires_at,
        text: Some(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_follows_from_the_name_and_the_hubs_key_and_not_from_the_name_alone() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [one, other] = folders.each_ref().map(|folder| DownloadKey::of(&HubKey::open(folder.path()).unwrap()));
        let token = |key: &DownloadKey, name: &str| key.token(name).expose().to_owned();
        assert_eq!(token(&one, "skd_a"), token(&one.clone(), "skd_a"));
        assert_ne!(token(&one, "skd_a"), token(&one, "skd_b"));
        assert_ne!(token(&one, "skd_a"), token(&other, "skd_a"));
        assert!(token(&one, "skd_a").starts_with("skj_"));
        assert_eq!(format!("{one:?}"), "DownloadKey");
    }

    #[test]
    fn a_stamped_image_is_called_after_its_device() {
        let device = "store-1".parse::<HostName>().unwrap();
        assert_eq!(file_name("skerry-0.1.0-nuc.img", Some(&device)), "store-1.img");
        assert_eq!(file_name("initramfs", Some(&device)), "store-1");
        assert_eq!(file_name("skerry.iso", None), "skerry.iso");
    }
}
