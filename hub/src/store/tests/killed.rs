//! The hub is killed, again and again, in the middle of its writes: what it had answered is there, the audit is whole, and it goes on.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use machine_config::DeviceId;

use super::*;

const DATABASE: &str = "SKERRY_HUB_TEST_KILLED";
const FIRST: &str = "SKERRY_HUB_TEST_FIRST";
const ROUNDS: u32 = 20;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// What the killed process does: devices enrol, 16 at a time, and each one's number is printed once it is answered. Runs only inside the other test.
#[test]
fn writes_until_it_is_killed() {
    let Ok(database) = std::env::var(DATABASE) else { return };
    let first: u32 = std::env::var(FIRST).unwrap().parse().unwrap();
    runtime().block_on(async {
        let store = Store::open(&database, NOW).await.unwrap();
        for begin in (first..).step_by(16) {
            let enrolled = futures_util::future::join_all((begin..begin + 16).map(async |number| {
                waiting(&store, number).await;
                println!("\nanswered {number}");
            }));
            enrolled.await;
        }
    });
}

#[test]
fn nothing_that_was_answered_is_lost_to_a_kill() {
    kill_and_look(&Db::sqlite());
}

#[test]
fn nothing_that_was_answered_is_lost_to_a_kill_with_postgres() {
    kill_and_look(&Db::postgres());
}

fn kill_and_look(db: &Db) {
    let mut answered: Vec<u32> = vec![];
    for round in 0..ROUNDS {
        let first = round * 100_000;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["store::tests::killed::writes_until_it_is_killed", "--exact", "--nocapture", "--test-threads=1"])
            .env(DATABASE, db.url())
            .env(FIRST, first.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut numbers = lines.filter_map(|line| line.strip_prefix("answered ")?.parse::<u32>().ok());
        answered.push(numbers.next().expect("the child writes"));
        let mut random = [0; 1];
        getrandom::fill(&mut random).unwrap();
        std::thread::sleep(Duration::from_millis(u64::from(random[0])));
        child.kill().unwrap();
        answered.extend(numbers);
        child.wait().unwrap();
        runtime().block_on(check(db, &answered));
    }
    assert!(answered.len() > ROUNDS as usize * 2, "{}", answered.len());
}

async fn check(db: &Db, answered: &[u32]) {
    let store = db.store().await;
    store.verify_audit(None).await.unwrap();
    for number in answered {
        let id = DeviceId::of(&attempt(*number, None).key);
        assert!(store.device(&id).await.unwrap().is_some(), "device {number} was answered");
    }
    if !db.is_sqlite() {
        return;
    }
    let mut conn = store.reader().await.unwrap();
    let check = sqlx::query("PRAGMA integrity_check");
    let word = query::find(&mut conn, check, "check", |row| row.text("integrity_check")).await.unwrap();
    assert_eq!(word.as_deref(), Some("ok"));
}
