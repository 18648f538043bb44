//! `apply`: sends a signed configuration. The node judges it; nothing is checked here that could differ from its judgement.

use std::path::Path;

use api::v1;
use machine_config::types::DeviceId;

use crate::failure::Failure;
use crate::files;
use crate::view::{Applied, Mirror};

use super::args::{Apply, Global};
use super::check::document_of;
use super::reach::{Meant, reach};

pub(super) async fn run(global: &Global, command: Apply) -> Result<(), Failure> {
    let Apply { file, dry_run } = command;
    let config = files::read(&file)?;
    let node = reach(global, Meant::Exactly(named_device(&file, &config))).await?;
    let answer = node.apply_config(v1::ApplyConfigRequest { config, dry_run }).await?;
    global.output.show(&Applied { answer: Mirror::mirror(answer), dry_run })
}

/// The device that the operator's own file names. A file that cannot be read names none; the node will say what is wrong with it.
fn named_device(file: &Path, config: &[u8]) -> Option<DeviceId> {
    let document = document_of(file, config).ok()?;
    machine_config::parse(document).ok()?.target.device_id
}
