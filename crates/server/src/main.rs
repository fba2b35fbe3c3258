//! The program: from the command line to a serving node, and to its end.

mod cli;

use std::process::ExitCode;
use std::sync::Arc;

use basalt_commands::config::Config;
use basalt_engine::Core;
use basalt_server::{
    Pidfile, Signals, Statistics, Supervisor, checks, detach, listen, logging, observe, run_id,
    serve, set_title,
};
use cli::Launch;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let launch = cli::launch();
    if launch.check_only {
        return ExitCode::SUCCESS;
    }
    let config = &launch.config;
    let supervisor = match Supervisor::of(config) {
        Ok(supervisor) => supervisor,
        Err(error) => return complain(&format!("the supervisor can't be notified: {error}")),
    };
    let is_detached = match detach(config, &supervisor) {
        Ok(is_detached) => is_detached,
        Err(error) => {
            return complain(&format!("the server can't go to the background: {error}"));
        }
    };
    if let Err(error) = logging::start(config) {
        return complain(&format!("logging to {:?} can't start: {error}", config.logfile));
    }
    match run(launch, &supervisor, is_detached) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(
    launch: Launch,
    supervisor: &Supervisor,
    is_detached: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    let Launch { mut config, config_path, warnings, .. } = launch;
    announce(&config, &warnings);
    supervisor.starting();
    let signals = Signals::hold()?;
    checks::prepare(&mut config)?;
    let listeners = listen(&config)?;
    let page = observe::listen(&config)?;
    set_title(&config, config_path.as_deref());
    let _pidfile = Pidfile::write(&config, is_detached);
    let statistics = Statistics {
        executable: std::env::current_exe().unwrap_or_default(),
        config_file: config_path,
        tcp_port: config.port,
        run_id: run_id()?,
        supervisor: supervisor.clone(),
    };
    let config = Arc::new(config);
    let mut starting = serve(&config, statistics, listeners, Core::new)
        .map_err(|error| checks::explain(&error, &config))?;
    signals.obey(starting.serving.node())?;
    page.serve(&mut starting.serving)?;
    let (serving, has_data) =
        starting.await_data().map_err(|error| checks::explain(&error, &config))?;
    if has_data {
        tracing::info!("Ready to accept connections");
        supervisor.ready();
    }
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

/// Says why the server ends where there is no log yet.
fn complain(words: &str) -> ExitCode {
    use std::io::Write;
    // Where even this can't be written, the exit code is all there is.
    let _ = writeln!(std::io::stderr(), "basalt-server: {words}");
    ExitCode::FAILURE
}
