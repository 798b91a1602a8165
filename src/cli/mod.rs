//! The command line: a file a command. Source: contract §2.

mod annotate;
pub mod decode;
mod demo;
mod doctor;
mod operator;
mod sandbox;
mod serve;
mod token;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use jiff::Timestamp;

use crate::{config::Settings, http, ledger::Ledger, startup, telemetry::LogForm};

/// Self-hosted refund desk: a camera frame comes in, one signed WeChat Pay or Alipay refund goes out.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows everything at once: a seeded shop against mock wallets, real frames, real signatures
    Demo(demo::DemoArgs),
    /// Runs the service
    Serve(ConfigArgs),
    /// Runs the mock wallets to test against
    Sandbox(sandbox::SandboxArgs),
    /// Says whether everything is as it must be before the shop opens: a line each, and what to do
    Doctor(ConfigArgs),
    /// Says what the service would read in pictures
    Decode(decode::DecodeArgs),
    /// Makes, lists and ends bearer tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Adds people with a PIN
    #[command(subcommand)]
    Operator(operator::OperatorCommand),
    /// Brings the database's schema up to this program's
    Migrate(ConfigArgs),
    /// Prints the OpenAPI 3.1 description of the API
    Openapi,
}

/// Where the settings are.
#[derive(Clone, Debug, clap::Args)]
struct ConfigArgs {
    /// The configuration, TOML; SCANBACK__SECTION__KEY in the environment goes before it
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl ConfigArgs {
    fn settings(&self) -> anyhow::Result<Settings> {
        load(&self.config)
    }

    async fn ledger(&self) -> anyhow::Result<Ledger> {
        Ok(startup::open_ledger(&self.settings()?).await?)
    }
}

fn load(config: &Path) -> anyhow::Result<Settings> {
    Settings::load(config).with_context(|| format!("in {}", config.display()))
}

/// Runs the command; what went wrong is said on standard error.
#[must_use]
pub fn run(arguments: Arguments) -> ExitCode {
    match dispatch(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("scanback: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    let system = actix_web::rt::System::new();
    match command {
        Command::Decode(args) => {
            let (input, output) = (io::stdin(), io::stdout());
            return Ok(decode::run(&args, &mut input.lock(), &mut output.lock())?.into());
        }
        Command::Openapi => println!("{}", http::openapi().to_pretty_json()?),
        Command::Migrate(args) => {
            crate::telemetry::start_logging(LogForm::Text);
            system.block_on(async { args.ledger().await.map(|_| ()) })?;
            println!("the schema is up to date");
        }
        Command::Serve(args) => {
            crate::telemetry::start_logging(LogForm::Json);
            system.block_on(serve::run(&args))?;
        }
        Command::Doctor(args) => {
            crate::telemetry::start_logging(LogForm::Quiet);
            return Ok(system.block_on(doctor::run(&args)));
        }
        Command::Demo(args) => {
            crate::telemetry::start_logging(LogForm::Quiet);
            return system.block_on(demo::run(args));
        }
        Command::Sandbox(args) => {
            crate::telemetry::start_logging(LogForm::Text);
            system.block_on(sandbox::run(args))?;
        }
        Command::Token(command) => system.block_on(token::run(command))?,
        Command::Operator(command) => system.block_on(operator::run(command))?,
    }
    io::stdout().flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Comes when the process is asked to stop: SIGTERM, or Ctrl-C. Heard from the call on, so that a signal that comes right after
/// the start ends the process well.
fn asked_to_stop() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn now() -> Timestamp {
    Timestamp::now()
}
