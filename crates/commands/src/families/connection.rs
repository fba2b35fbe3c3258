//! Connection: commands about the client's own session.

mod client;
mod filter;
mod session;
mod tracking;

use crate::command::{Categories, Command, Flags, Group};

pub use client::{
    KillRequest, LibraryFact, PauseRequest, ReplyMode, UnblockRequest, parse_client_caching,
    parse_client_kill, parse_client_list, parse_client_pause, parse_client_reply,
    parse_client_setinfo, parse_client_setname, parse_client_switch, parse_client_unblock,
};
pub use filter::{ClientCondition, ClientFilter, ClientProperty, ClientType};
pub use session::{AuthRequest, HelloRequest, parse_auth, parse_hello, parse_ping, parse_select};
pub use tracking::{TrackingRequest, parse_client_tracking};

pub(crate) const COMMANDS: &[Command] = &[
    session::AUTH,
    client::CLIENT,
    session::ECHO,
    session::HELLO,
    session::PING,
    session::QUIT,
    session::RESET,
    session::SELECT,
];

/// The common part of this family's rows.
const ROW: Command =
    Command { group: Group::Connection, also: Categories::CONNECTION, ..Command::ROW };

/// Allowed while data is being loaded or stale.
const ALWAYS: Flags = Flags::LOADING.or(Flags::STALE);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::assert_documented;

    #[test]
    fn options_are_documented() {
        assert_documented(&session::HELLO_OPTIONS, &session::HELLO);
        assert_documented(&filter::FILTER_OPTIONS, &client::LIST);
        assert_documented(&tracking::TRACKING_OPTIONS, &tracking::TRACKING);
    }
}
