//! Orders of magnitude, printed and not judged: `cargo test -p hub --lib figures -- --nocapture`. `make bench-hub` measures.

use std::time::Instant;

use futures_util::future::join_all;

use super::*;
use crate::model::Use;

on_both! {
    async fn how_fast_devices_enrol_and_report(db: Db) {
        let store = db.store().await;
        let count = 1000u32;
        let (_, token) = store.create_token(NewToken { uses: count, ..NewToken::default() }, &kim()).await.unwrap();
        let begun = Instant::now();
        let words = join_all((0..count).map(|number| call(&store, number, Some(token.expose())))).await;
        assert!(words.iter().all(|word| *word == "pending"));
        let enrolments = f64::from(count) / begun.elapsed().as_secs_f64();
        let beat = |number: u32, report: bool| Beat {
            device: machine_config::DeviceId::of(&attempt(number, None).key),
            at: NOW,
            address: "192.0.2.7".parse().unwrap(),
            resources: Some(Use::default()),
            report: report.then(Default::default),
        };
        let mut rates = vec![];
        for report in [false, true] {
            let beats: Vec<Beat> = (0..count).map(|number| beat(number, report)).collect();
            let begun = Instant::now();
            store.record_heartbeats(beats).await.unwrap();
            rates.push(f64::from(count) / begun.elapsed().as_secs_f64());
        }
        let name = if db.is_sqlite() { "SQLite" } else { "PostgreSQL" };
        println!("{name}: {enrolments:.0} enrolments/s, {:.0} heartbeats/s, {:.0} reports/s", rates[0], rates[1]);
    }
}
