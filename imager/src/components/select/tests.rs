//! Which components an image gets, and which wishes are refused.

use std::path::Path;

use super::super::digest::Digest;
use super::super::lockfile::LockedDeb;
use super::super::manifest::Archive;
use super::*;

fn manifest() -> Manifest {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel/components.toml");
    Manifest::load(&path).expect("components.toml")
}

fn board() -> Board {
    Board::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel/boards"), "qemu-x86_64").expect("board")
}

/// A lock of everything in the manifest, with made-up versions.
fn lock(manifest: &Manifest, containerd: &str) -> Lock {
    let mut packages = Vec::new();
    for (name, component) in &manifest.component {
        for package in &component.package {
            let deb = LockedDeb {
                name: package.name.clone(),
                version: if name == "containerd" { containerd.into() } else { "9-1".into() },
                suite: "forky".into(),
                archive: Archive::Debian,
                path: "pool/x.deb".into(),
                size: 1,
                sha256: Digest::of(package.name.as_bytes()),
            };
            let wanted = package.wanted(Architecture::X86_64);
            packages.push(LockedPackage { component: name.clone(), architecture: Architecture::X86_64, wanted, deb });
        }
    }
    Lock::new(vec![], packages, vec![])
}

fn wishes(given: &[&str], without: &[&str]) -> Wishes {
    Wishes {
        given: given.iter().map(|name| ((*name).to_owned(), PathBuf::from("/x"))).collect(),
        without: without.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn names(containerd: &str, wishes: &Wishes) -> Result<Vec<String>, SelectError> {
    let manifest = manifest();
    let lock = lock(&manifest, containerd);
    Ok(choose(&manifest, &lock, &board(), wishes)?.into_iter().map(|chosen| chosen.name).collect())
}

#[test]
fn an_image_has_all_but_what_tests_use() {
    let all = names("2.1.9-1", &Wishes::default()).expect("chosen");
    assert!(
        ["containerd", "k3s", "k3s-images", "linux-cloud-amd64", "systemd-boot"].iter().all(|name| all.contains(&(*name).into()))
    );
    for other in ["ovmf", "qemu-x86", "microcode", "linux-amd64", "firmware-realtek"] {
        assert!(!all.contains(&other.into()), "{other}");
    }
}

#[test]
fn a_component_of_another_sort_or_of_no_use_to_the_board_is_refused() {
    let manifest = manifest();
    let lock = lock(&manifest, "2.1.9-1");
    let mut odd = board();
    odd.microcode = Some("containerd".into());
    let error = choose(&manifest, &lock, &odd, &Wishes::default()).expect_err("no microcode").to_string();
    assert!(error.contains("`containerd` as the microcode of board qemu-x86_64"), "{error}");
    let error = choose(&manifest, &lock, &board(), &wishes(&["microcode"], &[])).expect_err("of no use").to_string();
    assert!(error.contains("board qemu-x86_64 does not use that component"), "{error}");
}

#[test]
fn images_follow_k3s_unless_given() {
    let has_images = |wishes: &Wishes| names("2.1.9-1", wishes).expect("chosen").contains(&"k3s-images".to_owned());
    assert!(!has_images(&wishes(&[], &["k3s"])));
    assert!(!has_images(&wishes(&["k3s"], &[])), "images of a pinned k3s do not go with another");
    assert!(has_images(&wishes(&["k3s-images"], &["k3s"])));
    assert!(!has_images(&wishes(&[], &["k3s-images"])));
}

#[test]
fn versions_that_do_not_go_together_are_refused() {
    let error = names("1.7.24~ds1-6", &Wishes::default()).expect_err("containerd 1").to_string();
    assert!(error.contains("containerd 1.7.24~ds1-6 and k3s v1.36.4+k3s1"), "{error}");
    assert!(names("1.7.24~ds1-6", &wishes(&[], &["k3s"])).is_ok());
    assert!(names("1.7.24~ds1-6", &wishes(&["k3s"], &[])).is_ok(), "nobody knows the version of a stand-in");
}

#[test]
fn wishes_that_cannot_be_granted_are_named() {
    let error = |given: &[&str], without: &[&str]| names("2.1.9-1", &wishes(given, without)).expect_err("refused");
    assert!(matches!(error(&["k8s"], &[]), SelectError::Unknown { name, known } if name == "k8s" && known.contains("k3s")));
    assert!(matches!(error(&[], &["containerd"]), SelectError::Needed { .. }));
    assert!(matches!(error(&["k3s"], &["k3s"]), SelectError::Both { .. }));
    assert!(matches!(error(&["ovmf"], &[]), SelectError::OnlyForTests { .. }));
}

#[test]
fn a_stale_lock_and_a_wrong_kernel_are_named() {
    let manifest = manifest();
    let empty = Lock::new(vec![], vec![], vec![]);
    let error = choose(&manifest, &empty, &board(), &Wishes::default()).expect_err("not locked");
    assert!(error.to_string().contains("run `imager lock`"), "{error}");
    let mut odd = board();
    odd.kernel = "containerd".into();
    assert!(matches!(choose(&manifest, &empty, &odd, &Wishes::default()), Err(SelectError::Kernel { .. })));
}
