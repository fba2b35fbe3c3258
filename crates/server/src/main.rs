//! The program: from the command line to a serving node, and to its end.

mod cli;

use std::process::ExitCode;
use std::sync::Arc;

use basalt_commands::config::Config;
use basalt_engine::Core;
use basalt_server::{
    Facts, Pidfile, Signals, checks, detach, listen, logging, observe, run_id, serve,
};
use cli::Launch;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let launch = cli::launch();
    if launch.check_only {
        return ExitCode::SUCCESS;
    }
    if let Err(error) = detach(&launch.config).and_then(|()| logging::start(&launch.config)) {
        complain(&format!("logging to {:?} can't start: {error}", launch.config.logfile));
        return ExitCode::FAILURE;
    }
    match run(launch) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(launch: Launch) -> Result<(), Box<dyn std::error::Error>> {
    let Launch { mut config, config_path, warnings, .. } = launch;
    announce(&config, &warnings);
    let signals = Signals::hold()?;
    checks::prepare(&mut config)?;
    let listeners = listen(&config)?;
    let page = observe::listen(&config)?;
    let _pidfile = Pidfile::write(&config);
    let facts = Facts {
        executable: std::env::current_exe().unwrap_or_default(),
        config_file: config_path,
        tcp_port: config.port,
        run_id: run_id()?,
    };
    let config = Arc::new(config);
    let mut serving = serve(&config, facts, listeners, Core::new)
        .map_err(|error| checks::explain(&error, &config))?;
    signals.obey(serving.node())?;
    page.serve(&mut serving)?;
    tracing::info!("{} shards serve.", serving.shard_count());
    tracing::info!("Ready to accept connections");
    serving.join()?;
    tracing::info!("Basalt is now ready to exit, bye bye...");
    Ok(())
}

fn announce(config: &Config, warnings: &[String]) {
    let version = env!("CARGO_PKG_VERSION");
    let pid = std::process::id();
    tracing::info!("Basalt {version} starts, PID: {pid}, port: {}", config.port);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

/// Says something where there is no log yet.
fn complain(words: &str) {
    use std::io::Write;
    // Nobody is left to tell that telling failed.
    let _ = writeln!(std::io::stderr(), "basalt-server: {words}");
}
