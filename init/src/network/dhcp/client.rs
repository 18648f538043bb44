//! The task around the machine: waits for a message, a carrier or the deadline, carries out the actions, reports leases.
//!
//! It decides nothing. A message that cannot be sent is logged and forgotten: the machine asks again by itself.

use std::io;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::lease::Lease;
use super::machine::{Action, Event, Machine, Path, Settings, Withdrawal};
use super::message::Message;
use super::socket::{Channel, Link};

/// What a client tells the network manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// It has sent its first message.
    Asked,
    /// The link has this lease now.
    Bound(Lease),
    /// The link has no lease any more.
    Withdrawn(Withdrawal),
}

/// Reports with the number of the link they are about.
pub type Reports = mpsc::UnboundedSender<(u32, Report)>;

/// A running client. Dropping it ends the client; the lease is not given back.
#[derive(Debug)]
pub struct Client {
    events: mpsc::UnboundedSender<Event>,
    task: JoinHandle<()>,
}

impl Client {
    /// Starts a client on one link, which says nothing until [`Client::carrier`] is told that there is one.
    pub fn start(link: Link, settings: Settings, reports: Reports) -> Self {
        let (events, inbox) = mpsc::unbounded_channel();
        let machine = Machine::new(Instant::now(), settings);
        let driver = Driver { link, machine, channel: None, reports, asked: false };
        Self { events, task: tokio::spawn(driver.run(inbox)) }
    }

    /// Tells whether the link has a carrier; telling it twice does no harm.
    pub fn carrier(&self, present: bool) {
        self.tell(if present { Event::CarrierUp } else { Event::CarrierLost });
    }

    /// Tells the name to give to servers; telling it twice does no harm.
    pub fn rename(&self, hostname: &str) {
        self.tell(Event::Renamed(Some(hostname.to_owned())));
    }

    fn tell(&self, event: Event) {
        // An error means that the client has ended, and then nobody needs to know.
        let _ = self.events.send(event);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Driver {
    link: Link,
    machine: Machine,
    channel: Option<Channel>,
    reports: Reports,
    asked: bool,
}

impl Driver {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Event>) {
        while let Some(event) = self.next_event(&mut inbox).await {
            for action in self.machine.on_event(Instant::now(), event) {
                self.act(action).await;
            }
            if self.machine.listens() != self.channel.as_ref().map(Channel::path) {
                self.channel = None;
            }
        }
    }

    async fn next_event(&mut self, inbox: &mut mpsc::UnboundedReceiver<Event>) -> Option<Event> {
        loop {
            let deadline = self.machine.deadline();
            tokio::select! {
                told = inbox.recv() => return told,
                () = sleep_until(deadline) => return Some(Event::Timer),
                received = receive(self.channel.as_ref()) => match received {
                    Ok(Some(message)) => return Some(Event::Received(message)),
                    Ok(None) => {}
                    // The link went down under us; the next message opens the channel anew.
                    Err(error) => {
                        tracing::debug!(link = self.link.name, %error, "dhcp channel closed");
                        self.channel = None;
                    }
                },
            }
        }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Send { path, message } => {
                tracing::debug!(link = self.link.name, kind = ?message.kind(), to = %path, "dhcp message");
                if !std::mem::replace(&mut self.asked, true) {
                    self.report(Report::Asked);
                }
                if let Err(error) = self.send(path, &message).await {
                    tracing::warn!(link = self.link.name, to = %path, %error, "cannot send a dhcp message");
                    self.channel = None;
                }
            }
            Action::Bind(lease) => self.report(Report::Bound(lease)),
            Action::Withdraw(why) => self.report(Report::Withdrawn(why)),
        }
    }

    async fn send(&mut self, path: Path, message: &Message) -> io::Result<()> {
        let channel = match self.channel.take().filter(|channel| channel.path() == path) {
            Some(channel) => channel,
            None => Channel::open(&self.link, path).await?,
        };
        self.channel.insert(channel).send(message.ciaddr, &message.encode()).await
    }

    fn report(&self, report: Report) {
        // An error means that the manager is gone, and with it everybody who could act on a lease.
        let _ = self.reports.send((self.link.index, report));
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn receive(channel: Option<&Channel>) -> io::Result<Option<Message>> {
    match channel {
        // What cannot be parsed is not for us to complain about: anybody on the link may send it.
        Some(channel) => channel.receive(|bytes| Message::parse(bytes).ok()).await,
        None => std::future::pending().await,
    }
}
