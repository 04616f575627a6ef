//! What the command line says, and what is done about it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
mod ask;
mod cluster;
mod status;

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

/// May stand before the command and behind it.
#[derive(Debug, Default, Args)]
struct OptionArgs {
    /// A TOML file of options; config/dohle.reference.toml lists them all
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One option; wins over the file. May be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker (what happens without a command, too)
    Run(OptionArgs),
    /// Print every option with its value, default, unit and origin
    Config(OptionArgs),
    /// Read a file of options and say what is wrong with it
    Check {
        file: PathBuf,
        #[command(flatten)]
        options: OptionArgs,
    },
    /// Ask the broker of these options whether it is ready
    Health(OptionArgs),
    /// Show the ensemble, as the broker of these options and its leader see it
    Status(OptionArgs),
    /// Run a cluster of several nodes on this machine, to try it and to see it fail
    Cluster(cluster::ClusterArgs),
}

impl Cli {
    /// What was said before the command, then what was said behind it.
    fn options(&mut self) -> OptionArgs {
        let mut options = std::mem::take(&mut self.options);
        let behind = match &mut self.command {
            None => return options,
            Some(Command::Check { options, .. }) => options,
            // Its nodes have options of their own.
            Some(Command::Cluster(_)) => return options,
            Some(
                Command::Run(behind)
                | Command::Config(behind)
                | Command::Health(behind)
                | Command::Status(behind),
            ) => behind,
        };
        let behind = std::mem::take(behind);
        options.set.extend(behind.set);
        options.config = behind.config.or(options.config);
        options
    }
}

/// Runs what was asked for. Errors are one line each.
pub fn run() -> ExitCode {
    let mut cli = Cli::parse();
    let options = cli.options();
    let outcome = match cli.command {
        Some(Command::Check { file, .. }) => config::load(Some(&file), &options.set)
            .map(|_| println_line(&format!("{}: ok", file.display())))
            .map_err(|error| error.to_string()),
        Some(Command::Cluster(args)) => cluster::run(args, &options.set),
        command => match config::load(options.config.as_deref(), &options.set) {
            Err(error) => Err(error.to_string()),
            Ok(config) => match command {
                Some(Command::Config(_)) => {
                    print_text(&config::reference::listing(&config));
                    Ok(())
                }
                Some(Command::Health(_)) => health(&config),
                Some(Command::Status(_)) => status::show(&config.http_listen),
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
    for dir in broker.node.partitions.logs().dirs() {
        let state = if dir.is_online() { "" } else { "  (offline)" };
        let _ = writeln!(text, "  data   {}{state}", dir.path().display());
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
    let answer = ask::get(&config.http_listen, "/health/ready")?;
    println_line(answer.body.trim());
    if answer.status == 200 {
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

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        let mut cli = Cli::parse_from(["dohle", "--set", "a=1", "config", "--set", "b=2"]);
        assert!(matches!(cli.command, Some(Command::Config(_))));
        assert_eq!(cli.options().set, ["a=1", "b=2"]);
        let mut cli = Cli::parse_from(["dohle", "--config", "x.toml"]);
        assert!(cli.command.is_none());
        assert_eq!(cli.options().config, Some("x.toml".into()));
        let mut cli = Cli::parse_from(["dohle", "--config", "x", "health", "--config", "y"]);
        assert_eq!(cli.options().config, Some("y".into()));
        assert!(Cli::try_parse_from(["dohle", "check"]).is_err());
    }

    #[test]
    fn health_is_what_the_node_answers() {
        for (status, expected) in [("200 OK", Ok(())), ("503 Service Unavailable", Err(()))] {
            let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = socket.local_addr().unwrap();
            let node = std::thread::spawn(move || {
                let (mut stream, _) = socket.accept().unwrap();
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    asked.push(byte[0]);
                }
                let answer = format!("HTTP/1.1 {status}\r\n\r\n{{}}");
                stream.write_all(answer.as_bytes()).unwrap();
                String::from_utf8(asked).unwrap()
            });
            let set = [format!("http.listen={address}")];
            let config = config::load(None, &set).unwrap();
            assert_eq!(health(&config).map_err(drop), expected);
            assert!(
                node.join()
                    .unwrap()
                    .starts_with("GET /health/ready HTTP/1.1\r\n")
            );
        }
        let config = config::load(None, &["http.listen=127.0.0.1:1".to_owned()]).unwrap();
        assert!(
            health(&config)
                .unwrap_err()
                .starts_with("http.listen: 127.0.0.1:1: ")
        );
    }
}
