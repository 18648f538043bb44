//! `skerry-hub serve`: everything that runs, started in order and stopped in order.
//!
//! Also for tests and simulators: [`start`] runs a whole hub inside another program.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::routes::routes;
use super::services::Services;
use super::tasks::Tasks;
use super::tools::{first_admin_token, open_store};
use crate::auth::{Allowance, Auth, oidc};
use crate::images::{DownloadKey, Images};
use crate::journal::{self, Journal};
use crate::listen::{Door, Limits, Parts, serve, serve_plain};
use crate::metrics::{Exposition, Metrics};
use crate::model::Time;
use crate::reader::Reader;
use crate::replica::{Replicas, follow};
use crate::rest::App;
use crate::session::{Devices, Sessions, Stored};
use crate::store::Store;
use crate::tls::{Certificates, HubKey, TlsConfigs, WebCertificate, browser_certificate};
use crate::tunnel::Tunnels;

/// Sessions may end in order for this long.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How often devices that wait unproven are looked at.
const CLEAR_UP: Duration = Duration::from_secs(600);

/// A port without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain {
    /// Where it listens.
    pub address: SocketAddr,
}

/// How a hub is to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its folder.
    pub data: PathBuf,
    /// Another database than the one in the folder.
    pub database: Option<String>,
    /// The TLS port.
    pub listen: SocketAddr,
    /// How devices and people reach it.
    pub url: Option<String>,
    /// Certificate and key that browsers see.
    pub web: Option<(PathBuf, PathBuf)>,
    /// A port without TLS, for a reverse proxy.
    pub plain: Option<Plain>,
    /// Where other processes of the hub reach this one; none: the address it listens at.
    pub replica_address: Option<String>,
    /// How much anybody gets.
    pub limits: Limits,
    /// The identity provider with which people sign in.
    pub oidc: oidc::Options,
    /// The folder of images to download.
    pub images: Option<PathBuf>,
    /// Certificate and key with which the hub reads devices' logs for people.
    pub reader: Option<(PathBuf, PathBuf)>,
}

impl Options {
    /// A hub in this folder, at this address, as it is without further options.
    pub fn new(data: &Path, listen: SocketAddr) -> Self {
        Self {
            data: data.to_owned(),
            database: None,
            listen,
            url: None,
            web: None,
            plain: None,
            replica_address: None,
            limits: Limits::default(),
            oidc: oidc::Options::default(),
            images: None,
            reader: None,
        }
    }
}

impl Options {
    /// What people type to reach it, when somebody said.
    fn host(&self) -> Option<&str> {
        let authority = self.url.as_deref()?.split_once("://")?.1.split('/').next()?;
        match authority.strip_prefix('[') {
            Some(address) => address.split(']').next(),
            None => authority.split(':').next(),
        }
    }
}

/// A hub that runs.
#[derive(Debug)]
pub struct Running {
    /// Where the TLS port listens.
    pub address: SocketAddr,
    /// Where the plain port listens.
    pub plain: Option<SocketAddr>,
    /// The first admin token, when this start made it.
    pub admin_token: Option<String>,
    /// Its parts.
    pub services: Services,
    listeners: watch::Sender<bool>,
    tasks: watch::Sender<bool>,
    running: Tasks,
}

/// Starts a hub.
///
/// # Errors
/// Key, certificate, database or port cannot be used.
pub async fn start(options: Options) -> anyhow::Result<Running> {
    let key = HubKey::open(&options.data)?;
    // First: it says when another process has the folder.
    let mut journal = Journal::open(&options.data)?;
    let store = open_store(&options.data, options.database.as_deref()).await?;
    let kept = journal::begin(&store, &mut journal, Time::now()).await?;
    let admin_token = first_admin_token(&store).await?;
    let web = options.web.as_ref().map(|(certificate, key)| WebCertificate::read(certificate, key)).transpose()?;
    let has_web = web.is_some();
    let mut tls = TlsConfigs::new(Certificates { hub: &key, web })?;
    if !has_web {
        tls = tls.with_browser(browser_certificate(&options.data, options.host())?)?;
    }
    let listener = listen(options.listen).await?;
    let address = listener.local_addr().context("cannot tell the address of the TLS port")?;
    let plain = match options.plain {
        Some(plain) => Some(listen(plain.address).await?),
        None => None,
    };
    let hub = Hub { key, store, tls, address, options };
    let (door, services, tasks) = hub.assemble()?;
    let (listeners, stopped) = watch::channel(false);
    let plain_address = plain.as_ref().and_then(|listener| listener.local_addr().ok());
    let (stop_tasks, mut running) = tasks;
    let stop = stop_tasks.subscribe();
    running.spawn("what keeps the journal", journal::keep(services.store.for_devices(), journal, kept, stop.clone()));
    running.spawn("what clears up", clear_up(services.store.clone(), stop));
    running.spawn("the TLS port", serve(listener, Arc::clone(&door), stopped.clone()));
    if let Some(plain) = plain {
        running.spawn("the plain port", serve_plain(plain, door, stopped));
    }
    Ok(Running { address, plain: plain_address, admin_token, services, listeners, tasks: stop_tasks, running })
}

/// What a hub is put together from.
struct Hub {
    key: HubKey,
    store: Store,
    tls: TlsConfigs,
    address: SocketAddr,
    options: Options,
}

/// What runs already, and how it is stopped.
type Begun = (watch::Sender<bool>, Tasks);

impl Hub {
    fn assemble(self) -> anyhow::Result<(Arc<Door<Stored>>, Services, Begun)> {
        let Self { key, store, tls, address, options } = self;
        let (sessions, metrics) = (Sessions::default(), Metrics::default());
        metrics.started.set(Time::now().millis() as f64 / 1000.0);
        let reached_at = options.replica_address.unwrap_or_else(|| address.to_string());
        let replicas = Replicas::join(store.clone(), reached_at, &key).context("the system gives no random bytes")?;
        let directory = Stored::new(store.clone(), replicas.id().to_owned(), metrics.clone());
        let services = Services {
            tunnels: Tunnels::new(store.clone(), sessions.clone(), Arc::new(replicas.clone())),
            store: store.clone(),
            sessions: sessions.clone(),
            metrics: Exposition::of(&metrics),
            pin: key.pin(),
            url: options.url.map(Arc::from),
        };
        let provider = oidc::Provider::new(&options.oidc, services.url.as_deref().unwrap_or_default())?;
        let auth = Auth::new(store.clone(), Allowance::default(), provider);
        let reader = options.reader.as_ref().map(|(certificate, key)| Reader::open(certificate, key)).transpose()?;
        let images = Images::new(options.images, DownloadKey::of(&key));
        let app = App { services: services.clone(), auth, images, reader };
        let (stop, stopped) = watch::channel(false);
        let mut tasks = Tasks::default();
        let known = *store.committed().borrow();
        let id = replicas.id().to_owned();
        tasks.spawn("what writes", store.clone().writing(stopped.clone()));
        tasks.spawn("what writes reports", directory.clone().write_reports(stopped.clone()));
        tasks.spawn("what says that this process lives", replicas.live(stopped.clone()));
        tasks.spawn("what follows changes", follow(store.for_devices(), sessions.clone(), id, known, stopped));
        let devices = Devices::new(key.pin(), directory, sessions, metrics.clone());
        let door =
            Door::new(Parts { devices, web: routes(app, options.limits.web_request), tls, limits: options.limits, metrics });
        Ok((door, services, (stop, tasks)))
    }
}

/// Forgets now and then what nobody needs any more, until it is told to stop.
async fn clear_up(store: Store, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(CLEAR_UP) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        match store.forget_unproven(Time::now()).await {
            Ok(0) => {}
            Ok(devices) => info!(devices, "devices that waited unproven and do not call any more are forgotten"),
            Err(error) => warn!(error = &error as &dyn std::error::Error, "cannot forget devices that do not call any more"),
        }
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let hint =
        if address.port() < 1024 { "; ports below 1024 need the right to use them, or choose another with --listen" } else { "" };
    TcpListener::bind(address).await.with_context(|| format!("cannot listen at {address}{hint}"))
}

impl Running {
    /// The pin, as configurations have it.
    pub fn pin(&self) -> String {
        hex::encode(self.services.pin)
    }

    /// Stops: no further callers, then sessions, then what writes their last words.
    pub async fn stop(mut self) {
        self.listeners.send_replace(true);
        self.services.sessions.dismiss_all();
        let all_over = async {
            // A session's end has no event of its own here; there are few of them left, soon.
            while self.services.sessions.count() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(STOP_TIMEOUT, all_over).await.is_err() {
            warn!("some sessions did not end in time");
        }
        self.tasks.send_replace(true);
        if tokio::time::timeout(STOP_TIMEOUT, self.running.all_over()).await.is_err() {
            warn!("the hub did not stop in time; what was answered is on the disk");
        }
    }
}

/// Runs a hub until the system asks it to stop.
pub(super) async fn run(options: Options) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    let mut running = start(options).await?;
    announce(&running);
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        what = running.running.next_end() => Some(what),
    };
    if let Some(what) = failed {
        error!(what, "a part of the hub ended by itself; stopping, to be started again");
    }
    info!("stopping");
    let store = running.services.store.clone();
    running.stop().await;
    if tokio::time::timeout(STOP_TIMEOUT, store.close()).await.is_err() {
        warn!("the database is still in use; what was answered is on the disk");
    }
    match failed {
        Some(what) => bail!("{what} ended by itself; the log says more"),
        None => Ok(()),
    }
}

/// What an admin needs to know, on standard output: the log is elsewhere.
fn announce(running: &Running) {
    let url = running.services.url.as_deref().map_or_else(|| format!("https://{}", running.address), str::to_owned);
    println!("hub    {url}");
    println!("pin    {}", running.pin());
    if let Some(plain) = running.plain {
        println!("plain  http://{plain}  (for a reverse proxy)");
    }
    match &running.admin_token {
        Some(token) => println!("admin  {token}  (shown this once; `skerry-hub admin-token` makes another)"),
        None => println!("admin  as before; `skerry-hub admin-token` makes another token"),
    }
}
