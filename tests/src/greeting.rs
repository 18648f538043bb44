//! From a configured node to a running container: what every board must reach.

use anyhow::{Context, Result, ensure};
use api::v1::ServiceState;

use crate::config::{HELLO_IMAGE, HELLO_PORT};
use crate::device::Device;
use crate::harness::Patience;
use crate::node::Node;
use crate::{http, standin};

/// How fast the guest's processor is emulated; waits are that many times as long as those of an x86-64 guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace(pub u64);

impl Pace {
    /// An x86-64 guest.
    pub const USUAL: Self = Self(1);

    /// A wait that usually takes `seconds` on an x86-64 guest.
    pub fn patience(self, what: &str, seconds: u64) -> Patience {
        Patience::new(what, seconds * self.0)
    }
}

/// Waits until containerd runs, the archive's images are imported, and the greeting container has greeted and answers on its port.
pub fn wait_for_greeting(device: &mut Device<'_>, node: &Node, pace: Pace) -> Result<()> {
    node.wait_service("containerd", ServiceState::Ready, &pace.patience("containerd", 20))?;
    node.wait_service("images", ServiceState::Done, &pace.patience("the import of images", 20))?;
    let listed = pace.patience("k3s listing images", 15);
    let images = node.wait_until(&listed, |node| standin::last_report(node, "images"))?;
    let names: Vec<_> = images.as_array().context("no list of images")?.iter().filter_map(|name| name.as_str()).collect();
    ensure!(names.contains(&HELLO_IMAGE), "the archive's image was not imported: {names:?}");
    let greeting = node.wait_until(&pace.patience("the container's output", 20), |node| {
        let lines = standin::container_lines(node, "hello")?;
        Ok(lines.into_iter().find(|line| line.starts_with("hello from a container")))
    })?;
    ensure!(greeting.contains("on box-1") && greeting.contains("pid 1,"), "the container greets oddly: {greeting}");
    let running = node.wait_until(&pace.patience("the container in the node's list", 5), |node| {
        Ok(node.containers()?.into_iter().find(|container| container.name == "hello" && container.state == "running"))
    })?;
    ensure!(running.image == HELLO_IMAGE && running.pod == "default/hello", "{running:?}");
    let answer = http::ask(device.port(HELLO_PORT)?).context("the container does not answer on the network")?;
    ensure!(answer.contains("hello from a container"), "it answers {answer:?}");
    Ok(())
}
