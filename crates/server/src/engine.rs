//! What the loop drives: the engine's core, as the loop sees it.
//!
//! The loop is written against this and not against `basalt_engine::Core`, so that it can be tested and
//! measured with an engine that does next to nothing (`tests/toy`).

use std::io;
use std::sync::Arc;

use basalt_commands::config::Config;
use basalt_engine::{
    Core, JournalDone, LoadBatch, LoadError, Loaded, Message, Now, Output, Peer, Reading,
    SessionId, ShardSnapshot, Turn,
};
use basalt_keyspace::{LongString, ShardId};

use crate::Outside;
use crate::journal::{Restore, Restored};

pub trait Engine {
    /// What its cores send each other.
    type Message: Send + 'static;

    /// See [`Core::connect`].
    fn connect(&mut self, peer: Peer) -> Result<SessionId, Vec<u8>>;
    /// See [`Core::end_of_input`].
    fn end_of_input(&mut self, session: SessionId);
    /// See [`Core::disconnect`].
    fn disconnect(&mut self, session: SessionId);
    /// See [`Core::turn`].
    fn turn(
        &mut self,
        outside: &mut Outside<Self::Message>,
        now: Now,
        received: &[(SessionId, &[u8])],
        messages: &mut Vec<(ShardId, Self::Message)>,
    ) -> Turn;
    /// See [`Core::next_dirty`].
    fn next_dirty(&mut self) -> Option<SessionId>;
    /// See [`Core::next_reading`].
    fn next_reading(&mut self) -> Option<(SessionId, Reading)>;
    /// See [`Core::lend_large`].
    fn lend_large(&mut self, session: SessionId) -> Option<(LongString, usize)>;
    /// See [`Core::take_back_large`].
    fn take_back_large(&mut self, session: SessionId, large: LongString);
    /// See [`Core::describe`].
    fn describe(&self, session: SessionId) -> Option<String>;
    /// See [`Core::next_aborted`].
    fn next_aborted(&mut self) -> Option<SessionId>;
    /// See [`Core::take_output`].
    fn take_output(&mut self, session: SessionId, spare: Vec<u8>) -> Output;
    /// See [`Core::sent`].
    fn sent(&mut self, session: SessionId, bytes: usize);
    /// The configuration as it is now.
    fn config(&self) -> &Arc<Config>;
    /// See [`Core::stop`].
    fn stop(&mut self, outside: &mut Outside<Self::Message>) {
        outside.end();
    }
    /// See [`Core::load`].
    fn load(&mut self, _batch: &LoadBatch) -> Result<Loaded, LoadError> {
        Ok(Loaded::default())
    }
    /// See [`Core::begin_loading`].
    fn begin_loading(&mut self, _imports: bool) {}
    /// See [`Core::connect_loader`].
    fn connect_loader(&mut self) -> SessionId {
        let loader = self.connect(Peer::Unix { path: String::new() });
        loader.expect("local clients are let in")
    }
    /// See [`Core::end_import`].
    fn end_import(&mut self) {}
    /// See [`Core::begin_anew`].
    fn begin_anew(&mut self) -> Option<Result<(), String>> {
        Some(Ok(()))
    }
    /// See [`Core::end_loading`].
    fn end_loading(&mut self) {}
    /// See [`Core::snapshot`].
    fn snapshot(&mut self) -> ShardSnapshot;
    /// See [`Core::journal_done`].
    fn journal_done(&mut self, _done: JournalDone) {}
    /// See [`Core::close_journal`].
    fn close_journal(&mut self) -> bool {
        true
    }
    /// A slice of what the journal held is brought to it, and at last its next file.
    fn restore(
        &mut self,
        _restore: &mut Restore,
        _more: &mut dyn FnMut() -> bool,
    ) -> io::Result<Restored> {
        Ok(Restored::Whole(None))
    }
}

impl Engine for Core {
    type Message = Message;

    fn connect(&mut self, peer: Peer) -> Result<SessionId, Vec<u8>> {
        Core::connect(self, peer)
    }
    fn end_of_input(&mut self, session: SessionId) {
        Core::end_of_input(self, session);
    }
    fn disconnect(&mut self, session: SessionId) {
        Core::disconnect(self, session);
    }
    fn turn(
        &mut self,
        outside: &mut Outside<Message>,
        now: Now,
        received: &[(SessionId, &[u8])],
        messages: &mut Vec<(ShardId, Message)>,
    ) -> Turn {
        Core::turn(self, outside, now, received, messages)
    }
    fn next_dirty(&mut self) -> Option<SessionId> {
        Core::next_dirty(self)
    }
    fn next_reading(&mut self) -> Option<(SessionId, Reading)> {
        Core::next_reading(self)
    }
    fn lend_large(&mut self, session: SessionId) -> Option<(LongString, usize)> {
        Core::lend_large(self, session)
    }
    fn take_back_large(&mut self, session: SessionId, large: LongString) {
        Core::take_back_large(self, session, large);
    }
    fn describe(&self, session: SessionId) -> Option<String> {
        Core::describe(self, session)
    }
    fn next_aborted(&mut self) -> Option<SessionId> {
        Core::next_aborted(self)
    }
    fn take_output(&mut self, session: SessionId, spare: Vec<u8>) -> Output {
        Core::take_output(self, session, spare)
    }
    fn sent(&mut self, session: SessionId, bytes: usize) {
        Core::sent(self, session, bytes);
    }
    fn config(&self) -> &Arc<Config> {
        Core::config(self)
    }
    fn stop(&mut self, _: &mut Outside<Message>) {
        Core::stop(self);
    }
    fn load(&mut self, batch: &LoadBatch) -> Result<Loaded, LoadError> {
        Core::load(self, batch)
    }
    fn begin_loading(&mut self, imports: bool) {
        Core::begin_loading(self, imports);
    }
    fn connect_loader(&mut self) -> SessionId {
        Core::connect_loader(self)
    }
    fn end_import(&mut self) {
        Core::end_import(self);
    }
    fn begin_anew(&mut self) -> Option<Result<(), String>> {
        Core::begin_anew(self)
    }
    fn end_loading(&mut self) {
        Core::end_loading(self);
    }
    fn snapshot(&mut self) -> ShardSnapshot {
        Core::snapshot(self)
    }
    fn journal_done(&mut self, done: JournalDone) {
        Core::journal_done(self, done);
    }
    fn close_journal(&mut self) -> bool {
        Core::close_journal(self)
    }
    fn restore(
        &mut self,
        restore: &mut Restore,
        more: &mut dyn FnMut() -> bool,
    ) -> io::Result<Restored> {
        restore.run(self, more)
    }
}
