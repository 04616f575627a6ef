//! What the command line says, and what is done about it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use dohle::broker::{self, Broker, BrokerError};
use dohle::config::{self, BrokerConfig};
use dohle::runtime::readiness::Phase;

/// A drop-in Apache Kafka broker.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    options: OptionArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct OptionArgs {
    /// A TOML file of options; config/dohle.reference.toml lists them all
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// One option; wins over the file. May be repeated
    #[arg(long, value_name = "KEY=VALUE", global = true)]
    set: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker (what happens without a command, too)
    Run,
    /// Print every option with its value, default, unit and origin
    Config,
    /// Read a file of options and say what is wrong with it
    Check { file: PathBuf },
    /// Ask the broker of these options whether it is ready
    Health,
}

/// Runs what was asked for. Errors are one line each.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Some(Command::Check { file }) => config::load(Some(&file), &cli.options.set)
            .map(|_| println_line(&format!("{}: ok", file.display())))
            .map_err(|error| error.to_string()),
        command => match config::load(cli.options.config.as_deref(), &cli.options.set) {
            Err(error) => Err(error.to_string()),
            Ok(config) => match command {
                Some(Command::Config) => {
                    print_text(&config::reference::listing(&config));
                    Ok(())
                }
                Some(Command::Health) => health(&config),
                _ => serve(config),
            },
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn serve(config: BrokerConfig) -> Result<(), String> {
    let log_levels = dohle::logging::init(&config.log_level, config.log_format)
        .map_err(|error| format!("log.level: {error}"))?;
    let threads = usize::try_from(config.worker_threads).unwrap_or(0);
    let runtime = dohle::runtime::build(threads).map_err(|error| error.to_string())?;
    let outcome = runtime.block_on(async {
        let broker = broker::start(config, log_levels)
            .await
            .map_err(|error: BrokerError| error.to_string())?;
        print_text(&banner(&broker));
        let failed = wait_for_the_end(&broker).await;
        broker.readiness.enter(Phase::ShuttingDown);
        broker.stop().await;
        failed.map_or(Ok(()), Err)
    });
    // What is still parked on a blocking thread is nobody's any more.
    runtime.shutdown_background();
    outcome
}

fn banner(broker: &Broker) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let image = broker.node.metadata();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "dohle {} (Apache Kafka {}) node {} of cluster {}",
        env!("CARGO_PKG_VERSION"),
        dohle::KAFKA_VERSION,
        broker.node.id,
        image.cluster_id()
    );
    for listener in &broker.listeners {
        let _ = writeln!(
            text,
            "  kafka  {}  (listening on {})",
            listener.advertised, listener.address
        );
    }
    if let Some(http) = broker.http {
        let _ = writeln!(
            text,
            "  http   http://{http}/metrics  /health/ready  /loggers"
        );
    }
    for dir in broker.node.partitions.logs().directories() {
        let _ = writeln!(text, "  data   {}", dir.display());
    }
    text
}

/// A signal, or why the node cannot go on.
async fn wait_for_the_end(broker: &Broker) -> Option<String> {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return Some("signals cannot be waited for".to_owned());
    };
    tokio::select! {
        _ = term.recv() => None,
        _ = int.recv() => None,
        why = broker.failed() => Some(why),
    }
}

/// Asks `/health/ready` where these options say it is served.
fn health(config: &BrokerConfig) -> Result<(), String> {
    use std::io::{Read as _, Write as _};
    let address = &config.http_listen;
    let failed = |error: std::io::Error| format!("http.listen: {address}: {error}");
    let mut stream = std::net::TcpStream::connect(address).map_err(failed)?;
    let timeout = Some(std::time::Duration::from_secs(5));
    stream.set_read_timeout(timeout).map_err(failed)?;
    write!(
        stream,
        "GET /health/ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed)?;
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or("").trim();
    println_line(body);
    if answer.starts_with("HTTP/1.1 200") {
        Ok(())
    } else {
        Err("not ready".to_owned())
    }
}

/// What was asked for goes to standard output; that nobody reads it is no error.
fn print_text(text: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

fn println_line(line: &str) {
    print_text(&format!("{line}\n"));
}

fn complain(error: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr().lock(), "dohle: {error}");
}
