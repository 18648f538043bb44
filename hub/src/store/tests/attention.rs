//! What needs somebody, on both databases.

use std::time::Duration;

use super::*;
use crate::model::DeliveryState;

on_both! {
    /// Devices that are silent, and what they refused; those that are not admitted are nobody's worry.
    async fn silence_and_refusals_are_found_and_only_of_admitted_devices(db: Db) {
        let store = db.store().await;
        let (heard, silent) = (admitted(&store, 1).await, admitted(&store, 2).await);
        let gone = admitted(&store, 3).await;
        waiting(&store, 4).await;
        let later = NOW.after(Duration::from_secs(7200));
        let beat = |device: &Device, at| Beat { device: device.id.clone(), at, address: "192.0.2.1".parse().expect("one"), resources: None, report: None };
        store.record_heartbeats(vec![beat(&heard, later)]).await.expect("heard");
        let refused = DeliveryState::Refused { code: "target".into(), message: "not for me".into() };
        let digest = machine_config::types::Digest::of(b"a file");
        for device in [&silent, &gone] {
            store.record_delivery(&device.id, &digest, refused.clone(), &kim()).await.expect("noted");
        }
        store.remove(&gone.id, "", &kim()).await.expect("removed");

        let found = store.silent_devices(later.before(SILENT_AFTER), 10).await.expect("read");
        assert_eq!(found.iter().map(|device| &device.id).collect::<Vec<_>>(), [&silent.id]);
        assert_eq!(found[0].state, DeviceState::Admitted);
        let found = store.refused_deliveries(10).await.expect("read");
        assert_eq!(found.len(), 1);
        assert_eq!((&found[0].device, found[0].code.as_str(), &found[0].name), (&silent.id, "target", &silent.name));
        let counts = store.heard_counts(later).await.expect("read");
        assert_eq!(counts, HeardCounts { minutes: 1, hour: 0, day: 1, longer: 0 });
        let much_later = later.after(Duration::from_secs(90_000));
        assert_eq!(store.heard_counts(much_later).await.expect("read"), HeardCounts { longer: 2, ..HeardCounts::default() });
    }
}
