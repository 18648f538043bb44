-- Version 1. The same text for SQLite and PostgreSQL; {blob} is the one type they name differently. Times are milliseconds since 1970 in UTC,
-- truth is 0 or 1, lists and structures are JSON in TEXT.

CREATE TABLE devices (
    id TEXT NOT NULL PRIMARY KEY,
    public_key {blob} NOT NULL,
    name TEXT,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    site TEXT NOT NULL,
    fleet TEXT NOT NULL,
    version TEXT NOT NULL,
    board TEXT NOT NULL,
    architecture TEXT NOT NULL,
    kernel TEXT NOT NULL,
    runtime_root_hash TEXT NOT NULL,
    serials TEXT NOT NULL,
    macs TEXT NOT NULL,
    labels TEXT NOT NULL,
    device_groups TEXT NOT NULL,
    first_seen BIGINT NOT NULL,
    config_generation BIGINT NOT NULL,
    config_digest TEXT,
    healthy BIGINT NOT NULL,
    phase TEXT NOT NULL,
    status TEXT,
    inventory TEXT,
    inventory_digest TEXT NOT NULL,
    token TEXT,
    admitted_by TEXT
);
CREATE INDEX devices_by_state ON devices (state, first_seen);
CREATE INDEX devices_by_name ON devices (name, id);

-- What changes with every heartbeat, apart so that a heartbeat writes a short row.
CREATE TABLE presence (
    device TEXT NOT NULL PRIMARY KEY,
    last_seen BIGINT NOT NULL,
    last_address TEXT,
    load_percent BIGINT,
    memory_mib BIGINT,
    data_mib BIGINT
);

-- By what devices are found: serial, mac, label (key=value), group. An index of the lists in `devices`.
CREATE TABLE device_facts (
    device TEXT NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (device, kind, value)
);
CREATE INDEX device_facts_by_value ON device_facts (kind, value);

CREATE TABLE device_events (
    device TEXT NOT NULL,
    received BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    at BIGINT,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    message TEXT NOT NULL
);
CREATE INDEX device_events_by_device ON device_events (device, received, sequence);

CREATE TABLE tokens (
    id TEXT NOT NULL PRIMARY KEY,
    hash {blob} NOT NULL UNIQUE,
    name TEXT NOT NULL,
    uses_left BIGINT NOT NULL,
    uses BIGINT NOT NULL,
    binding TEXT NOT NULL,
    labels TEXT NOT NULL,
    device_groups TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);

CREATE TABLE expected (
    key TEXT NOT NULL PRIMARY KEY,
    name TEXT,
    serial TEXT,
    mac TEXT,
    device_id TEXT,
    board TEXT NOT NULL,
    fleet TEXT NOT NULL,
    base_sha256 TEXT NOT NULL,
    image_sha256 TEXT NOT NULL,
    station TEXT,
    source TEXT NOT NULL,
    labels TEXT NOT NULL,
    site TEXT NOT NULL,
    claimed_by TEXT,
    taken_by TEXT,
    imported_at BIGINT NOT NULL
);
CREATE INDEX expected_by_serial ON expected (serial);
CREATE INDEX expected_by_mac ON expected (mac);
CREATE INDEX expected_by_device ON expected (device_id);

CREATE TABLE rules (
    name TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    without_token BIGINT NOT NULL,
    labels TEXT NOT NULL,
    device_groups TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Calls that were refused, so that each is audited once a day and not at every call.
CREATE TABLE refusals (
    device TEXT NOT NULL,
    code TEXT NOT NULL,
    count BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    address TEXT NOT NULL,
    PRIMARY KEY (device, code)
);
CREATE INDEX refusals_by_time ON refusals (first_at);

CREATE TABLE fleets (
    name TEXT NOT NULL PRIMARY KEY,
    keys TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE stations (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    added_at BIGINT NOT NULL
);

CREATE TABLE configs (
    digest TEXT NOT NULL PRIMARY KEY,
    bytes {blob} NOT NULL,
    size BIGINT NOT NULL,
    fleet TEXT NOT NULL,
    name TEXT NOT NULL,
    generation BIGINT NOT NULL,
    target TEXT NOT NULL,
    target_json TEXT NOT NULL,
    key_id TEXT NOT NULL,
    uploaded_by TEXT NOT NULL,
    uploaded_at BIGINT NOT NULL
);

-- kind: device, group, label.
CREATE TABLE assignments (
    digest TEXT NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    assigned_by TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (digest, kind, value)
);
CREATE INDEX assignments_by_target ON assignments (kind, value);

CREATE TABLE deliveries (
    device TEXT NOT NULL,
    digest TEXT NOT NULL,
    state TEXT NOT NULL,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (device, digest)
);
CREATE INDEX deliveries_by_config ON deliveries (digest, state);

CREATE TABLE users (
    name TEXT NOT NULL PRIMARY KEY,
    display_name TEXT NOT NULL,
    role TEXT,
    user_groups TEXT NOT NULL,
    last_login BIGINT,
    locked BIGINT NOT NULL
);

CREATE TABLE api_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    hash {blob} NOT NULL UNIQUE,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    last_used BIGINT,
    revoked_at BIGINT
);

CREATE TABLE logins (
    hash {blob} NOT NULL PRIMARY KEY,
    user_name TEXT NOT NULL,
    role TEXT NOT NULL,
    csrf TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE TABLE settings (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- Values that are taken out once, by whichever process: the state of a sign-in on its way.
CREATE TABLE once (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE TABLE replicas (
    id TEXT NOT NULL PRIMARY KEY,
    address TEXT NOT NULL,
    heartbeat_at BIGINT NOT NULL
);

CREATE TABLE streams (
    device TEXT NOT NULL PRIMARY KEY,
    replica TEXT NOT NULL,
    session TEXT NOT NULL,
    since BIGINT NOT NULL
);
CREATE INDEX streams_by_replica ON streams (replica);

-- Append-only: the triggers below refuse the rest.
CREATE TABLE audit (
    seq BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    device TEXT,
    address TEXT NOT NULL,
    details TEXT NOT NULL,
    previous {blob} NOT NULL,
    hash {blob} NOT NULL
);
CREATE INDEX audit_by_device ON audit (device, seq);
