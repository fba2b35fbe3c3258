//! Measured: what a session of HOTKEYS needs of a request besides what it costs.

use basalt_commands::{Command, Run, key_positions};
use smallvec::SmallVec;

/// The keys and the length of a request.
pub(crate) struct Measured<K> {
    pub keys: SmallVec<[K; 8]>,
    /// Of the request, as a client writes it.
    pub request_bytes: usize,
}

impl<'a> Measured<&'a [u8]> {
    pub(crate) fn of(command: &Command, args: &[&'a [u8]]) -> Self {
        let keys = key_positions(command, args).into_iter().map(|at| args[at]).collect();
        Self { keys, request_bytes: request_bytes(args) }
    }

    /// For a call that goes on.
    pub(crate) fn owned(&self) -> Measured<Vec<u8>> {
        let keys = self.keys.iter().map(|name| name.to_vec()).collect();
        Measured { keys, request_bytes: self.request_bytes }
    }
}

/// The bytes of a request as clients write it.
fn request_bytes(args: &[&[u8]]) -> usize {
    // A sign, the number and the end of the line.
    let header = |number: usize| 4 + number.checked_ilog10().unwrap_or(0) as usize;
    header(args.len()) + args.iter().map(|arg| header(arg.len()) + arg.len() + 2).sum::<usize>()
}

/// Whether what a command costs is measured where it was asked for, and not by the calls that it is made of.
pub(crate) fn is_measured_whole(command: &Command) -> bool {
    matches!(command.run, Run::Many(_) | Run::Engine(_) | Run::Split(..))
        && !command.keys.is_empty()
}
