//! Configurations against the files and specs that follow from them, compared with golden files.

use std::path::Path;

use super::*;
use crate::services::spec::{Capabilities, Files, Readiness};

const ALL: RuntimeFacts = RuntimeFacts { containerd: true, images: true, k3s: true };

fn config(rest: &str) -> MachineConfig {
    let head = "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetadata: {name: store-0421-a, fleet: acme, generation: 7}\ntarget: {any: true}\n";
    machine_config::parse(format!("{head}{rest}").as_bytes()).expect("the test's configuration is valid")
}

fn content<'a>(plan: &'a ServicePlan, path: &str) -> &'a str {
    let file = plan.files.files.iter().find(|file| file.path == Path::new(path));
    &file.unwrap_or_else(|| panic!("no {path} in {:?}", plan.files.files)).content
}

fn names(plan: &ServicePlan) -> Vec<&str> {
    plan.specs.iter().map(|spec| spec.name.as_str()).collect()
}

fn spec<'a>(plan: &'a ServicePlan, name: &str) -> &'a ServiceSpec {
    plan.specs.iter().find(|spec| spec.name == name).expect("the service is planned")
}

/// Compares with `golden/NAME`; `UPDATE_GOLDEN=1` writes it instead.
fn golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/services/definitions/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, found).expect("the golden folder is there");
    }
    let expected = std::fs::read_to_string(&path).expect("the golden file is there");
    assert_eq!(found, expected, "{name} changed: run with UPDATE_GOLDEN=1 if that is meant");
}

const STORE: &str = r#"
machine:
  registries:
    registry.example:5000:
      mirrors: ["https://mirror-a.example", "http://10.0.0.5:5000"]
      ca: "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"
      auth: {username: puller, password: 'pa"ss'}
    sealed.example: {mirrors: ["https://mirror-a.example"], mirrorsOnly: true}
k3s:
  role: server
  token: s3cret
  nodeIp: 192.168.1.10
  nodeLabels: {site: "0421", tier: edge}
  nodeTaints: ["dedicated=pos:NoSchedule"]
  clusterCidr: 10.42.0.0/16
  serviceCidr: 10.43.0.0/16
  disable: [traefik, servicelb]
  tlsSan: [store.example]
  manifests: {app: "kind: Namespace\n"}
  staticPods: {hello: "kind: Pod\n"}
"#;

#[test]
fn a_configuration_without_anything_runs_containerd_with_its_own_network() {
    let plan = plan(&config(""), ALL);
    assert_eq!(names(&plan), ["apid", "containerd", "images"]);
    assert!(plan.problems.is_empty());
    golden("minimal-containerd.toml", content(&plan, "/etc/containerd/config.toml"));
    assert!(content(&plan, "/etc/cni/net.d/10-skerry.conflist").contains("10.88.0.0/16"));
}

#[test]
fn a_store_gets_registries_and_a_k3s_server() {
    let plan = plan(&config(STORE), ALL);
    assert_eq!(names(&plan), ["apid", "containerd", "images", "k3s"]);
    golden("store-containerd.toml", content(&plan, "/etc/containerd/config.toml"));
    golden("store-hosts.toml", content(&plan, "/etc/containerd/certs.d/registry.example:5000/hosts.toml"));
    golden("sealed-hosts.toml", content(&plan, "/etc/containerd/certs.d/sealed.example/hosts.toml"));
    golden("store-k3s.yaml", content(&plan, "/etc/rancher/k3s/config.yaml"));
    assert_eq!(content(&plan, "/var/lib/rancher/k3s/server/manifests/skerry-app.yaml"), "kind: Namespace\n");
    assert_eq!(content(&plan, "/var/lib/rancher/k3s/agent/pod-manifests/skerry-hello.yaml"), "kind: Pod\n");
}

#[test]
fn an_agent_gets_its_server_and_nothing_of_a_server() {
    let plan = plan(&config("k3s: {role: agent, server: 'https://10.0.0.1:6443', token: t}\n"), ALL);
    golden("agent-k3s.yaml", content(&plan, "/etc/rancher/k3s/config.yaml"));
    assert_eq!(spec(&plan, "k3s").argv, ["/usr/bin/k3s", "agent", "--config", "/etc/rancher/k3s/config.yaml"]);
}

#[test]
fn the_written_toml_and_yaml_say_what_was_meant() {
    let plan = plan(&config(STORE), ALL);
    let yaml: std::collections::BTreeMap<String, serde_json::Value> =
        serde_saphyr::from_str(content(&plan, "/etc/rancher/k3s/config.yaml")).expect("valid YAML");
    assert_eq!(yaml["token"], "s3cret");
    assert_eq!(yaml["node-label"], serde_json::json!(["site=0421", "tier=edge"]));
    let toml: toml::Table = content(&plan, "/etc/containerd/config.toml").parse().expect("valid TOML");
    let auth = &toml["plugins"]["io.containerd.cri.v1.images"]["registry"]["configs"]["registry.example:5000"]["auth"];
    assert_eq!(auth["password"].as_str(), Some("pa\"ss"));
}

#[test]
fn secrets_lie_in_files_for_root_alone_and_in_no_debug_output() {
    let plan = plan(&config(STORE), ALL);
    for file in &plan.files.files {
        let secret = ["s3cret", "pa\\\"ss"].iter().any(|secret| file.content.contains(secret));
        assert!(!secret || file.mode == 0o600, "{}", file.path.display());
    }
    assert!(!format!("{plan:?}").contains("s3cret"));
}

#[test]
fn k3s_that_the_image_lacks_is_an_error_and_not_silence() {
    let plan = plan(&config(STORE), RuntimeFacts { k3s: false, ..ALL });
    assert_eq!(names(&plan), ["apid", "containerd", "images"]);
    assert_eq!(plan.problems.len(), 1);
    assert!(plan.problems[0].1.contains("carries none"), "{:?}", plan.problems);
}

#[test]
fn a_runtime_without_containerd_is_an_error() {
    let plan = plan(&config(""), RuntimeFacts { containerd: false, images: true, k3s: true });
    assert_eq!(names(&plan), ["apid"]);
    assert_eq!(plan.problems[0].0, "service containerd");
}

#[test]
fn every_dependency_is_a_service_and_apid_can_do_nothing() {
    let plan = plan(&config(STORE), ALL);
    for spec in &plan.specs {
        assert!(spec.depends_on.iter().chain(&spec.after).all(|name| names(&plan).contains(&name.as_str())), "{}", spec.name);
        assert!(Path::new(&spec.argv[0]).is_absolute());
    }
    let apid = spec(&plan, "apid");
    assert_eq!(apid.capabilities, Capabilities::Only(rustix::thread::CapabilitySet::empty()));
    assert_eq!((apid.user.expect("not root").uid, apid.no_new_privs), (api::APID_UID, true));
    assert_eq!(apid.files, Files::OwnProgram { reads: &["/etc"] });
    assert!(apid.share.memory_bytes.is_some() && apid.share.tasks.is_some());
    assert_eq!(spec(&plan, "k3s").readiness, Readiness::Notify);
    assert_eq!(super::apid(), *apid);
}

#[test]
fn only_the_service_whose_file_changed_gets_another_spec() {
    let before = plan(&config(STORE), ALL);
    let after = plan(&config(&STORE.replace("tier: edge", "tier: core")), ALL);
    let changed: Vec<&str> =
        before.specs.iter().zip(&after.specs).filter(|(a, b)| a != b).map(|(a, _)| a.name.as_str()).collect();
    assert_eq!(changed, ["k3s"]);
}

#[test]
fn what_a_configuration_no_longer_asks_for_is_removed_and_k3s_own_files_stay() {
    let root = tempfile::tempdir().expect("a temp folder");
    plan(&config(STORE), ALL).files.write(root.path()).expect("the folder is ours");
    let at = |path: &str| root.path().join(path);
    let own = at("var/lib/rancher/k3s/server/manifests/coredns.yaml");
    std::fs::write(&own, "k3s's own").expect("the folder is ours");
    assert!(at("etc/containerd/certs.d/registry.example:5000/ca.crt").exists());
    assert!(!at("etc/cni/net.d/10-skerry.conflist").exists());
    plan(&config("machine: {registries: {sealed.example: {mirrors: ['https://m.example'], mirrorsOnly: true}}}\n"), ALL)
        .files
        .write(root.path())
        .expect("the folder is ours");
    for gone in [
        "etc/containerd/certs.d/registry.example:5000",
        "var/lib/rancher/k3s/server/manifests/skerry-app.yaml",
        "var/lib/rancher/k3s/agent/pod-manifests/skerry-hello.yaml",
    ] {
        assert!(!at(gone).exists(), "{gone}");
    }
    assert!(own.exists() && at("etc/cni/net.d/10-skerry.conflist").exists());
    assert!(at("etc/containerd/certs.d/sealed.example/hosts.toml").exists());
}

#[test]
fn writing_the_same_plan_twice_touches_nothing() {
    let root = tempfile::tempdir().expect("a temp folder");
    let plan = plan(&config(STORE), ALL);
    plan.files.write(root.path()).expect("the folder is ours");
    let path = root.path().join("etc/rancher/k3s/config.yaml");
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).expect("it was written"));
    let first = inode(&path);
    plan.files.write(root.path()).expect("the folder is ours");
    assert_eq!(inode(&path), first);
}
