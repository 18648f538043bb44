//! Reads what the k3s stand-in reports in its service's log.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::node::Node;

/// Facts of every report called `what`, oldest first. Lines that are no report are skipped: k3s is allowed to say other things.
pub fn reports(lines: &[String], what: &str) -> Vec<Value> {
    let values = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    values.filter(|value| value["standin"] == what).map(|mut value| value["facts"].take()).collect()
}

/// The last report called `what` in the node's log of k3s; none: it has not come yet.
pub fn last_report(node: &Node, what: &str) -> Result<Option<Value>> {
    let lines = node.logs("k3s").context("cannot read the log of k3s")?;
    Ok(reports(&lines, what).pop())
}

/// What the container called `name` has written so far.
pub fn container_lines(node: &Node, name: &str) -> Result<Vec<String>> {
    let lines = node.logs("k3s").context("cannot read the log of k3s")?;
    let of_container = reports(&lines, "container").into_iter().filter(|facts| facts["container"] == name);
    Ok(of_container.filter_map(|facts| facts["line"].as_str().map(Into::into)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_found_among_other_lines() {
        let lines =
            ["time=… level=info", r#"{"standin":"started","facts":{"n":1}}"#, r#"{"standin":"started","facts":{"n":2}}"#, "{}"];
        let found = reports(&lines.map(Into::into), "started");
        assert_eq!(found.len(), 2);
        assert_eq!(found[1]["n"], 2);
    }
}
