//! Commands that ask one node one thing, or follow one stream of it.

use api::v1;

use crate::failure::Failure;
use crate::output::Format;
use crate::view::{self, Mirror, View};
use client::Messages;

use super::args::{Confirm, Follow, Global, Logs, Services, Status, Thing};
use super::ask::confirm;
use super::reach::{self, Meant, reach};

pub(super) async fn status(global: &Global, command: Status) -> Result<(), Failure> {
    let node = reach(global, Meant::Named).await?;
    if command.watch {
        return follow::<_, view::Status>(global.output, node.watch_status(v1::StatusRequest {}).await?, "\n").await;
    }
    show::<_, view::Status>(global.output, node.status(v1::StatusRequest {}).await?)
}

pub(super) async fn version(global: &Global) -> Result<(), Failure> {
    let node = reach(global, Meant::Named).await?;
    show::<_, view::Version>(global.output, node.version(v1::VersionRequest {}).await?)
}

pub(super) async fn services(global: &Global, command: Option<Services>) -> Result<(), Failure> {
    let node = reach(global, Meant::Named).await?;
    match command {
        None => show::<_, view::Services>(global.output, node.services(v1::ServicesRequest {}).await?),
        Some(Services::Restart { name }) => {
            node.restart_service(v1::RestartServiceRequest { name: name.clone() }).await?;
            done(global.output, "restarted", &name)
        }
    }
}

pub(super) async fn logs(global: &Global, command: Logs) -> Result<(), Failure> {
    let node = reach(global, Meant::Named).await?;
    let Follow { follow: on, tail } = command.follow;
    let lines = node.logs(v1::LogsRequest { service: command.service, follow: on, tail }).await?;
    follow::<_, view::LogLine>(global.output, lines, "").await
}

pub(super) async fn dmesg(global: &Global, Follow { follow: on, tail }: Follow) -> Result<(), Failure> {
    let node = reach(global, Meant::Named).await?;
    follow::<_, view::KmsgLine>(global.output, node.kmsg(v1::KmsgRequest { follow: on, tail }).await?, "").await
}

pub(super) async fn events(global: &Global, Follow { follow: on, tail }: Follow) -> Result<(), Failure> {
    let node = reach(global, Meant::Named).await?;
    follow::<_, view::Event>(global.output, node.events(v1::EventsRequest { follow: on, tail }).await?, "").await
}

pub(super) async fn boot_times(global: &Global) -> Result<(), Failure> {
    let node = reach(global, Meant::Named).await?;
    show::<_, view::BootTimes>(global.output, node.boot_times(v1::BootTimesRequest {}).await?)
}

pub(super) async fn get(global: &Global, what: Thing) -> Result<(), Failure> {
    let node = reach(global, Meant::Named).await?;
    let format = global.output;
    match what {
        Thing::Hardware => show::<_, view::Hardware>(format, node.hardware(v1::HardwareRequest {}).await?),
        Thing::Processes => show::<_, view::Processes>(format, node.processes(v1::ProcessesRequest {}).await?),
        Thing::Containers => show::<_, view::Containers>(format, node.containers(v1::ContainersRequest {}).await?),
        Thing::Config => show::<_, view::HeldConfig>(format, node.get_config(v1::GetConfigRequest {}).await?),
        Thing::Resources | Thing::Disks | Thing::Links | Thing::Mounts => {
            let resources = view::Resources::mirror(node.resources(v1::ResourcesRequest {}).await?);
            show_part(format, what, resources)
        }
    }
}

fn show_part(format: Format, what: Thing, resources: view::Resources) -> Result<(), Failure> {
    match what {
        Thing::Disks => format.show(&view::Disks { disks: resources.disks }),
        Thing::Links => format.show(&view::Links { links: resources.links }),
        Thing::Mounts => format.show(&view::Mounts { mounts: resources.mounts }),
        Thing::Resources | Thing::Hardware | Thing::Processes | Thing::Containers | Thing::Config => format.show(&resources),
    }
}

pub(super) async fn reboot(global: &Global, Confirm { yes }: Confirm) -> Result<(), Failure> {
    let name = reach::name(global)?;
    confirm(&format!("reboot {name}"), yes)?;
    reach(global, Meant::Named).await?.reboot(v1::RebootRequest {}).await?;
    done(global.output, "rebooting", &name)
}

pub(super) async fn power_off(global: &Global, Confirm { yes }: Confirm) -> Result<(), Failure> {
    let name = reach::name(global)?;
    confirm(&format!("power off {name}"), yes)?;
    reach(global, Meant::Named).await?.power_off(v1::PowerOffRequest {}).await?;
    done(global.output, "powering off", &name)
}

fn show<T, V: View + Mirror<T>>(format: Format, answer: T) -> Result<(), Failure> {
    format.show(&V::mirror(answer))
}

/// Shows every message of a stream; `between` separates them for people.
async fn follow<T, V: View + Mirror<T>>(format: Format, mut messages: Messages<T>, between: &str) -> Result<(), Failure> {
    let mut first = true;
    while let Some(message) = messages.next().await? {
        if !first && format == Format::Table {
            crate::output::print(between)?;
        }
        first = false;
        format.show_item(&V::mirror(message))?;
    }
    Ok(())
}

/// The answer of a command that has nothing to show.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Done<'a> {
    done: &'static str,
    name: &'a str,
}

impl View for Done<'_> {
    fn text(&self) -> String {
        format!("{} {}\n", self.name, self.done)
    }
}

pub(super) fn done(format: Format, what: &'static str, name: &str) -> Result<(), Failure> {
    format.show(&Done { done: what, name })
}
