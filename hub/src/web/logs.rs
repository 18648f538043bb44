//! Following a device's log in a page: a page around it, and the lines as a stream of events.

use std::convert::Infallible;
use std::time::Duration;

use api::v1::LogLine;
use askama::Template;
use axum::extract::{Extension, Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{StreamExt as _, once};
use machine_config::DeviceId;

use super::Web;
use super::at::At;
use super::oops::{Oops, shown};
use super::shell::{Section, Shell};
use super::view::title;
use super::visitor::Visitor;
use crate::auth::Area;
use crate::listen::Lasting;
use crate::model::text::bounded;
use crate::people::Role;
use crate::reader::{FollowError, Reader, Wanted};
use crate::rest::causes;

/// Bytes of a shown line at most.
const LINE_BYTES: usize = 4096;
/// So often something is sent, so that nobody between takes the connection for dead.
const ALIVE: Duration = Duration::from_secs(20);

/// Why a page shows no log.
pub(super) const NO_READER: &str = "This hub was given no reader's certificate (--reader-cert), so it cannot read devices' logs: what \
                                    passes through it is sealed between operator and device. Read them with skerryctl --via hub.";

/// What the address says.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Asked {
    service: String,
}

#[derive(Template)]
#[template(path = "logs.html")]
struct Page {
    shell: Shell,
    id: String,
    name: String,
    service: String,
}

async fn wanted(web: &Web, visitor: &Visitor, device: DeviceId, service: &str) -> Result<(Reader, Wanted), Oops> {
    visitor.may_see(Role::Reader, Area::Tunnels)?;
    let reader = web.reader.clone().ok_or_else(|| Oops::missing(NO_READER))?;
    let known = web.services.store.device(&device).await?.ok_or_else(|| Oops::missing("there is no such device at this hub"))?;
    Ok((reader, Wanted { name: title(&known), device, service: bounded(service, 64), by: visitor.by() }))
}

/// The page.
pub(super) async fn page(
    State(web): State<Web>,
    visitor: Visitor,
    At(id): At<DeviceId>,
    Query(asked): Query<Asked>,
) -> Result<Response, Oops> {
    let (_, wanted) = wanted(&web, &visitor, id, &asked.service).await?;
    let shell = visitor.shell(&web, Section::Devices, format!("Logs of {}", wanted.name)).await?;
    shown(&Page { shell, id: wanted.device.to_string(), name: wanted.name, service: wanted.service })
}

/// The lines. What ends them is the last event: a browser tells a page nothing of an answer that is an error.
pub(super) async fn stream(
    State(web): State<Web>,
    visitor: Visitor,
    At(id): At<DeviceId>,
    Query(asked): Query<Asked>,
) -> Result<Response, Oops> {
    let (reader, wanted) = wanted(&web, &visitor, id, &asked.service).await?;
    Ok(match reader.follow(&web.services.tunnels, wanted, web.auth.rights(&visitor.caller).ended()).await {
        Ok(lines) => {
            let events = lines.map(|line| line.map_or_else(|error| over(&error.to_string()), |line| event(&line)));
            events_of(events.chain(once(async { over("The device ended the log.") })))
        }
        Err(error) => {
            log(&error);
            events_of(once(async move { over(&error.to_string()) }))
        }
    })
}

fn log(error: &FollowError) {
    if let FollowError::Reader(cause) = error {
        tracing::error!(reason = causes(cause), "cannot use the reader's certificate");
    }
}

fn events_of(events: impl futures_util::Stream<Item = Event> + Send + 'static) -> Response {
    let events = Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(KeepAlive::new().interval(ALIVE));
    (Extension(Lasting), events).into_response()
}

fn over(why: &str) -> Event {
    Event::default().event("over").data(bounded(why, LINE_BYTES))
}

/// A line with its time; control characters are taken out, also those that would end an event.
fn event(line: &LogLine) -> Event {
    Event::default().event("line").data(words(line))
}

fn words(line: &LogLine) -> String {
    let time = line.time.as_ref().and_then(|time| jiff::Timestamp::from_second(time.seconds).ok());
    let time = time.map(|time| format!("{time} ")).unwrap_or_default();
    let lost = if line.dropped > 0 { format!("({} lines lost) ", line.dropped) } else { String::new() };
    bounded(&format!("{time}{lost}{}", line.line), LINE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_device_begins_no_event_of_its_own() {
        let time = Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 5 });
        let line = LogLine { time, line: "a\r\n\nevent: over\ndata: x\u{1b}[31m".into(), dropped: 3, ..LogLine::default() };
        assert_eq!(words(&line), "2023-11-14T22:13:20Z (3 lines lost) aevent: overdata: x[31m");
        assert!(words(&LogLine { line: "x".repeat(1 << 20), ..LogLine::default() }).len() <= LINE_BYTES);
    }
}
