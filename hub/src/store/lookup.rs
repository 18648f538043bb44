//! Lists of devices for people: filtered, searched, in pages; and the fleet in numbers.

use sqlx::AnyConnection;

use super::Store;
use super::conditions::{Conditions, Value};
use super::devices::{SELECT, read_device};
use super::error::StoreError;
use super::query::{self, Statement};
use super::replicas::REPLICA_LIFE;
use crate::model::{Device, DeviceFilter, MAX_PAGE, Overview, Page, Time};

fn conditions(filter: &DeviceFilter) -> Conditions {
    let mut all = Conditions::default();
    match filter.state {
        Some(state) => all.add("d.state = ?", Value::Text(state.to_string())),
        None => all.say("d.state <> 'removed'"),
    }
    all.add_text("d.site = ?", filter.site.clone());
    all.add_text("d.board = ?", filter.board.clone());
    all.add_text("d.version = ?", filter.version.clone());
    all.add_text("d.config_digest = ?", filter.config.as_ref().map(ToString::to_string));
    let label = filter.label.as_ref().map(ToString::to_string);
    all.add_text("EXISTS (SELECT 1 FROM device_facts f WHERE f.device = d.id AND f.kind = 'label' AND f.value = ?)", label);
    let group = filter.group.clone();
    all.add_text("EXISTS (SELECT 1 FROM device_facts f WHERE f.device = d.id AND f.kind = 'group' AND f.value = ?)", group);
    if let Some(healthy) = filter.healthy {
        all.add("d.healthy = ?", Value::Int(i64::from(healthy)));
    }
    all.add_text(
        "(LOWER(d.name) LIKE ? ESCAPE '!' OR d.id LIKE ? ESCAPE '!' OR LOWER(d.site) LIKE ? ESCAPE '!' OR EXISTS (SELECT 1 FROM \
         device_facts f WHERE f.device = d.id AND f.kind IN ('serial', 'mac') AND LOWER(f.value) LIKE ? ESCAPE '!'))",
        pattern(&filter.search),
    );
    all
}

/// Anything with this text in it; none: nothing was asked for.
fn pattern(search: &str) -> Option<String> {
    let text: String = search.trim().to_lowercase().chars().take(128).collect();
    let escaped = text.replace('!', "!!").replace('%', "!%").replace('_', "!_");
    (!escaped.is_empty()).then(|| format!("%{escaped}%"))
}

impl Store {
    /// Devices, by name, in pages.
    ///
    /// # Errors
    /// The database failed.
    pub async fn devices(&self, filter: &DeviceFilter) -> Result<Page<Device>, StoreError> {
        let mut conn = self.reader().await?;
        let total = count(&mut conn, conditions(filter).statement("SELECT COUNT(*) AS total FROM devices d", "")).await?;
        let limit = if filter.limit == 0 { 100 } else { filter.limit.min(MAX_PAGE) };
        let end = format!("ORDER BY COALESCE(d.name, '~'), d.id LIMIT {limit} OFFSET {}", filter.offset.min(i64::MAX as u64));
        let statement = conditions(filter).statement(SELECT, &end);
        let items = query::list(&mut conn, statement, "list devices", read_device).await?;
        Ok(Page { items, total })
    }

    /// The fleet in numbers.
    ///
    /// # Errors
    /// The database failed.
    pub async fn overview(&self, now: Time) -> Result<Overview, StoreError> {
        let mut conn = self.reader().await?;
        let by_state = sqlx::query("SELECT state, COUNT(*) AS total FROM devices GROUP BY state");
        let counts =
            query::list(&mut conn, by_state, "count devices", |row| Ok((row.text("state")?, row.count::<u64>("total")?))).await?;
        let of = |state: &str| counts.iter().find(|(name, _)| name == state).map_or(0, |(_, total)| *total);
        let connected = sqlx::query(
            "SELECT COUNT(*) AS total FROM streams s JOIN replicas r ON r.id = s.replica JOIN devices d ON d.id = s.device \
             WHERE r.heartbeat_at >= $1 AND d.state = 'admitted'",
        );
        let unhealthy = sqlx::query("SELECT COUNT(*) AS total FROM devices WHERE state = 'admitted' AND healthy = 0");
        Ok(Overview {
            pending: of("pending"),
            admitted: of("admitted"),
            refused: of("refused"),
            quarantined: of("quarantined"),
            removed: of("removed"),
            connected: count(&mut conn, connected.bind(now.before(REPLICA_LIFE).millis())).await?,
            unhealthy: count(&mut conn, unhealthy).await?,
        })
    }
}

async fn count(conn: &mut AnyConnection, statement: Statement) -> Result<u64, StoreError> {
    Ok(query::find(conn, statement, "count devices", |row| row.count("total")).await?.unwrap_or(0))
}
