//! Logging: where the lines go, how they look, and which are written.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::sync::{Arc, OnceLock};

use basalt_commands::config::{Config, LogFormat, LogLevel};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, fmt, registry, reload};

/// By which the level can be changed while running.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Starts logging as configured, for the whole process.
pub fn start(config: &Config) -> io::Result<()> {
    let to_terminal = config.logfile.is_empty() && io::stdout().is_terminal();
    let writer = if config.logfile.is_empty() {
        BoxMakeWriter::new(io::stdout)
    } else {
        let file = OpenOptions::new().create(true).append(true).open(&config.logfile)?;
        BoxMakeWriter::new(Arc::new(file))
    };
    let (filter, handle) = reload::Layer::new(level(config.loglevel));
    let lines = fmt::layer().with_target(false).with_ansi(to_terminal).with_writer(writer);
    let lines = match config.log_format {
        LogFormat::Human => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing::subscriber::set_global_default(registry().with(filter).with(lines))
        .map_err(io::Error::other)?;
    LEVEL.set(handle).map_err(|_| io::Error::other("logging was started before"))
}

/// Follows CONFIG SET loglevel.
pub(crate) fn follow(config: &Config) {
    if let Some(handle) = LEVEL.get()
        && let Err(error) = handle.reload(level(config.loglevel))
    {
        tracing::warn!("loglevel can't be changed: {error}");
    }
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::TRACE,
        LogLevel::Verbose => LevelFilter::DEBUG,
        LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Nothing => LevelFilter::OFF,
    }
}
