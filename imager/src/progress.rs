//! How long work reports what it is doing. The library speaks through [`Progress`]; what a person sees is the binary's choice.
//!
//! Refuses to know about terminals: bars, JSON lines and plain lines are in `ui`.

/// One thing that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A step began. Steps of different names may overlap.
    Begin {
        /// What is being done, e.g. `fetch containerd`.
        step: &'a str,
        /// Bytes to go, when known.
        total_bytes: Option<u64>,
    },
    /// A step came this far.
    Advance {
        /// The step.
        step: &'a str,
        /// Bytes done so far, counted from the beginning.
        done_bytes: u64,
    },
    /// A step ended well. A step that fails ends in the operation's error instead.
    End {
        /// The step.
        step: &'a str,
    },
    /// Something a person should read; the work goes on.
    Warn {
        /// The whole sentence.
        message: &'a str,
    },
}

/// Takes events. Called from several threads.
pub trait Progress: Sync {
    /// One thing happened.
    fn event(&self, event: Event<'_>);
}

/// Says nothing: for tests and for callers that do not care.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: Event<'_>) {}
}

/// Runs `work` between a beginning and, when it succeeds, an end.
pub fn step<T, E>(progress: &dyn Progress, step: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    progress.event(Event::Begin { step, total_bytes: None });
    let done = work()?;
    progress.event(Event::End { step });
    Ok(done)
}

#[cfg(test)]
pub(crate) mod testing {
    //! A listener for tests.

    use std::sync::Mutex;

    use super::{Event, Progress};

    /// Keeps warnings.
    #[derive(Default)]
    pub(crate) struct Warnings(Mutex<Vec<String>>);

    impl Warnings {
        /// Those of this far.
        pub(crate) fn all(&self) -> Vec<String> {
            self.0.lock().expect("not poisoned").clone()
        }
    }

    impl Progress for Warnings {
        fn event(&self, event: Event<'_>) {
            if let Event::Warn { message } = event {
                self.0.lock().expect("not poisoned").push(message.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    struct Record(Mutex<Vec<String>>);

    impl Progress for Record {
        fn event(&self, event: Event<'_>) {
            self.0.lock().expect("not poisoned").push(format!("{event:?}"));
        }
    }

    #[test]
    fn a_failed_step_has_no_end() {
        let record = Record(Mutex::default());
        step(&record, "good", || Ok::<_, ()>(())).expect("good");
        step(&record, "bad", || Err::<(), _>(())).expect_err("bad");
        let seen = record.0.into_inner().expect("not poisoned");
        assert_eq!(seen.iter().filter(|event| event.starts_with("End")).count(), 1);
        assert_eq!(seen.len(), 3);
    }
}
