//! Where a worker is told things: a list behind a lock. There is one for each of thousands of pods, and nearly all are empty;
//! a channel would keep room for thirty-two.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::state::Command;

/// Where a worker is told; dropped, it will be told nothing more.
#[derive(Debug)]
pub(crate) struct Sender(Arc<Mailbox>);

/// Where it hears.
#[derive(Debug)]
pub(super) struct Inbox(Arc<Mailbox>);

#[derive(Debug)]
struct Mailbox {
    letters: Mutex<Letters>,
    came: Notify,
}

#[derive(Debug)]
struct Letters {
    waiting: VecDeque<Command>,
    /// Whether more may come.
    is_open: bool,
}

impl Mailbox {
    fn letters(&self) -> MutexGuard<'_, Letters> {
        // Every change is one insertion or removal: a panic elsewhere cannot leave it half done.
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both ends of a new one.
pub(super) fn mailbox() -> (Sender, Inbox) {
    let letters = Mutex::new(Letters { waiting: VecDeque::new(), is_open: true });
    let mailbox = Arc::new(Mailbox { letters, came: Notify::new() });
    (Sender(Arc::clone(&mailbox)), Inbox(mailbox))
}

impl Sender {
    /// Tell it. A worker whose task has ended has nobody left to tell.
    pub(crate) fn tell(&self, command: Command) {
        let mut letters = self.0.letters();
        if letters.is_open {
            letters.waiting.push_back(command);
            drop(letters);
            self.0.came.notify_one();
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.letters().is_open = false;
        self.0.came.notify_one();
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        *self.0.letters() = Letters { waiting: VecDeque::new(), is_open: false };
    }
}

impl Inbox {
    /// What has come, if anything has.
    pub(super) fn next(&mut self) -> Option<Command> {
        let mut letters = self.0.letters();
        let next = letters.waiting.pop_front();
        if letters.waiting.is_empty() {
            letters.waiting = VecDeque::new(); // with no room kept
        }
        next
    }

    /// What comes next; `None` when nothing more will. A call that is given up has taken nothing.
    pub(super) async fn recv(&mut self) -> Option<Command> {
        loop {
            if let Some(next) = self.next() {
                return Some(next);
            }
            if !self.0.letters().is_open {
                return self.next(); // what came in between
            }
            self.0.came.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn letters_come_in_order_until_nobody_writes_any_more() {
        let (sender, mut inbox) = mailbox();
        assert!(inbox.next().is_none() && inbox.recv().now_or_never().is_none());
        sender.tell(Command::Stop);
        sender.tell(Command::Removed);
        drop(sender);
        assert!(matches!(inbox.recv().await, Some(Command::Stop)));
        assert!(matches!(inbox.recv().await, Some(Command::Removed)));
        assert!(inbox.recv().await.is_none());
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let (sender, mut inbox) = mailbox();
        let waiting = tokio::spawn(async move { inbox.recv().await });
        tokio::task::yield_now().await;
        sender.tell(Command::Stop);
        assert!(matches!(waiting.await.unwrap(), Some(Command::Stop)));
    }

    #[test]
    fn nothing_is_kept_for_who_does_not_read_any_more() {
        let (sender, inbox) = mailbox();
        drop(inbox);
        sender.tell(Command::Stop);
        assert!(sender.0.letters().waiting.is_empty());
    }
}
