//! Server: commands about the whole server.

mod acl;
mod command;
mod config;
mod data;
mod debug;
mod hotkeys;
mod latency;
mod memory;
mod module;
mod monitor;
mod process;
mod save;
mod slowlog;

use crate::command::{Command, Flags, Group};

pub use config::{Setting, parse_config_set};
pub use data::{FlushRequest, parse_flush, parse_swapdb};
pub use debug::{
    DebugReload, DebugRequest, NO_SHARD, parse_debug, write_debug_help, write_debug_protocol,
};
pub use hotkeys::{HotKeysRequest, parse_hotkeys_start};
pub use monitor::{is_shown_to_monitors, write_monitor_line};
pub use process::{InfoRequest, ShutdownRequest, lolwut, parse_info, parse_shutdown};
pub use save::{BgSaveRequest, parse_bgsave};
pub use slowlog::{parse_slowlog_get, write_logged_args};

pub(crate) const COMMANDS: &[Command] = &[
    acl::ACL,
    save::BGREWRITEAOF,
    save::BGSAVE,
    command::COMMAND,
    config::CONFIG,
    data::DBSIZE,
    debug::DEBUG,
    data::FLUSHALL,
    data::FLUSHDB,
    hotkeys::HOTKEYS,
    process::INFO,
    process::LASTSAVE,
    latency::LATENCY,
    process::LOLWUT,
    memory::MEMORY,
    module::MODULE,
    monitor::MONITOR,
    process::ROLE,
    save::SAVE,
    process::SHUTDOWN,
    slowlog::SLOWLOG,
    data::SWAPDB,
    process::TIME,
];

/// The common part of this family's rows.
const ROW: Command = Command { group: Group::Server, ..Command::ROW };

/// Allowed while data is being loaded or stale.
const ALWAYS: Flags = Flags::LOADING.or(Flags::STALE);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::assert_documented;

    #[test]
    fn options_are_documented() {
        assert_documented(&process::SHUTDOWN_OPTIONS, &process::SHUTDOWN);
        assert_documented(&memory::USAGE_OPTIONS, memory::USAGE_ROW);
        assert_documented(&data::FLUSH_OPTIONS, &data::FLUSHALL);
    }
}
