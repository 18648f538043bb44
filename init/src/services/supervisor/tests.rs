//! Real processes under the real supervisor, in a made-up cgroup tree.

use std::collections::BTreeMap;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::services::machine::ServiceState;
use crate::services::spec::{Backoff, Readiness};

/// A folder that looks enough like a cgroup tree to be joined.
fn cgroup_tree(names: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temp folder");
    for name in names {
        let path = folder.path().join("skerry").join(name);
        std::fs::create_dir_all(&path).expect("the folder is ours");
        for file in ["cgroup.procs", "cgroup.kill"] {
            std::fs::write(path.join(file), "").expect("the folder is ours");
        }
    }
    folder
}

fn supervisor(folder: &Path) -> (Supervisor, Node) {
    let node = Node::default();
    let surroundings = Surroundings { node: node.clone(), cgroup_mount: folder.to_owned(), run_folder: folder.join("run") };
    (Supervisor::start(surroundings).expect("signals can be watched"), node)
}

fn shell(name: &str, script: &str) -> ServiceSpec {
    let env = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
    let backoff = Backoff { min: Duration::from_millis(10), ..Backoff::default() };
    ServiceSpec { env, backoff, ..ServiceSpec::daemon(name, &["/bin/sh", "-c", script]) }
}

async fn until(supervisor: &Supervisor, what: impl Fn(&[ServiceStatus]) -> bool) -> Vec<ServiceStatus> {
    let mut board = supervisor.subscribe();
    let wait = board.wait_for(|snapshot| what(&snapshot.services));
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("in time").expect("the task lives").services.clone()
}

async fn first_line(supervisor: &Supervisor, name: &str) -> String {
    until(supervisor, |services| services.iter().any(|service| service.name == name && service.pid != 0 || service.restarts > 0))
        .await;
    let mut reader = supervisor.logs(name).expect("it was started").reader(0);
    tokio::time::timeout(Duration::from_secs(20), reader.next()).await.expect("in time").0.text.into()
}

#[tokio::test]
async fn output_is_kept_and_a_crash_is_restarted_with_a_pause() {
    let folder = cgroup_tree(&["crash"]);
    let (supervisor, node) = supervisor(folder.path());
    supervisor.ensure(vec![shell("crash", "echo hello; echo oops >&2; exit 3")]);
    let services = until(&supervisor, |services| services.iter().any(|service| service.restarts >= 2)).await;
    assert_eq!(services[0].last_exit, "exit code 3");
    assert_eq!(first_line(&supervisor, "crash").await, "hello");
    assert!(node.events.tail(0).iter().any(|event| event.message.contains("failed (exit code 3)")));
    supervisor.stop_all(Duration::from_secs(20)).await;
}

#[tokio::test]
async fn the_child_lives_where_and_as_its_spec_says() {
    let folder = cgroup_tree(&["facts"]);
    let (supervisor, _) = supervisor(folder.path());
    let mut spec = shell("facts", "echo $(cat /proc/self/oom_score_adj) $(ulimit -n) $HOME; exec sleep 100");
    spec.oom_score_adj = 321;
    spec.rlimits =
        vec![crate::services::spec::Rlimit { resource: crate::services::spec::Resource::OpenFiles, soft: 77, hard: 77 }];
    supervisor.ensure(vec![spec]);
    assert_eq!(first_line(&supervisor, "facts").await, "321 77");
    let joined = std::fs::read_to_string(folder.path().join("skerry/facts/cgroup.procs")).expect("it was joined");
    assert_eq!(joined, "0");
    supervisor.stop_all(Duration::from_secs(20)).await;
}

#[tokio::test]
async fn a_service_without_capabilities_has_none_and_cannot_regain_any() {
    if !rustix::process::getuid().is_root() {
        return crate::testing::skip("only root can give capabilities away");
    }
    let folder = cgroup_tree(&["apid"]);
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("the folder is ours");
    let (supervisor, _) = supervisor(folder.path());
    let mut spec = shell(
        "apid",
        "grep -E '^(Uid|Groups|CapEff|CapBnd|NoNewPrivs)' /proc/self/status | tr '\\n\\t' '  '; echo; exec sleep 100",
    );
    spec.user = Some(crate::services::spec::User { uid: 7440, gid: 7440 });
    spec.capabilities = crate::services::spec::Capabilities::Only(rustix::thread::CapabilitySet::empty());
    spec.no_new_privs = true;
    supervisor.ensure(vec![spec]);
    let line = first_line(&supervisor, "apid").await;
    let words: Vec<&str> = line.split_whitespace().collect();
    let none = "0000000000000000";
    assert_eq!(words, ["Uid:", "7440", "7440", "7440", "7440", "Groups:", "CapEff:", none, "CapBnd:", none, "NoNewPrivs:", "1"]);
    supervisor.stop_all(Duration::from_secs(20)).await;
}

#[tokio::test]
async fn a_notification_makes_a_service_ready_and_its_dependent_start() {
    let folder = cgroup_tree(&["first", "second"]);
    let (supervisor, _) = supervisor(folder.path());
    let script = "python3 -c 'import os,socket; socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM).sendto(b\"READY=1\",os.environ[\"NOTIFY_SOCKET\"])'";
    let first = ServiceSpec { readiness: Readiness::Notify, ..shell("first", &format!("{script}; exec sleep 100")) };
    let second = ServiceSpec { depends_on: vec!["first".into()], ..shell("second", "exec sleep 100") };
    supervisor.ensure(vec![first, second]);
    tokio::time::timeout(Duration::from_secs(20), supervisor.ready("second")).await.expect("in time");
    supervisor.stop_all(Duration::from_secs(20)).await;
    assert!(supervisor.services().iter().all(|service| service.state == ServiceState::Stopped));
}

#[tokio::test]
async fn a_reported_service_restarts_on_request_and_an_unknown_one_is_named() {
    let folder = cgroup_tree(&["apid"]);
    let (supervisor, _) = supervisor(folder.path());
    let spec = ServiceSpec { readiness: Readiness::Reported, ..shell("apid", "exec sleep 100") };
    supervisor.ensure(vec![spec]);
    until(&supervisor, |services| services.iter().any(|service| service.state == ServiceState::Starting)).await;
    supervisor.report_ready("apid");
    supervisor.ready("apid").await;
    supervisor.restart("apid").await.expect("it is known");
    until(&supervisor, |services| services.iter().any(|service| service.restarts == 1)).await;
    let error = supervisor.restart("k3s").await.expect_err("there is none");
    assert_eq!(error.to_string(), "cannot restart `k3s`: there is no such service; there are apid");
    supervisor.stop_all(Duration::from_secs(20)).await;
    assert!(matches!(supervisor.restart("apid").await, Err(RestartError::Stopping { .. })));
}

#[tokio::test]
async fn a_program_that_is_not_there_says_so() {
    let folder = cgroup_tree(&["gone"]);
    let (supervisor, node) = supervisor(folder.path());
    supervisor.ensure(vec![ServiceSpec::daemon("gone", &["/nonexistent/program"])]);
    let services = until(&supervisor, |services| services.iter().any(|service| service.state == ServiceState::Backoff)).await;
    assert!(services[0].last_exit.starts_with("cannot start: cannot run /nonexistent/program: "), "{}", services[0].last_exit);
    assert!(node.status.get().error_lines()[0].starts_with("service gone: cannot start"));
}
