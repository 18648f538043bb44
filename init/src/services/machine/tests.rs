//! The machine against a made-up world: named cases, then any sequence of events.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::services::spec::Stop;

/// The processes that the machine believes in, and every promise checked at each action.
struct World {
    machine: Machine,
    now: Instant,
    alive: BTreeMap<Run, Arc<ServiceSpec>>,
    ready: BTreeSet<String>,
    tried: BTreeSet<String>,
    next_pid: u32,
    spawn_fails: bool,
    log: Vec<String>,
}

impl World {
    fn new() -> Self {
        let (alive, ready, tried) = Default::default();
        Self {
            machine: Machine::default(),
            now: Instant::now(),
            alive,
            ready,
            tried,
            next_pid: 100,
            spawn_fails: false,
            log: vec![],
        }
    }

    fn send(&mut self, event: Event) {
        let mut actions = self.machine.on_event(self.now, event);
        while !actions.is_empty() {
            let mut later = Vec::new();
            for action in actions {
                later.extend(self.act(action));
            }
            actions = later;
        }
    }

    fn act(&mut self, action: Action) -> Vec<Action> {
        match action {
            Action::Spawn { run, spec } => return self.spawn(run, spec),
            Action::Signal { run, signal } => self.log.push(format!("{} {signal}", self.alive[&run].name)),
            Action::KillCgroup { name } => self.log.push(format!("{name} cgroup")),
            Action::Forget { name } => assert!(self.alive.values().all(|spec| spec.name != name), "forgot a living {name}"),
            Action::Report { .. } => {}
        }
        vec![]
    }

    fn spawn(&mut self, run: Run, spec: Arc<ServiceSpec>) -> Vec<Action> {
        assert!(self.alive.values().all(|other| other.name != spec.name), "two processes of {}", spec.name);
        assert!(spec.depends_on.iter().all(|name| self.ready.contains(name)), "{} before what it depends on", spec.name);
        assert!(!self.machine.stopping, "{} while the machine goes down", spec.name);
        self.log.push(format!("{} start", spec.name));
        if self.spawn_fails {
            self.tried.insert(spec.name.clone());
            return self.machine.on_event(self.now, Event::SpawnFailed { run, error: "no such file".into() });
        }
        self.next_pid += 1;
        if spec.readiness == Readiness::Running && spec.kind == Kind::Daemon {
            self.ready.insert(spec.name.clone());
        }
        self.alive.insert(run, spec);
        self.machine.on_event(self.now, Event::Spawned { run, pid: self.next_pid })
    }

    fn run_of(&self, name: &str) -> Option<Run> {
        self.alive.iter().find(|(_, spec)| spec.name == name).map(|(run, _)| *run)
    }

    fn make_ready(&mut self, name: &str) {
        if let Some(run) = self.run_of(name) {
            if self.state(name) == ServiceState::Starting && self.alive[&run].kind == Kind::Daemon {
                self.ready.insert(name.to_owned());
            }
            self.send(Event::Ready(run));
        }
    }

    fn exit(&mut self, name: &str, exit: Exit) {
        let Some(run) = self.run_of(name) else { return };
        let spec = self.alive.remove(&run).expect("it was just found");
        let done = spec.kind == Kind::OneShot && exit == Exit::Code(0) && self.state(name) == ServiceState::Starting;
        if done {
            self.ready.insert(name.to_owned())
        } else {
            self.ready.remove(name)
        };
        self.send(Event::Exited(run, exit));
    }

    fn advance(&mut self, by: Duration) {
        self.now += by;
        self.send(Event::Tick);
    }

    fn pass_deadline(&mut self) {
        if let Some(deadline) = self.machine.deadline() {
            self.now = self.now.max(deadline);
            self.send(Event::Tick);
        }
    }

    fn status(&self, name: &str) -> ServiceStatus {
        self.machine.status().into_iter().find(|status| status.name == name).expect("the service is known")
    }

    fn state(&self, name: &str) -> ServiceState {
        self.status(name).state
    }
}

fn daemon(name: &str, depends_on: &[&str]) -> ServiceSpec {
    let depends_on = depends_on.iter().map(|&name| name.to_owned()).collect();
    let readiness = Readiness::UnixSocket(PathBuf::from("/run/x.sock"));
    ServiceSpec { depends_on, readiness, ..ServiceSpec::daemon(name, &["/usr/bin/x"]) }
}

fn node() -> Vec<ServiceSpec> {
    let apid = ServiceSpec::daemon("apid", &["/skerry/apid"]);
    let images = ServiceSpec { kind: Kind::OneShot, ..daemon("images", &["containerd"]) };
    let k3s = ServiceSpec { after: vec!["images".into()], ..daemon("k3s", &["containerd"]) };
    let shims = Stop { scope: KillScope::Process, ..Stop::default() };
    vec![apid, ServiceSpec { stop: shims, ..daemon("containerd", &[]) }, images, k3s]
}

fn running() -> World {
    let mut world = World::new();
    world.send(Event::Ensure(node()));
    world.make_ready("containerd");
    world.exit("images", Exit::Code(0));
    world.make_ready("k3s");
    world.log.clear();
    world
}

#[test]
fn services_start_in_order_of_their_needs() {
    let mut world = World::new();
    world.send(Event::Ensure(node()));
    assert_eq!(world.log, ["apid start", "containerd start"]);
    assert_eq!(world.status("k3s").waiting_for, "containerd, images");
    world.make_ready("containerd");
    assert_eq!(world.log[2..], ["images start"]);
    world.exit("images", Exit::Code(0));
    assert_eq!(world.log[3..], ["images cgroup", "k3s start"]);
    assert_eq!(world.state("images"), ServiceState::Done);
}

#[test]
fn a_failed_import_does_not_hold_up_k3s() {
    let mut world = World::new();
    world.send(Event::Ensure(node()));
    world.make_ready("containerd");
    world.exit("images", Exit::Code(1));
    assert_eq!(world.state("images"), ServiceState::Backoff);
    assert_eq!(world.state("k3s"), ServiceState::Starting);
}

#[test]
fn a_crash_is_restarted_with_growing_pauses_until_it_runs_long_enough() {
    let mut world = running();
    let mut pauses = Vec::new();
    for _ in 0..4 {
        world.exit("k3s", Exit::Signal(libc::SIGSEGV));
        let status = world.status("k3s");
        assert_eq!(status.last_exit, "signal 11 (SIGSEGV)");
        pauses.push((status.retry_at.expect("a try comes") - world.now).as_secs());
        world.pass_deadline();
    }
    assert_eq!(pauses, [1, 2, 4, 8]);
    assert_eq!(world.status("k3s").restarts, 4);
    world.make_ready("k3s");
    world.advance(Duration::from_secs(121));
    world.exit("k3s", Exit::Code(0));
    assert_eq!(world.status("k3s").retry_at, Some(world.now + Duration::from_secs(1)));
}

#[test]
fn a_service_that_never_gets_ready_is_started_again() {
    let mut world = World::new();
    world.send(Event::Ensure(vec![daemon("containerd", &[])]));
    world.advance(Duration::from_secs(90));
    assert_eq!(world.log, ["containerd start", "containerd 15"]);
    world.exit("containerd", Exit::Signal(libc::SIGTERM));
    assert_eq!(world.state("containerd"), ServiceState::Backoff);
}

#[test]
fn all_stop_in_reverse_order_and_the_stubborn_are_killed_with_their_cgroup() {
    let mut world = running();
    world.send(Event::StopAll);
    assert_eq!(world.log, ["apid 15", "k3s 15"]);
    world.exit("apid", Exit::Code(0));
    world.pass_deadline();
    assert_eq!(world.log[2..], ["apid cgroup", "k3s 9", "k3s cgroup"]);
    assert!(!world.machine.all_stopped());
    world.exit("k3s", Exit::Signal(libc::SIGKILL));
    assert_eq!(world.log[5..], ["k3s cgroup", "containerd 15"]);
    world.exit("containerd", Exit::Code(0));
    assert!(world.machine.all_stopped());
}

#[test]
fn a_process_stuck_in_the_kernel_holds_up_neither_the_stop_nor_gets_a_twin() {
    let mut world = running();
    world.send(Event::Restart("k3s".into()));
    world.pass_deadline();
    world.pass_deadline();
    assert_eq!(world.state("k3s"), ServiceState::Failed);
    world.send(Event::Restart("k3s".into()));
    assert!(!world.log.contains(&"k3s start".to_owned()));
    world.send(Event::StopAll);
    world.exit("apid", Exit::Code(0));
    world.exit("containerd", Exit::Code(0));
    assert!(world.machine.all_stopped());
}

#[test]
fn a_restart_of_containerd_leaves_its_containers_and_k3s_alone() {
    let mut world = running();
    world.send(Event::Restart("containerd".into()));
    world.exit("containerd", Exit::Code(0));
    assert_eq!(world.log, ["containerd 15", "containerd start"]);
    assert_eq!(world.state("k3s"), ServiceState::Ready);
}

#[test]
fn a_changed_spec_restarts_only_its_service_and_an_unwanted_one_goes() {
    let mut world = running();
    let mut specs = node();
    specs.retain(|spec| spec.name != "apid");
    specs[0].revision = "other".into();
    world.send(Event::Ensure(specs.clone()));
    assert_eq!(world.log, ["containerd 15", "apid 15"]);
    world.exit("containerd", Exit::Code(0));
    world.exit("apid", Exit::Code(0));
    assert_eq!(world.log[2..], ["containerd start", "apid cgroup"]);
    assert!(world.machine.status().iter().all(|status| status.name != "apid"));
    world.send(Event::Ensure(specs));
    assert_eq!(world.log.len(), 4);
}

#[test]
fn a_missing_binary_is_tried_again_and_says_why() {
    let mut world = World::new();
    world.spawn_fails = true;
    world.send(Event::Ensure(vec![daemon("k3s", &[])]));
    assert_eq!(world.status("k3s").last_exit, "cannot start: no such file");
    world.spawn_fails = false;
    world.pass_deadline();
    assert_eq!(world.state("k3s"), ServiceState::Starting);
}

#[test]
fn an_unknown_dependency_is_named() {
    let mut world = World::new();
    world.send(Event::Ensure(vec![daemon("k3s", &["containerd"])]));
    assert_eq!(world.status("k3s").waiting_for, "containerd, which is not configured");
}

/// One thing that may happen in any order.
#[derive(Debug, Clone)]
enum Happening {
    Ready(usize),
    Exit(usize, Exit),
    Restart(usize),
    Ensure { mask: u8, revision: u8 },
    Advance(u16),
    PassDeadline,
    SpawnsFail(bool),
    StopAll,
}

fn happening() -> impl Strategy<Value = Happening> {
    let exit = prop_oneof![Just(Exit::Code(0)), Just(Exit::Code(1)), Just(Exit::Signal(9))];
    prop_oneof![
        6 => (0..4_usize).prop_map(Happening::Ready),
        6 => (0..4_usize, exit).prop_map(|(which, exit)| Happening::Exit(which, exit)),
        3 => (0..4_usize).prop_map(Happening::Restart),
        3 => (any::<u8>(), 0..3_u8).prop_map(|(mask, revision)| Happening::Ensure { mask, revision }),
        4 => (0..200_u16).prop_map(Happening::Advance),
        4 => Just(Happening::PassDeadline),
        1 => any::<bool>().prop_map(Happening::SpawnsFail),
        1 => Just(Happening::StopAll),
    ]
}

fn name(which: usize) -> String {
    node()[which].name.clone()
}

fn apply(world: &mut World, happening: Happening) {
    match happening {
        Happening::Ready(which) => world.make_ready(&name(which)),
        Happening::Exit(which, exit) => world.exit(&name(which), exit),
        Happening::Restart(which) => {
            if !world.machine.stopping && world.run_of(&name(which)).is_none() {
                world.ready.remove(&name(which));
            }
            world.send(Event::Restart(name(which)));
        }
        Happening::Ensure { mask, revision } => ensure(world, mask, revision),
        Happening::Advance(seconds) => world.advance(Duration::from_secs(seconds.into())),
        Happening::PassDeadline => world.pass_deadline(),
        Happening::SpawnsFail(fail) => world.spawn_fails = fail,
        Happening::StopAll => world.send(Event::StopAll),
    }
}

fn ensure(world: &mut World, mask: u8, revision: u8) {
    let mut specs = node();
    for spec in &mut specs {
        spec.revision = revision.to_string();
    }
    let specs: Vec<ServiceSpec> =
        specs.into_iter().enumerate().filter(|(n, _)| mask & (1 << n) != 0).map(|(_, spec)| spec).collect();
    world.send(Event::Ensure(specs));
    check(world);
}

/// What must hold between any two events.
fn check(world: &World) {
    for status in world.machine.status() {
        let alive = world.run_of(&status.name).is_some();
        assert_eq!(status.pid != 0, alive, "{} is {:?}", status.name, status.state);
        let resting =
            matches!(status.state, ServiceState::Waiting | ServiceState::Backoff | ServiceState::Stopped | ServiceState::Done);
        assert_eq!(resting, !alive, "{} is {:?}", status.name, status.state);
    }
    assert!(world.machine.deadline().is_none_or(|deadline| deadline > world.now), "a deadline that passed was not acted on");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// The promises of the module hold for any sequence; a failing one is kept in `proptest-regressions/` and replayed first.
    #[test]
    fn no_sequence_of_events_breaks_a_promise(happenings in prop::collection::vec(happening(), 1..60)) {
        let mut world = World::new();
        ensure(&mut world, 0xff, 0);
        for happening in happenings {
            apply(&mut world, happening);
            check(&world);
        }
        // Whatever state that left: a stop ends within grace and patience of each level, though no process obeys.
        world.send(Event::StopAll);
        for _ in 0..20 {
            world.pass_deadline();
        }
        prop_assert!(world.machine.all_stopped(), "{:?}", world.machine.status());
    }

    /// A dependency never stops before its dependents have.
    #[test]
    fn an_orderly_stop_goes_from_the_leaves_to_the_root(order in Just(["apid", "k3s", "containerd"]).prop_shuffle()) {
        let mut world = running();
        world.send(Event::StopAll);
        for _ in 0..3 {
            for name in order {
                if world.run_of("k3s").is_some() {
                    prop_assert!(!world.log.iter().any(|line| line == "containerd 15"));
                }
                if world.status(name).state == ServiceState::Stopping {
                    world.exit(name, Exit::Code(0));
                }
            }
        }
        prop_assert!(world.machine.all_stopped());
    }
}
