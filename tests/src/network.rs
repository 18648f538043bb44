//! A bench network of one's own: a bridge with a tap for each machine, and a DHCP server at its other end, plain or with a netboot server's words, in
//! network namespaces that end with the test. It needs root, as `make test` has it; nothing of it can reach, or be reached from, the network of the host.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::harness::logs::Logs;
use crate::sys;

/// The bridge's name, and this side's address on it.
pub const BRIDGE: &str = "bench";
/// The server's side.
pub const OWN: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The DHCP server.
const DHCP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// The tap of the machine with this number.
const TAP: &str = "tap";

/// A namespace that lives as long as the process in it.
#[derive(Debug)]
struct Namespace {
    holder: Child,
    _input: ChildStdin,
}

impl Namespace {
    /// Makes one. The process in it echoes a line once it is there.
    fn make() -> Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--net", "--", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = sys::die_with_parent(&mut command).spawn().context("cannot run unshare")?;
        let mut input = holder.stdin.take().context("its input was asked for as a pipe")?;
        let output = holder.stdout.take().context("its output was asked for as a pipe")?;
        writeln!(input, "ready").context("a network namespace needs root")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line == "ready\n", "cannot make a network namespace: it needs root");
        Ok(Self { holder, _input: input })
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    /// Moves the calling thread into it.
    fn enter(&self) -> Result<()> {
        let file = File::open(self.path()).context("cannot open the namespace")?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).context("cannot enter the namespace")
    }

    /// A command that runs in it.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args([&format!("--net={}", self.path()), "--", program]);
        command
    }

    fn run(&self, line: &str) -> Result<()> {
        let mut words = line.split_whitespace();
        let program = words.next().context("a command has a program")?;
        let output = self.command(program).args(words).output().with_context(|| format!("cannot run {line}"))?;
        ensure!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        end(&mut self.holder);
    }
}

fn end(child: &mut Child) {
    // Policy: a child that is already gone needs no ending.
    drop(child.kill());
    drop(child.wait());
}

/// A machine on the bench: its network card's address, and the IP address the DHCP server has for it.
#[derive(Debug, Clone)]
pub struct Port {
    /// MAC address.
    pub mac: String,
    /// The tap its cable leads to.
    pub tap: String,
    /// What the DHCP server gives it.
    pub address: Ipv4Addr,
}

/// What a site's own server has machines boot: a folder that is served over TFTP, and what of it they are told to load.
#[derive(Debug, Clone)]
pub struct Netboot {
    /// The folder.
    pub folder: PathBuf,
    /// The file in it for firmware: iPXE.
    pub loader: String,
    /// The file in it for iPXE: its script.
    pub script: String,
}

impl Netboot {
    /// What the DHCP server is told; it knows iPXE by the option that only iPXE sends.
    fn words(&self) -> [String; 5] {
        [
            "--enable-tftp".into(),
            format!("--tftp-root={}", self.folder.display()),
            "--dhcp-match=set:ipxe,175".into(),
            format!("--dhcp-boot=tag:!ipxe,{}", self.loader),
            format!("--dhcp-boot=tag:ipxe,{}", self.script),
        ]
    }
}

/// The bench.
#[derive(Debug)]
pub struct Bench {
    dhcp: Child,
    ports: Vec<Port>,
    _near: Namespace,
    far: Namespace,
}

impl Bench {
    /// Makes it, with a port for each of these MAC addresses, and moves the calling thread onto it: what this thread starts from now on is on the
    /// bench's network and no other.
    pub fn join(macs: &[&str], logs: &Logs) -> Result<Self> {
        Self::join_with(macs, None, logs)
    }

    /// The same where the DHCP server also has machines boot something. What it sends them is in the log `dhcp.log`.
    pub fn join_with(macs: &[&str], netboot: Option<&Netboot>, logs: &Logs) -> Result<Self> {
        let (near, far) = (Namespace::make()?, Namespace::make()?);
        let port = |(number, mac): (usize, &&str)| Port {
            mac: (*mac).into(),
            tap: format!("{TAP}{number}"),
            address: Ipv4Addr::new(10, 77, 0, 100 + number as u8),
        };
        let ports: Vec<Port> = macs.iter().enumerate().map(port).collect();
        wire(&near, &far, &ports)?;
        let dhcp = serve_dhcp(&far, &ports, netboot, logs)?;
        near.enter()?;
        Ok(Self { dhcp, ports, _near: near, far })
    }

    /// Does something as another host on the bench: the DHCP server's.
    pub fn elsewhere<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let outcome = scope.spawn(|| self.far.enter().map(|()| work())).join();
            outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The ports, in the order of their MAC addresses.
    pub fn ports(&self) -> &[Port] {
        &self.ports
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        end(&mut self.dhcp);
    }
}

fn wire(near: &Namespace, far: &Namespace, ports: &[Port]) -> Result<()> {
    near.run("ip link set lo up")?;
    near.run(&format!("ip link add {BRIDGE} type bridge forward_delay 0"))?;
    near.run(&format!("ip address add {OWN}/24 dev {BRIDGE}"))?;
    near.run(&format!("ip link set {BRIDGE} up"))?;
    near.run(&format!("ip link add dhcp type veth peer name eth0 netns {}", far.holder.id()))?;
    near.run(&format!("ip link set dhcp master {BRIDGE} up"))?;
    for Port { tap, .. } in ports {
        near.run(&format!("ip tuntap add {tap} mode tap"))?;
        near.run(&format!("ip link set {tap} master {BRIDGE} up"))?;
    }
    far.run("ip link set lo up")?;
    far.run(&format!("ip address add {DHCP}/24 dev eth0"))?;
    far.run("ip link set eth0 up")
}

/// A server as any network has one: it gives addresses, and knows nothing of booting unless it is told.
fn serve_dhcp(far: &Namespace, ports: &[Port], netboot: Option<&Netboot>, logs: &Logs) -> Result<Child> {
    let log = File::create(logs.path("dhcp.log"))?;
    let mut command = far.command("dnsmasq");
    command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=eth0", "--bind-interfaces"]);
    command.args(["--leasefile-ro", "--no-ping", "--log-dhcp", "--log-facility=-", "--user=root", "--dhcp-authoritative"]);
    command.arg("--dhcp-range=10.77.0.50,10.77.0.99,1h");
    command.args(ports.iter().map(|port| format!("--dhcp-host={},{}", port.mac, port.address)));
    command.args(netboot.map(Netboot::words).into_iter().flatten());
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    sys::die_with_parent(&mut command).spawn().context("cannot run dnsmasq; `make setup` installs it")
}
