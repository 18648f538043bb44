//! A whole hub in this process with a made-up fleet in it: healthy and failing, silent, waiting, refused, and hostile in every text.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use api::hub::v1::{Heartbeat, Release, Report, ResourceUse};
use api::v1::{Disk, HardwareResponse, Nic, StatusResponse};
use hub::cli::serve::{Options, Running, start};
use hub::enrol::Attempt;
use hub::model::{Actor, AssignTo, By, DeliveryState, DeviceEvent, Policy, Strangers, Time};
use hub::store::{Beat, Edit, NewToken, Store};
use machine_config::{DeviceId, FleetTrust, PublicKey, SigningKey, sign};

/// What every text of a hostile device is.
pub const HOSTILE: &str = "\"><img src=x onerror=window.taken=1><script>window.taken=1</script>";

/// A hub, its folder and its admin's token.
pub struct Fleet {
    pub hub: Running,
    pub token: String,
    pub address: String,
    folder: tempfile::TempDir,
}

pub fn key(number: u32) -> SigningKey {
    let mut secret = [3; 32];
    secret[..4].copy_from_slice(&number.to_be_bytes());
    SigningKey::from_bytes(&secret)
}

pub fn id(number: u32) -> DeviceId {
    DeviceId::of(&key(number).verifying_key())
}

pub fn kim(at: Time) -> By {
    By::new(Actor::User("kim".into()), "192.0.2.9", at)
}

/// A configuration for this serial number, signed.
pub fn config(generation: u64, serial: &str) -> Vec<u8> {
    let text = format!(
        "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetadata: {{name: shop-config, fleet: acme, generation: {generation}}}\n\
         target: {{serial: \"{serial}\"}}\nmachine: {{hostname: shop}}\n\
         api: {{clientCa: \"-----BEGIN CERTIFICATE-----\\nMAA=\\n-----END CERTIFICATE-----\"}}\n"
    );
    sign(text.as_bytes(), &key(9999)).expect("signed")
}

fn minutes_ago(minutes: u64) -> Time {
    Time::now().before(Duration::from_secs(minutes * 60))
}

impl Fleet {
    /// An empty hub.
    pub async fn empty() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self::with_reader(folder, None).await
    }

    /// One that reads logs with this certificate and key.
    pub async fn with_reader(folder: tempfile::TempDir, reader: Option<(PathBuf, PathBuf)>) -> Self {
        let images = folder.path().join("images");
        std::fs::create_dir(&images).expect("a folder");
        crate::image::write(&images.join("skerry-0.1.0-nuc.img"));
        let (images, url) = (Some(images), Some("https://hub.example".to_owned()));
        let options = Options { reader, images, url, ..Options::new(folder.path(), SocketAddr::from(([127, 0, 0, 1], 0))) };
        let hub = start(options).await.expect("it starts");
        let token = hub.admin_token.clone().expect("the first one");
        let address = format!("https://{}", hub.address);
        Self { hub, token, address, folder }
    }

    /// One with devices.
    pub async fn made_up() -> Self {
        let fleet = Self::empty().await;
        let store = fleet.store();
        let policy = Policy { strangers: Strangers::Wait, ..Policy::default() };
        store.put_policy(&policy, &kim(minutes_ago(5000))).await.expect("written");
        for number in 1..=64 {
            let at = minutes_ago(4000 - u64::from(number));
            store.enrol(&attempt(number, &format!("shop-{number:04}"), "FZ"), at).await.expect("it waits");
            store.approve(&id(number), &kim(at)).await.expect("admitted");
            let edit =
                Edit { site: Some(format!("Store {}", 400 + number / 4)), groups: Some(vec!["shops".into()]), ..Edit::default() };
            store.edit_device(&id(number), edit, &kim(at)).await.expect("edited");
            let (seen, trouble) = match number {
                7 => (1, Some("service containerd failed: exit code 1; next try in 40 s")),
                21 => (3, Some("cannot mount DATA: the disk nvme0n1 answers with errors")),
                12 | 33 => (200, None),
                _ => (u64::from(number % 5), None),
            };
            store.record_heartbeats(vec![beat(number, minutes_ago(seen), trouble)]).await.expect("heard");
        }
        for number in 101..=106 {
            let at = minutes_ago(u64::from(107 - number) * 4);
            store.enrol(&attempt(number, &format!("box-{number}"), "NEW"), at).await.expect("it waits");
        }
        store.refuse(&id(106), "not ours", &kim(Time::now())).await.expect("refused");
        fleet.hostile().await;
        fleet.configs().await;
        fleet
    }

    pub fn store(&self) -> &Store {
        &self.hub.services.store
    }

    /// Waits until a device's session is open. A device that waits asks again after some seconds.
    pub async fn connected(&self, device: &DeviceId) {
        for _ in 0..400 {
            if self.hub.services.sessions.has(device) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the device never came back");
    }

    /// Its folder, for what a test puts beside it.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// A device that tries to write into pages, and people's texts of the same kind.
    async fn hostile(&self) {
        let (store, now) = (self.store(), Time::now());
        store.enrol(&attempt(200, HOSTILE, HOSTILE), now).await.expect("it waits");
        store.approve(&id(200), &kim(now)).await.expect("admitted");
        let edit = Edit { site: Some(HOSTILE.into()), ..Edit::default() };
        store.edit_device(&id(200), edit, &kim(now)).await.expect("edited");
        store.record_heartbeats(vec![beat(200, now, Some(HOSTILE))]).await.expect("heard");
        let event =
            api::v1::Event { kind: HOSTILE.into(), subject: HOSTILE.into(), message: HOSTILE.into(), ..Default::default() };
        store.record_events(&id(200), vec![DeviceEvent::of(&event, now)]).await.expect("kept");
        let token = NewToken { name: HOSTILE.into(), uses: 3, ..NewToken::default() };
        store.create_token(token, &kim(now)).await.expect("made");
        let name = |text: &str| NewToken { name: text.into(), uses: 1, ..NewToken::default() };
        let (spent, _) = store.create_token(name("Tuesday's batch"), &kim(minutes_ago(3000))).await.expect("made");
        store.revoke_token(&spent.id, &kim(minutes_ago(90))).await.expect("revoked");
        store.create_token(name("spare"), &kim(minutes_ago(60))).await.expect("made");
        store.enrol(&attempt(201, HOSTILE, HOSTILE), now).await.expect("it waits");
    }

    async fn configs(&self) {
        let (store, by) = (self.store(), kim(minutes_ago(50)));
        let keys = vec![PublicKey::try_from(key(9999).verifying_key()).expect("a strong key")];
        store.put_fleet(FleetTrust { name: "acme".parse().expect("a name"), keys }, &by).await.expect("registered");
        for number in [1, 2, 3] {
            let config = store.put_config(&config(3, &format!("FZ{number}")), &by).await.expect("taken");
            store.assign(&config.digest, AssignTo::Device(id(number)), &by).await.expect("assigned");
            let refused = DeliveryState::Refused { code: "generation-older".into(), message: HOSTILE.into() };
            let state = [DeliveryState::Running, refused, DeliveryState::Offered][(number - 1) as usize].clone();
            let by = By::new(Actor::Device(id(number)), "198.51.100.7", minutes_ago(40));
            store.record_delivery(&id(number), &config.digest, state, &by).await.expect("noted");
        }
        let events =
            ["network: enp1s0 has 10.4.0.12/24", "service: containerd is ready", "service: k3s is ready", "config: generation 3"];
        let at = |place: usize| minutes_ago(39 - place as u64);
        let events = events.iter().enumerate().map(|(place, line)| {
            let (kind, message) = line.split_once(": ").expect("two parts");
            let event =
                api::v1::Event { kind: kind.into(), message: message.into(), sequence: place as u64, ..Default::default() };
            DeviceEvent::of(&event, at(place))
        });
        store.record_events(&id(1), events.collect()).await.expect("kept");
    }
}

fn attempt(number: u32, name: &str, serial: &str) -> Attempt {
    let mac = format!("52:54:00:00:{:02x}:{:02x}", number >> 8, number & 0xff);
    let nic = Nic { name: "enp1s0".into(), mac, driver: "igc".into(), ..Nic::default() };
    let disk = Disk {
        name: "nvme0n1".into(),
        size_bytes: 256 << 30,
        model: "WD Blue SN580".into(),
        serial: format!("D{number}"),
        boot: true,
        ..Disk::default()
    };
    let hardware = HardwareResponse {
        vendor: if serial == HOSTILE { HOSTILE.into() } else { "ASUS".into() },
        product: "NUC 14 Pro".into(),
        serial: format!("{serial}{number}"),
        cpu_model: "Intel Core Ultra 5 125H".into(),
        cpu_count: 18,
        memory_bytes: 16 << 30,
        nics: vec![nic],
        disks: vec![disk],
        tpm: true,
        secure_boot: "on".into(),
        firmware: "RVMTL357.0047".into(),
        ..HardwareResponse::default()
    };
    let board = if serial == HOSTILE { HOSTILE } else { "nuc" };
    Attempt {
        key: key(number).verifying_key(),
        name: name.into(),
        fleet: "acme".into(),
        release: release(board),
        config_generation: 0,
        config_digest: String::new(),
        token: None,
        inventory: Some((hardware, [1; 32])),
        address: "198.51.100.7".parse().expect("an address"),
    }
}

fn release(board: &str) -> Release {
    Release {
        version: "0.1.0".into(),
        board: board.into(),
        architecture: "x86_64".into(),
        kernel: "6.12.48".into(),
        runtime_root_hash: "5f".repeat(32),
    }
}

fn beat(number: u32, at: Time, trouble: Option<&str>) -> Beat {
    let status = StatusResponse {
        hostname: format!("shop-{number:04}"),
        phase: "running".into(),
        healthy: trouble.is_none(),
        errors: trouble.map(str::to_owned).into_iter().collect(),
        addresses: vec![format!("enp1s0 10.4.0.{number}/24")],
        uptime_ms: 86_400_000 * 3,
        clock: "trusted".into(),
        runs_from: "nvme0n1".into(),
        config_generation: 3,
        ..StatusResponse::default()
    };
    let resources = ResourceUse { load_percent: 12, memory_available_mib: 9_800, data_available_mib: 201_000 };
    let report = Report { status: Some(status), release: Some(release("nuc")) };
    let beat = Heartbeat { number: 1, report: Some(report), r#use: Some(resources) };
    Beat::of(id(number), &beat, "198.51.100.7".parse().expect("an address"), at)
}
